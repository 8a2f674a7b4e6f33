//! Tests of what responses bring about: routes, forks, refreshes, challenges.

use sirocco_wire::sip::HeaderName;

use super::*;
use crate::sample::origin;
use crate::session::calls::{CallsConfig, Start};
use crate::session::credentials::{Accounts, Credentials};
use crate::session::lanes::Disturbance;
use crate::session::people::People;
use crate::session::policy::{SessionPolicy, Traits, Transport};

pub(super) const S: u64 = 1_000_000_000;
const PPG: &str = "127.0.0.1:5070";

pub(super) fn calls(policy: SessionPolicy) -> Calls {
    let config = CallsConfig {
        generator: 0,
        seed: 7,
        calls_max: 16,
        segments_max: 64,
        t1_ns: S / 2,
        disturbance: Disturbance::default(),
        content: None,
        accounts: Accounts::read(&Credentials::default()).ok(),
        expires_s: 600,
        policies: vec![Some(policy)],
    };
    let mut calls = Calls::new(config, People::default(), 0);
    calls.bind(&["127.0.0.1:6000".parse().unwrap()], &[]);
    calls.ppg(format!("sip:ppg@{PPG}").as_bytes()).unwrap();
    calls
}

pub(super) fn start() -> Start<'static> {
    Start {
        origin: origin(),
        class: 0,
        aor: b"sip:alice@ims.example",
        device: b"urn:x",
        row: u32::MAX,
        group: 0,
        ppg: 0,
        token: b"",
        activates_after: false,
        is_own: true,
        traits: Traits::default(),
        hash: 1,
    }
}

/// What left: where to, and as text.
fn left(calls: &mut Calls) -> Vec<(String, String)> {
    let mut all = Vec::new();
    calls.lanes.flush();
    calls.lanes.drain(|load| {
        let text = String::from_utf8_lossy(&load.octets).into_owned();
        all.push((load.origin.peer.to_string(), text));
    });
    all
}

