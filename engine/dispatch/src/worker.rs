//! The worker: one thread, one ring, one shard, one loop.
//!
//! It alone reads the clock and holds the port. A turn is: submit and reap, free slabs, read answers,
//! take commands, fire timers, select, depart, publish, each a lap of the stopwatch. What happens is the
//! shard's to decide; this module decides when. It blocks in the kernel only where nothing is due.

use crate::config::{EngineConfig, Idle};
use crate::flight::FlightLog;
use crate::live::{self, Details, Live, Progress};
use crate::order::Order;
use crate::outlet::Outlet;
use crate::report::{Balance, Counts, EngineReport, Latency, StageReport};
use crate::series::Series;
use crate::shard::{Keys, Remainder, Shard};
use crate::stopwatch::{Lap, Standing, Stopwatch};
use crate::templates::Sender;
use crate::turns::TurnSizes;
use crossbeam::channel::{Receiver, Sender as EventSender, TryRecvError};
use sirocco_index::Index;
use sirocco_ring::{Wait, Waker, affinity, allocation, clock, tracepoints};
use sirocco_schedule::Steer;
use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a reader of events may take for each at the end: one that takes longer is gone.
const LAST_EVENTS: Duration = Duration::from_secs(1);
/// Commands taken in one turn.
const COMMANDS_PER_TURN_MAX: usize = 64;
/// Longest sleep without a look at the command channel, in nanoseconds.
const SLEEP_NS_MAX: u64 = 100_000_000;

/// Time between two publications of [`Details`], in nanoseconds: a pass over the histogram of latencies,
/// some ten microseconds, is then a ten thousandth of the time.
const DETAILS_EVERY_NS: u64 = 100_000_000;

/// What a worker is told.
pub enum Command {
    /// Take an order.
    Order(Box<Order>),
    /// Change the index between turns, or look at it; see [`crate::change::IndexChange`].
    Change(Box<dyn FnOnce(&mut Index) + Send>),
    /// Begin to measure.
    Mark,
    /// End to measure.
    Unmark,
    /// Change the schedule of every load from now on.
    Steer(Steer),
    /// End every load where it stands.
    StopLoads,
    /// Report now.
    Report,
    /// Tell what the flight recorder has kept.
    Flights,
    /// Hand over the course of the load that was recorded.
    Series,
    /// Unmark by yourself when no load has more to hand out, and say so: [`Event::Over`].
    UnmarkWhenOver,
    /// Take no more orders, end when nothing is in flight or the drain time is over.
    Drain,
    /// End now; what is in flight is cancelled and named.
    Stop,
}

/// What a worker tells.
#[derive(Debug)]
pub enum Event {
    /// An order has ended.
    Finished(crate::intake::Summary),
    /// An order was not taken.
    Refused {
        /// Name of the order.
        order: String,
        /// Why, and what to do.
        reason: String,
    },
    /// Schedules were changed.
    Steered {
        /// How.
        change: Steer,
        /// How many; 0 where no load with a schedule is at work, or it was changed too often.
        steered: usize,
    },
    /// No load has more to hand out, and the window was unmarked.
    Over,
    /// The course that was asked for; none where none was recorded.
    Series(Option<Box<Series>>),
    /// The report that was asked for.
    Report(Box<EngineReport>),
    /// What the flight recorder has kept.
    Flights(Box<FlightLog>),
}

/// What a started worker says of itself.
pub struct Ready {
    /// Where SIRs leave from; none with the null sink.
    pub address: Option<SocketAddr>,
    /// Where devices connect for MSRP, if it listens.
    pub msrp: Option<SocketAddr>,
    /// Wakes the worker from its sleep.
    pub waker: Option<Waker>,
    /// What carries the datagrams: `uring`, `mmsg` or `null`.
    pub backend: &'static str,
    /// What the host granted less of than was asked.
    pub notices: Vec<String>,
}

/// Why a worker does not run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A setting is out of bounds.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// The port cannot be opened.
    #[error(transparent)]
    Port(#[from] sirocco_ring::OpenError),
    /// The thread cannot be pinned.
    #[error("cannot pin to core {core}: {error}; choose one of the allowed cores")]
    Pin {
        /// The core.
        core: usize,
        /// What the system said.
        error: std::io::Error,
    },
    /// The ring failed.
    #[error("the ring failed: {error}; the books were closed and every open unit was named")]
    Ring {
        /// What the kernel said.
        error: std::io::Error,
        /// The last report.
        report: Box<EngineReport>,
    },
    /// The namespace of obfuscated IMEIs cannot be read.
    #[error(transparent)]
    ImeiNamespace(crate::config::NamespaceError),
    /// The key of sealed SIRs cannot be read.
    #[error(transparent)]
    Key(crate::config::KeyError),
    /// No randomness for keys.
    #[error("cannot read random keys: {0}")]
    Random(std::io::Error),
}

