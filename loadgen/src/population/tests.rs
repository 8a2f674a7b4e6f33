//! Tests of the population: trains in, trains out, without sockets or clocks.

use std::collections::BTreeMap;

use sirocco_wire::sip::screen::{Role, screen_as};
use sirocco_wire::sip::{Transport, Verdict};

use super::*;
use crate::hash::seeded;
use crate::sample::{arrival, origin, sir, sirs};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

fn population(mix: &str) -> Population {
    let config = PopulationConfig {
        generator: 0,
        mix: mix.parse().unwrap(),
        seed: 7,
        seen_entries: 1 << 16,
        late_slots: 1 << 10,
        segments_max: SEGMENTS_MAX,
        huge_pages: false,
        sessions: None,
    };
    let mut population = Population::new(config, None).unwrap();
    population.start(0);
    population
}

fn another_population(mix: &str) -> Population {
    population(mix)
}

/// The answer without its padding, which depends on the company it travels in.
fn unpadded(answers: &[Vec<u8>]) -> Vec<String> {
    let text = |answer: &Vec<u8>| {
        let text = String::from_utf8_lossy(answer).into_owned();
        let (before, end) = text.split_once("Server:").unwrap();
        let end = end.trim_start_matches(' ');
        // RFC 3261 25.1: nothing may stand between the value and the line's end.
        assert!(end.starts_with("sirocco-loadgen\r\n"), "{text}");
        format!("{before}{end}")
    };
    answers.iter().map(text).collect()
}

/// Answers a whole arrival; returns the trains, each a list of answers.
fn answer_all(
    population: &mut Population,
    now_ns: u64,
    arrival: &Arrival<'_>,
) -> Vec<Vec<Vec<u8>>> {
    let mut trains = Vec::new();
    let mut rest = *arrival;
    while !rest.bytes.is_empty() {
        let mut out = vec![0xee; 65_507];
        let answered = population.answer(now_ns, &rest, &mut out);
        assert!(answered.consumed > 0, "each call consumes something");
        if answered.length > 0 {
            let answers: Vec<Vec<u8>> = out[..answered.length]
                .chunks(answered.segment)
                .map(<[u8]>::to_vec)
                .collect();
            assert_eq!(answers.len(), answered.answers as usize);
            assert!(
                answers
                    .iter()
                    .all(|answer| answer.len() == answered.segment)
            );
            trains.push(answers);
        }
        rest.bytes = &rest.bytes[answered.consumed..];
    }
    trains
}

fn answers_to(population: &mut Population, now_ns: u64, requests: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let bytes = requests.concat();
    let trains = answer_all(population, now_ns, &arrival(&bytes, requests[0].len()));
    trains.into_iter().flatten().collect()
}

fn status(answer: &[u8]) -> u16 {
    Message::parse(answer).unwrap().status_code().unwrap()
}

fn late_answers(population: &mut Population, now_ns: u64) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    let mut out = vec![0; 65_507];
    while let Some(train) = population.release_late(now_ns, &mut out) {
        answers.extend(
            out[..train.length]
                .chunks(train.segment)
                .map(<[u8]>::to_vec),
        );
    }
    answers
}

#[test]
fn a_train_of_sirs_gives_one_train_of_answers_in_order() {
    let mut population = population("200:80,486:10,503(retry-after=30):10");
    for round in 0..3 {
        let requests = sirs(round * 64, 64);
        let bytes = requests.concat();
        let segment = requests[0].len();
        let trains = answer_all(&mut population, SECOND, &arrival(&bytes, segment));
        assert_eq!(trains.len(), 1, "one length for all statuses");
        assert_eq!(trains[0].len(), 64);
        for (request, answer) in requests.iter().zip(&trains[0]) {
            let request = Message::parse(request).unwrap();
            let answer = Message::parse(answer).unwrap();
            assert_eq!(answer.call_id(), request.call_id());
        }
    }
    assert_eq!(
        population.tally().parsed,
        64,
        "later trains have the shape of the first"
    );
}

