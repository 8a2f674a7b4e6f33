//! Stream writes: what sessions say over TCP, until the port has taken it.
//!
//! The port is being read while sessions write, so their octets wait here until the end of that call.
//! What a connection has no room for is held back for it, and it counts as full until it drains: a slow
//! reader holds up itself alone. It knows no socket; the outlet empties it.

use sirocco_session::StreamId;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;

/// Octets that may wait here within one turn, all connections together.
const STAGED_BYTES_MAX: usize = 8 << 20;
/// The same for one connection, and so the most that is ever held back for it.
const STREAM_BYTES_MAX: usize = 256 << 10;
/// Octets that go to the port at once: all or none, so that they have to be far fewer than its queue.
const PIECE_BYTES_MAX: usize = 32 << 10;

/// One thing to do with a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Write {
    Octets(Range<usize>),
    Close,
}

/// What the port is told for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// Send these octets, all or none.
    Octets(&'a [u8]),
    /// Close it; what the answer is does not matter.
    Close,
}

/// What the port says to octets for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It has them.
    All,
    /// It has no room for them now.
    Full,
    /// There is no such connection any more.
    Gone,
}

/// All writes that the port has not taken.
#[derive(Default)]
pub struct StreamWrites {
    octets: Vec<u8>,
    writes: Vec<(StreamId, Write)>,
    /// Octets written in this turn, by connection.
    staged: HashMap<StreamId, usize>,
    held: HashMap<StreamId, VecDeque<Vec<u8>>>,
    drained: Vec<StreamId>,
    /// Written to though they are no more, or closed since.
    gone: Vec<StreamId>,
}

impl StreamWrites {
    /// Queues octets for a connection, all or none; `false` if it is full.
    pub fn write(&mut self, stream: StreamId, octets: &[u8]) -> bool {
        let staged = self.staged.entry(stream).or_default();
        let is_full = self.octets.len() + octets.len() > STAGED_BYTES_MAX
            || *staged + octets.len() > STREAM_BYTES_MAX;
        if is_full || self.held.contains_key(&stream) {
            // Whoever is told that it is full waits to be called.
            self.held.entry(stream).or_default();
            return false;
        }
        *staged += octets.len();
        let start = self.octets.len();
        self.octets.extend_from_slice(octets);
        let end = self.octets.len();
        match self.writes.last_mut() {
            Some((last, Write::Octets(range)))
                if *last == stream && end - range.start <= PIECE_BYTES_MAX =>
            {
                range.end = end;
            }
            _ => self.writes.push((stream, Write::Octets(start..end))),
        }
        true
    }

    /// Closes a connection once what was queued for it has gone to the port.
    pub fn close(&mut self, stream: StreamId) {
        self.held.remove(&stream);
        self.writes.push((stream, Write::Close));
    }

