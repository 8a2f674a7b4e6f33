//! `sirocco plan` from outside: kept records in, a plan out, its exit codes, and the check of its model
//! against runs that were made after it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn records(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/records")
        .join(name)
}

fn plan(options: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_sirocco"))
        .arg("plan")
        .args(options)
        .output()
        .expect("a command that starts");
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8(text).expect("text"))
}

fn kept(options: &[&str]) -> (Option<i32>, String) {
    let folder = records("plan");
    let folder = folder.to_str().expect("a plain path");
    plan(&[options, &["--records", folder]].concat())
}

fn json(options: &[&str]) -> serde_json::Value {
    let (code, text) = kept(&[options, &["--json", "-"]].concat());
    assert_eq!(code, Some(0), "{text}");
    serde_json::from_str(&text).expect("JSON alone")
}

#[test]
fn a_plan_names_every_line_with_its_interval_and_what_it_rests_on() {
    let plan = json(&[
        "subscribers=40M",
        "--what-if",
        "subscribers=1M,40M",
        "--what-if",
        "mode=targeted,prior-art",
    ]);
    assert_eq!(plan["schema"], "sirocco.plan/1");
    let lines = plan["lines"].as_array().expect("lines");
    for line in lines {
        let (low, high) = (
            line["low"].as_f64().expect("low"),
            line["high"].as_f64().expect("high"),
        );
        let value = line["value"].as_f64().expect("value");
        assert!(low <= value && value <= high, "{line}");
    }
    let workers = lines
        .iter()
        .find(|line| line["name"] == "workers")
        .expect("workers");
    assert!(
        workers["extrapolated"][0]["times"].as_f64().expect("times") > 10.0,
        "{workers}"
    );
    for coefficient in plan["coefficients"].as_array().expect("coefficients") {
        assert!(
            !coefficient["records"]
                .as_array()
                .expect("records")
                .is_empty(),
            "{coefficient}"
        );
    }
    assert_eq!(plan["modes"].as_array().map(Vec::len), Some(4));
    assert_eq!(
        plan["what_if"]["variants"].as_array().map(Vec::len),
        Some(4)
    );
}

#[test]
fn people_read_the_same_and_extrapolation_is_in_capitals() {
    let (code, text) = kept(&["subscribers=40M", "--what-if", "peak-factor=1,10"]);
    assert_eq!(code, Some(0), "{text}");
    for words in [
        "EXTRAPOLATED",
        "machines, spare ones included",
        "prior-art",
        "peak-factor",
        "log2(identities)",
        "note:",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
}

#[test]
fn the_question_whether_it_fits_is_the_exit_code() {
    let (code, text) = kept(&["machines=1000", "--quiet"]);
    assert_eq!((code, text.as_str()), (Some(0), ""));
    let (code, text) = kept(&["machines=1"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("does not fit 1 machines"), "{text}");
}

#[test]
fn mistakes_and_missing_records_have_their_own_codes() {
    let (code, text) = kept(&["subscriber=1"]);
    assert_eq!(code, Some(4), "{text}");
    assert!(text.contains("devices-per-subscriber"), "{text}");
    let (code, text) = kept(&["--figure", "nothing"]);
    assert_eq!(code, Some(4), "{text}");
    let one = records("direct.json");
    let (code, text) = plan(&["--records", one.to_str().expect("a plain path")]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("sirocco plan --measure"), "{text}");
    let (code, text) = plan(&["--records", "/nowhere"]);
    assert_eq!(code, Some(2), "{text}");
}

#[test]
fn a_printed_plan_is_a_plan() {
    let folder = crate::process::Directory::new("plan");
    let (code, text) = plan(&["--print-plan"]);
    assert_eq!(code, Some(0));
    let path = folder.file("own.toml");
    std::fs::write(&path, text.replace("30_000_000", "1_000_000")).expect("a writable folder");
    let of_file = json(&["--plan", path.to_str().expect("a plain path")]);
    assert_eq!(of_file["assumptions"]["subscribers"], 1e6);
    let (code, text) = plan(&["--plan", "/nowhere.toml"]);
    assert_eq!(code, Some(4), "{text}");
}
