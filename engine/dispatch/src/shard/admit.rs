//! Targets to transactions: each opens one at once, or waits where something will call it.
//!
//! A target waits in one of four places. The backlog of its next hop: called when the window has room or
//! Retry-After is over. `deferred`: another SIR to the same Request-URI is in flight, whose end calls it.
//! `resumed`: called as soon as there is room for a transaction. `held`, one target alone: its next hop's
//! backlog is full; nothing more is selected until there is room for it or its next hop is shed.

use super::{Journey, Opened, Shard, TARGETS_PER_TURN_MAX};
use crate::kept::NO_DEVICE;
use crate::ledger::{Cause, Outcome};
use crate::next_hop::{Admission, Waiting};
use crate::pending::Fingerprint;
use crate::transaction::Target;

impl Shard {
    /// Whether the windows and the table have room for one more transaction.
    #[inline]
    pub(super) fn may_open(&self) -> bool {
        self.in_window < self.window_total && self.transactions.room() > 0
    }

    /// Whether a waiting target can be admitted at once, wherever it goes.
    pub(super) fn can_admit_waiting(&self) -> bool {
        let resumed = self.held.is_none() && !self.resumed.is_empty();
        self.may_open() && (resumed || self.next_hops.has_ready())
    }

    /// Opens a transaction for a target, or lets it wait for its next hop; there is room for one.
    #[inline]
    pub(super) fn admit(&mut self, now: u64, waiting: Waiting) {
        let hop = waiting.target.device.next_hop;
        match self.next_hops.admission(hop, now) {
            Admission::Open => self.open(now, waiting),
            Admission::Full => self.park(now, waiting, Cause::NextHopStalled),
            Admission::Closed => self.park(now, waiting, Cause::NextHopClosed),
        }
    }

    /// Lets a target wait; where there is no room, sheds it if its next hop is of no use, else holds it.
    fn park(&mut self, now: u64, waiting: Waiting, cause: Cause) {
        let hop = waiting.target.device.next_hop;
        if self.next_hops.wait(hop, waiting) {
            return;
        }
        let useless = cause == Cause::NextHopClosed || self.next_hops.is_stalled(hop, now);
        if useless || self.held.is_some() {
            self.settle_target(&waiting.target, Outcome::Failed(cause));
        } else {
            self.held = Some(waiting);
        }
    }

    #[inline]
    fn open(&mut self, now: u64, waiting: Waiting) {
        let Waiting { target, retries } = waiting;
        let fingerprint = self.fingerprint(&target);
        if !self.pending.insert(fingerprint) {
            return self.defer(fingerprint, waiting);
        }
        let Some(handle) = self.transactions.open(target, retries) else {
            // Nobody admits without room; a target that met none must not be lost all the same.
            self.pending.remove(fingerprint);
            return self.resumed.push_back(waiting);
        };
        self.in_window += 1;
        self.next_hops.enter_window(target.device.next_hop, now);
        let journey = Journey::of(&target);
        self.opened.push(Opened { handle, journey });
    }

    #[inline]
    pub(super) fn fingerprint(&self, target: &Target) -> Fingerprint {
        match self.kept.of(target) {
            None if target.is_to_aor() => self.pending.fingerprint(target.identity(), &NO_DEVICE),
            None => self
                .pending
                .fingerprint(target.identity(), target.device.packed_id()),
            Some(kept) => kept.fingerprint(),
        }
    }

    /// RFC 3428 8: while a MESSAGE is pending to a URI, the next one to the same URI waits.
    #[cold]
    fn defer(&mut self, fingerprint: Fingerprint, waiting: Waiting) {
        self.deferred
            .entry(fingerprint)
            .or_default()
            .push_back(waiting);
        self.deferred_count += 1;
    }

    /// Calls the targets that waited for this Request-URI; the first opens, the others wait on.
    ///
    /// All of them: the first may end without ever being sent, and nothing would call the next.
    #[cold]
    pub(super) fn resume(&mut self, fingerprint: Fingerprint) {
        if let Some(queue) = self.deferred.remove(&fingerprint) {
            self.deferred_count -= queue.len();
            self.resumed.extend(queue);
        }
    }

    /// Admits those that have waited: the held one, the resumed ones, then the next hops' backlogs.
    pub(super) fn admit_waiting(&mut self, now: u64) -> usize {
        let mut admitted = self.retry_held(now);
        while admitted < TARGETS_PER_TURN_MAX && self.held.is_none() && self.may_open() {
            let Some(waiting) = self.resumed.pop_front() else {
                break;
            };
            if self.is_alive(now, &waiting) {
                self.admit(now, waiting);
            }
            admitted += 1;
        }
        while admitted < TARGETS_PER_TURN_MAX && self.may_open() {
            let Some(waiting) = self.next_hops.take_ready(now) else {
                break;
            };
            if self.is_alive(now, &waiting) {
                self.open(now, waiting);
            }
            admitted += 1;
        }
        admitted
    }

    /// Admits the held target if there is room for it now; returns how many that makes.
    fn retry_held(&mut self, now: u64) -> usize {
        if self.held.is_none() || !self.may_open() {
            return 0;
        }
        if let Some(held) = self.held.take()
            && self.is_alive(now, &held)
        {
            self.admit(now, held);
        }
        usize::from(self.held.is_none())
    }

    fn is_alive(&mut self, now: u64, waiting: &Waiting) -> bool {
        let alive = self.intake.at(waiting.target.order).deadline_ns > now;
        if !alive {
            self.settle_target(&waiting.target, Outcome::Expired);
        }
        alive
    }

    /// Ends all that waits of the orders whose deadline has passed; what was sent ends at its next timer.
    pub(super) fn expire_orders(&mut self, now: u64) {
        while let Some(order) = self.intake.take_overdue(now) {
            self.expire_waiting(order);
        }
    }

    #[cold]
    fn expire_waiting(&mut self, order: u16) {
        let mut due = Vec::new();
        self.candidates.retain(|candidate| {
            let stays = candidate.order != order;
            if !stays {
                due.push(candidate.due_ns);
            }
            stays
        });
        let mut ended: Vec<Target> = Vec::new();
        let mut is_over = |waiting: &Waiting| {
            let is_over = waiting.target.order == order;
            if is_over {
                ended.push(waiting.target);
            }
            is_over
        };
        self.held.take_if(|held| is_over(held));
        self.resumed.retain(|waiting| !is_over(waiting));
        self.next_hops.drop_waiting(&mut is_over);
        self.deferred.retain(|_, queue| {
            let before = queue.len();
            queue.retain(|waiting| !is_over(waiting));
            self.deferred_count -= before - queue.len();
            !queue.is_empty()
        });
        for target in &ended {
            self.settle_target(target, Outcome::Expired);
        }
        for due_ns in due {
            self.settle_due(due_ns, order, Outcome::Expired);
        }
    }
}
