//! One probe of the running stage: an open-loop schedule at a rate, warm-up, measured window, drain, and
//! what it says about the engine, or about the testbed. Both processes live on from probe to probe; a
//! probe begins when nothing of the one before is in flight. Called by the searches through [`System`].

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use sirocco_loadgen::Span;
use sirocco_schedule::Arrivals;

use super::criterion::Criterion;
use super::search::{Asked, System};
use crate::host::CpuTicks;
use crate::quantity::{Rate, scaled};
use crate::record::{Judgement, Lag, Latency, ProbeFigures, Purpose};
use crate::role::protocol::{Drained, EngineCommand, LoadRequest};
use crate::run::child::Side;
use crate::run::counted::{self, Awaited};
use crate::run::figures;
use crate::run::judged;
use crate::run::plan::{Bench, PlanError};
use crate::run::stage::Stage;
use crate::scenario::{Place, Wanted};

/// Time for the engine to shuffle the identities of a schedule: tens of millions in seconds.
const LOADED: Duration = Duration::from_secs(60);
/// Time for a child to answer at once.
const PROMPT: Duration = Duration::from_secs(10);
/// Time that a drain may take beyond what the scenario allows before the engine counts as dead.
const DRAIN_GRACE: Duration = Duration::from_secs(10);
/// Drains waited for until nothing is in flight: with ten seconds each, more than Timer F.
const DRAINS_MAX: usize = 4;
/// Length beside the window itself: schedule, drain, readings.
const OVERHEAD_S: f64 = 0.25;
/// The schedule goes on for this share of the window after its end, so that what was due in it is taken
/// before the schedule is cut; an engine further behind than that was not offered the rate.
const AFTERMATH_SHARE: f64 = 0.01;
/// The same at least, in milliseconds: the time that a command takes.
const AFTERMATH_MS_MIN: u64 = 5;
/// A load generator that is busy for more than this share of the time is at its end.
const BUSY_SHARE_MAX: f64 = 0.97;
/// A load generator may be late by this share of the tightest latency bound.
const LAG_SHARE_MAX: f64 = 0.2;

/// How long the parts of a probe take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Run and not counted.
    pub warm_up: Duration,
    /// Counted length of a probe.
    pub probe: Duration,
    /// Counted length of a hold.
    pub hold: Duration,
}

/// The stage as a system to be searched.
pub struct Staged<'a, 'b> {
    /// Scenario, cores, progress.
    pub bench: &'a Bench<'b>,
    /// Both processes, ready.
    pub stage: Stage,
    /// What a rate has to meet.
    pub criterion: Criterion,
    /// How long probes are.
    pub lengths: Lengths,
    /// Attempts of an iteration by RFC 7502, where that is the method.
    pub attempts: Option<u64>,
    /// SIRs that an identity of the schedule stands for.
    pub sirs_per_order: f64,
    /// How attempts follow each other.
    pub arrivals: Arrivals,
    /// The books after the last drain.
    pub books: Drained,
    /// When the search began.
    pub begin: Instant,
}

/// Units in flight as the engine shows them.
#[derive(Default)]
struct InFlight {
    readings: u64,
    sum: u64,
    max: u64,
}

impl InFlight {
    fn note(&mut self, sides: &HashMap<Side, Value>) {
        let shown = sides
            .get(&Side::Engine)
            .and_then(|engine| engine["in_flight"].as_u64());
        if let Some(count) = shown {
            self.readings += 1;
            self.sum += count;
            self.max = self.max.max(count);
        }
    }
}

/// What was read around the window.
struct Window {
    drained: Drained,
    span: Span,
    in_flight: InFlight,
    ticks: CpuTicks,
}

impl System for Staged<'_, '_> {
    type Error = PlanError;

    fn probe(&mut self, asked: Asked) -> Result<ProbeFigures, PlanError> {
        self.bench.phase(format!(
            "{} at {}/s",
            words(asked.purpose),
            scaled(asked.rate_per_s)
        ));
        self.settle()?;
        let (warm_up, length) = self.length(asked);
        let window = self.window(asked, (warm_up, length))?;
        let mut probe = self.figures(asked, length, &window);
        if self.bench.scenario.has_sessions() {
            sessions(&mut probe, &window, &self.books, self.within_us());
        }
        share(&mut probe);
        self.judge(&mut probe);
        self.books = window.drained;
        Ok(probe)
    }

