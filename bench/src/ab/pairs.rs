//! Runs in pairs: the programs of a pair one right after the other, which of them is first drawn by seed,
//! each as often first as second. A pair with an invalid run is made again, within a bound. Each run leaves
//! its record; nothing is judged here. Called by `ab`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use sirocco_schedule::Draw;

use super::build::Program;
use crate::cli::AbArgs;
use crate::compare::side;
use crate::progress::Progress;
use crate::role::{EXIT_FAILED, EXIT_INVALID, EXIT_USAGE};

/// Pairs tried for each one wanted: a machine on which every second one is invalid is not fit.
const ATTEMPTS_MAX: u16 = 2;

/// Last lines of a run that failed that are shown.
const SHOWN_MAX: usize = 4;

/// Why there are no pairs.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A program does not know the options.
    #[error("{side} refused the options behind `--`: {said}")]
    Refused {
        /// `A` or `B`.
        side: char,
        /// Its last words.
        said: String,
    },
    /// A check of a run failed: its figures are those of a faulty program.
    #[error("{side} failed a check of its run: {said}")]
    Failed {
        /// `A` or `B`.
        side: char,
        /// The reasons in its record.
        said: String,
    },
    /// A run left no record.
    #[error("{side} made no record ({code}): {said}")]
    NoRecord {
        /// `A` or `B`.
        side: char,
        /// How it ended.
        code: String,
        /// Its last words.
        said: String,
    },
    /// Too many runs were invalid.
    #[error(
        "only {valid} of {wanted} pairs were valid in {tried}; the last reasons: {reasons}; free the machine, \
         or count invalid runs with --force"
    )]
    Invalid {
        /// Valid pairs.
        valid: usize,
        /// Pairs wanted.
        wanted: u16,
        /// Pairs tried.
        tried: u16,
        /// Reasons of the last invalid run.
        reasons: String,
    },
    /// The system refused something.
    #[error("{what}: {error}")]
    System {
        /// What was being done.
        what: String,
        /// What the system said.
        error: io::Error,
    },
}

/// A program to run, by its letter.
pub type Side<'a> = (char, &'a Program);

/// The record of a run, with its file.
type Run = (PathBuf, Value);

/// Pairs of two programs, or of one with itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Records of the first program, in the order of the pairs.
    pub a: side::Side,
    /// Records of the second.
    pub b: side::Side,
    /// Whether the second ran first, for each pair.
    pub second_first: Vec<bool>,
    /// Pairs with an invalid run, which were made again.
    pub invalid: usize,
}

/// What makes the runs.
pub struct Runner<'a> {
    folder: &'a Path,
    options: &'a [String],
    args: &'a AbArgs,
    progress: Progress,
    draw: Draw,
    runs: usize,
}

impl<'a> Runner<'a> {
    /// Runs `bench` with `options`; records go to `folder`.
    #[must_use]
    pub fn new(folder: &'a Path, options: &'a [String], args: &'a AbArgs) -> Self {
        Self {
            folder,
            options,
            args,
            progress: Progress::new(args.quiet),
            draw: Draw::new(args.seed),
            runs: 0,
        }
    }

    /// So many valid pairs.
    ///
    /// # Errors
    /// [`RunError`], when a run fails or too many are invalid.
    pub fn pairs(&mut self, sides: [Side; 2], wanted: u16) -> Result<Pairs, RunError> {
        let most = wanted.saturating_mul(ATTEMPTS_MAX);
        let orders = orders(most, &mut self.draw);
        let mut pairs = Pairs::default();
        let mut reasons = String::new();
        for second_first in orders {
            let made = pairs.second_first.len();
            if made == usize::from(wanted) {
                break;
            }
            let letters = sides.map(|(letter, _)| letter);
            self.progress.phase(format!(
                "{} against {}: pair {} of {wanted}",
                letters[0],
                letters[1],
                made + 1
            ));
            let [a, b] = self.pair(sides, second_first)?;
            let invalid = [&a, &b]
                .into_iter()
                .find(|run| run.1["verdict"]["valid"] != true);
            if let Some(run) = invalid.filter(|_| !self.args.force) {
                pairs.invalid += 1;
                reasons = self::reasons(&run.1);
                continue;
            }
            pairs.a.records.push(a);
            pairs.b.records.push(b);
            pairs.second_first.push(second_first);
        }
        self.progress.finish();
        let valid = pairs.second_first.len();
        match valid == usize::from(wanted) {
            true => Ok(pairs),
            false => Err(RunError::Invalid {
                valid,
                wanted,
                tried: most,
                reasons,
            }),
        }
    }