/// What the worker hears from and speaks to.
pub struct Lines<'a> {
    /// Commands, in order.
    pub commands: Receiver<Command>,
    /// Events; dropped when nobody listens.
    pub events: EventSender<Event>,
    /// Figures for other threads.
    pub live: &'a Live,
    /// Takes the name of each unit that a stop cancels.
    pub remainder: &'a mut dyn FnMut(Remainder),
}

/// Runs one worker on this thread until it is told to end; returns its last report.
///
/// # Errors
/// [`EngineError`]; once `ready` has been called, every accepted unit has been named or settled.
pub fn run(
    config: &EngineConfig,
    index: Index,
    lines: Lines<'_>,
    ready: impl FnOnce(Ready),
) -> Result<(EngineReport, Shard), EngineError> {
    config.check()?;
    if let Some(core) = config.core {
        affinity::pin(core).map_err(|error| EngineError::Pin { core, error })?;
    }
    let outlet = Outlet::open(config, index.next_hops().len())?;
    let mut worker = Worker::new(config, index, outlet, lines)?;
    ready(worker.outlet.introduce());
    let ended = worker.work();
    worker.end(ended)
}

struct Worker<'a> {
    shard: Shard,
    outlet: Outlet,
    lines: Lines<'a>,
    idle: Idle,
    now: u64,
    turns: u64,
    /// When details are published next.
    details_at: u64,
    watch: Stopwatch,
    /// Where the stopwatch stood when it was new.
    began: Standing,
    turn_sizes: TurnSizes,
    /// Work that earlier turns had done: slabs handed over and SIRs sent.
    done: (u64, u64),
    marked: Option<(Counts, Standing)>,
    window: (Counts, Standing),
    behind: u64,
    drain_ns: u64,
    drain_until: Option<u64>,
    stopped: bool,
    unmark_when_over: bool,
}

impl<'a> Worker<'a> {
    fn new(
        config: &EngineConfig,
        index: Index,
        outlet: Outlet,
        lines: Lines<'a>,
    ) -> Result<Self, EngineError> {
        let watch = Stopwatch::new(config.stages);
        let now = clock::now_ns();
        let unix = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let epoch_s = unix.saturating_sub(Duration::from_nanos(now)).as_secs();
        let secret = random_words().map_err(EngineError::Random)?;
        let keys = Keys {
            branch: [secret[0], secret[1]],
            token: [secret[2], secret[3]],
            session: [secret[9], secret[10]],
            owner: [secret[11], secret[12]],
            pending: [secret[4], secret[5], secret[6], secret[7]],
            imei: config
                .imei_namespace()
                .map_err(EngineError::ImeiNamespace)?,
        };
        let address = outlet.address();
        let sender = Sender {
            sent_by: address.to_string(),
            from: config.from.clone(),
            from_tag: format!("{:08x}", secret[8] as u32),
            ppg_uri: (config.ppg_uri.clone()).unwrap_or_else(|| format!("sip:ppg@{address}")),
            sir_key: config.sir_key().map_err(EngineError::Key)?,
        };
        let session = config.sessions(address, outlet.msrp_address());
        Ok(Self {
            shard: Shard::new(config, index, sender, &keys, session, (now, epoch_s)),
            outlet,
            lines,
            idle: config.idle,
            now,
            turns: 0,
            details_at: now,
            began: watch.standing(),
            watch,
            turn_sizes: TurnSizes::default(),
            done: (0, 0),
            marked: None,
            window: Default::default(),
            behind: 0,
            drain_ns: config.drain_ms * 1_000_000,
            drain_until: None,
            stopped: false,
            unmark_when_over: false,
        })
    }

    fn work(&mut self) -> std::io::Result<()> {
        let mut wait = Wait::No;
        while !self.is_done() {
            self.submit(wait)?;
            self.now = clock::now_ns();
            let (shard, watch) = (&mut self.shard, &mut self.watch);
            let mut found = self.outlet.settle(self.now, shard, watch);
            found += self.command();
            self.watch.lap(Lap::Control);
            found += self.shard.expire(self.now);
            found += self.shard.sweep(self.now);
            self.watch.lap(Lap::Timers);
            let selected = self.shard.select(self.now, &mut self.watch);
            self.watch.lap(Lap::Selection);
            self.shard
                .depart(self.now, &mut self.outlet, &mut self.watch);
            self.watch.lap(Lap::Departure);
            self.publish();
            #[cfg(feature = "planted-slow-down")]
            if selected > 0 {
                crate::planted::slow_down(self.now);
            }
            wait = self.rest(selected);
            self.watch.lap(Lap::Control);
            self.end_turn(found + selected);
        }
        Ok(())
    }

