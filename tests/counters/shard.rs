//! The shard without a kernel: what it allocates and writes for each SIR once it is warm.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use sirocco_dispatch::config::EngineConfig;
use sirocco_dispatch::load::{Load, Wanted};
use sirocco_dispatch::order::{Audience, Order};
use sirocco_dispatch::shard::{Keys, Shard};
use sirocco_dispatch::templates::Sender;
use sirocco_dispatch::train::{Outbox, TRAIN_BYTES_MAX};
use sirocco_index::Index;
use sirocco_ring::allocation::allocations_on_this_thread;
use sirocco_wire::sip::message::Message;
use sirocco_wire::sip::status::Status;
use sirocco_wire::sip::write;

use crate::engine::population;

/// Where answers come from.
const EDGE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 20_000));
/// Identities of the test.
const IDENTITIES: u64 = 20_000;
/// Time between two turns in nanoseconds.
const TURN_NS: u64 = 20_000;
/// Turns until every list has its size: two simulated seconds, four times T1.
const WARM_UP_TURNS: u64 = 100_000;
/// Turns that are counted.
const COUNTED_TURNS: u64 = 20_000;
/// Octets written into a slab for each SIR of the default template: Request-URI of 80 with version and
/// the name of Max-Forwards (24), branch (32), To (33), Call-ID (32), token (32).
const BYTES_WRITTEN: u64 = 80 + 24 + 32 + 33 + 32 + 32;

/// An outbox that answers each SIR with 200 at the next turn, and allocates nothing.
struct Echo {
    slabs: Vec<Box<[u8]>>,
    free: Vec<usize>,
    left: Vec<(usize, usize, usize)>,
    answers: Vec<u8>,
    /// SIRs and trains that left.
    sirs: u64,
    trains: u64,
}

impl Echo {
    fn new() -> Self {
        Self {
            slabs: (0..64).map(|_| vec![0; TRAIN_BYTES_MAX].into()).collect(),
            free: (0..64).collect(),
            left: Vec::with_capacity(64),
            answers: vec![0; TRAIN_BYTES_MAX],
            sirs: 0,
            trains: 0,
        }
    }

    /// Answers every train that left and gives its slab back.
    fn settle(&mut self, now: u64, shard: &mut Shard) {
        while let Some((slab, length, segment)) = self.left.pop() {
            let mut written = 0;
            let mut answer_len = 1;
            for octets in self.slabs[slab][..length].chunks_exact(segment) {
                let request = Message::parse(octets).expect("a SIR");
                let out = &mut self.answers[written..];
                answer_len = write::response(out, &request, Status::OK, b"d", &[]).expect("room");
                written += answer_len;
            }
            shard.answer(now, EDGE, &self.answers[..written], answer_len, &mut ());
            shard.sent(now, slab, false);
            self.free.push(slab);
        }
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
        self.left.push((slab, length, segment));
        self.sirs += (length / segment) as u64;
        self.trains += 1;
    }

    fn send_each(&mut self, slab: usize, targets: &[SocketAddr], segment: usize) {
        self.left.push((slab, targets.len() * segment, segment));
        self.sirs += targets.len() as u64;
        self.trains += 1;
    }

    fn release(&mut self, slab: usize) {
        self.free.push(slab);
    }
}

/// A warm shard that dispatches without end, and what answers it.
fn warm_shard(next_hop_count: u16, turns: u64) -> (Shard, Echo, u64) {
    let hop = |number| SocketAddr::from(([127, 0, 0, 1], 20_000 + number));
    let next_hops: Vec<_> = (0..next_hop_count).map(hop).collect();
    let index = population(IDENTITIES, 1, &next_hops);
    let config = EngineConfig {
        window_total: 4_096,
        transactions: 8_192,
        ..EngineConfig::default()
    };
    let load = load(&index);
    let keys = Keys {
        branch: [1, 2],
        token: [3, 4],
        session: [9, 10],
        owner: [11, 12],
        pending: [5, 6, 7, 8],
        imei: None,
    };
    let sender = Sender {
        sent_by: "127.0.0.1:5070".to_owned(),
        from: config.from.clone(),
        from_tag: "0f1e2d3c".to_owned(),
        ppg_uri: "sip:ppg@127.0.0.1:5070".to_owned(),
        sir_key: None,
    };
    let mut shard = Shard::new(
        &config,
        index,
        sender,
        &keys,
        config.sessions(EDGE, None),
        (0, 0),
    );
    shard.accept(0, load).expect("an order");
    let mut echo = Echo::new();
    let now = dispatch(&mut shard, &mut echo, 0, turns);
    (shard, echo, now)
}

fn load(index: &Index) -> Order {
    let identities: Vec<_> = index.keys().collect();
    let load = Load::new(identities.into(), Wanted::All, Some(1e6), u64::MAX);
    Order::new("load", Audience::Load(load))
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

#[test]
fn the_steady_state_allocates_nothing() {
    let (mut shard, mut echo, now) = warm_shard(4, WARM_UP_TURNS);
    let (before, sirs) = (allocations_on_this_thread(), echo.sirs);
    dispatch(&mut shard, &mut echo, now, COUNTED_TURNS);
    let sirs = echo.sirs - sirs;
    assert!(sirs > 300_000, "only {sirs} SIRs were sent");
    let allocations = allocations_on_this_thread() - before;
    assert_eq!(allocations, 0, "allocations for {sirs} SIRs");
    assert_eq!(shard.ledger.residue(shard.in_flight()), 0);
}

#[test]
fn a_sir_writes_its_slots_and_no_more() {
    let (shard, echo, _) = warm_shard(1, 20_000);
    let written = shard.ledger.bytes_written;
    assert!(echo.sirs > 300_000, "only {} SIRs were sent", echo.sirs);
    assert_eq!(
        written,
        echo.sirs * BYTES_WRITTEN,
        "{} octets each",
        written / echo.sirs
    );
}

#[test]
fn a_train_is_full_where_its_next_hop_has_enough() {
    let (_, echo, _) = warm_shard(1, 20_000);
    // A million SIRs a second fill a train of 64 in 64 us, long before its departure time.
    let segments = echo.sirs as f64 / echo.trains as f64;
    assert!(segments > 60.0, "{segments} SIRs in a train");
}
