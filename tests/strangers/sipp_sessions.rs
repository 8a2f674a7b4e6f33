//! SIPp builds sessions with a real worker, by the tokens of SIRs that it sent, and takes what is pushed
//! there; SIPp's own server takes the calls of the load generator.

use std::fmt::Write as _;
use std::net::UdpSocket;
use std::path::Path;

use sirocco_dispatch::config::{EngineConfig, SessionEnd};
use sirocco_dispatch::order::Order;
use sirocco_loadgen::{Invite, LoadgenConfig, Mix, SessionPolicy, Transport};
use sirocco_tests::process::{Directory, Guarded};
use sirocco_tests::tools::SIPP;

use crate::calls::{CONTENT, Taken, Takers, assert_settled, at_port, report_when};
use crate::devices::{self, Devices};
use crate::engine::{Engine, population};
use crate::sipp::{errors, play};
use crate::{free_port, loopback};

/// Sessions of each test.
const CALLS: u64 = 200;
/// An answer to a request in the dialog.
const ANSWER: &str = "<send><![CDATA[\nSIP/2.0 200 OK\n[last_Via:]\n[last_From:]\n[last_To:]\n[last_Call-ID:]\n\
     [last_CSeq:]\nContent-Length: 0\n\n]]></send>\n";

/// INVITE by field 2 as token, field 0 as user and field 1 as device.
fn invite() -> String {
    "<send retrans=\"500\"><![CDATA[\nINVITE sip:ppg@[remote_ip]:[remote_port];t=[field2] SIP/2.0\n\
     Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\nMax-Forwards: 70\n\
     From: <[field0]>;tag=[call_number]\nTo: <sip:ppg@[remote_ip]:[remote_port]>\n\
     Call-ID: [call_id]\nCSeq: 1 INVITE\nAllow: INVITE, ACK, BYE, MESSAGE\n\
     Contact: <sip:device-[call_number]@[local_ip]:[local_port];transport=[transport]>;+sip.instance=\"<[field1]>\"\n\
     Content-Type: application/sdp\nContent-Length: [len]\n\n\
     v=0\no=- 53655765 2353687637 IN IP[local_ip_type] [local_ip]\ns=-\nc=IN IP[media_ip_type] [media_ip]\n\
     t=0 0\nm=audio [media_port] RTP/AVP 0\na=rtpmap:0 PCMU/8000\n]]></send>\n"
        .to_owned()
}

/// A request inside the dialog, to the Contact of the 200.
fn inside(method: &str, cseq: &str, attributes: &str) -> String {
    format!(
        "<send{attributes}><![CDATA[\n{method} [next_url] SIP/2.0\n\
         Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]\n[routes]\nMax-Forwards: 70\n\
         From: <[field0]>;tag=[call_number]\n\
         To: <sip:ppg@[remote_ip]:[remote_port]>[peer_tag_param]\nCall-ID: [call_id]\n\
         CSeq: {cseq} {method}\nContent-Length: 0\n\n]]></send>\n"
    )
}

/// A device that takes the content in a MESSAGE, and nothing but this content.
fn caller_scenario(end: SessionEnd) -> String {
    let mut scenario = invite();
    scenario.push_str(
        "<recv response=\"100\" optional=\"true\"/>\n<recv response=\"200\" rrs=\"true\"/>\n",
    );
    scenario.push_str(&inside("ACK", "1", ""));
    writeln!(
        scenario,
        "<recv request=\"MESSAGE\"><action>\
         <ereg regexp=\"{CONTENT}$\" search_in=\"body\" check_it=\"true\" assign_to=\"1\"/>\
         <ereg regexp=\"text/plain\" search_in=\"hdr\" header=\"Content-Type:\" check_it=\"true\" assign_to=\"2\"/>\
         </action></recv>"
    )
    .expect("a string grows");
    scenario.push_str(ANSWER);
    match end {
        SessionEnd::Engine => {
            scenario.push_str("<recv request=\"BYE\"/>\n");
            scenario.push_str(ANSWER);
        }
        SessionEnd::Device => {
            scenario.push_str(&inside("BYE", "2", " retrans=\"500\""));
            scenario.push_str("<recv response=\"200\"/>\n");
        }
    }
    scenario.push_str("<Reference variables=\"1,2\"/>\n");
    scenario
}