#[test]
fn an_answer_has_what_rfc_3261_8_2_6_asks() {
    let mut population = population("200:1");
    let request = sir("8613800001111", 5);
    for _ in 0..2 {
        let answers = answers_to(&mut population, SECOND, &[request.clone(), request.clone()]);
        for bytes in &answers {
            assert_eq!(
                screen_as(bytes, Transport::Datagram, Role::Endpoint),
                Verdict::Accept
            );
            let (asked, answer) = (
                Message::parse(&request).unwrap(),
                Message::parse(bytes).unwrap(),
            );
            assert_eq!(answer.status_code(), Some(200));
            let via = |message: &Message<'_>| message.top_via().unwrap().branch.unwrap().to_vec();
            assert_eq!(via(&answer), via(&asked));
            assert_eq!(answer.from(), asked.from());
            assert_eq!(answer.cseq().unwrap().number, asked.cseq().unwrap().number);
            let to = answer.to().unwrap();
            assert!(to.starts_with(asked.to().unwrap()) && answer.to_tag().unwrap().len() == 8);
            assert!(answer.body().is_empty());
            let text = String::from_utf8_lossy(bytes);
            assert!(text.contains("\r\nContent-Length: 0\r\n\r\n") && !text.contains("Contact"));
        }
        assert_eq!(
            answers[0], answers[1],
            "a retransmission gets the same answer"
        );
    }
    let totals = population.tally().totals();
    assert_eq!(
        (totals.sirs, totals.retransmissions, totals.answers),
        (1, 3, 4)
    );
}

#[test]
fn a_lone_request_gets_an_answer_without_padding_to_other_statuses() {
    let mut population = population("200:1,503(retry-after=3600):0");
    let request = sir("86138", 1);
    let answer = answers_to(&mut population, 0, std::slice::from_ref(&request)).remove(0);
    let text = String::from_utf8(answer).unwrap();
    assert!(text.contains("Server: sirocco-loadgen\r\n"), "{text}");
}

#[test]
fn the_same_seed_gives_the_same_answers_and_another_one_others() {
    let mix = "200:40,486:20,silent:20,lossy(500,200):10,dup(202,1):10";
    let run = |seed| {
        let mut population = population(mix);
        population.desk.judge.seed = seed;
        answers_to(&mut population, SECOND, &sirs(0, 120))
    };
    assert!(run(1) == run(1));
    assert!(run(1) != run(2));
}

#[test]
fn shares_are_exactly_those_that_the_seed_foretells() {
    let mix: Mix = "200:70,486:20,silent:10".parse().unwrap();
    let mut population = population("200:70,486:20,silent:10");
    let requests = sirs(0, 3000);
    let mut expected = [0u64; 3];
    for request in &requests {
        let uri = Message::parse(request).unwrap().request_uri().unwrap();
        expected[mix.class_of(7, public_hash(uri))] += 1;
    }
    let mut by_status = BTreeMap::new();
    for train in requests.chunks(50) {
        for answer in answers_to(&mut population, SECOND, train) {
            *by_status.entry(status(&answer)).or_insert(0) += 1;
        }
    }
    assert_eq!(
        by_status,
        BTreeMap::from([(200, expected[0]), (486, expected[1])])
    );
    let sirs: Vec<u64> = population
        .tally()
        .classes
        .iter()
        .map(|class| class.sirs)
        .collect();
    assert_eq!(sirs, expected);
    assert!(expected.iter().all(|&share| share > 0));
}

#[test]
fn silent_devices_withhold_every_transmission() {
    let mut population = population("silent:1");
    let requests = sirs(0, 20);
    assert!(answers_to(&mut population, 0, &requests).is_empty());
    assert!(answers_to(&mut population, SECOND, &requests).is_empty());
    let counts = population.tally().classes[0];
    assert_eq!(
        (counts.sirs, counts.retransmissions, counts.withheld),
        (20, 20, 40)
    );
}

#[test]
fn late_devices_answer_once_in_time_and_repeat_themselves_afterwards() {
    let mut population = population("late(600ms,202):1");
    let requests = sirs(0, 20);
    assert!(answers_to(&mut population, SECOND, &requests).is_empty());
    assert_eq!(population.late_due_ns(), Some(SECOND + 600 * MS));
    assert!(answers_to(&mut population, SECOND + 500 * MS, &requests).is_empty());
    assert!(late_answers(&mut population, SECOND + 599 * MS).is_empty());
    let late = late_answers(&mut population, SECOND + 601 * MS);
    assert_eq!(late.len(), 20);
    assert!(late.iter().all(|answer| status(answer) == 202));
    assert_eq!(population.late_waiting(), 0);
    let again = answers_to(&mut population, 3 * SECOND, &requests);
    assert!(unpadded(&again) == unpadded(&late));
    let counts = population.tally().classes[0];
    assert_eq!(
        (counts.late_stored, counts.late_sent, counts.withheld),
        (20, 20, 20)
    );
    assert_eq!(counts.answers, 40);
}

