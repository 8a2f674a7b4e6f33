//! Kamailio between engine and devices: it forks SIRs to a user identity to all devices of the user, routes
//! those to a device by its GRUU, and stays on the way of sessions that devices build through it.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sirocco_dispatch::config::{EngineConfig, SessionEnd};
use sirocco_dispatch::order::Order;
use sirocco_dispatch::report::EngineReport;
use sirocco_index::Index;
use sirocco_index::population::{Policy, load_from};
use sirocco_loadgen::{LoadgenConfig, LoadgenReport, Mix, Register, SessionPolicy};
use sirocco_tests::process::{Directory, wait_for};
use sirocco_tests::tools::KAMAILIO;
use sirocco_wire::sip::header::HeaderName;
use sirocco_wire::sip::message::{Message, Method};
use sirocco_wire::sip::status::Status;
use sirocco_wire::sip::write;

use crate::calls::{
    CONTENT, DATAGRAM_BYTES_MAX, Taken, assert_settled, at_port, report_when, taken,
};
use crate::devices::{self, Devices};
use crate::engine::Engine;
use crate::kamailio::{aor, device, register, start};
use crate::{free_port, loopback};

/// Identities, each with three devices, the first of which the user prefers.
const IDENTITIES: usize = 20;
const DEVICES_EACH: usize = 3;

/// All devices behind the proxy, as engine and load generator read them.
fn population(proxy: SocketAddr) -> String {
    let mut text = String::from("#sirocco-population 1\n");
    for number in 0..IDENTITIES * DEVICES_EACH {
        let (aor, device) = (aor(number / DEVICES_EACH), device(number));
        let preference = if number % DEVICES_EACH == 0 { 15 } else { 1 };
        text.push_str(&format!(
            "{aor}\t{device}\t{proxy}\t-\tsip\tidle\t00\t{preference}\t00\t-\n"
        ));
    }
    text
}

fn index(population: &str) -> Index {
    let mut index = Index::new(IDENTITIES).expect("memory");
    let loaded = load_from(
        population.as_bytes(),
        "registered",
        &mut index,
        Policy::Stop,
    );
    loaded.expect("a sound population");
    index
}

/// An order in a mode that wants the device which the user prefers.
fn order(mode: &str) -> Order {
    let text = format!(
        r#"{{"order":"all","mode":"{mode}","to":{{"everybody":true}},"select":{{"preference":10}},
        "content":{{"type":"text/plain","text":"{CONTENT}"}}}}"#
    );
    Order::read(&text).expect("a sound order")
}

/// The contacts that a registrar has for an identity (RFC 3261 10.2.3); `None` without an answer.
pub fn bindings(socket: &UdpSocket, registrar: SocketAddr, identity: usize) -> Option<usize> {
    let (own, aor) = (socket.local_addr().expect("an address"), aor(identity));
    let request = format!(
        "REGISTER sip:ims.example SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKq{identity}\r\nMax-Forwards: 70\r\n\
         From: <{aor}>;tag=q\r\nTo: <{aor}>\r\nCall-ID: query-{identity}\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"
    );
    socket.send_to(request.as_bytes(), registrar).ok();
    let mut answer = [0; DATAGRAM_BYTES_MAX];
    let (length, _) = socket.recv_from(&mut answer).ok()?;
    let text = String::from_utf8_lossy(&answer[..length]);
    let is_answer = text.contains(&format!("Call-ID: query-{identity}\r\n"));
    // From and To are beside the contacts.
    is_answer.then(|| text.matches("<sip:").count() - 2)
}

/// A socket that waits for answers in small steps.
pub fn asking_socket() -> UdpSocket {
    let socket = UdpSocket::bind(loopback(0)).expect("a free port");
    let patience = Some(Duration::from_millis(100));
    socket.set_read_timeout(patience).expect("a timeout");
    socket
}

