//! What the flight recorder says of failed SIRs equals what was sent and came, octet by octet.

use super::*;
use crate::flight::{Flight, Step, Subject};
use crate::transaction::FIRST_SENT_WITHIN_NS;

/// The events of a failure: what, octets.
fn events(flight: &Flight) -> Vec<(Step, Vec<u8>)> {
    let event = |event| flight.octets(event).to_vec();
    flight
        .events()
        .iter()
        .map(|each| (each.step, event(each)))
        .collect()
}

fn flights(rig: &Rig) -> Vec<Flight> {
    rig.shard.flight_log().flights
}

#[test]
fn a_refused_sir_is_there_as_it_was_sent_with_the_answer_as_it_came() {
    let mut rig = Rig::new(&EngineConfig::default(), &people(3, "127.0.0.1:20000"));
    rig.accept(order(r#"{"order":"night","to":{"everybody":true}}"#));
    let sirs = rig.run_for(20 * MS);
    assert_eq!(sirs.len(), 3);
    rig.now += 30 * MS;
    // The first answer is parsed, the second is of a known shape; the third is no failure.
    for (_, sir) in &sirs[..2] {
        rig.answer(sir, 486, &[]);
    }
    rig.answer(&sirs[2].1, 200, &[]);
    let flights = flights(&rig);
    assert_eq!((flights.len(), rig.shard.flight_log().failures), (2, 2));
    for (flight, (sent_ns, sir)) in flights.iter().zip(&sirs) {
        assert_eq!(
            (flight.subject, flight.cause.as_str()),
            (Subject::Sir, "486")
        );
        assert_eq!(
            (flight.order.as_str(), flight.untimed, flight.retries),
            ("night", 0, 0)
        );
        let expected = [
            (Step::Sent, sir.clone()),
            (Step::Received, answer_to(sir, 486, &[])),
            (Step::Failed, Vec::new()),
        ];
        assert_eq!(events(flight), expected);
        let [sent, received, _] = flight.events() else {
            panic!("three events")
        };
        assert!(sent.at_ns <= *sent_ns && sent_ns - sent.at_ns < FIRST_SENT_WITHIN_NS);
        assert_eq!(flight.first_within_ns, FIRST_SENT_WITHIN_NS);
        assert_eq!((received.at_ns, received.peer), (rig.now, EDGE));
        assert_eq!(sent.peer, EDGE);
    }
}

#[test]
fn a_sir_that_nobody_answers_is_there_with_the_time_of_each_transmission() {
    let mut rig = Rig::new(&EngineConfig::default(), &people(1, "127.0.0.1:20000"));
    rig.accept(to("sip:+4930000000@ims.example"));
    let sirs = rig.run_for(TIMER_F_NS + SECOND);
    let flights = flights(&rig);
    let [flight] = &flights[..] else {
        panic!("one failure")
    };
    assert_eq!((flight.cause.as_str(), flight.untimed), ("timeout", 0));
    let (last, sent) = flight.events().split_last().expect("events");
    assert_eq!((last.step, sent.len()), (Step::Failed, sirs.len()));
    for (number, (event, (sent_ns, sir))) in sent.iter().zip(&sirs).enumerate() {
        assert_eq!((event.step, flight.octets(event)), (Step::Sent, &sir[..]));
        let within = if number == 0 { FIRST_SENT_WITHIN_NS } else { 1 };
        assert!(sent_ns - event.at_ns < within, "transmission {number}");
    }
}

#[test]
fn a_provisional_response_and_a_503_that_is_tried_again_are_told() {
    let mut rig = Rig::new(&EngineConfig::default(), &people(1, "127.0.0.1:20000"));
    rig.accept(to("sip:+4930000000@ims.example"));
    let sirs = rig.run_for(20 * MS);
    rig.answer(&sirs[0].1, 100, &[]);
    rig.answer(&sirs[0].1, 503, &[(b"Retry-After", b"1")]);
    let again = rig.run_for(3 * SECOND);
    rig.answer(&again[0].1, 404, &[]);
    let told: Vec<_> = flights(&rig)
        .iter()
        .map(|flight| {
            let steps: Vec<_> = flight.events().iter().map(|event| event.step).collect();
            (flight.cause.clone(), flight.retries, steps)
        })
        .collect();
    assert_eq!(told[0].0, "503");
    assert_eq!(
        told[0].2,
        [
            Step::Sent,
            Step::Provisional(100),
            Step::Received,
            Step::Failed
        ]
    );
    assert_eq!((told[1].0.as_str(), told[1].1), ("404", 1));
    assert_eq!(
        told[1].2.iter().filter(|step| **step == Step::Sent).count(),
        again.len()
    );
}

#[test]
fn what_was_never_sent_or_was_cancelled_says_so_and_a_recorder_that_is_off_keeps_nothing() {
    for kept in [32, 0] {
        let config = EngineConfig {
            flight_recorder: kept,
            ..EngineConfig::default()
        };
        let mut rig = Rig::new(&config, &people(1, "127.0.0.1:20000"));
        rig.accept(to("sip:+4930000000@ims.example"));
        rig.shard.select(rig.now, &mut ());
        rig.shard.cancel(rig.now, |_| {});
        let steps: Vec<_> = flights(&rig).iter().flat_map(events).collect();
        let expected = (kept > 0).then_some((Step::Failed, Vec::new()));
        assert_eq!(steps, Vec::from_iter(expected));
    }
}