#[test]
fn late_answers_beyond_the_slots_are_dropped_and_counted() {
    let mut population = population("late(600ms,200):1");
    for first in (0..2000).step_by(50) {
        assert!(answers_to(&mut population, SECOND, &sirs(first, 50)).is_empty());
    }
    let counts = population.tally().classes[0];
    assert_eq!((counts.late_stored, counts.late_dropped), (1024, 976));
    assert_eq!(late_answers(&mut population, 2 * SECOND).len(), 1024);
}

#[test]
fn duplicates_follow_their_answer_in_the_same_train() {
    let mut population = population("dup(200,2):1");
    let requests = sirs(0, 60);
    let trains = answer_all(
        &mut population,
        0,
        &arrival(&requests.concat(), requests[0].len()),
    );
    assert_eq!(trains.iter().map(Vec::len).collect::<Vec<_>>(), [126, 54]);
    for three in trains.concat().chunks(3) {
        assert!(three[0] == three[1] && three[1] == three[2]);
    }
    assert_eq!(population.tally().classes[0].copies, 120);
}

#[test]
fn lossy_devices_answer_what_gets_through() {
    let mut population = population("lossy(500,200):1");
    let requests = sirs(0, 100);
    let mut heard = vec![false; requests.len()];
    for transmission in 0..11 {
        for answer in answers_to(&mut population, transmission * SECOND, &requests) {
            let id = Message::parse(&answer).unwrap().call_id().unwrap().to_vec();
            let n = u64::from_str_radix(std::str::from_utf8(&id[16..]).unwrap(), 16).unwrap();
            heard[n as usize] = true;
        }
    }
    let counts = population.tally().classes[0];
    assert_eq!((counts.sirs, counts.retransmissions), (100, 1000));
    assert_eq!(counts.lost + counts.answers, 1100);
    assert!((450..650).contains(&counts.lost), "{}", counts.lost);
    assert!(heard.iter().filter(|&&heard| heard).count() > 95);
}

#[test]
fn garbage_is_refused_by_a_parser_and_a_forged_branch_differs() {
    let mut population = population("garbage:1");
    let requests = sirs(0, 3);
    for answer in answers_to(&mut population, 0, &requests) {
        assert!(Message::parse(&answer).is_err());
    }
    let mut population = another_population("forged(200):1");
    for (answer, request) in answers_to(&mut population, 0, &requests)
        .iter()
        .zip(&requests)
    {
        let branch = |bytes: &[u8]| {
            Message::parse(bytes)
                .unwrap()
                .top_via()
                .unwrap()
                .branch
                .unwrap()
                .to_vec()
        };
        let (forged, true_one) = (branch(answer), branch(request));
        assert_eq!(forged.len(), true_one.len());
        assert_eq!(forged[..forged.len() - 1], true_one[..forged.len() - 1]);
        assert_ne!(forged, true_one);
    }
}

#[test]
fn edges_in_overload_say_503_and_recover() {
    let mut population = population("200:1;edges(0,on=1s,off=1s):503(retry-after=1)");
    let requests = sirs(0, 40);
    let during = answers_to(&mut population, 500 * MS, &requests);
    assert!(during.iter().all(|answer| status(answer) == 503));
    assert_eq!(
        Message::parse(&during[0]).unwrap().retry_after_seconds(),
        Some(1)
    );
    let again = answers_to(&mut population, 1500 * MS, &requests);
    assert!(
        unpadded(&again) == unpadded(&during),
        "a retransmission gets the same answer"
    );
    let after = answers_to(&mut population, 1500 * MS, &sirs(100, 40));
    assert!(after.iter().all(|answer| status(answer) == 200));
    let mut other_edge = arrival(&requests[0], requests[0].len());
    other_edge.origin.socket = 1;
    let mut population = another_population("200:1;edges(0):503(retry-after=1)");
    assert_eq!(
        status(&answer_all(&mut population, 0, &other_edge)[0][0]),
        200
    );
}

