//! Connections: octets become messages, lost connections end what they carried, silent ones are closed.
//!
//! SIP over TCP is the same as over UDP once its message is whole (RFC 3261 18.3): its answer goes back over the
//! connection, and so do the requests of the sessions that it opened.

use super::{Sessions, Turn};
use crate::host::{Cause, Host, Outbox, Path, StreamId, StreamKind};
use crate::slot::State;
use sirocco_wire::msrp;
use sirocco_wire::sip::{Message, stream as sip};
use std::net::SocketAddr;

/// How long a connection may take for its first message, or for the rest of one: a slow sender holds a buffer.
const SILENCE_NS_MAX: u64 = 30_000_000_000;
/// How long an MSRP connection may carry no session.
const UNBOUND_NS_MAX: u64 = 60_000_000_000;
/// How long a SIP connection may say nothing while no session uses it.
const UNUSED_NS_MAX: u64 = 120_000_000_000;
/// How long a connection may take nothing of what waits for it.
const FULL_NS_MAX: u64 = 30_000_000_000;
/// How often connections are looked through.
const SWEEP_NS: u64 = 1_000_000_000;

impl Sessions {
    /// Takes a new connection; `false`: there are too many, and the caller closes it.
    #[must_use]
    pub fn stream_opened(
        &mut self,
        now: u64,
        stream: StreamId,
        kind: StreamKind,
        peer: SocketAddr,
    ) -> bool {
        let taken = self.connections.enter(now, stream, kind, peer);
        self.counts.streams += u64::from(taken);
        self.counts.streams_refused += u64::from(!taken);
        taken
    }

    /// Takes octets of a connection.
    pub fn stream_octets(
        &mut self,
        now: u64,
        stream: StreamId,
        octets: &[u8],
        host: &mut impl Host,
        out: &mut impl Outbox,
    ) {
        let Some(connection) = self.connections.find(stream) else {
            out.close(stream);
            return;
        };
        let peer = connection.peer;
        let turn = &mut Turn {
            now,
            path: Path::Stream { stream, peer },
            host,
            out,
        };
        // A buffer exists only while a message is incomplete.
        let mut buffer = self.connections.take_buffer(stream);
        let was_empty = buffer.is_empty();
        buffer.extend_from_slice(if was_empty { b"" } else { octets });
        let whole = if was_empty { octets } else { &buffer };
        let read = self.read(turn, stream, whole);
        let left = read.map(|read| whole.len() - read);
        match left {
            Some(0) => return,
            Some(left) if was_empty => buffer = octets[octets.len() - left..].to_vec(),
            Some(left) => drop(buffer.drain(..buffer.len() - left)),
            None => {}
        }
        let held = self.connections.put_buffer(stream, buffer);
        if left.is_none() {
            self.counts.strays.streams += 1;
            self.close(turn, stream, Cause::Connection);
        } else if held > self.config.stream_bytes_total_max
            && let Some(largest) = self.connections.largest()
        {
            // Whoever holds most makes room, not whoever comes last.
            self.counts.strays.streams += 1;
            self.close(turn, largest, Cause::Connection);
        }
    }

    /// Notes that a connection takes nothing more; one that goes on so is closed.
    pub(super) fn note_full(&mut self, now: u64, stream: StreamId) {
        if let Some(connection) = self.connections.find(stream) {
            connection.full_since.get_or_insert(now);
        }
    }

    /// Notes that a session came by a connection, or that it is over.
    #[cold]
    pub(super) fn use_stream(&mut self, stream: StreamId, begins: bool) {
        if let Some(connection) = self.connections.find(stream) {
            connection.sessions = if begins {
                connection.sessions + 1
            } else {
                connection.sessions.saturating_sub(1)
            };
        }
    }

