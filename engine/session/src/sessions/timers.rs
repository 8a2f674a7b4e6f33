//! Time: what is repeated, what is given up, and the end of all sessions when the worker drains.

use super::push::interval;
use super::{Sessions, TRANSACTION_NS, Turn};
use crate::arena::TextRef;
use crate::config::End;
use crate::dialog::Texts;
use crate::host::{Cause, Host, Outbox, Path};
use crate::slot::{Fired, State, mark};
use crate::wheel::{Handle, TICK_NS};
use std::net::SocketAddr;

/// Ticks that one call of `expire` looks at: two seconds' worth.
const TICKS_MAX: u32 = 400;
/// Sessions that one call of `end_all` or `expire` tells to end: a train's worth to each of 16 edges.
const DRAIN_MAX: usize = 1_024;

impl Sessions {
    /// Fires the timers that are due.
    pub fn expire(&mut self, now: u64, host: &mut impl Host, out: &mut impl Outbox) {
        let nowhere = SocketAddr::from(([0; 4], 0));
        let path = Path::Datagram { peer: nowhere };
        let turn = &mut Turn {
            now,
            path,
            host,
            out,
        };
        let mut expired = std::mem::take(&mut self.expired);
        self.wheel.expire_with(now, TICKS_MAX, |tick, entries| {
            expired.extend(entries.iter().map(|handle| (*handle, tick)));
        });
        for (handle, tick) in expired.drain(..) {
            let Some(slot) = self.table.find(handle) else {
                continue;
            };
            match slot.fired(tick, now) {
                Fired::Stale => {}
                Fired::Early(due) => slot.armed_at(self.wheel.arm(due, handle)),
                Fired::Due => self.due(turn, handle),
            }
        }
        self.expired = expired;
        self.sweep_streams(turn);
        self.drain_some(turn);
    }

    /// When the next timer may be due; `None`: nothing is armed.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        self.wheel.next_due_ns()
    }

    /// Tells all sessions to end: no new ones, BYE to those that are idle, to the others when what is on its way is
    /// settled. It begins now and goes on in `expire`, some at a time.
    pub fn end_all(&mut self, now: u64, host: &mut impl Host, out: &mut impl Outbox) {
        self.draining = true;
        self.drain_from = Some(0);
        self.expire(now, host, out);
    }

    fn drain_some<H: Host, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>) {
        let Some(first) = self.drain_from else {
            return;
        };
        let some: Vec<_> = self.table.handles_from(first).take(DRAIN_MAX).collect();
        self.drain_from = some.last().map(|handle| handle.slot + 1);
        for handle in some {
            let slot = self.table.at_mut(handle.slot);
            slot.marks |= mark::DRAIN;
            match slot.state() {
                State::Open => self.hang_up(turn, handle, Cause::Drained),
                State::Connecting => {
                    self.fail(turn, handle, Cause::Drained);
                    self.hang_up(turn, handle, Cause::Drained);
                }
                _ => {}
            }
        }
    }

    fn due<H: Host, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>, handle: Handle) {
        let slot = self.table.at(handle.slot);
        let over = slot.elapsed_ns(turn.now) >= TRANSACTION_NS;
        match slot.state() {
            State::Free => {}
            State::Accepted if over => {
                // RFC 3261 13.3.1.4: no ACK: the dialog is confirmed, but the session is ended by BYE.
                self.arena.free(TextRef::of_word(self.kept(handle)));
                self.fail(turn, handle, Cause::NoAck);
                self.hang_up(turn, handle, Cause::NoAck);
            }
            State::Accepted => self.accept_again(turn, handle),
            State::Pushing if over => {
                // RFC 3261 12.2.1.2: no response counts as 408.
                self.fail(turn, handle, Cause::NoAnswer);
                self.end(turn, handle, Cause::NoAnswer);
            }
            State::Pushing => self.transmit(turn, handle),
            State::Ending if over => {
                let cause = Cause::of_word(self.kept(handle));
                self.counts.byes_unanswered += 1;
                self.end(turn, handle, cause);
            }
            State::Ending => self.transmit(turn, handle),
            State::HungUp => self.end(turn, handle, Cause::Peer),
            State::Open => self.held(turn, handle),
            State::Connecting => {
                self.fail(turn, handle, Cause::NotConnected);
                self.hang_up(turn, handle, Cause::NotConnected);
            }
            State::Streaming => {
                self.fail(turn, handle, Cause::NoAnswer);
                self.hang_up(turn, handle, Cause::NoAnswer);
            }
        }
    }

    /// An idle session's time is over, or one step of it.
    fn held<H: Host, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>, handle: Handle) {
        let slot = self.table.at(handle.slot);
        let opened_s = Texts::read(self.arena.octets(slot.texts)).opened_s;
        let held_ns = u64::from(self.kept(handle)) * TICK_NS;
        let until = u64::from(opened_s) * 1_000_000_000 + held_ns;
        if until > turn.now {
            self.arm(turn.now, handle, until);
            return;
        }
        let cause = match self.config.end {
            End::Engine { .. } => Cause::Engine,
            End::Device => Cause::HeldTooLong,
        };
        self.hang_up(turn, handle, cause);
    }

    /// RFC 3261 13.3.1.4: the 2xx again, at intervals from T1 doubling to T2, over every transport.
    fn accept_again<H: Host, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>, handle: Handle) {
        let slot = self.table.at(handle.slot);
        let texts = Texts::read(self.arena.octets(slot.texts));
        let path = slot.path(|| texts.peer.unwrap_or(turn.path.peer()));
        let kept = TextRef::of_word(self.kept(handle));
        self.send_accepted(turn, path, kept);
        self.counts.retransmissions += 1;
        let slot = self.table.at_mut(handle.slot);
        slot.transmitted();
        let left = TRANSACTION_NS.saturating_sub(slot.elapsed_ns(turn.now));
        let wait = interval(slot.transmissions(), false).min(left);
        self.arm(turn.now, handle, turn.now + wait);
    }
}
