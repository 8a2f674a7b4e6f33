//! The worker over the null sink: commands, a ring that fails, a stop.

use super::*;
use crate::change::IndexChange;
use crate::config::Sink;
use crate::testing::index_of;
use crossbeam::channel::{Sender, bounded};

fn people(count: usize) -> Vec<String> {
    let line = |number| {
        format!(
            "sip:+4930{number:06}@ims.example\turn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6\t127.0.0.1:1\t-\tsip\t\
             idle\t00\t0\t00\t-"
        )
    };
    (0..count).map(line).collect()
}

fn order(json: &str) -> Command {
    Command::Order(Box::new(Order::read(json).expect("an order")))
}

fn config() -> EngineConfig {
    EngineConfig {
        sink: Sink::Null,
        drain_ms: 1_000,
        ..EngineConfig::default()
    }
}

/// What a run came to: its end, the units it named, its events.
type Ended = (
    Result<EngineReport, EngineError>,
    Vec<Remainder>,
    Vec<Event>,
);

/// Runs a worker whose ring fails after `turns` turns, if so, with commands that are there already.
fn run_with(commands: Vec<Command>, turns: Option<u64>) -> Ended {
    let (sender, receiver): (Sender<Command>, _) = bounded(64);
    for command in commands {
        sender.send(command).expect("room");
    }
    drop(sender);
    let (events, happened) = bounded(64);
    let (live, mut named) = (Live::default(), Vec::new());
    let mut remainder = |unit| named.push(unit);
    let lines = Lines {
        commands: receiver,
        events,
        live: &live,
        remainder: &mut remainder,
    };
    let mut outlet = Outlet::open(&config(), 0).expect("no sockets");
    outlet.fail_after(turns);
    let mut worker = Worker::new(&config(), index_of(&people(300)), outlet, lines).expect("keys");
    let ended = worker.work();
    let ended = worker.end(ended).map(|(report, _)| report);
    (ended, named, happened.try_iter().collect())
}

#[test]
fn a_ring_that_fails_leaves_closed_books_and_every_unit_named() {
    let everybody = r#"{"order":"e","to":{"everybody":true}}"#;
    let (ended, named, _) = run_with(vec![order(everybody)], Some(1));
    let Err(EngineError::Ring { report, .. }) = ended else {
        panic!("the ring failed");
    };
    let balance = report.ledger;
    assert_eq!(
        (balance.residue, balance.in_flight, balance.accepted),
        (0, 0, 300)
    );
    assert!(balance.cancelled > 0);
    assert_eq!(named.len() as u64, balance.cancelled);
    assert!(named.iter().all(|unit| unit.order == "e"));
}

#[test]
fn a_drain_ends_when_everything_is_settled() {
    let everybody = r#"{"order":"e","to":{"everybody":true}}"#;
    let late = r#"{"order":"late","to":{"everybody":true}}"#;
    let (ended, named, events) =
        run_with(vec![order(everybody), Command::Drain, order(late)], None);
    let report = ended.expect("a whole run");
    assert_eq!((report.ledger.delivered, report.ledger.residue), (300, 0));
    assert!(named.is_empty());
    let refused = events
        .iter()
        .any(|event| matches!(event, Event::Refused { order, .. } if order == "late"));
    let finished = events
        .iter()
        .any(|event| matches!(event, Event::Finished(end) if end.tally.delivered == 300));
    assert!(refused && finished, "{events:?}");
}

#[test]
fn a_slow_reader_of_events_is_told_of_every_order_that_ended() {
    let (sender, receiver) = bounded(64);
    for number in 0..40 {
        let to = format!("sip:+4930{number:06}@ims.example");
        let text = format!(r#"{{"order":"o{number}","to":{{"identity":"{to}"}}}}"#);
        sender.send(order(&text)).expect("room");
    }
    let (events, happened) = bounded(1);
    let reader = std::thread::spawn(move || {
        let slowly = |event: &Event| {
            std::thread::sleep(Duration::from_millis(1));
            matches!(event, Event::Finished(_))
        };
        happened.iter().filter(slowly).count()
    });
    let (live, mut named) = (Live::default(), |_| {});
    drop(sender);
    let lines = Lines {
        commands: receiver,
        events,
        live: &live,
        remainder: &mut named,
    };
    let outlet = Outlet::open(&config(), 0).expect("no sockets");
    let mut worker = Worker::new(&config(), index_of(&people(40)), outlet, lines).expect("keys");
    let ended = worker.work();
    let ended = worker.end(ended).map(|(report, _)| report);
    assert_eq!(ended.expect("a whole run").ledger.delivered, 40);
    assert_eq!(reader.join().expect("a reader"), 40);
}

#[test]
fn a_commander_that_is_gone_drains_and_a_stop_does_not_wait() {
    let (ended, named, _) = run_with(Vec::new(), None);
    assert_eq!(
        (ended.expect("a whole run").ledger.accepted, named.len()),
        (0, 0)
    );
    let everybody = r#"{"order":"e","to":{"everybody":true}}"#;
    let (ended, named, _) = run_with(vec![order(everybody), Command::Stop], None);
    let balance = ended.expect("a whole run").ledger;
    assert_eq!((balance.residue, balance.accepted), (0, 300));
    assert_eq!(named.len() as u64, balance.cancelled);
}

#[test]
fn changes_are_applied_between_turns_in_the_order_of_commands() {
    let (sent, received) = bounded(4);
    let change = |json: &str| {
        let (change, sent) = (IndexChange::read(json).expect("a change"), sent.clone());
        Command::Change(Box::new(move |index| {
            sent.send(change.apply(index).expect("room")).expect("room");
        }))
    };
    let one = r#"{"order":"o","to":{"identity":"sip:new@ims.example"}}"#;
    let put = "sip:new@ims.example\\turn:dev:mac:0024befffe804ff1\\t127.0.0.1:9\\t-\\tsip\\tidle\\t00\\t0\\t00\\t-";
    let commands = vec![
        change(&format!(r#"{{"put":"{put}"}}"#)),
        order(one),
        Command::Drain,
    ];
    let (ended, ..) = run_with(commands, None);
    assert_eq!(
        ended.expect("a whole run").ledger.delivered,
        1,
        "by a next hop learnt meanwhile"
    );
    assert_eq!(received.try_recv(), Ok(crate::change::Changed::Inserted));
}
