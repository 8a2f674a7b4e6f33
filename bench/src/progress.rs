//! What a person sees while a bench runs: one moving line on a terminal, a plain line a second
//! elsewhere, nothing when quiet. It reads reports and never touches what is measured; everything goes
//! to stderr, so that stdout holds the table alone.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use crate::quantity::{grouped, scaled};
use crate::role::complain;
use crate::run::child::Side;
use crate::watch::Latest;

/// Time between two plain lines: a log of a minute stays readable.
const PLAIN_EVERY: Duration = Duration::from_secs(1);

/// Time between two rates shown: longer than the quarter second between two reports.
const RATE_EVERY: Duration = Duration::from_millis(480);

/// The moving line or the plain ones.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    quiet: bool,
    phase: String,
    said: Instant,
    latest: Latest,
    /// Answered SIRs at an earlier time, for the rate.
    base: Option<(Instant, u64)>,
}

impl Progress {
    /// Silent when `quiet`; a moving line when stderr is a terminal.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let bar = (!quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise} {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self {
            bar,
            quiet,
            phase: String::new(),
            said: Instant::now(),
            latest: Latest::default(),
            base: None,
        }
    }

    /// The last progress of both sides, for whoever shows it elsewhere.
    #[must_use]
    pub fn latest(&self) -> Latest {
        self.latest.clone()
    }

    /// Begins a phase; `text` says what is being done.
    pub fn phase(&mut self, text: impl Into<String>) {
        self.phase = text.into();
        self.base = None;
        match &self.bar {
            Some(bar) => bar.set_message(self.phase.clone()),
            None if !self.quiet => complain(&self.phase),
            None => {}
        }
        self.said = Instant::now();
    }

    /// Shows the last progress of both sides.
    pub fn news(&mut self, sides: &HashMap<Side, Value>) {
        self.latest.news(sides);
        if self.quiet {
            return;
        }
        let Some(engine) = sides.get(&Side::Engine) else {
            return;
        };
        let now = Instant::now();
        // Both sides' reports come here; a rate needs two of the engine's.
        if self.base.is_some_and(|(then, _)| now - then < RATE_EVERY) {
            return;
        }
        let line = self.line(engine, now);
        if let Some(bar) = &self.bar {
            bar.set_message(line);
            bar.tick();
        } else if self.said.elapsed() >= PLAIN_EVERY {
            complain(line);
            self.said = Instant::now();
        }
    }

    fn line(&mut self, engine: &Value, now: Instant) -> String {
        let count = |name: &str| engine.get(name).and_then(Value::as_u64).unwrap_or(0);
        let answered = count("sirs_answered");
        let rate = match self.base {
            Some((then, before)) if now > then => {
                answered.saturating_sub(before) as f64 / (now - then).as_secs_f64()
            }
            _ => 0.0,
        };
        self.base = Some((now, answered));
        format!(
            "{}: {} SIRs/s answered, {} in all, {} in flight, {} sent again",
            self.phase,
            scaled(rate),
            scaled(answered as f64),
            grouped(count("in_flight")),
            grouped(count("retransmissions")),
        )
    }

    /// Takes the moving line away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_rate_is_taken_between_two_reports() {
        let mut progress = Progress::new(true);
        progress.phase("measuring");
        let begin = Instant::now();
        let first = progress.line(&json!({"sirs_answered": 1_000_000}), begin);
        assert!(first.starts_with("measuring: 0 SIRs/s"), "{first}");
        let later = begin + Duration::from_millis(250);
        let second = progress.line(&json!({"sirs_answered": 1_500_000, "in_flight": 9}), later);
        assert!(
            second.contains("2.00 M SIRs/s") && second.contains("9 in flight"),
            "{second}"
        );
    }
}
