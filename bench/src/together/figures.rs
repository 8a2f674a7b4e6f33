//! What the record holds of each generator beside the sum, and the sum itself. The histograms of each
//! stay in `reports`, so that a reader can add them again. Called by `run::plan` at the end.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sirocco_loadgen::{LoadgenReport, SumError};

use super::clock::{ClockFigures, Offset};
use super::share::Share;
use crate::record::LoadgenFigures;
use crate::run::figures;

/// A generator as the bench knows it while it runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Member {
    /// Name of its host.
    pub host: String,
    /// Where it connected from; none is a child of the bench.
    pub peer: Option<String>,
    /// Its core, where the bench chose one.
    pub core: Option<usize>,
    /// Its edges.
    pub share: Share,
    /// Its clock against the bench's.
    pub clock: Offset,
    /// When all were to begin, by the bench's clock, in nanoseconds.
    pub begin_ns: u64,
    /// When it began, by its own clock.
    pub begun_ns: u64,
}

/// One generator of a bench.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GeneratorFigures {
    /// Its number, from 1.
    pub number: u16,
    /// Name of its host, as it says.
    pub host: String,
    /// Where it connected from; none is a child of the bench.
    pub peer: Option<String>,
    /// Its core, where the bench chose one.
    pub core: Option<usize>,
    /// First of its edges among all, from 0.
    pub edge_first: u16,
    /// How many edges it held.
    pub edges: u16,
    /// Its clock against the bench's.
    pub clock: ClockFigures,
    /// How much later than agreed it began, in microseconds of the bench's clock; negative is earlier, which
    /// only the uncertainty of its clock can make.
    pub begin_late_us: f64,
    /// From its begin to its end in nanoseconds of its own clock.
    pub wall_ns: u64,
    /// SIRs that came again.
    pub retransmissions_received: u64,
    /// What it saw.
    #[serde(flatten)]
    pub seen: LoadgenFigures,
}

impl Member {
    /// How much later than agreed it began, in microseconds.
    #[must_use]
    pub fn begin_late_us(&self) -> f64 {
        let apart = i128::from(self.clock.ours(self.begun_ns)) - i128::from(self.begin_ns);
        apart as f64 / 1e3
    }

    fn figures(&self, number: u16, report: &LoadgenReport) -> GeneratorFigures {
        GeneratorFigures {
            number,
            host: self.host.clone(),
            peer: self.peer.clone(),
            core: self.core,
            edge_first: self.share.first,
            edges: self.share.count,
            clock: self.clock.figures(),
            begin_late_us: self.begin_late_us(),
            wall_ns: report.wall_ns,
            retransmissions_received: report.retransmissions_received,
            seen: figures::loadgen(report),
        }
    }
}

/// What all generators of a bench did.
#[derive(Debug, Default)]
pub struct Together {
    /// Each by itself.
    pub each: Vec<GeneratorFigures>,
    /// Their sum.
    pub sum: LoadgenReport,
    /// Their reports by name, the sum as `loadgen`, each other as it came.
    pub reports: Vec<(String, Value)>,
}

/// Adds the reports of all members, in their order. One alone is its own sum.
///
/// # Errors
/// When reports or histograms cannot be read or do not fit each other.
pub fn together(members: &[Member], events: Vec<Value>) -> Result<Together, SumError> {
    let read = |event: &Value| serde_json::from_value::<LoadgenReport>(event.clone());
    let reports: Result<Vec<_>, _> = events.iter().map(read).collect();
    let reports = reports.map_err(|error| SumError::Form(error.to_string()))?;
    let numbered = (1..).zip(members).zip(&reports);
    let each = numbered.map(|((number, member), report)| member.figures(number, report));
    let each = each.collect();
    if let ([report], [event]) = (&reports[..], &events[..]) {
        return Ok(Together {
            each,
            sum: report.clone(),
            reports: vec![("loadgen".to_owned(), event.clone())],
        });
    }
    let sum = LoadgenReport::sum(&reports)?;
    let whole = serde_json::to_value(&sum).map_err(|error| SumError::Form(error.to_string()))?;
    let own = (1..)
        .zip(events)
        .map(|(number, event)| (format!("loadgen-{number}"), event));
    let reports = own.chain([("loadgen".to_owned(), whole)]).collect();
    Ok(Together { each, sum, reports })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(sirs: u64) -> Value {
        let report = LoadgenReport {
            sirs_received: sirs,
            wall_ns: 5,
            ..LoadgenReport::default()
        };
        serde_json::to_value(report).unwrap()
    }

    #[test]
    fn each_generator_stands_beside_the_sum() {
        let member = Member {
            clock: Offset {
                ns: 1_000_000,
                uncertainty_ns: 500,
                exchanges: 16,
            },
            begin_ns: 5_000,
            begun_ns: 1_007_000,
            ..Member::default()
        };
        let both = [member.clone(), Member::default()];
        let together = together(&both, vec![event(3), event(4)]).unwrap();
        assert_eq!(together.sum.sirs_received, 7);
        let each: Vec<_> = together
            .each
            .iter()
            .map(|one| (one.number, one.seen.sirs_received))
            .collect();
        assert_eq!(each, [(1, 3), (2, 4)]);
        assert_eq!(together.each[0].begin_late_us, 2.0);
        let names: Vec<_> = together
            .reports
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["loadgen-1", "loadgen-2", "loadgen"]);
    }

    #[test]
    fn one_generator_is_reported_as_ever() {
        let together = together(&[Member::default()], vec![event(9)]).unwrap();
        assert_eq!(together.reports, [("loadgen".to_owned(), event(9))]);
        assert_eq!((together.each.len(), together.sum.sirs_received), (1, 9));
    }

    #[test]
    fn a_report_that_is_none_is_no_zero() {
        let nonsense = serde_json::json!({"sirs_received": "many"});
        assert!(together(&[Member::default()], vec![nonsense]).is_err());
    }
}
