//! The load of a bench from the command line: its shape, its course in the record, changed while it measures.

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
    let own = "--identities 1000 --no-ceiling \
               --allow-shared-core --quiet --json record.json";
    if !arguments.contains("--scenario") {
        command.args(["bench", "--scenario", "null"]);
    } else {
        command.arg("bench");
    }
    if !arguments.contains("--repetitions") {
        command.args(["--repetitions", "1"]);
    }
    let own = own.split_whitespace().map(str::to_owned);
    // A shape has blanks of its own.
    let arguments = arguments
        .split_whitespace()
        .map(|word| word.replace('_', " "));
    command
        .args(own.chain(arguments))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Guarded::start(&mut command)
}

/// Starts a bench that takes its scenario from elsewhere.
fn start_alone(directory: &Path, arguments: &str) -> Guarded {
    let mut command = sirocco(directory);
    command
        .args("bench --allow-shared-core --quiet --json record.json".split(' '))
        .args(arguments.split(' '))
        .stdin(Stdio::null())
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

/// Runs a bench to its end; the first run of its record.
fn ran(name: &str, arguments: &str) -> Value {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Directory::new(name);
    start(directory.path(), arguments).exit_code();
    record(directory.path())["runs"][0].clone()
}

#[test]
fn a_shape_is_offered_whole_and_its_course_adds_up() {
    let shape =
        "--load ramp_0..40k/500ms,hold_1s,spike_x2/250ms,pause_250ms,burst_50,hold_20k/500ms";
    let arguments = |seed| format!("--arrivals poisson --seed {seed} {shape}");
    let run = ran("shape", &arguments(3));
    let (load, offered) = (&run["load"], run["offered"]["digest"]["entries"].as_u64());
    assert_eq!(load["is_whole"], true, "{load}");
    let sum = |list: &str, figure: &str| -> Option<u64> {
        let list = load[list].as_array().expect(list);
        Some(list.iter().filter_map(|item| item[figure].as_u64()).sum())
    };
    for (list, figure) in [
        ("series", "offered"),
        ("series", "sent"),
        ("segments", "offered"),
        ("segments", "answered"),
    ] {
        assert_eq!(sum(list, figure), offered, "{list} {figure}: {load}");
    }
    let kinds: Vec<_> = load["segments"]
        .as_array()
        .expect("segments")
        .iter()
        .collect();
    assert_eq!(kinds.len(), 6, "{load}");
    assert_eq!(
        (&kinds[3]["kind"], &kinds[3]["offered"]),
        (&"pause".into(), &0.into())
    );
    // 20,000 of a spike of 80 k/s for a quarter second; six standard deviations.
    let spike = kinds[2]["offered"].as_u64().expect("a count");
    assert!((19_150..20_850).contains(&spike), "{spike}");
    assert_eq!(
        run["offered"]["digest"],
        ran("again", &arguments(3))["offered"]["digest"]
    );
    assert_ne!(
        run["offered"]["digest"],
        ran("other", &arguments(4))["offered"]["digest"]
    );
}

#[test]
fn a_recorded_run_is_offered_again_to_the_order_and_another_one_is_told() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Directory::new("replay");
    let load = "--load hold_10k/500ms,spike_x3/250ms,burst_40,hold_10k/250ms --arrivals poisson";
    let recorded = format!("{load} --repetitions 2 --record-run run.json --record-orders");
    start(directory.path(), &recorded).exit_code();
    let first = record(directory.path());
    let again = "--replay run.json --record-run again.json --record-orders";
    start_alone(directory.path(), again).exit_code();
    let second = record(directory.path());
    for run in [0, 1] {
        let digest = |record: &Value| record["runs"][run]["offered"]["digest"].clone();
        assert_eq!(digest(&first), digest(&second));
        assert_eq!(second["replay"]["runs"][run]["offered"], digest(&first));
        let orders = |file: &str| {
            std::fs::read(directory.file(&format!("{file}.{}.orders", run + 1))).expect("orders")
        };
        assert!(orders("run.json").len() > 100_000);
        assert!(
            orders("run.json") == orders("again.json"),
            "orders of load {run}"
        );
    }
    let file = std::fs::read_to_string(directory.file("run.json")).expect("a run");
    let mut other: Value = serde_json::from_str(&file).expect("JSON");
    let mut changed = |change: &dyn Fn(&mut Value), code: i32| {
        change(&mut other);
        std::fs::write(directory.file("other.json"), other.to_string()).expect("a file");
        let mut bench = start_alone(directory.path(), "--replay other.json");
        assert_eq!(bench.exit_code(), Some(code), "{other}");
    };
    changed(&|run| run["runs"][0]["load"]["seed"] = 77.into(), 1);
    changed(&|run| run["scenario"]["seed"] = 77.into(), 2);
    changed(&|run| run["schema"] = "sirocco.run/0".into(), 4);
}

#[test]
fn what_cannot_follow_a_shape_says_so() {
    let directory = Directory::new("shapeless");
    for arguments in [
        "--load hold_1k/1s --find-max",
        "--load hold_1k/1s --rate 5k",
        "--load hold_1k/1s --duration 2s",
        "--load hold_1k/1s --scenario hold",
        "--load hold",
    ] {
        let mut bench = start(directory.path(), arguments);
        assert_eq!(bench.exit_code(), Some(4), "{arguments}");
    }
}

#[test]
fn what_cannot_be_changed_says_so() {
    let directory = Directory::new("uncontrolled");
    for arguments in ["--rate max --control wheel", "--find-max --control wheel"] {
        let mut bench = start(directory.path(), arguments);
        assert_eq!(bench.exit_code(), Some(4), "{arguments}");
    }
}
