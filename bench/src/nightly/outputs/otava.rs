//! The series that tonight continues as CSV for Apache Otava, a file a scenario: its importer reads
//! `time,commit,host` and a column a metric, and knows no gaps, so a night that lacks a figure is left
//! out. Called by `outputs`.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::nightly::history::Line;
use crate::nightly::series::{self, Series};

/// The CSV of each scenario, by name.
#[must_use]
pub fn write(history: &[Line], night: u64) -> BTreeMap<String, String> {
    let mut by_scenario: BTreeMap<&str, Vec<Series<'_>>> = BTreeMap::new();
    for series in series::continued(history, night) {
        by_scenario.entry(series.scenario).or_default().push(series);
    }
    let each = |(scenario, series): (&str, Vec<Series<'_>>)| (scenario.to_owned(), table(&series));
    by_scenario.into_iter().map(each).collect()
}

fn table(series: &[Series<'_>]) -> String {
    let mut text = "time,commit,host".to_owned();
    for one in series {
        text.push(',');
        text.push_str(one.figure);
    }
    text.push('\n');
    let most = series.iter().max_by_key(|one| one.nights.len());
    for line in most.map(|one| &*one.nights).unwrap_or_default() {
        let values: Option<Vec<f64>> = series.iter().map(|one| line.time(one.figure)).collect();
        let Some(values) = values else { continue };
        let time = super::time::iso(line.night_unix_s);
        // Writing to a string cannot fail.
        write!(text, "{time},{},{}", line.commit, line.host_key).ok();
        values
            .iter()
            .for_each(|value| write!(text, ",{value}").unwrap_or_default());
        text.push('\n');
    }
    text
}
