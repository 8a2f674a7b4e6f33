//! linphone, a user agent that people make calls with, behind Kamailio: its library takes a SIR once the
//! application on it says so, calls as a SIR says with its GRUU as Contact, and hangs up at once, for a
//! session without media is none to it.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use sirocco_tests::process::{Directory, Guarded, wait_for};
use sirocco_tests::tools::{KAMAILIO, LINPHONE, PYTHON};

use crate::baresip::{AGENT, order, population};
use crate::calls::{Takers, assert_settled, at_port, report_when};
use crate::engine::Engine;
use crate::kamailio::{aor, device, register, start};
use crate::proxy::{asking_socket, bindings};
use crate::{free_port, loopback};

/// A running user agent.
struct Agent {
    running: Guarded,
    lines: Receiver<String>,
    /// All that it told so far.
    told: Vec<String>,
}

impl Agent {
    /// Starts one that registers at a proxy as the first device of the first identity.
    fn start(python: &Path, directory: &Directory, proxy: SocketAddr) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/strangers/linphone.py");
        let uuid = device(AGENT).replace("urn:uuid:", "");
        let log = std::fs::File::create(directory.file("log.txt")).expect("a writable directory");
        let mut command = Command::new(python);
        command
            .args([script, &free_port().to_string(), &proxy.to_string()])
            .args([&aor(0), &uuid])
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut running = Guarded::start(&mut command);
        let output = running.0.stdout.take().expect("its output is piped");
        let (heard, lines) = channel();
        std::thread::spawn(move || {
            let read = BufReader::new(output).lines().map_while(Result::ok);
            read.for_each(|line| drop(heard.send(line)));
        });
        Self {
            running,
            lines,
            told: Vec::new(),
        }
    }

    /// Calls a URI.
    fn dial(&mut self, uri: &str) {
        let sent = writeln!(
            self.running.0.stdin.as_mut().expect("its input is piped"),
            "{uri}"
        );
        sent.expect("a user agent that listens");
    }

    fn wait_until_told(&mut self, what: &str) {
        wait_for(what, || {
            let line = self.lines.recv_timeout(Duration::from_millis(50));
            self.told.extend(line);
            self.told.iter().any(|line| line.contains(what))
        });
    }
}

#[test]
fn linphone_takes_a_sir_and_calls_as_it_is_told_to() {
    let test = "linphone_takes_a_sir_and_calls_as_it_is_told_to";
    let tools = [KAMAILIO, LINPHONE, PYTHON].map(|tool| tool.path_or_skip(test));
    let [Some(kamailio), Some(_), Some(python)] = tools else {
        return;
    };
    let [of_proxy, of_agent] = ["linphone-proxy", "linphone"].map(Directory::new);
    let proxy = loopback(free_port());
    let _running = start(&kamailio, &of_proxy, proxy.port());
    let socket = asking_socket();
    wait_for("Kamailio to answer", || {
        bindings(&socket, proxy, 0).is_some()
    });
    let mut agent = Agent::start(&python, &of_agent, proxy);
    wait_for("linphone to be registered", || {
        bindings(&socket, proxy, 0) == Some(1)
    });
    assert_eq!(register(&socket, proxy, AGENT + 1), 200);
    let other = Takers::start(socket);
    let engine = Engine::start(at_port(), population(proxy));

    // By its GRUU the SIR reaches the user agent alone, which takes it.
    let agent_only = format!(r#""select":{{"devices":["{}"]}}"#, device(AGENT));
    let taken = engine.order(order("taken", &agent_only));
    assert_eq!((taken.tally.delivered, taken.tally.failed), (1, 0));
    agent.wait_until_told("application/vnd.wap.sia");

    // By the user's identity it reaches both. The library keeps the binary body from its application, so
    // the user acts by hand on what the other device shows.
    let both = engine.order(order("both", r#""mode":"prior-art""#));
    assert_eq!((both.tally.delivered, both.tally.failed), (1, 0));
    let sirs = other.stop();
    let [sir] = &sirs[..] else {
        panic!("{sirs:?} instead of one SIR");
    };
    agent.dial(&format!("{};t={}", sir.gateway, sir.token));
    agent.wait_until_told("Incompatible");
    report_when("the session to end", &engine, |report| {
        report.sessions.ended.total() == 1
    });
    drop(agent);
    let (report, _) = engine.stop();
    let (sessions, pushes) = (&report.sessions, &report.pushes);
    assert!(report.ledger.failed_by_cause.is_empty());
    assert_eq!(
        (sessions.opened, sessions.delivered, sessions.ended.peer),
        (1, 0, 1),
        "{sessions:?}"
    );
    assert_eq!(pushes.duplicates, 0, "{pushes:?}");
    assert_settled(&report);
}
