//! What is refused, and that it leaves nothing behind.

use super::*;

fn refused(lines: &str, code: u16) -> String {
    let mut device = Device::new(config());
    device.say(&device.invite(lines));
    let response = device.net.one();
    assert!(
        response.starts_with(&format!("SIP/2.0 {code} ")),
        "{response}"
    );
    assert_eq!((device.sessions.len(), response.len() % 16), (0, 0));
    response
}

#[test]
fn tokens_that_grant_nothing_are_named() {
    for (refusal, line) in [
        (Refusal::TokenForged, "403 Token Not Valid"),
        (Refusal::TokenExpired, "403 Token Expired"),
        (Refusal::TokenUsed, "403 Token Already Used"),
        (Refusal::ContentGone, "410 Content Gone"),
    ] {
        let mut device = Device::new(config());
        device.people.verdict = Err(refusal);
        let before = device.sessions.memory_bytes();
        for call in 0..100 {
            device.call_id = format!("call-{call}");
            device.say(&device.invite(""));
        }
        assert!(
            device.net.texts().iter().all(|text| text.contains(line)),
            "{refusal:?}"
        );
        assert_eq!(device.sessions.counts().refused.total(), 100);
        assert!(device.sessions.is_empty() && device.people.events.is_empty());
        // One page of one class of texts is all that a refused INVITE can take.
        assert!(device.sessions.memory_bytes() <= before + (64 << 10));
    }
    let mut device = Device::new(config());
    device.say(&device.invite("").replace(";t=", ";x="));
    assert!(
        device
            .net
            .one()
            .starts_with("SIP/2.0 403 Token Missing\r\n")
    );
}

#[test]
fn a_refusal_says_the_same_each_time_and_its_ack_is_ignored() {
    let mut device = Device::new(config());
    device.people.verdict = Err(Refusal::TokenForged);
    device.say(&device.invite(""));
    let first = device.net.one();
    device.say(&device.invite(""));
    assert_eq!(device.net.one(), first);
    device.learn_tag(&first);
    device.say(&device.inside("ACK", 1, "", ""));
    assert!(device.net.datagrams.is_empty());
    assert_eq!(device.sessions.counts().strays.acks, 1);
}

#[test]
fn refusals_beyond_the_bound_are_dropped_and_counted() {
    let mut device = Device::new(SessionConfig {
        refusals_per_s_max: 100,
        ..config()
    });
    device.people.verdict = Err(Refusal::TokenForged);
    for _ in 0..50 {
        device.say(&device.invite(""));
    }
    assert_eq!(device.net.datagrams.len(), 2, "of one source");
    let counts = device.sessions.counts();
    assert_eq!(
        (counts.refused.token_forged, counts.refusals_dropped),
        (50, 48)
    );
    device.net.datagrams.clear();
    device.say(&device.outside("OPTIONS", "sip:127.0.0.1", "", ""));
    assert!(device.net.one().starts_with("SIP/2.0 200 "));
    for source in 0..200 {
        let peer = SocketAddr::from(([127, 1, 0, source], 6001));
        device.path = Path::Datagram { peer };
        device.say(&device.invite(""));
    }
    assert_eq!(device.net.datagrams.len(), 8, "of all sources");
    device.path = Path::Datagram { peer: PEER };
    device.net.datagrams.clear();
    device.people.verdict = People::new().verdict;
    device.build();
    assert_eq!(device.sessions.len(), 1, "who has a token is not held up");
}

