//! Counters that do not depend on the machine: allocations, octets written, system calls and
//! submissions for each SIR, SIRs for each train. They are the regression gate; times are not.
//!
//! `shard` drives the shard alone, without a kernel; `port` a worker and a load generator over loopback.

#[path = "../rig/devices.rs"]
mod devices;
#[path = "../rig/engine.rs"]
mod engine;
mod port;
mod shard;

use std::alloc::System;

use sirocco_ring::allocation::Counting;

/// Counts the allocations of each thread.
#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);
