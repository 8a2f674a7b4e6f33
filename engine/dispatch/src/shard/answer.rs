//! Answers: a received datagram finds its transaction through the branch and ends it.

use super::Shard;
use crate::branch::{BranchFault, Handle};
use crate::ledger::{Cause, Outcome};
use crate::next_hop::Waiting;
use crate::transaction::State;
use sirocco_index::NEXT_HOP_DIRECT;
use sirocco_wire::sip::message::{Message, Method};
use std::net::SocketAddr;

impl Shard {
    /// Reads a train received from `peer`: datagrams of `segment` octets each, the last may be shorter.
    pub fn answer(&mut self, now: u64, peer: SocketAddr, octets: &[u8], segment: usize) {
        self.peer = peer;
        for datagram in octets.chunks(segment.max(1)) {
            self.answer_one(now, datagram);
        }
    }

    #[inline]
    fn answer_one(&mut self, now: u64, datagram: &[u8]) {
        if let Some((branch, status)) = self.shapes.recognise(datagram) {
            if let Some(handle) = self.match_transaction(branch) {
                self.finish(now, handle, status, None);
            }
            return;
        }
        if !self.is_familiar(now, datagram) {
            self.answer_by_parsing(now, datagram);
        }
    }

    fn answer_by_parsing(&mut self, now: u64, datagram: &[u8]) {
        let Ok(message) = Message::parse(datagram) else {
            self.ledger.stray.malformed += 1;
            return;
        };
        let Some(status) = message.status_code() else {
            return self.serve(now, &message);
        };
        if self.answer_session(now, &message) {
            return;
        }
        let Some(handle) = self.match_message(&message) else {
            return;
        };
        match status {
            100..200 => self.proceed(handle),
            503 => self.finish(now, handle, status, message.retry_after_seconds()),
            200..700 => {
                self.shapes.learn(&message);
                self.finish(now, handle, status, None);
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
        self.match_transaction(branch)
    }

    #[inline]
    fn match_transaction(&mut self, branch: &[u8]) -> Option<Handle> {
        let stray = &mut self.ledger.stray;
        let handle = match self.branch_key.recognise(branch) {
            Ok(handle) => handle,
            Err(fault) => {
                match fault {
                    BranchFault::Foreign => stray.foreign += 1,
                    BranchFault::Forged => stray.forged += 1,
                }
                return None;
            }
        };
        // A name of ours that was never sent can only be a replayed one of an earlier round.
        let transaction = self.transactions.find(handle);
        if transaction.is_none_or(|transaction| transaction.transmissions() == 0) {
            stray.late += 1;
            return None;
        }
        Some(handle)
    }

    /// RFC 3261 17.1.2.2: a provisional response moves the transaction to Proceeding.
    #[cold]
    fn proceed(&mut self, handle: Handle) {
        self.ledger.stray.provisional += 1;
        if let Some(transaction) = self.transactions.find(handle) {
            transaction.set_state(State::Proceeding);
        }
    }

    #[inline]
    fn finish(&mut self, now: u64, handle: Handle, status: u16, retry_after: Option<u32>) {
        self.ledger.sirs_answered += 1;
        let outcome = match status {
            202 => Outcome::Stored,
            200..300 => Outcome::Delivered,
            _ => Outcome::Failed(Cause::Status(status)),
        };
        let ended = self.close(now, handle, outcome, true);
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
