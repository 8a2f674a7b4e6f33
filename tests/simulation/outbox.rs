//! An outbox of slabs in memory: what the shard sends is kept until the world carries it away.

use std::net::SocketAddr;
use std::rc::Rc;

use sirocco_dispatch::train::{Outbox, TRAIN_BYTES_MAX};

/// Slabs, and what has departed in them.
pub struct Slabs {
    slabs: Vec<Box<[u8]>>,
    free: Vec<usize>,
    /// Departures that the world has not carried away yet.
    pub departed: Vec<Departure>,
}

/// One slab on its way.
pub struct Departure {
    /// Its number.
    pub slab: usize,
    /// Its datagrams and their targets, in order.
    pub datagrams: Vec<(SocketAddr, Rc<[u8]>)>,
}

impl Slabs {
    /// Builds free slabs.
    pub fn new(count: usize) -> Self {
        Self {
            slabs: (0..count)
                .map(|_| vec![0; TRAIN_BYTES_MAX].into())
                .collect(),
            free: (0..count).collect(),
            departed: Vec::new(),
        }
    }

    /// The kernel is done with a slab.
    pub fn give_back(&mut self, slab: usize) {
        self.free.push(slab);
    }

    /// Slabs that are free.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    fn depart(&mut self, slab: usize, segment: usize, targets: impl Iterator<Item = SocketAddr>) {
        let segments = self.slabs[slab].chunks_exact(segment);
        let datagrams = targets.zip(segments.map(Rc::from)).collect();
        self.departed.push(Departure { slab, datagrams });
    }
}

impl Outbox for Slabs {
    type Slab = usize;

    fn take_slab(&mut self) -> Option<usize> {
        self.free.pop()
    }

    fn number(slab: &usize) -> usize {
        *slab
    }

    fn octets(&mut self, slab: &usize) -> &mut [u8] {
        &mut self.slabs[*slab]
    }

    fn send_train(&mut self, slab: usize, target: SocketAddr, length: usize, segment: usize) {
        assert!(
            length.is_multiple_of(segment) && length <= TRAIN_BYTES_MAX,
            "a train the kernel refuses"
        );
        self.depart(slab, segment, std::iter::repeat_n(target, length / segment));
    }

    fn send_each(&mut self, slab: usize, targets: &[SocketAddr], segment: usize) {
        self.depart(slab, segment, targets.iter().copied());
    }

    fn release(&mut self, slab: usize) {
        self.free.push(slab);
    }
}
