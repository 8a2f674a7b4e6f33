//! One night as judged: what was run, how its counters stand, which series changed, and the exit code
//! that follows. The outputs show it and decide nothing. Called by `nightly`.

use super::gate::{Baseline, Gate, Standing};
use super::history::Line;
use super::series::{self, Finding, Series};
use crate::role::{EXIT_FAILED, EXIT_INVALID, EXIT_NO_BASELINE};
use crate::statistics::Spread;

/// A night and its verdict.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Night {
    /// Suite that was run.
    pub suite: String,
    /// When it began, in seconds since 1970-01-01 UTC.
    pub unix_s: u64,
    /// Commit that was measured.
    pub commit: String,
    /// Hash of what identifies the host.
    pub host_key: String,
    /// What was run, in its order.
    pub lines: Vec<Line>,
    /// Every counter against its baseline.
    pub gates: Vec<Gate>,
    /// Every change in the series that tonight continues.
    pub findings: Vec<Finding>,
    /// Tonight's times against those of the nights before.
    pub compared: Vec<Compared>,
    /// Whether a missed objective fails the night.
    pub objectives_held: bool,
    /// What people have to know besides.
    pub notices: Vec<String>,
}

/// One time of tonight.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Scenario.
    pub scenario: String,
    /// Name of the figure.
    pub figure: String,
    /// Tonight's repetitions.
    pub tonight: Spread,
    /// Median of the comparable nights before, since the last change; `None` without any.
    pub usual: Option<f64>,
    /// Nights of the series, tonight included.
    pub nights: usize,
}

impl Compared {
    /// Difference to the usual as a share of it.
    #[must_use]
    pub fn share(&self) -> Option<f64> {
        self.usual
            .filter(|usual| *usual != 0.0)
            .map(|usual| self.tonight.median / usual - 1.0)
    }
}

impl Night {
    /// Judges the lines of this night, which are the last of `history`, against `baseline`.
    #[must_use]
    pub fn judged(self, history: &[Line], baseline: &Baseline) -> Self {
        let all = series::continued(history, self.unix_s);
        let sound = self.lines.iter().filter(|line| line.counts());
        let gates = sound.flat_map(|line| baseline.gates(line)).collect();
        let findings = series::findings(&all);
        let compared = all.iter().map(|series| compared(series, &findings));
        Self {
            compared: compared.collect(),
            gates,
            findings,
            ..self
        }
    }

    /// Exit code: 1 for a failed check, a counter that got worse or a missed objective that counts, else
    /// 2 for anything that was not measured, else 3 for anything without a baseline, else 0.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        let stands = |standing| self.gates.iter().any(|gate| gate.standing == standing);
        let failed = self.lines.iter().any(|line| !line.verdict.passed);
        let missed = self.objectives_held && self.missed().next().is_some();
        if failed || missed || stands(Standing::Worse) {
            EXIT_FAILED
        } else if self.lines.is_empty()
            || self.lines.iter().any(|line| !line.counts())
            || stands(Standing::Missing)
        {
            EXIT_INVALID
        } else if stands(Standing::NoBaseline) || self.short().next().is_some() {
            EXIT_NO_BASELINE
        } else {
            0
        }
    }

    /// What the exit code means, in words.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self.exit_code() {
            0 => "pass",
            EXIT_FAILED => "REGRESSION",
            EXIT_NO_BASELINE => "no baseline yet",
            _ => "INVALID",
        }
    }

    /// Objectives that were missed, with the scenario.
    pub fn missed(&self) -> impl Iterator<Item = (&Line, &super::history::Reached)> {
        let all = self
            .lines
            .iter()
            .flat_map(|line| line.objectives.iter().map(move |reached| (line, reached)));
        all.filter(|(_, reached)| !reached.met)
    }

    /// Times whose series are too short for a change to be found.
    pub fn short(&self) -> impl Iterator<Item = &Compared> {
        self.compared
            .iter()
            .filter(|row| row.nights < series::NIGHTS_MIN)
    }

    /// Changes for the worse that tonight confirms.
    pub fn alarms(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.is_alarm())
    }
}

fn compared(series: &Series<'_>, findings: &[Finding]) -> Compared {
    let last = series.nights.last();
    let samples = last.and_then(|line| line.times.get(series.figure));
    Compared {
        scenario: series.scenario.to_owned(),
        figure: series.figure.to_owned(),
        tonight: Spread::of(samples.cloned().unwrap_or_default()),
        usual: series.usual(findings),
        nights: series.values.len(),
    }
}

#[cfg(test)]
#[path = "night/tests.rs"]
mod tests;
