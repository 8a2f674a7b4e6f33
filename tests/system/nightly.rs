//! `sirocco nightly` from outside: a small suite whole, its exit codes over prepared histories, its outputs
//! before parsers of other people, and the workflow that runs it on a CI service.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::PoisonError;

use serde_json::{Value, json};
use yaml_rust2::{Yaml, YamlLoader};

use crate::bench::TURN;
use crate::process::{Directory, Ended, run};
use crate::{sirocco, tools};

/// The script that asks the parsers.
const PARSERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/system/nightly.py");
/// Where Debian has the interpreter that its packages are for.
const PYTHON: &str = "/usr/bin/python3";

/// The parts of the quick suite, each a second long.
const SUITE: &str = r#"
name = "small"
counted = true

[[scenario]]
scenario = "null"
identities = 2000
starts = 2
repetitions = 2
duration-ms = 200
warm-up-ms = 100
objectives = ["sirs_per_s >= 1"]
"#;

fn nightly(folder: &Directory, options: &str) -> Ended {
    let mut command = sirocco(folder.path());
    command.args(
        "nightly --history h.jsonl --baseline c.json --out out --allow-shared-core".split(' '),
    );
    run(command.args(options.split_whitespace()))
}

/// The lines of the history.
fn lines(folder: &Directory) -> Vec<Value> {
    let text = fs::read_to_string(folder.file("h.jsonl")).expect("a history");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect()
}

#[test]
fn a_small_suite_runs_whole_and_leaves_a_line_a_scenario_and_every_output() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = Directory::new("nightly");
    fs::write(folder.file("suite.toml"), SUITE).expect("a file");
    let first = nightly(&folder, "--suite suite.toml --accept-counters");
    let written = lines(&folder);
    let names: Vec<&Value> = written.iter().map(|line| &line["scenario"]).collect();
    assert_eq!(names, ["counted", "null"], "{first:?}");
    // A machine that somebody else uses makes the run invalid; the first night has nothing before it.
    let valid = written[1]["verdict"]["valid"] == true;
    assert_eq!(first.code, Some(if valid { 3 } else { 2 }), "{first:?}");
    assert!(
        first.stdout.starts_with("### sirocco nightly: "),
        "{first:?}"
    );
    if valid {
        let samples = written[1]["times"]["cpu_ns_per_sir"]
            .as_array()
            .map(Vec::len);
        assert_eq!(samples, Some(4), "two starts of two repetitions");
    }
    assert_eq!(written[0]["counters"]["shard_bytes_written_per_sir"], 233.0);
    for output in ["nightly.md", "junit.xml", "bmf.json", "metrics.txt"] {
        assert!(folder.file("out").join(output).is_file(), "no {output}");
    }
    // The counters are those that were accepted.
    let second = nightly(&folder, "--suite suite.toml");
    assert_eq!(lines(&folder).len(), 4);
    assert!(
        second.stdout.contains("the same: 6 of 6 counters"),
        "{second:?}"
    );
}

/// So many nights with a CPU time and a counter each.
fn history(folder: &Directory, times: &[f64], change: impl Fn(usize, &mut [Value; 2])) {
    let mut text = String::new();
    for (night, time) in times.iter().enumerate() {
        let line = |scenario: &str| {
            json!({
                "schema": "sirocco.history/1", "night_unix_s": 1_700_000_000 + 86_400 * night,
                "commit": format!("c{night}"), "host_key": "h", "scenario": scenario, "settings": "s",
                "attempts": 1, "verdict": { "valid": true, "passed": true, "reasons": [] },
                "counters": {}, "times": {}
            })
        };
        let mut both = [line("counted"), line("dispatch")];
        both[0]["counters"]["shard_bytes_written_per_sir"] = 233.into();
        both[1]["times"]["cpu_ns_per_sir"] = json!([time * 0.99, time, time * 1.01]);
        change(night, &mut both);
        for line in both {
            text.push_str(&format!("{line}\n"));
        }
    }
    fs::write(folder.file("h.jsonl"), text).expect("a file");
    let accepted = json!({ "schema": "sirocco.counters/1",
        "jobs": { "counted s": { "shard_bytes_written_per_sir": 233 } } });
    fs::write(folder.file("c.json"), accepted.to_string()).expect("a file");
}

