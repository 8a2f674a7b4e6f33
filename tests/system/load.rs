//! The load of a bench from the command line: changed while it measures.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::sync::PoisonError;
use std::time::Duration;

use serde_json::Value;

use crate::bench::TURN;
use crate::process::{Directory, Guarded};
use crate::sirocco;

/// Starts a bench of the scenario without sockets; its record is `record.json`.
fn start(directory: &Path, arguments: &str) -> Guarded {
    let mut command = sirocco(directory);
    let own = "bench --scenario null --identities 1000 --repetitions 1 --no-ceiling \
               --allow-shared-core --quiet --json record.json";
    command
        .args(own.split_whitespace().chain(arguments.split_whitespace()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Guarded::start(&mut command)
}

fn record(directory: &Path) -> Value {
    let text = std::fs::read_to_string(directory.join("record.json")).expect("a record");
    serde_json::from_str(&text).expect("a record is JSON")
}

#[test]
fn a_bench_is_changed_through_its_socket_and_keeps_each_change_with_its_time() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Directory::new("control");
    let mut bench = start(
        directory.path(),
        "--rate 20k --duration 60s --control wheel",
    );
    let path = directory.file("wheel");
    let stream = loop {
        match UnixStream::connect(&path) {
            Ok(stream) => break stream,
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let mut answers = BufReader::new(&stream)
        .lines()
        .map(|line| line.expect("an answer"));
    let mut tell = |line: &str| {
        writeln!(&stream, "{line}").expect("a bench that listens");
        answers.next().expect("an answer")
    };
    assert!(tell("faster").contains("refused"));
    // Until a schedule is at work changes are left out; a minute holds six hundred of them.
    let latest = directory.file("target/sirocco/latest.json");
    for change in ["scale 2", "pause", "resume", "rate 5k"]
        .iter()
        .cycle()
        .take(60)
    {
        assert!(tell(change).contains("taken"), "{change}");
        std::thread::sleep(Duration::from_millis(100));
        assert!(
            !latest.exists(),
            "the bench goes on until it is told to stop"
        );
    }
    assert!(tell("stop").contains("taken"));
    bench.exit_code();
    let record = record(directory.path());
    let steers = record["runs"][0]["offered"]["steers"].as_array();
    let steers = steers.expect("changes").clone();
    assert!(!steers.is_empty(), "{}", record["runs"][0]["offered"]);
    let times: Vec<_> = steers.iter().map(|steer| steer["at_ns"].as_u64()).collect();
    assert!(times.is_sorted(), "{times:?}");
    assert!(!path.exists(), "the socket goes with the bench");
}

#[test]
fn what_cannot_be_changed_says_so() {
    let directory = Directory::new("uncontrolled");
    for arguments in ["--rate max --control wheel", "--find-max --control wheel"] {
        let mut bench = start(directory.path(), arguments);
        assert_eq!(bench.exit_code(), Some(4), "{arguments}");
    }
}
