//! The port against the kernel, over loopback, on both backends. One binary, a module per theme.

#![allow(missing_docs)]
// A helper of a test may give up as a test may.
#![allow(clippy::unwrap_used)]
// The filters and limits of `fallback` are system calls with pointers.
#![allow(unsafe_code)]

mod closing;
mod cost;
mod echo;
mod errors;
mod fallback;
mod flood;
mod loopback;
mod rig;
mod stream_ends;
mod stream_limits;
mod stream_rig;
mod streams;
mod waiting;
mod zero_copy;

/// Counts allocations, so that `cost` can hold them at none.
#[global_allocator]
static ALLOCATOR: sirocco_ring::allocation::Counting<std::alloc::System> =
    sirocco_ring::allocation::Counting(std::alloc::System);
