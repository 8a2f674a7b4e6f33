//! From what the processes say to what the record holds: sums over runs, ratios per SIR, medians over
//! repetitions. Pure arithmetic; called by `plan`.

use sirocco_loadgen::LoadgenReport;

use crate::ceiling::cycle;
use crate::quantity::Rate;
use crate::record::{EngineFigures, Lag, LoadgenFigures, RunFigures, SessionFigures, SessionRun};
use crate::role::protocol::Measured;
use crate::scenario::{Place, Scenario};
use crate::statistics::Spread;

/// Longest message of a ceiling probe in bytes.
const MESSAGE_BYTES_MAX: f64 = 1500.0;

/// What a measured run was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The scenario's own rate.
    Rate,
    /// Half the median rate, open loop.
    Latency,
    /// The scenario's own rate under a flood.
    Flood,
    /// So many orders, counted to the last.
    Counted,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Purpose::Rate => "rate",
            Purpose::Latency => "latency",
            Purpose::Flood => "flood",
            Purpose::Counted => "counted",
        }
    }
}

fn ratio(value: u64, count: u64) -> f64 {
    if count == 0 {
        0.0
    } else {
        value as f64 / count as f64
    }
}

/// The SIRs that a rate counts: answered ones, or rendered ones where nothing answers.
fn completed(measured: &Measured, place: Place) -> u64 {
    match place {
        Place::Nowhere => measured.sirs_sent,
        Place::Edges | Place::Direct => measured.sirs_answered,
    }
}

/// Figures of one measured window.
#[must_use]
pub fn run(measured: &Measured, place: Place, rate: Rate, purpose: Purpose) -> RunFigures {
    let mut latency_us = measured.latency_us.clone();
    latency_us.offered_per_s = match rate {
        Rate::Max => 0.0,
        Rate::PerSecond(rate) => rate as f64,
    };
    let seconds = measured.wall_ns as f64 / 1e9;
    let completed = completed(measured, place);
    RunFigures {
        rate: rate.to_string(),
        purpose: purpose.name().to_owned(),
        wall_ns: measured.wall_ns,
        cpu_ns: measured.cpu_ns,
        sirs_per_s: if seconds > 0.0 {
            completed as f64 / seconds
        } else {
            0.0
        },
        order_lag_us: measured.order_lag_us.clone(),
        latency_us,
        offered: measured.offered.clone(),
        engine: EngineFigures {
            sirs_sent: measured.sirs_sent,
            sirs_answered: measured.sirs_answered,
            sirs_failed: measured.sirs_failed.clone(),
            retransmissions: measured.retransmissions,
            cpu_ns_per_sir: ratio(measured.cpu_ns, completed),
            cpu_ns_per_sir_spread: Spread::of(vec![ratio(measured.cpu_ns, completed)]),
            syscalls_per_sir: ratio(measured.syscalls, completed),
            bytes_written_per_sir: ratio(measured.bytes_written, measured.sirs_sent),
            allocations_per_sir: ratio(measured.allocations, measured.sirs_sent),
            segments_per_train: ratio(measured.segments, measured.trains),
            request_bytes: ratio(measured.bytes_sent, measured.segments),
            response_bytes: ratio(measured.bytes_received, measured.datagrams_received),
        },
        stages: Some(measured.stages.clone()),
        load: None,
        sessions: None,
    }
}

/// Figures of a run of so many orders, waits for its last sessions included.
#[must_use]
pub fn counted(measured: &Measured, scenario: &Scenario) -> RunFigures {
    let rate = scenario.runs.rate;
    let mut figures = run(measured, scenario.place, rate, Purpose::Counted);
    if scenario.has_sessions() {
        figures.sessions = Some(sessions(measured, rate, (0, 0.0)));
    }
    figures
}

