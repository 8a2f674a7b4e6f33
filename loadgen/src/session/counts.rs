//! What devices did with SIRs and sessions: plain integers of one class, and its setup times.
//!
//! Counted by `calls` and `consider`, told in the report. The names of RFC 6076 and RFC 7501 stand
//! where they apply: attempts, established, failed, session request delay.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::decide::{WORDS, Word};
use crate::report::Lag;

/// The longest setup time a histogram holds: 64 s, past Timer B.
const SETUP_NS_MAX: u64 = 64_000_000_000;

/// Counts of one class, or of all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionCounts {
    /// Copies of SIRs delivered to devices: more than SIRs where edges fork.
    pub copies: u64,
    /// What devices decided, by word; see [`Word`].
    pub decisions: BTreeMap<String, u64>,
    /// Sessions that devices began to build: distinct INVITEs (RFC 7501, session attempts).
    pub attempts: u64,
    /// Transmissions of INVITE beyond the first.
    pub invite_retransmissions: u64,
    /// Provisional responses.
    pub provisional: u64,
    /// Sessions built: INVITEs with a 2xx.
    pub established: u64,
    /// INVITEs refused, by status.
    pub refused: BTreeMap<u16, u64>,
    /// INVITEs without a final response (Timer B).
    pub timeouts: u64,
    /// Session request delay of established sessions (RFC 6076 4.3.1): INVITE to 2xx, microseconds.
    pub setup_us: Lag,
    /// ACKs sent for 2xx, those for retransmissions included.
    pub acks: u64,
    /// 2xx that came again.
    pub repeated_2xx: u64,
    /// 2xx of another dialog than the first, which were ended (RFC 3261 13.2.2.4).
    pub forked_2xx: u64,
    /// Contents received, retransmissions not counted.
    pub contents: u64,
    /// Octets of contents.
    pub content_octets: u64,
    /// Contents that are not what the scenario expects.
    pub contents_corrupt: u64,
    /// MESSAGEs that came again.
    pub contents_repeated: u64,
    /// Contents beyond the first that came of one SIR to one user: duplicate pushes.
    pub duplicate_pushes: u64,
    /// Sessions ended by the other side.
    pub ended_by_peer: u64,
    /// Sessions ended by the device, BYE answered.
    pub ended_by_device: u64,
    /// BYEs without an answer (Timer F).
    pub bye_timeouts: u64,
    /// Sessions whose device vanished.
    pub vanished: u64,
    /// Applications activated before a session was built.
    pub activated_before: u64,
    /// Applications activated after a session was built.
    pub activated_after: u64,
    /// Messages that returned what a SIR asked for.
    pub told: u64,
    /// Of them, answered 2xx.
    pub told_accepted: u64,
    /// Of them, refused or not answered.
    pub told_failed: u64,
    /// Challenges answered (401, 407).
    pub challenges: u64,
    /// REGISTERs sent, refreshes included, retransmissions not.
    pub registers: u64,
    /// REGISTERs answered 2xx.
    pub registered: u64,
    /// REGISTERs refused or not answered.
    pub register_failures: u64,
    /// Calls not begun, by cause.
    pub not_begun: BTreeMap<String, u64>,
}

/// What all classes did together, and what stands at the end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionTotals {
    /// The counts of all classes.
    #[serde(flatten)]
    pub counts: SessionCounts,
    /// Messages that calls sent, by kind.
    pub messages_sent: BTreeMap<String, u64>,
    /// Octets of these messages.
    pub octets_sent: u64,
    /// Messages lost, doubled or held back on purpose.
    pub disturbed: u64,
    /// Messages that belong to no call.
    pub strays: u64,
    /// MSRP messages that came.
    pub msrp_messages: u64,
    /// Sessions that the other side did not let bind to their connection.
    pub msrp_refused: u64,
    /// MSRP connections that ended.
    pub msrp_connections_ended: u64,
    /// SIP connections asked for or taken.
    pub sip_connections: u64,
    /// SIP connections that ended or were refused.
    pub sip_connections_ended: u64,
    /// SIP messages that came over connections.
    pub sip_stream_messages: u64,
    /// Calls that are not over, of all kinds.
    pub calls: u64,
    /// Of them, sessions that are up.
    pub open: u64,
    /// The most calls at once.
    pub calls_max: u64,
    /// INVITEs with forged tokens, and their final responses by class of status (`4xx`).
    pub flood_sent: u64,
    /// What open-loop sources had due at the end and had not begun.
    pub behind: u64,
    /// See `flood_sent`.
    pub flood_answers: BTreeMap<String, u64>,
}

