//! Every fault that `--verify` promises to find is planted here into a sound set of records.

use super::*;

/// Three records that agree: `count` devices, one target each, all answered 200.
struct Records {
    expected: Vec<Expectation>,
    booked: Vec<Booked>,
    received: Vec<Received>,
}

impl Records {
    fn sound(count: u64) -> Self {
        // Hashes are not in order, so that sorting is needed.
        let hash = |n: u64| (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let one = |n| Expectation {
            uri_hash: hash(n),
            targets: 1,
            retries_max: 0,
            outcomes: [200, 0],
        };
        let book = |n| Booked {
            uri_hash: hash(n),
            branch_hash: !hash(n),
            outcome: 200,
        };
        let receive = |n| Received {
            uri_hash: hash(n),
            branch_hash: !hash(n),
        };
        Self {
            expected: (0..count).map(one).collect(),
            booked: (0..count).rev().map(book).collect(),
            received: (0..count).map(receive).collect(),
        }
    }

    fn compare(mut self) -> Verification {
        compare(&mut self.expected, &mut self.booked, &mut self.received, 0)
    }

    /// The faults found after one change to sound records.
    fn after(change: impl FnOnce(&mut Self)) -> BTreeMap<Fault, u64> {
        let mut records = Self::sound(100);
        change(&mut records);
        let result = records.compare();
        assert_eq!(result.is_clean(), result.faults.is_empty());
        assert_eq!(result.examples.is_empty(), result.faults.is_empty());
        result.faults
    }
}

#[test]
fn sound_records_agree() {
    let result = Records::sound(1000).compare();
    assert!(result.is_clean(), "{}", result.summary());
    assert_eq!((result.sirs_agreed, result.devices_wanted), (1000, 1000));
}

type Change = Box<dyn FnOnce(&mut Records)>;

/// A change to sound records, and the faults that it must show as.
type Planted = (Change, &'static [(Fault, u64)]);

const UNKNOWN: Booked = Booked {
    uri_hash: 1,
    branch_hash: 2,
    outcome: 200,
};
const STRANGER: Received = Received {
    uri_hash: 1,
    branch_hash: 2,
};

fn planted(
    change: impl FnOnce(&mut Records) + 'static,
    faults: &'static [(Fault, u64)],
) -> Planted {
    (Box::new(change), faults)
}

/// SIRs too few, too many, or for the wrong device.
fn planted_counts() -> Vec<Planted> {
    let forgotten = |r: &mut Records| {
        let gone = r.booked.swap_remove(7);
        r.received
            .retain(|received| received.uri_hash != gone.uri_hash);
    };
    let unbooked = |r: &mut Records| {
        r.booked.remove(3);
    };
    let invented = |r: &mut Records| {
        r.received.remove(3);
    };
    let twice = |r: &mut Records| {
        let (booked, uri_hash) = (r.booked[0], r.booked[0].uri_hash);
        r.booked.push(Booked {
            branch_hash: 5,
            ..booked
        });
        r.received.push(Received {
            uri_hash,
            branch_hash: 5,
        });
    };
    let twice_unbooked = |r: &mut Records| {
        let received = r.received[0];
        r.received.push(Received {
            branch_hash: 5,
            ..received
        });
    };
    let unwanted = |r: &mut Records| {
        r.booked.push(UNKNOWN);
        r.received.push(STRANGER);
    };
    vec![
        planted(forgotten, &[(Fault::Missing, 1)]),
        planted(unbooked, &[(Fault::Missing, 1), (Fault::NeverBooked, 1)]),
        planted(invented, &[(Fault::NeverReceived, 1)]),
        planted(twice, &[(Fault::Duplicated, 1)]),
        planted(
            twice_unbooked,
            &[(Fault::Duplicated, 1), (Fault::NeverBooked, 1)],
        ),
        planted(unwanted, &[(Fault::Unwanted, 1)]),
        planted(|r| r.received.push(STRANGER), &[(Fault::Unwanted, 1)]),
    ]
}

/// The right count with the wrong content.
fn planted_contents() -> Vec<Planted> {
    let crossed = |r: &mut Records| r.booked[0].branch_hash = r.booked[1].branch_hash;
    let reused = |r: &mut Records| {
        r.expected[0].targets = 2;
        let twin = *r
            .booked
            .iter()
            .find(|b| b.uri_hash == r.expected[0].uri_hash)
            .unwrap();
        r.booked.push(twin);
    };
    vec![
        planted(
            |r| r.booked[9].outcome = 486,
            &[(Fault::OutcomeMismatch, 1)],
        ),
        planted(
            |r| r.booked[9].outcome = TIMEOUT,
            &[(Fault::OutcomeMismatch, 1)],
        ),
        planted(
            crossed,
            &[(Fault::NeverReceived, 1), (Fault::NeverBooked, 1)],
        ),
        planted(reused, &[(Fault::BranchReused, 1)]),
    ]
}

#[test]
fn each_planted_fault_is_found_and_named() {
    let cases = planted_counts().into_iter().chain(planted_contents());
    for (index, (change, faults)) in cases.enumerate() {
        let found = Records::after(change);
        assert_eq!(found, faults.iter().copied().collect(), "case {index}");
    }
}

#[test]
fn a_target_tried_again_is_booked_once() {
    let retried = |r: &mut Records| {
        let device = r.received[0].uri_hash;
        r.expected
            .iter_mut()
            .find(|e| e.uri_hash == device)
            .unwrap()
            .retries_max = 2;
        r.received.push(Received {
            uri_hash: device,
            branch_hash: 5,
        });
        r.received.push(Received {
            uri_hash: device,
            branch_hash: 6,
        });
    };
    assert_eq!(Records::after(retried), BTreeMap::new());
    let once_more = |r: &mut Records| {
        retried(r);
        r.received.push(Received {
            uri_hash: r.received[0].uri_hash,
            branch_hash: 7,
        });
    };
    let faults = Records::after(once_more);
    assert_eq!(faults[&Fault::Duplicated], 1);
}

#[test]
fn a_silent_device_times_out_and_a_lossy_one_may() {
    let silent = |r: &mut Records| {
        r.expected
            .iter_mut()
            .for_each(|e| e.outcomes = [TIMEOUT, 0]);
        r.booked.iter_mut().for_each(|b| b.outcome = TIMEOUT);
        // Lost on the way: no response, so the loadgen need not know it.
        r.received.clear();
    };
    assert_eq!(Records::after(silent), BTreeMap::new());
    let lossy = |r: &mut Records| {
        r.expected
            .iter_mut()
            .for_each(|e| e.outcomes = [200, TIMEOUT]);
        r.booked[0].outcome = TIMEOUT;
    };
    assert_eq!(Records::after(lossy), BTreeMap::new());
}

#[test]
fn an_empty_or_truncated_comparison_proves_nothing() {
    assert!(!Records::sound(0).compare().is_clean());
    let mut records = Records::sound(3);
    let result = compare(
        &mut records.expected,
        &mut records.booked,
        &mut records.received,
        1,
    );
    assert!(!result.is_clean() && result.summary().contains("left out"));
}

#[test]
fn examples_are_few_and_get_their_names() {
    let mut records = Records::sound(100);
    records.booked.clear();
    records.received.clear();
    let mut result = records.compare();
    assert_eq!(
        (result.faults[&Fault::Missing], result.examples.len()),
        (100, EXAMPLES_MAX)
    );
    assert_eq!(result.example_hashes().len(), EXAMPLES_MAX);
    let named = result.example_hashes()[0];
    result.name_examples(|hash| (hash == named).then(|| "sip:+861@ims.example".to_owned()));
    assert_eq!(result.examples[0].uri, "sip:+861@ims.example");
    assert_eq!(result.summary(), "100 missing");
}
