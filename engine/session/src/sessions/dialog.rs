//! Requests inside a dialog: ACK, BYE, MESSAGE and another INVITE (RFC 3261 12.2.2).
//!
//! The To tag names the session and proves that the request belongs to its Call-ID and From tag. The last CSeq number
//! tells a retransmission, which is answered again and changes nothing; so no server transaction is kept. Of the last
//! sixteen numbers the slot knows which were MESSAGEs that were answered: one that is repeated late is answered again.

use super::{Sessions, T4_NS, Turn};
use crate::arena::TextRef;
use crate::asked::Asked;
use crate::host::{Cause, Host, Outbox, Path, SessionEvent};
use crate::render::Response;
use crate::slot::{State, mark};
use crate::wheel::Handle;
use sirocco_wire::sip::{HeaderName, Status};

/// How a request's CSeq number stands to the last one (RFC 3261 12.2.2).
enum Order {
    New,
    Repeated,
    Late,
}

impl Sessions {
    /// The session that a request inside a dialog belongs to; it may be over.
    #[inline]
    pub(super) fn dialog_of(&self, asked: &Asked<'_>) -> Option<Handle> {
        self.dialog(asked.call_id, Some(asked.from_tag), asked.to_tag)
    }

    /// The session of a dialog by its identifiers; it may be over.
    #[inline]
    pub(super) fn dialog(
        &self,
        call_id: &[u8],
        from_tag: Option<&[u8]>,
        to_tag: Option<&[u8]>,
    ) -> Option<Handle> {
        let fingerprint = self.names.fingerprint(call_id, from_tag.unwrap_or(b""));
        let handle = self.names.recognise(to_tag?, fingerprint).ok()?;
        self.table.knows(handle).then_some(handle)
    }

