//! Whether a record can be used. Two questions kept apart: is the run valid (was the load what was
//! asked for, on a machine fit to measure), and did every check pass (the ledger balances, both sides
//! saw the same). An invalid run says nothing about the engine; a failed check says it is wrong.

mod limit;
mod sessions;

use serde::{Deserialize, Serialize};

use crate::record::{LoadFigures, Record, RunFigures};
use crate::scenario::Place;

/// The stages may be off the wall time by this share: two clocks, and a stamp at each end.
const STAGES_MISSING_MAX: f64 = 0.01;

/// A generator may begin so far off the agreed time, in microseconds: a begin is known to a turn, and a busy
/// host delays one.
const BEGIN_LATE_US_MAX: f64 = 10_000.0;

/// The judgement on one record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether the figures may be used.
    pub valid: bool,
    /// Whether every check passed.
    pub passed: bool,
    /// Why not, in full sentences; empty when valid and passed.
    pub reasons: Vec<String>,
}

impl Default for Verdict {
    fn default() -> Self {
        Self {
            valid: true,
            passed: true,
            reasons: Vec::new(),
        }
    }
}

impl Verdict {
    /// Exit code of the process: 0 pass, 1 a check failed, 2 the run is invalid.
    ///
    /// A failed check comes first: a wrong ledger is wrong on any machine.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.passed, self.valid) {
            (false, _) => 1,
            (true, false) => 2,
            (true, true) => 0,
        }
    }

    fn invalid(&mut self, reason: String) {
        self.valid = false;
        self.reasons.push(reason);
    }

    fn failed(&mut self, reason: String) {
        self.passed = false;
        self.reasons.push(reason);
    }
}

/// Judges a record by its scenario's checks; `shared_core` when both sides ran on one core.
#[must_use]
pub fn judge(record: &Record, shared_core: bool) -> Verdict {
    let mut verdict = Verdict::default();
    if let Some(limit) = &record.limit {
        // Its probes are judged one by one; those beyond the limit are meant to fail.
        limit::judge(record, limit, &mut verdict);
        if shared_core {
            verdict.invalid("engine and loadgen shared one core; give two with --cores".to_owned());
        }
        return verdict;
    }
    balance(record, &mut verdict);
    fitness(record, shared_core, &mut verdict);
    load(record, &mut verdict);
    sessions::judge(record, &mut verdict);
    verdict
}

/// What must hold on any machine: the books.
fn balance(record: &Record, verdict: &mut Verdict) {
    let (ledger, checks) = (&record.ledger, &record.config.checks);
    if ledger.residue != 0 {
        verdict.failed(format!(
            "the ledger does not balance: {} targets of {} are neither settled nor in flight",
            ledger.residue, ledger.accepted
        ));
    }
    if ledger.in_flight != 0 {
        verdict.failed(format!(
            "{} targets were still in flight when the drain ended; raise runs.drain-ms-max",
            ledger.in_flight
        ));
    }
    let delivered = ledger.delivered + ledger.stored;
    let share = delivered as f64 / ledger.accepted.max(1) as f64;
    if share < checks.delivered_share_min {
        verdict.failed(format!(
            "only {:.4} % of {} targets were delivered, {:.4} % are wanted",
            share * 100.0,
            ledger.accepted,
            checks.delivered_share_min * 100.0
        ));
    }
    // The loadgen may see fewer than were sent when datagrams were lost, never more.
    // A push into an open session takes no SIR.
    let direct = record
        .sessions
        .as_ref()
        .map_or(0, |sessions| sessions.pushed("direct"));
    let by_sir = delivered.saturating_sub(u64::try_from(direct).unwrap_or(0));
    if record.config.place != Place::Nowhere && record.loadgen.sirs_received < by_sir {
        verdict.failed(format!(
            "the loadgen received {} SIRs, yet {by_sir} are booked as delivered by one",
            record.loadgen.sirs_received
        ));
    }
    for (number, run) in (1..).zip(record.replay.iter().flat_map(|replay| &replay.runs)) {
        if run.offered != run.recorded {
            verdict.failed(format!(
                "load {number} is not the recorded one: digest {} over {} orders, recorded {} over {}",
                run.offered, run.offered.entries, run.recorded, run.recorded.entries
            ));
        }
    }
    if let Some(verification) = record.verify.as_ref().filter(|v| !v.is_clean()) {
        verdict.failed(format!("SIR by SIR: {}", verification.summary()));
    }
}

