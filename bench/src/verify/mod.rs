//! SIR by SIR: what the population and the orders say should have happened, what the engine's record
//! says it did, and what the loadgen's record says it received, joined by hashes of Request-URI and
//! branch. Every wanted device got exactly the SIRs it should, and nobody else got any. Three lists
//! are sorted and merged; nothing is believed from a count. Called by the bench with `--verify`.

pub mod entries;
pub mod expected;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Examples kept of each kind of fault: enough to see a pattern, few enough to read.
const EXAMPLES_MAX: usize = 5;

/// Outcome codes of the engine from here on are not status codes of a response.
const NOT_A_STATUS: u16 = 1000;

/// Outcome code of Timer F in the engine's record (the first cause that is no status).
pub const TIMEOUT: u16 = 1000;

/// What should happen to one device, named by the hash of its Request-URI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expectation {
    /// SipHash-1-3 of the Request-URI under the public key of the records.
    pub uri_hash: u64,
    /// Targets that name this device: outcomes that the engine has to book.
    pub targets: u32,
    /// Further transactions that each target may take, after a 503 with Retry-After.
    pub retries_max: u32,
    /// Outcome codes possible for it; empty slots are 0, all 0 allows any.
    pub outcomes: [u16; 2],
}

/// What the engine booked for one target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Booked {
    /// Hash of the Request-URI.
    pub uri_hash: u64,
    /// Hash of the whole branch.
    pub branch_hash: u64,
    /// How it ended: a status code, or 1000 and above.
    pub outcome: u16,
}

/// What the loadgen received: one distinct SIR.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Received {
    /// Hash of the Request-URI.
    pub uri_hash: u64,
    /// Hash of the whole branch.
    pub branch_hash: u64,
}

/// Kinds of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A wanted device has fewer outcomes than targets.
    Missing,
    /// A device has more outcomes than targets, or the loadgen received more SIRs than those allow.
    Duplicated,
    /// A device that nobody wanted was booked or received a SIR.
    Unwanted,
    /// The engine books a response to a SIR that the loadgen never received.
    NeverReceived,
    /// The loadgen received a SIR whose branch the engine did not book.
    NeverBooked,
    /// The outcome is not one that this device's behaviour can give.
    OutcomeMismatch,
    /// Two SIRs of one side carry the same branch.
    BranchReused,
}

/// One fault, as an example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Its kind.
    pub fault: Fault,
    /// Hash of the Request-URI, hexadecimal.
    pub uri_hash: String,
    /// The Request-URI, where the population knows it.
    pub uri: String,
    /// What was expected and what was found.
    pub detail: String,
}

/// Result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Devices that should get a SIR.
    pub devices_wanted: u64,
    /// Targets the engine booked.
    pub sirs_booked: u64,
    /// Distinct SIRs the loadgen received.
    pub sirs_received: u64,
    /// Targets for which all three agree.
    pub sirs_agreed: u64,
    /// Faults by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// A few of each kind.
    pub examples: Vec<Example>,
    /// Entries that a record left out; anything but 0 makes the comparison worthless.
    pub entries_left_out: u64,
}

impl Verification {
    /// True when nothing differs, nothing was left out, and there was something to compare.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty() && self.entries_left_out == 0 && self.devices_wanted > 0
    }

    /// One line for people.
    #[must_use]
    pub fn summary(&self) -> String {
        if self.devices_wanted == 0 {
            return "no device was wanted, so nothing was compared".to_owned();
        }
        if self.entries_left_out > 0 {
            return format!(
                "{} entries were left out of a record, so nothing is proved; give it a faster disk",
                self.entries_left_out
            );
        }
        if self.faults.is_empty() {
            return format!(
                "{} devices wanted, {} SIRs booked, {} received, all agree",
                self.devices_wanted, self.sirs_booked, self.sirs_received
            );
        }
        let faults = self.faults.iter().map(|(fault, count)| {
            let name = serde_json::to_value(fault).unwrap_or_default();
            format!("{count} {}", name.as_str().unwrap_or_default())
        });
        faults.collect::<Vec<_>>().join(", ")
    }

    /// Puts the Request-URI into each example, by its hash.
    pub fn name_examples(&mut self, name: impl Fn(u64) -> Option<String>) {
        for example in &mut self.examples {
            let hash = u64::from_str_radix(&example.uri_hash, 16).unwrap_or_default();
            example.uri = name(hash).unwrap_or_default();
        }
    }

    /// Hashes of the Request-URIs that the examples speak of.
    #[must_use]
    pub fn example_hashes(&self) -> Vec<u64> {
        let hashes = self.examples.iter().map(|example| &example.uri_hash);
        hashes
            .filter_map(|hash| u64::from_str_radix(hash, 16).ok())
            .collect()
    }

    fn fault(&mut self, fault: Fault, uri_hash: u64, count: u64, detail: impl FnOnce() -> String) {
        *self.faults.entry(fault).or_default() += count;
        if self
            .examples
            .iter()
            .filter(|example| example.fault == fault)
            .count()
            < EXAMPLES_MAX
        {
            self.examples.push(Example {
                fault,
                uri_hash: format!("{uri_hash:016x}"),
                uri: String::new(),
                detail: detail(),
            });
        }
    }
}