    /// Gives the kernel what the last turn queued, sleeps if there is leave to, and reaps.
    fn submit(&mut self, wait: Wait) -> std::io::Result<()> {
        let lap = if wait == Wait::No {
            Lap::Enter
        } else {
            self.watch.may_sleep();
            Lap::Wait
        };
        let submitted = self.outlet.submit(wait);
        self.watch.lap(lap);
        self.outlet.reap();
        submitted
    }

    /// Ends the turn, which found so much to do, on the stopwatch.
    fn end_turn(&mut self, found: usize) {
        let ledger = &self.shard.ledger;
        let done = (
            self.outlet.departures(),
            ledger.sirs_sent + ledger.retransmissions,
        );
        let sirs = done.1 - self.done.1;
        let is_busy = found > 0 || done != self.done;
        self.done = done;
        let length_ns = self.watch.turn(is_busy);
        if is_busy {
            self.turn_sizes.record(length_ns, sirs);
            tracepoints::turn(length_ns, sirs);
        }
    }

    fn is_done(&self) -> bool {
        let drained = self
            .drain_until
            .is_some_and(|until| self.shard.is_idle() || self.now >= until);
        self.stopped || drained
    }

    /// How long the next turn may sleep.
    fn rest(&self, selected: usize) -> Wait {
        if selected > 0 || self.idle == Idle::Spin || !self.outlet.can_sleep() {
            return Wait::No;
        }
        let due = self.shard.next_due_ns(self.now).unwrap_or(u64::MAX);
        match due.saturating_sub(self.now).min(SLEEP_NS_MAX) {
            0 => Wait::No,
            sleep => Wait::Until(Duration::from_nanos(sleep)),
        }
    }

