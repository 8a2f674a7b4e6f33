//! The measured records that a plan rests on: read from files and folders, sorted by what each one can
//! tell, refused where they come from unlike machines. Judges no figure; an invalid record is passed
//! over and named. Called by `plan`, which makes its coefficients from it.

use std::path::{Path, PathBuf};

use crate::compare::side::{Side, SideError};
use crate::host::Weight;
use crate::quantity::Rate;
use crate::record::Record;
use crate::scenario::Place;

/// Where records are looked for when none are named: those that `sirocco plan --measure` writes, then
/// those kept with the sources.
const PLACES: [&str; 2] = [super::measure::FOLDER, "docs/records/plan"];

/// Behaviour of devices that all answer at once: closed-loop cost is measured with nothing else.
const ALL_ANSWER: &str = "200:1";

/// Name of the runs of several engines at once, before their number.
pub const BESIDE: &str = "beside-";

/// A record and the file it came from.
pub type Kept = (PathBuf, Record);

/// The records by what they tell.
#[derive(Debug, Default)]
pub struct Evidence {
    /// Closed loop, SIRs without sessions, all answered: the cost of a SIR.
    pub sirs: Vec<Kept>,
    /// The same with sessions: the cost of a whole cycle.
    pub cycles: Vec<Kept>,
    /// The addressing modes side by side.
    pub modes: Vec<Kept>,
    /// Sessions held open.
    pub held: Vec<Kept>,
    /// Devices that never answer.
    pub silent: Vec<Kept>,
    /// Engines beside each other on one machine, by their number.
    pub beside: Vec<(u32, Kept)>,
    /// Files that tell a plan nothing, with the reason.
    pub passed_over: Vec<String>,
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// No folder of records.
    #[error(
        "no records: neither {} nor {} is there; make some with `sirocco plan --measure {}` (some minutes \
         on two idle cores), or name them with --records",
        PLACES[0], PLACES[1], PLACES[0]
    )]
    Nowhere,
    /// A file or folder cannot be read as records.
    #[error(transparent)]
    Unreadable(#[from] SideError),
    /// Two records come from machines that cannot be compared.
    #[error(
        "{a} and {b} were measured on unlike machines ({difference}); give records of one machine"
    )]
    Unlike {
        /// One file.
        a: String,
        /// The other.
        b: String,
        /// What differs.
        difference: String,
    },
    /// Something needed is in no valid record.
    #[error("no valid record tells {what}; {remedy}{passed_over}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// What to run.
        remedy: &'static str,
        /// What was passed over.
        passed_over: String,
    },
}

impl Evidence {
    /// Reads the records in `paths`, files or folders, or those of the usual places.
    ///
    /// # Errors
    /// [`EvidenceError`] names file and remedy.
    pub fn read(paths: &[PathBuf]) -> Result<Self, EvidenceError> {
        let usual = || PLACES.iter().map(PathBuf::from).find(|path| path.is_dir());
        let paths = match paths {
            [] => vec![usual().ok_or(EvidenceError::Nowhere)?],
            paths => paths.to_vec(),
        };
        let mut evidence = Self::default();
        let mut first: Option<Kept> = None;
        for path in &paths {
            for kept in read(path, &mut evidence.passed_over)? {
                match &first {
                    None => first = Some(kept.clone()),
                    Some(first) => alike(first, &kept)?,
                }
                evidence.sort(kept);
            }
        }
        Ok(evidence)
    }

    /// Every record used.
    pub fn all(&self) -> impl Iterator<Item = &Kept> {
        let beside = self.beside.iter().map(|(_, kept)| kept);
        let groups = [
            &self.sirs,
            &self.cycles,
            &self.modes,
            &self.held,
            &self.silent,
        ];
        groups.into_iter().flatten().chain(beside)
    }

    /// The error for something that no record tells.
    #[must_use]
    pub fn missing(&self, what: &'static str, remedy: &'static str) -> EvidenceError {
        let passed_over = match self.passed_over.as_slice() {
            [] => String::new(),
            reasons => format!(" (passed over: {})", reasons.join("; ")),
        };
        EvidenceError::Missing {
            what,
            remedy,
            passed_over,
        }
    }

    fn sort(&mut self, kept: Kept) {
        let (path, record) = &kept;
        let mut pass_over = |why: &str| self.passed_over.push(format!("{}: {why}", path.display()));
        if !(record.verdict.valid && record.verdict.passed) {
            pass_over("its verdict is not valid and passed");
            return;
        }
        match kind(record) {
            Kind::Sirs => self.sirs.push(kept),
            Kind::Cycles => self.cycles.push(kept),
            Kind::Modes => self.modes.push(kept),
            Kind::Held => self.held.push(kept),
            Kind::Silent => self.silent.push(kept),
            Kind::Beside(count) => self.beside.push((count, kept)),
            Kind::Other => pass_over("a plan needs nothing of it"),
        }
    }
}