/// Runs an order in a mode through Kamailio to registered devices of the load generator, which decide by
/// `policy` and build their sessions past the proxy.
fn addressed(
    mode: &str,
    policy: SessionPolicy,
    test: &str,
) -> Option<(EngineReport, LoadgenReport)> {
    let kamailio = KAMAILIO.path_or_skip(test)?;
    let directory = Directory::new("kamailio-modes");
    let proxy = loopback(free_port());
    let _running = start(&kamailio, &directory, proxy.port());
    let population = population(proxy);
    let path = directory.file("population.txt");
    std::fs::write(&path, &population).expect("a writable directory");
    let socket = asking_socket();
    wait_for("Kamailio to answer", || {
        bindings(&socket, proxy, 0).is_some()
    });
    let devices = Devices::start_with(LoadgenConfig {
        population: Some(path),
        target: Some(proxy),
        register: Some(Register {
            rate: 500.0,
            expires: 600,
            uri: Some("sip:ims.example".to_owned()),
            ..Register::default()
        }),
        content: Some(CONTENT.to_owned()),
        session: Some(policy),
        ..devices::config(Mix::all_ok())
    });
    for identity in 0..IDENTITIES {
        wait_for("all devices of an identity to be registered", || {
            bindings(&socket, proxy, identity) == Some(DEVICES_EACH)
        });
    }
    let engine = Engine::start(at_port(), index(&population));
    let summary = engine.order(order(mode));
    assert_eq!(summary.tally.delivered, IDENTITIES as u64, "{summary:?}");
    report_when("each SIR to lead to its session", &engine, |report| {
        report.pushes.waiting == 0 && report.sessions.open == 0
    });
    if mode == "prior-art" {
        // The others of the same SIR come as soon, and none of them is owed.
        let all = (IDENTITIES * DEVICES_EACH) as u64;
        report_when("the sessions of all devices", &engine, |report| {
            report.sessions.opened == all && report.sessions.open == 0
        });
    }
    let (report, _) = engine.stop();
    let told = devices.stop();
    assert_settled(&report);
    let counts = &told.sessions.counts;
    assert_eq!(
        counts.registered,
        (IDENTITIES * DEVICES_EACH) as u64,
        "{counts:?}"
    );
    assert_eq!(counts.contents, report.sessions.delivered, "{counts:?}");
    assert_eq!(counts.contents_corrupt, 0, "{counts:?}");
    assert_eq!(
        report.pushes.built, IDENTITIES as u64,
        "{:?}",
        report.pushes
    );
    Some((report, told))
}

/// A device that refuses says so with a status that leaves the others of the user alone (RFC 3261 16.7).
fn mild() -> SessionPolicy {
    SessionPolicy {
        declined_status: 480,
        unmatched_status: 480,
        ..SessionPolicy::default()
    }
}

/// SIRs that reached devices, sessions of unwanted ones, and duplicates.
fn reach((report, told): &(EngineReport, LoadgenReport)) -> (u64, u64, u64) {
    let copies = told.sessions.counts.copies;
    (copies, report.pushes.unwanted, report.pushes.duplicates)
}

#[test]
fn kamailio_routes_a_targeted_sir_to_one_device() {
    let test = "kamailio_routes_a_targeted_sir_to_one_device";
    let Some(ended) = addressed("targeted", mild(), test) else {
        return;
    };
    assert_eq!(reach(&ended), (IDENTITIES as u64, 0, 0));
}

#[test]
fn kamailio_forks_prior_art_to_all_devices_and_the_user_gets_duplicates() {
    let test = "kamailio_forks_prior_art_to_all_devices_and_the_user_gets_duplicates";
    let Some(ended) = addressed("prior-art", mild(), test) else {
        return;
    };
    let (all, others) = (IDENTITIES * DEVICES_EACH, IDENTITIES * (DEVICES_EACH - 1));
    assert_eq!(reach(&ended), (all as u64, others as u64, others as u64));
}

#[test]
fn kamailio_forks_to_all_devices_and_those_the_user_does_not_prefer_decide_against_it() {
    let test = "kamailio_forks_to_all_devices_and_those_the_user_does_not_prefer_decide_against_it";
    let preferred = SessionPolicy {
        preference_min: 10,
        ..mild()
    };
    let Some(ended) = addressed("self-select", preferred, test) else {
        return;
    };
    assert_eq!(reach(&ended), ((IDENTITIES * DEVICES_EACH) as u64, 0, 0));
}

