//! The connections of a worker: what has come of a message that is not complete, and whose turn it is to send.
//!
//! A connection costs a few words; its buffer exists only while a message is incomplete, and is bounded. No I/O.

use crate::host::{StreamId, StreamKind};
use crate::wheel::Handle;
use sirocco_wire::{msrp, sip};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// No address has more than one in so many of all connections,
const PEER_SHARE: usize = 4;
/// but so many in any case.
const PEER_MIN: usize = 16;

/// One connection.
pub struct Connection {
    /// What is spoken.
    pub kind: StreamKind,
    /// The far end.
    pub peer: SocketAddr,
    /// The begin of a message that is not complete.
    pub buffer: Vec<u8>,
    /// Where the search for its end stands.
    pub sip: sip::stream::Framer,
    /// The same for MSRP.
    pub msrp: msrp::Framer,
    /// Sessions whose MSRP it carries.
    pub bound: Vec<Handle>,
    /// Sessions that have chunks to send, in turn.
    pub ready: VecDeque<Handle>,
    /// Since when its queue is full; `stream_drained` ends that.
    pub full_since: Option<u64>,
    /// Sessions whose SIP came by it.
    pub sessions: u32,
    /// When a whole message came last, or the connection was opened.
    pub heard_ns: u64,
    /// Whether a whole message has ever come.
    pub has_spoken: bool,
}

/// All connections of a worker.
pub struct Connections {
    open: HashMap<StreamId, Connection>,
    /// Connections of each address.
    peers: HashMap<IpAddr, usize>,
    streams_max: usize,
    peer_max: usize,
    bytes_max: usize,
    /// Octets in all buffers.
    buffered: usize,
}

impl Connections {
    /// Builds the place for `streams_max` connections whose messages have `bytes_max` octets at most.
    pub fn new(streams_max: usize, bytes_max: usize) -> Self {
        Self {
            open: HashMap::new(),
            peers: HashMap::new(),
            streams_max,
            peer_max: (streams_max / PEER_SHARE).max(PEER_MIN),
            bytes_max,
            buffered: 0,
        }
    }

    /// Takes a new connection; `false`: there are too many, or too many of its address.
    pub fn enter(
        &mut self,
        now: u64,
        stream: StreamId,
        kind: StreamKind,
        peer: SocketAddr,
    ) -> bool {
        let ip = peer.ip().to_canonical();
        let of_peer = self.peers.get(&ip).copied().unwrap_or(0);
        if self.open.len() >= self.streams_max || of_peer >= self.peer_max {
            return false;
        }
        self.peers.insert(ip, of_peer + 1);
        let connection = Connection {
            kind,
            peer,
            buffer: Vec::new(),
            sip: sip::stream::Framer::new(self.bytes_max),
            msrp: msrp::Framer::new(self.bytes_max),
            bound: Vec::new(),
            ready: VecDeque::new(),
            full_since: None,
            sessions: 0,
            heard_ns: now,
            has_spoken: false,
        };
        self.open.insert(stream, connection);
        true
    }

    /// An open connection.
    pub fn find(&mut self, stream: StreamId) -> Option<&mut Connection> {
        self.open.get_mut(&stream)
    }

    /// Takes the buffer out of a connection, to be read.
    pub fn take_buffer(&mut self, stream: StreamId) -> Vec<u8> {
        let connection = self.open.get_mut(&stream);
        let buffer = connection.map_or_else(Vec::new, |open| std::mem::take(&mut open.buffer));
        self.buffered -= buffer.len();
        buffer
    }

    /// Puts what is left into a connection's buffer; octets that all buffers hold now.
    pub fn put_buffer(&mut self, stream: StreamId, mut buffer: Vec<u8>) -> usize {
        buffer.shrink_to(2 * buffer.len());
        if let Some(connection) = self.open.get_mut(&stream) {
            self.buffered += buffer.len();
            connection.buffer = buffer;
        }
        self.buffered
    }

    /// Forgets a connection and returns what it was.
    pub fn leave(&mut self, stream: StreamId) -> Option<Connection> {
        let connection = self.open.remove(&stream)?;
        self.buffered -= connection.buffer.len();
        let ip = connection.peer.ip().to_canonical();
        match self.peers.get_mut(&ip) {
            Some(held) if *held > 1 => *held -= 1,
            _ => drop(self.peers.remove(&ip)),
        }
        Some(connection)
    }

    /// The connection whose buffer holds most, of equal ones that which said nothing for longest.
    pub fn largest(&self) -> Option<StreamId> {
        let largest = self.open.iter().max_by_key(|(stream, open)| {
            let age = std::cmp::Reverse((open.heard_ns, stream.0));
            (open.buffer.len(), age)
        });
        largest.map(|(stream, _)| *stream)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (StreamId, &Connection)> {
        self.open
            .iter()
            .map(|(stream, connection)| (*stream, connection))
    }

    /// Octets of tables and buffers.
    pub fn memory_bytes(&self) -> usize {
        let entry = size_of::<(StreamId, Connection)>();
        let lists = self.open.values().map(|connection| {
            connection.buffer.capacity()
                + (connection.bound.capacity() + connection.ready.capacity()) * size_of::<Handle>()
        });
        let peers = self.peers.capacity() * size_of::<(IpAddr, usize)>();
        self.open.capacity() * entry + peers + lists.sum::<usize>()
    }
}