    fn elapsed_s(&self) -> f64 {
        self.begin.elapsed().as_secs_f64()
    }

    fn cost_s(&self, purpose: Purpose) -> f64 {
        let length = match purpose {
            Purpose::Hold => self.lengths.hold,
            _ => self.lengths.probe,
        };
        // Sessions are looked at twice after their drain.
        let settling = if self.bench.scenario.has_sessions() {
            0.6
        } else {
            0.0
        };
        (self.lengths.warm_up + length).as_secs_f64() + OVERHEAD_S + settling
    }
}

impl Staged<'_, '_> {
    /// Waits until nothing of an earlier probe is in flight.
    fn settle(&mut self) -> Result<(), PlanError> {
        for _ in 0..DRAINS_MAX {
            if self.books.ledger.in_flight == 0 {
                break;
            }
            self.books = self.drain()?;
        }
        Ok(())
    }

    /// Warm-up and counted length of a probe.
    fn length(&self, asked: Asked) -> (Duration, Duration) {
        match (asked.purpose, self.attempts) {
            (Purpose::Hold, _) => (self.lengths.warm_up, self.lengths.hold),
            // RFC 7502 counts all attempts of an iteration; there is no warm-up.
            (Purpose::Iteration, Some(attempts)) => {
                let seconds = attempts as f64 / asked.rate_per_s;
                (Duration::ZERO, Duration::from_secs_f64(seconds))
            }
            _ => (self.lengths.warm_up, self.lengths.probe),
        }
    }

    fn tell(&mut self, command: &EngineCommand) -> Result<(), PlanError> {
        Ok(self.stage.tell(Side::Engine, &command.line())?)
    }

    /// Runs one schedule through.
    fn window(
        &mut self,
        asked: Asked,
        (warm_up, length): (Duration, Duration),
    ) -> Result<Window, PlanError> {
        let scenario = self.bench.scenario;
        let load = LoadRequest {
            seed: scenario.seed + asked.seed,
            wanted: scenario.wanted,
            rate: Some(asked.rate_per_s / self.sirs_per_order),
            orders_max: match asked.purpose {
                Purpose::Iteration => self.attempts,
                _ => None,
            },
            order: scenario.order_fields(),
            arrivals: self.arrivals,
            sirs_per_order: Some(self.sirs_per_order),
            ..LoadRequest::default()
        };
        let mut in_flight = InFlight::default();
        let counted = asked.purpose == Purpose::Iteration;
        if counted {
            self.tell(&EngineCommand::Mark)?;
        }
        self.tell(&EngineCommand::Load(load))?;
        let wait = (Side::Engine, "loaded");
        self.stage
            .wait(wait, "making a schedule", LOADED, &mut |_| {})?;
        self.stage.run_for(warm_up, "warming up", &mut |_| {})?;
        self.span()?;
        let ticks = CpuTicks::read();
        if !counted {
            self.tell(&EngineCommand::Mark)?;
        }
        // A counted schedule ends by itself; its aftermath belongs to it.
        let (inside, outside) = match counted {
            true => (length + aftermath(length), Duration::ZERO),
            false => (length, aftermath(length)),
        };
        let watch = &mut |sides: &HashMap<Side, Value>| in_flight.note(sides);
        self.stage.run_for(inside, "probing", watch)?;
        self.tell(&EngineCommand::Unmark)?;
        let (span, ticks) = (self.span()?, CpuTicks::read().since(&ticks));
        self.stage.run_for(outside, "probing", &mut |_| {})?;
        self.tell(&EngineCommand::EndLoad)?;
        let drained = self.drain()?;
        Ok(Window {
            drained,
            span,
            in_flight,
            ticks,
        })
    }

    /// Waits for the last answers, and for the last sessions where there are any.
    fn drain(&mut self) -> Result<Drained, PlanError> {
        self.tell(&EngineCommand::Drain)?;
        let scenario = self.bench.scenario;
        let limit = Duration::from_millis(scenario.runs.drain_ms_max) + DRAIN_GRACE;
        let wait = (Side::Engine, "drained");
        let drained = self.stage.wait(wait, "draining", limit, &mut |_| {})?;
        let drained: Drained = serde_json::from_value(drained).unwrap_or_default();
        if !scenario.has_sessions() {
            return Ok(drained);
        }
        let awaited = Awaited {
            accepted: drained.ledger.accepted,
            holds: false,
        };
        counted::settle(self.bench, &mut self.stage, awaited, limit)
    }