#[test]
fn every_exit_code_has_its_night() {
    let folder = Directory::new("nightly-codes");
    let flat = [200.0; 12];
    let code = |times: &[f64], options: &str, change: &dyn Fn(usize, &mut [Value; 2])| {
        history(&folder, times, change);
        nightly(&folder, &format!("--no-run {options}")).code
    };
    let none = |_: usize, _: &mut [Value; 2]| ();
    let last = |night: usize| night == 11;
    assert_eq!(code(&flat, "", &none), Some(0));
    let worse = |night: usize, lines: &mut [Value; 2]| {
        lines[0]["counters"]["shard_bytes_written_per_sir"] = (233 + u32::from(last(night))).into();
    };
    assert_eq!(code(&flat, "", &worse), Some(1), "a counter got worse");
    let failed = |night: usize, lines: &mut [Value; 2]| {
        lines[1]["verdict"]["passed"] = (!last(night)).into();
    };
    assert_eq!(code(&flat, "", &failed), Some(1), "a check failed");
    let missed = |_: usize, lines: &mut [Value; 2]| {
        lines[1]["objectives"] =
            json!([{ "objective": "cpu_ns_per_sir <= 100", "value": 200.0, "met": false }]);
    };
    assert_eq!(
        code(&flat, "", &missed),
        Some(0),
        "an objective that is told only"
    );
    assert_eq!(
        code(&flat, "--objectives", &missed),
        Some(1),
        "an objective that counts"
    );
    let empty = |night: usize, lines: &mut [Value; 2]| {
        if last(night) {
            lines[1]["times"] = json!({});
        }
    };
    assert_eq!(code(&flat, "", &empty), Some(2), "no samples");
    let hollow = |night: usize, lines: &mut [Value; 2]| {
        if last(night) {
            lines[1]["times"] = json!({ "cpu_ns_per_sir": [] });
        }
    };
    assert_eq!(code(&flat, "", &hollow), Some(2), "an empty sample set");
    let uncounted = |night: usize, lines: &mut [Value; 2]| {
        if last(night) {
            lines[0]["counters"] = json!({});
        }
    };
    assert_eq!(code(&flat, "", &uncounted), Some(2), "no counters");
    let invalid = |night: usize, lines: &mut [Value; 2]| {
        lines[1]["verdict"]["valid"] = (!last(night)).into();
    };
    assert_eq!(code(&flat, "", &invalid), Some(2), "an invalid run");
    assert_eq!(code(&flat[..7], "", &none), Some(3), "seven nights");
    let elsewhere = |night: usize, lines: &mut [Value; 2]| {
        lines[1]["host_key"] = if last(night) { "other" } else { "h" }.into();
    };
    assert_eq!(code(&flat, "", &elsewhere), Some(3), "another machine");
    assert_eq!(code(&[], "", &none), Some(2), "an empty history");
    assert_eq!(code(&flat, "--no-such-option", &none), Some(4));
    assert_eq!(nightly(&folder, "--suite nowhere.toml").code, Some(4));
    // A step only alarms.
    let stepped: Vec<f64> = (0..12)
        .map(|night| if night < 6 { 200.0 } else { 220.0 })
        .collect();
    assert_eq!(code(&stepped, "", &none), Some(0));
}

/// Nights with a step of 5 % that the last of them confirms, and a counter that is worse.
fn judged_night(folder: &Directory) {
    let level = |night: usize| if night < 26 { 200.0 } else { 210.0 };
    let wobble = |night: usize| 1.0 + 0.004 * ((night * 7 % 5) as f64 - 2.0);
    let times: Vec<f64> = (0..30).map(|night| level(night) * wobble(night)).collect();
    history(folder, &times, |night, lines| {
        lines[0]["counters"]["shard_bytes_written_per_sir"] = (233 + u32::from(night == 29)).into();
    });
    let ended = nightly(folder, "--no-run");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let page = ended.stdout;
    assert!(page.lines().count() <= 30, "more than a screen: {page}");
    let at = |words: &str| {
        page.find(words)
            .unwrap_or_else(|| panic!("{words}: {page}"))
    };
    assert!(
        at("**worse**: counted") < at("**alarm**: dispatch: cpu_ns_per_sir"),
        "{page}"
    );
    assert!(at("**alarm**") < at("the same:"), "{page}");
    assert!(at("`c25` and `c26`") < at("| time |"), "{page}");
}