#[test]
fn what_an_invite_lacks_is_named() {
    assert!(
        refused("Require: 100rel\r\nRequire: x, y\r\n", 420)
            .contains("Unsupported: 100rel\r\nUnsupported: x, y\r\n")
    );
    refused("Call-ID: again\r\n", 400);
    refused("Contact: <sip:second@h>\r\n", 400);
    let long = format!("Record-Route: <sip:{};lr>\r\n", "r".repeat(1_100));
    refused(&long, 513);
    let formats = " 0".repeat(400);
    let wordy =
        format!("v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=audio 4 RTP/AVP{formats}\r\n");
    let cases = [
        ("application/sdp", "v=1\r\n", 488),
        ("application/sdp", "nonsense", 488),
        ("application/sdp", &wordy, 488),
        ("text/plain", "hello", 415),
    ];
    for (kind, body, code) in cases {
        let mut device = Device::new(config());
        device.say(&device.invite_with("", kind, body));
        let response = device.net.one();
        assert!(
            response.starts_with(&format!("SIP/2.0 {code} ")),
            "{response}"
        );
        assert_eq!(
            response.contains("Accept: application/sdp\r\n"),
            code == 415
        );
        assert!(
            device.people.invitations.is_empty(),
            "the token is not consumed"
        );
    }
    for (from, to, code) in [
        ("INVITE sip:ppg", "INVITE tel:ppg", 416),
        ("CSeq: 1 INVITE", "CSeq: 1 BYE", 400),
        ("SIP/2.0\r\nVia", "SIP/3.0\r\nVia", 505),
        ("Contact: <sip:", "Contact: <tel:", 400),
    ] {
        let mut device = Device::new(config());
        device.say(&device.invite("").replace(from, to));
        let response = device.net.one();
        assert!(
            response.starts_with(&format!("SIP/2.0 {code} ")),
            "{response}"
        );
    }
}

#[test]
fn the_answer_to_a_known_offer_is_that_of_an_unknown_one() {
    let mut device = Device::new(config());
    let mut again = Device::new(config());
    again.call_id = "other".to_owned();
    again.build();
    again.call_id = device.call_id.clone();
    let bodies = [device.build(), again.build()].map(|accepted| {
        let (_, body) = accepted.split_once("\r\n\r\n").expect("a body");
        body.to_owned()
    });
    assert_eq!(bodies[0], bodies[1]);
}

#[test]
fn an_invite_without_an_offer_gets_one() {
    let mut device = Device::new(config());
    device.say(&device.invite_with("", "application/sdp", ""));
    let accepted = device.net.one();
    assert!(accepted.starts_with("SIP/2.0 200 ") && accepted.contains("\r\n\r\nv=0\r\n"));
}

#[test]
fn streams_that_we_do_not_take_are_refused_one_by_one() {
    let mut device = Device::new(config());
    let body = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=5 6\r\n\
        m=audio 4000 RTP/AVP 0 8\r\na=sendrecv\r\nm=message 9 TCP/MSRP *\r\na=path:msrp://127.0.0.1:9/x;tcp\r\n";
    device.say(&device.invite_with("", "application/sdp", body));
    let accepted = device.net.one();
    assert!(
        accepted.contains("t=5 6\r\nm=audio 0 RTP/AVP 0 8\r\nm=message 0 TCP/MSRP *\r\n"),
        "{accepted}"
    );
}

#[test]
fn a_full_table_says_when_to_come_back() {
    let mut device = Device::new(SessionConfig {
        sessions_max: 1,
        ..config()
    });
    device.build();
    device.call_id = "c2".to_owned();
    device.say(&device.invite(""));
    let response = device.net.one();
    assert!(response.starts_with("SIP/2.0 503 ") && response.contains("Retry-After: 5\r\n"));
    assert_eq!(
        device.people.invitations.len(),
        1,
        "the token is not consumed"
    );
}

#[test]
fn what_nobody_asked_for_is_refused() {
    let mut device = Device::new(config());
    device.tag = "0".repeat(32);
    for method in ["BYE", "MESSAGE", "INVITE", "OPTIONS"] {
        device.say(&device.inside(method, 2, "", ""));
        assert!(device.net.one().starts_with("SIP/2.0 481 "), "{method}");
    }
    for method in ["UPDATE", "SUBSCRIBE", "PING"] {
        device.say(&device.outside(method, "sip:127.0.0.1", "", ""));
        let response = device.net.one();
        assert!(response.starts_with("SIP/2.0 405 ") && response.contains("Allow: INVITE, "));
    }
    device.say(&device.outside("CANCEL", "sip:127.0.0.1", "", ""));
    assert!(device.net.one().starts_with("SIP/2.0 481 "));
    device.say(&device.inside("ACK", 1, "", ""));
    assert!(device.net.datagrams.is_empty());
}

