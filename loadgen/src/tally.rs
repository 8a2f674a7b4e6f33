//! What a population counts: plain integers of its thread, per class and by cause.
//!
//! No rates and no times here; the worker copies totals to `live` once a turn and the report is made
//! of them at the end. Called by `population` and `worker`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counts of one class of behaviour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCounts {
    /// Distinct SIRs: first transmissions to devices of this class.
    pub sirs: u64,
    /// Retransmissions of SIRs of this class.
    pub retransmissions: u64,
    /// Answers written, copies included.
    pub answers: u64,
    /// Copies beyond the first answer.
    pub copies: u64,
    /// Transmissions that got no answer on purpose: silent devices, and late ones before their time.
    pub withheld: u64,
    /// Transmissions lost on purpose.
    pub lost: u64,
    /// Late answers stored.
    pub late_stored: u64,
    /// Late answers that left.
    pub late_sent: u64,
    /// Late answers dropped because no slot was free.
    pub late_dropped: u64,
}

impl ClassCounts {
    fn add(&mut self, other: &ClassCounts) {
        self.sirs += other.sirs;
        self.retransmissions += other.retransmissions;
        self.answers += other.answers;
        self.copies += other.copies;
        self.withheld += other.withheld;
        self.lost += other.lost;
        self.late_stored += other.late_stored;
        self.late_sent += other.late_sent;
        self.late_dropped += other.late_dropped;
    }
}

/// All counts of a population since its start or the last reset.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Counts by class index: classes first, then edge overrides.
    pub classes: Vec<ClassCounts>,
    /// Datagrams looked at.
    pub datagrams: u64,
    /// Datagrams that needed the parser; the others had the shape of an earlier one.
    pub parsed: u64,
    /// Datagrams that are not SIP messages.
    pub malformed: u64,
    /// Requests answered with a refusal, by its status.
    pub refused: BTreeMap<u16, u64>,
    /// Datagrams dropped without an answer, by cause.
    pub dropped: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Returns zeroed counts for so many classes.
    #[must_use]
    pub fn new(classes: usize) -> Tally {
        Tally {
            classes: vec![ClassCounts::default(); classes],
            ..Tally::default()
        }
    }

    /// Zeroes every count, keeping the classes.
    pub fn reset(&mut self) {
        *self = Tally::new(self.classes.len());
    }

    /// Returns the sum over all classes.
    #[must_use]
    pub fn totals(&self) -> ClassCounts {
        let mut totals = ClassCounts::default();
        self.classes.iter().for_each(|class| totals.add(class));
        totals
    }

    /// Returns the answers with a refusal.
    #[must_use]
    pub fn refusals(&self) -> u64 {
        self.refused.values().sum()
    }

    /// Counts one dropped datagram.
    pub(crate) fn drop_for(&mut self, cause: &'static str) {
        *self.dropped.entry(cause).or_default() += 1;
    }

    /// Counts one refusal.
    pub(crate) fn refuse_with(&mut self, status: u16) {
        *self.refused.entry(status).or_default() += 1;
    }
}
