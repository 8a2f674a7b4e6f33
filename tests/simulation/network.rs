//! The simulated network: events in the order of their time, datagrams lost, doubled, delayed, overtaken.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::random::Random;

/// How unreliable the network is.
#[derive(Clone, Copy, Debug)]
pub struct Faults {
    /// Datagrams lost, in a thousand.
    pub lost_per_mille: u64,
    /// Datagrams doubled, in a thousand.
    pub doubled_per_mille: u64,
    /// Datagrams held up, in a thousand: others overtake them.
    pub held_per_mille: u64,
    /// How long a datagram is held up at most, in nanoseconds.
    pub held_ns_max: u64,
    /// Shortest delay of every datagram, in nanoseconds.
    pub delay_ns: u64,
    /// Arrivals are rounded up to this many nanoseconds, so that trains form.
    pub grain_ns: u64,
}

/// What an answer really is, whatever the engine makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// A final response to the SIR with this branch hash: status, and seconds of Retry-After.
    Final(u64, u16, Option<u32>),
    /// A provisional response to it.
    Provisional(u64),
    /// Nothing that may change anything.
    Noise,
}

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub enum Event {
    /// A SIR arrives at an address.
    Request(SocketAddr, Rc<[u8]>),
    /// An answer arrives at the engine.
    Response(Rc<[u8]>, Truth),
    /// The kernel is done with a slab; it refused to send it if so.
    SlabBack(usize, bool),
    /// An order comes in.
    Order(usize),
    /// The index changes.
    Change,
    /// The engine is told to drain.
    Drain,
    /// The engine stops.
    Stop,
}

/// Events to come.
pub struct Network<E> {
    queue: BinaryHeap<Reverse<Entry<E>>>,
    serial: u64,
    faults: Faults,
}

struct Entry<E> {
    at: u64,
    serial: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.serial) == (other.at, other.serial)
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

impl<E: Clone> Network<E> {
    /// Builds a network in which nothing is on its way.
    pub fn new(faults: Faults) -> Self {
        Self {
            queue: BinaryHeap::new(),
            serial: 0,
            faults,
        }
    }

    /// Lets an event happen at a time.
    pub fn at(&mut self, at: u64, event: E) {
        self.serial += 1;
        let serial = self.serial;
        self.queue.push(Reverse(Entry { at, serial, event }));
    }

    /// Carries a datagram that leaves at `now`: never, once or twice.
    pub fn carry(&mut self, random: &mut Random, now: u64, event: &E) {
        let faults = self.faults;
        let copies = 1 + u64::from(random.chance(faults.doubled_per_mille));
        for _ in 0..copies {
            if random.chance(faults.lost_per_mille) {
                continue;
            }
            let mut at = now + faults.delay_ns + random.below(faults.delay_ns + 1);
            if random.chance(faults.held_per_mille) {
                at += random.below(faults.held_ns_max + 1);
            }
            self.at(at.next_multiple_of(faults.grain_ns), event.clone());
        }
    }

    /// When the next event happens.
    pub fn next_ns(&self) -> Option<u64> {
        self.queue.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the next event that is due at `now`.
    pub fn take(&mut self, now: u64) -> Option<E> {
        if self.next_ns()? > now {
            return None;
        }
        self.queue.pop().map(|Reverse(entry)| entry.event)
    }
}