    /// Closes a span of the load generator's time.
    fn span(&mut self) -> Result<Span, PlanError> {
        if self.bench.scenario.place == Place::Nowhere {
            return Ok(Span::default());
        }
        self.stage.tell_generators(|_| "span".to_owned())?;
        let spans = self
            .stage
            .wait_generators("span", "closing a span", PROMPT, &mut |_| {})?;
        let spans = spans.into_iter();
        let spans = spans.map(|span| serde_json::from_value(span).unwrap_or_default());
        Ok(spans.reduce(worst).unwrap_or_default())
    }

    fn figures(&self, asked: Asked, length: Duration, window: &Window) -> ProbeFigures {
        let measured = &window.drained.measured;
        let rate = Rate::PerSecond(asked.rate_per_s as u64);
        let run = figures::run(
            measured,
            self.bench.scenario.place,
            rate,
            figures::Purpose::Rate,
        );
        let (untaken, due) = self.untaken(asked, length, &window.drained);
        let failed: u64 = measured.sirs_failed.values().sum();
        let lost = failed + window.drained.ledger.in_flight;
        let latency_us = Latency {
            offered_per_s: asked.rate_per_s,
            ..measured.latency_us.clone()
        };
        let late = judged::late(&measured.latency_buckets, self.within_us());
        let span = &window.span;
        let us = |ns: u64| ns as f64 / 1e3;
        ProbeFigures {
            rate_per_s: asked.rate_per_s,
            purpose: asked.purpose,
            seed: asked.seed,
            measured_ms: u64::try_from(length.as_millis()).unwrap_or(u64::MAX),
            attempts: due,
            untaken,
            lost,
            // One that failed late is counted once, as lost.
            late: late.saturating_sub(failed.min(late)),
            latency_us,
            failed: measured.sirs_failed.clone(),
            ended_per_s: run.sirs_per_s,
            cpu_ns_per_attempt: run.engine.cpu_ns_per_sir,
            in_flight_max: window.in_flight.max,
            in_flight_mean: window.in_flight.sum as f64 / window.in_flight.readings.max(1) as f64,
            order_lag_us: measured.order_lag_us.clone(),
            loadgen_lag_us: Lag {
                p50: us(span.lag_p50_ns),
                p99: us(span.lag_p99_ns),
                max: us(span.lag_max_ns),
            },
            loadgen_busy_share: span.busy_ns as f64 / span.wall_ns.max(1) as f64,
            steal_share: window.ticks.steal_share(),
            own_core_share: measured.cpu_ns as f64 / measured.wall_ns.max(1) as f64,
            ..ProbeFigures::default()
        }
    }

    fn within_us(&self) -> u64 {
        self.criterion.within_ms() * 1000
    }

    /// Attempts due in the window that the engine had not taken when the schedule was cut, and all that
    /// were due in it.
    fn untaken(&self, asked: Asked, length: Duration, drained: &Drained) -> (u64, u64) {
        let measured = &drained.measured;
        let ended = match measured.latency_us.count {
            0 => measured.sirs_sent,
            count => count,
        };
        if let (Purpose::Iteration, Some(attempts)) = (asked.purpose, self.attempts) {
            let taken = ended + drained.ledger.in_flight;
            return (attempts.saturating_sub(taken), attempts);
        }
        let behind = measured.behind as f64 * self.sirs_per_order;
        if behind <= asked.rate_per_s * aftermath(length).as_secs_f64() {
            return (0, ended);
        }
        // At a constant rate the length of the window says how many were due.
        let due = (asked.rate_per_s * measured.wall_ns as f64 / 1e9) as u64;
        let untaken = match self.bench.scenario.wanted {
            // How many a Poisson process had due, its rate does not say.
            _ if self.arrivals == Arrivals::Poisson => behind as u64,
            Wanted::OneInTurn => due.saturating_sub(ended),
            Wanted::All => behind as u64,
        };
        (untaken, ended + untaken)
    }

    /// Passes, fails or voids a probe. What spoils a probe can only make it fail: a pass stands.
    fn judge(&self, probe: &mut ProbeFigures) {
        probe.reasons = self.criterion.broken_by(probe);
        if probe.reasons.is_empty() {
            probe.judgement = Judgement::Passed;
            return;
        }
        let (disturbed, gave_out) = (self.disturbances(probe), self.faults(probe));
        probe.judgement = match (disturbed.is_empty(), gave_out.is_empty()) {
            (false, _) => Judgement::Disturbed,
            (true, false) => Judgement::TestbedGaveOut,
            (true, true) => Judgement::Failed,
        };
        probe.reasons.extend(disturbed);
        probe.reasons.extend(gave_out);
    }

