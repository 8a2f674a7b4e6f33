//! The ledger: every target that was accepted is delivered, stored, failed by a cause, expired,
//! cancelled or in flight, to the unit.
//!
//! One unit is one device of one order; an identity that resolves to no device is one unit too. SIRs,
//! retransmissions and answers are counted beside it, since one unit may take several of them. It knows
//! no protocol and no clock. The shard writes it, reports read it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Why a target failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A final response of 300 to 699.
    Status(u16),
    /// Timer F: no final response within 64*T1 (RFC 3261 17.1.2.2).
    Timeout,
    /// The kernel refused the datagram (RFC 3261 17.1.4).
    Transport,
    /// The order names an identity that is not in the index, or is none.
    UnknownIdentity,
    /// The identity has no device that the selector wants.
    NoDevice,
    /// Identity and device make a SIR of more than 1300 octets (RFC 3428 8).
    TooLong,
    /// Its next hop is closed by Retry-After and has no room to wait.
    NextHopClosed,
    /// Its next hop answers nothing and has no room to wait.
    NextHopStalled,
    /// Its user is a `tel` or SIPS URI, or its device a GRUU that cannot stand as Request-URI over UDP
    /// (RFC 3261 8.1.2, 19.1.1).
    Unroutable,
    /// Its device is named by an IMEI and there is no namespace to obfuscate it (RFC 7255 7).
    ImeiNamespace,
}

impl Cause {
    const NAMED: [&str; 9] = [
        "timeout",
        "transport",
        "unknown-identity",
        "no-device",
        "too-long",
        "next-hop-closed",
        "next-hop-stalled",
        "unroutable",
        "imei-namespace",
    ];

    fn index(self) -> usize {
        match self {
            Cause::Status(status) => usize::from(status.min(STATUS_MAX)),
            Cause::Timeout => 0,
            Cause::Transport => 1,
            Cause::UnknownIdentity => 2,
            Cause::NoDevice => 3,
            Cause::TooLong => 4,
            Cause::NextHopClosed => 5,
            Cause::NextHopStalled => 6,
            Cause::Unroutable => 7,
            Cause::ImeiNamespace => 8,
        }
    }

    /// The name that reports use: a status code as digits, or a word.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Cause::Status(status) => status.to_string(),
            named => Self::NAMED[named.index()].to_owned(),
        }
    }
}

/// The largest status code of RFC 3261 (6xx).
const STATUS_MAX: u16 = 699;

/// How one target ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A 2xx other than 202: the device took the SIR.
    Delivered,
    /// 202: somebody else took it to deliver later (RFC 3428 7).
    Stored,
    /// It failed.
    Failed(Cause),
    /// Its order's deadline passed.
    Expired,
    /// A drain or a stop ended it.
    Cancelled,
}

impl Outcome {
    /// Writes the name that reports use: `delivered`, `stored`, `expired`, `cancelled`, or the cause of a failure.
    pub fn write_name(self, out: &mut String) {
        match self {
            Outcome::Delivered => out.push_str("delivered"),
            Outcome::Stored => out.push_str("stored"),
            Outcome::Expired => out.push_str("expired"),
            Outcome::Cancelled => out.push_str("cancelled"),
            Outcome::Failed(Cause::Status(status)) => {
                let _ = write!(out, "{status}");
            }
            Outcome::Failed(named) => out.push_str(Cause::NAMED[named.index()]),
        }
    }

    /// The outcome as one number, as the outcome record keeps it: the status code, or 1000 and above.
    #[must_use]
    pub fn code(self) -> u16 {
        match self {
            Outcome::Delivered => 200,
            Outcome::Stored => 202,
            Outcome::Failed(Cause::Status(status)) => status,
            Outcome::Failed(cause) => 1000 + cause.index() as u16,
            Outcome::Expired => 1100,
            Outcome::Cancelled => 1101,
        }
    }
}

/// Answers that closed nothing, by what they were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrayAnswers {
    /// Not SIP, or without a needed header field.
    pub malformed: u64,
    /// A branch that this engine does not make.
    pub foreign: u64,
    /// A branch of our form with a wrong tag.
    pub forged: u64,
    /// A transaction that is over: late or duplicate.
    pub late: u64,
    /// CSeq of another method (RFC 3261 17.1.3).
    pub other_method: u64,
    /// Provisional (1xx): slows Timer E, closes nothing.
    pub provisional: u64,
    /// Status codes outside 100 to 699.
    pub bad_status: u64,
}

