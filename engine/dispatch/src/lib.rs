//! The dispatch engine: orders in, SIRs out, answers in, a ledger that balances.
//!
//! One worker owns one shard. The shard (`shard`) is sans-I/O and decides what happens; the worker
//! (`worker`) holds the clock and the ring and decides when. The way of a SIR: `intake` hands out the
//! identities of `order`s, `shard::select` looks them up and picks devices, `transaction` opens a slot,
//! `branch` names it, `templates` and `train` render and send it, `wheel` retransmits it,
//! `shard::answer` ends it and `ledger` books it. It opens no listener for orders and reads no command
//! line: `bench` does.

#![forbid(unsafe_code)]

pub mod branch;
pub mod change;
pub mod config;
pub mod contents;
pub mod flight;
pub mod intake;
pub mod kept;
pub mod ledger;
pub mod live;
pub mod load;
pub mod next_hop;
pub mod order;
pub mod outcome;
pub mod outlet;
pub mod pending;
#[cfg(feature = "planted-slow-down")]
mod planted;
pub mod pushes;
pub mod reception;
pub mod rehearsal;
pub mod replies;
pub mod report;
pub mod returned;
pub mod series;
pub mod shapes;
pub mod shard;
pub mod stopwatch;
pub mod streams;
pub mod templates;
pub mod token;
pub mod train;
pub mod transaction;
pub mod turns;
pub mod used;
pub mod worker;

pub use sirocco_session::wheel;

#[cfg(test)]
mod testing;