#[test]
fn options_say_what_is_taken() {
    let mut device = Device::new(config());
    device.say(&device.outside("OPTIONS", "sip:127.0.0.1", "", ""));
    let response = device.net.one();
    assert!(response.starts_with("SIP/2.0 200 "));
    for line in [
        "Allow: INVITE, ACK",
        "Accept: application/sdp",
        "Supported:\r\n",
    ] {
        assert!(response.contains(line), "{line}");
    }
}

#[test]
fn a_cancel_comes_too_late_and_changes_nothing() {
    let mut device = Device::new(config());
    device.build();
    let cancel = device.invite("").replace("INVITE", "CANCEL");
    device.say(&cancel);
    let response = device.net.one();
    assert!(response.starts_with("SIP/2.0 200 ") && response.contains(&device.tag));
    assert!(response.contains("CSeq: 1 CANCEL\r\n"));
    assert_eq!(
        (device.sessions.len(), device.sessions.counts().cancels),
        (1, 1)
    );
    device.say(&cancel.replace("branch=z9hG4bK", "branch=z9hG4bKo"));
    assert!(device.net.one().starts_with("SIP/2.0 481 "));
}

#[test]
fn the_order_of_requests_in_a_dialog_counts() {
    let mut device = Device::new(config());
    device.build();
    device.say(&device.inside("ACK", 1, "", ""));
    device.net.datagrams.clear();
    let kind = "Content-Type: text/parameters\r\n";
    let told = |device: &mut Device, method, number, body, code: u16| {
        device.say(&device.inside(method, number, kind, body));
        let response = device.net.one();
        let line = format!("SIP/2.0 {code} ");
        assert!(response.starts_with(&line), "{number}: {response}");
    };
    told(&mut device, "MESSAGE", 3, "hello", 200);
    told(&mut device, "MESSAGE", 3, "hello", 200);
    told(&mut device, "BYE", 2, "", 500);
    told(&mut device, "INVITE", 4, "", 488);
    told(&mut device, "MESSAGE", 5, "again", 200);
    told(&mut device, "MESSAGE", 3, "hello", 200);
    told(&mut device, "MESSAGE", 4, "hello", 500);
    told(&mut device, "MESSAGE", 2, "hello", 500);
    let received: Vec<_> = device
        .people
        .received
        .iter()
        .map(|(_, body)| &body[..])
        .collect();
    assert_eq!(received, [b"hello", b"again"]);
    assert_eq!(device.sessions.len(), 1);
    told(&mut device, "BYE", 6, "", 200);
    told(&mut device, "MESSAGE", 5, "again", 200);
    told(&mut device, "MESSAGE", 7, "new", 481);
    told(&mut device, "OPTIONS", 8, "", 481);
}

#[test]
fn a_message_of_a_type_that_nobody_reads_is_refused_inside_a_session_too() {
    let mut device = Device::new(config());
    device.build();
    device.say(&device.inside("ACK", 1, "", ""));
    device.net.datagrams.clear();
    for _ in 0..2 {
        let kind = "Content-Type: text/plain\r\n";
        device.say(&device.inside("MESSAGE", 2, kind, "hello"));
        let response = device.net.one();
        assert!(response.starts_with("SIP/2.0 415 "), "{response}");
        assert!(response.contains("Accept: text/parameters\r\n"));
    }
    assert!(device.people.received.is_empty());
}

#[test]
fn an_ack_with_another_number_than_its_invite_acknowledges_nothing() {
    let mut device = Device::new(config());
    device.build();
    for number in [2, 0] {
        device.say(&device.inside("ACK", number, "", ""));
        assert!(device.net.datagrams.is_empty());
    }
    device.say(&device.inside("ACK", 1, "", ""));
    assert!(device.net.one().starts_with("MESSAGE "));
    device.call_id = "c2".to_owned();
    device.build();
    // Like the ACK before it, and taken without parsing.
    device.say(&device.inside("ACK", 2, "", ""));
    assert!(device.net.datagrams.is_empty());
    assert_eq!(device.sessions.counts().strays.acks, 3);
}

