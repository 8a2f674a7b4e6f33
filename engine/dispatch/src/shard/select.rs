//! Orders to targets: look identities up in batches, choose devices, hand each on to be admitted.

use super::{Opened, Shard, TARGETS_PER_TURN_MAX};
use crate::intake::{Candidate, Stock};
use crate::kept::{Place, needs_keeping};
use crate::ledger::{Cause, Outcome};
use crate::next_hop::Waiting;
use crate::stopwatch::{Stage, Watch};
use crate::templates::{aor_len, device_len};
use crate::transaction::{TO_AOR, Target};
use sirocco_index::{Device, Run};

/// SIRs selected and answered in one turn from which a shard counts as busy: one full train.
const BUSY_TURN_SIRS: u64 = 64;
/// Closed trains that may wait for a slab before selection pauses: the kernel is behind then.
const TRAINS_WAITING_MAX: usize = 64;

impl Shard {
    /// Selects and admits what is due, as far as windows and room allow; returns the targets admitted.
    pub fn select(&mut self, now: u64, watch: &mut impl Watch) -> usize {
        self.behind = self.intake.behind(now);
        self.read_lag(now);
        self.now_s = self.unix_s(now);
        let mut admitted = self.admit_waiting(now);
        self.board_opened(now, watch);
        while admitted < TARGETS_PER_TURN_MAX && self.may_select() {
            if self.candidates.is_empty() && !self.refill(now) {
                break;
            }
            watch.split(Stage::Select);
            self.look_up();
            watch.split(Stage::LookUp);
            let (taken, finished) = self.admit_candidates(now);
            self.board_opened(now, watch);
            admitted += taken;
            if !finished {
                break;
            }
        }
        self.note_work(admitted);
        admitted
    }

    /// Puts the SIRs whose transactions were opened aboard their trains.
    #[inline]
    fn board_opened(&mut self, now: u64, watch: &mut impl Watch) {
        if self.opened.is_empty() {
            return;
        }
        watch.split(Stage::Select);
        let mut opened = std::mem::take(&mut self.opened);
        for Opened { handle, journey } in opened.drain(..) {
            self.board(now, journey, handle);
        }
        self.opened = opened;
        watch.split(Stage::Train);
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

    /// Whether the devices of one more identity may be selected at all.
    #[inline]
    pub(super) fn may_select(&self) -> bool {
        self.held.is_none()
            && self.resumed.is_empty()
            && self.may_open()
            && self.pushes_under_way() < self.session_window
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
        self.offer_batch(now);
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
            if !self.may_select() {
                return (admitted, false);
            }
            let Some(candidate) = self.candidates.pop_front() else {
                break;
            };
            admitted += self.admit_devices(now, &candidate, self.runs[place]);
        }
        (admitted, true)
    }

