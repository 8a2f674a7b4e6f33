//! baresip, a user agent that people make calls with, behind Kamailio: it refuses a SIR as a body that it does
//! not know (415), and builds the session that a SIR of its user names when it is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use sirocco_dispatch::order::Order;
use sirocco_index::Index;
use sirocco_index::population::{Policy, load_from};
use sirocco_tests::process::{Directory, Guarded, wait_for};
use sirocco_tests::tools::{BARESIP, KAMAILIO};

use crate::calls::{CONTENT, Takers, assert_settled, at_port, report_when};
use crate::engine::Engine;
use crate::kamailio::{aor, device, register, start};
use crate::proxy::{asking_socket, bindings};
use crate::{free_port, loopback};

/// Where Debian keeps the modules.
const MODULES: &str = "/usr/lib/baresip/modules";
/// The number of the user agent's device; the next one is a device of the same user that takes SIRs.
pub const AGENT: usize = 0;

/// A running user agent and the connection that it is told by.
struct Agent {
    _running: Guarded,
    control: TcpStream,
    /// All that it told so far.
    told: String,
}

impl Agent {
    /// Starts one that registers at a proxy as the first device of the first identity.
    fn start(baresip: &Path, directory: &Directory, proxy: SocketAddr) -> Self {
        let [sip, control] = [free_port(), free_port()].map(loopback);
        // Without an audio device; what there is of modules is named here.
        let config = format!(
            "sip_listen {sip}\nnet_interface 127.0.0.1\nmodule_path {MODULES}\nmodule uuid.so\nmodule g711.so\n\
             module ausine.so\nmodule_app account.so\nmodule_app menu.so\nmodule_app ctrl_tcp.so\n\
             ctrl_tcp_listen {control}\naudio_source ausine,440\n"
        );
        let account = format!(
            "<{}>;outbound=\"sip:{proxy}\";regint=600;auth_pass=none;sipnat=outbound\n",
            aor(0)
        );
        let uuid = device(AGENT).replace("urn:uuid:", "");
        for (name, text) in [("config", config), ("accounts", account), ("uuid", uuid)] {
            std::fs::write(directory.file(name), text).expect("a writable directory");
        }
        let log = std::fs::File::create(directory.file("log.txt")).expect("a writable directory");
        let mut command = Command::new(baresip);
        // With a trace of SIP: nothing else shows what it takes.
        command.arg("-s").arg("-f").arg(directory.path());
        let both = log.try_clone().expect("a file");
        let running = Guarded::start(command.stdin(Stdio::null()).stdout(both).stderr(log));
        let mut connection = None;
        wait_for("baresip to listen", || {
            connection = TcpStream::connect(control).ok();
            connection.is_some()
        });
        let control = connection.expect("it was waited for");
        let patience = Some(Duration::from_millis(50));
        control.set_read_timeout(patience).expect("a timeout");
        Self {
            _running: running,
            control,
            told: String::new(),
        }
    }

    /// Calls a URI. Commands are JSON in netstrings.
    fn dial(&mut self, uri: &str) {
        let command = format!(r#"{{"command":"dial","params":"{uri}"}}"#);
        let framed = format!("{}:{command},", command.len());
        let sent = self.control.write_all(framed.as_bytes());
        sent.expect("a user agent that listens");
    }

    fn wait_until_told(&mut self, what: &str) {
        wait_for(what, || {
            let mut octets = [0; 4_096];
            let length = self.control.read(&mut octets).unwrap_or(0);
            self.told += &String::from_utf8_lossy(&octets[..length]);
            self.told.contains(what)
        });
    }
}

/// The user's two devices: of the user agent, and of one that takes SIRs.
pub fn population(proxy: SocketAddr) -> Index {
    let mut text = String::from("#sirocco-population 1\n");
    for number in [AGENT, AGENT + 1] {
        let (aor, device) = (aor(0), device(number));
        text.push_str(&format!(
            "{aor}\t{device}\t{proxy}\t-\tsip\tidle\t00\t0\t00\t-\n"
        ));
    }
    let mut index = Index::new(1).expect("memory");
    load_from(text.as_bytes(), "user", &mut index, Policy::Stop).expect("a sound population");
    index
}

/// An order to push to the user.
pub fn order(name: &str, rest: &str) -> Order {
    let text = format!(
        r#"{{"order":"{name}","to":{{"everybody":true}},"content":{{"type":"text/plain","text":"{CONTENT}"}},{rest}}}"#
    );
    Order::read(&text).expect("a sound order")
}

#[test]
fn baresip_refuses_a_sir_and_builds_the_session_it_is_told_to() {
    let test = "baresip_refuses_a_sir_and_builds_the_session_it_is_told_to";
    let (Some(kamailio), Some(baresip)) = (KAMAILIO.path_or_skip(test), BARESIP.path_or_skip(test))
    else {
        return;
    };
    let [of_proxy, of_agent] = ["baresip-proxy", "baresip"].map(Directory::new);
    let proxy = loopback(free_port());
    let _running = start(&kamailio, &of_proxy, proxy.port());
    let socket = asking_socket();
    wait_for("Kamailio to answer", || {
        bindings(&socket, proxy, 0).is_some()
    });
    let mut agent = Agent::start(&baresip, &of_agent, proxy);
    wait_for("baresip to be registered", || {
        bindings(&socket, proxy, 0) == Some(1)
    });
    assert_eq!(register(&socket, proxy, AGENT + 1), 200);
    let other = Takers::start(socket);
    let config = at_port();
    let engine = Engine::start(config, population(proxy));

    // By its GRUU the SIR reaches the user agent, which takes no such body (RFC 3428 7).
    let agent_only = format!(r#""select":{{"devices":["{}"]}}"#, device(AGENT));
    let refused = engine.order(order("refused", &agent_only));
    assert_eq!((refused.tally.delivered, refused.tally.failed), (0, 1));

    // By the user's identity it reaches both; the other device takes it, and the user acts by hand.
    let taken = engine.order(order("taken", r#""mode":"prior-art""#));
    assert_eq!((taken.tally.delivered, taken.tally.failed), (1, 0));
    let sirs = other.stop();
    let [sir] = &sirs[..] else {
        panic!("{sirs:?} instead of one SIR");
    };
    agent.dial(&format!("{};t={}", sir.gateway, sir.token));
    agent.wait_until_told("CALL_ESTABLISHED");
    agent.wait_until_told("CALL_CLOSED");
    report_when("the session to end", &engine, |report| {
        report.sessions.ended.total() == 1
    });
    drop(agent);
    let shown = std::fs::read(of_agent.file("log.txt")).unwrap_or_default();
    let shown = String::from_utf8_lossy(&shown);
    assert!(
        shown.contains(CONTENT),
        "the user agent has the content\n{shown}"
    );
    let (report, _) = engine.stop();
    let (sessions, pushes) = (&report.sessions, &report.pushes);
    assert_eq!(report.ledger.failed_by_cause.get("415"), Some(&1));
    assert_eq!(
        (
            sessions.established,
            sessions.delivered,
            sessions.ended.engine
        ),
        (1, 1, 1),
        "{sessions:?}"
    );
    assert_eq!(
        (pushes.due, pushes.built, pushes.duplicates),
        (1, 1, 0),
        "{pushes:?}"
    );
    assert_settled(&report);
}
