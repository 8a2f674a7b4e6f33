//! `--metrics` from outside: what a collector gets of each role while it runs.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;

use crate::process::{Directory, Guarded, wait_for};
use crate::sirocco;

/// A port that was free a moment ago.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").to_string()
}

/// The metrics at an address; nothing where nobody listens yet.
fn metrics(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(request).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.starts_with("HTTP/1.1 200 OK").then_some(answer)
}

/// The value of a metric without labels.
fn value(text: &str, name: &str) -> Option<f64> {
    let mut lines = text.lines();
    let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    line.parse().ok()
}

#[test]
fn a_bench_tells_of_both_sides_while_it_runs() {
    let directory = Directory::new("watch-bench");
    let address = free_address();
    let mut command = sirocco(directory.path());
    command.args([
        "bench",
        "--identities",
        "2k",
        "--rate",
        "2k",
        "--duration",
        "2s",
    ]);
    command.args([
        "--repetitions",
        "1",
        "--no-ceiling",
        "--allow-shared-core",
        "--metrics",
        &address,
    ]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut bench = Guarded::start(&mut command);
    let mut text = String::new();
    wait_for("both sides to have SIRs", || {
        text = metrics(&address).unwrap_or_default();
        let counts = ["engine_sirs_answered", "loadgen_sirs_received"];
        counts
            .iter()
            .all(|name| value(&text, &format!("sirocco_{name}_total")) > Some(0.0))
    });
    assert!(
        text.contains("sirocco_engine_stage_seconds_total{stage=\"look up\"}"),
        "{text}"
    );
    assert!(
        text.contains("sirocco_engine_answers_within{le=\"+Inf\"}"),
        "{text}"
    );
    assert!(
        value(&text, "sirocco_engine_cpu_seconds_total") > Some(0.0),
        "{text}"
    );
    assert!(text.trim_end().ends_with("# EOF"));
    let code = bench.exit_code();
    assert!(code == Some(0) || code == Some(2), "{code:?}");
}

#[test]
fn an_engine_and_a_load_generator_tell_of_themselves() {
    let directory = Directory::new("watch-roles");
    for (role, rest, own, other) in [
        (
            "engine",
            &["--generate", "40"][..],
            "sirocco_engine_sirs_sent_total",
            "loadgen",
        ),
        (
            "loadgen",
            &["--edges", "1"],
            "sirocco_loadgen_sirs_received_total",
            "engine",
        ),
    ] {
        let address = free_address();
        let mut command = sirocco(directory.path());
        command.arg(role).args(rest).args(["--metrics", &address]);
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let _process = Guarded::start(&mut command);
        let mut text = String::new();
        wait_for("metrics", || {
            text = metrics(&address).unwrap_or_default();
            value(&text, own) == Some(0.0)
        });
        assert!(!text.contains(&format!("sirocco_{other}_")), "{text}");
    }
}

#[test]
fn a_foreign_address_is_refused() {
    let directory = Directory::new("watch-foreign");
    let mut command = sirocco(directory.path());
    let ended = command
        .args(["engine", "--metrics", "0.0.0.0:9464"])
        .output();
    let ended = ended.expect("a command that starts");
    assert_eq!(ended.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&ended.stderr).contains("127.0.0.1:9464"));
}
