//! The intake: active orders, and the identities they hand out next.
//!
//! Orders of a higher priority go first, orders of the same priority take turns. An order is active
//! until its audience is handed out and its last unit settled; then its summary is kept for whoever
//! asked. Looks up nothing but the packed form of an identity; the shard selects devices.

use crate::kept::Place;
use crate::ledger::Outcome;
use crate::load::{Offered, Wanted};
use crate::order::{Audience, Mode, Order, Priority, Selector};
use serde::{Deserialize, Serialize};
use sirocco_index::{Identity, Index, Run, WalkCursor};
use sirocco_schedule::Steer;
use std::collections::{BTreeSet, VecDeque};

/// Orders that may be active at the same time: their slot is 16 bits wide.
pub const ORDERS_MAX: usize = 65_535;
/// Identities that one order hands out before the next one's turn: one batch of lookups.
const TURN_IDENTITIES: usize = 64;

/// One identity of one order, on its way to the lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whom it is for.
    pub identity: Identity,
    /// When it was due, in nanoseconds.
    pub due_ns: u64,
    /// Slot of its order.
    pub order: u16,
    /// Segment of its load's shape.
    pub segment: u16,
    /// Number, modulo their count, of the one device that is wanted; `None` = as the selector says.
    pub one: Option<u32>,
}

/// What became of the units of one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Units taken.
    pub accepted: u64,
    /// Units delivered.
    pub delivered: u64,
    /// Units answered 202.
    pub stored: u64,
    /// Units failed, whatever the cause.
    pub failed: u64,
    /// Units expired.
    pub expired: u64,
    /// Units cancelled.
    pub cancelled: u64,
}

impl Tally {
    fn settled(&self) -> u64 {
        self.delivered + self.stored + self.failed + self.expired + self.cancelled
    }
}

/// The end of one order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Name that the initiator gave.
    pub order: String,
    /// What became of its units.
    #[serde(flatten)]
    pub tally: Tally,
}

/// What an order holds in other tables for as long as it is active.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stock {
    /// Set of templates.
    pub set: u16,
    /// Set of templates that name the identity alone, if the order skips the lookup of sole devices.
    pub set_sole: Option<u16>,
    /// Number of its content.
    pub content: u32,
    /// Where its SIRs carry the device identity.
    pub place: Place,
}

/// An order at work.
pub struct Active {
    /// Name for reports.
    pub name: String,
    /// Which devices are wanted.
    pub selector: Selector,
    /// Where its templates and its content are.
    pub stock: Stock,
    /// Addressing mode.
    pub mode: Mode,
    /// When nothing more is sent, in nanoseconds of the worker's clock.
    pub deadline_ns: u64,
    /// What became of its units so far.
    pub tally: Tally,
    audience: Audience,
    cursor: Cursor,
    priority: Priority,
    handed_out: bool,
    is_overdue: bool,
}

#[derive(Clone, Copy)]
enum Cursor {
    Offset(usize),
    Walk(WalkCursor),
}

/// All active orders of one shard.
pub struct Intake {
    orders: Vec<Option<Active>>,
    free: Vec<u16>,
    turns: [VecDeque<u16>; 3],
    finished: VecDeque<(Stock, Summary)>,
    runs: Vec<Run>,
    /// Deadlines of the active orders that have one and are not overdue, soonest first.
    deadlines: BTreeSet<(u64, u16)>,
    /// Active orders whose deadline has passed.
    overdue: usize,
    /// What the last load that ended had offered.
    offered: Offered,
}

/// Why an order is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ORDERS_MAX} orders are active; retry when one is over")]
pub struct OrdersFull;

impl Default for Intake {
    fn default() -> Self {
        Self::new()
    }
}

impl Intake {
    /// Builds an intake without orders.
    #[must_use]
    pub fn new() -> Self {
        Self {
            orders: Vec::new(),
            free: Vec::new(),
            turns: [VecDeque::new(), VecDeque::new(), VecDeque::new()],
            finished: VecDeque::new(),
            runs: Vec::new(),
            deadlines: BTreeSet::new(),
            overdue: 0,
            offered: Offered::default(),
        }
    }

