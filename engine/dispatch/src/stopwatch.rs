//! The stopwatch: where the time of a worker goes, stage by stage, always.
//!
//! A turn is cut into laps, a stamp at each border, so that laps add up to the wall time and nothing is
//! left over. A lap holds one stage or several that take turns within it; those are told apart by splits,
//! in every [`SAMPLE_EVERY`]th turn only, and their shares are applied to the whole lap. The worker
//! stamps laps; the shard, which knows no clock, is handed a [`Watch`] for the splits.

use serde::{Deserialize, Serialize};
use sirocco_ring::clock::{self, Cycles, ThreadCpu};
use sirocco_ring::tracepoints;
use std::collections::BTreeMap;

/// One turn in so many has its laps split. A prime, so that it keeps no step with anything in the loop.
pub const SAMPLE_EVERY: u64 = 7;

/// What a worker does with its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Stage {
    /// Takes received buffers and hands them back.
    Receive,
    /// Recognises or parses answers and reads their branches.
    Parse,
    /// Ends transactions: slot, window, pending set, ledger, histogram.
    Close,
    /// Serves sessions: requests, answers to them, replies, TCP.
    Session,
    /// Fires timers, expires orders, sweeps expired devices.
    Timers,
    /// Hands identities out, picks devices, opens transactions.
    Select,
    /// Finds identities and their devices in the index.
    LookUp,
    /// Boards trains, closes them and queues them to leave.
    Train,
    /// Renders SIRs into slabs.
    Patch,
    /// Is in the kernel: sends, and copies of what arrived.
    Submit,
    /// Reaps completions and frees slabs.
    Complete,
    /// Takes commands, publishes figures.
    Control,
    /// Sleeps, or spins in turns that found nothing to do.
    Idle,
}

/// Number of stages.
pub const STAGES: usize = 13;

impl Stage {
    /// Every stage, in the order of a turn.
    pub const ALL: [Stage; STAGES] = [
        Stage::Receive,
        Stage::Parse,
        Stage::Close,
        Stage::Session,
        Stage::Timers,
        Stage::Select,
        Stage::LookUp,
        Stage::Train,
        Stage::Patch,
        Stage::Submit,
        Stage::Complete,
        Stage::Control,
        Stage::Idle,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Receive => "receive",
            Stage::Parse => "parse",
            Stage::Close => "close",
            Stage::Session => "session",
            Stage::Timers => "timers",
            Stage::Select => "select",
            Stage::LookUp => "look up",
            Stage::Train => "train",
            Stage::Patch => "patch",
            Stage::Submit => "submit",
            Stage::Complete => "complete",
            Stage::Control => "control",
            Stage::Idle => "idle",
        }
    }
}

/// A part of a turn between two stamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Lap {
    /// In the kernel without sleep.
    Enter,
    /// In the kernel with leave to sleep: submit and idle.
    Wait,
    /// Reaping and freeing.
    Reap,
    /// Datagrams: receive, parse, close, session.
    Arrivals,
    /// TCP connections.
    Streams,
    /// Commands before the timers, figures after the departure.
    Control,
    /// Timers and sweeps.
    Timers,
    /// Select, look up, train.
    Selection,
    /// Session, train, patch.
    Departure,
}

const LAPS: usize = 9;

impl Lap {
    const ALL: [Lap; LAPS] = [
        Lap::Enter,
        Lap::Wait,
        Lap::Reap,
        Lap::Arrivals,
        Lap::Streams,
        Lap::Control,
        Lap::Timers,
        Lap::Selection,
        Lap::Departure,
    ];

    /// The stage of what no split of the lap has claimed.
    const fn rest(self) -> Stage {
        match self {
            Lap::Enter => Stage::Submit,
            Lap::Wait => Stage::Idle,
            Lap::Reap => Stage::Complete,
            Lap::Arrivals => Stage::Receive,
            Lap::Streams => Stage::Session,
            Lap::Control => Stage::Control,
            Lap::Timers => Stage::Timers,
            Lap::Selection => Stage::Select,
            Lap::Departure => Stage::Train,
        }
    }
}

/// Who is told that a stage has ended: a stopwatch, or `()` where time does not matter.
pub trait Watch {
    /// Books the time since the last stamp under `stage`.
    fn split(&mut self, stage: Stage);
}

impl Watch for () {
    #[inline]
    fn split(&mut self, _: Stage) {}
}