#[test]
fn parsers_of_others_read_junit_and_openmetrics() {
    let asked = Command::new(PYTHON)
        .args(["-c", "import junitparser, prometheus_client"])
        .output();
    if !asked.is_ok_and(|asked| asked.status.success()) {
        assert!(
            !tools::in_ci(),
            "install python3-junitparser and python3-prometheus-client"
        );
        let line =
            "SKIPPED parsers_of_others: install python3-junitparser and python3-prometheus-client";
        std::io::Write::write_all(&mut std::io::stderr(), format!("{line}\n").as_bytes()).ok();
        return;
    }
    let folder = Directory::new("nightly-parsers");
    judged_night(&folder);
    let ended = run(Command::new(PYTHON).arg(PARSERS).arg(folder.file("out")));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let read: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    // Two runs, one counter, one time; the counter is the failure.
    assert_eq!(
        read["suites"],
        json!([["sirocco nightly the history's last night", 4, 1, 0, 0]])
    );
    assert_eq!(
        read["results"],
        json!({ "Failure": 1, "Error": 0, "Skipped": 0 })
    );
    assert_eq!(
        read["cases"][2],
        json!(["counted", "shard_bytes_written_per_sir"])
    );
    assert_eq!(read["families"]["sirocco_nightly_time"], "gauge");
    assert_eq!(read["families"]["sirocco_nightly_run"], "info");
    assert_eq!(
        read["samples"]["counted/shard_bytes_written_per_sir"],
        234.0
    );
    assert_eq!(read["samples"]["sirocco_nightly_exit_code/"], 1.0);
    assert_eq!(read["samples"]["sirocco_nightly_alarms/"], 1.0);
}

/// The schema that Bencher documents for its metric format: benchmark, measure, and three numbers of which
/// the first has to be there.
#[test]
fn the_metric_format_is_the_documented_one() {
    let folder = Directory::new("nightly-bmf");
    judged_night(&folder);
    let text = fs::read_to_string(folder.file("out").join("bmf.json")).expect("bmf.json");
    let benches: Value = serde_json::from_str(&text).expect("JSON");
    let benches = benches.as_object().expect("benchmarks by name");
    assert_eq!(benches.keys().collect::<Vec<_>>(), ["counted", "dispatch"]);
    for measures in benches.values() {
        for (name, measure) in measures.as_object().expect("measures by name") {
            let fields = measure.as_object().expect("a measure");
            assert!(fields["value"].is_f64(), "{name}: {measure}");
            for (field, value) in fields {
                let known = ["value", "lower_value", "upper_value"].contains(&field.as_str());
                assert!(known && value.is_f64(), "{name}: {field}: {value}");
            }
        }
    }
    let time = &benches["dispatch"]["cpu_ns_per_sir"];
    assert!(
        time["lower_value"].as_f64() < time["upper_value"].as_f64(),
        "{time}"
    );
}

fn workflow() -> Yaml {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.github/workflows/nightly.yml");
    let text = fs::read_to_string(path).expect("the workflow");
    let mut documents = YamlLoader::load_from_str(&text).expect("YAML");
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

#[test]
fn the_workflow_uses_known_actions_and_commands_that_exist() {
    let workflow = workflow();
    assert!(workflow["on"]["schedule"][0]["cron"].as_str().is_some());
    let steps = workflow["jobs"]["nightly"]["steps"]
        .as_vec()
        .expect("steps");
    let actions: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["uses"].as_str())
        .collect();
    for action in &actions {
        let name = action.split('@').next().unwrap_or_default();
        let known = [
            "actions/checkout",
            "actions/cache/restore",
            "actions/cache/save",
            "actions/upload-artifact",
        ];
        assert!(known.contains(&name), "{action}");
    }
    let scripts: Vec<&str> = steps
        .iter()
        .filter_map(|step| step["run"].as_str())
        .collect();
    assert_eq!(
        actions.len() + scripts.len(),
        steps.len(),
        "each step does one thing"
    );
    let folder = Directory::new("workflow");
    let mut asked = 0;
    for script in scripts {
        let ended = run(Command::new("bash").args(["-n", "-c", script]));
        assert_eq!(ended.code, Some(0), "{script}: {ended:?}");
        for line in script
            .lines()
            .filter_map(|line| line.trim().strip_prefix("target/release/sirocco "))
        {
            // Options are read in their order: help comes after the last of them, or an error before.
            let words = line
                .split(" ||")
                .next()
                .unwrap_or_default()
                .split_whitespace();
            let ended = run(sirocco(folder.path()).args(words).arg("--help"));
            assert_eq!(ended.code, Some(0), "{line}: {ended:?}");
            asked += 1;
        }
    }
    assert_eq!(asked, 1, "the workflow runs the night");
}

#[test]
fn the_benches_whose_instructions_are_counted_exist() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR"));
    for suite in ["quick", "full"] {
        let text = fs::read_to_string(tree.join(format!("nightly/{suite}.toml"))).expect("a suite");
        let suite: toml::Value = toml::from_str(&text).expect("TOML");
        for bench in suite["instructions"].as_array().expect("benches") {
            let bench = bench.as_str().expect("a name");
            let (package, name) = bench.split_once('/').expect("package/bench");
            let folder = package.strip_prefix("sirocco-").expect("a package of ours");
            let path: PathBuf = tree.join(format!("../engine/{folder}/benches/{name}.rs"));
            assert!(path.is_file(), "{bench}: no {}", path.display());
        }
    }
}
