//! TCP streams as the caller of a port sees them: listeners, connects, queues with a bound, events.
//! Deliberately no timeouts of idle streams and no reading of octets: both are the caller's.

use std::net::SocketAddr;

use super::streams::Streams;
use super::{Driver, Port, Wait};
use crate::listener::connecting;
use crate::stream::{StreamCounters, StreamEvent, StreamFull, StreamId};

/// The counts of a port without streams.
static NO_STREAMS: StreamCounters = StreamCounters {
    accepted: 0,
    connected: 0,
    refused: 0,
    connects_full: 0,
    closed: 0,
    resets: 0,
    timeouts: 0,
    sends: 0,
    partial_sends: 0,
    bytes_sent: 0,
    bytes_received: 0,
    bytes_discarded: 0,
    stream_full: 0,
    port_full: 0,
    accepts_stopped: 0,
    accepts_starved: 0,
    accept_errors: 0,
    enobufs: 0,
};

impl Port {
    /// The address that listener `listener` is bound to, with the port that the kernel chose.
    pub fn listener_address(&self, listener: u16) -> SocketAddr {
        self.listeners[usize::from(listener)].local()
    }

    /// Begins a connection; `Connected` or `Refused` tells how it went. Octets may be queued at once.
    /// None when `streams_max` streams are open, or the port has none; counted.
    pub fn connect(&mut self, target: SocketAddr, source: Option<SocketAddr>) -> Option<StreamId> {
        let streams = self.store.streams.as_deref_mut()?;
        if streams.free_count() == 0 {
            streams.counters.connects_full += 1;
            return None;
        }
        let flags = match &*self.driver {
            Driver::Uring(_) => 0,
            Driver::Mmsg(_) => libc::SOCK_NONBLOCK,
        };
        streams.syscalls += 2 + 2 * u64::from(source.is_some());
        streams.connect(connecting(target, source, flags), target)
    }

    /// Queues octets, all or none; they leave with the next turns, in order. After a refusal other
    /// than `Closed`, `Drained` tells when there is room.
    #[inline]
    pub fn send_stream(&mut self, stream: StreamId, octets: &[u8]) -> Result<(), StreamFull> {
        match self.store.streams.as_deref_mut() {
            Some(streams) => streams.send(stream, octets),
            None => Err(StreamFull::Closed),
        }
    }

    /// Has a stream read by portions, each to be permitted first: what is not read stays with the kernel,
    /// whose window closes. To be called before the turn after `connect`; a receive that is under way
    /// goes on.
    pub fn meter_stream(&mut self, stream: StreamId) {
        if let Some(streams) = self.store.streams.as_deref_mut() {
            streams.meter(stream);
        }
    }

    /// Permits one portion of a metered stream: one `Received` of at most `STREAM_BUFFER_BYTES`. Permits
    /// do not add up. The peer's end is noticed with a portion, too.
    pub fn permit_stream(&mut self, stream: StreamId) {
        if let Some(streams) = self.store.streams.as_deref_mut() {
            streams.permit(stream);
        }
    }

    /// Ends a stream once what is queued has left; `Closed` tells when it is gone, after
    /// `CLOSE_MS_MAX` at the latest. What comes meanwhile is dropped.
    pub fn close_stream(&mut self, stream: StreamId) {
        if let Some(streams) = self.store.streams.as_deref_mut() {
            streams.close(stream);
        }
    }

    /// Ends a stream at once: what is queued is dropped, the peer sees a reset.
    pub fn reset_stream(&mut self, stream: StreamId) {
        if let Some(streams) = self.store.streams.as_deref_mut() {
            streams.reset(stream);
        }
    }

    /// Streams that are open, closing, or whose end was not told yet.
    pub fn stream_count(&self) -> usize {
        let streams = self.store.streams.as_deref();
        streams.map_or(0, Streams::open_count)
    }

    /// The peer of a stream that is not gone.
    pub fn stream_peer(&self, stream: StreamId) -> Option<SocketAddr> {
        self.store.streams.as_deref()?.peer(stream)
    }

    /// Counts of streams since the port opened.
    pub fn stream_counters(&self) -> &StreamCounters {
        let streams = self.store.streams.as_deref();
        streams.map_or(&NO_STREAMS, |streams| &streams.counters)
    }

    /// Tells up to `budget` events of streams in the order in which they happened; returns how many.
    #[inline]
    pub fn streams<F: FnMut(StreamEvent<'_>)>(&mut self, budget: usize, mut f: F) -> usize {
        let Some(streams) = self.store.streams.as_deref_mut() else {
            return 0;
        };
        let mut told = 0;
        while told < budget {
            let Some(freed) = streams.tell(&mut f) else {
                break;
            };
            told += 1;
            let Some(buffer) = freed else { continue };
            match &mut *self.driver {
                Driver::Uring(uring) => uring.give_back_stream(streams, buffer),
                Driver::Mmsg(mmsg) => mmsg.give_back_stream(buffer),
            }
        }
        if told > 0
            && let Driver::Uring(uring) = &mut *self.driver
        {
            uring.publish_stream_buffers();
        }
        told
    }
}

/// Closes what is due, and cuts a wait to what streams allow.
pub(super) fn begin_turn(streams: &mut Streams, wait: Wait) -> Wait {
    let limit = streams.begin_turn();
    match (wait, limit) {
        (Wait::Until(_), _) if streams.has_events() => Wait::No,
        (Wait::Until(time), Some(limit)) => Wait::Until(time.min(limit)),
        (wait, _) => wait,
    }
}
