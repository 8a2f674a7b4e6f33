//! The shard: all that one worker owns, and what happens to it.
//!
//! `(now, octets) -> outbox`: it is told the time, handed what arrived, and puts what is to be sent into
//! an [`Outbox`](crate::train::Outbox). No socket, no clock, no thread: the worker drives it over
//! io_uring, the simulation over a seeded network, with the same code. The way of a SIR through it:
//! `select` (orders to targets), `admit` (window, one pending SIR a URI), `depart` (render, send),
//! `answer` or `fire` (its end).

use crate::branch::{BranchKey, Handle};
use crate::config::EngineConfig;
use crate::contents;
use crate::flight::Recorder;
use crate::intake::{Candidate, Intake, Stock, Summary};
use crate::kept::{KeptTexts, Place, is_text};
use crate::ledger::{Cause, Ledger, Outcome};
use crate::next_hop::{Admission, Limits, NextHops, Waiting};
use crate::order::Order;
use crate::outcome::{OutcomeLog, Uri};
use crate::pending::{Fingerprint, Pending};
use crate::pushes::PushBalance;
use crate::reception::Reception;
use crate::replies::Replies;
use crate::series::{OrderLag, Series};
use crate::shapes::Shapes;
use crate::templates::{Content, Sender, SetsFull, Templates};
use crate::token::{TICKS_PER_S, Tick, TokenKey};
use crate::train::{Departure, Trains};
use crate::transaction::{RETRIES_MAX, T1_NS, Target, Transaction, Transactions};
use crate::wheel::Wheel;
use answer::{Answer, READ_MAX};
use bumpalo::Bump;
use hdrhistogram::Histogram;
use sirocco_index::{Index, Run};
use sirocco_session::{SessionConfig, Sessions};
use sirocco_wire::sip::template::DevicePosition;
use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;

mod admit;
mod answer;
mod depart;
mod drain;
mod flight;
mod loads;
mod select;
mod session;

pub use drain::Remainder;

/// Timers that the wheel has room for from the start, for each SIR of the total window: an answered SIR
/// leaves its timer behind for T1, in which a window is turned over many times. 17 MB by default, enough
/// for 4 million SIRs a second.
const TIMERS_PER_WINDOW: usize = 64;
/// Wheel ticks handled in one turn: half a second's worth, to catch up after a stall in few turns.
const TICKS_PER_TURN_MAX: u32 = 100;
/// Targets admitted in one turn: enough to fill a train to each of 16 next hops, few enough that
/// answers wait for microseconds only.
const TARGETS_PER_TURN_MAX: usize = 256;
/// Room for SIRs that board their trains together: what a turn admits, and the devices of the identities
/// of one batch. More devices make the list grow, once.
const OPENED: usize = 4 * TARGETS_PER_TURN_MAX;
/// Time between two looks for expired devices, in nanoseconds.
pub const SWEEP_EVERY_NS: u64 = 1_000_000;
/// Devices looked at each time, in the order of memory: about two microseconds. Selection itself passes
/// over expired devices, so that a sweep through a large index may take its time.
const SWEEP_DEVICES_MAX: usize = 64;
/// Ticks that a content outlives its last token: as long as a session may take to push it.
const CONTENT_GRACE_TICKS: u64 = 120 * TICKS_PER_S;
/// Longest latency told apart, in microseconds: Timer F and as much waiting again.
const LATENCY_US_MAX: u64 = 64_000_000;

/// Secrets of one shard, drawn at start.
#[derive(Clone, Copy)]
pub struct Keys {
    /// Names branches.
    pub branch: [u64; 2],
    /// Signs tokens.
    pub token: [u64; 2],
    /// Names sessions.
    pub session: [u64; 2],
    /// Tells devices apart.
    pub owner: [u64; 2],
    /// Fingerprints Request-URIs.
    pub pending: [u64; 4],
    /// Namespace of obfuscated IMEIs, the operator's own; none = no SIR to a device named by an IMEI.
    pub imei: Option<[u8; 16]>,
}

