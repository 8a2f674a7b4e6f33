//! Kamailio, as registrar and proxy, forwards our SIRs to the contacts of their GRUUs, and its answers
//! close our transactions.

use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sirocco_dispatch::config::EngineConfig;
use sirocco_dispatch::order::Order;
use sirocco_index::Index;
use sirocco_index::population::{Policy, load_from};
use sirocco_tests::process::{Directory, Guarded, wait_for};
use sirocco_tests::tools::KAMAILIO;
use sirocco_wire::sip::message::{Message, Method};
use sirocco_wire::sip::status::Status;
use sirocco_wire::sip::write;
use sirocco_wire::sir::Sir;

use crate::engine::Engine;
use crate::{free_port, loopback};

/// Identities, each with three registered devices.
const IDENTITIES: usize = 40;
const DEVICES_EACH: usize = 3;
/// Longest datagram.
const DATAGRAM_BYTES_MAX: usize = 4_096;

/// A registrar and proxy that knows GRUUs, refuses what is not registered, forwards the rest, and stays on
/// the way of sessions that are built through it.
fn configuration(port: u16) -> String {
    format!(
        r#"#!KAMAILIO
debug=1
log_stderror=yes
children=2
disable_tcp=yes
auto_aliases=no
alias="ims.example"
listen=udp:127.0.0.1:{port}
loadmodule "pv.so"
loadmodule "sl.so"
loadmodule "tm.so"
loadmodule "rr.so"
loadmodule "maxfwd.so"
loadmodule "siputils.so"
loadmodule "textops.so"
loadmodule "usrloc.so"
loadmodule "registrar.so"
modparam("usrloc", "db_mode", 0)
modparam("registrar", "gruu_enabled", 1)
modparam("registrar", "max_contacts", 10)
request_route {{
    if (!mf_process_maxfwd_header("10")) {{ sl_send_reply("483", "Too Many Hops"); exit; }}
    if (has_totag()) {{
        if (!loose_route()) {{ sl_send_reply("404", "Not Here"); exit; }}
        # RFC 5627 5.1: a Contact that is a GRUU is resolved inside a dialog as outside.
        if (uri == myself) {{ lookup("location"); }}
        t_relay();
        exit;
    }}
    if (is_method("REGISTER")) {{ save("location"); exit; }}
    if (is_method("INVITE")) {{ loose_route(); record_route(); t_relay(); exit; }}
    if (!is_method("MESSAGE")) {{ sl_send_reply("405", "Method Not Allowed"); exit; }}
    if (!lookup("location")) {{ sl_send_reply("480", "Temporarily Unavailable"); exit; }}
    t_relay();
}}
"#
    )
}

/// Starts one.
pub fn start(kamailio: &Path, directory: &Directory, port: u16) -> Guarded {
    let path = directory.file("kamailio.cfg");
    std::fs::write(&path, configuration(port)).expect("a writable directory");
    let log = std::fs::File::create(directory.file("log.txt")).expect("a writable directory");
    let mut command = Command::new(kamailio);
    command
        .arg("-f")
        .arg(&path)
        .args(["-DD", "-E", "-m", "32", "-M", "8", "-w"]);
    command
        .arg(directory.path())
        .arg("-Y")
        .arg(directory.path());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    Guarded::start(&mut command)
}

/// The user identity of a number.
pub fn aor(identity: usize) -> String {
    format!("sip:+861380000{identity:04}@ims.example")
}

/// The identity of a device by its number.
pub fn device(number: usize) -> String {
    format!("urn:uuid:910a2dec-8902-4cc1-beb8-{number:012x}")
}

/// Registers a device and returns the answer: its contact is a user part of its own at the devices' socket.
pub fn register(socket: &UdpSocket, registrar: SocketAddr, number: usize) -> u16 {
    let own = socket.local_addr().expect("an address");
    let aor = aor(number / DEVICES_EACH);
    let request = format!(
        "REGISTER sip:ims.example SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKr{number}\r\nMax-Forwards: 70\r\n\
         From: <{aor}>;tag=r{number}\r\nTo: <{aor}>\r\nCall-ID: register-{number}\r\nCSeq: 1 REGISTER\r\n\
         Supported: gruu\r\nContact: <sip:device-{number}@{own}>;+sip.instance=\"<{}>\";expires=600\r\n\
         Content-Length: 0\r\n\r\n",
        device(number)
    );
    let mut status = None;
    let mut answer = [0; DATAGRAM_BYTES_MAX];
    let branch = format!("z9hG4bKr{number}");
    wait_for("the registrar to answer", || {
        socket.send_to(request.as_bytes(), registrar).ok();
        if let Ok((length, _)) = socket.recv_from(&mut answer) {
            let answer = Message::parse(&answer[..length]).expect("a SIP response");
            if answer.top_via().and_then(|via| via.branch) == Some(branch.as_bytes()) {
                status = answer.status_code();
            }
        }
        status.is_some()
    });
    status.expect("it was waited for")
}

