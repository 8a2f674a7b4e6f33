//! Sessions in the shard: requests and their answers go to the sessions, whose host is the reception.

use super::Shard;
use crate::reception::Desk;
use crate::replies::Replies;
use crate::returned::ReturnedCounts;
use crate::train::Outbox;
use hdrhistogram::Histogram;
use sirocco_index::{Device, Identity};
use sirocco_session::{Path, SessionCounts, StreamId, StreamKind};
use sirocco_wire::sip::message::Message;
use std::net::SocketAddr;

impl Shard {
    /// Takes an ACK or an answer of a session that is like an earlier one, without parsing it.
    #[inline]
    pub(super) fn is_familiar(&mut self, now: u64, datagram: &[u8]) -> bool {
        let peer = self.peer;
        let (sessions, mut desk, replies) = self.counter();
        sessions.familiar(now, peer, datagram, &mut desk, replies)
    }

    /// Serves a request that came in a datagram from the peer that is being read.
    #[inline]
    pub(super) fn serve(&mut self, now: u64, message: &Message<'_>) {
        let path = Path::Datagram { peer: self.peer };
        let (sessions, mut desk, replies) = self.counter();
        sessions.request(now, path, message, &mut desk, replies);
    }

    /// Takes an answer to a request of a session; `false` if it is not one.
    #[inline]
    pub(super) fn answer_session(&mut self, now: u64, message: &Message<'_>) -> bool {
        let path = Path::Datagram { peer: self.peer };
        let (sessions, mut desk, replies) = self.counter();
        sessions.response(now, path, message, &mut desk, replies)
    }

    /// Fires the timers of sessions.
    pub(super) fn expire_sessions(&mut self, now: u64) {
        self.reception.sweep(now);
        let (sessions, mut desk, replies) = self.counter();
        sessions.expire(now, &mut desk, replies);
    }

    /// Pushes an order's content to a device that has a session open; `false` if it has none that could
    /// take it now.
    #[cold]
    pub(super) fn push_directly(
        &mut self,
        now: u64,
        order: u16,
        identity: Identity,
        device: &Device,
    ) -> bool {
        let text = self.index.device_id_text(device);
        let content = self.intake.at(order).stock.content;
        let connection = self.reception.connection(identity, (device, text), content);
        let Some((session, grant)) = connection else {
            return false;
        };
        let (sessions, mut desk, replies) = self.counter();
        let is_pushed = sessions.push(now, session, grant, &mut desk, replies);
        if is_pushed {
            self.reception.pushes.direct();
            self.reception.contents.begin_push(content);
        }
        is_pushed
    }

    /// Sessions that have a content to push and have not done it: each of them is work that waits.
    #[inline]
    pub(super) fn pushes_under_way(&self) -> u64 {
        self.sessions.counts().pushing
    }

    /// Sends BYE in every session, at once or when its push has ended, and takes no new one.
    pub fn hang_up(&mut self, now: u64) {
        let (sessions, mut desk, replies) = self.counter();
        sessions.end_all(now, &mut desk, replies);
    }

    /// A TCP connection was accepted.
    pub fn stream_opened(
        &mut self,
        now: u64,
        stream: StreamId,
        kind: StreamKind,
        peer: SocketAddr,
    ) {
        if !self.sessions.stream_opened(now, stream, kind, peer) {
            self.replies.streams.close(stream);
        }
    }

    /// Octets came over a TCP connection.
    pub fn stream_octets(&mut self, now: u64, stream: StreamId, octets: &[u8]) {
        let (sessions, mut desk, replies) = self.counter();
        sessions.stream_octets(now, stream, octets, &mut desk, replies);
    }

    /// A TCP connection that was full takes octets again.
    pub fn stream_drained(&mut self, now: u64, stream: StreamId) {
        let (sessions, mut desk, replies) = self.counter();
        sessions.stream_drained(now, stream, &mut desk, replies);
    }

    /// A TCP connection is gone.
    pub fn stream_closed(&mut self, now: u64, stream: StreamId) {
        let (sessions, mut desk, replies) = self.counter();
        sessions.stream_closed(now, stream, &mut desk, replies);
    }

    /// What sessions have written and not yet sent.
    pub fn replies(&mut self) -> &mut Replies {
        &mut self.replies
    }

    /// Sends full trains of replies; the rest leaves with [`Shard::depart`].
    #[inline]
    pub fn reply<O: Outbox>(&mut self, outbox: &mut O) {
        self.replies.depart_full(&mut self.trains, outbox);
    }

    /// What devices returned since the start.
    #[must_use]
    pub fn returned(&self) -> ReturnedCounts {
        self.reception.returned
    }

    /// From the due time of a SIR to the INVITE of its first wanted device, in microseconds.
    #[must_use]
    pub fn time_to_session_us(&self) -> &Histogram<u64> {
        &self.reception.time_to_session_us
    }

    /// Replies dropped because too many waited to leave.
    #[must_use]
    pub fn replies_dropped(&self) -> u64 {
        self.replies.dropped
    }

    /// Counts of all sessions since the start.
    #[must_use]
    pub fn session_counts(&self) -> SessionCounts {
        *self.sessions.counts()
    }

    /// Bytes of all that is kept for sessions.
    #[must_use]
    pub fn session_bytes(&self) -> usize {
        self.sessions.memory_bytes() + self.reception.memory_bytes()
    }

    /// The sessions, their host and their outbox, side by side.
    #[inline]
    fn counter(&mut self) -> (&mut sirocco_session::Sessions, Desk<'_>, &mut Replies) {
        let desk = Desk {
            index: &mut self.index,
            reception: &mut self.reception,
            kept: &self.kept,
        };
        (&mut self.sessions, desk, &mut self.replies)
    }
}
