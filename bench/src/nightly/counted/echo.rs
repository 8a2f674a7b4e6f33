//! A shard whose trains are answered at once, with no kernel between: what the dispatch itself allocates
//! and writes for a SIR once it is warm.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use sirocco_dispatch::shard::Shard;
use sirocco_dispatch::train::{Outbox, TRAIN_BYTES_MAX};
use sirocco_ring::allocation::allocations_on_this_thread;
use sirocco_wire::sip::message::Message;
use sirocco_wire::sip::status::Status;
use sirocco_wire::sip::write;

use super::{CountedError, Counters, TURN_NS};

/// Where answers come from.
const EDGE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 20_000));

/// Where SIRs leave from.
const SOURCE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5_070));

/// Turns until every list has its size: two simulated seconds, four times T1.
const WARM_UP_TURNS: u64 = 100_000;

/// Turns that are counted.
const COUNTED_TURNS: u64 = 20_000;

/// SIRs that these turns dispatch, at least.
const SIRS_MIN: u64 = 300_000;

/// Send slabs.
const SLABS: usize = 64;

/// Counts a warm shard.
pub fn count() -> Result<Counters, CountedError> {
    let mut shard = super::shard(&super::config(), SOURCE, EDGE)?;
    let mut echo = Echo::new();
    let now = dispatch(&mut shard, &mut echo, 0, WARM_UP_TURNS);
    let (sirs, trains) = (echo.sirs, echo.trains);
    let (allocations, written) = (allocations_on_this_thread(), shard.ledger.bytes_written);
    dispatch(&mut shard, &mut echo, now, COUNTED_TURNS);
    let (sirs, trains) = (echo.sirs - sirs, echo.trains - trains);
    let mut counters = super::per_sir(
        sirs,
        SIRS_MIN,
        &[
            (
                "shard_allocations_per_sir",
                allocations_on_this_thread() - allocations,
            ),
            (
                "shard_bytes_written_per_sir",
                shard.ledger.bytes_written - written,
            ),
        ],
    )?;
    let segments = sirs as f64 / trains as f64;
    counters.insert("shard_segments_per_train".to_owned(), segments);
    Ok(counters)
}

fn dispatch(shard: &mut Shard, echo: &mut Echo, mut now: u64, turns: u64) -> u64 {
    for _ in 0..turns {
        now += TURN_NS;
        echo.settle(now, shard);
        shard.expire(now);
        shard.select(now, &mut ());
        shard.depart(now, echo, &mut ());
    }
    now
}

/// An outbox that answers each SIR with 200 at the next turn, and allocates nothing.
struct Echo {
    slabs: Vec<Box<[u8]>>,
    free: Vec<usize>,
    left: Vec<(usize, usize, usize)>,
    answers: Vec<u8>,
    sirs: u64,
    trains: u64,
}

impl Echo {
    fn new() -> Self {
        Self {
            slabs: (0..SLABS)
                .map(|_| vec![0; TRAIN_BYTES_MAX].into())
                .collect(),
            free: (0..SLABS).collect(),
            left: Vec::with_capacity(SLABS),
            answers: vec![0; TRAIN_BYTES_MAX],
            sirs: 0,
            trains: 0,
        }
    }

    /// Answers every train that left and gives its slab back. What is no SIR gets no answer, and shows
    /// as a SIR that is sent again.
    fn settle(&mut self, now: u64, shard: &mut Shard) {
        while let Some((slab, length, segment)) = self.left.pop() {
            let (mut written, mut answer_len) = (0, 1);
            for octets in self.slabs[slab][..length].chunks_exact(segment) {
                let Ok(request) = Message::parse(octets) else {
                    continue;
                };
                let out = &mut self.answers[written..];
                let answer = write::response(out, &request, Status::OK, b"d", &[]);
                answer_len = answer.unwrap_or(answer_len);
                written += answer.unwrap_or(0);
            }
            shard.answer(now, EDGE, &self.answers[..written], answer_len, &mut ());
            shard.sent(now, slab, false);
            self.free.push(slab);
        }
    }

    fn leave(&mut self, slab: usize, length: usize, segment: usize) {
        self.left.push((slab, length, segment));
        self.sirs += (length / segment) as u64;
        self.trains += 1;
    }
}

impl Outbox for Echo {
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

    fn send_train(&mut self, slab: usize, _: SocketAddr, length: usize, segment: usize) {
        self.leave(slab, length, segment);
    }

    fn send_each(&mut self, slab: usize, targets: &[SocketAddr], segment: usize) {
        self.leave(slab, targets.len() * segment, segment);
    }

    fn release(&mut self, slab: usize) {
        self.free.push(slab);
    }
}