/// A device whose INVITE has to be refused.
fn refused_scenario() -> String {
    let ack = inside("ACK", "1", "")
        .replace("[next_url]", "sip:ppg@[remote_ip]:[remote_port];t=[field2]");
    format!("{}<recv response=\"403\"/>\n{ack}", invite())
}

/// The file of SIPp's fields, a line a call.
fn fields(directory: &Directory, sirs: &[Taken]) -> String {
    let path = directory.file("fields.csv");
    let mut text = String::from("SEQUENTIAL\n");
    for sir in sirs {
        let device = sir.uri.split(";gr=").nth(1).unwrap_or("");
        writeln!(text, "{};{device};{}", sir.aor, sir.token).expect("a string grows");
    }
    std::fs::write(&path, text).expect("a writable directory");
    path.display().to_string()
}

/// Lets SIPp play a scenario once for each SIR; panics if a call fails.
fn call_all(sipp: &Path, (engine, transport): (&str, &str), scenario: &str, sirs: &[Taken]) {
    let directory = Directory::new("sipp-caller");
    let calls = sirs.len().to_string();
    let fields = fields(&directory, sirs);
    // Left to itself SIPp tries the same ports as the one beside it, and gives up.
    let port = free_port().to_string();
    let arguments = [
        "-t", transport, "-p", &port, "-m", &calls, "-r", "500", "-inf", &fields, engine,
    ];
    let arguments = arguments.map(str::to_owned);
    let mut caller = play(sipp, &directory, scenario, &arguments);
    assert_eq!(caller.exit_code(), Some(0), "{}", errors(&directory));
}

/// Runs an engine that orders a push to everybody, and returns it with the SIRs that devices took.
fn ordered(config: EngineConfig) -> (Engine, Vec<Taken>) {
    let takers = Takers::start(UdpSocket::bind(loopback(0)).expect("a free port"));
    let engine = Engine::start(config, population(CALLS, 1, &[takers.address]));
    let order = format!(
        r#"{{"order":"all","to":{{"everybody":true}},"content":{{"type":"text/plain","text":"{CONTENT}"}}}}"#
    );
    let summary = engine.order(Order::read(&order).expect("a sound order"));
    let sirs = takers.stop();
    assert_eq!((summary.tally.delivered, sirs.len() as u64), (CALLS, CALLS));
    (engine, sirs)
}

/// SIPp's word for a transport: one socket of UDP, or one connection of TCP for all calls.
const UDP: &str = "u1";
const TCP: &str = "t1";

fn sipp_is_pushed_to(end: SessionEnd, transport: &str, test: &str) {
    let Some(sipp) = SIPP.path_or_skip(test) else {
        return;
    };
    let config = EngineConfig {
        session_end: end,
        ..at_port()
    };
    let address = config.bind.to_string();
    let (engine, sirs) = ordered(config);
    assert!(
        sirs.iter()
            .all(|sir| sir.gateway == format!("sip:ppg@{address}"))
    );
    call_all(&sipp, (&address, transport), &caller_scenario(end), &sirs);
    report_when("the last session to end", &engine, |report| {
        report.sessions.open == 0
    });
    // A token that was used opens nothing more, and neither does one that nobody made.
    call_all(
        &sipp,
        (&address, transport),
        &refused_scenario(),
        &sirs[..20],
    );
    let forged: Vec<_> = sirs[..20].iter().cloned().map(forge).collect();
    call_all(&sipp, (&address, transport), &refused_scenario(), &forged);
    let (report, _) = engine.stop();
    let sessions = &report.sessions;
    assert_eq!(
        (sessions.opened, sessions.established, sessions.delivered),
        (CALLS, CALLS, CALLS),
        "{sessions:?}"
    );
    assert_eq!(
        (
            report.pushes.built,
            report.pushes.delivered,
            report.pushes.duplicates
        ),
        (CALLS, CALLS, 0)
    );
    let by_cause = match end {
        SessionEnd::Engine => sessions.ended.engine,
        SessionEnd::Device => sessions.ended.peer,
    };
    assert_eq!(
        (by_cause, sessions.ended.total()),
        (CALLS, CALLS),
        "{sessions:?}"
    );
    assert_eq!(
        (sessions.refused.token_used, sessions.refused.token_forged),
        (20, 20),
        "{sessions:?}"
    );
    assert_settled(&report);
}

