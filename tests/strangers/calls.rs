//! What the tests of sessions share: an engine at a known port, its books while it runs, and devices that
//! take a SIR, answer it and keep what it says.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use sirocco_dispatch::config::EngineConfig;
use sirocco_dispatch::report::EngineReport;
use sirocco_dispatch::worker::{Command, Event};
use sirocco_tests::process::PATIENCE;
use sirocco_wire::sip::message::{Message, Method};
use sirocco_wire::sip::status::Status;
use sirocco_wire::sip::write;
use sirocco_wire::sir::Sir;

use crate::engine::Engine;
use crate::{free_port, loopback};

/// Longest datagram.
pub const DATAGRAM_BYTES_MAX: usize = 4_096;
/// What orders of these tests push.
pub const CONTENT: &str = "Your parcel is at the door.";

/// Time between two looks at the books.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Settings of an engine at a port of its own that strangers can be told.
pub fn at_port() -> EngineConfig {
    EngineConfig {
        bind: loopback(free_port()),
        window_per_next_hop: 32,
        train_segments: 16,
        ..EngineConfig::default()
    }
}

/// The books of a running engine.
pub fn report(engine: &Engine) -> EngineReport {
    engine.tell(Command::Report);
    match engine.events.recv_timeout(PATIENCE) {
        Ok(Event::Report(report)) => *report,
        other => panic!("{other:?} instead of a report"),
    }
}

/// Waits until the books of a running engine are as wanted, and returns them.
pub fn report_when(
    what: &str,
    engine: &Engine,
    wanted: impl Fn(&EngineReport) -> bool,
) -> EngineReport {
    let until = Instant::now() + PATIENCE;
    loop {
        let report = report(engine);
        if wanted(&report) {
            return report;
        }
        let EngineReport {
            pushes,
            sessions,
            ledger,
            ..
        } = report;
        assert!(
            Instant::now() < until,
            "waited in vain for {what}: {pushes:?}\n{sessions:?}\n{ledger:?}"
        );
        thread::sleep(LOOK_EVERY);
    }
}

/// Asserts that the books balance and nothing is left open.
pub fn assert_settled(report: &EngineReport) {
    assert_eq!(report.ledger.residue, 0, "{:?}", report.ledger);
    assert_eq!(report.pushes.residue, 0, "{:?}", report.pushes);
    assert_eq!(report.sessions.residue(), 0, "{:?}", report.sessions);
    assert_eq!(report.sessions.open, 0, "{:?}", report.sessions);
}

/// A SIR as a device got it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Taken {
    /// The Request-URI it came with.
    pub uri: String,
    /// The user identity that To names.
    pub aor: String,
    /// Where the session is to be built, without parameters.
    pub gateway: String,
    /// The token to show there.
    pub token: String,
}

/// Devices at one socket that answer every SIR with 200.
pub struct Takers {
    /// Where they are reached.
    pub address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Taken>>,
}

impl Takers {
    /// Starts them at a socket, which may have registered them before.
    pub fn start(socket: UdpSocket) -> Self {
        let address = socket.local_addr().expect("an address");
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout");
        let ended = Arc::new(AtomicBool::new(false));
        let thread = thread::spawn({
            let ended = ended.clone();
            move || take_all(&socket, &ended)
        });
        Self {
            address,
            ended,
            thread,
        }
    }

    /// Ends them: what each got, retransmissions once.
    pub fn stop(self) -> Vec<Taken> {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().expect("devices that answer")
    }
}

fn take_all(socket: &UdpSocket, ended: &AtomicBool) -> Vec<Taken> {
    let mut all = Vec::new();
    let mut datagram = [0; DATAGRAM_BYTES_MAX];
    while !ended.load(Ordering::Relaxed) {
        let Ok((length, peer)) = socket.recv_from(&mut datagram) else {
            continue;
        };
        let request = Message::parse(&datagram[..length]).expect("a request");
        if request.method() != Some(Method::Message) {
            continue;
        }
        all.push(taken(&request));
        let mut out = [0; DATAGRAM_BYTES_MAX];
        let written = write::response(&mut out, &request, Status::OK, b"device", &[]);
        socket
            .send_to(&out[..written.expect("room")], peer)
            .expect("a running peer");
    }
    all.sort();
    all.dedup();
    all
}

/// What a SIR says.
pub fn taken(request: &Message<'_>) -> Taken {
    let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    let sir = Sir::parse(request.body()).expect("the body of a SIR");
    let to = text(request.to().unwrap_or(b""));
    let aor = to.trim().trim_start_matches('<');
    Taken {
        uri: text(request.request_uri().unwrap_or(b"")),
        aor: aor.split('>').next().unwrap_or(aor).to_owned(),
        gateway: text(sir.gateway()),
        token: text(sir.token().expect("a SIR names a token")),
    }
}
