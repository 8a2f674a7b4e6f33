//! Trains: SIRs to the same next hop that leave in one send.
//!
//! A train holds the handles of its SIRs, not their octets: they are rendered when the train departs,
//! into a slab that is still warm from the one before. A slab is filled with the literal octets of its
//! template once; after that a departure writes only slots. A train closes when it is full, when its
//! next hop needs the place for another length class, or when its departure time comes.

use crate::branch::Handle;
use crate::next_hop::{NextHop, NextHops, OPEN_TRAINS_MAX};
use sirocco_index::NEXT_HOP_DIRECT;
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Trains that are there from the start: 2 MiB of lists. Further ones come as they are needed, and stay.
const STOCK_MAX: usize = 4096;
/// The number of no train.
pub const NO_TRAIN: u32 = u32::MAX;
/// Octets of one train: the largest UDP payload over IPv4.
pub const TRAIN_BYTES_MAX: usize = 65_507;

/// Where rendered octets go: sockets, nowhere, or a simulated network.
pub trait Outbox {
    /// Ownership of one send slab.
    type Slab;
    /// Takes a free slab; `None` while all are in flight.
    fn take_slab(&mut self) -> Option<Self::Slab>;
    /// The slab's number, below the number of slabs.
    fn number(slab: &Self::Slab) -> usize;
    /// The slab's octets.
    fn octets(&mut self, slab: &Self::Slab) -> &mut [u8];
    /// Sends the first `length` octets as datagrams of `segment` octets each to one address.
    fn send_train(&mut self, slab: Self::Slab, target: SocketAddr, length: usize, segment: usize);
    /// Sends datagrams of `segment` octets, one to each address.
    fn send_each(&mut self, slab: Self::Slab, targets: &[SocketAddr], segment: usize);
    /// Sends replies of sessions, as [`Outbox::send_train`] does SIRs.
    fn send_replies(&mut self, slab: Self::Slab, peer: SocketAddr, length: usize, segment: usize) {
        self.send_train(slab, peer, length, segment);
    }
    /// Sends one reply to each address, as [`Outbox::send_each`] does SIRs.
    fn send_replies_each(&mut self, slab: Self::Slab, peers: &[SocketAddr], segment: usize) {
        self.send_each(slab, peers, segment);
    }
    /// Gives a slab back unused.
    fn release(&mut self, slab: Self::Slab);
}

/// How long a train waits to fill.
#[derive(Clone, Copy, Debug)]
pub struct Departure {
    /// While the shard has time to spare, in nanoseconds.
    pub idle_ns: u64,
    /// While there is more to send than a turn takes, in nanoseconds: short trains would make it
    /// busier still.
    pub busy_ns: u64,
}

/// One train that has not departed.
pub struct Train {
    /// Where it goes.
    pub next_hop: u16,
    /// The template that all its SIRs share.
    pub template: u16,
    /// Who is aboard.
    pub aboard: Vec<Handle>,
    serial: u32,
    is_open: bool,
}

/// All trains of one shard, and what is known of each slab.
pub struct Trains {
    pool: Vec<Train>,
    free: Vec<u32>,
    /// Open trains in the order of their opening; an entry whose serial is over is skipped.
    opened: VecDeque<(u32, u32, u64)>,
    /// Closed trains that wait for a slab.
    closed: VecDeque<u32>,
    /// Who left in each slab, until the kernel is done with it.
    manifests: Vec<Vec<Handle>>,
    /// Serial of the template that fills each slab.
    filled: Vec<u64>,
    departure_ns: u64,
    departure_busy_ns: u64,
    segments_max: usize,
}

impl Trains {
    /// Builds the yard for `slabs` slabs and trains of `segments_max` SIRs to `next_hops` next hops.
    #[must_use]
    pub fn new(
        (slabs, next_hops): (usize, usize),
        segments_max: usize,
        departure: Departure,
    ) -> Self {
        let stock = (next_hops * 2 + slabs).min(STOCK_MAX);
        let train = || Train {
            next_hop: 0,
            template: 0,
            aboard: Vec::with_capacity(segments_max),
            serial: 0,
            is_open: false,
        };
        Self {
            pool: std::iter::repeat_with(train).take(stock).collect(),
            free: (0..stock as u32).rev().collect(),
            opened: VecDeque::with_capacity(2 * STOCK_MAX),
            closed: VecDeque::with_capacity(STOCK_MAX),
            manifests: (0..slabs)
                .map(|_| Vec::with_capacity(segments_max))
                .collect(),
            filled: vec![0; slabs],
            departure_ns: departure.idle_ns,
            departure_busy_ns: departure.busy_ns,
            segments_max,
        }
    }

