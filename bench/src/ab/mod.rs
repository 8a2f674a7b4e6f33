//! `sirocco ab`: two builds of the command held against each other on one machine. `build` makes them from
//! revisions, `pairs` runs them in pairs in random order, A against itself first, `outcome` judges by what
//! `compare` judges by, `table` shows it. It measures nothing itself: every run is a `sirocco bench` of the
//! build in question. docs/ab.md is for users.

mod build;
mod outcome;
mod pairs;
mod table;

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::AbArgs;
use crate::compare::finding::Terms;
use crate::record::write_json;
use crate::role::{EXIT_FAILED, EXIT_INVALID, EXIT_USAGE, complain};
use build::{BuildError, Program, Wanted};
use outcome::Outcome;
use pairs::{RunError, Runner};

/// Folder for checkouts, target folders and records, in the current one.
const SCRATCH: &str = "target/sirocco/ab";

/// Options that `ab` gives each run itself.
const OWN_OPTIONS: [&str; 3] = ["--json", "--quiet", "-q"];

/// What stops a comparison.
#[derive(Debug, thiserror::Error)]
enum AbError {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("cannot write {path}: {error}")]
    Written { path: String, error: std::io::Error },
}

impl AbError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::Build(error) if error.is_usage() => EXIT_USAGE,
            Self::Run(RunError::Refused { .. }) => EXIT_USAGE,
            // What B fails and A does not is a regression, whatever its times.
            Self::Run(RunError::Failed { side: 'B', .. }) => EXIT_FAILED,
            Self::Build(_) | Self::Run(_) | Self::Written { .. } => EXIT_INVALID,
        }
    }
}

/// Runs the role; returns its exit code.
pub fn start(args: &AbArgs) -> u8 {
    match compared(args) {
        Ok(outcome) => outcome.exit_code(),
        Err(error) => {
            complain(&error);
            error.exit_code()
        }
    }
}

fn compared(args: &AbArgs) -> Result<Outcome, AbError> {
    let [a, b] = sides(args).map_err(AbError::Usage)?;
    let options = options(&args.bench).map_err(AbError::Usage)?;
    let scratch = args.scratch.clone().unwrap_or_else(|| SCRATCH.into());
    let programs = [
        build::program(&a, args, &scratch)?,
        build::program(&b, args, &scratch)?,
    ];
    tell(args, &programs);
    let terms = Terms {
        confidence: args.confidence,
        threshold: args.threshold,
        seed: args.seed,
    };
    let folder = runs_folder(&scratch);
    let mut runner = Runner::new(&folder, &options, args);
    let [a, b] = [('A', &programs[0]), ('B', &programs[1])];
    let own = runner.pairs([a, a], args.calibration.unwrap_or(args.pairs))?;
    let both = runner.pairs([a, b], args.pairs)?;
    let outcome = Outcome::judge(programs, options, (&own, &both), (terms, args.force));
    publish(&outcome, &folder, args)?;
    Ok(outcome)
}

/// What A and B are: a program, or the next revision of the command line.
fn sides(args: &AbArgs) -> Result<[Wanted; 2], String> {
    let mut revisions = args.revisions.iter();
    let mut side = |letter: &str,
                    bin: &Option<PathBuf>,
                    features: &Option<String>|
     -> Result<Wanted, String> {
        if let Some(path) = bin {
            return Ok(Wanted::Built(path.clone()));
        }
        let revision = revisions.next().cloned().ok_or_else(|| {
            format!(
                "{letter} is missing: give two revisions, such as `sirocco ab HEAD~1 .`, or --bin-a and --bin-b"
            )
        })?;
        let features = features.clone().unwrap_or_default();
        Ok(Wanted::Revision { revision, features })
    };
    let sides = [
        side("A", &args.bin_a, &args.features_a)?,
        side("B", &args.bin_b, &args.features_b)?,
    ];
    match revisions.next() {
        Some(more) => Err(format!(
            "{more} is one revision too many beside --bin-a or --bin-b"
        )),
        None => Ok(sides),
    }
}