/// Sessions of one measured window; `forged` INVITEs were sent beside them.
#[must_use]
pub fn sessions(measured: &Measured, rate: Rate, (forged, forged_per_s): (u64, f64)) -> SessionRun {
    let count = |name: &str| {
        let count = measured.sessions.get(name).copied().unwrap_or(0);
        u64::try_from(count).unwrap_or(0)
    };
    // A session that ended otherwise was no whole cycle.
    let cycles = count("ended.engine") + count("ended.peer");
    let mut setup_us = measured.time_to_session_us.clone();
    setup_us.offered_per_s = match rate {
        Rate::Max => 0.0,
        Rate::PerSecond(rate) => rate as f64,
    };
    SessionRun {
        cycles,
        cycles_per_s: ratio(cycles, measured.wall_ns) * 1e9,
        engine_cpu_ns_per_cycle: ratio(measured.cpu_ns, cycles),
        loadgen_cpu_ns_per_cycle: ratio(measured.loadgen_cpu_ns, cycles),
        messages_per_cycle: ratio(
            measured.datagrams_sent + measured.datagrams_received,
            cycles,
        ),
        octets_per_cycle: ratio(measured.octets_sent + measured.octets_received, cycles),
        setup_us,
        forged,
        forged_per_s,
    }
}

/// The lengths of the nine messages of a cycle, as far as counts by direction tell: the SIR by itself,
/// the mean of the engine's other three, the mean of the devices' five.
#[must_use]
pub fn cycle_bytes(measured: &Measured) -> [u16; cycle::MESSAGES] {
    let mean = |octets: u64, count: u64| {
        let mean = ratio(octets, count).round();
        mean.clamp(1.0, MESSAGE_BYTES_MAX) as u16
    };
    let sir = mean(measured.bytes_sent, measured.segments);
    let sirs = measured.sirs_sent + measured.retransmissions;
    let others = measured.octets_sent.saturating_sub(sirs * u64::from(sir));
    let ours = mean(others, measured.datagrams_sent.saturating_sub(sirs));
    let theirs = mean(measured.octets_received, measured.datagrams_received);
    [
        sir, theirs, theirs, ours, theirs, ours, theirs, ours, theirs,
    ]
}

/// The repetitions of sessions as one.
#[must_use]
pub fn combined_sessions(runs: &[RunFigures]) -> SessionFigures {
    let of = |figure: fn(&SessionRun) -> f64| {
        let figures = runs.iter().filter_map(|run| run.sessions.as_ref());
        Spread::of(figures.map(figure).collect())
    };
    let rate = of(|run| run.cycles_per_s);
    SessionFigures {
        cycles_per_s: rate.median,
        cycles_per_s_spread: rate,
        engine_cpu_ns_per_cycle: of(|run| run.engine_cpu_ns_per_cycle),
        loadgen_cpu_ns_per_cycle: of(|run| run.loadgen_cpu_ns_per_cycle),
        messages_per_cycle: of(|run| run.messages_per_cycle).median,
        octets_per_cycle: of(|run| run.octets_per_cycle).median,
        ..SessionFigures::default()
    }
}

/// The repetitions as one: counts are summed, ratios are the medians.
#[must_use]
pub fn combined(runs: &[RunFigures]) -> (EngineFigures, Spread) {
    let median = |figure: fn(&EngineFigures) -> f64| {
        Spread::of(runs.iter().map(|run| figure(&run.engine)).collect())
    };
    let sum = |count: fn(&EngineFigures) -> u64| runs.iter().map(|run| count(&run.engine)).sum();
    let mut failed = std::collections::BTreeMap::new();
    for (cause, count) in runs.iter().flat_map(|run| &run.engine.sirs_failed) {
        *failed.entry(cause.clone()).or_default() += count;
    }
    let cpu = median(|engine| engine.cpu_ns_per_sir);
    let engine = EngineFigures {
        sirs_sent: sum(|engine| engine.sirs_sent),
        sirs_answered: sum(|engine| engine.sirs_answered),
        sirs_failed: failed,
        retransmissions: sum(|engine| engine.retransmissions),
        cpu_ns_per_sir: cpu.median,
        cpu_ns_per_sir_spread: cpu,
        syscalls_per_sir: median(|engine| engine.syscalls_per_sir).median,
        bytes_written_per_sir: median(|engine| engine.bytes_written_per_sir).median,
        // The worst repetition counts: one allocation is one too many.
        allocations_per_sir: median(|engine| engine.allocations_per_sir).max,
        segments_per_train: median(|engine| engine.segments_per_train).median,
        request_bytes: median(|engine| engine.request_bytes).median,
        response_bytes: median(|engine| engine.response_bytes).median,
    };
    (
        engine,
        Spread::of(runs.iter().map(|run| run.sirs_per_s).collect()),
    )
}