    /// Puts a SIR aboard a train to next hop `number`; opens one if need be.
    ///
    /// `template` is the SIR's template and the octets of its renderings.
    #[inline]
    pub fn board(
        &mut self,
        now: u64,
        (hop, number): (&mut NextHop, u16),
        (template, length): (u16, usize),
        handle: Handle,
    ) {
        let place = hop
            .open_trains
            .iter()
            .position(|&train| train != NO_TRAIN && self.pool[train as usize].template == template);
        let place = place.unwrap_or_else(|| self.open(now, hop, number, template));
        let train = &mut self.pool[hop.open_trains[place] as usize];
        train.aboard.push(handle);
        if train.aboard.len() >= self.segments_max.min(TRAIN_BYTES_MAX / length) {
            self.close(hop, place);
        }
    }

    /// Closes every train whose departure time has come; a `busy` shard lets them wait longer.
    #[inline]
    pub fn close_due(&mut self, now: u64, hops: &mut NextHops, busy: bool) {
        let departure_ns = if busy {
            self.departure_busy_ns
        } else {
            self.departure_ns
        };
        self.close_direct(hops);
        while let Some(&(train, serial, opened_ns)) = self.opened.front() {
            if opened_ns + departure_ns > now {
                return;
            }
            self.opened.pop_front();
            let due = &self.pool[train as usize];
            if due.serial == serial && due.is_open {
                let hop = hops.at(due.next_hop);
                let place = hop.open_trains.iter().position(|&open| open == train);
                self.close(hop, place.expect("an open train stands at its next hop"));
            }
        }
    }

    /// Direct devices gain nothing by waiting: each datagram is a send of its own.
    fn close_direct(&mut self, hops: &mut NextHops) {
        let direct = hops.at(NEXT_HOP_DIRECT);
        for place in 0..OPEN_TRAINS_MAX {
            if direct.open_trains[place] != NO_TRAIN {
                self.close(direct, place);
            }
        }
    }

