//! Engine, load generator and population command as processes of their own, told by lines and signals.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;

use crate::process::{Directory, Guarded, PATIENCE, run};
use crate::sirocco;

/// A role that speaks in JSON lines and is told in lines.
pub struct Role {
    /// Its process.
    pub child: Guarded,
    events: Receiver<Value>,
}

impl Role {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = Guarded::start(command);
        let out = child.0.stdout.take().expect("a pipe");
        let (told, events) = channel();
        thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let event =
                    serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}"));
                if told.send(event).is_err() {
                    return;
                }
            }
        });
        Self { child, events }
    }

    /// Tells it a line.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.child.0.stdin.as_mut().expect("a pipe");
        writeln!(stdin, "{line}").expect("a role that listens");
    }

    /// The next event of a name; those of `seen` are passed over.
    pub fn event(&self, name: &str) -> Value {
        self.event_where(name, |_| true)
    }

    /// The next event of a name for which `wanted` holds.
    pub fn event_where(&self, name: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = self.events.recv_timeout(PATIENCE);
            let event = event.unwrap_or_else(|_| panic!("waited in vain for event {name}"));
            if event["event"] == name && wanted(&event) {
                return event;
            }
        }
    }

    /// Everything until the end, and the exit code.
    pub fn end(mut self) -> (Vec<Value>, Option<i32>) {
        let code = self.child.exit_code();
        (self.events.iter().collect(), code)
    }
}

fn loadgen(directory: &Path, mix: &str) -> (Role, String) {
    let mut command = sirocco(directory);
    let role =
        Role::start(command.args(["loadgen", "--edges", "1", "--idle", "wait", "--mix", mix]));
    let ready = role.event("ready");
    let edge = ready["addresses"][0]
        .as_str()
        .expect("an address")
        .to_owned();
    (role, edge)
}

