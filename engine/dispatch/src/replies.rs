//! Replies: what sessions send, gathered into trains to the peers they go to.
//!
//! A train of requests from an edge makes a train of replies to it. Each lane gathers datagrams of one
//! length for one peer; a lane departs when it is full, when its place is needed, and at the latest at
//! the end of the turn, so that nothing waits for company. Lone replies to many peers share a row, and so
//! a slab. A reply is rendered where it will be sent from; what octets it has is not known here.

use crate::streams::StreamWrites;
use crate::train::{Outbox, TRAIN_BYTES_MAX, Trains};
use sirocco_session::StreamId;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Lanes that may be open at the same time: two lengths to each of 16 edges.
const LANES_MAX: usize = 32;
/// Rows that may be open at the same time: one for each kind of reply, and some for odd lengths.
const ROWS_MAX: usize = 8;
/// Lanes and rows that wait for a slab: beyond them replies are dropped, and timers repair it.
const CLOSED_MAX: usize = 256;
/// Octets of the longest single reply: a MESSAGE with the longest content that rides in one.
pub const REPLY_BYTES_MAX: usize = TRAIN_BYTES_MAX;

/// Replies of one length: a lane goes to one peer, a row has a peer for each reply.
#[derive(Default)]
struct Batch {
    peers: Vec<SocketAddr>,
    segment: usize,
    octets: Vec<u8>,
}

impl Batch {
    fn is_lone(&self) -> bool {
        self.octets.len() == self.segment
    }

    fn is_full(&self, segments_max: usize) -> bool {
        let longer = self.octets.len() + self.segment;
        longer > TRAIN_BYTES_MAX || longer > segments_max * self.segment
    }
}

/// All replies that have not left.
pub struct Replies {
    lanes: Vec<Batch>,
    rows: Vec<Batch>,
    closed: VecDeque<Batch>,
    spare: Vec<Batch>,
    segments_max: usize,
    scratch: Vec<u8>,
    /// What goes over TCP instead.
    pub streams: StreamWrites,
    /// Replies dropped because too many waited for slabs.
    pub dropped: u64,
}

impl Replies {
    /// Builds the lanes for trains of at most `segments_max` replies.
    #[must_use]
    pub fn new(segments_max: usize) -> Self {
        Self {
            lanes: Vec::with_capacity(LANES_MAX),
            rows: Vec::with_capacity(ROWS_MAX),
            closed: VecDeque::with_capacity(CLOSED_MAX + LANES_MAX + ROWS_MAX),
            spare: Vec::with_capacity(CLOSED_MAX + LANES_MAX + ROWS_MAX),
            segments_max,
            scratch: vec![0; REPLY_BYTES_MAX],
            streams: StreamWrites::default(),
            dropped: 0,
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
        let same = |lane: &Batch| lane.segment == length && lane.peers[0] == peer;
        let place = self.lanes.iter().rposition(same);
        let place = place.unwrap_or_else(|| self.open_lane(peer, length));
        let lane = &mut self.lanes[place];
        lane.octets.extend_from_slice(&self.scratch[..length]);
        if lane.is_full(self.segments_max) {
            let full = self.lanes.remove(place);
            self.closed.push_back(full);
        }
        true
    }

    fn open_lane(&mut self, peer: SocketAddr, segment: usize) -> usize {
        if self.lanes.len() >= LANES_MAX {
            // The oldest stands first.
            let oldest = self.lanes.remove(0);
            self.leave(oldest);
        }
        let mut lane = self.spare.pop().unwrap_or_default();
        lane.segment = segment;
        lane.peers.push(peer);
        self.lanes.push(lane);
        self.lanes.len() - 1
    }

    /// Closes a lane, or puts its lone reply into a row.
    fn leave(&mut self, lane: Batch) {
        if !lane.is_lone() {
            return self.closed.push_back(lane);
        }
        let place = self.rows.iter().position(|row| row.segment == lane.segment);
        let Some(place) = place else {
            if self.rows.len() >= ROWS_MAX {
                let oldest = self.rows.remove(0);
                self.closed.push_back(oldest);
            }
            return self.rows.push(lane);
        };
        let row = &mut self.rows[place];
        row.octets.extend_from_slice(&lane.octets);
        row.peers.push(lane.peers[0]);
        if row.is_full(self.segments_max) {
            let full = self.rows.remove(place);
            self.closed.push_back(full);
        }
        self.recycle(lane);
    }

    fn recycle(&mut self, mut batch: Batch) {
        batch.octets.clear();
        batch.peers.clear();
        self.spare.push(batch);
    }

    /// Whether replies wait for slabs.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !(self.closed.is_empty() && self.lanes.is_empty() && self.rows.is_empty())
    }

