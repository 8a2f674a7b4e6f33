//! Replies: what sessions send, gathered into trains to the peers they go to.
//!
//! A train of requests from an edge makes a train of replies to it. Each lane gathers datagrams of one
//! length for one peer; a lane departs when it is full, when its place is needed, and at the latest at
//! the end of the turn, so that nothing waits for company. A reply is rendered where it will be sent
//! from; what octets it has is not known here.

use crate::streams::StreamWrites;
use crate::train::{Outbox, TRAIN_BYTES_MAX, Trains};
use sirocco_session::StreamId;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

/// Lanes that may be open at the same time: two lengths to each of 16 edges.
const LANES_MAX: usize = 32;
/// Lanes that wait for a slab: beyond them replies are dropped, and timers repair it.
const CLOSED_MAX: usize = 256;
/// Octets of the longest single reply: a MESSAGE with the longest content that rides in one.
pub const REPLY_BYTES_MAX: usize = TRAIN_BYTES_MAX;

struct Lane {
    peer: SocketAddr,
    segment: usize,
    octets: Vec<u8>,
}

/// All replies that have not left.
pub struct Replies {
    open: Vec<Lane>,
    closed: Vec<Lane>,
    spare: Vec<Lane>,
    segments_max: usize,
    scratch: Vec<u8>,
    addresses: Vec<SocketAddr>,
    /// What goes over TCP instead.
    pub streams: StreamWrites,
    /// Replies dropped because too many waited for slabs.
    pub dropped: u64,
    /// Replies handed over to be sent.
    pub sent: u64,
    /// Their octets.
    pub octets_sent: u64,
}

impl Replies {
    /// Builds the lanes for trains of at most `segments_max` replies.
    #[must_use]
    pub fn new(segments_max: usize) -> Self {
        let lane = || Lane {
            peer: SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)),
            segment: 0,
            octets: Vec::new(),
        };
        Self {
            open: Vec::with_capacity(LANES_MAX),
            closed: Vec::with_capacity(CLOSED_MAX),
            spare: std::iter::repeat_with(lane)
                .take(LANES_MAX + CLOSED_MAX)
                .collect(),
            segments_max,
            scratch: vec![0; REPLY_BYTES_MAX],
            addresses: Vec::with_capacity(segments_max),
            streams: StreamWrites::default(),
            dropped: 0,
            sent: 0,
            octets_sent: 0,
        }
    }

    /// Adds one reply to `peer`; `write` gets room for [`REPLY_BYTES_MAX`] octets and returns how many
    /// it wrote, 0 for none. `false` if there is no room now.
    #[inline]
    pub fn add(&mut self, peer: SocketAddr, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.closed.len() >= CLOSED_MAX {
            self.dropped += 1;
            return false;
        }
        let length = write(&mut self.scratch).min(REPLY_BYTES_MAX);
        if length == 0 {
            return true;
        }
        let found = (self.open.iter()).position(|lane| lane.segment == length && lane.peer == peer);
        let place = found.unwrap_or_else(|| self.open_lane(peer, length));
        let lane = &mut self.open[place];
        lane.octets.extend_from_slice(&self.scratch[..length]);
        let count = lane.octets.len() / length;
        if count >= self.segments_max || lane.octets.len() + length > TRAIN_BYTES_MAX {
            self.close_lane(place);
        }
        true
    }

    fn open_lane(&mut self, peer: SocketAddr, segment: usize) -> usize {
        if self.open.len() >= LANES_MAX {
            self.close_lane(0);
        }
        let mut lane = self
            .spare
            .pop()
            .expect("as many lanes as may be open or closed");
        (lane.peer, lane.segment) = (peer, segment);
        lane.octets.clear();
        self.open.push(lane);
        self.open.len() - 1
    }

    fn close_lane(&mut self, place: usize) {
        // The order of lanes is that of their opening: the oldest is closed first.
        let lane = self.open.remove(place);
        self.closed.push(lane);
    }

    /// Whether replies wait for slabs.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.closed.is_empty() || !self.open.is_empty()
    }

    /// Sends the full lanes, as long as there are slabs.
    #[inline]
    pub fn depart_full<O: Outbox>(&mut self, trains: &mut Trains, outbox: &mut O) {
        while !self.closed.is_empty() {
            let Some(slab) = outbox.take_slab() else {
                return;
            };
            trains.note_reply(O::number(&slab));
            let lane = self.closed.remove(0);
            outbox.octets(&slab)[..lane.octets.len()].copy_from_slice(&lane.octets);
            self.sent += (lane.octets.len() / lane.segment) as u64;
            self.octets_sent += lane.octets.len() as u64;
            outbox.send_replies(slab, lane.peer, lane.octets.len(), lane.segment);
            self.spare.push(lane);
        }
    }

    /// Sends everything, as long as there are slabs; lone replies of one length share a slab.
    pub fn depart<O: Outbox>(&mut self, trains: &mut Trains, outbox: &mut O) {
        self.depart_full(trains, outbox);
        while let Some(segment) = self.lone_segment() {
            let Some(slab) = outbox.take_slab() else {
                return;
            };
            trains.note_reply(O::number(&slab));
            self.gather_lone(segment, outbox.octets(&slab));
            outbox.send_replies_each(slab, &self.addresses, segment);
        }
        while !self.open.is_empty() && self.closed.len() < CLOSED_MAX {
            self.close_lane(0);
        }
        self.depart_full(trains, outbox);
    }

    /// The length of a lone reply, if another lane has a lone one of the same length.
    fn lone_segment(&self) -> Option<usize> {
        let is_lone = |lane: &&Lane| lane.octets.len() == lane.segment;
        let mut lone = self
            .open
            .iter()
            .enumerate()
            .filter(|(_, lane)| is_lone(lane));
        lone.find_map(|(place, lane)| {
            let mut others = self.open[place + 1..].iter().filter(is_lone);
            others
                .any(|other| other.segment == lane.segment)
                .then_some(lane.segment)
        })
    }

    fn gather_lone(&mut self, segment: usize, octets: &mut [u8]) {
        self.addresses.clear();
        let mut places = octets.chunks_exact_mut(segment);
        let (addresses, spare, segments_max) =
            (&mut self.addresses, &mut self.spare, self.segments_max);
        let mut kept = 0;
        for place in 0..self.open.len() {
            let lane = &self.open[place];
            let is_lone = lane.segment == segment && lane.octets.len() == segment;
            let room = (is_lone && addresses.len() < segments_max)
                .then(|| places.next())
                .flatten();
            match room {
                Some(room) => {
                    room.copy_from_slice(&lane.octets);
                    addresses.push(lane.peer);
                }
                None => {
                    self.open.swap(kept, place);
                    kept += 1;
                }
            }
        }
        self.sent += addresses.len() as u64;
        self.octets_sent += (addresses.len() * segment) as u64;
        spare.extend(self.open.drain(kept..));
    }
}

impl sirocco_session::Outbox for Replies {
    #[inline]
    fn datagram(&mut self, peer: SocketAddr, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        self.add(peer, write)
    }

    fn stream(&mut self, stream: StreamId, octets: &[u8]) -> bool {
        self.streams.write(stream, octets)
    }

    fn close(&mut self, stream: StreamId) {
        self.streams.close(stream);
    }
}
