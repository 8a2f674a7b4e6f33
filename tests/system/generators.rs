//! Several load generators in one run: as children of the bench, and joined from network namespaces of
//! their own, which the tests make and remove. What is asserted is who answered what and that sums are
//! sums; never a time.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::PoisonError;

use hdrhistogram::Histogram;
use serde_json::Value;
use sirocco_loadgen::{LAG, LoadgenReport, TRAINS_OUT};

use crate::bench::TURN;
use crate::namespaces::Namespaces;
use crate::process::{Directory, Ended, Guarded, run, wait_for};
use crate::sirocco;

/// A short bench of two generators.
const BENCH: &str = "bench --quiet --duration 1s --repetitions 1 --allow-shared-core --no-ceiling \
                     --identities 4000 --json record.json --generators 2";

fn words(command: &mut Command, text: &str) {
    command.args(text.split_whitespace());
}

/// The record that a bench wrote; its exit code has to be its verdict's.
fn record(directory: &Directory, ended: &Ended) -> Value {
    let text = std::fs::read_to_string(directory.file("record.json"));
    let text = text.unwrap_or_else(|error| panic!("no record ({error}): {}", ended.stderr));
    let record: Value = serde_json::from_str(&text).expect("a record is JSON");
    let wanted = if record["verdict"]["valid"] == true {
        0
    } else {
        2
    };
    assert_eq!(ended.code, Some(wanted), "{}", record["verdict"]);
    record
}

fn report(record: &Value, name: &str) -> LoadgenReport {
    serde_json::from_value(record["reports"][name].clone()).expect("a report")
}

/// Checks that the record holds two generators and their exact sum.
fn check(record: &Value) {
    let each = record["generators"].as_array().expect("generators");
    assert_eq!(each.len(), 2);
    let count = |one: &Value, name: &str| {
        one[name]
            .as_u64()
            .unwrap_or_else(|| panic!("{name} of {one}"))
    };
    assert_eq!(
        (count(&each[0], "edge_first"), count(&each[1], "edge_first")),
        (0, 8)
    );
    for name in ["sirs_received", "responses_sent"] {
        let own: Vec<u64> = each.iter().map(|one| count(one, name)).collect();
        assert!(own.iter().all(|count| *count > 0), "{name}: {own:?}");
        assert_eq!(own.iter().sum::<u64>(), count(&record["loadgen"], name));
    }
    for one in each {
        let clock = &one["clock"];
        assert!(clock["exchanges"].as_u64() > Some(1), "{one}");
        // One host has one clock, whichever namespace reads it.
        let [offset, unsure] =
            ["offset_us", "uncertainty_us"].map(|name| clock[name].as_f64().expect("a figure"));
        assert!(offset.abs() <= unsure, "{one}");
    }
    // The engine's books and those of both generators agree.
    assert_eq!(record["ledger"]["residue"], 0);
    assert_eq!(
        record["ledger"]["delivered"],
        record["loadgen"]["sirs_received"]
    );
    let [sum, one, two] = ["loadgen", "loadgen-1", "loadgen-2"].map(|name| report(record, name));
    for name in [LAG, TRAINS_OUT] {
        let [sum, one, two] = [&sum, &one, &two].map(|report| counts(report, name));
        let mut merged = one.clone();
        merged.add(&two).expect("equal bounds");
        assert_eq!(merged, sum, "{name}");
        assert!(
            one.len() + two.len() == sum.len() && !sum.is_empty(),
            "{name}"
        );
    }
}

fn counts(report: &LoadgenReport, name: &str) -> Histogram<u64> {
    report.histograms[name].unpack().expect("a histogram")
}

#[test]
fn two_children_share_the_edges_and_nobody_answers_twice() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Directory::new("generators");
    let mut command = sirocco(directory.path());
    words(&mut command, BENCH);
    let ended = run(command.args(["--rate", "5k", "--verify"]));
    let record = record(&directory, &ended);
    check(&record);
    // SIR by SIR over both generators' records: everybody once, nobody twice.
    let verify = &record["verify"];
    assert_eq!(verify["sirs_received"], verify["sirs_booked"], "{verify}");
    assert_eq!(verify["sirs_agreed"], verify["sirs_booked"], "{verify}");
    let faults = verify["faults"].as_object().expect("faults");
    assert!(faults.is_empty(), "{verify}");
}

#[test]
fn sessions_of_two_generators_never_mix() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Directory::new("generators-sessions");
    let mut command = sirocco(directory.path());
    words(&mut command, BENCH);
    let ended = run(command.args(["--rate", "1k", "--scenario", "sessions"]));
    let record = record(&directory, &ended);
    check(&record);
    let sum = report(&record, "loadgen");
    let own = ["loadgen-1", "loadgen-2"].map(|name| report(&record, name).sessions.counts);
    assert_eq!(
        sum.sessions.counts.established,
        own[0].established + own[1].established
    );
    assert!(own.iter().all(|own| own.established > 0));
    assert_eq!(
        sum.sessions.strays, 0,
        "no message of another generator's call"
    );
    assert_eq!(
        sum.sessions.counts.setup_us.count,
        sum.sessions.counts.established
    );
}

