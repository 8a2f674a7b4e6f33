//! Short runs of every scenario: a whole record, a ledger that balances, and an honest exit code.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

use crate::process::{Directory, run};
use crate::sirocco;

/// One bench at a time: two would fight for the same cores, and the larger for longer than need be.
pub static TURN: Mutex<()> = Mutex::new(());

/// Runs a scenario for a second; its exit code and its record.
fn bench(directory: &Path, arguments: &str) -> (i32, Value) {
    let mut command = sirocco(directory);
    command.args(
        "bench --duration 1s --repetitions 1 --allow-shared-core --json record.json".split(' '),
    );
    command.args(arguments.split(' '));
    let ended = run(&mut command);
    let code = ended.code.expect("an exit code");
    let text = std::fs::read_to_string(directory.join("record.json"));
    let text = text
        .unwrap_or_else(|error| panic!("no record ({error}), exit code {code}: {}", ended.stderr));
    (code, serde_json::from_str(&text).expect("a record is JSON"))
}

/// Checks what every record has, whatever the machine: exit code 0 or 2, as its verdict says.
fn check(scenario: &str, code: i32, record: &Value) {
    assert_eq!(record["schema"], "sirocco.record/1");
    assert_eq!(record["scenario"], scenario);
    assert_eq!(record["ledger"]["residue"], 0, "{}", record["ledger"]);
    for field in [
        "seed",
        "commit",
        "host",
        "cores",
        "config",
        "command_line",
        "loadgen",
        "runs",
        "notices",
    ] {
        assert!(record.get(field).is_some(), "no {field}");
    }
    let engine = &record["engine"];
    for figure in [
        "sirs_sent",
        "sirs_answered",
        "retransmissions",
        "cpu_ns_per_sir",
        "syscalls_per_sir",
        "bytes_written_per_sir",
        "allocations_per_sir",
        "segments_per_train",
    ] {
        assert!(engine[figure].is_number(), "{figure} is {}", engine[figure]);
    }
    assert!(engine["sirs_failed"].is_object());
    assert!(engine["sirs_sent"].as_u64() > Some(0));
    // Without sockets there is no answer to wait for.
    for percentile in ["p50", "p90", "p99", "p999", "max"] {
        let figure = &record["latency_us"][percentile];
        assert_eq!(
            figure.is_number(),
            scenario != "null",
            "{percentile} is {figure}"
        );
    }
    let verdict = &record["verdict"];
    let wanted = if verdict["valid"] == true { 0 } else { 2 };
    assert_eq!(code, wanted, "{verdict}");
    let reasons = verdict["reasons"].as_array().expect("reasons");
    assert_eq!(
        reasons.is_empty(),
        verdict["valid"] == true,
        "an invalid run says why: {verdict}"
    );
}

fn run_scenario(scenario: &str, arguments: &str) -> Value {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Directory::new(scenario);
    let arguments = format!("--quiet --scenario {scenario} {arguments}");
    let (code, record) = bench(directory.path(), &arguments);
    check(scenario, code, &record);
    let latest = directory.file("target/sirocco/latest.json");
    let latest = std::fs::read_to_string(latest).expect("the latest record is kept");
    assert_eq!(
        serde_json::from_str::<Value>(&latest).expect("JSON"),
        record
    );
    record
}

#[test]
fn dispatch_ends_with_a_whole_record() {
    let record = run_scenario("dispatch", "--identities 20000 --rate 20k");
    for ceiling in [
        "gso_gro_ns_per_message",
        "datagram_ns_per_message",
        "tcp_ns_per_message",
    ] {
        assert!(
            record["ceiling"][ceiling].is_number(),
            "{ceiling}: {}",
            record["ceiling"]
        );
    }
    assert_eq!(record["ledger"]["delivered"], record["ledger"]["accepted"]);
}

#[test]
fn direct_ends_with_a_whole_record() {
    run_scenario("direct", "--identities 20000 --rate 2k --no-ceiling");
}

#[test]
fn fanout_ends_with_a_whole_record() {
    run_scenario("fanout", "--identities 20000 --rate 10k --no-ceiling");
}

#[test]
fn null_ends_with_a_whole_record() {
    run_scenario("null", "--identities 20000 --no-ceiling");
}

#[test]
fn overload_ends_with_a_whole_record() {
    run_scenario("overload", "--identities 20000 --rate 20k --no-ceiling");
}

#[test]
fn silent_waits_for_timer_f_and_books_every_silence() {
    let record = run_scenario("silent", "--identities 20000 --rate 2k --no-ceiling");
    assert!(
        record["engine"]["sirs_failed"]["timeout"].as_u64() > Some(0),
        "{}",
        record["engine"]
    );
    assert!(record["engine"]["retransmissions"].as_u64() > Some(0));
}

#[test]
fn verify_compares_engine_and_devices_sir_by_sir() {
    let record = run_scenario(
        "fanout",
        "--identities 5000 --rate 10k --no-ceiling --verify",
    );
    let verify = &record["verify"];
    assert_eq!(verify["devices_wanted"], 15_000, "{verify}");
    for side in ["sirs_booked", "sirs_received", "sirs_agreed"] {
        assert_eq!(verify[side], 15_000, "{verify}");
    }
    assert!(
        verify["faults"]
            .as_object()
            .is_some_and(serde_json::Map::is_empty),
        "{verify}"
    );
}

#[test]
fn the_table_is_for_people_and_the_progress_too() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Directory::new("table");
    let mut command = sirocco(directory.path());
    let words = "bench --duration 1s --repetitions 1 --allow-shared-core --no-ceiling --identities 2000 --rate 2k";
    let ended = run(command.args(words.split(' ')));
    for words in ["SIRs answered /s", "ledger residue", "verdict"] {
        let shown = format!("{}{}", ended.stdout, ended.stderr);
        assert!(shown.contains(words), "no {words} in {shown}");
    }
}