/// What the record keeps of the loadgen's report.
#[must_use]
pub fn loadgen(report: &LoadgenReport) -> LoadgenFigures {
    let lag = &report.lag_us;
    LoadgenFigures {
        sirs_received: report.sirs_received,
        responses_sent: report.responses_sent,
        lag_us: Lag {
            p50: lag.p50,
            p99: lag.p99,
            max: lag.max,
        },
        cpu_ns_per_sir: ratio(report.cpu_ns, report.sirs_received),
        dropped: report.dropped.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(answered: u64, wall_ns: u64) -> Measured {
        Measured {
            wall_ns,
            cpu_ns: answered * 250,
            syscalls: answered / 64,
            sirs_sent: answered,
            sirs_answered: answered,
            bytes_written: answered * 100,
            trains: answered / 64,
            segments: answered,
            bytes_sent: answered * 500,
            sirs_failed: [("486".to_owned(), 2)].into(),
            ..Measured::default()
        }
    }

    #[test]
    fn ratios_are_per_answered_sir_and_rates_per_wall_second() {
        let run = run(
            &measured(6400, 2_000_000_000),
            Place::Edges,
            Rate::Max,
            Purpose::Rate,
        );
        assert_eq!((run.sirs_per_s, run.engine.cpu_ns_per_sir), (3200.0, 250.0));
        assert_eq!(
            (run.engine.segments_per_train, run.engine.request_bytes),
            (64.0, 500.0)
        );
        assert_eq!(run.engine.syscalls_per_sir, 1.0 / 64.0);
        assert_eq!((run.rate.as_str(), run.purpose.as_str()), ("max", "rate"));
    }

    #[test]
    fn an_empty_window_gives_zeroes_not_infinities() {
        let run = run(&Measured::default(), Place::Edges, Rate::Max, Purpose::Rate);
        assert_eq!((run.sirs_per_s, run.engine.cpu_ns_per_sir), (0.0, 0.0));
    }

    #[test]
    fn where_nothing_answers_the_rendered_ones_count() {
        let rendered = Measured {
            sirs_answered: 0,
            ..measured(640, 1_000_000_000)
        };
        let run = run(&rendered, Place::Nowhere, Rate::Max, Purpose::Rate);
        assert_eq!(run.sirs_per_s, 640.0);
    }

    #[test]
    fn cycles_are_the_sessions_that_ended_by_bye() {
        let sessions = [("ended.engine", 90), ("ended.peer", 10), ("ended.gone", 5)];
        let measured = Measured {
            sessions: sessions.map(|(name, n)| (name.to_owned(), n)).into(),
            loadgen_cpu_ns: 400_000,
            datagrams_sent: 400,
            datagrams_received: 500,
            octets_sent: 100 * 500 + 300 * 600,
            octets_received: 500 * 400,
            ..measured(100, 1_000_000_000)
        };
        let measured = Measured {
            segments: 100,
            bytes_sent: 100 * 500,
            ..measured
        };
        let run = super::sessions(&measured, Rate::Max, (0, 0.0));
        assert_eq!((run.cycles, run.cycles_per_s), (100, 100.0));
        assert_eq!(
            (run.messages_per_cycle, run.octets_per_cycle),
            (9.0, 4300.0)
        );
        assert_eq!(run.loadgen_cpu_ns_per_cycle, 4000.0);
        let bytes = cycle_bytes(&measured);
        assert_eq!(bytes, [500, 400, 400, 600, 400, 600, 400, 600, 400]);
    }

    #[test]
    fn repetitions_are_summed_and_their_median_is_taken() {
        let runs: Vec<RunFigures> = [1000, 3000, 2000]
            .map(|count| {
                run(
                    &measured(count, 1_000_000_000),
                    Place::Edges,
                    Rate::Max,
                    Purpose::Rate,
                )
            })
            .into();
        let (engine, rate) = combined(&runs);
        assert_eq!((rate.median, rate.min, rate.max), (2000.0, 1000.0, 3000.0));
        assert_eq!((engine.sirs_answered, engine.sirs_failed["486"]), (6000, 6));
    }
}