/// Counts in the making.
#[derive(Clone, Debug)]
pub(crate) struct Sheet {
    pub(crate) counts: SessionCounts,
    pub(crate) words: [u64; WORDS],
    pub(crate) setup: Histogram<u64>,
}

impl Sheet {
    pub(crate) fn new() -> Sheet {
        let setup = Histogram::new_with_bounds(1_000, SETUP_NS_MAX, 3);
        Sheet {
            counts: SessionCounts::default(),
            words: [0; WORDS],
            setup: setup.expect("constant bounds are in order"),
        }
    }

    #[inline]
    pub(crate) fn set_up(&mut self, ns: u64) {
        self.counts.established += 1;
        self.setup.saturating_record(ns);
    }

    pub(crate) fn not_begun(&mut self, cause: &str) {
        // Looked up first: a cause that is known allocates nothing.
        match self.counts.not_begun.get_mut(cause) {
            Some(count) => *count += 1,
            None => {
                self.counts.not_begun.insert(cause.to_owned(), 1);
            }
        }
    }

    /// Returns the counts with what is summed up at the end.
    pub(crate) fn told(&self) -> SessionCounts {
        let named = Word::ALL.iter().zip(self.words);
        SessionCounts {
            decisions: named
                .filter(|(_, count)| *count > 0)
                .map(|(word, count)| (word.name().to_owned(), count))
                .collect(),
            setup_us: Lag::of(&self.setup),
            ..self.counts.clone()
        }
    }

    /// Adds the counts of another class.
    pub(crate) fn add(&mut self, other: &Sheet) {
        let (to, from) = (&mut self.counts, &other.counts);
        let pairs = [
            (&mut to.copies, from.copies),
            (&mut to.attempts, from.attempts),
            (&mut to.invite_retransmissions, from.invite_retransmissions),
            (&mut to.provisional, from.provisional),
            (&mut to.established, from.established),
            (&mut to.timeouts, from.timeouts),
            (&mut to.acks, from.acks),
            (&mut to.repeated_2xx, from.repeated_2xx),
            (&mut to.forked_2xx, from.forked_2xx),
            (&mut to.contents, from.contents),
            (&mut to.content_octets, from.content_octets),
            (&mut to.contents_corrupt, from.contents_corrupt),
            (&mut to.contents_repeated, from.contents_repeated),
            (&mut to.duplicate_pushes, from.duplicate_pushes),
            (&mut to.ended_by_peer, from.ended_by_peer),
            (&mut to.ended_by_device, from.ended_by_device),
            (&mut to.bye_timeouts, from.bye_timeouts),
            (&mut to.vanished, from.vanished),
            (&mut to.activated_before, from.activated_before),
            (&mut to.activated_after, from.activated_after),
            (&mut to.told, from.told),
            (&mut to.told_accepted, from.told_accepted),
            (&mut to.told_failed, from.told_failed),
            (&mut to.challenges, from.challenges),
            (&mut to.registers, from.registers),
            (&mut to.registered, from.registered),
            (&mut to.register_failures, from.register_failures),
        ];
        for (sum, count) in pairs {
            *sum += count;
        }
        for (status, count) in &from.refused {
            *to.refused.entry(*status).or_default() += count;
        }
        for (cause, count) in &from.not_begun {
            *to.not_begun.entry(cause.clone()).or_default() += count;
        }
        for (sum, count) in self.words.iter_mut().zip(other.words) {
            *sum += count;
        }
        // Equal bounds: adding cannot fail.
        let added = self.setup.add(&other.setup);
        debug_assert!(added.is_ok());
    }
}
