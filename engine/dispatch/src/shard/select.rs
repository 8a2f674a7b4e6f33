//! Orders to targets: look identities up in batches, choose devices, admit each or let it wait.

use super::{Shard, TARGETS_PER_TURN_MAX};
use crate::intake::Candidate;
use crate::ledger::{Cause, Outcome};
use crate::next_hop::{Admission, Waiting};
use crate::order::Selector;
use crate::pending::Fingerprint;
use crate::templates::{aor_len, device_len, packed};
use crate::transaction::Target;
use sirocco_index::{Device, Run};
use sirocco_wire::identity::DeviceIdentity;

/// SIRs selected and answered in one turn from which a shard counts as busy: one full train.
const BUSY_TURN_SIRS: u64 = 64;
/// Closed trains that may wait for a slab before selection pauses: the kernel is behind then.
const TRAINS_WAITING_MAX: usize = 64;

impl Shard {
    /// Selects and admits what is due, as far as windows and room allow; returns the targets admitted.
    pub fn select(&mut self, now: u64) -> usize {
        let mut admitted = self.admit_waiting(now);
        while admitted < TARGETS_PER_TURN_MAX && self.may_select() {
            if self.candidates.is_empty() && !self.refill(now) {
                break;
            }
            self.look_up();
            let (taken, finished) = self.admit_candidates(now);
            admitted += taken;
            if !finished {
                break;
            }
        }
        self.note_work(admitted);
        admitted
    }

    /// Tells from the work of this turn whether trains had better wait longer.
    ///
    /// A shard with time to spare looks again so soon that a turn finds a handful of SIRs. One whose
    /// turns find many is late, or would be if its trains were short.
    fn note_work(&mut self, admitted: usize) {
        let answered = self.ledger.sirs_answered - self.answered_before;
        self.answered_before = self.ledger.sirs_answered;
        self.busy = admitted as u64 + answered >= BUSY_TURN_SIRS;
    }

    /// Whether one more target may be selected at all.
    #[inline]
    pub(super) fn may_select(&self) -> bool {
        self.held.is_none()
            && self.in_window < self.window_total
            && self.transactions.room() > 0
            && self.next_hops.has_room(self.deferred_count + 1)
            && self.trains.waiting() <= TRAINS_WAITING_MAX
    }

    pub(super) fn refill(&mut self, now: u64) -> bool {
        self.batch.clear();
        let unknown = self.intake.hand_out(now, &self.index, &mut self.batch);
        self.ledger.accepted += self.batch.len() as u64 + unknown.count;
        for _ in 0..unknown.count {
            self.settle(unknown.order, Outcome::Failed(Cause::UnknownIdentity));
        }
        self.candidates.extend(self.batch.iter());
        !self.batch.is_empty() || unknown.count > 0
    }

    fn look_up(&mut self) {
        let identities = self.candidates.iter().map(|candidate| candidate.identity);
        let identities = bumpalo::collections::Vec::from_iter_in(identities, &self.scratch);
        self.index.lookup_batch(&identities, &mut self.runs);
        drop(identities);
        self.scratch.reset();
    }

    fn admit_candidates(&mut self, now: u64) -> (usize, bool) {
        let mut admitted = 0;
        for place in 0..self.runs.len() {
            let Some(candidate) = self.candidates.pop_front() else {
                break;
            };
            let (taken, finished) = self.admit_devices(now, candidate, self.runs[place]);
            admitted += taken;
            if !finished {
                return (admitted, false);
            }
        }
        (admitted, true)
    }

    /// Admits the wanted devices of one identity; `false` if the rest has to wait for the next turn.
    ///
    /// The candidate is one unit of the books. Its last device takes that unit over, each earlier one
    /// adds one of its own.
    fn admit_devices(&mut self, now: u64, candidate: Candidate, run: Run) -> (usize, bool) {
        if self.intake.at(candidate.order).deadline_ns <= now {
            self.settle(candidate.order, Outcome::Expired);
            return (0, true);
        }
        let mut admitted = 0;
        let mut wanted = self.next_wanted(&candidate, run, candidate.skip);
        while let Some(number) = wanted {
            if !self.may_select() {
                self.candidates.push_front(Candidate {
                    skip: number,
                    ..candidate
                });
                return (admitted, false);
            }
            // The rest of the devices is a unit before this one may end: it keeps the order active.
            wanted = self.next_wanted(&candidate, run, number + 1);
            if wanted.is_some() {
                self.ledger.accepted += 1;
                self.intake.add_units(candidate.order, 1);
            }
            admitted += 1;
            let device = self.index.devices(run)[number as usize];
            self.admit_device(now, &candidate, device);
        }
        if admitted == 0 {
            let cause = if run.is_some() {
                Cause::NoDevice
            } else {
                Cause::UnknownIdentity
            };
            self.settle(candidate.order, Outcome::Failed(cause));
        }
        (admitted, true)
    }

