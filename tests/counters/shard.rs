//! The shard without a kernel: what it allocates and writes for each SIR once it is warm.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use sirocco_dispatch::config::EngineConfig;
use sirocco_dispatch::load::{Load, Wanted};
use sirocco_dispatch::order::{Audience, Order};
use sirocco_dispatch::rehearsal::{self, Echo};
use sirocco_dispatch::shard::Shard;
use sirocco_index::Index;
use sirocco_ring::allocation::allocations_on_this_thread;

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
    let source = SocketAddr::from((Ipv4Addr::LOCALHOST, 5_070));
    let mut shard = rehearsal::shard(&config, index, source);
    shard.accept(0, load).expect("an order");
    let mut echo = Echo::new(EDGE);
    let now = echo.drive(&mut shard, 0, (turns, TURN_NS));
    assert_eq!(echo.unreadable, 0, "each one is a SIR");
    (shard, echo, now)
}

fn load(index: &Index) -> Order {
    let identities: Vec<_> = index.keys().collect();
    let load = Load::new(identities.into(), Wanted::All, Some(1e6), u64::MAX);
    Order::new("load", Audience::Load(load))
}

#[test]
fn the_steady_state_allocates_nothing() {
    let (mut shard, mut echo, now) = warm_shard(4, WARM_UP_TURNS);
    let (before, sirs) = (allocations_on_this_thread(), echo.slabs.sirs);
    echo.drive(&mut shard, now, (COUNTED_TURNS, TURN_NS));
    assert_eq!(echo.unreadable, 0, "each one is a SIR");
    let sirs = echo.slabs.sirs - sirs;
    assert!(sirs > 300_000, "only {sirs} SIRs were sent");
    let allocations = allocations_on_this_thread() - before;
    assert_eq!(allocations, 0, "allocations for {sirs} SIRs");
    assert_eq!(shard.ledger.residue(shard.in_flight()), 0);
}

#[test]
fn a_sir_writes_its_slots_and_no_more() {
    let (shard, echo, _) = warm_shard(1, 20_000);
    let written = shard.ledger.bytes_written;
    assert!(
        echo.slabs.sirs > 300_000,
        "only {} SIRs were sent",
        echo.slabs.sirs
    );
    assert_eq!(
        written,
        echo.slabs.sirs * BYTES_WRITTEN,
        "{} octets each",
        written / echo.slabs.sirs
    );
}

#[test]
fn a_train_is_full_where_its_next_hop_has_enough() {
    let (_, echo, _) = warm_shard(1, 20_000);
    // A million SIRs a second fill a train of 64 in 64 us, long before its departure time.
    let segments = echo.slabs.sirs as f64 / echo.slabs.trains as f64;
    assert!(segments > 60.0, "{segments} SIRs in a train");
}