#[test]
fn what_is_no_request_is_counted_and_dropped() {
    let mut population = population("200:1");
    let response = answers_to(&mut population, 0, &sirs(0, 1)).remove(0);
    for datagram in [&b"\r\n\r\n"[..], b"garbage", &[0xff; 300], &response, b"\0"] {
        assert!(answer_all(&mut population, 0, &arrival(datagram, datagram.len())).is_empty());
    }
    let mut out = [0; 10];
    assert_eq!(
        population.answer(0, &arrival(b"", 1), &mut out),
        Answered::default()
    );
    let tally = population.tally();
    assert_eq!((tally.datagrams, tally.malformed), (7, 3));
    let dropped = BTreeMap::from([("empty", 1), ("keep_alive", 1), ("response", 1)]);
    assert_eq!(tally.dropped, dropped);
}

#[test]
fn faulty_requests_and_other_methods_are_refused() {
    let mut population = population("200:1");
    let text = String::from_utf8_lossy(&sir("86138", 1)).into_owned();
    let cases = [
        (
            text.replace("CSeq: 1 MESSAGE", "CSeq: x MESSAGE"),
            Some(400),
        ),
        (text.replace("CSeq: 1 MESSAGE\r\n", ""), None),
        (text.replace("MESSAGE", "OPTIONS"), Some(405)),
        (text.replace("MESSAGE", "ACK"), None),
        (text.replace("SIP/2.0\r\nMax", "SIP/9.9\r\nMax"), Some(505)),
        (
            text.replace("application/vnd.wap.sia", "application/vnd.unknown"),
            Some(415),
        ),
        (
            text.replace("CSeq:", "Require: 100rel,\r\n x\r\nRequire: y\r\nCSeq:"),
            Some(420),
        ),
    ];
    for (request, expected) in &cases {
        let bytes = request.as_bytes();
        let trains = answer_all(&mut population, 0, &arrival(bytes, bytes.len()));
        let code = trains.first().map(|answers| status(&answers[0]));
        assert_eq!(code, *expected, "{request}");
        let field = match code {
            Some(405) => "\r\nAllow: MESSAGE\r\n",
            Some(415) => "\r\nAccept: application/vnd.wap.sia\r\n",
            Some(420) => "\r\nUnsupported: 100rel,   x, y\r\n",
            _ => "",
        };
        let answer = trains.first().map(|answers| answers[0].clone());
        let answer = String::from_utf8(answer.unwrap_or_default()).unwrap();
        assert!(answer.contains(field), "{answer}");
    }
    let tally = population.tally();
    assert_eq!(
        tally.refused,
        BTreeMap::from([(400, 1), (405, 1), (415, 1), (420, 1), (505, 1)])
    );
    assert_eq!(tally.totals().sirs, 0);
}

#[test]
fn no_octets_make_it_panic_or_hang() {
    let mut population = population("200:50,dup(486,8):50");
    let template = sir("8613800001111", 1);
    for round in 0..20_000u64 {
        let random = |n: u64| seeded(round, n) as usize;
        let mut bytes = template.repeat(1 + random(1) % 4);
        for n in 0..random(2) % 8 {
            let at = random(3 + 2 * n as u64) % bytes.len();
            bytes[at] = random(4 + 2 * n as u64) as u8;
        }
        bytes.truncate(random(100) % (bytes.len() + 1));
        let segment = if round % 2 == 0 {
            template.len()
        } else {
            1 + random(101) % 700
        };
        answer_all(&mut population, round * MS, &arrival(&bytes, segment));
    }
    let totals = population.tally().totals();
    assert!(totals.sirs + totals.retransmissions > 1000);
    assert!(population.tally().malformed > 1000);
}

#[test]
fn an_answer_longer_than_the_buffer_is_counted() {
    let mut population = population("200:1");
    let request = sir("86138", 1);
    let mut out = [0; 100];
    let answered = population.answer(0, &arrival(&request, request.len()), &mut out);
    assert_eq!((answered.consumed, answered.length), (request.len(), 0));
    assert_eq!(population.tally().dropped["answer_too_long"], 1);
}

#[test]
fn origins_are_ordered_so_that_late_answers_can_be_grouped() {
    let mut other = origin();
    other.socket = 1;
    assert!(origin() < other);
}

#[test]
fn a_reset_zeroes_counts_and_keeps_memory() {
    let mut population = population("200:1");
    let requests = sirs(0, 4);
    answers_to(&mut population, 0, &requests);
    population.reset();
    assert_eq!(population.tally().totals().sirs, 0);
    answers_to(&mut population, 500 * MS, &requests);
    let totals = population.tally().totals();
    assert_eq!((totals.sirs, totals.retransmissions), (0, 4));
}