    /// Takes commands; returns how many.
    fn command(&mut self) -> usize {
        for taken in 0..COMMANDS_PER_TURN_MAX {
            match self.lines.commands.try_recv() {
                Ok(command) => self.obey(command),
                Err(TryRecvError::Empty) => return taken,
                // Whoever commanded is gone: end in good order.
                Err(TryRecvError::Disconnected) => {
                    self.begin_drain();
                    return taken;
                }
            }
        }
        COMMANDS_PER_TURN_MAX
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Order(order) => self.accept(*order),
            Command::Change(change) => {
                self.shard.change(change);
            }
            Command::Mark => {
                self.shard.measure_from(self.now);
                self.outlet.reset_train_sizes();
                self.turn_sizes.restart();
                self.marked = Some((self.counts(), self.watch.standing()));
            }
            Command::Unmark => self.unmark(),
            Command::UnmarkWhenOver => self.unmark_when_over = true,
            Command::Series => {
                let series = self.shard.take_series(self.now);
                let _ = self.lines.events.try_send(Event::Series(series));
            }
            Command::Steer(change) => {
                let steered = self.shard.steer_loads(self.now, change);
                let _ = self
                    .lines
                    .events
                    .try_send(Event::Steered { change, steered });
            }
            Command::StopLoads => self.shard.stop_loads(),
            Command::Report => {
                let report = Box::new(self.report());
                let _ = self.lines.events.try_send(Event::Report(report));
            }
            Command::Flights => {
                let log = Box::new(self.shard.flight_log());
                let _ = self.lines.events.try_send(Event::Flights(log));
            }
            Command::Drain => self.begin_drain(),
            Command::Stop => self.stopped = true,
        }
    }

    fn unmark(&mut self) {
        let Some((counts, standing)) = self.marked.take() else {
            return;
        };
        self.shard.measure_until(self.now);
        self.behind = self.shard.behind();
        self.turn_sizes.stop();
        let (counts_now, standing_now) = (self.counts(), self.watch.standing());
        self.window = (counts_now.since(&counts), standing_now.since(&standing));
    }

    fn accept(&mut self, order: Order) {
        let name = order.name.clone();
        if let Err(refusal) = self.shard.accept(self.now, order) {
            let refused = Event::Refused {
                order: name,
                reason: refusal.to_string(),
            };
            let _ = self.lines.events.try_send(refused);
        }
    }

    fn begin_drain(&mut self) {
        if self.drain_until.is_none() {
            self.shard.drain();
            self.shard.hang_up(self.now);
            self.drain_until = Some(self.now + self.drain_ns);
        }
    }

    fn publish(&mut self) {
        self.turns += 1;
        if self.unmark_when_over && !self.shard.has_loads() {
            self.unmark_when_over = false;
            self.unmark();
            let _ = self.lines.events.try_send(Event::Over);
        }
        let events = &self.lines.events;
        // Whoever does not read what ended keeps it here, and in the end gets no further orders in.
        while !events.is_full()
            && let Some(summary) = self.shard.finished(self.now)
        {
            let _ = events.try_send(Event::Finished(summary));
        }
        let ledger = &self.shard.ledger;
        let in_flight = self.shard.in_flight();
        self.lines.live.publish(&Progress {
            sirs_sent: ledger.sirs_sent,
            sirs_answered: ledger.sirs_answered,
            retransmissions: ledger.retransmissions,
            settled: ledger.accepted.saturating_sub(in_flight),
            in_flight,
            behind: self.shard.behind(),
        });
        if self.now >= self.details_at {
            self.details_at = self.now + DETAILS_EVERY_NS;
            self.publish_details();
        }
    }

    #[cold]
    fn publish_details(&self) {
        let ledger = &self.shard.ledger;
        let passed = self.watch.standing().since(&self.began);
        self.lines.live.publish_details(&Details {
            cpu_ns: clock::ThreadCpu::total_ns(),
            delivered: ledger.delivered,
            stored: ledger.stored,
            failed: ledger.failed(),
            expired: ledger.expired,
            cancelled: ledger.cancelled,
            stage_ns: self.watch.stage_ns(&passed),
            latency: live::by_bounds(&self.shard.latency_us),
        });
    }

    fn counts(&self) -> Counts {
        let ledger = &self.shard.ledger;
        let counts = Counts {
            wall_ns: self.now,
            cpu_ns: clock::ThreadCpu::total_ns(),
            turns: self.turns,
            allocations: allocation::allocations_on_this_thread(),
            bytes_written: ledger.bytes_written,
            sirs_sent: ledger.sirs_sent,
            sirs_answered: ledger.sirs_answered,
            retransmissions: ledger.retransmissions,
            ..Counts::default()
        };
        self.outlet.count(counts)
    }

    fn report(&self) -> EngineReport {
        let mut report = EngineReport {
            window: self.window.0,
            total: self.counts(),
            stages: self.stages(),
            turn_ns: self.turn_sizes.lengths_ns(),
            turn_sirs: self.turn_sizes.sirs(),
            latency_us: Latency::of(&self.shard.latency_us),
            ledger: Balance::of(&self.shard.ledger, self.shard.in_flight()),
            pushes: self.shard.pushes(),
            sessions: self.shard.session_counts(),
            returned: self.shard.returned(),
            session_bytes: self.shard.session_bytes(),
            time_to_session_us: Latency::of(self.shard.time_to_session_us()),
            replies_dropped: self.shard.replies_dropped(),
            stray: self.shard.ledger.stray,
            failures: self.shard.failures(),
            behind: self.behind,
            order_lag_us: Latency::of(&self.shard.order_lag.us),
            offered: self.shard.offered(),
            index_bytes: self.shard.index.memory_bytes(),
            ..EngineReport::default()
        };
        self.outlet.report(&mut report);
        report
    }

    fn stages(&self) -> StageReport {
        StageReport {
            clock: self.watch.clock().to_owned(),
            window: self.watch.times(&self.window.1),
            total: self.watch.times(&self.watch.standing().since(&self.began)),
        }
    }

    /// Closes the books, whichever way the work ended.
    fn end(mut self, ended: std::io::Result<()>) -> Result<(EngineReport, Shard), EngineError> {
        let report = self.close();
        match ended {
            Ok(()) => Ok((report, self.shard)),
            Err(error) => Err(EngineError::Ring {
                error,
                report: Box::new(report),
            }),
        }
    }

    /// Cancels and names what is left, and balances the books.
    fn close(&mut self) -> EngineReport {
        self.shard
            .cancel(self.now, |remainder| (self.lines.remainder)(remainder));
        while let Some(summary) = self.shard.finished(self.now) {
            let event = Event::Finished(summary);
            if self.lines.events.send_timeout(event, LAST_EVENTS).is_err() {
                break;
            }
        }
        self.details_at = self.now;
        self.publish();
        self.report()
    }
}

/// Draws the words that the shard's keys are made of.
fn random_words() -> std::io::Result<[u64; 13]> {
    use std::io::Read;
    let mut octets = [0; 104];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut octets)?;
    let mut words = [0; 13];
    for (word, chunk) in words.iter_mut().zip(octets.chunks_exact(8)) {
        *word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
    }
    Ok(words)
}

#[cfg(test)]
mod tests;
