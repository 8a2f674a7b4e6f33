//! Departure: a closed train is rendered into a slab and handed to the outbox.

use super::Shard;
use crate::branch::{BranchKey, Handle};
use crate::intake::Intake;
use crate::kept::{Kept, KeptTexts};
use crate::ledger::{Cause, Outcome};
use crate::next_hop::Waiting;
use crate::stopwatch::{Stage, Watch};
use crate::templates::{Compiled, packed};
use crate::token::{Holder, TokenKey};
use crate::train::Outbox;
use crate::transaction::{T1_NS, Target};
use sirocco_index::{DEVICE_TEXT_MAX, Index, NEXT_HOP_DIRECT};
use sirocco_wire::sip::template::Slots;

impl Shard {
    /// Sends the replies of sessions, closes the trains that are due and sends every closed one, as long
    /// as there are slabs.
    pub fn depart<O: Outbox>(&mut self, now: u64, outbox: &mut O, watch: &mut impl Watch) {
        self.replies.depart(&mut self.trains, outbox);
        watch.split(Stage::Session);
        self.trains.close_due(now, &mut self.next_hops, self.busy);
        while let Some(train) = self.trains.front() {
            let (next_hop, template) = (train.next_hop, train.template);
            let Some(slab) = outbox.take_slab() else {
                return;
            };
            let number = O::number(&slab);
            let mut aboard = self.trains.take_first();
            if self.intake.has_overdue(now) || self.next_hops.is_closed(next_hop, now) {
                aboard = self.weed(now, next_hop, aboard);
            }
            watch.split(Stage::Train);
            let length = self.load(now, template, &mut aboard, (number, outbox.octets(&slab)));
            watch.split(Stage::Patch);
            if aboard.is_empty() {
                outbox.release(slab);
            } else if next_hop == NEXT_HOP_DIRECT {
                outbox.send_each(slab, &self.addresses, length);
            } else {
                let target = self.index.next_hops()[usize::from(next_hop)];
                outbox.send_train(slab, target, aboard.len() * length, length);
            }
            self.trains.note_departure(number, aboard);
        }
    }

    /// Takes those off a train that may not leave any more: their order's deadline has passed, or their
    /// next hop has closed since they boarded.
    #[cold]
    fn weed(&mut self, now: u64, next_hop: u16, mut aboard: Vec<Handle>) -> Vec<Handle> {
        let is_closed = self.next_hops.is_closed(next_hop, now);
        aboard.retain(|&handle| self.may_leave(now, handle, is_closed));
        aboard
    }

    fn may_leave(&mut self, now: u64, handle: Handle, is_closed: bool) -> bool {
        let Some(transaction) = self.transactions.find(handle) else {
            return false;
        };
        let (order, is_sent) = (transaction.target.order, transaction.transmissions() > 0);
        if self.intake.at(order).deadline_ns <= now {
            self.conclude(now, handle, Outcome::Expired);
        } else if !is_closed {
            return true;
        } else if is_sent {
            self.wheel.arm(now + T1_NS, handle);
        } else {
            self.withdraw(now, handle);
        }
        false
    }

    /// Ends a transaction that was never sent; its target waits for its next hop to open.
    fn withdraw(&mut self, now: u64, handle: Handle) {
        let ended = self.remove(now, handle, false);
        let (target, retries) = (ended.target, ended.retries());
        let waiting = Waiting { target, retries };
        if !self.next_hops.wait(target.device.next_hop, waiting) {
            self.settle_target(&target, Outcome::Failed(Cause::NextHopClosed));
        }
    }

    /// Renders a train into slab `number`; those whose answer came while they waited stay behind.
    ///
    /// Returns the octets of one SIR.
    fn load(
        &mut self,
        now: u64,
        template: u16,
        aboard: &mut Vec<Handle>,
        (number, octets): (usize, &mut [u8]),
    ) -> usize {
        let rendering = Rendering {
            compiled: self.templates.at(template),
            index: &self.index,
            kept: &self.kept,
            branch_key: &self.branch_key,
            token_key: &self.reception.token_key,
            intake: &self.intake,
        };
        let length = rendering.compiled.template.len();
        if self.trains.fill(number, rendering.compiled.serial) {
            for segment in octets.chunks_exact_mut(length) {
                rendering.compiled.template.fill(segment);
            }
        }
        self.addresses.clear();
        let mut segments = octets.chunks_exact_mut(length);
        let mut segment = segments.next();
        let mut written = 0;
        aboard.retain(|&handle| {
            let Some(transaction) = self.transactions.find(handle) else {
                return false;
            };
            let Some(place) = segment.as_deref_mut() else {
                return false;
            };
            if transaction.target.device.next_hop == NEXT_HOP_DIRECT {
                let target = &transaction.target;
                let own = target.device.contact_v4();
                let kept = || self.kept.of(target).and_then(Kept::contact);
                let contact = own.or_else(kept);
                self.addresses
                    .push(contact.expect("the index refuses a direct device without one"));
            }
            let octets = rendering.render(&transaction.target, handle, place);
            debug_assert!(octets > 0, "a target's template is that of its lengths");
            written += octets;
            segment = segments.next();
            if transaction.transmissions() == 0 {
                self.ledger.sirs_sent += 1;
            } else {
                self.ledger.retransmissions += 1;
                self.flights.again(now, handle);
            }
            let due = transaction.transmitted(now);
            self.wheel.arm(due, handle);
            true
        });
        self.ledger.bytes_written += written as u64;
        length
    }

