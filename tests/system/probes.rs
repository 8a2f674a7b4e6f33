//! The static probes of the binary: each script in `bench/probes` asks only for what is there, and runs.
//!
//! The notes are read by readelf. Whether bpftrace may attach is the kernel's to say: where it may not, that half
//! is skipped with a loud line.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::PoisonError;
use std::time::Duration;

use crate::bench::TURN;
use crate::process::{Directory, Guarded, run, wait_for};
use crate::sirocco;
use crate::tools::BPFTRACE;

/// The binary as the scripts name it.
const NAMED: &str = "target/release/sirocco";
const BINARY: &str = env!("CARGO_BIN_EXE_sirocco");

/// Every script by its name.
fn scripts() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("probes");
    let entries = fs::read_dir(folder).expect("the scripts").flatten();
    let script = |path: PathBuf| {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        (name, fs::read_to_string(path).expect("a script"))
    };
    entries.map(|entry| script(entry.path())).collect()
}

/// Probes of the binary by name: how many arguments each has, and whether a counter says that it is watched.
fn probes() -> BTreeMap<String, (usize, bool)> {
    let ended = run(Command::new("readelf").args(["--notes", "--wide", BINARY]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut probes = BTreeMap::new();
    let (mut name, mut has_counter) = (String::new(), false);
    let mut is_ours = false;
    for line in ended.stdout.lines().map(str::trim) {
        if let Some((_, provider)) = line.split_once("Provider: ") {
            // It stands behind the description of its note, the others on lines of their own.
            is_ours = provider == "sirocco";
        } else if let Some(named) = line.strip_prefix("Name: ") {
            name = named.to_owned();
        } else if let Some((_, semaphore)) = line.split_once("Semaphore: ") {
            has_counter = semaphore
                .trim_start_matches("0x")
                .bytes()
                .any(|digit| digit != b'0');
        } else if let Some(arguments) = line.strip_prefix("Arguments: ").filter(|_| is_ours) {
            probes.insert(
                name.clone(),
                (arguments.split_whitespace().count(), has_counter),
            );
        }
    }
    probes
}

#[test]
fn every_script_asks_for_probes_and_arguments_that_the_binary_has() {
    let (scripts, probes) = (scripts(), probes());
    let mut asked: Vec<&str> = Vec::new();
    for (name, script) in &scripts {
        for (_, behind) in script
            .match_indices(&format!("usdt:{NAMED}:sirocco:"))
            .map(|(at, found)| script[at..].split_at(found.len()))
        {
            let probe = behind.split_whitespace().next().expect("a probe");
            let (arguments, has_counter) = *probes
                .get(probe)
                .unwrap_or_else(|| panic!("{name}: no {probe} in {probes:?}"));
            assert!(has_counter, "{probe} is not idle for free");
            for number in (0..10).filter(|number| behind.contains(&format!("arg{number}"))) {
                assert!(
                    number < arguments,
                    "{name}: {probe} has {arguments} arguments"
                );
            }
            asked.push(probe);
        }
    }
    asked.sort_unstable();
    let all: Vec<_> = probes.keys().map(String::as_str).collect();
    assert_eq!(asked, all, "one script for each probe");
}

/// Runs a script while a bench runs; what it shows, or `None` where the kernel lets nobody attach.
fn traced(directory: &Directory, name: &str, script: &str) -> Option<String> {
    let path = directory.file(name);
    fs::write(&path, script.replace(NAMED, BINARY)).expect("a writable directory");
    let (shown, errors) = (directory.file("shown"), directory.file("errors"));
    let open = |path: &Path| File::create(path).expect("a writable directory");
    let mut tracer = Guarded::start(
        Command::new(BPFTRACE.path()?)
            .arg(&path)
            .stdin(Stdio::null())
            .stdout(open(&shown))
            .stderr(open(&errors)),
    );
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let mut is_refused = false;
    wait_for("bpftrace to attach", || {
        is_refused = matches!(tracer.0.try_wait(), Ok(Some(_)));
        is_refused || read(&shown).contains("Attach") || read(&errors).contains("Attach")
    });
    if is_refused {
        let line = format!(
            "SKIPPED {name}: bpftrace may not attach: {}\n",
            read(&errors)
        );
        std::io::stderr().write_all(line.as_bytes()).ok();
        return None;
    }
    let ended = run(sirocco(directory.path()).args([
        "bench",
        "--identities",
        "1000",
        "--rate",
        "2000",
        "--duration",
        "500ms",
        "--repetitions",
        "1",
        "--no-ceiling",
        "--mix",
        "200:80,486:20",
        "--quiet",
        "--allow-shared-core",
    ]));
    assert!(ended.code.is_some(), "{}", ended.stderr);
    // It forgets one that comes while it still attaches.
    wait_for("bpftrace to end", || {
        tracer.signal("INT");
        std::thread::sleep(Duration::from_millis(200));
        matches!(tracer.0.try_wait(), Ok(Some(_)))
    });
    Some(read(&shown))
}

#[test]
fn every_script_shows_what_a_running_engine_does() {
    let test = "every_script_shows_what_a_running_engine_does";
    if BPFTRACE.path_or_skip(test).is_none() {
        return;
    }
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = Directory::new("probes");
    for (name, script) in scripts() {
        let Some(shown) = traced(&directory, &name, &script) else {
            return;
        };
        let expected = match name.as_str() {
            "turns.bt" => &["@turn_ns", "@sirs"][..],
            "trains.bt" => &["@sirs", "@octets"],
            "answers.bt" => &["@waited_us[200]", "@waited_us[486]"],
            "stages.bt" => &["@ns[8]: count", "@ns[12]: count"],
            "failures.bt" => &["@failed[486]", "@waited_us[486]"],
            other => panic!("{other} has no expectation here"),
        };
        for map in expected {
            assert!(shown.contains(map), "{name}: no {map} in {shown}");
        }
    }
    drop(turn);
}