#[test]
fn a_refusal_that_may_pass_is_the_same_when_its_invite_comes_again() {
    let mut device = Device::new(SessionConfig {
        sessions_max: 1,
        ..config()
    });
    device.build();
    let holder = std::mem::replace(&mut device.call_id, "c2".to_owned());
    device.say(&device.invite(""));
    let refused = device.net.one();
    assert!(refused.starts_with("SIP/2.0 503 "), "{refused}");
    device.call_id = holder;
    device.say(&device.inside("BYE", 2, "", ""));
    device.net.datagrams.clear();
    device.call_id = "c2".to_owned();
    device.say(&device.invite(""));
    assert_eq!(device.net.one(), refused);
    device.say(&device.invite("").replace("INVITE", "CANCEL"));
    assert!(device.net.datagrams.is_empty(), "ignored");
    device.say(&device.invite("").replace("z9hG4bKi", "z9hG4bKnew"));
    assert!(device.net.one().starts_with("SIP/2.0 200 "), "another try");
    assert_eq!(device.people.granted, 2);
}

#[test]
fn no_refusal_uses_a_token_up() {
    let msrp = "Allow: INVITE, ACK, BYE\r\n";
    let long = Some(("text/plain".to_owned(), vec![b'x'; 5_000], Push::Auto));
    let mut device = Device::new(config());
    device.say(&device.invite(msrp));
    assert!(device.net.one().starts_with("SIP/2.0 488 "));
    device.call_id = "c2".to_owned();
    let short = std::mem::replace(&mut device.people.content, long);
    device.say(&device.invite(""));
    assert!(device.net.one().starts_with("SIP/2.0 488 "));
    device.call_id = "c3".to_owned();
    device.people.content = None;
    device.say(&device.invite(""));
    assert!(device.net.one().starts_with("SIP/2.0 410 "));
    assert_eq!(device.people.granted, 0);
    assert!(device.sessions.is_empty());
    assert_eq!(device.sessions.counts().refused.offer, 2);
    device.call_id = "c4".to_owned();
    device.people.content = short;
    device.build();
    assert_eq!(device.people.granted, 1);
}

#[test]
fn without_room_for_the_2xx_nothing_is_granted() {
    let mut device = Device::new(SessionConfig {
        text_bytes_per_session_max: 0,
        ..config()
    });
    let mut held = 0;
    let refused = loop {
        device.call_id = format!("call-{held}");
        device.say(&device.invite(""));
        let response = device.net.one();
        if response.starts_with("SIP/2.0 503 ") {
            break response;
        }
        held += 1;
        if held == 64 {
            return;
        }
    };
    assert!(refused.contains("Retry-After: "));
    assert_eq!(device.people.granted, held);
}

#[test]
fn information_that_a_sir_asked_for_reaches_the_host() {
    let mut device = Device::new(config());
    let uri = format!("sip:ppg@127.0.0.1:5070;t={}", crate::testing::TOKEN);
    let kind = "Content-Type: text/parameters\r\n";
    device.say(&device.outside("MESSAGE", &uri, kind, "capability: 3\r\n"));
    assert!(device.net.one().starts_with("SIP/2.0 200 "));
    assert_eq!(
        device.people.received,
        [("returned".to_owned(), b"capability: 3\r\n".to_vec())]
    );
    device.say(&device.outside("MESSAGE", &uri, "Content-Type: text/html\r\n", "x"));
    let response = device.net.one();
    assert!(
        response.starts_with("SIP/2.0 415 ") && response.contains("Accept: text/parameters\r\n")
    );
    device.people.verdict = Err(Refusal::TokenExpired);
    device.say(&device.outside("MESSAGE", &uri, kind, "x"));
    assert!(device.net.one().starts_with("SIP/2.0 403 "));
    assert_eq!(device.people.received.len(), 1);
}