    /// RFC 3261 13.3.1.4: the ACK ends the repetition of the 2xx; the session is established.
    #[inline]
    pub(super) fn acknowledge<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
    ) {
        let handle = self.dialog_of(asked);
        if handle.is_some() && matches!(turn.path, Path::Datagram { .. }) {
            self.familiars.learn(asked.message);
        }
        self.acknowledged(turn, handle, asked.cseq.number);
    }

    /// The ACK of a dialog, if it is one of ours.
    #[inline]
    pub(super) fn acknowledged<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        handle: Option<Handle>,
        number: u32,
    ) {
        let Some(handle) = handle else {
            self.counts.strays.acks += 1;
            return;
        };
        let Some(slot) = self.table.find(handle) else {
            self.counts.repeated += 1;
            return;
        };
        if slot.state() != State::Accepted {
            self.counts.repeated += 1;
            return;
        }
        let accepted = TextRef::of_word(self.kept(handle));
        // RFC 3261 13.2.2.4: the ACK has the CSeq number of its INVITE.
        if self.accepted_number(accepted) != number {
            self.counts.strays.acks += 1;
            return;
        }
        self.arena.free(accepted);
        let slot = self.table.at_mut(handle.slot);
        slot.enter(State::Open, turn.now);
        let (owner, content) = (slot.owner, slot.content);
        self.counts.established += 1;
        let event = SessionEvent::Established { session: handle };
        turn.host.note(turn.now, owner, content, event);
        self.begin_content(turn, handle);
    }

    /// The device ends its session. A session of ours that is over already is answered 200 again.
    #[inline]
    pub(super) fn bye<H: Host, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>, asked: &Asked<'_>) {
        let Some(handle) = self.dialog_of(asked) else {
            self.refuse_dialog(turn, asked);
            return;
        };
        if self.table.find(handle).is_none() {
            self.counts.repeated += 1;
            self.confirm(turn, asked);
            return;
        }
        match self.order_of(handle, asked) {
            Order::Late => {
                self.out_of_order(turn, asked);
                return;
            }
            Order::Repeated => self.counts.repeated += 1,
            Order::New => {}
        }
        self.confirm(turn, asked);
        let slot = self.table.at_mut(handle.slot);
        match slot.state() {
            // The response to our MESSAGE may have been overtaken: it decides whether the content arrived.
            State::Pushing => {
                slot.enter(State::HungUp, turn.now);
                self.arm(turn.now, handle, turn.now + T4_NS);
            }
            State::HungUp => {}
            State::Ending => {
                let cause = Cause::of_word(self.kept(handle));
                self.end(turn, handle, cause);
            }
            _ => self.end(turn, handle, Cause::Peer),
        }
    }

    /// A MESSAGE from the device: the host gets it once.
    pub(super) fn message<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
    ) {
        let Some(handle) = self.dialog_of(asked) else {
            self.refuse_dialog(turn, asked);
            return;
        };
        if !self.is_alive(handle) {
            self.message_behind(turn, asked, handle);
            return;
        }
        let order = self.order_of(handle, asked);
        if matches!(order, Order::Late) {
            if self.table.at(handle.slot).has_answered(asked.cseq.number) {
                self.counts.repeated += 1;
                self.confirm(turn, asked);
            } else {
                self.out_of_order(turn, asked);
            }
            return;
        }
        let body = asked.message.body();
        if !body.is_empty() && !asked.media_type().eq_ignore_ascii_case(b"text/parameters") {
            self.refuse_type(turn, asked);
            return;
        }
        self.table.at_mut(handle.slot).answered |= 1;
        match order {
            Order::New => {
                self.counts.messages += 1;
                let owner = self.table.at(handle.slot).owner;
                let content_type = asked.message.header(HeaderName::ContentType).unwrap_or(b"");
                turn.host.received(turn.now, owner, content_type, body);
            }
            Order::Repeated | Order::Late => self.counts.repeated += 1,
        }
        self.confirm(turn, asked);
    }

    /// A MESSAGE of a session that is over: one that was answered is answered again, as long as the slot tells.
    #[cold]
    fn message_behind<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
        handle: Handle,
    ) {
        let number = asked.cseq.number;
        let slot = match self.table.find(handle) {
            Some(slot) => Some(&*slot),
            None => self.table.last(handle),
        };
        if slot.is_some_and(|slot| slot.has_answered(number)) {
            self.counts.repeated += 1;
            self.confirm(turn, asked);
        } else {
            self.refuse_dialog(turn, asked);
        }
    }

    /// Whether a session is there for its device, too: the BYE of the device ends it at once.
    #[inline]
    pub(super) fn is_alive(&mut self, handle: Handle) -> bool {
        let slot = self.table.find(handle);
        slot.is_some_and(|slot| slot.state() != State::HungUp)
    }

    /// RFC 3261 12.2.2: a request for a dialog that is not there.
    #[cold]
    pub(super) fn refuse_dialog<H, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
    ) {
        self.refuse(turn, asked, Status::of(481), |refused| {
            &mut refused.no_dialog
        });
    }

    /// RFC 3261 14.2: another offer is refused, the session stays as it was.
    #[cold]
    pub(super) fn invite_again<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        asked: &Asked<'_>,
    ) {
        let handle = self.dialog_of(asked);
        let Some(handle) = handle.filter(|handle| self.is_alive(*handle)) else {
            self.refuse_dialog(turn, asked);
            return;
        };
        match self.order_of(handle, asked) {
            Order::Late => self.out_of_order(turn, asked),
            _ => self.refuse(turn, asked, Status::of(488), |refused| &mut refused.offer),
        }
    }

    /// Compares the CSeq number with the last one and notes it.
    #[inline]
    fn order_of(&mut self, handle: Handle, asked: &Asked<'_>) -> Order {
        let slot = self.table.at_mut(handle.slot);
        let number = asked.cseq.number;
        if number > slot.remote_cseq {
            let ahead = number - slot.remote_cseq;
            slot.answered = slot.answered.checked_shl(ahead).unwrap_or(0);
            slot.remote_cseq = number;
            return Order::New;
        }
        if number == slot.remote_cseq {
            Order::Repeated
        } else {
            Order::Late
        }
    }

    #[cold]
    fn out_of_order<H, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>, asked: &Asked<'_>) {
        self.refuse(turn, asked, Status::of(500), |refused| {
            &mut refused.out_of_order
        });
    }

    /// Answers 200 inside a dialog.
    #[inline]
    fn confirm<H, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>, asked: &Asked<'_>) {
        let response = Response {
            status: Status::OK,
            tag: b"",
            lines: b"",
            routes: false,
            body: b"",
        };
        self.respond(turn, asked, &response);
    }

    /// Whether the device may still be sent something.
    #[inline]
    pub(super) fn is_to_end(&self, handle: Handle) -> bool {
        self.table.at(handle.slot).has(mark::DRAIN)
    }
}