    /// When the oldest open train departs.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        let current = |&&(train, serial, _): &&(u32, u32, u64)| {
            let train = &self.pool[train as usize];
            train.serial == serial && train.is_open
        };
        self.opened
            .iter()
            .find(current)
            .map(|(_, _, opened_ns)| opened_ns + self.departure_ns)
    }

    /// Closed trains that wait for a slab.
    #[inline]
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.closed.len()
    }

    /// The first closed train, if any.
    #[inline]
    #[must_use]
    pub fn front(&self) -> Option<&Train> {
        self.closed.front().map(|&train| &self.pool[train as usize])
    }

    /// Whether slab `number` has to be filled with the template of `serial` first; notes that it is.
    #[inline]
    pub fn fill(&mut self, number: usize, serial: u64) -> bool {
        std::mem::replace(&mut self.filled[number], serial) != serial
    }

    /// Frees the first closed train and returns who was aboard; give them back by `note_departure`.
    #[inline]
    pub fn take_first(&mut self) -> Vec<Handle> {
        let Some(train) = self.closed.pop_front() else {
            return Vec::new();
        };
        self.free.push(train);
        std::mem::take(&mut self.pool[train as usize].aboard)
    }

    /// Notes who left in slab `number`, until [`Trains::manifest`] is asked for the slab's next use.
    #[inline]
    pub fn note_departure(&mut self, number: usize, aboard: Vec<Handle>) {
        let spent = std::mem::replace(&mut self.manifests[number], aboard);
        // The freed train gets the slab's old list: lists go round, none is allocated.
        if let Some(&train) = self.free.last() {
            self.pool[train as usize].aboard = spent;
        }
    }

    /// Notes that slab `number` leaves with replies: no SIR is aboard, and no template fills it.
    #[inline]
    pub fn note_reply(&mut self, number: usize) {
        self.manifests[number].clear();
        self.filled[number] = 0;
    }

    /// Who left in slab `number`.
    #[inline]
    #[must_use]
    pub fn manifest(&self, number: usize) -> &[Handle] {
        &self.manifests[number]
    }

    fn open(&mut self, now: u64, hop: &mut NextHop, number: u16, template: u16) -> usize {
        let vacant = hop.open_trains.iter().position(|&train| train == NO_TRAIN);
        let place = vacant.unwrap_or_else(|| {
            self.close(hop, 0);
            // The oldest stands first: the others move up, the new one goes last.
            hop.open_trains.rotate_left(1);
            OPEN_TRAINS_MAX - 1
        });
        let train = self.fresh();
        let opened = &mut self.pool[train as usize];
        opened.next_hop = number;
        opened.template = template;
        opened.is_open = true;
        self.opened.push_back((train, opened.serial, now));
        hop.open_trains[place] = train;
        place
    }

    fn close(&mut self, hop: &mut NextHop, place: usize) {
        let train = std::mem::replace(&mut hop.open_trains[place], NO_TRAIN);
        let closed = &mut self.pool[train as usize];
        closed.is_open = false;
        closed.serial = closed.serial.wrapping_add(1);
        self.closed.push_back(train);
    }

    fn fresh(&mut self) -> u32 {
        if let Some(train) = self.free.pop() {
            self.pool[train as usize].aboard.clear();
            return train;
        }
        self.pool.push(Train {
            next_hop: 0,
            template: 0,
            aboard: Vec::with_capacity(self.segments_max),
            serial: 0,
            is_open: false,
        });
        (self.pool.len() - 1) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::next_hop::Limits;

    const LIMITS: Limits = Limits {
        window: 1 << 20,
        window_direct: 1 << 20,
        backlog_per_hop: 1,
        backlog_total: 1,
    };

    struct Station {
        trains: Trains,
        hops: NextHops,
        boarded: u32,
    }

    impl Station {
        fn new(segments_max: usize) -> Self {
            let departure = Departure {
                idle_ns: 500,
                busy_ns: 5_000,
            };
            Self {
                trains: Trains::new((4, 3), segments_max, departure),
                hops: NextHops::new(3, LIMITS),
                boarded: 0,
            }
        }

        fn board(&mut self, now: u64, hop: u16, template: u16) {
            let handle = Handle {
                slot: self.boarded,
                generation: 0,
            };
            self.boarded += 1;
            let length = 400 + usize::from(template);
            self.trains
                .board(now, (self.hops.at(hop), hop), (template, length), handle);
        }

        fn close_due(&mut self, now: u64, busy: bool) {
            self.trains.close_due(now, &mut self.hops, busy);
        }

        /// Where the first closed train goes, its template and who is aboard.
        fn first(&mut self) -> Option<(u16, u16, Vec<u32>)> {
            let (hop, template) = self
                .trains
                .front()
                .map(|train| (train.next_hop, train.template))?;
            let aboard = self.trains.take_first();
            let slots = aboard.iter().map(|handle| handle.slot).collect();
            self.trains.note_departure(0, aboard);
            Some((hop, template, slots))
        }
    }

    #[test]
    fn a_train_closes_when_it_is_full_by_number_or_by_octets() {
        let mut station = Station::new(3);
        (0..4).for_each(|_| station.board(0, 1, 0));
        assert_eq!(station.first(), Some((1, 0, vec![0, 1, 2])));
        assert_eq!(station.first(), None);
        let mut long = Station::new(128);
        let fit = TRAIN_BYTES_MAX / 1_300;
        (0..fit).for_each(|_| long.board(0, 0, 900));
        assert_eq!(long.first().map(|(_, _, aboard)| aboard.len()), Some(fit));
    }

    #[test]
    fn a_train_leaves_at_its_departure_time_which_a_busy_shard_puts_off() {
        let mut station = Station::new(64);
        station.board(1_000, 0, 0);
        station.board(1_400, 1, 0);
        assert_eq!(station.trains.next_due_ns(), Some(1_500));
        station.close_due(1_499, false);
        station.close_due(5_999, true);
        assert_eq!(station.first(), None);
        station.close_due(1_500, false);
        assert_eq!(station.first(), Some((0, 0, vec![0])));
        assert_eq!(station.trains.next_due_ns(), Some(1_900));
        station.close_due(6_400, true);
        assert_eq!(station.first(), Some((1, 0, vec![1])));
        assert_eq!(station.trains.next_due_ns(), None);
    }

    #[test]
    fn length_classes_travel_apart_and_the_oldest_makes_room() {
        let mut station = Station::new(64);
        let classes = OPEN_TRAINS_MAX as u16;
        for template in 0..classes {
            station.board(u64::from(template), 0, template);
            station.board(u64::from(template), 0, template);
        }
        assert_eq!(station.first(), None);
        station.board(10, 0, classes);
        assert_eq!(
            station.first(),
            Some((0, 0, vec![0, 1])),
            "the oldest of them"
        );
        station.board(11, 0, 0);
        assert_eq!(station.first().map(|(_, template, _)| template), Some(1));
        station.close_due(1_000, false);
        let left: Vec<_> = std::iter::from_fn(|| station.first()).collect();
        assert_eq!(
            left.iter()
                .map(|(_, template, _)| *template)
                .collect::<Vec<_>>(),
            [2, 3, 4, 0]
        );
    }

    #[test]
    fn a_slab_is_filled_once_for_a_template_and_remembers_who_left_in_it() {
        let mut station = Station::new(2);
        assert!(station.trains.fill(3, 7));
        assert!(!station.trains.fill(3, 7));
        assert!(station.trains.fill(3, 8));
        (0..2).for_each(|_| station.board(0, 0, 0));
        station.first();
        assert_eq!(station.trains.manifest(0).len(), 2);
        let lists = station.trains.pool.len();
        for _ in 0..100 {
            (0..2).for_each(|_| station.board(0, 0, 0));
            station.first();
        }
        assert_eq!(station.trains.pool.len(), lists, "lists go round");
    }
}
