//! `sirocco nightly`: runs a suite, appends its figures to a history, holds deterministic counters to an
//! accepted baseline and looks for changes in the times. `suite` says what is run, `measured`, `counted`
//! and `instructions` run it, `history` keeps it, `gate` and `series` judge it, `night` sums up and
//! `outputs` writes what machines and people read. docs/nightly.md is for users.

pub mod change_points;
mod counted;
mod gate;
pub mod history;
mod instructions;
mod measured;
mod night;
pub mod outputs;
pub mod series;
mod student;
mod suite;
mod sums;

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::NightlyArgs;
use crate::host::{self, Host};
use crate::role::{EXIT_INVALID, EXIT_USAGE, complain};
use crate::run::launch::{self, Cores};
use gate::Baseline;
use history::{History, Line};
use night::Night;
use suite::Suite;

/// What stops a night.
#[derive(Debug, thiserror::Error)]
enum NightError {
    #[error(transparent)]
    Suite(#[from] suite::SuiteError),
    #[error("{0}")]
    Cores(String),
    #[error("{what} {path}: {error}")]
    File {
        what: &'static str,
        path: String,
        error: io::Error,
    },
    #[error("the history {0} holds no night; run one without --no-run")]
    Empty(String),
}

impl NightError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Suite(_) | Self::Cores(_) => EXIT_USAGE,
            Self::File { .. } | Self::Empty(_) => EXIT_INVALID,
        }
    }
}

/// Runs the role; returns its exit code.
pub fn start(args: &NightlyArgs) -> u8 {
    match night(args) {
        Ok(night) => {
            let text = outputs::markdown::write(&night);
            if !args.quiet {
                crate::print(&text);
                crate::print(&format!("outputs: {}\n", args.out.display()));
            }
            night.exit_code()
        }
        Err(error) => {
            complain(&error);
            error.exit_code()
        }
    }
}

fn night(args: &NightlyArgs) -> Result<Night, NightError> {
    // A baseline that cannot be read has to be known before an hour of measuring.
    let mut baseline = Baseline::read(&args.baseline)
        .map_err(|error| file("cannot read baseline", &args.baseline, error))?;
    let mut night = if args.no_run {
        Night::default()
    } else {
        ran(args)?
    };
    let history = History::read(&args.history)
        .map_err(|error| file("cannot read history", &args.history, error))?;
    if args.no_run {
        night =
            last(&history).ok_or_else(|| NightError::Empty(args.history.display().to_string()))?;
    }
    night.notices.extend(history.notice());
    if args.accept_counters {
        let sound = night
            .lines
            .iter()
            .filter(|l| l.counts() && !l.counters.is_empty());
        sound.for_each(|line| baseline.accept(line));
        baseline
            .write(&args.baseline)
            .map_err(|error| file("cannot write baseline", &args.baseline, error))?;
    }
    night.objectives_held = args.objectives;
    let night = night.judged(&history.lines, &baseline);
    outputs::write(&args.out, &night, &history.lines)
        .map_err(|error| file("cannot write outputs to", &args.out, error))?;
    Ok(night)
}

fn file(what: &'static str, path: &std::path::Path, error: io::Error) -> NightError {
    let path = path.display().to_string();
    NightError::File { what, path, error }
}

/// The last night of a history.
fn last(history: &History) -> Option<Night> {
    let last = history.lines.iter().max_by_key(|line| line.night_unix_s)?;
    let own = |line: &&Line| line.night_unix_s == last.night_unix_s;
    Some(Night {
        suite: "the history's last night".to_owned(),
        unix_s: last.night_unix_s,
        commit: last.commit.clone(),
        host_key: last.host_key.clone(),
        lines: history.lines.iter().filter(own).cloned().collect(),
        ..Night::default()
    })
}

/// Runs the suite; every line is in the history as soon as it is measured.
fn ran(args: &NightlyArgs) -> Result<Night, NightError> {
    let suite = Suite::find(&args.suite)?;
    let cores = launch::cores(&args.cores, args.allow_shared_core).map_err(NightError::Cores)?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut night = Night {
        suite: suite.name.clone(),
        unix_s: since.unwrap_or_default().as_secs(),
        commit: args.commit.clone().unwrap_or_else(host::commit),
        host_key: measured::host_key(&Host::read()),
        ..Night::default()
    };
    let begun = Line {
        schema: history::SCHEMA.to_owned(),
        night_unix_s: night.unix_s,
        commit: night.commit.clone(),
        host_key: night.host_key.clone(),
        attempts: 1,
        ..Line::default()
    };
    let mut keep = |line: Line| {
        let appended = history::append(&args.history, &line);
        night.lines.push(line);
        appended.map_err(|error| file("cannot append to history", &args.history, error))
    };
    if suite.counted {
        keep(counted::run(begun.clone()))?;
    }
    if !suite.instructions.is_empty() && !args.without_instructions {
        keep(instructions::run(&suite.instructions, begun.clone()))?;
    }
    for job in &suite.scenarios {
        keep(timed(job, cores, args, &begun)?)?;
    }
    if !suite.instructions.is_empty() && args.without_instructions {
        let notice = "instructions were not counted, as asked for with --without-instructions";
        night.notices.push(notice.to_owned());
    }
    Ok(night)
}

fn timed(
    job: &suite::Job,
    cores: Cores,
    args: &NightlyArgs,
    begun: &Line,
) -> Result<Line, NightError> {
    let scenario = job.scenario().map_err(suite::SuiteError::from)?;
    Ok(measured::run(job, &scenario, cores, args, begun.clone()))
}