/// Whether the machine could measure at all.
fn fitness(record: &Record, shared_core: bool, verdict: &mut Verdict) {
    let steal = record.cpu_ticks.steal_share();
    if steal > record.config.checks.steal_share_max {
        verdict.invalid(format!(
            "the hypervisor took {:.1} % of the machine's time away; run on a quieter machine",
            steal * 100.0
        ));
    }
    // A spinning worker never sleeps, so what it lacks of the wall time was taken from it.
    let spins = record
        .config
        .engine
        .get("idle")
        .and_then(|idle| idle.as_str())
        == Some("spin");
    let own = |run: &RunFigures| run.cpu_ns as f64 / run.wall_ns.max(1) as f64;
    let least = record
        .runs
        .iter()
        .filter(|run| run.wall_ns > 0)
        .map(own)
        .fold(1.0, f64::min);
    if spins && !shared_core && least < record.config.checks.own_core_share_min {
        verdict.invalid(format!(
            "the engine had its core for only {:.0} % of a run: something else ran there; leave the \
             machine alone",
            least * 100.0
        ));
    }
    if shared_core {
        verdict.invalid("engine and loadgen shared one core; give two with --cores".to_owned());
    }
    let missing = (record.stages.as_ref()).map_or(0.0, |stages| stages.missing_share());
    if missing > STAGES_MISSING_MAX {
        verdict.invalid(format!(
            "the stages are {:.1} % of the wall time off: the clock of the stamps is not to be trusted here; \
             run with stages = false in [engine]",
            missing * 100.0
        ));
    }
    let Some(ceiling) = &record.ceiling else {
        return;
    };
    let lost = ceiling.lost();
    if lost > 0 {
        verdict.invalid(format!(
            "the ceiling probes lost {lost} datagrams; raise net.core.rmem_max"
        ));
    }
    let cycles = record
        .sessions
        .as_ref()
        .and_then(|sessions| sessions.ceiling_share);
    if [record.ceiling_share, cycles]
        .into_iter()
        .flatten()
        .any(|share| share > 1.0)
    {
        verdict.invalid(
            "the engine beat its ceiling: the ceiling was disturbed; run again".to_owned(),
        );
    }
}

/// Whether the load was the one asked for.
fn load(record: &Record, verdict: &mut Verdict) {
    let checks = &record.config.checks;
    if !record.runs.iter().any(RunFigures::is_rated) || record.engine.sirs_sent == 0 {
        verdict.invalid("nothing was measured".to_owned());
    }
    // What a flood displaces is its own figure; a counted run is as long as its last session.
    let offered = |run: &&RunFigures| {
        run.rate != "max" && !["flood", "counted"].contains(&run.purpose.as_str())
    };
    for run in record.runs.iter().filter(offered) {
        let lag = run.order_lag_us.p99;
        if lag > checks.lag_p99_us_max as f64 {
            verdict.invalid(format!(
                "at {} SIRs/s the order source lagged {lag:.0} us at p99, {} us are allowed",
                run.rate, checks.lag_p99_us_max
            ));
        }
        if let Some(load) = &run.load {
            shape(load, verdict);
            continue;
        }
        // What was changed by hand was not offered at that rate.
        if !run.offered.steers.is_empty() {
            continue;
        }
        let share = run.sirs_per_s / run.latency_us.offered_per_s;
        let complete = record.config.checks.offered_share_min * checks.delivered_share_min;
        if run.latency_us.offered_per_s > 0.0 && share < complete {
            verdict.invalid(format!(
                "only {:.1} % of {} SIRs/s offered were answered in time: the rate is above what \
                 this machine carries; lower --rate",
                share * 100.0,
                run.rate
            ));
        }
    }
    for generator in &record.generators {
        let (late, unsure) = (generator.begin_late_us, generator.clock.uncertainty_us);
        if late.abs() > BEGIN_LATE_US_MAX + unsure {
            verdict.invalid(format!(
                "generator {} began {:.1} ms off the agreed time, its clock being known to {unsure:.0} us: its \
                 host or the network between was too slow for the barrier; run again",
                generator.number,
                late / 1e3
            ));
        }
        let lag = generator.seen.lag_us.p99;
        if record.generators.len() > 1 && lag > checks.lag_p99_us_max as f64 {
            verdict.invalid(format!(
                "generator {} answered {lag:.0} us late at p99, {} us are allowed",
                generator.number, checks.lag_p99_us_max
            ));
        }
    }
    let lag = record.loadgen.lag_us.p99;
    if lag > checks.lag_p99_us_max as f64 {
        verdict.invalid(format!(
            "the loadgen answered {lag:.0} us late at p99, {} us are allowed",
            checks.lag_p99_us_max
        ));
    }
}

