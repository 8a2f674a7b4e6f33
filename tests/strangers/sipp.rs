//! SIPp accepts and answers SIRs that a real worker sends, and gets right answers from the load generator.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use sirocco_dispatch::config::EngineConfig;
use sirocco_dispatch::order::Order;
use sirocco_loadgen::{Behaviour, Class, Mix};
use sirocco_tests::process::{Directory, Guarded};
use sirocco_tests::tools::SIPP;

use crate::devices::Devices;
use crate::engine::{Engine, population};
use crate::{free_port, loopback};

/// SIRs of each test.
const SIRS: u64 = 600;

/// A SIPp process that plays `scenario` for so many calls and then ends with 0 if all went well.
pub fn play(sipp: &Path, directory: &Directory, scenario: &str, arguments: &[String]) -> Guarded {
    let path = directory.file("scenario.xml");
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<scenario name=\"s\">\n{scenario}</scenario>\n"
    );
    std::fs::write(&path, text).expect("a writable directory");
    let mut command = Command::new(sipp);
    command
        .current_dir(directory.path())
        .arg("-sf")
        .arg(&path)
        .args(["-i", "127.0.0.1", "-nostdin"]);
    command
        .args(["-trace_err", "-error_file"])
        .arg(directory.file("errors.txt"));
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Guarded::start(&mut command)
}

/// What a SIPp process complained of.
pub fn errors(directory: &Directory) -> String {
    std::fs::read_to_string(directory.file("errors.txt")).unwrap_or_default()
}

/// A device that takes a SIR only if SIPp reads these header fields in it, and answers 200.
fn device_scenario() -> String {
    let checks = [
        ("Max-Forwards:", "^ *70$"),
        ("Content-Type:", "application/vnd.wap.sia"),
        ("To:", "&lt;sip:[+]86[0-9]*@ims.example&gt;"),
        ("CSeq:", "1 MESSAGE"),
        (
            "Accept-Contact:",
            "pusheventapp=.push.sia.;require;explicit",
        ),
    ];
    let mut scenario = String::from("<recv request=\"MESSAGE\"><action>\n");
    for (number, (header, pattern)) in checks.iter().enumerate() {
        writeln!(
            scenario,
            "<ereg regexp=\"{pattern}\" search_in=\"hdr\" header=\"{header}\" check_it=\"true\" assign_to=\"{}\"/>",
            number + 1
        )
        .expect("a string grows");
    }
    scenario.push_str(
        "</action></recv>\n<send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:];tag=[call_number]\n\
         [last_Call-ID:]\n[last_CSeq:]\nContent-Length: 0\n\n]]></send>\n<Reference variables=\"1,2,3,4,5\"/>\n",
    );
    scenario
}

#[test]
fn sipp_accepts_and_answers_our_sirs() {
    let Some(sipp) = SIPP.path_or_skip("sipp_accepts_and_answers_our_sirs") else {
        return;
    };
    let directory = Directory::new("sipp-device");
    let port = free_port();
    let arguments = ["-p", &port.to_string(), "-m", &SIRS.to_string()].map(str::to_owned);
    let mut device = play(&sipp, &directory, &device_scenario(), &arguments);
    let config = EngineConfig {
        window_per_next_hop: 32,
        train_segments: 16,
        ..EngineConfig::default()
    };
    let engine = Engine::start(config, population(SIRS, 1, &[loopback(port)]));
    let order = Order::read(r#"{"order":"all","to":{"everybody":true}}"#).expect("a sound order");
    let summary = engine.order(order);
    let (report, _) = engine.stop();
    assert_eq!(
        summary.tally.delivered,
        SIRS,
        "{report:?}\n{}",
        errors(&directory)
    );
    assert_eq!(report.ledger.residue, 0);
    assert_eq!(device.exit_code(), Some(0), "{}", errors(&directory));
}

/// A sender that takes nothing but `status` for an answer.
fn sender_scenario(status: u16) -> String {
    let more = if status == 503 {
        "<action><ereg regexp=\"7\" search_in=\"hdr\" header=\"Retry-After:\" check_it=\"true\" assign_to=\"1\"/></action>"
    } else {
        ""
    };
    let reference = if more.is_empty() {
        ""
    } else {
        "<Reference variables=\"1\"/>\n"
    };
    format!(
        "<send retrans=\"500\"><![CDATA[\nMESSAGE sip:+8613800[call_number]@ims.example;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6 SIP/2.0\n\
         Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]\nMax-Forwards: 70\n\
         From: <sip:ppg@ims.example>;tag=[call_number]\nTo: <sip:+8613800[call_number]@ims.example>\n\
         Call-ID: [call_id]\nCSeq: 1 MESSAGE\nContent-Type: application/vnd.wap.sia\n\
         Content-Length: [len]\n\n[file name=\"body.bin\"]\n]]></send>\n\
         <recv response=\"{status}\">{more}</recv>\n{reference}"
    )
}

/// Devices that all behave alike.
fn devices(behaviour: Behaviour) -> Devices {
    let class = Class {
        name: "all".to_owned(),
        weight: 1,
        behaviour,
    };
    Devices::start(Mix {
        classes: vec![class],
        ..Mix::all_ok()
    })
}

#[test]
fn sipp_gets_right_answers_from_the_load_generator() {
    let Some(sipp) = SIPP.path_or_skip("sipp_gets_right_answers_from_the_load_generator") else {
        return;
    };
    for status in [200, 202, 404, 480, 486, 503, 603] {
        let retry_after_s = (status == 503).then_some(7);
        let devices = devices(Behaviour::Answer {
            status,
            retry_after_s,
        });
        let directory = Directory::new("sipp-sender");
        // Version 1, push.sia, no contact points, no options, a ProvURL of 19 octets, no tags.
        let body = [
            &[1, 2, 0xaf, 0x81, 0, 0, 0, 19][..],
            b"sip:ppg@ims.example",
            &[0],
        ]
        .concat();
        std::fs::write(directory.file("body.bin"), body).expect("a writable directory");
        let calls = SIRS / 6;
        let arguments = [
            "-m",
            &calls.to_string(),
            "-r",
            "500",
            &devices.edge.to_string(),
        ]
        .map(str::to_owned);
        let mut sender = play(&sipp, &directory, &sender_scenario(status), &arguments);
        let code = sender.exit_code();
        let received = devices.stop().sirs_received;
        assert_eq!(
            code,
            Some(0),
            "{status}: {received} received\n{}",
            errors(&directory)
        );
        assert_eq!(received, calls, "{status}");
    }
}
