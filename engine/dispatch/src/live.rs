//! Live figures: what other threads may read of a worker while it runs.
//!
//! The worker stores each figure once a turn, relaxed; a reader gets figures that are each true but not
//! of one instant. Nothing here is added up on the reader's side into a verdict: reports are.

use crossbeam::utils::CachePadded;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of a worker's figures, counted since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// First transmissions.
    pub sirs_sent: u64,
    /// Transactions closed by a final response.
    pub sirs_answered: u64,
    /// Transmissions by Timer E.
    pub retransmissions: u64,
    /// Units that ended, whichever way.
    pub settled: u64,
    /// Units accepted and not settled.
    pub in_flight: u64,
    /// Identities that an open-loop load has due and could not hand out.
    pub behind: u64,
}

/// The figures, padded so that reading them costs the worker at most a line a turn.
#[derive(Debug, Default)]
pub struct Live {
    figures: CachePadded<[AtomicU64; 6]>,
}

impl Live {
    /// Publishes a snapshot.
    #[inline]
    pub fn publish(&self, progress: &Progress) {
        let values = [
            progress.sirs_sent,
            progress.sirs_answered,
            progress.retransmissions,
            progress.settled,
            progress.in_flight,
            progress.behind,
        ];
        for (figure, value) in self.figures.iter().zip(values) {
            figure.store(value, Ordering::Relaxed);
        }
    }

    /// Reads a snapshot.
    #[must_use]
    pub fn read(&self) -> Progress {
        let [
            sirs_sent,
            sirs_answered,
            retransmissions,
            settled,
            in_flight,
            behind,
        ] = [0, 1, 2, 3, 4, 5].map(|place: usize| self.figures[place].load(Ordering::Relaxed));
        Progress {
            sirs_sent,
            sirs_answered,
            retransmissions,
            settled,
            in_flight,
            behind,
        }
    }
}