/// Compares the three lists, which it sorts; `left_out` entries are missing from the records.
#[must_use]
pub fn compare(
    expected: &mut [Expectation],
    booked: &mut [Booked],
    received: &mut [Received],
    left_out: u64,
) -> Verification {
    expected.sort_unstable();
    booked.sort_unstable();
    received.sort_unstable();
    let mut result = Verification {
        devices_wanted: expected.len() as u64,
        sirs_booked: booked.len() as u64,
        sirs_received: received.len() as u64,
        entries_left_out: left_out,
        ..Verification::default()
    };
    let (mut expected, mut booked, mut received) = (&*expected, &*booked, &*received);
    loop {
        let heads = [
            expected.first().map(|e| e.uri_hash),
            booked.first().map(|b| b.uri_hash),
            received.first().map(|r| r.uri_hash),
        ];
        let Some(uri_hash) = heads.into_iter().flatten().min() else {
            return result;
        };
        let (here_expected, rest) = split(expected, |e| e.uri_hash == uri_hash);
        expected = rest;
        let (here_booked, rest) = split(booked, |b| b.uri_hash == uri_hash);
        booked = rest;
        let (here_received, rest) = split(received, |r| r.uri_hash == uri_hash);
        received = rest;
        match here_expected.first() {
            Some(wanted) => device(&mut result, wanted, here_booked, here_received),
            None => {
                let count = here_booked.len().max(here_received.len()) as u64;
                result.fault(Fault::Unwanted, uri_hash, count, || {
                    format!(
                        "wanted by no order, booked {} times, received {} times",
                        here_booked.len(),
                        here_received.len()
                    )
                });
            }
        }
    }
}

/// The leading elements for which `belongs` holds, and the rest.
fn split<T>(list: &[T], belongs: impl Fn(&T) -> bool) -> (&[T], &[T]) {
    list.split_at(list.iter().take_while(|element| belongs(element)).count())
}

/// Compares what concerns one wanted device.
fn device(
    result: &mut Verification,
    wanted: &Expectation,
    booked: &[Booked],
    received: &[Received],
) {
    let (hash, targets) = (wanted.uri_hash, wanted.targets as usize);
    if booked.len() < targets {
        result.fault(
            Fault::Missing,
            hash,
            (targets - booked.len()) as u64,
            || format!("{targets} targets, {} outcomes booked", booked.len()),
        );
    }
    let sirs_max = targets * (1 + wanted.retries_max as usize);
    let excess = booked
        .len()
        .saturating_sub(targets)
        .max(received.len().saturating_sub(sirs_max));
    if excess > 0 {
        result.fault(Fault::Duplicated, hash, excess as u64, || {
            format!(
                "{targets} targets, {} outcomes booked, {} SIRs received, {sirs_max} allowed",
                booked.len(),
                received.len()
            )
        });
    }
    branches(result, hash, booked, received);
    let unbooked = received.iter().filter(|r| {
        booked
            .binary_search_by_key(&r.branch_hash, |b| b.branch_hash)
            .is_err()
    });
    // A target that was tried again is booked under its last branch only.
    let unbooked = unbooked.count().saturating_sub(sirs_max - targets);
    if unbooked > 0 {
        result.fault(Fault::NeverBooked, hash, unbooked as u64, || {
            format!(
                "{} SIRs received, {unbooked} of them under branches not booked",
                received.len()
            )
        });
    }
    for booking in booked {
        outcome(result, wanted, *booking, received);
    }
}

/// No branch may be used twice on one side: it names a transaction (RFC 3261 8.1.1.7).
fn branches(result: &mut Verification, hash: u64, booked: &[Booked], received: &[Received]) {
    let twice = booked
        .windows(2)
        .filter(|pair| pair[0].branch_hash == pair[1].branch_hash)
        .count()
        + received
            .windows(2)
            .filter(|pair| pair[0].branch_hash == pair[1].branch_hash)
            .count();
    if twice > 0 {
        result.fault(Fault::BranchReused, hash, twice as u64, || {
            format!("{twice} entries repeat the branch of another")
        });
    }
}

/// Compares one outcome with what the device can answer and with what the loadgen received.
fn outcome(
    result: &mut Verification,
    wanted: &Expectation,
    booking: Booked,
    received: &[Received],
) {
    let arrived = received
        .binary_search_by_key(&booking.branch_hash, |received| received.branch_hash)
        .is_ok();
    let possible = wanted.outcomes == [0; 2] || wanted.outcomes.contains(&booking.outcome);
    if !possible {
        result.fault(Fault::OutcomeMismatch, wanted.uri_hash, 1, || {
            let codes = wanted.outcomes.iter().filter(|code| **code != 0);
            let codes: Vec<String> = codes.map(ToString::to_string).collect();
            format!(
                "booked {}, possible {}",
                booking.outcome,
                codes.join(" or ")
            )
        });
    }
    // A response proves that its SIR arrived; without one it may have been lost on the way.
    let must_have_arrived = booking.outcome < NOT_A_STATUS;
    if must_have_arrived && !arrived {
        result.fault(Fault::NeverReceived, wanted.uri_hash, 1, || {
            format!("booked {} for a branch that never arrived", booking.outcome)
        });
    } else if possible {
        result.sirs_agreed += 1;
    }
}

#[cfg(test)]
mod tests;
