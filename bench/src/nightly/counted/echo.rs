//! A shard whose trains are answered at once, with no kernel between: what the dispatch itself allocates
//! and writes for a SIR once it is warm.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use sirocco_dispatch::rehearsal::Echo;
use sirocco_ring::allocation::allocations_on_this_thread;

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

/// Counts a warm shard.
pub fn count() -> Result<Counters, CountedError> {
    let mut shard = super::shard(&super::config(), SOURCE, EDGE)?;
    let mut echo = Echo::new(EDGE);
    let now = echo.drive(&mut shard, 0, (WARM_UP_TURNS, TURN_NS));
    let (sirs, trains) = (echo.slabs.sirs, echo.slabs.trains);
    let (allocations, written) = (allocations_on_this_thread(), shard.ledger.bytes_written);
    echo.drive(&mut shard, now, (COUNTED_TURNS, TURN_NS));
    let (sirs, trains) = (echo.slabs.sirs - sirs, echo.slabs.trains - trains);
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