/// The books of one shard.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// Units taken from orders.
    pub accepted: u64,
    /// Units delivered.
    pub delivered: u64,
    /// Units answered 202.
    pub stored: u64,
    /// Units whose order's deadline passed.
    pub expired: u64,
    /// Units that a drain or stop ended.
    pub cancelled: u64,
    failed_status: Box<[u64]>,
    failed_named: [u64; Cause::NAMED.len()],
    /// First transmissions.
    pub sirs_sent: u64,
    /// Transmissions by Timer E.
    pub retransmissions: u64,
    /// Transactions that a final response closed.
    pub sirs_answered: u64,
    /// Octets that the engine wrote into send slabs.
    pub bytes_written: u64,
    /// Answers that closed nothing.
    pub stray: StrayAnswers,
}

impl Default for Ledger {
    fn default() -> Self {
        Self {
            accepted: 0,
            delivered: 0,
            stored: 0,
            expired: 0,
            cancelled: 0,
            failed_status: vec![0; usize::from(STATUS_MAX) + 1].into_boxed_slice(),
            failed_named: [0; Cause::NAMED.len()],
            sirs_sent: 0,
            retransmissions: 0,
            sirs_answered: 0,
            bytes_written: 0,
            stray: StrayAnswers::default(),
        }
    }
}

impl Ledger {
    /// Books the end of one unit.
    #[inline]
    pub fn settle(&mut self, outcome: Outcome) {
        self.settle_many(outcome, 1);
    }

    /// Books the same end of `units` units.
    #[inline]
    pub fn settle_many(&mut self, outcome: Outcome, units: u64) {
        match outcome {
            Outcome::Delivered => self.delivered += units,
            Outcome::Stored => self.stored += units,
            Outcome::Expired => self.expired += units,
            Outcome::Cancelled => self.cancelled += units,
            Outcome::Failed(cause @ Cause::Status(_)) => self.failed_status[cause.index()] += units,
            Outcome::Failed(cause) => self.failed_named[cause.index()] += units,
        }
    }

    /// Units that failed, all causes together.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.failed_status.iter().chain(&self.failed_named).sum()
    }

    /// Units that ended, whichever way.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.delivered + self.stored + self.failed() + self.expired + self.cancelled
    }

    /// Failed units by the name of their cause; causes with none are left out.
    #[must_use]
    pub fn failed_by_cause(&self) -> BTreeMap<String, u64> {
        let by_status = self.failed_status.iter().enumerate();
        let by_status = by_status.map(|(status, count)| (status.to_string(), *count));
        let named = Cause::NAMED.iter().zip(&self.failed_named);
        let named = named.map(|(name, count)| ((*name).to_owned(), *count));
        by_status
            .chain(named)
            .filter(|(_, count)| *count > 0)
            .collect()
    }

    /// The balance: accepted units that are neither settled nor among `in_flight`. Always 0, or a bug.
    #[must_use]
    pub fn residue(&self, in_flight: u64) -> i64 {
        self.accepted as i64 - self.settled() as i64 - in_flight as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_own_place_and_number() {
        let causes = [
            Cause::Status(404),
            Cause::Status(503),
            Cause::Timeout,
            Cause::Transport,
            Cause::UnknownIdentity,
            Cause::NoDevice,
            Cause::TooLong,
            Cause::NextHopClosed,
            Cause::NextHopStalled,
            Cause::Unroutable,
            Cause::ImeiNamespace,
        ];
        let failed = causes.map(Outcome::Failed);
        let ended = [
            Outcome::Delivered,
            Outcome::Stored,
            Outcome::Expired,
            Outcome::Cancelled,
        ];
        let mut ledger = Ledger::default();
        let mut codes = std::collections::BTreeSet::new();
        for outcome in failed.into_iter().chain(ended) {
            ledger.accepted += 1;
            ledger.settle(outcome);
            assert!(codes.insert(outcome.code()), "{outcome:?}");
            assert_eq!(ledger.residue(0), 0);
        }
        let by_cause = ledger.failed_by_cause();
        assert_eq!(by_cause.len(), causes.len());
        for cause in causes {
            assert_eq!(by_cause[&cause.name()], 1);
        }
        assert_eq!(ledger.residue(1), -1);
    }
}