/// Answers every forwarded SIR with 200 until told to end; returns the contacts that got one, sorted.
fn answer_all(socket: &UdpSocket, ended: &AtomicBool) -> Vec<String> {
    let mut reached = Vec::new();
    let mut datagram = [0; DATAGRAM_BYTES_MAX];
    while !ended.load(Ordering::Relaxed) {
        let Ok((length, proxy)) = socket.recv_from(&mut datagram) else {
            continue;
        };
        let request = Message::parse(&datagram[..length]).expect("a forwarded request");
        if request.method() != Some(Method::Message) {
            continue;
        }
        let sir = Sir::parse(request.body()).expect("the SIR body came through");
        assert!(sir.prov_parameter(b"t").is_some(), "the token came through");
        reached.push(String::from_utf8_lossy(request.request_uri().unwrap_or(b"")).into_owned());
        let mut out = [0; DATAGRAM_BYTES_MAX];
        let written = write::response(&mut out, &request, Status::OK, b"device", &[]);
        socket
            .send_to(&out[..written.expect("room")], proxy)
            .expect("a running proxy");
    }
    reached.sort();
    reached.dedup();
    reached
}

/// All registered devices, and one more identity that is not registered.
fn population(proxy: SocketAddr) -> Index {
    let mut text = String::from("#sirocco-population 1\n");
    for number in 0..=IDENTITIES * DEVICES_EACH {
        let (aor, device) = (aor(number / DEVICES_EACH), device(number));
        text.push_str(&format!(
            "{aor}\t{device}\t{proxy}\t-\tsip\tidle\t00\t0\t00\t-\n"
        ));
    }
    let mut index = Index::new(IDENTITIES).expect("memory");
    load_from(text.as_bytes(), "registered", &mut index, Policy::Stop).expect("a sound population");
    index
}

#[test]
fn kamailio_forwards_our_sirs_and_its_answers_close_them() {
    let Some(kamailio) =
        KAMAILIO.path_or_skip("kamailio_forwards_our_sirs_and_its_answers_close_them")
    else {
        return;
    };
    let directory = Directory::new("kamailio");
    let proxy = loopback(free_port());
    let _running = start(&kamailio, &directory, proxy.port());
    let socket = UdpSocket::bind(loopback(0)).expect("a free port");
    socket
        .set_read_timeout(Some(Duration::from_millis(100)))
        .expect("a timeout");
    for number in 0..IDENTITIES * DEVICES_EACH {
        let status = register(&socket, proxy, number);
        let log = || std::fs::read_to_string(directory.file("log.txt")).unwrap_or_default();
        assert_eq!(status, 200, "device {number} is not registered\n{}", log());
    }
    let own = socket.local_addr().expect("an address");
    let ended = Arc::new(AtomicBool::new(false));
    let devices = thread::spawn({
        let ended = ended.clone();
        move || answer_all(&socket, &ended)
    });
    let config = EngineConfig {
        window_per_next_hop: 16,
        ..EngineConfig::default()
    };
    let engine = Engine::start(config, population(proxy));
    let order = r#"{"order":"all","mode":"fan-out","to":{"everybody":true}}"#;
    let summary = engine.order(Order::read(order).expect("a sound order"));
    let (report, _) = engine.stop();
    ended.store(true, Ordering::Relaxed);
    let reached = devices.join().expect("devices that answer");
    let registered = IDENTITIES * DEVICES_EACH;
    assert_eq!(summary.tally.delivered, registered as u64, "{report:?}");
    assert_eq!(
        report.ledger.failed_by_cause.get("480"),
        Some(&1),
        "the unregistered one"
    );
    assert_eq!((summary.tally.failed, report.ledger.residue), (1, 0));
    let mut wanted: Vec<_> = (0..registered)
        .map(|number| format!("sip:device-{number}@{own}"))
        .collect();
    wanted.sort();
    assert_eq!(reached, wanted, "each GRUU reaches its own contact");
}
