//! `sirocco compare` from outside: kept records, what it says of them, and its exit codes.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A kept record.
fn record(name: &str) -> PathBuf {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/records");
    tree.join(name)
}

fn compare(a: &Path, b: &Path, options: &[&str]) -> (Option<i32>, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(env!("CARGO_BIN_EXE_sirocco"))
        .arg("compare")
        .args([a, b])
        .args(options)
        .output()
        .expect("a command that starts");
    let text = [stdout, stderr].concat();
    (status.code(), String::from_utf8(text).expect("text"))
}

#[test]
fn a_kept_record_shows_no_difference_to_itself() {
    let kept = record("dispatch.json");
    let (code, text) = compare(&kept, &kept, &["--json", "-", "--counts"]);
    assert_eq!(code, Some(0), "{text}");
    let comparison: serde_json::Value = serde_json::from_str(&text).expect("JSON alone");
    assert_eq!(comparison["schema"], "sirocco.comparison/1");
    let findings = comparison["scenarios"][0]["findings"].as_array();
    let of = |name: &str| {
        let mut findings = findings.expect("findings").iter();
        findings
            .find(|finding| finding["metric"] == name)
            .expect(name)["word"]
            .clone()
    };
    assert_eq!(of("bytes_written_per_sir"), "same");
}

#[test]
fn few_repetitions_tell_no_time_and_so_pass_nothing_unless_counts_are_enough() {
    let folder = crate::process::Directory::new("compare-few");
    let text = std::fs::read_to_string(record("dispatch.json")).expect("a kept record");
    let mut few: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    few["runs"].as_array_mut().expect("runs").truncate(1);
    let path = folder.file("few.json");
    std::fs::write(&path, few.to_string()).expect("a writable folder");
    let (code, text) = compare(&path, &path, &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(text.contains("no time could be told"), "{text}");
    let (code, text) = compare(&path, &path, &["--counts"]);
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn a_slower_record_is_a_regression_and_a_strange_file_is_named() {
    let folder = crate::process::Directory::new("compare");
    let text = std::fs::read_to_string(record("dispatch.json")).expect("a kept record");
    let record_of = |name: &str, factor: f64| {
        let mut record: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let runs = record["runs"].as_array_mut().expect("runs");
        runs.extend(runs.clone());
        for run in runs {
            let cpu = run["engine"]["cpu_ns_per_sir"].as_f64().expect("a figure");
            run["engine"]["cpu_ns_per_sir"] = (cpu * factor).into();
        }
        let path = folder.file(name);
        std::fs::write(&path, record.to_string()).expect("a writable folder");
        path
    };
    let (before, slow) = (record_of("before.json", 1.0), record_of("slow.json", 1.5));
    let (code, text) = compare(&before, &slow, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("1 regression: cpu_ns_per_sir +50.0 %"),
        "{text}"
    );
    let (code, text) = compare(&before, &slow, &["--threshold", "60%"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = compare(&record("dispatch.json"), &record("dispatch-1024.toml"), &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("dispatch-1024.toml") && text.contains("--json"),
        "{text}"
    );
    let (code, text) = compare(&record("dispatch.json"), &record("direct.json"), &[]);
    assert_eq!(code, Some(4), "{text}");
}
