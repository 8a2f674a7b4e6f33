//! Answers: a received datagram finds its transaction through the branch and ends it.

use super::Shard;
use crate::branch::{BranchFault, Handle};
use crate::ledger::{Cause, Outcome};
use crate::next_hop::Waiting;
use crate::stopwatch::{Stage, Watch};
use crate::transaction::State;
use sirocco_index::NEXT_HOP_DIRECT;
use sirocco_ring::tracepoints;
use sirocco_wire::sip::message::{Message, Method};
use std::net::SocketAddr;

/// Answers of known shapes that are read before they are ended: a full train.
pub(super) const READ_MAX: usize = 64;

/// An answer that was read: whom it names and what it says.
pub(super) struct Answer {
    handle: Handle,
    status: u16,
    /// Its place in the train.
    place: u16,
}

impl Shard {
    /// Reads a train received from `peer`: datagrams of `segment` octets each, the last may be shorter.
    ///
    /// Answers are read first and end their transactions then, in their order: two loops that each stay
    /// in the caches, and whose time can be told apart.
    pub fn answer(
        &mut self,
        now: u64,
        peer: SocketAddr,
        octets: &[u8],
        segment: usize,
        watch: &mut impl Watch,
    ) {
        self.peer = peer;
        let segment = segment.max(1);
        for (place, datagram) in octets.chunks(segment).enumerate() {
            if self.read.len() == READ_MAX {
                self.end_read(now, (octets, segment), watch);
            }
            if !self.read_known(datagram, place) {
                self.end_read(now, (octets, segment), watch);
                let stage = self.answer_one(now, datagram);
                watch.split(stage);
            }
        }
        self.end_read(now, (octets, segment), watch);
    }

    /// Reads an answer of a known shape; `false` if it has none.
    #[inline]
    fn read_known(&mut self, datagram: &[u8], place: usize) -> bool {
        let Some((branch, status)) = self.shapes.recognise(datagram) else {
            return false;
        };
        if let Some(handle) = self.recognise_branch(branch) {
            let place = place as u16;
            self.read.push(Answer {
                handle,
                status,
                place,
            });
        }
        true
    }

    /// Ends the transactions of the answers that were read from a train.
    #[inline]
    fn end_read(&mut self, now: u64, (octets, segment): (&[u8], usize), watch: &mut impl Watch) {
        if self.read.is_empty() {
            return;
        }
        watch.split(Stage::Parse);
        let mut read = std::mem::take(&mut self.read);
        for Answer {
            handle,
            status,
            place,
        } in read.drain(..)
        {
            if self.is_answerable(handle) {
                let start = usize::from(place) * segment;
                let datagram = &octets[start..octets.len().min(start + segment)];
                self.finish(now, handle, (status, datagram), None);
            }
        }
        self.read = read;
        watch.split(Stage::Close);
    }

    /// Takes a datagram of no known shape; returns the stage that it was the work of.
    fn answer_one(&mut self, now: u64, datagram: &[u8]) -> Stage {
        if self.is_familiar(now, datagram) {
            return Stage::Session;
        }
        self.answer_by_parsing(now, datagram)
    }

    fn answer_by_parsing(&mut self, now: u64, datagram: &[u8]) -> Stage {
        let Ok(message) = Message::parse(datagram) else {
            self.ledger.stray.malformed += 1;
            return Stage::Parse;
        };
        let Some(status) = message.status_code() else {
            self.serve(now, &message);
            return Stage::Session;
        };
        if self.answer_session(now, &message) {
            return Stage::Session;
        }
        if let Some(handle) = self.match_message(&message) {
            self.end_parsed(now, (&message, datagram), (handle, status));
        }
        Stage::Parse
    }