    /// Sends what is full, as long as there are slabs.
    #[inline]
    pub fn depart_full<O: Outbox>(&mut self, trains: &mut Trains, outbox: &mut O) {
        while !self.closed.is_empty() {
            let Some(slab) = outbox.take_slab() else {
                return;
            };
            let Some(batch) = self.closed.pop_front() else {
                return;
            };
            trains.note_reply(O::number(&slab));
            let length = batch.octets.len();
            outbox.octets(&slab)[..length].copy_from_slice(&batch.octets);
            match batch.peers[..] {
                [peer] => outbox.send_replies(slab, peer, length, batch.segment),
                _ => outbox.send_replies_each(slab, &batch.peers, batch.segment),
            }
            self.recycle(batch);
        }
    }

    /// Sends everything, as long as there are slabs.
    pub fn depart<O: Outbox>(&mut self, trains: &mut Trains, outbox: &mut O) {
        self.depart_full(trains, outbox);
        while self.closed.len() < CLOSED_MAX {
            let Some(lane) = self.lanes.pop() else {
                break;
            };
            self.leave(lane);
        }
        if self.lanes.is_empty() {
            self.closed.extend(self.rows.drain(..));
        }
        self.depart_full(trains, outbox);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Yard;
    use crate::train::Departure;

    fn trains() -> Trains {
        let departure = Departure {
            idle_ns: 0,
            busy_ns: 0,
        };
        Trains::new((4, 1), 64, departure)
    }

    fn peer(number: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 10_000 + number as u16))
    }

    fn add(replies: &mut Replies, to: usize, octet: u8, length: usize) -> bool {
        replies.add(peer(to), |out| {
            out[..length].fill(octet);
            length
        })
    }

    #[test]
    fn a_train_to_one_peer_leaves_when_it_is_full_and_the_rest_at_the_end_of_the_turn() {
        let (mut replies, mut trains, mut yard) = (Replies::new(4), trains(), Yard::new(4));
        (0..6).for_each(|number| assert!(add(&mut replies, 0, number, 100)));
        replies.depart_full(&mut trains, &mut yard);
        let full = yard.take_departed();
        assert_eq!(full.len(), 1);
        let octets: Vec<_> = full[0].1.iter().map(|(_, reply)| reply[0]).collect();
        assert_eq!(octets, [0, 1, 2, 3]);
        replies.depart(&mut trains, &mut yard);
        assert_eq!(yard.take_departed()[0].1.len(), 2);
        assert!(!replies.is_waiting());
    }

    #[test]
    fn lone_replies_to_many_peers_share_slabs_and_each_reaches_its_own() {
        let (mut replies, mut trains, mut yard) = (Replies::new(64), trains(), Yard::new(4));
        for number in 0..100 {
            assert!(add(&mut replies, number, number as u8, 100 + number % 2));
        }
        replies.depart(&mut trains, &mut yard);
        let departed = yard.take_departed();
        assert!(departed.len() <= 3, "{}", departed.len());
        let mut all: Vec<_> = departed
            .into_iter()
            .flat_map(|(_, replies)| replies)
            .collect();
        all.sort_by_key(|(to, _)| to.port());
        assert_eq!(all.len(), 100);
        for (number, (to, reply)) in all.iter().enumerate() {
            assert_eq!((*to, reply.len()), (peer(number), 100 + number % 2));
            assert!(reply.iter().all(|octet| *octet == number as u8));
        }
    }

    #[test]
    fn without_slabs_replies_wait_and_beyond_a_bound_they_are_dropped() {
        let (mut replies, mut trains, mut yard) = (Replies::new(1), trains(), Yard::new(0));
        let taken = (0..1_000).filter(|_| add(&mut replies, 0, 1, 50)).count();
        assert_eq!(
            (taken, replies.dropped),
            (CLOSED_MAX, 1_000 - CLOSED_MAX as u64)
        );
        replies.depart(&mut trains, &mut yard);
        assert!(replies.is_waiting());
        let mut yard = Yard::new(CLOSED_MAX);
        let mut trains = Trains::new(
            (CLOSED_MAX, 1),
            64,
            Departure {
                idle_ns: 0,
                busy_ns: 0,
            },
        );
        replies.depart(&mut trains, &mut yard);
        assert_eq!(yard.take_departed().len(), CLOSED_MAX);
        assert!(!replies.is_waiting());
    }
}