    /// What else the machine did.
    fn disturbances(&self, probe: &ProbeFigures) -> Vec<String> {
        let (scenario, mut found) = (self.bench.scenario, Vec::new());
        if probe.steal_share > scenario.checks.steal_share_max {
            found.push(format!(
                "the hypervisor took {:.1} % of the time",
                probe.steal_share * 100.0
            ));
        }
        let spins = scenario.engine.get("idle").and_then(|idle| idle.as_str()) == Some("spin");
        let own = probe.own_core_share;
        if spins && !self.bench.cores.shared() && own < scenario.checks.own_core_share_min {
            found.push(format!("the engine had its core for {:.0} %", own * 100.0));
        }
        found
    }

    /// What the load generator could not do.
    fn faults(&self, probe: &ProbeFigures) -> Vec<String> {
        let mut found = Vec::new();
        if probe.loadgen_busy_share > BUSY_SHARE_MAX && !self.bench.cores.shared() {
            found.push(format!(
                "the load generator was busy for {:.0} % of the time",
                probe.loadgen_busy_share * 100.0
            ));
        }
        let bound = self.criterion.latency_us_max().unwrap_or(f64::MAX) * LAG_SHARE_MAX;
        let most = bound.min(self.bench.scenario.checks.lag_p99_us_max as f64);
        if probe.loadgen_lag_us.p99 > most {
            found.push(format!(
                "the load generator answered {:.0} us late at p99, {most:.0} us are allowed",
                probe.loadgen_lag_us.p99
            ));
        }
        found
    }
}

/// How long the schedule goes on after the window.
fn aftermath(length: Duration) -> Duration {
    length
        .mul_f64(AFTERMATH_SHARE)
        .max(Duration::from_millis(AFTERMATH_MS_MIN))
}

/// Judges attempts by their sessions: each has to end in one wanted session with its content, and the
/// time is that to the session. Failures in warm-up and drain count too.
fn sessions(probe: &mut ProbeFigures, window: &Window, before: &Drained, within_us: u64) {
    let measured = &window.drained.measured;
    let count = |name: &str| {
        let of = |books: &Drained| books.pushes.get(name).copied().unwrap_or(0);
        u64::try_from(of(&window.drained) - of(before)).unwrap_or(0)
    };
    let taken = window.drained.ledger.accepted - before.ledger.accepted;
    let right = count("delivered").saturating_sub(count("duplicates"));
    for name in ["unwanted", "duplicates"] {
        if count(name) > 0 {
            probe.failed.insert(name.to_owned(), count(name));
        }
    }
    let unended = taken.saturating_sub(right).max(probe.lost);
    probe.lost = unended + count("unwanted") + count("duplicates");
    probe.late = judged::late(&measured.time_to_session_buckets, within_us);
    probe.latency_us = Latency {
        offered_per_s: probe.rate_per_s,
        ..measured.time_to_session_us.clone()
    };
}

/// The shares of what was counted.
fn share(probe: &mut ProbeFigures) {
    let of = |count: u64| (count as f64 / probe.attempts.max(1) as f64).min(1.0);
    let lost = probe.untaken + probe.lost;
    (probe.loss_share, probe.ihs_share) = (of(lost), of(lost + probe.late));
}

/// What a person reads while a probe runs.
fn words(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Bracket => "bracketing",
        Purpose::Bisection => "bisecting",
        Purpose::Hold => "holding",
        Purpose::Knee => "knee",
        Purpose::Iteration => "RFC 7502 iteration",
        Purpose::Step => "step",
    }
}
/// Of two generators in one probe, the busiest and the latest: the one that is behind voids the probe.
fn worst(one: Span, two: Span) -> Span {
    let share = |span: &Span| span.busy_ns as f64 / span.wall_ns.max(1) as f64;
    let busiest = if share(&one) >= share(&two) { one } else { two };
    Span {
        lag_p50_ns: one.lag_p50_ns.max(two.lag_p50_ns),
        lag_p99_ns: one.lag_p99_ns.max(two.lag_p99_ns),
        lag_max_ns: one.lag_max_ns.max(two.lag_max_ns),
        ..busiest
    }
}
