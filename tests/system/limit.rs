//! Searches for the limit with real processes on tiny populations: whole records, honest endings, and
//! command lines refused. What is found depends on the machine, so no rate is held to anything.

use std::sync::PoisonError;

use serde_json::Value;

use crate::bench::TURN;
use crate::process::{Directory, run};
use crate::sirocco;

const SHORT: &str = "bench --find-max --quiet --no-ceiling --allow-shared-core --identities 2000 \
                     --probe 100ms --hold 100ms --bisections 1 --resolution 20% --json record.json";

fn search(name: &str, arguments: &str) -> Value {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Directory::new(name);
    let mut command = sirocco(directory.path());
    command.args(SHORT.split_whitespace());
    let ended = run(command.args(arguments.split(' ')));
    let text = std::fs::read_to_string(directory.file("record.json"));
    let text = text.unwrap_or_else(|error| panic!("no record ({error}): {}", ended.stderr));
    let record: Value = serde_json::from_str(&text).expect("a record is JSON");
    let verdict = &record["verdict"];
    let wanted = match (verdict["passed"] == true, verdict["valid"] == true) {
        (false, _) => 1,
        (true, false) => 2,
        (true, true) => 0,
    };
    assert_eq!(ended.code, Some(wanted), "{verdict}");
    assert_eq!(record["ledger"]["residue"], 0, "{}", record["ledger"]);
    check(&record["limit"]);
    record
}

/// What every search has to show, whatever it found.
fn check(limit: &Value) {
    let list = |name: &str| limit[name].as_array().cloned().unwrap_or_default();
    let (knee, holds) = (list("knee"), list("holds"));
    assert!(!knee.is_empty(), "{limit}");
    for probe in knee.iter().chain(&holds) {
        assert!(probe["attempts"].as_u64() > Some(0), "{probe}");
        if probe["judgement"] == "passed" {
            assert!(probe["latency_us"]["count"].as_u64() > Some(0), "{probe}");
        }
        let broken = probe["reasons"].as_array().is_some_and(|r| !r.is_empty());
        assert_eq!(broken, probe["judgement"] != "passed", "{probe}");
    }
    let found = limit["ending"] == "found";
    assert_eq!(limit["rate_per_s"].is_number(), found, "{limit}");
    assert!(
        limit["words"]
            .as_str()
            .is_some_and(|words| !words.is_empty())
    );
    if found && limit["method"] == "bisect" {
        let held = |probe: &&Value| {
            probe["rate_per_s"] == limit["rate_per_s"] && probe["judgement"] == "passed"
        };
        assert!(holds.iter().filter(held).count() >= 3, "{limit}");
    }
}

#[test]
fn a_search_ends_with_every_probe_in_its_record() {
    let record = search("limit", "--criterion ihs(10s)<=10% --budget 4s");
    assert_eq!(record["limit"]["criterion"], "ihs(10s)<=10%");
}

#[test]
fn direct_and_overload_have_limits_too() {
    search("limit-direct", "--scenario direct --budget 3s");
    let record = search("limit-overload", "--scenario overload --budget 3s");
    assert_eq!(record["limit"]["criterion"], "ihs(4s)<=1%");
}

#[test]
fn sessions_are_judged_by_their_sessions() {
    let record = search(
        "limit-sessions",
        "--scenario sessions --criterion ihs(10s)<=10% --budget 4s",
    );
    assert_eq!(record["limit"]["unit"], "sessions");
}

#[test]
fn an_objective_out_of_reach_is_missed_or_the_run_is_invalid() {
    let arguments = "--criterion ihs(10s)<=10% --budget 3s --objective 900M";
    let record = search("limit-objective", arguments);
    let verdict = &record["verdict"];
    assert!(
        verdict["passed"] == false || verdict["valid"] == false,
        "{verdict}"
    );
}

#[test]
fn the_methods_of_the_documents_report_what_they_ask_for() {
    for (method, named) in [
        ("rfc7502", "Establishment Threshold time"),
        ("etsi", "Design objective capacity"),
    ] {
        let arguments = format!("--method {method} --attempts 20000 --budget 2s");
        let record = search(method, &arguments);
        let report = record["limit"]["report"].to_string();
        assert!(report.contains(named), "{report}");
    }
}

#[test]
fn what_has_no_limit_is_a_usage_error() {
    let directory = Directory::new("limit-usage");
    for (arguments, named) in [
        ("--find-max --scenario hold", "holds sessions open"),
        ("--find-max --criterion p98<=1ms", "p99.9"),
        ("--find-max --holds 2", "at least 3"),
        ("--criterion loss<=0", "--find-max"),
    ] {
        let mut command = sirocco(directory.path());
        let ended = run(command.arg("bench").args(arguments.split(' ')));
        assert_eq!(ended.code, Some(4), "{arguments}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(named),
            "{arguments}: {}",
            ended.stderr
        );
    }
}