fn only(calls: &mut Calls) -> (String, String) {
    let mut all = left(calls);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Answers a request that left, with more header fields.
fn answer(calls: &mut Calls, now_ns: u64, request: &str, status: &str, tag: &str, more: &str) {
    let request = Message::parse(request.as_bytes()).unwrap();
    let text = |value: Option<&[u8]>| String::from_utf8_lossy(value.unwrap()).into_owned();
    let via = text(request.header(HeaderName::Via));
    let (from, to) = (text(request.from()), text(request.to()));
    let (call_id, cseq) = (
        text(request.call_id()),
        text(request.header(HeaderName::CSeq)),
    );
    let response = format!(
        "SIP/2.0 {status}\r\nVia: {via}\r\nFrom: {from}\r\nTo: {to};tag={tag}\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq}\r\n{more}Content-Length: 0\r\n\r\n"
    );
    let response = Message::parse(response.as_bytes()).unwrap();
    assert!(calls.response(now_ns, origin(), &response));
}

fn branch(request: &str) -> &str {
    let rest = request.split_once(";branch=").unwrap().1;
    rest.split_once("\r\n").unwrap().0
}

fn hanging_up() -> SessionPolicy {
    SessionPolicy {
        hang_up: Some("1s".parse().unwrap()),
        ..SessionPolicy::default()
    }
}

#[test]
fn ack_and_bye_go_where_route_or_contact_says() {
    let contact = "Contact: <sip:ppg@127.0.0.1:5071>\r\n";
    let route = "Record-Route: <sip:far@127.0.0.1:5073;lr>,<sip:127.0.0.1:5072;lr>;x=\"a,b\"\r\n";
    let named = "Contact: <sip:ppg@ppg.example>\r\n";
    let long = format!(
        "{contact}Record-Route: <sip:127.0.0.1:5072;lr;{}>\r\n",
        "y".repeat(90)
    );
    for (more, hop) in [
        (contact, "127.0.0.1:5071"),
        (&format!("{contact}{route}"), "127.0.0.1:5072"),
        (named, PPG),
        (&long, "127.0.0.1:5072"),
    ] {
        let mut calls = calls(hanging_up());
        assert!(calls.begin(0, &start()));
        let (to, invite) = only(&mut calls);
        assert_eq!(to, PPG);
        answer(&mut calls, S, &invite, "200 OK", "1", more);
        let (to, ack) = only(&mut calls);
        assert!(ack.starts_with("ACK ") && to == hop, "{to} {ack}");
        calls.advance(3 * S);
        let (to, bye) = only(&mut calls);
        assert!(bye.starts_with("BYE ") && to == hop, "{to} {bye}");
        assert_eq!(
            bye.matches("Route: ").count(),
            usize::from(more.contains("Route"))
        );
        answer(&mut calls, 3 * S, &bye, "200 OK", "1", "");
        assert_eq!(
            (calls.table.len(), calls.sheets[0].counts.ended_by_device),
            (0, 1)
        );
    }
}

#[test]
fn a_2xx_of_another_fork_is_acknowledged_and_ended() {
    let mut calls = calls(SessionPolicy::default());
    assert!(calls.begin(0, &start()));
    let (_, invite) = only(&mut calls);
    let contact = |port: u16| format!("Contact: <sip:ppg@127.0.0.1:{port}>\r\n");
    answer(&mut calls, S, &invite, "200 OK", "one", &contact(5070));
    left(&mut calls);
    answer(&mut calls, S, &invite, "200 OK", "one", &contact(5070));
    assert!(only(&mut calls).1.starts_with("ACK "), "the same one again");
    answer(&mut calls, S, &invite, "200 OK", "two", &contact(5079));
    let both = left(&mut calls);
    assert_eq!(both.len(), 2, "{both:?}");
    let (ack, bye) = (&both[0], &both[1]);
    assert!(ack.1.starts_with("ACK sip:ppg@127.0.0.1:5079 "), "{ack:?}");
    assert!(bye.1.starts_with("BYE sip:ppg@127.0.0.1:5079 ") && bye.0 == "127.0.0.1:5079");
    let (invite, bye) = (
        Message::parse(invite.as_bytes()).unwrap(),
        Message::parse(bye.1.as_bytes()).unwrap(),
    );
    assert_eq!(
        (bye.call_id(), bye.from_tag()),
        (invite.call_id(), invite.from_tag())
    );
    assert_eq!(
        (bye.to_tag(), bye.cseq().unwrap().number),
        (Some(&b"two"[..]), 2)
    );
    assert_eq!(calls.table.len(), 2);
    // Its To has the tag already.
    let bye = both[1].1.replace(";tag=two\r\n", "\r\n");
    answer(&mut calls, 2 * S, &bye, "200 OK", "two", "");
    let counts = &calls.sheets[0].counts;
    assert_eq!(
        (counts.forked_2xx, counts.established, counts.repeated_2xx),
        (1, 1, 1)
    );
    assert_eq!((calls.table.len(), calls.table.established()), (1, 1));
}

#[test]
fn a_refresh_is_a_new_request_and_late_answers_to_the_old_one_are_nothing() {
    let mut calls = calls(SessionPolicy::default());
    calls.register(0, &start());
    let (_, first) = only(&mut calls);
    answer(&mut calls, 0, &first, "200 OK", "1", "");
    calls.advance(301 * S);
    let (_, second) = only(&mut calls);
    assert!(first.contains("CSeq: 1 REGISTER") && second.contains("CSeq: 2 REGISTER"));
    assert_ne!(branch(&first), branch(&second));
    answer(&mut calls, 301 * S, &first, "500 Late", "1", "");
    answer(&mut calls, 301 * S, &second, "200 OK", "1", "");
    let counts = &calls.sheets[0].counts;
    assert_eq!((counts.registered, counts.register_failures), (2, 0));
}

#[test]
fn a_challenge_is_answered_and_a_second_refusal_stands() {
    let md5 = "WWW-Authenticate: Digest realm=\"ims.example\", nonce=\"n1\", qop=\"auth\"\r\n";
    let unknown = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", algorithm=X\r\n";
    let mut calls = calls(SessionPolicy::default());
    calls.register(0, &start());
    let (_, first) = only(&mut calls);
    let more = format!("{unknown}{md5}");
    answer(&mut calls, 0, &first, "401 Unauthorized", "1", &more);
    let (_, second) = only(&mut calls);
    let line = "Authorization: Digest username=\"alice\", realm=\"ims.example\", nonce=\"n1\", \
                uri=\"sip:127.0.0.1:5070\", cnonce=";
    assert!(
        second.contains(line) && second.contains("CSeq: 2 REGISTER"),
        "{second}"
    );
    answer(&mut calls, 0, &second, "200 OK", "1", "");
    let counts = &calls.sheets[0].counts;
    assert_eq!((counts.registered, counts.register_failures), (1, 0));
    assert_eq!((counts.registers, counts.challenges), (1, 1));
    // The refresh begins without credentials: their nonce has been used.
    calls.advance(301 * S);
    let (_, mut request) = only(&mut calls);
    assert!(!request.contains("Authorization"));
    for _ in 0..2 {
        answer(&mut calls, 0, &request, "401 Unauthorized", "1", md5);
        request = only(&mut calls).1;
    }
    answer(&mut calls, 0, &request, "401 Unauthorized", "1", md5);
    assert_eq!(calls.sheets[0].counts.register_failures, 1);
    assert_eq!(calls.table.len(), 0);
}

#[test]
fn an_invite_is_acknowledged_and_sent_again_with_credentials() {
    let asked = "Proxy-Authenticate: Digest realm=\"p\", nonce=\"n\", algorithm=SHA-256\r\n";
    let mut calls = calls(hanging_up());
    assert!(calls.begin(0, &start()));
    let (_, first) = only(&mut calls);
    answer(
        &mut calls,
        0,
        &first,
        "407 Proxy Authentication Required",
        "1",
        asked,
    );
    let both = left(&mut calls);
    let (ack, second) = (&both[0].1, &both[1].1);
    let (ack, second) = if ack.starts_with("ACK") {
        (ack, second)
    } else {
        (second, ack)
    };
    assert_eq!(branch(ack), branch(&first), "RFC 3261 17.1.1.3");
    assert!(second.starts_with("INVITE ") && second.contains("CSeq: 2 INVITE"));
    assert!(second.contains("Proxy-Authorization: Digest ") && second.contains("SHA-256"));
    // The refusal comes again: so does its ACK, and nothing else.
    answer(
        &mut calls,
        0,
        &first,
        "407 Proxy Authentication Required",
        "1",
        asked,
    );
    let again = only(&mut calls).1;
    assert_eq!(
        (branch(&again), again.contains("CSeq: 1 ACK")),
        (branch(&first), true)
    );
    let contact = "Contact: <sip:ppg@127.0.0.1:5070>\r\n";
    answer(&mut calls, 0, second, "200 OK", "1", contact);
    let ack = only(&mut calls).1;
    assert!(
        ack.contains("CSeq: 2 ACK") && ack.contains("Proxy-Authorization: "),
        "{ack}"
    );
    calls.advance(2 * S);
    let bye = only(&mut calls).1;
    assert!(
        bye.contains("CSeq: 3 BYE") && !bye.contains("Authorization"),
        "{bye}"
    );
    let counts = &calls.sheets[0].counts;
    assert_eq!(
        (counts.attempts, counts.established, counts.refused.len()),
        (1, 1, 0)
    );
}

#[test]
fn a_content_is_answered_after_the_time_that_the_device_takes() {
    let mut calls = calls(SessionPolicy {
        content_delay: "2s".parse().unwrap(),
        ..SessionPolicy::default()
    });
    assert!(calls.begin(0, &start()));
    let (_, invite) = only(&mut calls);
    let contact = "Contact: <sip:ppg@127.0.0.1:5070>\r\n";
    answer(&mut calls, S, &invite, "200 OK", "1", contact);
    left(&mut calls);
    let invite = Message::parse(invite.as_bytes()).unwrap();
    let tag = String::from_utf8_lossy(invite.from_tag().unwrap()).into_owned();
    let content = format!(
        "MESSAGE sip:alice@127.0.0.1:6000 SIP/2.0\r\nVia: SIP/2.0/UDP {PPG};branch=z9hG4bKm\r\n\
         From: <sip:ppg@{PPG}>;tag=1\r\nTo: <sip:alice@ims.example>;tag={tag}\r\n\
         Call-ID: {tag}\r\nCSeq: 1 MESSAGE\r\nContent-Length: 2\r\n\r\nhi"
    );
    let content = Message::parse(content.as_bytes()).unwrap();
    let name = calls.name(tag.as_bytes()).unwrap();
    for at in [2 * S, 3 * S] {
        calls.request(at, origin(), name, &content);
        calls.advance(at);
        assert!(left(&mut calls).is_empty() && calls.is_timed());
    }
    calls.advance(4 * S);
    assert!(only(&mut calls).1.starts_with("SIP/2.0 200 "));
    calls.request(5 * S, origin(), name, &content);
    calls.advance(7 * S);
    assert!(
        only(&mut calls).1.starts_with("SIP/2.0 200 "),
        "repeated late, too"
    );
    let counts = &calls.sheets[0].counts;
    assert_eq!((counts.contents, counts.contents_repeated), (1, 2));
}

#[test]
fn a_user_takes_time_before_the_invite_and_the_device_before_it_answers_a_bye() {
    let mut calls = calls(SessionPolicy {
        think: "3s".parse().unwrap(),
        bye_delay: "2s".parse().unwrap(),
        ..SessionPolicy::default()
    });
    assert!(calls.begin(0, &start()));
    calls.advance(2 * S);
    assert!(left(&mut calls).is_empty() && calls.sheets[0].counts.attempts == 0);
    calls.advance(4 * S);
    let (_, invite) = only(&mut calls);
    let contact = "Contact: <sip:ppg@127.0.0.1:5070>\r\n";
    answer(&mut calls, 4 * S, &invite, "200 OK", "1", contact);
    left(&mut calls);
    let invite = Message::parse(invite.as_bytes()).unwrap();
    let tag = String::from_utf8_lossy(invite.from_tag().unwrap()).into_owned();
    let bye = format!(
        "BYE sip:alice@127.0.0.1:6000 SIP/2.0\r\nVia: SIP/2.0/UDP {PPG};branch=z9hG4bKb\r\n\
         From: <sip:ppg@{PPG}>;tag=1\r\nTo: <sip:alice@ims.example>;tag={tag}\r\n\
         Call-ID: {tag}\r\nCSeq: 2 BYE\r\nContent-Length: 0\r\n\r\n"
    );
    let bye = Message::parse(bye.as_bytes()).unwrap();
    let name = calls.name(tag.as_bytes()).unwrap();
    for at in [5 * S, 6 * S] {
        calls.request(at, origin(), name, &bye);
        calls.advance(at);
        assert!(left(&mut calls).is_empty() && calls.table.len() == 1);
    }
    calls.advance(8 * S);
    assert!(only(&mut calls).1.starts_with("SIP/2.0 200 "));
    assert_eq!(calls.table.len(), 0);
    assert_eq!(calls.sheets[0].counts.ended_by_peer, 1);
    calls.request(9 * S, origin(), name, &bye);
    assert!(only(&mut calls).1.starts_with("SIP/2.0 200 "), "again");
}

#[test]
fn over_tcp_nothing_is_sent_again_and_a_refusal_is_forgotten_with_its_ack() {
    let mut calls = calls(SessionPolicy {
        transport: Transport::Tcp,
        ..SessionPolicy::default()
    });
    assert!(calls.begin(0, &start()));
    let target = PPG.parse().unwrap();
    assert_eq!(calls.links.take_wanted(), Some((0, target)));
    let (_, invite) = only(&mut calls);
    assert!(invite.contains("\r\nVia: SIP/2.0/TCP "), "{invite}");
    assert!(invite.contains(";transport=tcp>"), "{invite}");
    for second in 1..32 {
        calls.advance(second * S);
        assert!(left(&mut calls).is_empty(), "sent again after {second} s");
    }
    calls.advance(34 * S);
    let counts = &calls.sheets[0].counts;
    assert_eq!((counts.timeouts, counts.invite_retransmissions), (1, 0));
    assert_eq!(calls.table.len(), 0);
    assert!(calls.begin(40 * S, &start()));
    let (_, invite) = only(&mut calls);
    let from = calls.links.sip_origin(0).unwrap();
    let refusal = format!("{}{}", "SIP/2.0 486 Busy Here\r\n", {
        let lines = invite.split("\r\n").skip(1);
        let kept = lines.filter(|line| {
            ["Via:", "From:", "To:", "Call-ID:", "CSeq:"]
                .iter()
                .any(|name| line.starts_with(name))
        });
        kept.collect::<Vec<_>>().join("\r\n") + "\r\nContent-Length: 0\r\n\r\n"
    });
    let refusal = Message::parse(refusal.as_bytes()).unwrap();
    assert!(calls.response(41 * S, from, &refusal));
    assert!(only(&mut calls).1.starts_with("ACK "));
    assert_eq!(calls.table.len(), 0, "Timer D is 0");
}
