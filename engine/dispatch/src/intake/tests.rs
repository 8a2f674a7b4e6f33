//! The intake over small indexes: whose turn it is, what a list names, when an order is over.

use super::*;
use crate::load::Load;
use crate::testing::index_of;

fn people(count: usize) -> Index {
    let line = |number| {
        format!(
            "sip:+4930{number:06}@ims.example\turn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6\t127.0.0.1:1\t-\tsip\t\
             idle\t00\t0\t00\t-"
        )
    };
    index_of(&(0..count).map(line).collect::<Vec<_>>())
}

fn aor(number: usize) -> String {
    format!("sip:+4930{number:06}@ims.example")
}

fn order(audience: Audience, priority: Priority) -> Order {
    Order {
        priority,
        ..Order::new("o", audience)
    }
}

fn list(numbers: std::ops::Range<usize>) -> Audience {
    let lines: Vec<_> = numbers.map(aor).collect();
    Audience::List(lines.join("\n").into_bytes())
}

/// The orders whose turns came, in order, until nothing is due.
fn turns(intake: &mut Intake, index: &Index) -> Vec<(u16, usize)> {
    let mut turns = Vec::new();
    loop {
        let mut out = Vec::new();
        let unknown = intake.hand_out(1, index, &mut out);
        let Some(order) = out.first().map(|candidate| candidate.order) else {
            assert_eq!(unknown.count, 0);
            return turns;
        };
        turns.push((order, out.len()));
    }
}

#[test]
fn higher_priorities_go_first_and_equals_take_turns() {
    let (index, mut intake) = (people(200), Intake::new());
    for (audience, priority) in [
        (list(0..70), Priority::Low),
        (list(0..150), Priority::Medium),
        (list(0..100), Priority::Medium),
        (list(0..10), Priority::High),
    ] {
        intake
            .accept(0, order(audience, priority), Stock::default())
            .expect("room");
    }
    let expected = [
        (3, 10),
        (1, 64),
        (2, 64),
        (1, 64),
        (2, 36),
        (1, 22),
        (0, 64),
        (0, 6),
    ];
    assert_eq!(turns(&mut intake, &index), expected);
}

#[test]
fn a_list_is_read_line_by_line() {
    let (index, mut intake) = (people(3), Intake::new());
    let text = format!(
        "# a comment\r\n\r\n  {}\t\r\n{}\nnobody\nsip:+1@elsewhere.example\n\n#{}\n{}",
        aor(0),
        aor(1),
        aor(1),
        aor(2)
    );
    let slot = intake.accept(
        0,
        order(Audience::List(text.into_bytes()), Priority::Medium),
        Stock {
            set: 7,
            ..Stock::default()
        },
    );
    let mut out = Vec::new();
    let unknown = intake.hand_out(1, &index, &mut out);
    let slot = slot.expect("room");
    assert_eq!(
        unknown,
        Unknown {
            order: slot,
            count: 2
        }
    );
    let handed: Vec<_> = out.iter().map(|candidate| candidate.identity).collect();
    let expected = [0, 1, 2].map(|number| index.pack(aor(number).as_bytes()).expect("known"));
    assert_eq!(handed, expected);
    for settled in 0..5 {
        assert_eq!(intake.len(), 1, "{settled} of 5 units are settled");
        intake.settle(slot, Outcome::Delivered);
    }
    assert!(intake.is_empty());
    let (Stock { set, .. }, summary) = intake.take_finished().expect("it has ended");
    assert_eq!(
        (set, summary.tally.accepted, summary.tally.delivered),
        (7, 5, 5)
    );
}

#[test]
fn an_order_for_nobody_ends_at_once() {
    let (index, mut intake) = (people(1), Intake::new());
    for audience in [
        Audience::List(Vec::new()),
        Audience::List(b"# none\n\n".to_vec()),
        Audience::Load(Load::new(Vec::new().into(), Wanted::All, None, 9)),
    ] {
        intake
            .accept(0, order(audience, Priority::Medium), Stock::default())
            .expect("room");
    }
    assert!(turns(&mut intake, &index).is_empty());
    assert_eq!(
        (
            std::iter::from_fn(|| intake.take_finished()).count(),
            intake.len()
        ),
        (3, 0)
    );
    assert_eq!(intake.next_due_ns(1), None);
}

#[test]
fn everybody_is_handed_out_once() {
    let (index, mut intake) = (people(1000), Intake::new());
    intake
        .accept(
            0,
            order(Audience::Everybody, Priority::Medium),
            Stock::default(),
        )
        .expect("room");
    let mut seen = std::collections::HashSet::new();
    let mut out = Vec::new();
    while intake.next_due_ns(1).is_some() {
        out.clear();
        intake.hand_out(1, &index, &mut out);
        for candidate in &out {
            assert!(seen.insert(candidate.identity), "{candidate:?}");
        }
    }
    assert_eq!(seen.len(), 1000);
}

#[test]
fn a_load_is_due_by_its_schedule_and_ends_when_it_is_stopped() {
    let (index, mut intake) = (people(10), Intake::new());
    let identities: Vec<_> = index.keys().collect();
    let load = Load::new(identities.into(), Wanted::OneInTurn, Some(1e6), u64::MAX);
    intake
        .accept(
            5_000,
            order(Audience::Load(load), Priority::Medium),
            Stock::default(),
        )
        .expect("room");
    let mut out = Vec::new();
    intake.hand_out(17_500, &index, &mut out);
    assert_eq!(out.len(), 13);
    assert_eq!(
        (out[0].one, out[12].one, out[12].due_ns),
        (Some(0), Some(1), 17_000)
    );
    assert_eq!(intake.next_due_ns(17_500), Some(18_000));
    assert_eq!(intake.behind(20_000), 3);
    intake.stop_loads();
    let due = intake.next_due_ns(17_500);
    assert_eq!(due, Some(17_500), "there is an order to end");
    assert_eq!(intake.behind(20_000), 0);
    let slot = out[0].order;
    intake.hand_out(20_000, &index, &mut Vec::new());
    (0..13).for_each(|_| intake.settle(slot, Outcome::Stored));
    assert!(intake.is_empty());
}

#[test]
fn each_overdue_order_is_taken_once() {
    let (index, mut intake) = (people(1), Intake::new());
    let timed = |ns| Order {
        deadline_ns: Some(ns),
        ..order(list(0..1), Priority::Medium)
    };
    let late = intake.accept(0, timed(50), Stock::default()).expect("room");
    let soon = intake.accept(0, timed(20), Stock::default()).expect("room");
    assert_eq!(intake.next_deadline_ns(), Some(20));
    assert!(!intake.has_overdue(19) && intake.has_overdue(20));
    assert_eq!(
        (intake.take_overdue(20), intake.take_overdue(20)),
        (Some(soon), None)
    );
    assert!(intake.has_overdue(21), "as long as it is active");
    assert_eq!(turns(&mut intake, &index).len(), 2);
    intake.settle(soon, Outcome::Expired);
    assert!(!intake.has_overdue(21));
    intake.settle(late, Outcome::Delivered);
    assert_eq!(
        (intake.next_deadline_ns(), intake.take_overdue(99)),
        (None, None)
    );
    // The slot of an ended order is used again, without its deadline.
    intake
        .accept(0, order(list(0..1), Priority::Medium), Stock::default())
        .expect("room");
    assert!(!intake.has_overdue(u64::MAX - 1));
}
