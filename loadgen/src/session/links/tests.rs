//! Tests of content by MSRP: binding, chunks that come in pieces, reports, corruption, ends.

use sirocco_wire::sip;

use super::*;
use crate::sample::origin;
use crate::session::calls::{CallsConfig, Start};
use crate::session::lanes::Disturbance;
use crate::session::people::People;
use crate::session::policy::{SessionPolicy, Traits};

const CONTENT: &[u8] = b"good morning, this is the news";
const PATH: &str = "msrp://127.0.0.1:2855/0123456789abcdef;tcp";

/// A device with a session whose answer named an MSRP path, and the session's name.
fn connected() -> (Calls, String) {
    connected_with(Fault::None)
}

fn connected_with(fault: Fault) -> (Calls, String) {
    let policy = SessionPolicy {
        takes: vec![Take::Msrp],
        fault,
        ..SessionPolicy::default()
    };
    let config = CallsConfig {
        generator: 0,
        seed: 7,
        calls_max: 16,
        segments_max: 64,
        t1_ns: 500_000_000,
        disturbance: Disturbance::default(),
        content: Some(CONTENT.to_vec()),
        expires_s: 600,
        accounts: None,
        policies: vec![Some(policy)],
    };
    let mut calls = Calls::new(config, People::default(), 0);
    calls.bind(&["127.0.0.1:6000".parse().unwrap()], &[]);
    let ppg = calls.ppg(b"sip:ppg@127.0.0.1:5070").unwrap();
    let start = Start {
        origin: origin(),
        class: 0,
        aor: b"sip:a@ims.example",
        device: b"",
        row: u32::MAX,
        group: 0,
        ppg,
        token: b"00",
        activates_after: false,
        is_own: false,
        traits: Traits::default(),
        hash: 1,
    };
    assert!(calls.begin(0, &start));
    let mut invite = String::new();
    calls.lanes.flush();
    calls
        .lanes
        .drain(|load| invite = String::from_utf8_lossy(&load.octets).into_owned());
    let message = sip::Message::parse(invite.as_bytes()).unwrap();
    let name = String::from_utf8_lossy(message.call_id().unwrap()).into_owned();
    let sdp = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=message 2855 TCP/MSRP *\r\na=accept-types:*\r\na=path:{PATH}\r\na=setup:passive\r\n"
    );
    let response = format!(
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:6000;branch=z9hG4bK{name}i\r\n\
         From: <sip:a@ims.example>;tag={name}\r\nTo: <sip:ppg@127.0.0.1:5070>;tag=1\r\n\
         Call-ID: {name}\r\nCSeq: 1 INVITE\r\nContact: <sip:ppg@127.0.0.1:5070>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    let response = sip::Message::parse(response.as_bytes()).unwrap();
    assert!(calls.response(1_000_000, origin(), &response));
    (calls, name)
}

fn left(calls: &mut Calls) -> String {
    let mut all = String::new();
    calls.links.drain(|_, octets| {
        all.push_str(&String::from_utf8_lossy(octets));
        true
    });
    all
}

fn chunk(name: &str, octets: &[u8], start: usize, total: usize, is_last: bool) -> Vec<u8> {
    let own = format!("msrp://127.0.0.1:6000/{name};tcp");
    let chunk = Chunk {
        transaction: b"abcd1234",
        to_path: own.as_bytes(),
        from_path: PATH.as_bytes(),
        message_id: b"m1",
        byte_range: ByteRange {
            start: start as u32 + 1,
            end: Some((start + octets.len()) as u32),
            total: Some(total as u32),
        },
        success_report: true,
        failure_report: FailureReport::Yes,
        content_type: b"text/plain",
        octets,
        continuation: if is_last {
            Continuation::Last
        } else {
            Continuation::More
        },
    };
    let mut out = vec![0; 4096];
    let length = send(&mut out, &chunk).unwrap();
    out.truncate(length);
    out
}

#[test]
fn a_session_is_bound_by_an_empty_send_on_its_edges_connection() {
    let (mut calls, name) = connected();
    assert_eq!(
        calls.links.take_wanted(),
        Some((0, "127.0.0.1:2855".parse().unwrap()))
    );
    assert_eq!(calls.links.take_wanted(), None);
    let bound = left(&mut calls);
    assert!(
        bound.starts_with("MSRP ") && bound.contains(&format!("To-Path: {PATH}\r\n")),
        "{bound}"
    );
    assert!(bound.contains(&format!("From-Path: msrp://127.0.0.1:6000/{name};tcp\r\n")));
    assert!(
        !bound.contains("Content-Type") && !bound.contains("\r\n\r\n"),
        "{bound}"
    );
    assert!(!bound.contains("Failure-Report: no"), "an answer is wanted");
    calls.links.close(0);
    assert!(
        calls
            .links
            .between(
                0,
                "127.0.0.1:2855".parse().unwrap(),
                Purpose::Msrp { read_rate: 0 }
            )
            .is_some()
    );
    assert!(calls.links.take_wanted().is_some(), "made anew");
}

#[test]
fn chunks_are_put_together_however_the_stream_cuts_them() {
    let (mut calls, name) = connected();
    left(&mut calls);
    let first = chunk(&name, &CONTENT[..10], 0, CONTENT.len(), false);
    let second = chunk(&name, &CONTENT[10..], 10, CONTENT.len(), true);
    for piece in [first, second].concat().chunks(7) {
        calls.link_received(0, piece);
    }
    let counts = &calls.sheets[0].counts;
    assert_eq!((counts.contents, counts.contents_corrupt), (1, 0));
    assert_eq!(counts.content_octets, CONTENT.len() as u64);
    let answers = left(&mut calls);
    assert_eq!(answers.matches("MSRP abcd1234 200 OK\r\n").count(), 2);
    assert_eq!(answers.matches(" REPORT\r\n").count(), 1);
}

#[test]
fn a_missing_or_changed_octet_makes_a_content_corrupt() {
    for (octets, start, total) in [
        (&b"good evening, this is the news"[..], 0, 30),
        (&CONTENT[1..], 1, 30),
        (&CONTENT[..29], 0, 29),
    ] {
        let (mut calls, name) = connected();
        calls.link_received(0, &chunk(&name, octets, start, total, true));
        let counts = &calls.sheets[0].counts;
        assert_eq!(
            (counts.contents, counts.contents_corrupt),
            (1, 1),
            "{start}"
        );
    }
}

#[test]
fn what_belongs_to_no_session_is_refused_and_counted() {
    let (mut calls, _) = connected();
    left(&mut calls);
    let stranger = "d000000000000000000000000";
    calls.link_received(0, &chunk(stranger, CONTENT, 0, CONTENT.len(), true));
    assert!(left(&mut calls).contains("MSRP abcd1234 481"));
    calls.link_received(0, b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(
        (calls.links.strays, calls.sheets[0].counts.contents),
        (2, 0)
    );
}

#[test]
fn a_half_open_device_never_connects_and_a_mute_one_never_answers() {
    let (mut calls, name) = connected_with(Fault::HalfOpen);
    assert_eq!(calls.links.take_wanted(), None);
    assert!(left(&mut calls).is_empty());
    assert!(calls.name(name.as_bytes()).is_some());
    let (mut calls, name) = connected_with(Fault::Mute);
    assert!(calls.links.take_wanted().is_some());
    assert!(left(&mut calls).contains(" SEND\r\n"), "it binds");
    calls.link_received(0, &chunk(&name, CONTENT, 0, CONTENT.len(), true));
    assert!(left(&mut calls).is_empty());
    assert_eq!(calls.sheets[0].counts.contents, 0);
}