#[test]
fn one_that_dies_ends_all() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Directory::new("generators-death");
    let mut command = sirocco(directory.path());
    words(&mut command, &BENCH.replace("1s", "60s"));
    command.args(["--rate", "2k", "--listen", "127.0.0.1:0"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut bench = Guarded::start(&mut command);
    let address = listening(bench.0.id());
    let mut joined = [(); 2].map(|()| join(directory.path(), &address));
    wait_for("both generators to hold edges", || edges(&joined) == 2);
    joined[0].signal("KILL");
    assert_eq!(bench.exit_code(), Some(2), "an invalid run");
    assert_eq!(joined[1].exit_code(), Some(2), "the other one ends too");
    assert!(
        !directory.file("record.json").exists(),
        "and nothing is published"
    );
}

/// Starts a generator that joins.
fn join(directory: &Path, address: &str) -> Guarded {
    let mut command = sirocco(directory);
    let command = command.args(["loadgen", "--join", address, "--idle", "wait"]);
    Guarded::start(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null()),
    )
}

/// The address that a bench listens on, by the system's table of sockets.
fn listening(process: u32) -> String {
    let mut found = None;
    wait_for("the bench to listen", || {
        found = listening_port(process);
        found.is_some()
    });
    format!("127.0.0.1:{}", found.expect("a port"))
}

/// The port of the one TCP socket that a process listens on (proc_pid_net_tcp(5)).
fn listening_port(process: u32) -> Option<u16> {
    let inodes: Vec<String> = std::fs::read_dir(format!("/proc/{process}/fd"))
        .ok()?
        .flatten()
        .filter_map(|entry| std::fs::read_link(entry.path()).ok())
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    let table = std::fs::read_to_string(format!("/proc/{process}/net/tcp")).ok()?;
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_own = fields.get(3) == Some(&"0A")
            && inodes
                .iter()
                .any(|inode| fields.get(9) == Some(&inode.as_str()));
        let port = fields.get(1)?.rsplit(':').next()?;
        is_own.then(|| u16::from_str_radix(port, 16).ok())?
    })
}

/// How many of them have edges open: sockets of UDP.
fn edges(generators: &[Guarded]) -> usize {
    let has_many = |one: &&Guarded| {
        let fds = std::fs::read_dir(format!("/proc/{}/fd", one.0.id()));
        fds.is_ok_and(|fds| fds.count() > 12)
    };
    generators.iter().filter(has_many).count()
}

#[test]
fn generators_in_namespaces_of_their_own_join_over_a_network() {
    let test = "generators_in_namespaces_of_their_own_join_over_a_network";
    let Some(network) = Namespaces::make_or_skip(test) else {
        return;
    };
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Directory::new("generators-namespaces");
    std::fs::write(
        directory.file("secret"),
        "a secret of sixteen octets and more",
    )
    .expect("writable");
    let address = format!("{}:7711", network.engine_address());
    let generators = [0, 1].map(|number| {
        let mut command = network.inside(number, &sirocco(directory.path()));
        let command = command.args([
            "loadgen",
            "--join",
            &address,
            "--secret-file",
            "secret",
            "--idle",
            "wait",
        ]);
        Guarded::start(
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        )
    });
    let mut bench = network.at_the_engine(&sirocco(directory.path()));
    words(&mut bench, BENCH);
    let ended = run(bench.args([
        "--rate",
        "2k",
        "--listen",
        &address,
        "--secret-file",
        "secret",
    ]));
    let record = record(&directory, &ended);
    check(&record);
    let peers: Vec<&str> = record["generators"]
        .as_array()
        .expect("generators")
        .iter()
        .map(|one| {
            one["peer"]
                .as_str()
                .expect("a peer")
                .split(':')
                .next()
                .expect("an address")
        })
        .collect();
    for number in [0, 1] {
        assert!(
            peers.contains(&network.address(number).as_str()),
            "{peers:?}"
        );
    }
    for mut generator in generators {
        assert_eq!(generator.exit_code(), Some(0));
    }
}

#[test]
fn a_generator_without_the_secret_is_kept_out_and_told_why() {
    let directory = Directory::new("generators-secret");
    std::fs::write(
        directory.file("secret"),
        "a secret of sixteen octets and more",
    )
    .expect("writable");
    let mut command = sirocco(directory.path());
    words(&mut command, BENCH);
    command.args([
        "--listen",
        "127.0.0.1:0",
        "--secret-file",
        "secret",
        "--join-within",
        "10s",
    ]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let bench = Guarded::start(&mut command);
    let address = listening(bench.0.id());
    let mut stranger = sirocco(directory.path());
    let ended = run(stranger.args(["loadgen", "--join", &address]));
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains("secrets differ"), "{}", ended.stderr);
    let mut open = sirocco(directory.path());
    words(&mut open, BENCH);
    let ended = run(open.args(["--listen", "0.0.0.0:0", "--engine-address", "127.0.0.1"]));
    assert_eq!(ended.code, Some(4), "{}", ended.stderr);
    assert!(ended.stderr.contains("--secret-file"), "{}", ended.stderr);
}