/// Why an order is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too many different headers.
    #[error(transparent)]
    SetsFull(#[from] SetsFull),
    /// Too many contents.
    #[error(transparent)]
    ContentsFull(#[from] contents::ContentsFull),
    /// Too many orders.
    #[error(transparent)]
    OrdersFull(#[from] crate::intake::OrdersFull),
    /// The engine ends.
    #[error("the engine drains and takes no more orders; send it to another one")]
    Draining,
}

/// Where a SIR goes, and in which form.
#[derive(Clone, Copy)]
struct Journey {
    next_hop: u16,
    template: u16,
}

impl Journey {
    fn of(target: &Target) -> Self {
        Self {
            next_hop: target.device.next_hop,
            template: target.template,
        }
    }
}

/// A SIR whose transaction is open and that has not boarded its train.
struct Opened {
    handle: Handle,
    journey: Journey,
}

/// All state of one worker.
pub struct Shard {
    /// Who has which devices; changed only between turns.
    pub index: Index,
    /// The books.
    pub ledger: Ledger,
    /// Time from due to final response, in microseconds.
    pub latency_us: Histogram<u64>,
    /// How late orders were taken against their schedules.
    pub order_lag: OrderLag,
    /// Outcomes SIR by SIR, if they are recorded.
    pub outcomes: Option<OutcomeLog>,
    /// The last failures.
    flights: Recorder,
    /// The course of the load at work, if it is recorded.
    series: Option<Box<Series>>,
    intake: Intake,
    candidates: VecDeque<Candidate>,
    batch: Vec<Candidate>,
    runs: Vec<Run>,
    scratch: Bump,
    next_hops: NextHops,
    kept: KeptTexts,
    held: Option<Waiting>,
    pending: Pending,
    deferred: HashMap<Fingerprint, VecDeque<Waiting>>,
    deferred_count: usize,
    resumed: VecDeque<Waiting>,
    transactions: Transactions,
    /// SIRs between admission and train; empty but within a selection.
    opened: Vec<Opened>,
    /// Answers between reading and ending; empty but within a received train.
    read: Vec<Answer>,
    shapes: Shapes,
    templates: Templates,
    trains: Trains,
    wheel: Wheel,
    expired: Vec<Handle>,
    /// Addresses of a departing train of direct devices.
    addresses: Vec<SocketAddr>,
    branch_key: BranchKey,
    /// The server of the sessions that devices build, its host, and what it sends.
    sessions: Sessions,
    reception: Reception,
    replies: Replies,
    /// Due times of the SIRs whose latency is recorded.
    measured: Range<u64>,
    in_window: usize,
    window_total: usize,
    session_window: u64,
    retries_max: u8,
    draining: bool,
    /// Unix time at which `now` was 0, in seconds.
    epoch_s: u64,
    /// Unix time of this turn's selection, in seconds.
    now_s: u32,
    /// Identities that were due and not handed out when this turn's selection began.
    behind: u64,
    swept_ns: u64,
    /// The last turn had much to do: trains may wait longer to fill.
    busy: bool,
    /// Who sent the answers that are being read.
    peer: SocketAddr,
    /// Answers counted at the end of the last selection.
    answered_before: u64,
}

impl Shard {
    /// Builds a shard around an index; `epoch_s` is the Unix time at which `now` was 0.
    #[must_use]
    pub fn new(
        config: &EngineConfig,
        index: Index,
        sender: Sender,
        keys: &Keys,
        session: SessionConfig,
        (now, epoch_s): (u64, u64),
    ) -> Self {
        let limits = Limits {
            window: config.window_per_next_hop,
            window_direct: config.window_total,
            backlog_per_hop: config.backlog_per_next_hop,
            backlog_total: config.backlog_total,
        };
        let departure = Departure {
            idle_ns: config.departure_us * 1_000,
            busy_ns: config.departure_busy_us.max(config.departure_us) * 1_000,
        };
        let index_hops = index.next_hops().len();
        let token_key = TokenKey::new(keys.token, epoch_s, config.token_lifetime_s);
        let remembered = config.tokens_remembered;
        let mut reception = Reception::new(token_key, now, keys.owner, remembered);
        reception.keep_connections(config.keeps_sessions());
        Self {
            next_hops: NextHops::new(index_hops, limits),
            index,
            ledger: Ledger::default(),
            latency_us: Histogram::new_with_bounds(1, LATENCY_US_MAX, 2).expect("fixed bounds"),
            order_lag: OrderLag::default(),
            series: None,
            outcomes: config.record_outcomes.then(OutcomeLog::default),
            flights: Recorder::new(config.flight_recorder),
            intake: Intake::new(),
            candidates: VecDeque::with_capacity(256),
            batch: Vec::with_capacity(256),
            runs: Vec::with_capacity(256),
            scratch: Bump::with_capacity(16 << 10),
            kept: KeptTexts::new(keys.imei),
            held: None,
            pending: Pending::new(keys.pending),
            deferred: HashMap::new(),
            deferred_count: 0,
            resumed: VecDeque::with_capacity(256),
            transactions: Transactions::new(config.transactions),
            opened: Vec::with_capacity(OPENED),
            read: Vec::with_capacity(READ_MAX),
            shapes: Shapes::default(),
            templates: Templates::new(sender),
            trains: Trains::new(
                (config.slabs as usize, index_hops),
                config.train_segments,
                departure,
            ),
            wheel: Wheel::new(now, config.window_total * TIMERS_PER_WINDOW),
            expired: Vec::with_capacity(65_536),
            addresses: Vec::with_capacity(config.train_segments),
            branch_key: BranchKey::new(keys.branch),
            sessions: Sessions::new(session, keys.session, now),
            reception,
            replies: Replies::new(config.train_segments),
            measured: 0..u64::MAX,
            in_window: 0,
            window_total: config.window_total,
            session_window: config.session_window,
            retries_max: config.retries_max.min(RETRIES_MAX),
            draining: false,
            epoch_s,
            now_s: 0,
            behind: 0,
            swept_ns: now,
            busy: false,
            peer: SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            answered_before: 0,
        }
    }

    /// Takes an order.
    ///
    /// # Errors
    /// [`Refusal`]; nothing of the order is accepted then.
    pub fn accept(&mut self, now: u64, order: Order) -> Result<(), Refusal> {
        if self.draining {
            return Err(Refusal::Draining);
        }
        let (stock, mut order) = self.stock(now, order)?;
        let series = Self::series_of(&mut order);
        let accepted = self.intake.accept(now, order, stock);
        if accepted.is_err() {
            self.give_up(now, &stock);
        }
        self.begin_series(now, accepted?, series);
        Ok(())
    }

    /// Takes what an order needs of the templates and of the contents.
    fn stock(&mut self, now: u64, mut order: Order) -> Result<(Stock, Order), Refusal> {
        let seconds = |ns: u64| u32::try_from(ns.div_ceil(1_000_000_000)).unwrap_or(u32::MAX);
        let place = match (order.mode.is_to_aor(), order.device_position) {
            (false, _) => Place::RequestUri,
            (true, DevicePosition::None) => Place::Nowhere,
            (true, _) => Place::Body,
        };
        let template = Content {
            application: order.application.clone(),
            routed: place == Place::RequestUri,
            device_position: order.device_position,
            expires_s: order.deadline_ns.map(seconds),
            ask: std::mem::take(&mut order.ask),
            activate: (order.activate.take()).map(|activate| (activate.application, activate.when)),
        };
        let sole = Content {
            routed: false,
            device_position: DevicePosition::None,
            ..template.clone()
        };
        let content = contents::Content {
            pushed: std::mem::take(&mut order.content),
            selector: order.selector.clone(),
        };
        let content = self
            .reception
            .contents
            .enlist(self.reception.token_key.tick(now), content)?;
        let mut stock = Stock {
            content,
            place,
            ..Stock::default()
        };
        let sets = self.templates.enlist(template).and_then(|set| {
            stock.set = set;
            let sole =
                (order.skip_lookup && !order.mode.is_to_aor()).then(|| self.templates.enlist(sole));
            sole.transpose()
                .inspect_err(|_| self.templates.release(set))
        });
        match sets {
            Ok(sole) => stock.set_sole = sole,
            Err(full) => {
                self.reception.contents.release(content, Tick(0));
                return Err(full.into());
            }
        }
        Ok((stock, order))
    }

    /// Gives back what an order held; its content stays for as long as its tokens live.
    fn give_up(&mut self, now: u64, stock: &Stock) {
        self.templates.release(stock.set);
        if let Some(sole) = stock.set_sole {
            self.templates.release(sole);
        }
        let until = self.reception.token_key.tick(now).0
            + self.reception.token_key.lifetime()
            + CONTENT_GRACE_TICKS;
        self.reception.contents.release(stock.content, Tick(until));
    }

    /// The next order that has ended and was not told.
    pub fn finished(&mut self, now: u64) -> Option<Summary> {
        let (stock, summary) = self.intake.take_finished()?;
        self.give_up(now, &stock);
        Some(summary)
    }

    /// Units that are accepted and not settled, counted where they are and not from the books.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        let waiting = self.candidates.len()
            + usize::from(self.held.is_some())
            + self.deferred_count
            + self.resumed.len()
            + self.next_hops.backlogged();
        (waiting + self.transactions.len()) as u64
    }

    /// Whether nothing is accepted that is not settled, no order has more to hand out, and no session is
    /// open.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.in_flight() == 0 && self.intake.is_empty() && self.sessions.is_empty()
    }

    /// Identities that open-loop loads had due before the last selection began and no earlier one took:
    /// how far the order source is behind its schedule.
    #[must_use]
    pub fn behind(&self) -> u64 {
        self.behind
    }

    /// The books of pushes.
    #[must_use]
    pub fn pushes(&self) -> PushBalance {
        self.reception.pushes.balance()
    }

    /// Open transactions.
    #[must_use]
    pub fn transactions_open(&self) -> usize {
        self.transactions.len()
    }

    /// When the shard has to be called again though nothing arrives; `None` = never.
    #[must_use]
    pub fn next_due_ns(&self, now: u64) -> Option<u64> {
        let may_select = self.may_select();
        let orders = self.intake.next_due_ns(now).filter(|_| may_select);
        let waiting = self.can_admit_waiting().then_some(now);
        let held = self.held.as_ref().filter(|_| self.may_open());
        let stalled = held.and_then(|held| self.next_hops.stalled_ns(held.target.device.next_hop));
        let closed = (self.trains.waiting() > 0).then_some(now + T1_NS);
        let times = [
            orders,
            waiting,
            stalled,
            closed,
            self.intake.next_deadline_ns(),
            self.trains.next_due_ns(),
            self.wheel.next_due_ns(),
            self.next_hops.next_opening_ns(),
            self.sessions.next_due_ns(),
            self.replies.is_waiting().then_some(now),
        ];
        times.into_iter().flatten().min()
    }

    /// Makes room for next hops that the index has learnt since the start.
    pub fn learn_next_hops(&mut self) {
        self.next_hops.extend_to(self.index.next_hops().len());
    }

    /// Changes the index between turns. What was selected before goes on as it was selected.
    pub fn change<T>(&mut self, change: impl FnOnce(&mut Index) -> T) -> T {
        // An identity that is text goes by a number, which may name another one after the change.
        let texts: Vec<_> = (self.candidates.iter().enumerate())
            .filter(|(_, candidate)| is_text(candidate.identity))
            .map(|(place, candidate)| (place, self.aor(candidate.identity)))
            .collect();
        let changed = change(&mut self.index);
        self.learn_next_hops();
        for (place, text) in texts.into_iter().rev() {
            if let Some(identity) = self.index.pack(text.as_bytes()) {
                self.candidates[place].identity = identity;
            } else if let Some(gone) = self.candidates.remove(place) {
                let unknown = Outcome::Failed(Cause::UnknownIdentity);
                self.settle_due(gone.due_ns, gone.order, unknown);
            }
        }
        changed
    }

    /// Removes some devices whose binding has expired, at most every [`SWEEP_EVERY_NS`].
    pub fn sweep(&mut self, now: u64) -> usize {
        if now < self.swept_ns + SWEEP_EVERY_NS {
            return 0;
        }
        self.swept_ns = now;
        let now_s = self.unix_s(now);
        self.change(|index| index.expire_some(now_s, SWEEP_DEVICES_MAX))
    }

    /// Unix time in seconds, as far as 32 bits go.
    #[inline]
    fn unix_s(&self, now: u64) -> u32 {
        u32::try_from(self.epoch_s + now / 1_000_000_000).unwrap_or(u32::MAX - 1)
    }

    /// Fires the timers that are due: retransmits (Timer E) or gives up (Timer F), in sessions too;
    /// returns how many of SIRs.
    pub fn expire(&mut self, now: u64) -> usize {
        self.next_hops.reopen(now);
        self.expire_orders(now);
        self.expire_sessions(now);
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.expire(now, TICKS_PER_TURN_MAX, &mut expired);
        let fired = expired.len();
        for handle in expired.drain(..) {
            self.fire(now, handle);
        }
        self.expired = expired;
        fired
    }

    fn fire(&mut self, now: u64, handle: Handle) {
        let Some(transaction) = self.transactions.find(handle) else {
            return;
        };
        let Transaction { target, .. } = *transaction;
        let (left, timed_out) = (transaction.leave_window(), transaction.timed_out(now));
        let hop = target.device.next_hop;
        if left {
            // A SIR without an answer for T1 no longer fills the path: its place may go to another.
            self.in_window -= 1;
            self.next_hops.leave_window(hop, now, false);
        }
        if timed_out {
            self.conclude(now, handle, Outcome::Failed(Cause::Timeout));
        } else if self.intake.at(target.order).deadline_ns <= now {
            self.conclude(now, handle, Outcome::Expired);
        } else if self.next_hops.admission(hop, now) == Admission::Closed {
            self.wheel.arm(now + T1_NS, handle);
        } else {
            self.board(now, Journey::of(&target), handle);
        }
    }

    fn board(&mut self, now: u64, journey: Journey, handle: Handle) {
        let length = self.templates.at(journey.template).template.len();
        let hop = self.next_hops.at(journey.next_hop);
        let ticket = (journey.template, length);
        self.trains
            .board(now, (hop, journey.next_hop), ticket, handle);
    }

    /// Ends a transaction that has been found, and its unit with it.
    fn conclude(&mut self, now: u64, handle: Handle, outcome: Outcome) {
        let ended = self.close(now, handle, outcome, None);
        self.settle_target(&ended.target, outcome);
    }

    /// Ends a transaction that has been found; its unit is the caller's to settle or to keep.
    fn close(
        &mut self,
        now: u64,
        handle: Handle,
        outcome: Outcome,
        answer: Option<&[u8]>,
    ) -> Transaction {
        let ended = self.remove(now, handle, answer.is_some());
        if !matches!(outcome, Outcome::Delivered | Outcome::Stored) {
            self.record_failure((now, handle), &ended, outcome, answer);
        }
        if self.measured.contains(&ended.target.due_ns) {
            let waited_us = now.saturating_sub(ended.target.due_ns) / 1_000;
            self.latency_us.saturating_record(waited_us.max(1));
        }
        if let Some(series) = &mut self.series {
            let waited_us = now.saturating_sub(ended.target.due_ns) / 1_000;
            series.end(ended.target.due_ns, ended.target.order, waited_us.max(1));
        }
        if let Some(outcomes) = &mut self.outcomes {
            let branch = self.branch_key.name(handle);
            let uri = Uri::of(&self.index, &self.kept, &ended.target);
            outcomes.push(&uri, &branch, outcome);
        }
        ended
    }

    /// Takes a transaction that has been found out of the table, its window and the pending set.
    #[inline]
    fn remove(&mut self, now: u64, handle: Handle, answered: bool) -> Transaction {
        let mut ended = self.transactions.close(handle);
        if ended.leave_window() {
            self.in_window -= 1;
            self.next_hops
                .leave_window(ended.target.device.next_hop, now, answered);
        } else if answered {
            self.next_hops
                .note_answer(ended.target.device.next_hop, now);
        }
        let fingerprint = self.fingerprint(&ended.target);
        self.pending.remove(fingerprint);
        if self.deferred_count > 0 {
            self.resume(fingerprint);
        }
        ended
    }

    /// Books the end of a target's unit and lets go of what it carried.
    #[inline]
    fn settle_target(&mut self, target: &Target, outcome: Outcome) {
        self.kept.release(target);
        self.settle_due(target.due_ns, target.order, outcome);
    }

    /// Books the end of a unit that was due then.
    #[inline]
    fn settle_due(&mut self, due_ns: u64, order: u16, outcome: Outcome) {
        if let Some(series) = &mut self.series {
            series.settle(due_ns, order, outcome);
        }
        self.settle(order, outcome);
    }

    #[inline]
    fn settle(&mut self, order: u16, outcome: Outcome) {
        self.ledger.settle(outcome);
        self.intake.settle(order, outcome);
    }
}

#[cfg(test)]
mod tests;