    /// Makes an order active.
    ///
    /// # Errors
    /// [`OrdersFull`]; the order is not touched then.
    pub fn accept(&mut self, now: u64, order: Order, stock: Stock) -> Result<u16, OrdersFull> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.orders.len() < ORDERS_MAX => {
                self.orders.push(None);
                (self.orders.len() - 1) as u16
            }
            None => return Err(OrdersFull),
        };
        let mut audience = order.audience;
        let cursor = match &mut audience {
            Audience::List(_) => Cursor::Offset(0),
            Audience::Everybody => Cursor::Walk(WalkCursor::START),
            Audience::Load(load) => {
                load.start(now);
                Cursor::Offset(0)
            }
        };
        let deadline_ns = order
            .deadline_ns
            .map_or(u64::MAX, |ns| now.saturating_add(ns));
        if deadline_ns < u64::MAX {
            self.deadlines.insert((deadline_ns, slot));
        }
        self.turns[order.priority as usize].push_back(slot);
        self.orders[usize::from(slot)] = Some(Active {
            name: order.name,
            selector: order.selector,
            stock,
            mode: order.mode,
            deadline_ns,
            tally: Tally::default(),
            audience,
            cursor,
            priority: order.priority,
            handed_out: false,
            is_overdue: false,
        });
        Ok(slot)
    }

    /// An active order.
    #[inline]
    #[must_use]
    pub fn at(&self, slot: u16) -> &Active {
        self.orders[usize::from(slot)]
            .as_ref()
            .expect("units keep their order active")
    }

    /// The soonest deadline that has not been taken as overdue.
    #[inline]
    #[must_use]
    pub fn next_deadline_ns(&self) -> Option<u64> {
        self.deadlines.first().map(|(deadline_ns, _)| *deadline_ns)
    }

    /// Whether the deadline of an active order has passed by `now`.
    #[inline]
    #[must_use]
    pub fn has_overdue(&self, now: u64) -> bool {
        self.overdue > 0
            || self
                .next_deadline_ns()
                .is_some_and(|deadline| deadline <= now)
    }

    /// Takes an order whose deadline has passed by `now`, each once; it stays active until it is settled.
    pub fn take_overdue(&mut self, now: u64) -> Option<u16> {
        let &(_, slot) = self
            .deadlines
            .first()
            .filter(|(deadline, _)| *deadline <= now)?;
        self.deadlines.pop_first();
        self.overdue += 1;
        self.active(slot).is_overdue = true;
        Some(slot)
    }

    /// Active orders.
    #[must_use]
    pub fn len(&self) -> usize {
        self.orders.len() - self.free.len()
    }

    /// Whether no order is active.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Notes `units` more units of an order.
    #[inline]
    pub fn add_units(&mut self, slot: u16, units: u64) {
        self.active(slot).tally.accepted += units;
    }

    /// Settles one unit of an order; the last one ends it.
    #[inline]
    pub fn settle(&mut self, slot: u16, outcome: Outcome) {
        let tally = &mut self.active(slot).tally;
        match outcome {
            Outcome::Delivered => tally.delivered += 1,
            Outcome::Stored => tally.stored += 1,
            Outcome::Failed(_) => tally.failed += 1,
            Outcome::Expired => tally.expired += 1,
            Outcome::Cancelled => tally.cancelled += 1,
        }
        if self.active(slot).handed_out {
            self.end_if_settled(slot);
        }
    }

    /// Takes an order that has ended, with what it held.
    pub fn take_finished(&mut self) -> Option<(Stock, Summary)> {
        self.finished.pop_front()
    }

    /// Adds up to one batch of candidates that are due; returns the unknown identities of the batch.
    ///
    /// Nothing is due if `out` stays as it was and 0 is returned.
    pub fn hand_out(&mut self, now: u64, index: &Index, out: &mut Vec<Candidate>) -> Unknown {
        for priority in 0..self.turns.len() {
            for _ in 0..self.turns[priority].len() {
                let Some(slot) = self.turns[priority].pop_front() else {
                    break;
                };
                let before = out.len();
                let unknown = self.hand_out_one(now, index, slot, out);
                let units = (out.len() - before) as u64 + unknown.count;
                self.add_units(slot, units);
                if self.active(slot).handed_out {
                    self.end_if_settled(slot);
                } else {
                    self.turns[priority].push_back(slot);
                }
                if units > 0 {
                    return unknown;
                }
            }
        }
        Unknown::default()
    }

    /// When the next load is due, if nothing is due by `now`.
    #[must_use]
    pub fn next_due_ns(&self, now: u64) -> Option<u64> {
        let waiting = self
            .turns
            .iter()
            .flatten()
            .map(|&slot| match &self.at(slot).audience {
                Audience::Load(load) => load.next_due_ns(now).unwrap_or(now),
                _ => now,
            });
        waiting.min()
    }

    /// Identities that open-loop loads have due and not handed out.
    #[must_use]
    pub fn behind(&self, now: u64) -> u64 {
        let loads = self
            .turns
            .iter()
            .flatten()
            .map(|&slot| match &self.at(slot).audience {
                Audience::Load(load) => load.behind(now),
                _ => 0,
            });
        loads.sum()
    }

    /// How long the next identity of a load has been due; `None` where no schedule is at work.
    #[must_use]
    pub fn lateness_ns(&self, now: u64) -> Option<u64> {
        let loads = self.turns.iter().flatten();
        loads
            .filter_map(|&slot| match &self.at(slot).audience {
                Audience::Load(load) => load.lateness_ns(now),
                _ => None,
            })
            .max()
    }

    /// Whether a load has more to hand out.
    #[must_use]
    pub fn has_loads(&self) -> bool {
        let mut waiting = self.turns.iter().flatten();
        waiting.any(|&slot| matches!(self.at(slot).audience, Audience::Load(_)))
    }

    /// What the load at work has offered, or the last one that ended.
    #[must_use]
    pub fn offered(&self) -> Offered {
        let loads = self.orders.iter().flatten();
        let mut at_work = loads.filter_map(|active| match &active.audience {
            Audience::Load(load) => Some(load.offered()),
            _ => None,
        });
        at_work.next().unwrap_or_else(|| self.offered.clone())
    }

    /// Changes the schedule of every load from `now` on; returns how many took it.
    pub fn steer_loads(&mut self, now: u64, change: Steer) -> usize {
        let loads = self.orders.iter_mut().flatten();
        loads
            .filter_map(|active| match &mut active.audience {
                Audience::Load(load) => Some(load),
                _ => None,
            })
            .filter_map(|load| load.steer(now, change).then_some(()))
            .count()
    }

    /// Ends every load where it stands; lists and walks go on.
    pub fn stop_loads(&mut self) {
        for active in self.orders.iter_mut().flatten() {
            if let Audience::Load(load) = &mut active.audience {
                load.stop();
            }
        }
    }

    fn active(&mut self, slot: u16) -> &mut Active {
        self.orders[usize::from(slot)]
            .as_mut()
            .expect("units keep their order active")
    }

    fn hand_out_one(
        &mut self,
        now: u64,
        index: &Index,
        slot: u16,
        out: &mut Vec<Candidate>,
    ) -> Unknown {
        let mut runs = std::mem::take(&mut self.runs);
        let active = self.active(slot);
        let mut unknown = Unknown {
            order: slot,
            count: 0,
        };
        match (&mut active.audience, &mut active.cursor) {
            (Audience::List(text), Cursor::Offset(offset)) => {
                for _ in 0..TURN_IDENTITIES {
                    let Some(line) = next_line(text, offset) else {
                        break;
                    };
                    match index.pack(line) {
                        Some(identity) => out.push(candidate(identity, slot, now)),
                        None => unknown.count += 1,
                    }
                }
                active.handed_out = *offset >= text.len();
            }
            (Audience::Everybody, Cursor::Walk(cursor)) => {
                *cursor = index.walk(*cursor, TURN_IDENTITIES, &mut runs);
                out.extend(
                    runs.iter()
                        .map(|&run| candidate(index.identity(run), slot, now)),
                );
                active.handed_out = cursor.finished();
            }
            (Audience::Load(load), _) => {
                for _ in 0..TURN_IDENTITIES {
                    let Some((identity, due_ns, pass)) = load.take(now) else {
                        break;
                    };
                    let one = (load.wanted() == Wanted::OneInTurn).then_some(pass as u32);
                    out.push(Candidate {
                        due_ns,
                        segment: load.segment(),
                        one,
                        ..candidate(identity, slot, now)
                    });
                }
                active.handed_out = load.is_over();
            }
            _ => active.handed_out = true,
        }
        self.runs = runs;
        unknown
    }

    fn end_if_settled(&mut self, slot: u16) {
        let active = self.active(slot);
        if active.tally.settled() < active.tally.accepted {
            return;
        }
        let priority = active.priority as usize;
        if let Some(ended) = self.orders[usize::from(slot)].take() {
            if let Audience::Load(load) = &ended.audience {
                self.offered = load.offered();
            }
            self.turns[priority].retain(|&waiting| waiting != slot);
            if ended.is_overdue {
                self.overdue -= 1;
            } else {
                self.deadlines.remove(&(ended.deadline_ns, slot));
            }
            self.finished.push_back((
                ended.stock,
                Summary {
                    order: ended.name,
                    tally: ended.tally,
                },
            ));
            self.free.push(slot);
        }
    }
}

/// Identities of one order that the index does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// Slot of the order.
    pub order: u16,
    /// How many.
    pub count: u64,
}

fn candidate(identity: Identity, order: u16, due_ns: u64) -> Candidate {
    Candidate {
        identity,
        due_ns,
        order,
        segment: 0,
        one: None,
    }
}

/// The next line that names an identity: trimmed, neither empty nor a comment.
fn next_line<'a>(text: &'a [u8], offset: &mut usize) -> Option<&'a [u8]> {
    while *offset < text.len() {
        let rest = &text[*offset..];
        let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        *offset += length + 1;
        let line = rest[..length].trim_ascii();
        if !line.is_empty() && line[0] != b'#' {
            return Some(line);
        }
    }
    *offset = text.len();
    None
}

#[cfg(test)]
mod tests;