/// What a record can tell a plan.
enum Kind {
    Sirs,
    Cycles,
    Modes,
    Held,
    Silent,
    Beside(u32),
    Other,
}

fn kind(record: &Record) -> Kind {
    let config = &record.config;
    let spins = config.engine.get("idle").and_then(toml::Value::as_str) == Some("spin");
    // At a given rate a spinning worker burns its whole core: only as fast as it can is its time a cost.
    let flat_out = config.runs.rate == Rate::Max && spins && config.mix == ALL_ANSWER;
    let apart = record.flood.is_some() || record.outcome.is_some() || record.limit.is_some();
    if let Some(count) = config.name.strip_prefix(BESIDE) {
        return count.parse().map_or(Kind::Other, Kind::Beside);
    }
    if !record.addressing.is_empty() {
        return Kind::Modes;
    }
    if record.hold.is_some() {
        return Kind::Held;
    }
    if config.mix.contains("silent") && record.sessions.is_none() {
        return Kind::Silent;
    }
    if apart || !flat_out || config.place != Place::Edges {
        return Kind::Other;
    }
    match (record.sessions.is_some(), config.order.is_empty()) {
        (true, _) => Kind::Cycles,
        (false, true) => Kind::Sirs,
        (false, false) => Kind::Other,
    }
}

/// Reads one file or folder; whatever is no record of this form is passed over in a folder.
fn read(path: &Path, passed_over: &mut Vec<String>) -> Result<Vec<Kept>, EvidenceError> {
    let (sides, strange) = Side::read(path)?;
    passed_over.extend(strange.iter().map(ToString::to_string));
    let values = sides.into_values().flat_map(|side| side.records);
    let mut records = Vec::new();
    for (file, value) in values {
        match serde_json::from_value::<Record>(value) {
            Ok(record) => records.push((file, record)),
            Err(error) => passed_over.push(format!("{}: {error}", file.display())),
        }
    }
    Ok(records)
}

/// Refuses records of machines that cannot be compared; what an older one does not tell is let pass.
fn alike(first: &Kept, other: &Kept) -> Result<(), EvidenceError> {
    let differences = first.1.host.differences(&other.1.host);
    match differences
        .iter()
        .find(|found| found.weight == Weight::Refused)
    {
        None => Ok(()),
        Some(difference) => Err(EvidenceError::Unlike {
            a: first.0.display().to_string(),
            b: other.0.display().to_string(),
            difference: difference.to_string(),
        }),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// The folder of the kept records of the plan.
    pub fn folder() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/records/plan")
    }

    /// The kept records that plans are made from.
    pub fn kept() -> Evidence {
        Evidence::read(&[folder()]).expect("the kept records")
    }

    #[test]
    fn every_kept_record_is_used_and_all_kinds_are_there() {
        let evidence = kept();
        assert_eq!(evidence.passed_over, Vec::<String>::new());
        assert!(evidence.sirs.len() > 50 && evidence.cycles.len() > 20);
        assert!(!evidence.modes.is_empty() && !evidence.held.is_empty());
        assert!(!evidence.silent.is_empty() && evidence.beside.len() > 2);
    }

    #[test]
    fn an_invalid_record_and_one_of_another_load_are_passed_over() {
        let (path, record) = kept().sirs[0].clone();
        let sorted = |change: fn(&mut Record)| {
            let mut other = record.clone();
            change(&mut other);
            let mut evidence = Evidence::default();
            evidence.sort((path.clone(), other));
            (evidence.sirs.len(), evidence.passed_over.len())
        };
        assert_eq!(sorted(|_| ()), (1, 0));
        assert_eq!(sorted(|record| record.verdict.valid = false), (0, 1));
        assert_eq!(sorted(|record| record.verdict.passed = false), (0, 1));
        // At a rate of its own a spinning worker burns its core whatever a SIR costs.
        assert_eq!(
            sorted(|record| record.config.runs.rate = Rate::PerSecond(50_000)),
            (0, 1)
        );
        assert_eq!(
            sorted(|record| record.config.mix = "200:9,503:1".to_owned()),
            (0, 1)
        );
    }

    #[test]
    fn unlike_machines_are_refused() {
        let first = kept().sirs[0].clone();
        let mut other = first.clone();
        assert!(alike(&first, &other).is_ok());
        other.1.host.cpu_model.push('x');
        let error = alike(&first, &other).expect_err("another CPU").to_string();
        assert!(
            error.contains("CPU") && error.contains("one machine"),
            "{error}"
        );
    }
}
