//! The reports of several generators as one: counts are summed, histograms are added bucket by bucket,
//! and every percentile is read from the added histogram, never from other percentiles. Called by the
//! bench, where generators run together.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde_json::Value;

use crate::packed::{Packed, PackedError};
use crate::report::{Lag, LoadgenReport, Spread};

/// Delays from reaping a datagram to handing its answer to the kernel, in nanoseconds.
pub const LAG: &str = "lag_ns";
/// How late late answers left, in nanoseconds.
pub const LATENESS: &str = "lateness_ns";
/// Datagrams per received buffer.
pub const TRAINS_IN: &str = "segments_per_train_in";
/// Answers per send.
pub const TRAINS_OUT: &str = "segments_per_train_out";
/// How long late answers took in nanoseconds, with the name of their class behind a slash.
pub const ANSWER_TIME: &str = "answer_time_ns";
/// Setup times of sessions in nanoseconds; those of a class have its name behind a slash.
pub const SETUP: &str = "setup_ns";

/// Why reports cannot be added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SumError {
    /// A histogram cannot be read.
    #[error("histogram {name} of generator {generator}: {error}")]
    Packed {
        /// Which histogram.
        name: String,
        /// Whose, from 1.
        generator: usize,
        /// Why.
        error: PackedError,
    },
    /// Two histograms of one name have other bounds.
    #[error(
        "histogram {name} of generator {generator} has other bounds than the first one's; start all \
         generators from one build of this program"
    )]
    Bounds {
        /// Which histogram.
        name: String,
        /// Whose, from 1.
        generator: usize,
    },
    /// The reports have not the form of this version.
    #[error("a report has another form than this program's: {0}")]
    Form(String),
}

impl LoadgenReport {
    /// Adds the reports of generators that ran together; the order does not matter.
    ///
    /// # Errors
    /// A histogram that cannot be read or added: then nothing is summed.
    pub fn sum(reports: &[LoadgenReport]) -> Result<LoadgenReport, SumError> {
        let form = |error: serde_json::Error| SumError::Form(error.to_string());
        let mut sum = serde_json::to_value(LoadgenReport::default()).map_err(form)?;
        for report in reports {
            // Whatever is counted, and whatever will be: every number that has a name is added.
            add(
                &mut sum,
                serde_json::to_value(report.counted()).map_err(form)?,
            );
        }
        let mut sum: LoadgenReport = serde_json::from_value(sum).map_err(form)?;
        let histograms = added(reports)?;
        sum.segments_per_train_in = summed(&histograms, TRAINS_IN, Spread::of);
        sum.segments_per_train_out = summed(&histograms, TRAINS_OUT, Spread::of);
        sum.lag_us = summed(&histograms, LAG, Lag::of);
        sum.lateness_us = summed(&histograms, LATENESS, Lag::of);
        sum.sessions.counts.setup_us = summed(&histograms, SETUP, Lag::of);
        for (class, counts) in &mut sum.sessions_by_class {
            counts.setup_us = summed(&histograms, &format!("{SETUP}/{class}"), Lag::of);
        }
        let of_class = |name: &String| {
            Some(
                name.strip_prefix(ANSWER_TIME)?
                    .strip_prefix('/')?
                    .to_owned(),
            )
        };
        let times = histograms.iter();
        let times = times.filter_map(|(name, times)| Some((of_class(name)?, Lag::of(times))));
        sum.answer_time_us = times.collect();
        sum.wall_ns = reports
            .iter()
            .map(|report| report.wall_ns)
            .max()
            .unwrap_or(0);
        let packed = histograms
            .iter()
            .map(|(name, histogram)| (name.clone(), Packed::of(histogram)));
        sum.histograms = packed.collect();
        for (number, report) in (1..).zip(reports) {
            let own = report
                .notices
                .iter()
                .map(|notice| format!("generator {number}: {notice}"));
            sum.notices.extend(own);
        }
        Ok(sum)
    }

    /// The report without what is not added number by number.
    fn counted(&self) -> LoadgenReport {
        let mut counted = LoadgenReport {
            segments_per_train_in: Spread::default(),
            segments_per_train_out: Spread::default(),
            lag_us: Lag::default(),
            lateness_us: Lag::default(),
            answer_time_us: BTreeMap::new(),
            histograms: BTreeMap::new(),
            record_path: None,
            notices: Vec::new(),
            wall_ns: 0,
            ..self.clone()
        };
        counted.sessions.counts.setup_us = Lag::default();
        for counts in counted.sessions_by_class.values_mut() {
            counts.setup_us = Lag::default();
        }
        counted
    }
}

/// Adds every whole number of `other` to that of the same name.
fn add(sum: &mut Value, other: Value) {
    match (sum, other) {
        (Value::Object(sum), Value::Object(other)) => {
            for (name, value) in other {
                match sum.get_mut(&name) {
                    Some(present) => add(present, value),
                    None => {
                        sum.insert(name, value);
                    }
                }
            }
        }
        (sum, other) => {
            if let (Some(one), Some(two)) = (sum.as_u64(), other.as_u64()) {
                *sum = one.saturating_add(two).into();
            }
        }
    }
}