    /// Renders the SIR of a transaction once more, octet by octet as it was sent, at the end of `out`.
    pub(super) fn render_again(&self, target: &Target, handle: Handle, out: &mut Vec<u8>) {
        let rendering = Rendering {
            compiled: self.templates.at(target.template),
            index: &self.index,
            kept: &self.kept,
            branch_key: &self.branch_key,
            token_key: &self.reception.token_key,
            intake: &self.intake,
        };
        let start = out.len();
        out.resize(start + rendering.compiled.template.len(), 0);
        let segment = &mut out[start..];
        rendering.compiled.template.fill(segment);
        rendering.render(target, handle, segment);
    }

    /// The kernel is done with slab `number`. Where it refused, the SIRs aboard have failed.
    ///
    /// RFC 3261 17.1.4: a transport error ends the transaction.
    pub fn sent(&mut self, now: u64, number: usize, refused: bool) {
        if refused {
            self.conclude_aboard(now, number, Outcome::Failed(Cause::Transport));
        }
    }

    /// Counts everyone who left in slab `number` as answered 200, for the null sink.
    pub fn sink(&mut self, now: u64, number: usize) {
        self.ledger.sirs_answered += self.trains.manifest(number).len() as u64;
        self.conclude_aboard(now, number, Outcome::Delivered);
    }

    fn conclude_aboard(&mut self, now: u64, number: usize, outcome: Outcome) {
        for place in 0..self.trains.manifest(number).len() {
            let handle = self.trains.manifest(number)[place];
            if self.transactions.find(handle).is_some() {
                self.conclude(now, handle, outcome);
            }
        }
    }
}

/// What rendering reads.
struct Rendering<'a> {
    compiled: &'a Compiled,
    index: &'a Index,
    kept: &'a KeptTexts,
    branch_key: &'a BranchKey,
    token_key: &'a TokenKey,
    intake: &'a Intake,
}

impl Rendering<'_> {
    /// Writes the slots of one SIR into a filled segment; returns the octets written.
    #[inline]
    fn render(&self, target: &Target, handle: Handle, segment: &mut [u8]) -> usize {
        if let Some(kept) = self.kept.of(target) {
            return self.render_kept(target, kept, handle, segment);
        }
        let mut digits = [0; 16];
        let aor = self.index.unpack(target.identity(), &mut digits);
        let mut urn = [0; DEVICE_TEXT_MAX];
        // A SIR that names no device leaves its identity unread.
        let length = match self.compiled.is_bound {
            true => packed(&target.device).write_urn(&mut urn),
            false => 0,
        };
        let device = (target.device.kind(), target.device.packed_id());
        let holder = Holder::Packed(target.identity(), self.compiled.is_bound.then_some(device));
        let slots = Slots {
            aor_prefix: aor.prefix,
            aor_user: aor.user,
            aor_suffix: aor.suffix,
            device: &urn[..length],
            branch: self.branch_key.name(handle),
            token: self.token(target, holder),
        };
        self.compiled.template.patch(segment, &slots)
    }

    #[inline]
    fn token(&self, target: &Target, holder: Holder<'_>) -> [u8; 32] {
        let content = self.intake.at(target.order).stock.content;
        let is_bound = self.compiled.is_bound;
        (self.token_key).token(target.due_ns, content, holder, is_bound)
    }

    /// The same for a target that carries its texts with it.
    #[cold]
    fn render_kept(
        &self,
        target: &Target,
        kept: &Kept,
        handle: Handle,
        segment: &mut [u8],
    ) -> usize {
        let slots = Slots {
            aor_prefix: b"",
            aor_user: kept.aor(),
            aor_suffix: b"",
            device: kept.device(),
            branch: self.branch_key.name(handle),
            token: self.token(target, Holder::Text(kept.aor(), kept.device())),
        };
        self.compiled.template.patch(segment, &slots)
    }
}
