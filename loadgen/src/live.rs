//! What the worker shows while it runs and what it can be told: relaxed atomics, stored once a turn.
//!
//! The worker never waits for a reader, and a reader sees counts that may be one turn old and not of
//! one instant. Called by `worker` and by whoever shows progress.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

use serde::{Deserialize, Serialize};

/// Counts that the worker stores; on a cache line of its own, so that readers disturb nothing else.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct Live {
    sirs_received: AtomicU64,
    retransmissions_received: AtomicU64,
    datagrams_received: AtomicU64,
    responses_sent: AtomicU64,
    malformed: AtomicU64,
    dropped: AtomicU64,
    late_waiting: AtomicU64,
    sessions_begun: AtomicU64,
    sessions_established: AtomicU64,
    sessions_open: AtomicU64,
    cpu_ns: AtomicU64,
    wall_ns: AtomicU64,
    /// When counting began, in nanoseconds of CLOCK_MONOTONIC; 0 before.
    begun_ns: AtomicU64,
    /// The last closed span; its number is stored last.
    span: [AtomicU64; 6],
}

/// A span of time that somebody outside cuts out, to know whether the worker itself kept up in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// How many spans were closed, this one included.
    pub number: u64,
    /// Its length in nanoseconds.
    pub wall_ns: u64,
    /// Time in turns that found something to do, in nanoseconds.
    pub busy_ns: u64,
    /// Median delay from reaping a request to handing its answer to the kernel, in nanoseconds.
    pub lag_p50_ns: u64,
    /// The 99th percentile.
    pub lag_p99_ns: u64,
    /// The longest.
    pub lag_max_ns: u64,
}

/// What a worker can be told while it runs.
#[derive(Debug)]
pub struct Control {
    /// When to begin and to end, in nanoseconds of CLOCK_MONOTONIC.
    begin_ns: AtomicU64,
    stop_ns: AtomicU64,
    reset: AtomicBool,
    span: AtomicBool,
    begin: AtomicBool,
}

/// One reading of [`Live`]; counts since the start or the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadgenProgress {
    /// Distinct SIRs: first transmissions.
    pub sirs_received: u64,
    /// Later transmissions of the same SIRs.
    pub retransmissions_received: u64,
    /// Datagrams of any kind.
    pub datagrams_received: u64,
    /// Answers handed to the kernel, copies included.
    pub responses_sent: u64,
    /// Datagrams that are not SIP messages.
    pub malformed: u64,
    /// Datagrams without an answer because of what they were.
    pub dropped: u64,
    /// Late answers that wait for their time.
    pub late_waiting: u64,
    /// Sessions that devices began to build.
    #[serde(default)]
    pub sessions_begun: u64,
    /// Sessions built.
    #[serde(default)]
    pub sessions_established: u64,
    /// Calls that are not over.
    #[serde(default)]
    pub sessions_open: u64,
    /// CPU time of the worker's thread, in nanoseconds.
    pub cpu_ns: u64,
    /// Time since the start or the last reset, in nanoseconds.
    pub wall_ns: u64,
}

impl Live {
    /// Returns counts of zero.
    #[must_use]
    pub fn new() -> Live {
        Live::default()
    }

    /// Reads all counts.
    #[must_use]
    pub fn read(&self) -> LoadgenProgress {
        LoadgenProgress {
            sirs_received: self.sirs_received.load(Relaxed),
            retransmissions_received: self.retransmissions_received.load(Relaxed),
            datagrams_received: self.datagrams_received.load(Relaxed),
            responses_sent: self.responses_sent.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
            late_waiting: self.late_waiting.load(Relaxed),
            sessions_begun: self.sessions_begun.load(Relaxed),
            sessions_established: self.sessions_established.load(Relaxed),
            sessions_open: self.sessions_open.load(Relaxed),
            cpu_ns: self.cpu_ns.load(Relaxed),
            wall_ns: self.wall_ns.load(Relaxed),
        }
    }

    /// When the worker began to count, in nanoseconds of CLOCK_MONOTONIC; 0 before it did.
    #[must_use]
    pub fn begun_ns(&self) -> u64 {
        self.begun_ns.load(Relaxed)
    }

    /// Stores when the worker began.
    pub(crate) fn store_begun(&self, now_ns: u64) {
        self.begun_ns.store(now_ns, Relaxed);
    }

    /// Reads the last closed span; all zero before the first.
    #[must_use]
    pub fn span(&self) -> Span {
        let number = self.span[0].load(Acquire);
        let [wall_ns, busy_ns, lag_p50_ns, lag_p99_ns, lag_max_ns] =
            [1, 2, 3, 4, 5].map(|place: usize| self.span[place].load(Relaxed));
        Span {
            number,
            wall_ns,
            busy_ns,
            lag_p50_ns,
            lag_p99_ns,
            lag_max_ns,
        }
    }

    /// Stores a closed span under the next number.
    pub(crate) fn store_span(&self, span: &Span) {
        let figures = [
            span.wall_ns,
            span.busy_ns,
            span.lag_p50_ns,
            span.lag_p99_ns,
            span.lag_max_ns,
        ];
        for (place, figure) in self.span[1..].iter().zip(figures) {
            place.store(figure, Relaxed);
        }
        let number = self.span[0].load(Relaxed) + 1;
        self.span[0].store(number, Release);
    }