#[test]
fn a_registration_with_a_token_is_taken() {
    let mut device = Device::new(config());
    let uri = format!("sip:127.0.0.1:5070;t={}", crate::testing::TOKEN);
    let contact =
        "Contact: <sip:+1@127.0.0.1:6001>;+sip.instance=\"<urn:uuid:7>\"\r\nExpires: 60\r\n";
    device.say(&device.outside("REGISTER", &uri, contact, ""));
    let response = device.net.one();
    assert!(response.starts_with("SIP/2.0 200 "));
    assert!(response.contains("Contact: <sip:+1@127.0.0.1:6001>;expires=60\r\n"));
    assert_eq!(
        device.people.registered,
        [("sip:+1@127.0.0.1:6001".to_owned(), 60)]
    );
    assert_eq!(device.people.invitations[0].2, "urn:uuid:7");
    for lines in [
        "",
        "Contact: *\r\n",
        "Contact: *\r\nExpires: 60\r\n",
        "Contact: <sip:+1@127.0.0.1:6001>, <sip:+1@127.0.0.1:6002>\r\n",
        "Contact: <sip:+1@127.0.0.1:6001>\r\nContact: <sip:+1@127.0.0.1:6002>\r\n",
    ] {
        device.say(&device.outside("REGISTER", &uri, lines, ""));
        assert!(device.net.one().starts_with("SIP/2.0 400 "), "{lines}");
    }
    let all = "Contact: *\r\nExpires: 0\r\n";
    device.say(&device.outside("REGISTER", &uri, all, ""));
    assert!(!device.net.one().contains("Contact:"));
    assert_eq!(device.people.registered[1], ("*".to_owned(), 0));
}

#[test]
fn a_content_that_no_carrier_takes_is_refused() {
    let mut device = Device::new(config());
    device.people.content = Some(("text/plain".to_owned(), vec![b'x'; 5_000], Push::Auto));
    device.say(&device.invite(""));
    assert!(device.net.one().starts_with("SIP/2.0 488 "));
    device.say(&device.invite(""));
    assert!(device.net.one().starts_with("SIP/2.0 488 "));
    // RFC 3428 8: 1300 octets as rendered, whatever may ride in a MESSAGE.
    let mut device = Device::new(SessionConfig {
        message_bytes_max: 5_000,
        ..config()
    });
    device.people.content = Some(("text/plain".to_owned(), vec![b'x'; 1_100], Push::Auto));
    device.say(&device.invite(""));
    assert!(device.net.one().starts_with("SIP/2.0 488 "));
    device.call_id = "c2".to_owned();
    device.people.content = Some(("text/plain".to_owned(), vec![b'x'; 850], Push::Auto));
    device.build();
    device.say(&device.inside("ACK", 1, "", ""));
    assert!(device.net.one().len() <= 1_300);
    assert_eq!(device.people.granted, 1);
}

#[test]
fn a_sender_behind_a_translator_is_told_and_answered_where_it_is() {
    let mut device = Device::new(config());
    let named = device
        .invite("")
        .replace("127.0.0.1:6001;branch", "device.example:6002;rport;branch");
    device.say(&named);
    let (target, _) = device.net.datagrams[0];
    let accepted = device.net.one();
    assert_eq!(target, PEER);
    assert!(
        accepted
            .contains("device.example:6002;branch=z9hG4bKic1;rport=6001;received=127.0.0.1\r\n")
    );
}

#[test]
fn header_names_are_those_of_the_standard() {
    let mut device = Device::new(config());
    let accepted = device.build();
    let message = Message::parse(accepted.as_bytes()).expect("a response");
    for name in [
        HeaderName::Via,
        HeaderName::Contact,
        HeaderName::Allow,
        HeaderName::Supported,
    ] {
        assert!(message.header(name).is_some(), "{name:?}");
    }
}

#[test]
fn a_session_that_ends_before_its_ack_was_never_established() {
    let mut device = Device::new(config());
    device.build();
    device.say(&device.inside("BYE", 2, "", ""));
    assert!(device.net.one().starts_with("SIP/2.0 200 "));
    let missed = [SessionEvent::Missed(Cause::Peer), ended(Cause::Peer)];
    assert_eq!(device.people.take_events(), missed);
}