    fn end_parsed(
        &mut self,
        now: u64,
        (message, datagram): (&Message<'_>, &[u8]),
        (handle, status): (Handle, u16),
    ) {
        let answer = (status, datagram);
        match status {
            100..200 => self.proceed(now, handle, status),
            503 => self.finish(now, handle, answer, message.retry_after_seconds()),
            200..700 => {
                self.shapes.learn(message);
                self.finish(now, handle, answer, None);
            }
            _ => self.ledger.stray.bad_status += 1,
        }
    }

    /// RFC 3261 17.1.3: the branch of the top Via and the method of CSeq name the transaction.
    fn match_message(&mut self, message: &Message<'_>) -> Option<Handle> {
        let stray = &mut self.ledger.stray;
        let via = message
            .top_via()
            .and_then(|via| Some((via.sent_by, via.branch?)));
        let (Some((sent_by, branch)), Some(cseq)) = (via, message.cseq()) else {
            stray.malformed += 1;
            return None;
        };
        // RFC 3261 8.1.3.3: a response with more than one Via was not meant for this sender.
        // RFC 3261 18.1.2: nor was one whose sent-by is not what this sender wrote.
        if message.has_several_vias() || !self.templates.is_sent_by(sent_by) {
            stray.foreign += 1;
            return None;
        }
        if cseq.method != Method::Message {
            stray.other_method += 1;
            return None;
        }
        self.recognise_branch(branch)
            .filter(|&handle| self.is_answerable(handle))
    }

    #[inline]
    fn recognise_branch(&mut self, branch: &[u8]) -> Option<Handle> {
        let stray = &mut self.ledger.stray;
        match self.branch_key.recognise(branch) {
            Ok(handle) => return Some(handle),
            Err(BranchFault::Foreign) => stray.foreign += 1,
            Err(BranchFault::Forged) => stray.forged += 1,
        }
        None
    }

    /// Whether a transaction is open that was sent; counts a late answer otherwise.
    #[inline]
    fn is_answerable(&mut self, handle: Handle) -> bool {
        // A name of ours that was never sent can only be a replayed one of an earlier round.
        let transaction = self.transactions.find(handle);
        let is_open = transaction.is_some_and(|transaction| transaction.transmissions() > 0);
        self.ledger.stray.late += u64::from(!is_open);
        is_open
    }

    /// RFC 3261 17.1.2.2: a provisional response moves the transaction to Proceeding.
    #[cold]
    fn proceed(&mut self, now: u64, handle: Handle, status: u16) {
        self.ledger.stray.provisional += 1;
        if let Some(transaction) = self.transactions.find(handle) {
            transaction.set_state(State::Proceeding);
            self.flights.provisional(now, handle, status);
        }
    }

    #[inline]
    fn finish(
        &mut self,
        now: u64,
        handle: Handle,
        (status, datagram): (u16, &[u8]),
        retry_after: Option<u32>,
    ) {
        self.ledger.sirs_answered += 1;
        let outcome = match status {
            202 => Outcome::Stored,
            200..300 => Outcome::Delivered,
            _ => Outcome::Failed(Cause::Status(status)),
        };
        let ended = self.close(now, handle, outcome, Some(datagram));
        let due_ns = ended.target.due_ns;
        tracepoints::answer(status.into(), || now.saturating_sub(due_ns));
        if matches!(outcome, Outcome::Delivered | Outcome::Stored) {
            let expiry_s = self.reception.token_key.expiry_s(ended.target.due_ns);
            self.reception.pushes.owe(expiry_s);
        }
        if let Some(seconds) = retry_after
            && self.shun(
                now,
                Waiting {
                    target: ended.target,
                    retries: ended.retries(),
                },
                seconds,
            )
        {
            return;
        }
        self.settle_target(&ended.target, outcome);
    }

    /// RFC 3261 21.5.4: 503 with Retry-After closes its sender for that long. The target waits for the
    /// opening if it has a retry left; `false` if it has failed.
    ///
    /// A device knows the branch of its own SIR. It must not close the next hop of others with it: only
    /// what comes from the next hop's own address does.
    #[cold]
    fn shun(&mut self, now: u64, waiting: Waiting, seconds: u32) -> bool {
        let hop = waiting.target.device.next_hop;
        let address = self.index.next_hops().get(usize::from(hop));
        if hop == NEXT_HOP_DIRECT || address.is_none_or(|address| address.ip() != self.peer.ip()) {
            return false;
        }
        self.next_hops.close(hop, now, seconds);
        let retries = waiting.retries + 1;
        !self.draining
            && retries <= self.retries_max
            && self.next_hops.wait(hop, Waiting { retries, ..waiting })
    }
}
