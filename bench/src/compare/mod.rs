//! `sirocco compare`: records against records. `side` reads them, `likeness` says whether they may be
//! compared, `metrics` what is, `finding` what is found, `table` shows it. A refusal names every
//! difference and what to do; nothing is measured here.

pub mod finding;
pub mod likeness;
pub mod metrics;
pub mod side;
pub mod table;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::{CompareArgs, TermsArgs};
use crate::record::write_json;
use crate::role::{EXIT_FAILED, EXIT_INVALID, EXIT_USAGE, complain};
use finding::{Finding, Terms, Word};
use likeness::obstacles;
use side::{Side, SideError};

/// Version of the form below.
const SCHEMA: &str = "sirocco.comparison/1";

/// One side as the comparison names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// The files compared.
    pub files: Vec<String>,
    /// Their commits.
    pub commit: String,
    /// Greatest share of the machine's time that a hypervisor took in one of them.
    pub steal_share: f64,
}

/// One scenario on both sides.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pairing {
    /// The scenario.
    pub scenario: String,
    /// Before.
    pub a: Named,
    /// After.
    pub b: Named,
    /// What refuses the comparison.
    pub refused: Vec<String>,
    /// What would have refused it, had it not been forced.
    pub forced: Vec<String>,
    /// What the reader has to know.
    pub warnings: Vec<String>,
    /// Every metric that both sides hold; empty where refused.
    pub findings: Vec<Finding>,
}

/// A comparison as JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// [`SCHEMA`].
    pub schema: String,
    /// How it is judged.
    pub terms: Terms,
    /// Each scenario of both sides.
    pub scenarios: Vec<Pairing>,
    /// Scenarios that one side lacks.
    pub alone: Vec<String>,
}

impl From<&TermsArgs> for Terms {
    fn from(args: &TermsArgs) -> Self {
        Self {
            confidence: args.confidence,
            threshold: args.threshold,
            seed: args.seed,
        }
    }
}

/// Runs the role; returns its exit code.
pub fn start(args: &CompareArgs) -> u8 {
    let (a, b) = match (Side::read(&args.a), Side::read(&args.b)) {
        (Ok((a, over_a)), Ok((b, over_b))) => {
            let passed_over = over_a.iter().chain(&over_b);
            passed_over.for_each(|error| complain(format!("passed over: {error}")));
            (a, b)
        }
        (Err(error), _) | (_, Err(error)) => {
            complain(&error);
            return match error {
                SideError::Nothing(_) | SideError::TooMany(_) => EXIT_USAGE,
                SideError::Unreadable { .. } | SideError::NoRecord { .. } => EXIT_INVALID,
            };
        }
    };
    let Some(comparison) = compare(&a, &b, Terms::from(&args.terms), args.force) else {
        let names = |side: &BTreeMap<String, Side>| {
            let names: Vec<&str> = side.keys().map(String::as_str).collect();
            names.join(", ")
        };
        complain(format!(
            "no scenario is on both sides: {} has {}, {} has {}; run `sirocco bench --scenario NAME \
             --json FILE` for both",
            args.a.display(),
            names(&a),
            args.b.display(),
            names(&b)
        ));
        return EXIT_USAGE;
    };
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    if to_stdout {
        crate::print(&format!("{}\n", serde_json::json!(comparison)));
    } else if !args.quiet {
        crate::print(&table::comparison(&comparison));
    }
    if let Some(path) = args.json.as_deref().filter(|_| !to_stdout)
        && let Err(error) = write_json(path, &comparison)
    {
        complain(format!("cannot write {}: {error}", path.display()));
        return EXIT_INVALID;
    }
    if to_stdout || args.quiet {
        let refused = comparison
            .scenarios
            .iter()
            .flat_map(|pairing| &pairing.refused);
        refused.for_each(complain);
    }
    if comparison.tells_nothing(args.counts) {
        complain(
            "no time could be told: give four repetitions or records a side, or --counts where counts are enough",
        );
    }
    comparison.exit_code(args.counts)
}

