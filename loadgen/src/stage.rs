//! Where a worker writes answers while the received bytes still borrow the port: one train, or a row of
//! single datagrams, moved into send slabs afterwards.
//!
//! Both buffers are as long as a slab and are made once. Called by `worker`.

use std::ops::Range;

use sirocco_ring::{DATAGRAMS_PER_SLAB_MAX, Port, Received, TRAIN_BYTES_MAX, Train};

use crate::mix::COPIES_MAX;
use crate::population::{Answered, Arrival, Origin, Population};
use crate::session::Load;

/// The most answers of one lone datagram: itself and its copies.
const LONE_ANSWERS_MAX: usize = 1 + COPIES_MAX as usize;
/// The octets kept free for the answers of one more lone datagram of up to 2 KiB each.
const LONE_BYTES_MAX: usize = LONE_ANSWERS_MAX * 2048;

/// One answer that leaves as a datagram of its own.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) origin: Origin,
    pub(crate) bytes: Range<usize>,
    /// The answer to a SIR, as opposed to a message of a call.
    pub(crate) is_answer: bool,
}

/// The buffers of one worker.
pub(crate) struct Stage {
    /// The answers to one received train.
    train: Box<[u8]>,
    /// What they are, and where they go; `None` when the last arrival was a single datagram.
    answered: Option<(Origin, Answered)>,
    /// Received octets that need a second train, and the length of their datagrams.
    rest: Vec<u8>,
    rest_segment: usize,
    /// Answers to single datagrams.
    row: Box<[u8]>,
    row_length: usize,
    parcels: Vec<Parcel>,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        Stage {
            train: vec![0; TRAIN_BYTES_MAX].into_boxed_slice(),
            answered: None,
            rest: Vec::with_capacity(TRAIN_BYTES_MAX),
            rest_segment: 1,
            row: vec![0; TRAIN_BYTES_MAX].into_boxed_slice(),
            row_length: 0,
            parcels: Vec::with_capacity(DATAGRAMS_PER_SLAB_MAX),
        }
    }

    /// Answers what was received, into the row when it is a single datagram, else into the train.
    #[inline]
    pub(crate) fn answer(
        &mut self,
        population: &mut Population,
        now_ns: u64,
        received: &Received<'_>,
    ) {
        let origin = Origin {
            socket: received.socket,
            stream: 0,
            peer: received.peer,
            local: received.local,
        };
        let arrival = Arrival {
            origin,
            segment: received.segment,
            bytes: received.bytes,
        };
        if received.bytes.len() <= received.segment {
            return self.answer_lone(population, now_ns, &arrival);
        }
        let answered = population.answer(now_ns, &arrival, &mut self.train);
        self.rest
            .extend_from_slice(&received.bytes[answered.consumed..]);
        self.rest_segment = received.segment;
        self.answered = Some((origin, answered));
    }

    #[inline]
    fn answer_lone(&mut self, population: &mut Population, now_ns: u64, arrival: &Arrival<'_>) {
        let out = &mut self.row[self.row_length..];
        let answered = population.answer(now_ns, arrival, out);
        for _ in 0..answered.answers {
            let end = self.row_length + answered.segment;
            self.parcels.push(Parcel {
                origin: arrival.origin,
                bytes: self.row_length..end,
                is_answer: true,
            });
            self.row_length = end;
        }
    }

    /// Puts a single message of a call into the row; `row_is_full` was asked before.
    #[inline]
    pub(crate) fn push(&mut self, load: &Load) {
        let end = self.row_length + load.octets.len();
        let Some(room) = self.row.get_mut(self.row_length..end) else {
            return;
        };
        room.copy_from_slice(&load.octets);
        self.parcels.push(Parcel {
            origin: load.origin,
            bytes: self.row_length..end,
            is_answer: false,
        });
        self.row_length = end;
    }

    /// Takes the train that was answered last and its octets.
    pub(crate) fn take_train(&mut self) -> Option<(Origin, Answered, &[u8])> {
        let (origin, answered) = self.answered.take()?;
        Some((origin, answered, &self.train[..answered.length]))
    }

    /// Returns the received octets that need another train.
    pub(crate) fn rest<'a>(&'a self, origin: Origin, at: usize) -> Option<Arrival<'a>> {
        let bytes = self.rest.get(at..).filter(|bytes| !bytes.is_empty())?;
        Some(Arrival {
            origin,
            segment: self.rest_segment,
            bytes,
        })
    }

    pub(crate) fn clear_rest(&mut self) {
        self.rest.clear();
    }

    /// Tells whether the row may not hold the answers of one more datagram.
    #[inline]
    pub(crate) fn row_is_full(&self) -> bool {
        self.parcels.len() + LONE_ANSWERS_MAX > DATAGRAMS_PER_SLAB_MAX
            || self.row_length + LONE_BYTES_MAX > self.row.len()
    }

    /// Returns the row's parcels that leave by one socket, beginning with `first`, and their octets.
    pub(crate) fn parcels_from(&self, first: usize) -> Option<(&[Parcel], &[u8])> {
        let socket = self.parcels.get(first)?.origin.socket;
        let run = self.parcels[first..]
            .iter()
            .take_while(|p| p.origin.socket == socket)
            .count();
        let parcels = &self.parcels[first..first + run];
        let bytes = parcels[0].bytes.start..parcels[run - 1].bytes.end;
        Some((parcels, &self.row[bytes]))
    }

    pub(crate) fn clear_row(&mut self) {
        self.parcels.clear();
        self.row_length = 0;
    }
}

/// Sends `bytes` as one train; false when no slab is free.
pub(crate) fn send_train(
    port: &mut Port,
    origin: Origin,
    answered: &Answered,
    bytes: &[u8],
) -> bool {
    let Some(slab) = port.take_slab() else {
        return false;
    };
    port.slab_mut(&slab)[..bytes.len()].copy_from_slice(bytes);
    port.send(slab, train_to(origin, answered.length, answered.segment));
    true
}

/// Returns the train of answers that goes back where `origin` says.
#[inline]
pub(crate) fn train_to(origin: Origin, length: usize, segment: usize) -> Train {
    Train {
        socket: origin.socket,
        target: origin.peer,
        source: origin.local.filter(|local| !local.is_unspecified()),
        length: length as u32,
        segment: segment as u16,
        tag: 0,
    }
}