/// Whether a shape was offered as it was given; how it was answered is the figure.
fn shape(load: &LoadFigures, verdict: &mut Verdict) {
    if !load.is_whole {
        verdict.invalid(
            "the shape was not offered whole: it was stopped, or the engine had not taken all of it \
             runs.drain-ms-max after its end"
                .to_owned(),
        );
    }
    if load.is_cut {
        verdict.invalid(
            "the run had more intervals and segments than are kept; make the shape or its pauses shorter"
                .to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ceiling::{Ceiling, Probe};
    use crate::record::stages::StageFigures;
    use crate::record::{LedgerFigures, tests::sound};
    use crate::together::figures::GeneratorFigures;

    type Change = Box<dyn FnOnce(&mut Record)>;

    /// The verdict after one change to a sound record.
    fn after(change: impl FnOnce(&mut Record)) -> Verdict {
        let mut record = sound();
        change(&mut record);
        record.ledger = record.ledger.balanced();
        judge(&record, false)
    }

    #[test]
    fn a_sound_record_passes() {
        assert_eq!(after(|_| {}), Verdict::default());
        assert_eq!(Verdict::default().exit_code(), 0);
    }

    #[test]
    fn what_is_wrong_fails_and_what_is_unfit_is_invalid() {
        let failed: [fn(&mut Record); 4] = [
            |r| r.ledger.accepted += 1,
            |r| r.ledger.in_flight = 1,
            |r| r.loadgen.sirs_received = 9,
            |r| {
                r.ledger = LedgerFigures {
                    accepted: 10,
                    delivered: 9,
                    failed: 1,
                    ..Default::default()
                }
            },
        ];
        for (index, change) in failed.into_iter().enumerate() {
            let verdict = after(change);
            assert_eq!(verdict.exit_code(), 1, "case {index}: {verdict:?}");
        }
        let late = RunFigures {
            rate: "1M".to_owned(),
            ..Default::default()
        };
        let mut lagging = late.clone();
        lagging.order_lag_us.p99 = 1e5;
        let mut short = late;
        (short.latency_us.offered_per_s, short.sirs_per_s) = (1e6, 8e5);
        let probe = Probe {
            lost: 1,
            ..Probe::default()
        };
        let lossy = Ceiling {
            gso_gro: Some(probe),
            ..Ceiling::default()
        };
        let late = GeneratorFigures {
            begin_late_us: 12_000.0,
            ..GeneratorFigures::default()
        };
        let mut slow = GeneratorFigures::default();
        slow.seen.lag_us.p99 = 1e6;
        let invalid: [Change; 11] = [
            Box::new(|r| r.generators.push(late)),
            Box::new(|r| r.generators = vec![GeneratorFigures::default(), slow]),
            Box::new(|r| {
                r.stages = Some(StageFigures {
                    wall_ns: 100,
                    sum_ns: 97,
                    stage_ns: [("idle".to_owned(), 97)].into(),
                    ..StageFigures::default()
                });
            }),
            Box::new(|r| r.cpu_ticks.steal = 50),
            Box::new(|r| (r.runs[0].wall_ns, r.runs[0].cpu_ns) = (100, 50)),
            Box::new(|r| r.engine.sirs_sent = 0),
            Box::new(|r| r.loadgen.lag_us.p99 = 1e6),
            Box::new(|r| r.runs.push(lagging)),
            Box::new(|r| r.runs.push(short)),
            Box::new(|r| r.ceiling = Some(lossy)),
            Box::new(|r| (r.ceiling, r.ceiling_share) = (Some(Ceiling::default()), Some(1.1))),
        ];
        for (index, change) in invalid.into_iter().enumerate() {
            let verdict = after(change);
            assert_eq!(verdict.exit_code(), 2, "case {index}: {verdict:?}");
            assert_eq!(verdict.reasons.len(), 1, "case {index}: {verdict:?}");
        }
        assert_eq!(judge(&sound(), true).exit_code(), 2);
    }
}