fn engine(directory: &Path, edge: &str, arguments: &[&str]) -> Role {
    let mut command = sirocco(directory);
    command.args([
        "engine",
        "--generate",
        "40",
        "--next-hops",
        edge,
        "--next-hop-count",
        "1",
    ]);
    command
        .args(["--config-json", r#"{"drain-ms":500}"#])
        .args(arguments);
    let role = Role::start(&mut command);
    // Ten times 1 to 4 devices.
    assert_eq!(role.event("ready")["devices"], 100);
    role
}

#[test]
fn orders_come_by_line_by_file_and_by_socket() {
    let directory = Directory::new("orders");
    let (_devices, edge) = loadgen(directory.path(), "200:1");
    let mut engine = engine(directory.path(), &edge, &["--socket", "orders.socket"]);
    engine.tell(r#"{"order":"all","mode":"fan-out","to":{"everybody":true}}"#);
    assert_eq!(engine.event("finished")["delivered"], 100);

    let list =
        "# two of them\nsip:+8613800000000@ims.example\n\nsip:+8613800000001@ims.example\nnobody\n";
    std::fs::write(directory.file("list.txt"), list).expect("a writable directory");
    engine.tell(r#"{"order":"list","to":{"file":"list.txt"}}"#);
    let finished = engine.event("finished");
    // The first has one device, the second two; the third line is nobody.
    assert_eq!(
        (&finished["delivered"], &finished["failed"]),
        (&3.into(), &1.into()),
        "{finished}"
    );

    let mut socket =
        UnixStream::connect(directory.file("orders.socket")).expect("the local socket");
    let order = r#"{"order":"one","to":{"identity":"sip:+8613800000003@ims.example"}}"#;
    writeln!(socket, "{order}").expect("a listener");
    let mut answer = String::new();
    BufReader::new(&socket)
        .read_line(&mut answer)
        .expect("an answer");
    assert!(answer.contains("\"taken\":\"one\""), "{answer}");
    assert_eq!(engine.event("finished")["delivered"], 4);

    engine.tell("nonsense");
    assert!(
        engine.event("refused")["reason"]
            .as_str()
            .is_some_and(|why| why.contains("drain"))
    );
    engine.tell("stop");
    let (rest, code) = engine.end();
    let report = rest
        .iter()
        .find(|event| event["event"] == "report")
        .expect("a last report");
    assert_eq!((code, &report["ledger"]["residue"]), (Some(0), &0.into()));
    assert_eq!(report["ledger"]["delivered"], 107);
}

#[test]
fn a_drain_by_signal_names_everything_it_gives_up() {
    let directory = Directory::new("drain");
    let (_devices, edge) = loadgen(directory.path(), "silent:1");
    let mut engine = engine(directory.path(), &edge, &[]);
    engine.tell(r#"{"order":"all","mode":"fan-out","to":{"everybody":true}}"#);
    engine.event_where("progress", |progress| progress["sirs_sent"] == 100);
    engine.child.signal("TERM");
    let (rest, code) = engine.end();
    assert_eq!(code, Some(0));
    let mut named: Vec<_> = rest
        .iter()
        .filter(|event| event["event"] == "cancelled")
        .map(|event| {
            assert_eq!(
                (&event["order"], &event["sent"]),
                (&"all".into(), &true.into()),
                "{event}"
            );
            format!("{} {}", event["identity"], event["device"])
        })
        .collect();
    named.sort();
    named.dedup();
    assert_eq!(named.len(), 100, "each device is named once");
    let report = rest
        .iter()
        .find(|event| event["event"] == "report")
        .expect("a last report");
    let ledger = &report["ledger"];
    assert_eq!(
        (&ledger["cancelled"], &ledger["residue"]),
        (&100.into(), &0.into()),
        "{ledger}"
    );
}

#[test]
fn roles_end_when_nobody_commands_them_any_more() {
    let directory = Directory::new("orphans");
    let (mut devices, edge) = loadgen(directory.path(), "200:1");
    let mut engine = engine(directory.path(), &edge, &[]);
    for role in [&mut engine, &mut devices] {
        drop(role.child.0.stdin.take());
    }
    assert_eq!(engine.end().1, Some(0));
    assert_eq!(devices.end().1, Some(0));
}

#[test]
fn populations_are_generated_checked_and_refused() {
    let directory = Directory::new("population");
    let population = |arguments: &str| {
        run(sirocco(directory.path())
            .arg("population")
            .args(arguments.split(' ')))
    };
    for file in ["people.txt", "people.snapshot"] {
        let generated = population(&format!("generate {file} --identities 1000"));
        assert_eq!(generated.code, Some(0), "{}", generated.stderr);
        let checked = population(&format!("check {file}"));
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    }
    let path = directory.file("people.txt");
    let mut text = std::fs::read_to_string(&path).expect("it was written");
    let lines = text.lines().count();
    text.push_str("not a line\n");
    std::fs::write(&path, text).expect("a writable directory");
    let checked = population("check people.txt");
    let place = format!("people.txt:{}:", lines + 1);
    assert_eq!(checked.code, Some(1));
    assert!(
        checked.stderr.contains(&place) && checked.stderr.contains("column 1"),
        "{}",
        checked.stderr
    );

    let path = directory.file("people.snapshot");
    let mut snapshot = std::fs::read(&path).expect("it was written");
    let middle = snapshot.len() / 2;
    snapshot[middle] ^= 1;
    std::fs::write(&path, &snapshot).expect("a writable directory");
    assert_eq!(population("check people.snapshot").code, Some(1));
    std::fs::write(&path, &snapshot[..middle]).expect("a writable directory");
    let torn = population("check people.snapshot");
    assert!(
        torn.code == Some(1) && torn.stderr.contains("torn"),
        "{}",
        torn.stderr
    );
}

#[test]
fn usage_errors_end_with_4_and_say_what_to_type() {
    let directory = Directory::new("usage");
    for (arguments, hint) in [
        ("bench --identities many", "250k"),
        ("bench --scenario nothing", "dispatch"),
        ("bench --mix 200:x", "mix"),
        ("dance", "subcommand"),
        ("population generate", "FILE"),
    ] {
        let ended = run(sirocco(directory.path()).args(arguments.split(' ')));
        assert_eq!(ended.code, Some(4), "{arguments}: {}", ended.stderr);
        assert!(ended.stderr.contains(hint), "{arguments}: {}", ended.stderr);
    }
    assert_eq!(run(sirocco(directory.path()).arg("--help")).code, Some(0));
}

/// Runs a command with io_uring_setup refused, as a container's filter refuses it. In C: nothing but the
/// ring may hold unsafe Rust, and whoever compiles Rust has a C compiler.
const DENY_IO_URING: &str = include_str!("deny_io_uring.c");

#[test]
fn where_io_uring_is_refused_the_engine_says_so_and_works() {
    let directory = Directory::new("refused");
    let source = directory.file("deny.c");
    std::fs::write(&source, DENY_IO_URING).expect("a writable directory");
    let deny = directory.file("deny");
    let compiled = run(Command::new("cc").arg("-o").arg(&deny).arg(&source));
    assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
    let (_devices, edge) = loadgen(directory.path(), "200:1");
    let mut command = Command::new(&deny);
    command
        .current_dir(directory.path())
        .arg(env!("CARGO_BIN_EXE_sirocco"));
    command.args([
        "engine",
        "--generate",
        "40",
        "--next-hops",
        &edge,
        "--next-hop-count",
        "1",
    ]);
    let mut engine = Role::start(&mut command);
    let notices = engine.event("ready")["notices"].to_string();
    assert!(
        notices.contains("io_uring") && notices.contains("sendmmsg"),
        "{notices}"
    );
    engine.tell(r#"{"order":"all","mode":"fan-out","to":{"everybody":true}}"#);
    assert_eq!(engine.event("finished")["delivered"], 100);
    engine.tell("stop");
    assert_eq!(engine.end().1, Some(0));
}