/// The histograms of all reports, by name, added.
fn added(reports: &[LoadgenReport]) -> Result<BTreeMap<String, Histogram<u64>>, SumError> {
    let mut sums: BTreeMap<String, Histogram<u64>> = BTreeMap::new();
    for (generator, report) in (1..).zip(reports) {
        for (name, packed) in &report.histograms {
            let name = name.clone();
            let own = packed.unpack().map_err(|error| SumError::Packed {
                name: name.clone(),
                generator,
                error,
            })?;
            let Some(sum) = sums.get_mut(&name) else {
                sums.insert(name, own);
                continue;
            };
            let bounds = |h: &Histogram<u64>| (h.low(), h.high(), h.sigfig());
            // Adding one with other bounds would round its values.
            if bounds(sum) != bounds(&own) || sum.add(&own).is_err() {
                return Err(SumError::Bounds { name, generator });
            }
        }
    }
    Ok(sums)
}

fn summed<T: Default>(
    histograms: &BTreeMap<String, Histogram<u64>>,
    name: &str,
    of: fn(&Histogram<u64>) -> T,
) -> T {
    histograms.get(name).map(of).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::seeded;
    use crate::session::SessionCounts;
    use crate::tally::ClassCounts;

    fn histogram() -> Histogram<u64> {
        Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap()
    }

    /// A report of one generator out of its lags.
    fn report(lags: &Histogram<u64>) -> LoadgenReport {
        let mut report = LoadgenReport {
            sirs_received: lags.len(),
            wall_ns: lags.len(),
            lag_us: Lag::of(lags),
            record_entries: 3,
            ..LoadgenReport::default()
        };
        report.histograms.insert(LAG.to_owned(), Packed::of(lags));
        report
            .histograms
            .insert(format!("{SETUP}/200"), Packed::of(lags));
        let answers = format!("{ANSWER_TIME}/slow");
        report.histograms.insert(answers, Packed::of(lags));
        let times = Lag::of(lags);
        report.answer_time_us.insert("slow".to_owned(), times);
        report.by_status.insert(200, lags.len());
        let counts = ClassCounts {
            sirs: lags.len(),
            ..ClassCounts::default()
        };
        report.classes.insert("200".to_owned(), counts);
        let counts = SessionCounts {
            established: 2,
            setup_us: Lag::of(lags),
            ..SessionCounts::default()
        };
        report.sessions_by_class.insert("200".to_owned(), counts);
        report.sessions.calls_max = 4;
        report.notices.push("small buffers".to_owned());
        report
    }

    #[test]
    fn counts_are_summed_and_percentiles_are_of_all_samples() {
        let (mut all, mut parts) = (histogram(), [histogram(), histogram(), histogram()]);
        for n in 0..30_000 {
            let value = seeded(4, n) >> (seeded(5, n) % 50);
            all.saturating_record(value);
            parts[(seeded(6, n) % 3) as usize].saturating_record(value);
        }
        let reports = parts.each_ref().map(report);
        let sum = LoadgenReport::sum(&reports).unwrap();
        assert_eq!((sum.sirs_received, sum.by_status[&200]), (30_000, 30_000));
        assert_eq!((sum.classes["200"].sirs, sum.record_entries), (30_000, 9));
        assert_eq!(sum.lag_us, Lag::of(&all));
        assert_eq!(sum.answer_time_us["slow"], Lag::of(&all));
        assert_eq!(sum.histograms[LAG].unpack().unwrap(), all);
        let class = &sum.sessions_by_class["200"];
        assert_eq!((class.established, class.setup_us), (6, Lag::of(&all)));
        assert_eq!(sum.sessions.calls_max, 12);
        assert_eq!(sum.wall_ns, parts.iter().map(Histogram::len).max().unwrap());
        assert_eq!(sum.notices[2], "generator 3: small buffers");
        // A sum is a report like any other.
        let again = LoadgenReport::sum(std::slice::from_ref(&sum)).unwrap();
        assert_eq!(again.histograms, sum.histograms);
    }

    #[test]
    fn one_report_is_its_own_sum_and_none_is_empty() {
        let mut lags = histogram();
        lags.record_n(1_000, 7).unwrap();
        let one = report(&lags);
        let mut sum = LoadgenReport::sum(std::slice::from_ref(&one)).unwrap();
        sum.notices.clone_from(&one.notices);
        assert_eq!(sum, one);
        assert_eq!(LoadgenReport::sum(&[]), Ok(LoadgenReport::default()));
    }

    #[test]
    fn histograms_of_other_bounds_are_refused_with_their_generator() {
        let coarse = Histogram::new_with_bounds(1, 60_000_000_000, 2).unwrap();
        let error = LoadgenReport::sum(&[report(&histogram()), report(&coarse)]);
        let error = error.expect_err("other bounds").to_string();
        assert!(
            error.contains("generator 2") && error.contains("one build"),
            "{error}"
        );
    }
}
