//! The closing text of a search: the answer with its interval, the baseline beside it, the knee curve as
//! a table with the latency drawn, and what the method's document asks to be reported.

use comfy_table::{Cell, CellAlignment};

use super::{empty, microseconds};
use crate::quantity::scaled;
use crate::record::{Judgement, LimitFigures, ProbeFigures, Purpose};

/// Steps of a drawn curve, from low to high.
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The whole text but headline and verdict.
#[must_use]
pub fn text(limit: &LimitFigures) -> String {
    let criterion = limit.criterion.as_ref().map(ToString::to_string);
    let mut text = format!(
        "limit by {}, criterion {}\n",
        limit.method,
        criterion.unwrap_or_default()
    );
    text.push_str(&answer(limit));
    if let Some(baseline) = &limit.baseline {
        text.push_str(&format!(
            "testbed alone: {} /s of {} (the limit is {:.1} % of it); its load generator was busy for \
             {:.0} % of the time near the limit, {:.0} us late at p99, and would be at its end at {} /s\n",
            scaled(baseline.rate_per_s),
            baseline.what,
            baseline.share * 100.0,
            baseline.loadgen_busy_share * 100.0,
            baseline.loadgen_lag_us.p99,
            scaled(baseline.loadgen_rate_per_s),
        ));
    }
    text.push_str(&format!("{}\n", knee(limit)));
    text.push_str(&format!(
        "lag, busy: the load generator's; p99 against rate: {}\n",
        spark(limit)
    ));
    for [name, value] in &limit.report {
        text.push_str(&format!("  {name} = {value}\n"));
    }
    text
}

fn answer(limit: &LimitFigures) -> String {
    let mut text = match limit.rate_per_s {
        Some(rate) => format!("{} {}/s: {}\n", scaled(rate), limit.unit, limit.words),
        None => format!("{}\n", limit.words),
    };
    match &limit.interval {
        Some(interval) => text.push_str(&format!(
            "one bisection's limit: {} /s, {} to {} with {:.1} % confidence ({})\n",
            scaled(interval.estimate),
            scaled(interval.low),
            scaled(interval.high),
            interval.confidence * 100.0,
            limit.interval_method
        )),
        None if limit.rate_per_s.is_some() => {
            text.push_str(&format!("interval: {}\n", limit.interval_method));
        }
        None => {}
    }
    text.push_str(&format!(
        "closed loop {} /s; {} probes and {} holds in {:.0} s of {:.0} s\n",
        scaled(limit.closed_loop_per_s),
        limit.knee.len(),
        limit.holds.len(),
        limit.took_s,
        limit.budget_s
    ));
    text
}

fn knee(limit: &LimitFigures) -> comfy_table::Table {
    let mut table = empty(&[
        "rate /s", "for", "attempts", "loss", "%IHS", "p50", "p99", "p99.9", "lag", "busy", "",
    ]);
    let mut probes: Vec<&ProbeFigures> = limit.probes().collect();
    if limit.method == "bisect" {
        probes.sort_by(|a, b| a.rate_per_s.total_cmp(&b.rate_per_s));
    }
    for probe in probes {
        let cells = [
            scaled(probe.rate_per_s),
            purpose(probe.purpose).to_owned(),
            scaled(probe.attempts as f64),
            percent(probe.loss_share),
            percent(probe.ihs_share),
            microseconds(probe.latency_us.p50),
            microseconds(probe.latency_us.p99),
            microseconds(probe.latency_us.p999),
            microseconds(probe.loadgen_lag_us.p99),
            format!("{:.0} %", probe.loadgen_busy_share * 100.0),
        ];
        let mut row: Vec<Cell> = cells
            .into_iter()
            .map(|text| Cell::new(text).set_alignment(CellAlignment::Right))
            .collect();
        row.push(Cell::new(judgement(probe)));
        table.add_row(row);
    }
    table
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0".to_owned(),
        percent if percent < 0.1 => format!("{percent:.4}"),
        percent => format!("{percent:.2}"),
    }
}

fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Bracket => "bracket",
        Purpose::Bisection => "bisect",
        Purpose::Hold => "hold",
        Purpose::Knee => "knee",
        Purpose::Iteration => "iteration",
        Purpose::Step => "step",
    }
}

fn judgement(probe: &ProbeFigures) -> &'static str {
    match probe.judgement {
        Judgement::Passed => "pass",
        Judgement::Failed => "fail",
        Judgement::TestbedGaveOut => "testbed",
        Judgement::Disturbed => "disturbed",
    }
}

/// The 99th percentile at each rate, logarithmic, low rates first.
fn spark(limit: &LimitFigures) -> String {
    let mut points: Vec<(f64, f64)> = limit
        .probes()
        .filter(|probe| probe.latency_us.p99 > 0.0)
        .map(|probe| (probe.rate_per_s, probe.latency_us.p99.ln()))
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let least = points.iter().map(|p| p.1).fold(f64::MAX, f64::min);
    let most = points.iter().map(|p| p.1).fold(f64::MIN, f64::max);
    let range = (most - least).max(f64::MIN_POSITIVE);
    let steps = SPARKS.len() as f64;
    let height = |value: f64| ((value - least) / range * steps).min(steps - 1.0) as usize;
    points.iter().map(|p| SPARKS[height(p.1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BaselineFigures, Latency};

    #[test]
    fn the_text_shows_answer_baseline_and_curve() {
        let point = |rate: f64, p99: f64| ProbeFigures {
            rate_per_s: rate,
            attempts: 1000,
            latency_us: Latency {
                p99,
                ..Latency::default()
            },
            judgement: Judgement::Passed,
            ..ProbeFigures::default()
        };
        let limit = LimitFigures {
            method: "bisect".to_owned(),
            unit: "SIRs".to_owned(),
            rate_per_s: Some(1.5e6),
            words: "held 3 times".to_owned(),
            knee: vec![point(1e6, 100.0), point(2e6, 100_000.0)],
            baseline: Some(BaselineFigures {
                rate_per_s: 4e6,
                share: 0.375,
                ..BaselineFigures::default()
            }),
            report: vec![["Codec".to_owned(), "none".to_owned()]],
            ..LimitFigures::default()
        };
        let text = text(&limit);
        for shown in [
            "1.50 M SIRs/s: held",
            "37.5 %",
            "▁█",
            "100.00 ms",
            "Codec = none",
        ] {
            assert!(text.contains(shown), "{shown} in\n{text}");
        }
    }
}