/// Changes the last digit of a token.
fn forge(mut sir: Taken) -> Taken {
    let last = sir.token.pop().expect("32 digits");
    sir.token.push(if last == '0' { '1' } else { '0' });
    sir
}

#[test]
fn sipp_builds_sessions_takes_the_push_and_is_told_bye() {
    sipp_is_pushed_to(
        SessionEnd::Engine,
        UDP,
        "sipp_builds_sessions_takes_the_push_and_is_told_bye",
    );
}

#[test]
fn sipp_builds_sessions_takes_the_push_and_says_bye() {
    sipp_is_pushed_to(
        SessionEnd::Device,
        UDP,
        "sipp_builds_sessions_takes_the_push_and_says_bye",
    );
}

#[test]
fn sipp_builds_sessions_over_tcp_takes_the_push_and_is_told_bye() {
    sipp_is_pushed_to(
        SessionEnd::Engine,
        TCP,
        "sipp_builds_sessions_over_tcp_takes_the_push_and_is_told_bye",
    );
}

#[test]
fn sipp_builds_sessions_over_tcp_takes_the_push_and_says_bye() {
    sipp_is_pushed_to(
        SessionEnd::Device,
        TCP,
        "sipp_builds_sessions_over_tcp_takes_the_push_and_says_bye",
    );
}

/// SIPp's server and the load generator's calls, over one transport.
fn sipp_is_called(transport: Transport, test: &str) {
    let Some(sipp) = SIPP.path_or_skip(test) else {
        return;
    };
    let word = match transport {
        Transport::Udp => UDP,
        Transport::Tcp => TCP,
    };
    let directory = Directory::new("sipp-server");
    let port = free_port();
    let mut command = std::process::Command::new(&sipp);
    let quiet = std::process::Stdio::null;
    command
        .current_dir(directory.path())
        .args(["-sn", "uas", "-t", word, "-i", "127.0.0.1", "-nostdin"])
        // The load generator ends, and its connection with it, while SIPp waits for what may come again.
        .args(["-reconnect_close", "false"])
        .args(["-p", &port.to_string(), "-m", &CALLS.to_string()])
        .stdin(quiet())
        .stdout(quiet())
        .stderr(quiet());
    let mut server = Guarded::start(&mut command);
    let config = LoadgenConfig {
        target: Some(loopback(port)),
        invite: Some(Invite {
            rate: 400.0,
            count: CALLS,
            session: SessionPolicy {
                transport,
                takes: Vec::new(),
                hang_up: Some("20ms".parse().expect("a time")),
                ..SessionPolicy::default()
            },
            ..Invite::default()
        }),
        ..devices::config(Mix::all_ok())
    };
    let callers = Devices::start_with(config);
    // SIPp's server waits 4 s for what may come again (RFC 3261 17.2.3) and then counts its calls.
    let code = server.exit_code();
    let report = callers.stop();
    let counts = &report.sessions.counts;
    assert_eq!(code, Some(0), "{counts:?}");
    assert_eq!(
        (counts.attempts, counts.established, counts.ended_by_device),
        (CALLS, CALLS, CALLS),
        "{counts:?}"
    );
    assert_eq!((counts.timeouts, counts.bye_timeouts), (0, 0), "{counts:?}");
    assert_eq!(report.sessions.open, 0);
    let streams = &report.sessions;
    match transport {
        Transport::Udp => assert_eq!(
            (streams.sip_connections, streams.sip_stream_messages),
            (0, 0)
        ),
        // 180 and 200 to INVITE, 200 to BYE, over the one connection of the one edge.
        Transport::Tcp => assert_eq!(
            (streams.sip_connections, streams.sip_stream_messages),
            (1, 3 * CALLS),
            "{streams:?}"
        ),
    }
}

#[test]
fn sipps_own_server_takes_the_calls_of_the_load_generator() {
    sipp_is_called(
        Transport::Udp,
        "sipps_own_server_takes_the_calls_of_the_load_generator",
    );
}

#[test]
fn sipps_own_server_takes_the_calls_of_the_load_generator_over_tcp() {
    sipp_is_called(
        Transport::Tcp,
        "sipps_own_server_takes_the_calls_of_the_load_generator_over_tcp",
    );
}