    /// Makes targets of the wanted devices of one identity, all in one turn: the index may change before
    /// the next one. Those for which there is no room go first then.
    ///
    /// The candidate is one unit of the books. Its last device takes that unit over, each earlier one
    /// adds one of its own.
    fn admit_devices(&mut self, now: u64, candidate: &Candidate, run: Run) -> usize {
        if self.intake.at(candidate.order).deadline_ns <= now {
            self.settle_due(candidate.due_ns, candidate.order, Outcome::Expired);
            return 0;
        }
        let mut wanted = self.next_wanted(candidate, run, 0);
        if wanted.is_none() {
            let cause = if run.is_some() {
                Cause::NoDevice
            } else {
                Cause::UnknownIdentity
            };
            self.settle_due(candidate.due_ns, candidate.order, Outcome::Failed(cause));
            return 0;
        }
        // The network forks a SIR to an identity: whatever devices are wanted, one goes out.
        let mode = self.intake.at(candidate.order).mode;
        let mut selected = 0;
        while let Some(number) = wanted {
            // The rest of the devices is a unit before this one may end: it keeps the order active.
            wanted = self
                .next_wanted(candidate, run, number + 1)
                .filter(|_| !mode.is_one_for_all());
            if wanted.is_some() {
                self.ledger.accepted += 1;
                self.intake.add_units(candidate.order, 1);
                self.offer_more(candidate);
            }
            selected += 1;
            let device = self.index.devices(run)[number as usize];
            let is_sole = self.index.devices(run).len() == 1;
            let (order, due_ns, identity) = (candidate.order, candidate.due_ns, candidate.identity);
            if device.connected() && self.push_directly(now, order, identity, &device) {
                self.settle_due(due_ns, order, Outcome::Delivered);
                continue;
            }
            match self.target(candidate, device, is_sole) {
                Err(cause) => self.settle_due(due_ns, order, Outcome::Failed(cause)),
                Ok(target) if self.may_select() => self.admit(now, Waiting { target, retries: 0 }),
                Ok(target) => self.resumed.push_back(Waiting { target, retries: 0 }),
            }
        }
        selected
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
        if device.expired(self.now_s) {
            return false;
        }
        if let Some(one) = candidate.one {
            return number == one % count;
        }
        let selector = &self.intake.at(candidate.order).selector;
        if selector.wants_all {
            return true;
        }
        let text = self.index.device_id_text(device);
        selector.wants(device, text, || self.kept.obfuscated(device, text))
    }

    /// The target of one device of a candidate; the cause why there can be none otherwise.
    #[inline]
    fn target(
        &mut self,
        candidate: &Candidate,
        device: Device,
        is_sole: bool,
    ) -> Result<Target, Cause> {
        let order = self.intake.at(candidate.order);
        let Stock {
            set,
            set_sole,
            place,
            ..
        } = order.stock;
        // Claim 4: an identity that binds the wanted device alone names it, and the device's own is not
        // looked at any more: not measured, kept, obfuscated or written.
        let (set, place) = match set_sole.filter(|_| is_sole) {
            Some(sole) => (sole, Place::Nowhere),
            None => (set, place),
        };
        let to_aor = if place == Place::RequestUri {
            0
        } else {
            TO_AOR
        };
        let mut target = Target {
            key: candidate.identity.key,
            due_ns: candidate.due_ns,
            device,
            shape: candidate.identity.shape | to_aor,
            order: candidate.order,
            template: 0,
        };
        if needs_keeping(candidate.identity, &device, place) {
            return self.target_with_texts((set, place), target);
        }
        let mut digits = [0; 16];
        let text = self.index.unpack(candidate.identity, &mut digits);
        // RFC 5627 3.1: a GRUU is a SIP URI; RFC 3261 26.2.2: a SIPS URI does not go over UDP.
        if !text.prefix.starts_with(b"sip:") {
            return Err(Cause::Unroutable);
        }
        let found = self
            .templates
            .find(set, aor_len(&text), named_len(&device, place));
        target.template = found.ok_or(Cause::TooLong)?;
        Ok(target)
    }

    /// The same for a target that has to carry its texts with it.
    #[cold]
    fn target_with_texts(
        &mut self,
        (set, place): (u16, Place),
        mut target: Target,
    ) -> Result<Target, Cause> {
        let source = (&self.index, &self.pending);
        let kept = self
            .kept
            .keep(source, target.identity(), (&target.device, place))?;
        (target.key, target.shape) = (kept.key, kept.shape | target.shape & TO_AOR);
        let lengths = self
            .kept
            .of(&target)
            .map(|kept| (kept.aor().len(), kept.device().len()));
        let found =
            lengths.and_then(|(aor_len, device_len)| self.templates.find(set, aor_len, device_len));
        if found.is_none() {
            self.kept.release(&target);
        }
        target.template = found.ok_or(Cause::TooLong)?;
        Ok(target)
    }
}

/// The octets of a device's identity in a SIR, 0 where it does not stand in it.
#[inline]
fn named_len(device: &Device, place: Place) -> usize {
    match place {
        Place::Nowhere => 0,
        _ => device_len(device),
    }
}