/// Ticks by lap, and by lap and stage as far as they were split.
#[derive(Clone, Copy, Debug, Default)]
struct Ticks {
    laps: [u64; LAPS],
    splits: [[u64; STAGES]; LAPS],
}

impl Ticks {
    fn sum(&self) -> u64 {
        self.laps.iter().sum()
    }

    #[inline]
    fn add_laps(&mut self, turn: &Ticks) {
        for (total, lap) in self.laps.iter_mut().zip(turn.laps) {
            *total += lap;
        }
    }

    fn add_splits(&mut self, turn: &Ticks) {
        let splits = turn.splits.iter().flatten();
        for (total, split) in self.splits.iter_mut().flatten().zip(splits) {
            *total += split;
        }
    }

    fn since(&self, earlier: &Ticks) -> Ticks {
        let mut ticks = *self;
        for (lap, before) in ticks.laps.iter_mut().zip(earlier.laps) {
            *lap = lap.saturating_sub(before);
        }
        let before = earlier.splits.iter().flatten();
        for (split, before) in ticks.splits.iter_mut().flatten().zip(before) {
            *split = split.saturating_sub(*before);
        }
        ticks
    }

    /// Ticks of each stage: every lap divided as its splits were.
    fn stages(&self) -> [f64; STAGES] {
        let mut stages = [0.0; STAGES];
        for lap in Lap::ALL {
            let (ticks, splits) = (self.laps[lap as usize], &self.splits[lap as usize]);
            let sampled: u64 = splits.iter().sum();
            if sampled == 0 {
                stages[lap.rest() as usize] += ticks as f64;
                continue;
            }
            for (stage, &split) in stages.iter_mut().zip(splits) {
                *stage += ticks as f64 * (split as f64 / sampled as f64);
            }
        }
        stages
    }
}

/// Where a stopwatch stands, with the clock's own time beside it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    wall_ns: u64,
    ticks: Ticks,
    idle: u64,
    turns: u64,
    turns_idle: u64,
    turns_sampled: u64,
}

impl Standing {
    /// What passed since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Standing) -> Standing {
        Standing {
            wall_ns: self.wall_ns - earlier.wall_ns,
            ticks: self.ticks.since(&earlier.ticks),
            idle: self.idle - earlier.idle,
            turns: self.turns - earlier.turns,
            turns_idle: self.turns_idle - earlier.turns_idle,
            turns_sampled: self.turns_sampled - earlier.turns_sampled,
        }
    }
}

/// Wall time by stage, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StageTimes {
    /// Wall time by CLOCK_MONOTONIC.
    pub wall_ns: u64,
    /// Sum of all stages by the counter of the stamps; equals the wall time but for the two clocks.
    pub sum_ns: u64,
    /// Time of each stage by its name; empty when the stopwatch is off.
    pub stage_ns: BTreeMap<String, u64>,
    /// Turns.
    pub turns: u64,
    /// Turns that found nothing to do.
    pub turns_idle: u64,
    /// Turns with work whose laps were split.
    pub turns_sampled: u64,
}

/// Stamps the laps of a worker's turns.
#[derive(Debug)]
pub struct Stopwatch {
    cycles: Cycles,
    is_on: bool,
    is_sampled: bool,
    /// The last lap's end and the last stamp of any kind.
    lapped: u64,
    stamped: u64,
    /// CPU time of the thread when the lap with leave to sleep began, if it is split.
    cpu: Option<ThreadCpu>,
    /// Splits of the lap that runs.
    splits: [u64; STAGES],
    turn: Ticks,
    total: Standing,
}

impl Watch for Stopwatch {
    #[inline]
    fn split(&mut self, stage: Stage) {
        if self.is_sampled {
            let now = self.cycles.now();
            self.splits[stage as usize] += now.saturating_sub(self.stamped);
            self.stamped = now;
        }
    }
}

impl Stopwatch {
    /// A stopwatch that runs from now on, or one that never does.
    #[must_use]
    pub fn new(is_on: bool) -> Self {
        let cycles = if is_on {
            Cycles::calibrate()
        } else {
            Cycles::monotonic()
        };
        let now = cycles.now();
        Self {
            cycles,
            is_on,
            is_sampled: is_on,
            lapped: now,
            stamped: now,
            cpu: None,
            splits: [0; STAGES],
            turn: Ticks::default(),
            total: Standing::default(),
        }
    }

