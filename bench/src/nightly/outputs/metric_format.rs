//! Bencher Metric Format: each scenario a benchmark, each figure a measure with its value and, for
//! times, the least and greatest repetition. Called by `outputs`.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::nightly::night::Night;
use crate::statistics::Spread;

/// One measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Measure {
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    lower_value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upper_value: Option<f64>,
}

/// The document; lines of invalid runs are left out.
///
/// # Errors
/// None in practice: the figures are finite.
pub fn write(night: &Night) -> serde_json::Result<String> {
    let mut benches: BTreeMap<&str, BTreeMap<&str, Measure>> = BTreeMap::new();
    for line in night.lines.iter().filter(|line| line.counts()) {
        let measures = benches.entry(&line.scenario).or_default();
        for (name, count) in &line.counters {
            let measure = Measure {
                value: *count,
                lower_value: None,
                upper_value: None,
            };
            measures.insert(name, measure);
        }
        for (name, samples) in line
            .times
            .iter()
            .filter(|(name, _)| line.time(name).is_some())
        {
            let spread = Spread::of(samples.clone());
            let measure = Measure {
                value: spread.median,
                lower_value: Some(spread.min),
                upper_value: Some(spread.max),
            };
            measures.insert(name, measure);
        }
    }
    serde_json::to_string_pretty(&benches)
}
