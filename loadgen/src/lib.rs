//! A simulated population of devices behind its edges: it receives SIRs, decides as a seeded mix of
//! behaviours says, answers, and counts what it received so that a ledger can be checked against it.
//!
//! `population` is the whole state machine without I/O; `worker` drives it with one port on one pinned
//! thread. It knows the wire format and the port, never the engine: the judge does not link what it
//! judges. Called by the command `sirocco loadgen`, which owns arguments and the process protocol.

mod config;
mod connections;
mod desk;
mod hash;
mod journal;
mod judge;
mod late;
mod live;
mod meter;
mod mix;
mod mould;
mod outcome;
mod packed;
mod population;
mod report;
#[cfg(test)]
mod sample;
mod script;
mod seen;
mod session;
mod source;
mod stage;
mod sum;
mod tally;
mod worker;

pub use config::{ClassConfig, ConfigError, EDGES_MAX, Idle, LoadgenConfig, Place};
pub use hash::{PUBLIC_KEY, public_hash};
pub use journal::{ENTRY_BYTES, Journal, JournalTotals};
pub use late::{LATE_SLOTS_MAX, LateTrain};
pub use live::{Control, Live, LoadgenProgress, Span};
pub use mix::{
    Behaviour, CLASSES_MAX, COPIES_MAX, Class, DELAY_MS_MAX, EdgeOverride, Mix, MixError,
    NAME_BYTES_MAX, PERIOD_MS_MAX, RETRY_AFTER_S_MAX, WEIGHT_TOTAL_MAX,
};
pub use packed::{Packed, PackedError};
pub use population::{
    Answered, Arrival, Origin, Population, PopulationConfig, SEGMENTS_MAX, Sessions,
};
pub use report::{Lag, LoadgenReport, Spread};
pub use seen::{SEEN_ENTRIES_MAX, SEEN_ENTRIES_MIN, Seen, Sighting};
pub use session::{
    CALLS_MAX, Credentials, DELAY_S_MAX, Delay, DelayError, Disturbance, Fault, Flood,
    GENERATORS_MAX, Invite, PPG_LIST_MAX, PeopleError, RATE_MAX, Register, SessionCounts,
    SessionPolicy, SessionTotals, Take, Traits, Transport, Word,
};
pub use sum::{LAG, LATENESS, SETUP, SumError, TRAINS_IN, TRAINS_OUT};
pub use tally::{ClassCounts, Tally};
pub use worker::{LoadgenError, Ready, run};

/// Counts the allocations of each thread, for the tests of the steady state.
#[cfg(test)]
#[global_allocator]
static ALLOCATOR: sirocco_ring::allocation::Counting<std::alloc::System> =
    sirocco_ring::allocation::Counting(std::alloc::System);