    /// What counts the ticks: `tsc` or `monotonic`, or `off`.
    #[must_use]
    pub fn clock(&self) -> &'static str {
        if self.is_on {
            self.cycles.name()
        } else {
            "off"
        }
    }

    /// Says that the lap that begins may sleep: what of it is idle, the CPU clock of the thread tells.
    #[inline]
    pub fn may_sleep(&mut self) {
        if self.is_sampled {
            self.cpu = Some(ThreadCpu::start());
        }
    }

    /// Ends a lap.
    #[inline]
    pub fn lap(&mut self, lap: Lap) {
        if !self.is_on {
            return;
        }
        let now = self.cycles.now();
        self.turn.laps[lap as usize] += now.saturating_sub(self.lapped);
        if self.is_sampled {
            self.end_splits(lap, now);
        }
        self.lapped = now;
        self.stamped = now;
    }

    #[cold]
    fn end_splits(&mut self, lap: Lap, now: u64) {
        let mut rest = now.saturating_sub(self.stamped);
        if let Some(cpu) = self.cpu.take() {
            let awake = self.cycles.ticks(cpu.elapsed_ns()).min(rest);
            self.splits[Stage::Submit as usize] += awake;
            rest -= awake;
        }
        self.splits[lap.rest() as usize] += rest;
        let splits = std::mem::take(&mut self.splits);
        for (total, split) in self.turn.splits[lap as usize].iter_mut().zip(splits) {
            *total += split;
        }
    }

    /// Ends a turn, which did something or found nothing to do; returns its length without sleep in
    /// nanoseconds, 0 when the stopwatch is off.
    #[inline]
    pub fn turn(&mut self, is_busy: bool) -> u64 {
        if !self.is_on {
            return 0;
        }
        let turn = self.turn.sum();
        let awake = turn - self.turn.laps[Lap::Wait as usize];
        self.total.turns += 1;
        if is_busy {
            self.total.ticks.add_laps(&self.turn);
        } else {
            self.total.idle += turn;
            self.total.turns_idle += 1;
        }
        self.turn.laps = [0; LAPS];
        if self.is_sampled {
            self.end_sample(is_busy);
        }
        self.is_sampled = self.total.turns.is_multiple_of(SAMPLE_EVERY);
        self.cycles.ns(awake)
    }

    #[cold]
    fn end_sample(&mut self, is_busy: bool) {
        if is_busy {
            self.total.ticks.add_splits(&self.turn);
            self.total.turns_sampled += 1;
            for stage in Stage::ALL {
                tracepoints::stage(stage as u64, || self.turn_stage_ns(stage));
            }
        }
        self.turn.splits = [[0; STAGES]; LAPS];
    }

    /// Time of a stage in the turn that ends, over all its laps.
    fn turn_stage_ns(&self, stage: Stage) -> u64 {
        let ticks = self.turn.splits.iter().map(|splits| splits[stage as usize]);
        self.cycles.ns(ticks.sum())
    }

    /// Where it stands in the middle of a turn; what the turn has done so far counts as work.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let mut standing = self.total;
        standing.ticks.add_laps(&self.turn);
        let running = self.cycles.now().saturating_sub(self.lapped);
        standing.ticks.laps[Lap::Control as usize] += running;
        standing.wall_ns = clock::now_ns();
        standing
    }

    /// Nanoseconds of each stage, in the order of [`Stage::ALL`]; zeros when it is off.
    #[must_use]
    pub fn stage_ns(&self, passed: &Standing) -> [u64; STAGES] {
        if !self.is_on {
            return [0; STAGES];
        }
        let mut stages = passed.ticks.stages();
        stages[Stage::Idle as usize] += passed.idle as f64;
        stages.map(|ticks| self.cycles.ns(ticks as u64))
    }

    /// Ticks as time.
    #[must_use]
    pub fn times(&self, passed: &Standing) -> StageTimes {
        if !self.is_on {
            return StageTimes::default();
        }
        let ns = self.stage_ns(passed);
        let named = Stage::ALL.map(|stage| (stage.name().to_owned(), ns[stage as usize]));
        StageTimes {
            wall_ns: passed.wall_ns,
            sum_ns: self.cycles.ns(passed.ticks.sum() + passed.idle),
            stage_ns: named.into(),
            turns: passed.turns,
            turns_idle: passed.turns_idle,
            turns_sampled: passed.turns_sampled,
        }
    }
}

#[cfg(test)]
mod tests;
