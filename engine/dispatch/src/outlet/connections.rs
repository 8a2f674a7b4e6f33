//! TCP between the port and the shard: connections of SIP and MSRP, read and written once a turn.
//!
//! The port copies what it is given into queues of its own; what a connection has no room for stays with
//! the shard's writes. Nothing is parsed here.

use super::{Kind, Outlet};
use crate::shard::Shard;
use crate::streams::{Taken, Told};
use sirocco_ring::{Port, StreamEvent, StreamFull};
use sirocco_session::{StreamId, StreamKind};

/// Stream events handled in one turn.
const EVENTS_PER_TURN_MAX: usize = 64;
/// The listener of SIP; the one behind it, if there is one, is of MSRP.
pub const SIP_LISTENER: u16 = 0;

impl Outlet {
    /// Hands the shard what came over connections, and the port what goes back; returns the events heard.
    pub(super) fn serve_connections(&mut self, now: u64, shard: &mut Shard) -> usize {
        let Kind::Wire { port, .. } = &mut self.kind else {
            return 0;
        };
        let heard = port.streams(EVENTS_PER_TURN_MAX, |event| hear(now, shard, &event));
        // What was written to a connection that its peer has closed since still leaves.
        hand_over(port, shard);
        for stream in shard.replies().streams.take_drained() {
            let send = |octets: &[u8]| offer(port, stream, octets);
            if shard.replies().streams.drained(stream, send) {
                shard.stream_drained(now, stream);
            }
        }
        while let Some(stream) = shard.replies().streams.take_gone() {
            shard.stream_closed(now, stream);
        }
        hand_over(port, shard);
        heard
    }
}

fn offer(port: &mut Port, stream: StreamId, octets: &[u8]) -> Taken {
    match port.send_stream(sirocco_ring::StreamId::from_bits(stream.0), octets) {
        Ok(()) => Taken::All,
        Err(StreamFull::Closed) => Taken::Gone,
        Err(_) => Taken::Full,
    }
}

fn hear(now: u64, shard: &mut Shard, event: &StreamEvent<'_>) {
    let id = |stream: &sirocco_ring::StreamId| StreamId(stream.to_bits());
    match event {
        StreamEvent::Accepted {
            stream,
            listener,
            peer,
        } => {
            let kind = if *listener == SIP_LISTENER {
                StreamKind::Sip
            } else {
                StreamKind::Msrp
            };
            shard.stream_opened(now, id(stream), kind, *peer);
        }
        StreamEvent::Received { stream, bytes } => shard.stream_octets(now, id(stream), bytes),
        StreamEvent::Drained { stream } => shard.replies().streams.note_drained(id(stream)),
        StreamEvent::Closed { stream, .. } | StreamEvent::Refused { stream, .. } => {
            shard.replies().streams.note_gone(id(stream));
        }
        // This side connects to nobody.
        StreamEvent::Connected { .. } => {}
    }
}

fn hand_over(port: &mut Port, shard: &mut Shard) {
    let writes = &mut shard.replies().streams;
    if writes.is_empty() {
        return;
    }
    writes.hand_over(|stream, told| match told {
        Told::Octets(octets) => offer(port, stream, octets),
        Told::Close => {
            port.close_stream(sirocco_ring::StreamId::from_bits(stream.0));
            Taken::All
        }
    });
}