    /// The number of the first wanted device of an identity from number `from` on.
    #[inline]
    fn next_wanted(&self, candidate: &Candidate, run: Run, from: u32) -> Option<u32> {
        let devices = self.index.devices(run);
        let count = devices.len() as u32;
        (from..count)
            .find(|&number| self.wants(candidate, number, count, &devices[number as usize]))
    }

    #[inline]
    fn wants(&self, candidate: &Candidate, number: u32, count: u32, device: &Device) -> bool {
        if let Some(one) = candidate.one {
            return number == one % count;
        }
        let selector = &self.intake.at(candidate.order).selector;
        selector.wants_all || selector.wants(device, self.index.device_id_text(device))
    }

    #[inline]
    fn admit_device(&mut self, now: u64, candidate: &Candidate, device: Device) {
        let mut digits = [0; 16];
        let text = self.index.unpack(candidate.identity, &mut digits);
        let device_len = device_len(&device, self.index.device_id_text(&device));
        let set = self.intake.at(candidate.order).set;
        let Some(template) = self.templates.find(set, aor_len(&text), device_len) else {
            return self.settle(candidate.order, Outcome::Failed(Cause::TooLong));
        };
        let target = Target {
            key: candidate.identity.key,
            due_ns: candidate.due_ns,
            device,
            shape: candidate.identity.shape,
            order: candidate.order,
            template,
        };
        self.admit(now, Waiting { target, retries: 0 });
    }

    /// Opens a transaction for a target, or lets it wait for its next hop.
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
            self.settle(waiting.target.order, Outcome::Failed(cause));
        } else {
            self.held = Some(waiting);
        }
    }

    #[inline]
    fn open(&mut self, now: u64, waiting: Waiting) {
        let Waiting { target, retries } = waiting;
        let fingerprint = self
            .pending
            .fingerprint(target.identity(), target.device.packed_id());
        if !self.pending.insert(fingerprint) {
            return self.defer(fingerprint, waiting);
        }
        let Some(handle) = self.transactions.open(target, retries) else {
            self.pending.remove(fingerprint);
            return self.park(now, waiting, Cause::NextHopStalled);
        };
        self.in_window += 1;
        self.next_hops.at(target.device.next_hop).in_window += 1;
        self.board(now, &target, handle);
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

    /// Admits the targets that waited for this Request-URI; the first opens, the others wait on.
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
    fn admit_waiting(&mut self, now: u64) -> usize {
        let mut admitted = 0;
        if let Some(held) = self.held.take() {
            self.admit_if_alive(now, held);
            admitted += 1;
        }
        while let Some(waiting) = self.resumed.pop_front() {
            self.admit_if_alive(now, waiting);
            admitted += 1;
        }
        while admitted < TARGETS_PER_TURN_MAX
            && self.in_window < self.window_total
            && self.transactions.room() > 0
        {
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

    fn admit_if_alive(&mut self, now: u64, waiting: Waiting) {
        if self.is_alive(now, &waiting) {
            self.admit(now, waiting);
        }
    }

    fn is_alive(&mut self, now: u64, waiting: &Waiting) -> bool {
        let order = waiting.target.order;
        let alive = self.intake.at(order).deadline_ns > now;
        if !alive {
            self.settle(order, Outcome::Expired);
        }
        alive
    }
}

impl Selector {
    /// Whether a device is one of those that the order wants; `text` is its identity where it is not
    /// packed.
    #[must_use]
    pub fn wants(&self, device: &Device, text: &[u8]) -> bool {
        let named = if device.has_text_id() {
            self.texts.iter().any(|named| same_device(named, text))
        } else {
            self.devices.contains(&packed(device))
        };
        (named || self.texts.is_empty())
            && device.capability & self.capability == self.capability
            && device.subscription & self.subscription == self.subscription
            && device.preference() >= self.preference
            && (device.connected() || !self.connected)
    }
}

fn same_device(named: &str, text: &[u8]) -> bool {
    let (named, text) = (
        DeviceIdentity::parse(named.as_bytes()),
        DeviceIdentity::parse(text),
    );
    named
        .zip(text)
        .is_some_and(|(named, text)| named.same_device(&text))
}