#[test]
fn kamailio_forks_to_all_devices_and_those_that_are_not_named_decide_against_it() {
    let test = "kamailio_forks_to_all_devices_and_those_that_are_not_named_decide_against_it";
    let Some(ended) = addressed("matched", mild(), test) else {
        return;
    };
    assert_eq!(reach(&ended), ((IDENTITIES * DEVICES_EACH) as u64, 0, 0));
}

/// A session of a device behind the proxy.
struct Call {
    /// What the SIR said.
    sir: Taken,
    /// The route set, as Route takes it.
    route: String,
    /// To with the engine's tag, and the engine's Contact; empty before the 200.
    to: String,
    target: String,
    contents: Vec<Vec<u8>>,
    is_over: bool,
}

/// Devices that reach their PPG through the proxy alone.
struct Routed<'a> {
    socket: &'a UdpSocket,
    proxy: SocketAddr,
    end: SessionEnd,
    calls: Vec<Call>,
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

impl Routed<'_> {
    fn run(mut self, ended: &AtomicBool) -> Vec<Call> {
        let mut datagram = [0; DATAGRAM_BYTES_MAX];
        while !ended.load(Ordering::Relaxed) {
            let Ok((length, peer)) = self.socket.recv_from(&mut datagram) else {
                continue;
            };
            assert_eq!(peer, self.proxy, "the route set leads through the proxy");
            let message = Message::parse(&datagram[..length]).expect("a SIP message");
            match message.method() {
                Some(_) => self.request(&message),
                None => self.response(&message),
            }
        }
        self.calls
    }

    fn send(&self, message: &str) {
        let sent = self.socket.send_to(message.as_bytes(), self.proxy);
        sent.expect("a running proxy");
    }

    /// A request of the device in call `number`.
    fn ask(&self, number: usize, method: &str, cseq: u32, rest: &str) {
        let call = &self.calls[number];
        let own = self.socket.local_addr().expect("an address");
        let uri = if call.target.is_empty() {
            format!("{};t={}", call.sir.gateway, call.sir.token)
        } else {
            call.target.clone()
        };
        let device = device_of(&call.sir.uri);
        self.send(&format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bK{method}{number}\r\nMax-Forwards: 70\r\n\
             Route: {}\r\nFrom: <{}>;tag={number}\r\nTo: {}\r\nCall-ID: routed-{number}\r\nCSeq: {cseq} {method}\r\n\
             Contact: <sip:device-{device}@{own}>;+sip.instance=\"<{}>\"\r\n{rest}",
            call.route,
            call.sir.aor,
            call.to,
            self::device(device),
        ));
    }

    fn request(&mut self, request: &Message<'_>) {
        let call = request.call_id().and_then(number_of);
        let method = request.method();
        match (call, method) {
            (None, Some(Method::Message)) => {
                let sir = taken(request);
                let is_new = self.calls.iter().all(|call| call.sir != sir);
                self.answer(request, b"device");
                if is_new {
                    self.invite(sir);
                }
            }
            (Some(number), Some(Method::Message)) => {
                self.calls[number].contents.push(request.body().to_vec());
                self.answer(request, b"");
                if self.end == SessionEnd::Device {
                    self.ask(number, "BYE", 2, "Content-Length: 0\r\n\r\n");
                }
            }
            (Some(number), Some(Method::Bye)) => {
                self.calls[number].is_over = true;
                self.answer(request, b"");
            }
            other => panic!("{other:?} is not a request that a device gets"),
        }
    }

    fn answer(&self, request: &Message<'_>, tag: &[u8]) {
        let mut out = [0; DATAGRAM_BYTES_MAX];
        let written = write::response(&mut out, request, Status::OK, tag, &[]).expect("room");
        let sent = self.socket.send_to(&out[..written], self.proxy);
        sent.expect("a running proxy");
    }

    fn invite(&mut self, sir: Taken) {
        let number = self.calls.len();
        let offer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n";
        self.calls.push(Call {
            route: format!("<sip:{};lr>", self.proxy),
            to: format!("<{}>", sir.gateway),
            target: String::new(),
            contents: Vec::new(),
            is_over: false,
            sir,
        });
        let length = offer.len();
        let rest =
            format!("Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{offer}");
        self.ask(number, "INVITE", 1, &rest);
    }

    fn response(&mut self, response: &Message<'_>) {
        let number = response.call_id().and_then(number_of).expect("a call");
        let method = response.cseq().expect("CSeq").method;
        match (method, response.status_code()) {
            (_, Some(100..200)) => {}
            (Method::Invite, Some(200)) => {
                let contact = text(response.header(HeaderName::Contact).expect("a Contact"));
                let target = contact.trim_matches(['<', '>', ' ']).to_owned();
                // RFC 3261 12.1.2: the route set of the caller is Record-Route in reverse order.
                let mut routes: Vec<_> =
                    response.values(HeaderName::RecordRoute).map(text).collect();
                routes.reverse();
                let call = &mut self.calls[number];
                call.to = text(response.to().expect("To"));
                (call.target, call.route) = (target, routes.join(", "));
                self.ask(number, "ACK", 1, "Content-Length: 0\r\n\r\n");
            }
            (Method::Bye, Some(200)) => self.calls[number].is_over = true,
            other => panic!("{other:?}: {response:?}"),
        }
    }
}

