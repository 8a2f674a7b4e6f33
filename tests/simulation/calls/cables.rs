//! Simulated TCP connections that carry MSRP: octets in order, queues that fill, readers that are slow or
//! stopped reading, resets. Both ends of each are here; what the octets mean to a device is the world's.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sirocco_dispatch::streams::Taken;
use sirocco_session::StreamId;
use sirocco_wire::msrp::{Framer, Step};

/// Octets that a connection takes before it is full.
const QUEUE_BYTES_MAX: usize = 48 << 10;
/// The longest message that a device takes.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// How the device's end reads.
#[derive(Clone, Copy, Debug)]
pub struct Reader {
    /// Octets at once; none: it never reads.
    pub bytes: usize,
    /// Time between two reads, in nanoseconds.
    pub every_ns: u64,
}

/// One connection.
pub struct Cable {
    /// The far end as the engine sees it.
    pub peer: SocketAddr,
    /// Calls that it carries.
    pub calls: Vec<usize>,
    /// How its device reads.
    pub reader: Reader,
    /// Octets from the engine after which the device resets it.
    pub reset_after: Option<usize>,
    /// When the octet that arrives last at the engine does.
    pub arrives_ns: u64,
    /// Whether a read is to come.
    pub is_reading: bool,
    is_full: bool,
    queue: Vec<u8>,
    inbox: Vec<u8>,
    framer: Framer,
}

/// All of them, by number.
#[derive(Default)]
pub struct Cables {
    open: BTreeMap<u64, Cable>,
    last: u64,
}

impl Cables {
    /// Connects a device.
    pub fn connect(
        &mut self,
        peer: SocketAddr,
        reader: Reader,
        reset_after: Option<usize>,
    ) -> StreamId {
        self.last += 1;
        let cable = Cable {
            peer,
            calls: Vec::new(),
            reader,
            reset_after,
            arrives_ns: 0,
            is_reading: false,
            is_full: false,
            queue: Vec::new(),
            inbox: Vec::new(),
            framer: Framer::new(MESSAGE_BYTES_MAX),
        };
        self.open.insert(self.last, cable);
        StreamId(self.last)
    }

    /// An open connection.
    pub fn find(&mut self, stream: StreamId) -> Option<&mut Cable> {
        self.open.get_mut(&stream.0)
    }

    /// An open connection of an edge.
    pub fn of_peer(&self, peer: SocketAddr) -> Option<StreamId> {
        let mut cables = self.open.iter();
        let found = cables.find(|(_, cable)| cable.peer == peer)?;
        Some(StreamId(*found.0))
    }

    /// The engine sends octets, all or none.
    pub fn send(&mut self, stream: StreamId, octets: &[u8]) -> Taken {
        let Some(cable) = self.find(stream) else {
            return Taken::Gone;
        };
        if cable.queue.len() + octets.len() > QUEUE_BYTES_MAX {
            cable.is_full = true;
            return Taken::Full;
        }
        cable.queue.extend_from_slice(octets);
        Taken::All
    }

    /// Ends a connection; the calls that it carried.
    pub fn close(&mut self, stream: StreamId) -> Vec<usize> {
        self.open
            .remove(&stream.0)
            .map_or_else(Vec::new, |cable| cable.calls)
    }

    /// Connections that have octets to read and no read to come.
    pub fn unread(&mut self) -> impl Iterator<Item = (StreamId, &mut Cable)> {
        let waits = |cable: &&mut Cable| {
            !cable.is_reading && cable.reader.bytes > 0 && !cable.queue.is_empty()
        };
        let open = self
            .open
            .iter_mut()
            .map(|(number, cable)| (StreamId(*number), cable));
        open.filter(move |(_, cable)| waits(cable))
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }
}

impl Cable {
    /// The device reads; whether the connection has drained after it was full.
    pub fn read(&mut self) -> bool {
        let count = self.queue.len().min(self.reader.bytes);
        self.inbox.extend(self.queue.drain(..count));
        self.is_reading = false;
        if let Some(left) = &mut self.reset_after {
            *left = left.saturating_sub(count);
        }
        let has_drained = self.is_full && self.queue.len() < QUEUE_BYTES_MAX / 2;
        self.is_full &= !has_drained;
        has_drained
    }

    /// Hands each whole message that was read to `hear`.
    pub fn messages(&mut self, mut hear: impl FnMut(&sirocco_wire::msrp::Message<'_>)) {
        let mut at = 0;
        while at < self.inbox.len() {
            match self.framer.step(&self.inbox[at..]) {
                Ok(Step::Whole { message, len }) => {
                    hear(&message);
                    at += len;
                }
                Ok(Step::More(_)) => break,
                Err(fault) => panic!("the engine sent no MSRP: {fault}"),
            }
        }
        self.inbox.drain(..at);
    }
}