impl Comparison {
    /// A regression goes before what could not be compared; where no time could be told, nothing passes but
    /// for `counts`.
    fn exit_code(&self, counts: bool) -> u8 {
        let findings = || self.scenarios.iter().flat_map(|pairing| &pairing.findings);
        if findings().any(|finding| finding.regression) {
            return EXIT_FAILED;
        }
        let refused = self
            .scenarios
            .iter()
            .any(|pairing| !pairing.refused.is_empty());
        if refused || self.tells_nothing(counts) {
            EXIT_INVALID
        } else {
            0
        }
    }

    /// Whether too few samples were there for any time, or with `counts` for anything.
    fn tells_nothing(&self, counts: bool) -> bool {
        let findings = self.scenarios.iter().flat_map(|pairing| &pairing.findings);
        let mut asked = findings.filter(|finding| counts || !finding.counted);
        asked.all(|finding| finding.word == Word::CannotTell)
    }
}

/// Compares what is on both sides; `None` when that is no scenario.
fn compare(
    a: &BTreeMap<String, Side>,
    b: &BTreeMap<String, Side>,
    terms: Terms,
    force: bool,
) -> Option<Comparison> {
    let shared = a.iter().filter_map(|(name, a)| Some((a, b.get(name)?)));
    let scenarios: Vec<Pairing> = shared.map(|(a, b)| pair(a, b, &terms, force)).collect();
    let only = |one: &BTreeMap<String, Side>, other: &BTreeMap<String, Side>| -> Vec<String> {
        one.keys()
            .filter(|name| !other.contains_key(*name))
            .cloned()
            .collect()
    };
    (!scenarios.is_empty()).then(|| Comparison {
        schema: SCHEMA.to_owned(),
        terms,
        scenarios,
        alone: [only(a, b), only(b, a)].concat(),
    })
}