    fn pair(&mut self, [a, b]: [Side; 2], second_first: bool) -> Result<[Run; 2], RunError> {
        if second_first {
            let second = self.run(b)?;
            return Ok([self.run(a)?, second]);
        }
        Ok([self.run(a)?, self.run(b)?])
    }

    fn run(&mut self, (side, program): Side) -> Result<Run, RunError> {
        self.runs += 1;
        let path = self.folder.join(format!("{:04}-{side}.json", self.runs));
        let failed = |error| RunError::System {
            what: format!("cannot run {}", program.path.display()),
            error,
        };
        fs::create_dir_all(self.folder).map_err(failed)?;
        let mut command = Command::new(&program.path);
        command
            .arg("bench")
            .args(self.options)
            .arg("--quiet")
            .arg("--json")
            .arg(&path);
        let ended = command.stdin(Stdio::null()).stdout(Stdio::null()).output();
        let ended = ended.map_err(failed)?;
        let words = String::from_utf8_lossy(&ended.stderr);
        let said = last_lines(&words);
        let code = ended.status.code().and_then(|code| u8::try_from(code).ok());
        if code == Some(EXIT_USAGE) {
            return Err(RunError::Refused { side, said });
        }
        let record = fs::read_to_string(&path).ok();
        let record = record.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let record = record.filter(|_| matches!(code, Some(0 | EXIT_FAILED | EXIT_INVALID)));
        let record = record.ok_or_else(|| RunError::NoRecord {
            side,
            code: ended.status.to_string(),
            said,
        })?;
        match record["verdict"]["passed"] == true {
            true => Ok((path, record)),
            false => Err(RunError::Failed {
                side,
                said: reasons(&record),
            }),
        }
    }
}

/// Whether the second goes first, for so many pairs: of every two one does, which of them is drawn.
fn orders(count: u16, draw: &mut Draw) -> Vec<bool> {
    let block = |_| {
        let first = draw.below(2) == 1;
        [first, !first]
    };
    let blocks = (0..count.div_ceil(2)).flat_map(block);
    blocks.take(usize::from(count)).collect()
}

fn reasons(record: &Value) -> String {
    let reasons = record["verdict"]["reasons"]
        .as_array()
        .into_iter()
        .flatten();
    let reasons: Vec<&str> = reasons.filter_map(Value::as_str).collect();
    reasons.join("; ")
}

fn last_lines(words: &str) -> String {
    let lines: Vec<&str> = words
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    lines[lines.len().saturating_sub(SHOWN_MAX)..].join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_first_as_often_and_the_seed_says_when() {
        let of = |seed| orders(20, &mut Draw::new(seed));
        for seed in 0..20 {
            assert_eq!(of(seed).iter().filter(|second| **second).count(), 10);
            assert_eq!(of(seed), of(seed));
        }
        assert_ne!(of(1), of(2));
        let firsts = (0..64).filter(|seed| of(*seed)[0]).count();
        assert!((16..=48).contains(&firsts), "{firsts}");
        assert_eq!(orders(3, &mut Draw::new(1)).len(), 3);
    }

    #[test]
    fn the_end_of_what_a_run_said_is_kept() {
        assert_eq!(last_lines("a\nb\n\nc\nd\ne\n"), "b / c / d / e");
        assert_eq!(last_lines(""), "");
    }
}