/// The number of a call by its Call-ID; `None`: not a call of a device.
fn number_of(call_id: &[u8]) -> Option<usize> {
    text(call_id).strip_prefix("routed-")?.parse().ok()
}

/// The number of a device by its contact.
fn device_of(contact: &str) -> usize {
    let user = contact.trim_start_matches("sip:device-");
    let digits = user.split('@').next().expect("a user");
    digits.parse().expect("a number")
}

fn sessions_follow_their_routes(end: SessionEnd, test: &str) {
    let Some(kamailio) = KAMAILIO.path_or_skip(test) else {
        return;
    };
    let directory = Directory::new("kamailio-routes");
    let proxy = loopback(free_port());
    let _running = start(&kamailio, &directory, proxy.port());
    let socket = asking_socket();
    for number in 0..IDENTITIES * DEVICES_EACH {
        assert_eq!(register(&socket, proxy, number), 200, "device {number}");
    }
    let ended = Arc::new(AtomicBool::new(false));
    let devices = thread::spawn({
        let ended = ended.clone();
        move || {
            let devices = Routed {
                socket: &socket,
                proxy,
                end,
                calls: Vec::new(),
            };
            devices.run(&ended)
        }
    });
    let config = EngineConfig {
        session_end: end,
        ..at_port()
    };
    let engine = Engine::start(config, index(&population(proxy)));
    engine.order(order("targeted"));
    let wanted = IDENTITIES as u64;
    report_when("all sessions to end", &engine, |report| {
        report.sessions.ended.total() == wanted
    });
    let (report, _) = engine.stop();
    ended.store(true, Ordering::Relaxed);
    let calls = devices.join().expect("devices that follow the route set");
    assert_settled(&report);
    let sessions = &report.sessions;
    assert_eq!(
        (sessions.established, sessions.delivered),
        (wanted, wanted),
        "{sessions:?}"
    );
    assert_eq!(
        sessions.failed.total() + sessions.refused.total(),
        0,
        "{sessions:?}"
    );
    assert_eq!(report.pushes.duplicates, 0);
    let preferred = |call: &Call| device_of(&call.sir.uri).is_multiple_of(DEVICES_EACH);
    let whole = |call: &Call| call.is_over && call.contents == [CONTENT.as_bytes()];
    assert_eq!(calls.len(), IDENTITIES);
    assert!(calls.iter().all(|call| preferred(call) && whole(call)));
    assert!(calls.iter().all(|call| call.route.contains(";lr")));
}

#[test]
fn sessions_through_kamailio_follow_their_routes_when_the_engine_ends_them() {
    sessions_follow_their_routes(
        SessionEnd::Engine,
        "sessions_through_kamailio_follow_their_routes_when_the_engine_ends_them",
    );
}

#[test]
fn sessions_through_kamailio_follow_their_routes_when_the_device_ends_them() {
    sessions_follow_their_routes(
        SessionEnd::Device,
        "sessions_through_kamailio_follow_their_routes_when_the_device_ends_them",
    );
}
