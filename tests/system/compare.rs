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
    let (code, text) = compare(&kept, &kept, &["--json", "-"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("no difference shown"), "{text}");
    assert!(text.contains("sirocco.comparison/1"), "{text}");
}

#[test]
fn a_slower_record_is_a_regression_and_a_strange_file_is_named() {
    let folder = crate::process::Directory::new("compare");
    let text = std::fs::read_to_string(record("dispatch.json")).expect("a kept record");
    let mut slow: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for run in slow["runs"].as_array_mut().expect("runs") {
        let cpu = run["engine"]["cpu_ns_per_sir"].as_f64().expect("a figure");
        run["engine"]["cpu_ns_per_sir"] = (cpu * 1.5).into();
    }
    let path = folder.file("slow.json");
    std::fs::write(&path, slow.to_string()).expect("a writable folder");
    let (code, text) = compare(&record("dispatch.json"), &path, &[]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("regression"), "{text}");
    let (code, text) = compare(&record("dispatch.json"), &record("dispatch-1024.toml"), &[]);
    assert_eq!(code, Some(2), "{text}");
    assert!(
        text.contains("dispatch-1024.toml") && text.contains("--json"),
        "{text}"
    );
    let (code, text) = compare(&record("dispatch.json"), &record("direct.json"), &[]);
    assert_eq!(code, Some(4), "{text}");
}
