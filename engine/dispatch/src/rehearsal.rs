//! A shard without a kernel, for whoever counts or times what dispatch itself does: fixed keys, an outbox of
//! slabs in memory, and an edge that answers each SIR with 200. It allocates nothing once it is made. No
//! socket and no clock; the counted job of the bench, the counter tests and the benches drive it.

use crate::config::EngineConfig;
use crate::shard::{Keys, Shard};
use crate::templates::Sender;
use crate::train::{Outbox, TRAIN_BYTES_MAX};
use sirocco_index::Index;
use sirocco_wire::sip::message::Message;
use sirocco_wire::sip::status::Status;
use sirocco_wire::sip::write;
use std::net::SocketAddr;

/// Send slabs.
const SLABS: usize = 64;

/// A shard that sends from `source` under fixed keys, so that every run writes the same octets.
#[must_use]
pub fn shard(config: &EngineConfig, index: Index, source: SocketAddr) -> Shard {
    let keys = Keys {
        branch: [1, 2],
        token: [3, 4],
        pending: [5, 6, 7, 8],
        session: [9, 10],
        owner: [11, 12],
        imei: None,
    };
    let sender = Sender {
        sent_by: source.to_string(),
        from: config.from.clone(),
        from_tag: "0f1e2d3c".to_owned(),
        ppg_uri: format!("sip:ppg@{source}"),
        sir_key: None,
    };
    let sessions = config.sessions(source, None);
    Shard::new(config, index, sender, &keys, sessions, (0, 0))
}

/// What left in one slab.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// The slab, which the kernel would hold now.
    pub slab: usize,
    /// Octets in it.
    pub length: usize,
    /// Octets of each SIR.
    pub segment: usize,
}

/// An outbox in memory that keeps what left.
pub struct Slabs {
    slabs: Vec<Box<[u8]>>,
    free: Vec<usize>,
    left: Vec<Left>,
    /// SIRs that left.
    pub sirs: u64,
    /// Trains that left.
    pub trains: u64,
}

impl Default for Slabs {
    fn default() -> Self {
        let slab = || vec![0; TRAIN_BYTES_MAX].into();
        Self {
            slabs: std::iter::repeat_with(slab).take(SLABS).collect(),
            free: (0..SLABS).collect(),
            left: Vec::with_capacity(SLABS),
            sirs: 0,
            trains: 0,
        }
    }
}

impl Slabs {
    /// What left and was not taken yet, in its order.
    #[must_use]
    pub fn left(&self) -> &[Left] {
        &self.left
    }

    /// Takes what left last.
    pub fn take(&mut self) -> Option<Left> {
        self.left.pop()
    }

    /// The SIRs that left in one slab.
    pub fn sirs_of(&self, left: Left) -> impl Iterator<Item = &[u8]> {
        self.slabs[left.slab][..left.length].chunks_exact(left.segment)
    }

    fn leave(&mut self, slab: usize, sirs: usize, segment: usize) {
        self.sirs += sirs as u64;
        self.trains += 1;
        self.left.push(Left {
            slab,
            length: sirs * segment,
            segment,
        });
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

    fn send_train(&mut self, slab: usize, _: SocketAddr, length: usize, segment: usize) {
        self.leave(slab, length / segment, segment);
    }

    fn send_each(&mut self, slab: usize, targets: &[SocketAddr], segment: usize) {
        self.leave(slab, targets.len(), segment);
    }

    fn release(&mut self, slab: usize) {
        self.free.push(slab);
    }
}

/// An edge that answers each SIR with 200 at the next turn.
pub struct Echo {
    edge: SocketAddr,
    answers: Vec<u8>,
    /// Where SIRs leave.
    pub slabs: Slabs,
    /// Of the SIRs, those that no parser reads: none, or a bug. They get no answer.
    pub unreadable: u64,
}

impl Echo {
    /// An edge that answers from `edge`.
    #[must_use]
    pub fn new(edge: SocketAddr) -> Self {
        Self {
            edge,
            answers: vec![0; TRAIN_BYTES_MAX],
            slabs: Slabs::default(),
            unreadable: 0,
        }
    }

    /// Drives `shard` for so many turns from `now` on, `turn_ns` apart; returns the time of the last.
    pub fn drive(&mut self, shard: &mut Shard, mut now: u64, (turns, turn_ns): (u64, u64)) -> u64 {
        for _ in 0..turns {
            now += turn_ns;
            self.settle(now, shard);
            shard.expire(now);
            shard.select(now, &mut ());
            shard.depart(now, &mut self.slabs, &mut ());
        }
        now
    }

    /// Answers every train that left and gives its slab back.
    fn settle(&mut self, now: u64, shard: &mut Shard) {
        while let Some(left) = self.slabs.take() {
            let (mut written, mut answer_len) = (0, 1);
            for octets in self.slabs.sirs_of(left) {
                let out = &mut self.answers[written..];
                let request = Message::parse(octets).ok();
                let answer = request
                    .and_then(|request| write::response(out, &request, Status::OK, b"d", &[]).ok());
                let Some(length) = answer else {
                    self.unreadable += 1;
                    continue;
                };
                answer_len = length;
                written += length;
            }
            shard.answer(
                now,
                self.edge,
                &self.answers[..written],
                answer_len,
                &mut (),
            );
            shard.sent(now, left.slab, false);
            self.slabs.release(left.slab);
        }
    }
}
