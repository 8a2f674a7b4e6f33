//! Static probes (USDT) that bpftrace, perf and gdb attach to: what a worker does, told to whoever listens.
//!
//! Idle, a probe is a load of its semaphore and a branch not taken; what its arguments cost is paid only while
//! somebody is attached. They are in every build. The macros of crate `probe` write the ELF notes and expand to
//! inline assembly, so they are used here and nowhere else. Called by `dispatch`; the scripts are in
//! `bench/probes`.

use probe::probe_lazy;

/// A turn with work has ended: its length without sleep in nanoseconds, and the SIRs that it sent.
#[inline]
pub fn turn(length_ns: u64, sirs: u64) {
    probe_lazy!(sirocco, turn, length_ns, sirs);
}

/// In a turn whose inside was stamped, a stage took so many nanoseconds; stages by their number, from 0.
#[inline]
pub fn stage(number: u64, ns: impl FnOnce() -> u64) {
    probe_lazy!(sirocco, stage, number, ns());
}

/// SIRs leave together: how many, and the octets of each.
#[inline]
pub fn train(sirs: u64, octets: u64) {
    probe_lazy!(sirocco, train, sirs, octets);
}

/// A SIR has its final response: the status code, and the nanoseconds since it was due.
#[inline]
pub fn answer(status: u64, waited_ns: impl FnOnce() -> u64) {
    probe_lazy!(sirocco, answer, status, waited_ns());
}

/// A transaction has failed: the code of its outcome, and the nanoseconds since its SIR was due.
#[inline]
pub fn failure(code: u64, waited_ns: impl FnOnce() -> u64) {
    probe_lazy!(sirocco, failure, code, waited_ns());
}