fn pair(a: &Side, b: &Side, terms: &Terms, force: bool) -> Pairing {
    let found = obstacles(a, b);
    let (forced, refused) = match force {
        true => (found.refused, Vec::new()),
        false => (Vec::new(), found.refused),
    };
    let mut pairing = Pairing {
        scenario: a.first()["scenario"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        a: named(a),
        b: named(b),
        refused,
        forced,
        warnings: found.warned,
        findings: Vec::new(),
    };
    if pairing.refused.is_empty() {
        pairing.find(a, b, terms);
    }
    pairing
}

impl Pairing {
    fn find(&mut self, a: &Side, b: &Side, terms: &Terms) {
        let mut pooled = false;
        for metric in metrics::metrics(a.first()) {
            let samples = side::samples(a, b, &metric, terms.confidence);
            pooled |= metric.is_timed() && !samples.by_record && samples.a.len() > 1;
            let found = finding::groups(&metric, &samples.a, &samples.b, terms);
            self.findings.extend(found);
        }
        if pooled {
            self.warnings.push(
                "repetitions of one record share their processes, so intervals leave out what differs \
                 between starts; four records a side show that too"
                    .to_owned(),
            );
        }
        let moved = self
            .findings
            .iter()
            .filter(|f| f.control && f.word == Word::Differs);
        let moved = moved.map(|control| {
            format!(
                "{} runs no code of Sirocco and changed by {:+.1} %: the machine was not the same",
                control.metric,
                control.change() * 100.0
            )
        });
        self.warnings.extend(moved.collect::<Vec<_>>());
    }
}

fn named(side: &Side) -> Named {
    let steal = |record: &serde_json::Value| {
        let ticks = serde_json::from_value(record["cpu_ticks"].clone());
        ticks.map_or(0.0, |ticks: crate::host::CpuTicks| ticks.steal_share())
    };
    let files = side.records.iter();
    Named {
        files: files.map(|(path, _)| path.display().to_string()).collect(),
        commit: side.commits(),
        steal_share: side
            .records
            .iter()
            .map(|(_, record)| steal(record))
            .fold(0.0, f64::max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with six CPU times around `cpu`, each run writing so many octets a SIR.
    fn sides(cpu: f64, written: f64) -> BTreeMap<String, Side> {
        let mut record = serde_json::to_value(crate::record::tests::sound()).unwrap();
        let runs = (0..6).map(|i| {
            let mut run = record["runs"][0].clone();
            run["engine"]["cpu_ns_per_sir"] = (cpu + f64::from(i) / 10.0).into();
            run["engine"]["bytes_written_per_sir"] = written.into();
            run
        });
        record["runs"] = runs.collect();
        let side = Side {
            records: vec![("r.json".into(), record)],
        };
        [("dispatch".to_owned(), side)].into()
    }

    const TERMS: Terms = Terms {
        confidence: 0.95,
        threshold: 0.05,
        seed: 1,
    };

    #[test]
    fn a_regression_in_a_time_and_one_in_a_count_are_named_first() {
        let (a, b) = (sides(300.0, 233.0), sides(330.0, 240.0));
        let comparison = compare(&a, &b, TERMS, false).unwrap();
        assert_eq!(comparison.exit_code(false), EXIT_FAILED);
        let text = table::comparison(&comparison);
        for words in [
            "2 regressions",
            "cpu_ns_per_sir +10.0 %",
            "bytes_written_per_sir +3.004 %",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let back = compare(&b, &a, TERMS, false).unwrap();
        assert_eq!(back.exit_code(false), 0);
    }

    #[test]
    fn a_record_is_like_itself() {
        let a = sides(300.0, 233.0);
        let comparison = compare(&a, &a, TERMS, false).unwrap();
        assert_eq!(comparison.exit_code(false), 0);
        assert!(table::comparison(&comparison).contains("no regression"));
        let json = serde_json::to_string(&comparison).unwrap();
        let read: Comparison = serde_json::from_str(&json).unwrap();
        assert_eq!(read.schema, SCHEMA);
    }

    #[test]
    fn what_cannot_be_told_passes_nothing() {
        let mut a = sides(300.0, 233.0);
        let record = &mut a.get_mut("dispatch").unwrap().records[0].1;
        let one = record["runs"][0].clone();
        for counter in [
            "syscalls_per_sir",
            "bytes_written_per_sir",
            "allocations_per_sir",
            "segments_per_train",
            "request_bytes",
            "response_bytes",
        ] {
            record["runs"][0]["engine"]
                .as_object_mut()
                .unwrap()
                .remove(counter);
        }
        record["runs"] = serde_json::json!([one]);
        record["runs"][0]["engine"] = serde_json::json!({ "cpu_ns_per_sir": 300.0 });
        record["index_bytes"] = ().into();
        record["ledger"] = ().into();
        let comparison = compare(&a, &a, TERMS, false).unwrap();
        assert_eq!(comparison.exit_code(false), EXIT_INVALID, "{comparison:?}");
    }

    #[test]
    fn unlike_records_are_refused_unless_forced() {
        let (a, mut b) = (sides(300.0, 233.0), sides(300.0, 233.0));
        b.get_mut("dispatch").unwrap().records[0].1["config"]["next-hops"] = 17.into();
        let refused = compare(&a, &b, TERMS, false).unwrap();
        assert_eq!(refused.exit_code(false), EXIT_INVALID);
        assert!(refused.scenarios[0].findings.is_empty());
        let text = table::comparison(&refused);
        assert!(
            text.contains("next-hops: 16 and 17") && text.contains("--force"),
            "{text}"
        );
        let forced = compare(&a, &b, TERMS, true).unwrap();
        assert_eq!(forced.exit_code(false), 0);
        assert!(table::comparison(&forced).contains("FORCED"));
    }

    #[test]
    fn scenarios_of_one_side_are_named() {
        let (a, mut b) = (sides(300.0, 233.0), sides(300.0, 233.0));
        let lone = b["dispatch"].clone();
        b.insert("fanout".to_owned(), lone);
        assert_eq!(compare(&a, &b, TERMS, false).unwrap().alone, ["fanout"]);
        b.remove("dispatch");
        assert_eq!(compare(&a, &b, TERMS, false), None);
    }
}
