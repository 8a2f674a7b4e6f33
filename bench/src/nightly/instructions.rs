//! Instructions of the criterion benches under callgrind: exact where times are not. Each bench function
//! runs once in criterion's test mode, and only what its `Bencher::iter` runs is counted, so one
//! definition of a bench serves both. Missing tools make the line invalid. Called by `nightly`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::history::Line;
use super::measured::unusable;

/// Name of its line.
pub const NAME: &str = "instructions";

/// Functions whose inside is counted: criterion's loops, which are never inlined.
const COUNTED: &str = "*Bencher*::iter*";

/// Why instructions were not counted.
#[derive(Debug, thiserror::Error)]
enum InstructionError {
    #[error(
        "{0} cannot be run ({1}): install it, or leave instructions out with --without-instructions"
    )]
    Missing(&'static str, std::io::Error),
    #[error("{0} failed: {1}")]
    Failed(String, String),
    #[error("{0}: callgrind counted nothing in it; is it made of Bencher::iter?")]
    Nothing(String),
}

/// Counts the instructions of every function of `benches`, given as `package/bench`.
#[must_use]
pub fn run(benches: &[String], line: Line) -> Line {
    let mut line = Line {
        scenario: NAME.to_owned(),
        ..line
    };
    match counted(benches) {
        Ok((settings, counters)) => (line.settings, line.counters) = (settings, counters),
        Err(error) => line.verdict = unusable(&error),
    }
    line
}

fn counted(benches: &[String]) -> Result<(String, BTreeMap<String, f64>), InstructionError> {
    let rustc = said("rustc", &["--version"])?;
    let valgrind = said("valgrind", &["--version"])?;
    let mut counters = BTreeMap::new();
    for bench in benches {
        let program = built(bench)?;
        let functions = output(Command::new(&program).args(["--bench", "--list"]), bench)?;
        let names = functions
            .lines()
            .filter_map(|l| l.strip_suffix(": benchmark"));
        for name in names {
            let count = instructions(&program, name)?;
            counters.insert(format!("{bench}: {name}"), count);
        }
    }
    Ok((
        format!("{}, {}, {}", rustc.trim(), valgrind.trim(), vectors()),
        counters,
    ))
}

/// What memory functions choose their code by; valgrind passes it through.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        return "x86_64 with AVX2";
    }
    std::env::consts::ARCH
}

/// Builds a bench and returns its program.
fn built(bench: &str) -> Result<PathBuf, InstructionError> {
    let (package, name) = bench.split_once('/').unwrap_or((bench, ""));
    let mut cargo = Command::new("cargo");
    cargo.args(["bench", "--quiet", "--no-run", "--message-format=json"]);
    let messages = output(cargo.args(["-p", package, "--bench", name]), bench)?;
    let program = messages.lines().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let is_own = message["target"]["name"] == name && message["target"]["kind"][0] == "bench";
        let program = message["executable"].as_str().map(PathBuf::from);
        program.filter(|_| is_own)
    });
    program
        .ok_or_else(|| InstructionError::Failed(bench.to_owned(), "cargo built no program".into()))
}

fn instructions(program: &PathBuf, name: &str) -> Result<f64, InstructionError> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(program);
    valgrind.args(["--bench", "--test", "--exact", name]);
    // The program asks for nothing that depends on where it runs.
    valgrind
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let ended = valgrind.stdin(Stdio::null()).output();
    let ended = ended.map_err(|error| InstructionError::Missing("valgrind", error))?;
    let words = String::from_utf8_lossy(&ended.stderr);
    if !ended.status.success() {
        return Err(InstructionError::Failed(name.to_owned(), last_line(&words)));
    }
    collected(&words).ok_or_else(|| InstructionError::Nothing(name.to_owned()))
}

/// The count of callgrind's report: the greatest, since a program that the bench starts before it
/// replaces itself reports as well. `None` when nothing was counted.
fn collected(words: &str) -> Option<f64> {
    let counts = words
        .lines()
        .filter_map(|line| line.split_once("Collected : "));
    let counts =
        counts.filter_map(|(_, count)| count.split_whitespace().next()?.parse::<u64>().ok());
    counts
        .max()
        .filter(|count| *count > 0)
        .map(|count| count as f64)
}

fn said(program: &'static str, arguments: &[&str]) -> Result<String, InstructionError> {
    let ended = Command::new(program).args(arguments).output();
    let ended = ended.map_err(|error| InstructionError::Missing(program, error))?;
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

fn output(command: &mut Command, what: &str) -> Result<String, InstructionError> {
    let ended = command.stdin(Stdio::null()).output();
    let ended = ended.map_err(|error| InstructionError::Missing("cargo", error))?;
    if !ended.status.success() {
        let words = last_line(&String::from_utf8_lossy(&ended.stderr));
        return Err(InstructionError::Failed(what.to_owned(), words));
    }
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}

fn last_line(words: &str) -> String {
    words.lines().last().unwrap_or("it said nothing").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_of_the_bench_itself_is_taken() {
        let words = "==7== Collected : 0\n==7== \n==6== Events    : Ir\n==6== Collected : 22721\n";
        assert_eq!(collected(words), Some(22_721.0));
        assert_eq!(collected("==7== Collected : 0\n"), None);
        assert_eq!(collected(""), None);
    }

    #[test]
    fn a_bench_that_cannot_be_built_is_invalid() {
        let line = run(&["sirocco-wire/nothing".to_owned()], Line::default());
        assert!(!line.verdict.valid && !line.counts(), "{line:?}");
        assert_eq!(line.verdict.reasons.len(), 1);
    }
}