    /// Stores all counts.
    #[inline]
    pub(crate) fn store(&self, progress: &LoadgenProgress) {
        self.sirs_received.store(progress.sirs_received, Relaxed);
        self.retransmissions_received
            .store(progress.retransmissions_received, Relaxed);
        self.datagrams_received
            .store(progress.datagrams_received, Relaxed);
        self.responses_sent.store(progress.responses_sent, Relaxed);
        self.malformed.store(progress.malformed, Relaxed);
        self.dropped.store(progress.dropped, Relaxed);
        self.late_waiting.store(progress.late_waiting, Relaxed);
        self.sessions_begun.store(progress.sessions_begun, Relaxed);
        self.sessions_established
            .store(progress.sessions_established, Relaxed);
        self.sessions_open.store(progress.sessions_open, Relaxed);
        self.cpu_ns.store(progress.cpu_ns, Relaxed);
        self.wall_ns.store(progress.wall_ns, Relaxed);
    }
}

/// A time that never comes.
const NEVER_NS: u64 = u64::MAX;

impl Default for Control {
    fn default() -> Control {
        Control {
            begin_ns: AtomicU64::new(0),
            stop_ns: AtomicU64::new(NEVER_NS),
            reset: AtomicBool::new(false),
            span: AtomicBool::new(false),
            begin: AtomicBool::new(false),
        }
    }
}

impl Control {
    /// Returns a control that asks for nothing.
    #[must_use]
    pub fn new() -> Control {
        Control::default()
    }

    /// Returns a control that lets the worker answer, but neither count nor begin calls of its own before
    /// [`Control::begin_at`] names the time: the barrier of generators that run together.
    #[must_use]
    pub fn held() -> Control {
        let control = Control::default();
        control.begin_ns.store(NEVER_NS, Relaxed);
        control
    }

    /// Lets the worker begin at this time of CLOCK_MONOTONIC in nanoseconds, or at once if that is past.
    pub fn begin_at(&self, ns: u64) {
        self.begin_ns.store(ns, Relaxed);
    }

    /// Asks the worker to finish and report at this time of CLOCK_MONOTONIC in nanoseconds.
    pub fn stop_at(&self, ns: u64) {
        self.stop_ns.store(ns, Relaxed);
    }

    #[inline]
    pub(crate) fn is_begun(&self, now_ns: u64) -> bool {
        self.begin_ns.load(Relaxed) <= now_ns
    }

    /// Asks the worker to finish and report; it does within a few milliseconds.
    pub fn stop(&self) {
        self.stop_at(0);
    }

    /// Asks the worker to zero its counts, so that a warm-up does not show in the report.
    pub fn reset(&self) {
        self.reset.store(true, Relaxed);
    }

    #[inline]
    pub(crate) fn is_stopped(&self, now_ns: u64) -> bool {
        self.stop_ns.load(Relaxed) <= now_ns
    }

    /// Asks the worker to close the open span and to begin another.
    pub fn close_span(&self) {
        self.span.store(true, Relaxed);
    }

    /// Tells whether a span is to be closed, once.
    #[inline]
    pub(crate) fn take_span(&self) -> bool {
        self.span.load(Relaxed) && self.span.swap(false, Relaxed)
    }

    /// Begins the times of overrides anew: their phases count from now.
    pub fn begin(&self) {
        self.begin.store(true, Relaxed);
    }

    /// Tells whether overrides begin anew, once.
    #[inline]
    pub(crate) fn take_begin(&self) -> bool {
        self.begin.load(Relaxed) && self.begin.swap(false, Relaxed)
    }

    /// Tells whether a reset was asked for, once.
    #[inline]
    pub(crate) fn take_reset(&self) -> bool {
        self.reset.load(Relaxed) && self.reset.swap(false, Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_read() {
        let live = Live::new();
        let progress = LoadgenProgress {
            sirs_received: 1,
            retransmissions_received: 2,
            datagrams_received: 3,
            responses_sent: 4,
            malformed: 5,
            dropped: 6,
            late_waiting: 7,
            sessions_begun: 10,
            sessions_established: 11,
            sessions_open: 12,
            cpu_ns: 8,
            wall_ns: 9,
        };
        live.store(&progress);
        assert_eq!(live.read(), progress);
    }

    #[test]
    fn a_span_is_asked_for_once_and_read_whole() {
        let (control, live) = (Control::new(), Live::new());
        assert!(!control.take_span());
        control.close_span();
        assert!(control.take_span() && !control.take_span());
        let span = Span {
            number: 1,
            wall_ns: 2,
            busy_ns: 3,
            lag_p50_ns: 4,
            lag_p99_ns: 5,
            lag_max_ns: 6,
        };
        assert_eq!(live.span(), Span::default());
        live.store_span(&span);
        assert_eq!(live.span(), span);
    }

    #[test]
    fn a_begin_is_taken_once() {
        let control = Control::new();
        assert!(!control.take_begin());
        control.begin();
        assert!(control.take_begin() && !control.take_begin());
    }

    #[test]
    fn a_held_worker_begins_at_its_time_and_ends_at_its_time() {
        let free = Control::new();
        assert!(free.is_begun(0) && !free.is_stopped(1 << 62));
        let control = Control::held();
        assert!(!control.is_begun(1 << 62));
        control.begin_at(500);
        assert!(!control.is_begun(499) && control.is_begun(500));
        control.stop_at(900);
        assert!(!control.is_stopped(899) && control.is_stopped(900));
        control.stop();
        assert!(control.is_stopped(1));
    }

    #[test]
    fn a_reset_is_taken_once() {
        let control = Control::new();
        assert!(!control.take_reset());
        control.reset();
        assert!(control.take_reset());
        assert!(!control.take_reset());
    }
}