/// The options of each run: the user's, and one repetition without a ceiling unless given.
fn options(given: &[String]) -> Result<Vec<String>, String> {
    let name = |option: &str| option.split('=').next().unwrap_or_default().to_owned();
    let has = |wanted: &str| given.iter().any(|option| name(option) == wanted);
    if let Some(own) = OWN_OPTIONS.iter().find(|own| has(own)) {
        return Err(format!(
            "leave {own} out behind `--`: each run gets its own"
        ));
    }
    let mut options = given.to_vec();
    if !has("--repetitions") {
        options.extend(["--repetitions", "1"].map(str::to_owned));
    }
    if !has("--no-ceiling") {
        options.push("--no-ceiling".to_owned());
    }
    Ok(options)
}

/// A folder that no other comparison writes to.
fn runs_folder(scratch: &Path) -> PathBuf {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let name = format!(
        "{}-{}",
        since.unwrap_or_default().as_secs(),
        std::process::id()
    );
    scratch.join("runs").join(name)
}

fn tell(args: &AbArgs, programs: &[Program; 2]) {
    if args.quiet {
        return;
    }
    for (letter, program) in ["A", "B"].iter().zip(programs) {
        complain(format!("{letter}: {program}"));
    }
}

/// Keeps the outcome beside its records, and shows it.
fn publish(outcome: &Outcome, folder: &Path, args: &AbArgs) -> Result<(), AbError> {
    let write = |path: &Path| {
        write_json(path, outcome).map_err(|error| AbError::Written {
            path: path.display().to_string(),
            error,
        })
    };
    let kept = folder.join("ab.json");
    write(&kept)?;
    match args.json.as_deref() {
        Some(path) if path == Path::new("-") => {
            crate::print(&format!("{}\n", serde_json::json!(outcome)));
            return Ok(());
        }
        Some(path) => write(path)?,
        None => {}
    }
    if !args.quiet {
        crate::print(&table::outcome(outcome));
        crate::print(&format!("record: {}\n", kept.display()));
    }
    Ok(())
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::cli::{Cli, Role};
    use clap::Parser;

    /// What a command line gives.
    pub fn args(words: &str) -> AbArgs {
        let words = ["sirocco", "ab"]
            .into_iter()
            .chain(words.split_whitespace());
        match Cli::try_parse_from(words).unwrap().role {
            Role::Ab(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sides_are_revisions_or_programs_in_their_order() {
        let revision = |revision: &str, features: &str| Wanted::Revision {
            revision: revision.to_owned(),
            features: features.to_owned(),
        };
        let of = |words: &str| sides(&args(words));
        let [a, b] = of("HEAD~1 . --features-b slow").unwrap();
        assert_eq!((a, b), (revision("HEAD~1", ""), revision(".", "slow")));
        let [a, b] = of("HEAD --bin-a x").unwrap();
        assert_eq!((a, b), (Wanted::Built("x".into()), revision("HEAD", "")));
        for (words, hint) in [
            ("HEAD", "B is missing"),
            ("", "A is missing"),
            ("x y --bin-b z", "y is one revision too many"),
        ] {
            let error = of(words).unwrap_err();
            assert!(error.contains(hint), "{words}: {error}");
        }
    }

    #[test]
    fn a_run_is_one_repetition_without_a_ceiling_unless_asked_for() {
        let of = |words: &str| options(&args(words).bench).map(|options| options.join(" "));
        assert_eq!(of("a b").unwrap(), "--repetitions 1 --no-ceiling");
        assert_eq!(
            of("a b -- --repetitions=3 --scenario null").unwrap(),
            "--repetitions=3 --scenario null --no-ceiling"
        );
        assert!(of("a b -- --json x").unwrap_err().contains("--json"));
    }
}