    /// Takes whole messages off the front of `octets`; how many octets they were, or `None` for a faulty stream.
    fn read<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        stream: StreamId,
        octets: &[u8],
    ) -> Option<usize> {
        let mut at = 0;
        while at < octets.len() {
            let rest = &octets[at..];
            let Some(connection) = self.connections.find(stream) else {
                return Some(octets.len());
            };
            let length = match connection.kind {
                StreamKind::Sip => match connection.sip.step(rest).ok()? {
                    sip::Step::Whole { message, len } => {
                        self.sip_message(turn, &message);
                        len
                    }
                    sip::Step::Ping => {
                        turn.out.stream(stream, b"\r\n");
                        4
                    }
                    sip::Step::Pong => 2,
                    sip::Step::More(_) => break,
                },
                StreamKind::Msrp => match connection.msrp.step(rest).ok()? {
                    msrp::Step::Whole { message, len } => {
                        self.msrp_message(turn, stream, &message);
                        len
                    }
                    msrp::Step::More(_) => break,
                },
            };
            at += length;
            if let Some(connection) = self.connections.find(stream) {
                connection.heard_ns = turn.now;
                connection.has_spoken = true;
            }
        }
        Some(at)
    }

    fn sip_message<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        message: &Message<'_>,
    ) {
        let (now, path) = (turn.now, turn.path);
        if message.status_code().is_none() {
            self.request(now, path, message, turn.host, turn.out);
        } else if !self.response(now, path, message, turn.host, turn.out) {
            self.counts.strays.odd_responses += 1;
        }
    }

    /// There is room on a connection again.
    pub fn stream_drained(
        &mut self,
        now: u64,
        stream: StreamId,
        host: &mut impl Host,
        out: &mut impl Outbox,
    ) {
        let Some(connection) = self.connections.find(stream) else {
            return;
        };
        connection.full_since = None;
        let path = Path::Stream {
            stream,
            peer: connection.peer,
        };
        let turn = &mut Turn {
            now,
            path,
            host,
            out,
        };
        self.pump(turn, stream);
    }

    /// A connection is gone.
    pub fn stream_closed(
        &mut self,
        now: u64,
        stream: StreamId,
        host: &mut impl Host,
        out: &mut impl Outbox,
    ) {
        let peer = SocketAddr::from(([0; 4], 0));
        let turn = &mut Turn {
            now,
            path: Path::Stream { stream, peer },
            host,
            out,
        };
        self.lose(turn, stream, Cause::Connection);
    }

    /// Closes a connection and ends what it carried.
    fn close<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        stream: StreamId,
        cause: Cause,
    ) {
        turn.out.close(stream);
        self.lose(turn, stream, cause);
    }

    /// Forgets a connection. A content on its way fails and its session gets BYE; an idle session stays, and the
    /// device may connect again. Sessions whose SIP came by it find out when they next send.
    fn lose<H: Host, O: Outbox>(
        &mut self,
        turn: &mut Turn<'_, H, O>,
        stream: StreamId,
        cause: Cause,
    ) {
        let Some(connection) = self.connections.leave(stream) else {
            return;
        };
        for handle in connection.bound {
            let Some(number) = self.leg_of(handle) else {
                continue;
            };
            let leg = self.legs.at_mut(number);
            leg.stream = None;
            leg.is_queued = false;
            if self.table.at(handle.slot).state() == State::Streaming {
                self.fail(turn, handle, cause);
                self.hang_up(turn, handle, cause);
            }
        }
    }

    /// Closes connections that hold something and say nothing, that nobody uses, and that take nothing.
    pub(super) fn sweep_streams<H: Host, O: Outbox>(&mut self, turn: &mut Turn<'_, H, O>) {
        if turn.now < self.sweep_due_ns || self.connections.len() == 0 {
            return;
        }
        self.sweep_due_ns = turn.now + SWEEP_NS;
        let silent: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| {
                let silence = turn.now.saturating_sub(connection.heard_ns);
                let waits = !connection.has_spoken || !connection.buffer.is_empty();
                let unused = connection.bound.is_empty() && connection.sessions == 0;
                let unused_ns_max = match connection.kind {
                    StreamKind::Msrp => UNBOUND_NS_MAX,
                    StreamKind::Sip => UNUSED_NS_MAX,
                };
                let full = |since| turn.now.saturating_sub(since) > FULL_NS_MAX;
                waits && silence > SILENCE_NS_MAX
                    || unused && silence > unused_ns_max
                    || connection.full_since.is_some_and(full)
            })
            .map(|(stream, _)| stream)
            .collect();
        for stream in silent {
            self.counts.streams_silent += 1;
            self.close(turn, stream, Cause::Connection);
        }
    }
}