    /// Whether there is nothing to hand over.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.staged.is_empty()
    }

    /// Hands everything over; `tell` says whether the connection had room.
    pub fn hand_over(&mut self, mut tell: impl FnMut(StreamId, Told<'_>) -> Taken) {
        for (stream, write) in self.writes.drain(..) {
            match write {
                Write::Close => {
                    tell(stream, Told::Close);
                }
                Write::Octets(range) => {
                    let octets = &self.octets[range];
                    let waits = self.held.get(&stream).is_some_and(|held| !held.is_empty());
                    let taken = if waits {
                        Taken::Full
                    } else {
                        tell(stream, Told::Octets(octets))
                    };
                    match taken {
                        Taken::All => {}
                        Taken::Full => {
                            let held = self.held.entry(stream).or_default();
                            held.push_back(octets.to_vec());
                        }
                        Taken::Gone => self.gone.push(stream),
                    }
                }
            }
        }
        self.octets.clear();
        self.staged.clear();
        // Who was told that it is full though the port had room for all is called at once.
        let called = self.held.iter().filter(|(_, held)| held.is_empty());
        self.drained.extend(called.map(|(stream, _)| *stream));
    }

    /// A connection has drained; it is dealt with when the port is not being read.
    pub fn note_drained(&mut self, stream: StreamId) {
        self.drained.push(stream);
    }

    /// Takes the connections that have drained.
    pub fn take_drained(&mut self) -> Vec<StreamId> {
        std::mem::take(&mut self.drained)
    }

    /// A connection has drained: what was held back for it goes first. `true` if nothing is held any more.
    pub fn drained(&mut self, stream: StreamId, mut send: impl FnMut(&[u8]) -> Taken) -> bool {
        let Some(held) = self.held.get_mut(&stream) else {
            return false;
        };
        while held.front().is_some_and(|piece| send(piece) != Taken::Full) {
            held.pop_front();
        }
        let is_empty = held.is_empty();
        if is_empty {
            self.held.remove(&stream);
        }
        is_empty
    }

    /// A connection is gone; it is dealt with when the port is not being read.
    pub fn note_gone(&mut self, stream: StreamId) {
        self.gone.push(stream);
    }

    /// Takes a connection that is gone, and forgets what was held back for it.
    pub fn take_gone(&mut self) -> Option<StreamId> {
        let stream = self.gone.pop()?;
        self.held.remove(&stream);
        Some(stream)
    }

    /// Octets that are held back, all connections together.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held.values().flatten().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: StreamId = StreamId(1);
    const B: StreamId = StreamId(2);

    fn octets_of(told: Told<'_>) -> &[u8] {
        match told {
            Told::Octets(octets) => octets,
            Told::Close => panic!("nothing is closed"),
        }
    }

    #[test]
    fn octets_go_in_order_and_a_full_connection_holds_up_itself_alone() {
        let mut writes = StreamWrites::default();
        assert!(writes.write(A, b"one ") && writes.write(A, b"two") && writes.write(B, b"b"));
        let mut sent = Vec::new();
        writes.hand_over(|stream, told| {
            sent.push((stream, octets_of(told).to_vec()));
            if stream == B { Taken::All } else { Taken::Full }
        });
        assert_eq!(sent, [(A, b"one two".to_vec()), (B, b"b".to_vec())]);
        assert!(!writes.write(A, b"three"), "full until it drains");
        assert!(writes.write(B, b"c"));
        assert!(!writes.drained(A, |_| Taken::Full));
        assert!(writes.drained(A, |octets| {
            assert_eq!(octets, b"one two");
            Taken::All
        }));
        assert!(writes.write(A, b"three"));
    }

    #[test]
    fn a_connection_that_was_full_is_called_even_if_the_port_took_all() {
        let mut writes = StreamWrites::default();
        let chunk = vec![0; 10 << 10];
        let taken = (0..1_000).filter(|_| writes.write(A, &chunk)).count();
        assert_eq!(taken, STREAM_BYTES_MAX / chunk.len());
        let mut largest = 0;
        writes.hand_over(|_, told| {
            largest = octets_of(told).len().max(largest);
            Taken::All
        });
        assert!(largest <= PIECE_BYTES_MAX);
        assert_eq!(writes.take_drained(), [A]);
        assert!(writes.drained(A, |_| panic!("nothing is held")));
        assert!(writes.write(A, &chunk));
    }

    #[test]
    fn what_waits_is_bounded_and_forgotten_with_its_connection() {
        let mut writes = StreamWrites::default();
        let chunk = vec![0; 64 << 10];
        for stream in 0..1_000 {
            while writes.write(StreamId(stream), &chunk) {}
        }
        assert!(writes.octets.len() <= STAGED_BYTES_MAX);
        writes.hand_over(|_, told| {
            octets_of(told);
            Taken::Full
        });
        assert!(writes.held_bytes() <= STAGED_BYTES_MAX);
        (0..1_000).for_each(|stream| writes.note_gone(StreamId(stream)));
        while writes.take_gone().is_some() {}
        assert_eq!(writes.held_bytes(), 0);
        writes.close(B);
        let mut closed = Vec::new();
        writes.hand_over(|stream, told| {
            assert_eq!(told, Told::Close, "the octets are forgotten");
            closed.push(stream);
            Taken::All
        });
        assert_eq!(closed, [B]);
        assert!(writes.write(A, &chunk));
    }

    #[test]
    fn octets_for_a_connection_that_is_no_more_are_dropped() {
        let mut writes = StreamWrites::default();
        assert!(writes.write(A, b"late"));
        writes.hand_over(|_, told| {
            octets_of(told);
            Taken::Gone
        });
        assert_eq!((writes.held_bytes(), writes.take_gone()), (0, Some(A)));
        assert_eq!(writes.take_gone(), None);
    }
}
