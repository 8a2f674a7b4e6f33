//! Sessions from INVITE to BYE.

use super::*;

#[test]
fn a_device_builds_a_session_gets_its_content_and_bye() {
    let mut device = Device::new(config());
    let accepted = device.build();
    assert!(
        accepted
            .starts_with("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:6001;branch=z9hG4bKic1\r\n")
    );
    assert!(accepted.contains("Contact: <sip:ppg@127.0.0.1:5070>\r\n"));
    assert!(accepted.contains("Content-Type: application/sdp\r\n") && accepted.contains("v=0\r\n"));
    assert_eq!(accepted.len() % 16, 0);
    let token = crate::testing::TOKEN;
    let asked = (
        token.to_owned(),
        "sip:+1@ims.example".to_owned(),
        "urn:uuid:7".to_owned(),
    );
    assert_eq!(device.people.invitations, [asked]);
    assert!(device.people.events.is_empty());

    device.say(&device.inside("ACK", 1, "", ""));
    let pushed = device.net.one();
    assert!(pushed.starts_with("MESSAGE sip:+1@127.0.0.1:6001;gr=urn:uuid:7 SIP/2.0\r\n"));
    assert!(pushed.contains(&format!(
        "From: <sip:ppg@127.0.0.1:5070>;tag={}\r\n",
        device.tag
    )));
    assert!(
        pushed.contains("To: <sip:+1@ims.example>;tag=d1\r\nCall-ID: c1\r\nCSeq: 1 MESSAGE\r\n")
    );
    assert!(pushed.contains("Content-Type: text/plain\r\n") && pushed.ends_with(&"x".repeat(200)));
    assert_eq!(pushed.len() % 16, 0);

    device.answer(&pushed, 200);
    let bye = device.net.one();
    assert!(bye.starts_with("BYE sip:+1@127.0.0.1:6001;gr=urn:uuid:7 SIP/2.0\r\n"));
    assert!(bye.contains("CSeq: 2 BYE\r\n"));
    assert_eq!(device.sessions.len(), 1);
    device.answer(&bye, 200);
    assert!(device.sessions.is_empty());

    let events = device.people.take_events();
    assert!(matches!(events[0], SessionEvent::Established { .. }));
    assert_eq!(events[1..], [SessionEvent::Delivered, ended(Cause::Engine)]);
    let counts = device.sessions.counts();
    let all = (
        counts.opened,
        counts.established,
        counts.delivered,
        counts.ended.engine,
    );
    assert_eq!((all, counts.residue()), ((1, 1, 1, 1), 0));
    assert!(device.net.datagrams.is_empty());
}

#[test]
fn the_2xx_is_repeated_until_the_ack_and_given_up_with_bye() {
    let mut device = Device::new(config());
    let accepted = device.build();
    let mut at_ms = vec![];
    while device.net.datagrams.is_empty() || device.net.texts()[0] == accepted {
        if device.net.datagrams.pop().is_some() {
            at_ms.push((device.now - SECOND) / 1_000_000);
        }
        device.wait(100_000_000);
    }
    assert_eq!(
        at_ms,
        [
            500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500
        ]
    );
    assert_eq!(device.now, 33 * SECOND);
    let bye = device.net.one();
    assert!(bye.starts_with("BYE "));
    device.answer(&bye, 481);
    let events = device.people.take_events();
    assert_eq!(
        events,
        [SessionEvent::Missed(Cause::NoAck), ended(Cause::NoAck)]
    );
    assert_eq!(device.sessions.counts().residue(), 0);
}

#[test]
fn an_invite_that_comes_again_is_absorbed_and_one_by_another_way_is_merged() {
    let mut device = Device::new(config());
    device.build();
    device.say(&device.invite(""));
    assert!(device.net.datagrams.is_empty());
    device.say(
        &device
            .invite("")
            .replace("branch=z9hG4bKi", "branch=z9hG4bKother"),
    );
    assert!(device.net.one().starts_with("SIP/2.0 482 "));
    device.say(&device.inside("BYE", 2, "", ""));
    assert!(device.net.one().starts_with("SIP/2.0 200 OK\r\n"));
    device.say(&device.invite(""));
    assert!(
        device.net.datagrams.is_empty(),
        "its session ended a moment ago"
    );
    let counts = device.sessions.counts();
    assert_eq!(
        (
            counts.invites,
            counts.opened,
            counts.repeated,
            counts.refused.merged
        ),
        (4, 1, 2, 1)
    );
    assert_eq!(device.people.invitations.len(), 1, "the host is asked once");
}

#[test]
fn a_lost_message_is_sent_again_and_given_up_after_timer_f() {
    let mut device = Device::new(config());
    device.build();
    device.say(&device.inside("ACK", 1, "", ""));
    let first = device.net.one();
    device.wait(31 * SECOND);
    assert_eq!(device.net.datagrams.len(), 9);
    assert!(
        device.net.texts().iter().all(|text| *text == first),
        "the same octets"
    );
    device.net.datagrams.clear();
    device.wait(2 * SECOND);
    let events = device.people.take_events();
    assert_eq!(
        events[1..],
        [
            SessionEvent::Failed(Cause::NoAnswer),
            ended(Cause::NoAnswer)
        ]
    );
    device.answer(&first, 200);
    assert_eq!(device.sessions.counts().strays.late, 1);
}

#[test]
fn a_provisional_response_slows_timer_e() {
    let mut device = Device::new(config());
    device.build();
    device.say(&device.inside("ACK", 1, "", ""));
    let first = device.net.one();
    device.answer(&first, 100);
    device.wait(SECOND);
    assert_eq!(device.net.datagrams.len(), 1, "the timer that ran already");
    device.wait(3 * SECOND);
    assert_eq!(device.net.datagrams.len(), 1);
    device.wait(SECOND);
    assert_eq!(device.net.datagrams.len(), 2);
}

#[test]
fn a_device_that_has_no_dialog_ends_it_and_one_that_refuses_gets_bye() {
    for (code, cause) in [
        (481, Cause::Gone),
        (408, Cause::Gone),
        (415, Cause::Refused(415)),
    ] {
        let mut device = Device::new(config());
        device.build();
        device.say(&device.inside("ACK", 1, "", ""));
        let pushed = device.net.one();
        device.answer(&pushed, code);
        if code == 415 {
            let bye = device.net.one();
            assert!(bye.starts_with("BYE "));
            device.answer(&bye, 200);
        }
        assert!(device.net.datagrams.is_empty());
        let events = device.people.take_events();
        assert_eq!(events[1..], [SessionEvent::Failed(cause), ended(cause)]);
    }
}

#[test]
fn a_bye_that_overtakes_the_answer_to_the_content_does_not_lose_it() {
    for answers in [true, false] {
        let mut device = Device::new(config());
        device.build();
        device.say(&device.inside("ACK", 1, "", ""));
        let pushed = device.net.one();
        device.say(&device.inside("BYE", 2, "", ""));
        assert!(device.net.one().starts_with("SIP/2.0 200 "));
        if answers {
            device.answer(&pushed, 200);
        } else {
            device.wait(6 * SECOND);
        }
        let arrival = if answers {
            SessionEvent::Delivered
        } else {
            SessionEvent::Failed(Cause::Peer)
        };
        let events = device.people.take_events();
        assert_eq!(events[1..], [arrival, ended(Cause::Peer)]);
        assert!(device.sessions.is_empty() && device.net.datagrams.is_empty());
    }
}

#[test]
fn byes_that_cross_end_the_session_once() {
    let mut device = Device::new(config());
    device.build();
    device.say(&device.inside("ACK", 1, "", ""));
    let pushed = device.net.one();
    device.answer(&pushed, 200);
    let bye = device.net.one();
    device.say(&device.inside("BYE", 2, "", ""));
    assert!(device.net.one().starts_with("SIP/2.0 200 "));
    assert!(device.sessions.is_empty());
    device.answer(&bye, 481);
    device.say(&device.inside("BYE", 2, "", ""));
    assert!(
        device.net.one().starts_with("SIP/2.0 200 "),
        "its retransmission is answered again"
    );
    let counts = device.sessions.counts();
    assert_eq!(
        (counts.ended.total(), counts.strays.late, counts.residue()),
        (1, 1, 0)
    );
}

#[test]
fn a_held_session_takes_a_second_content_and_the_device_ends_it() {
    let mut device = Device::new(SessionConfig {
        end: End::Device,
        ..config()
    });
    device.build();
    device.say(&device.inside("ACK", 1, "", ""));
    let pushed = device.net.one();
    let Some(SessionEvent::Established { session }) = device.people.take_events().pop() else {
        panic!("established");
    };
    let again = |device: &mut Device| {
        let Device {
            sessions,
            people,
            net,
            now,
            ..
        } = device;
        sessions.push(
            *now,
            session,
            Grant {
                content: 8,
                owner: [1, 2],
            },
            people,
            net,
        )
    };
    assert!(!again(&mut device), "busy");
    let short = device.people.content.clone();
    device.answer(&pushed, 200);
    device.wait(200 * SECOND);
    for unfit in ["", "text/plain"] {
        device.people.content = Some((unfit.to_owned(), vec![b'x'; 1_200], Push::Auto));
        assert!(!again(&mut device), "nothing, or too long");
    }
    device.people.content = short;
    assert!(device.net.datagrams.is_empty() && again(&mut device));
    assert_eq!(device.sessions.counts().pushing, 1);
    let second = device.net.one();
    assert!(second.contains("CSeq: 2 MESSAGE\r\n"));
    device.answer(&second, 200);
    device.say(&device.inside("BYE", 2, "", ""));
    assert!(!again(&mut device), "over");
    let contents: Vec<_> = device
        .people
        .events
        .iter()
        .map(|(_, content, _)| *content)
        .collect();
    assert_eq!(contents, [7, 8, 8]);
    assert_eq!(device.people.take_events().pop(), Some(ended(Cause::Peer)));
}

#[test]
fn a_session_without_content_is_built_and_rests() {
    let held = SessionConfig {
        end: End::Device,
        ..config()
    };
    for (config, is_held) in [(config(), false), (held, true)] {
        let mut device = Device::new(config);
        device.people.content = Some((String::new(), Vec::new(), Push::Auto));
        device.build();
        assert_eq!(device.sessions.counts().pushing, 0);
        device.say(&device.inside("ACK", 1, "", ""));
        if is_held {
            device.wait(SECOND);
            assert!(device.net.datagrams.is_empty());
            device.say(&device.inside("BYE", 2, "", ""));
        } else {
            let bye = device.net.one();
            assert!(bye.starts_with("BYE "));
            device.answer(&bye, 200);
        }
        let events = device.people.take_events();
        assert!(matches!(
            events[..],
            [SessionEvent::Established { .. }, SessionEvent::Ended { .. }]
        ));
        let counts = device.sessions.counts();
        assert_eq!((counts.failed.total(), counts.delivered), (0, 0));
        assert_eq!(counts.residue(), 0);
    }
}

#[test]
fn contents_under_way_are_counted() {
    let mut device = Device::new(config());
    device.build();
    assert_eq!(device.sessions.counts().pushing, 1);
    device.say(&device.inside("ACK", 1, "", ""));
    let pushed = device.net.one();
    device.answer(&pushed, 200);
    assert_eq!(device.sessions.counts().pushing, 0);
    device.call_id = "c2".to_owned();
    device.net.datagrams.clear();
    device.build();
    device.say(&device.inside("BYE", 2, "", ""));
    assert_eq!(device.sessions.counts().pushing, 0, "failed");
}

#[test]
fn a_session_lingers_or_is_held_only_so_long() {
    let lingering = SessionConfig {
        end: End::Engine { linger_ms: 90_000 },
        ..config()
    };
    let held = SessionConfig {
        end: End::Device,
        hold_ms_max: 90_000,
        ..config()
    };
    for (config, cause) in [(lingering, Cause::Engine), (held, Cause::HeldTooLong)] {
        let mut device = Device::new(config);
        device.build();
        device.say(&device.inside("ACK", 1, "", ""));
        let pushed = device.net.one();
        device.answer(&pushed, 200);
        device.wait(89 * SECOND);
        assert!(device.net.datagrams.is_empty());
        device.wait(2 * SECOND);
        assert!(device.net.texts()[0].starts_with("BYE "), "{cause:?}");
        let bye = device.net.texts()[0].clone();
        device.answer(&bye, 200);
        assert_eq!(device.people.take_events().pop(), Some(ended(cause)));
    }
}

#[test]
fn a_standstill_of_any_length_is_survived() {
    let held = SessionConfig {
        end: End::Device,
        hold_ms_max: 3_600_000,
        ..config()
    };
    for standstill_s in [2, 19, 41, 164, 200, 300, 330, 600] {
        let mut device = Device::new(held.clone());
        device.build();
        device.say(&device.inside("ACK", 1, "", ""));
        let pushed = device.net.one();
        device.answer(&pushed, 200);
        device.wait(SECOND);
        device.now += standstill_s * SECOND;
        // Served before the timers, as a worker does.
        device.call_id = "c2".to_owned();
        device.build();
        device.wait(SECOND);
        assert!(!device.net.datagrams.is_empty(), "the 2xx is repeated");
        device.wait(40 * SECOND);
        device.net.datagrams.clear();
        device.wait(3_600 * SECOND);
        let byes = device.net.texts();
        let byes = byes.iter().filter(|text| text.starts_with("BYE "));
        assert!(byes.count() >= 10, "after {standstill_s} s");
        device.wait(60 * SECOND);
        assert!(device.sessions.is_empty(), "after {standstill_s} s");
    }
}

#[test]
fn a_session_is_held_on_a_host_that_has_been_up_for_a_year() {
    let mut device = Device::new(SessionConfig {
        end: End::Device,
        hold_ms_max: 90_000,
        ..config()
    });
    let year = 366 * 86_400 * SECOND;
    device.sessions = Sessions::new(
        SessionConfig {
            end: End::Device,
            hold_ms_max: 90_000,
            ..config()
        },
        [3, 4],
        year,
    );
    device.now = year;
    device.build();
    device.say(&device.inside("ACK", 1, "", ""));
    let pushed = device.net.one();
    device.answer(&pushed, 200);
    device.wait(89 * SECOND);
    assert!(device.net.datagrams.is_empty());
    device.wait(2 * SECOND);
    assert!(device.net.texts()[0].starts_with("BYE "));
}

#[test]
fn the_end_of_all_waits_for_what_is_on_its_way() {
    let mut device = Device::new(SessionConfig {
        end: End::Device,
        ..config()
    });
    device.build();
    let (idle, tag) = (device.call_id.clone(), device.tag.clone());
    device.say(&device.inside("ACK", 1, "", ""));
    let pushed = device.net.one();
    device.answer(&pushed, 200);
    device.call_id = "c2".to_owned();
    device.build();
    device
        .sessions
        .end_all(device.now, &mut device.people, &mut device.net);
    let bye = device.net.one();
    assert!(bye.contains(&format!("Call-ID: {idle}\r\n")) && bye.contains(&tag));
    device.answer(&bye, 200);
    device.say(&device.inside("ACK", 1, "", ""));
    let second = device.net.one();
    assert!(second.starts_with("BYE "), "no content any more");
    device.answer(&second, 200);
    assert!(device.sessions.is_empty());
    let ended = [SessionEvent::Failed(Cause::Drained), ended(Cause::Drained)];
    assert!(device.people.take_events().ends_with(&ended));
    device.call_id = "c3".to_owned();
    device.say(&device.invite(""));
    assert!(device.net.one().starts_with("SIP/2.0 503 "));
    assert_eq!(device.sessions.counts().residue(), 0);
}

#[test]
fn routes_are_followed_when_they_are_addresses() {
    let loose = "Record-Route: <sip:127.0.0.9:5090;lr>, <sip:b;lr>\r\nRecord-Route: <sip:c;lr>\r\n";
    let strict = "Record-Route: <sip:127.0.0.9:5090>, <sip:b;lr>\r\n";
    let named = "Record-Route: <sip:proxy.example;lr>\r\n";
    let stranger = "Record-Route: <sip:127.0.0.8:5090;lr>\r\n";
    let by_tcp = "Record-Route: <sip:127.0.0.9:5090;transport=tcp;lr>\r\n";
    let same = "Record-Route: <sip:127.0.0.1:5090;lr>\r\n";
    let quoted = "Record-Route: \"a, b\" <sip:127.0.0.9:5090>,<sip:b;lr>\r\n";
    let hop: SocketAddr = "127.0.0.9:5090".parse().unwrap();
    let expected = [
        (
            loose,
            hop,
            "MESSAGE sip:+1@",
            "Route: <sip:127.0.0.9:5090;lr>, <sip:b;lr>, <sip:c;lr>\r\n",
        ),
        (
            strict,
            hop,
            "MESSAGE sip:127.0.0.9:5090 ",
            "Route: <sip:b;lr>, <sip:+1@127.0.0.1:6001;gr=urn:uuid:7>\r\n",
        ),
        (
            named,
            PEER,
            "MESSAGE sip:+1@",
            "Route: <sip:proxy.example;lr>\r\n",
        ),
        (
            stranger,
            PEER,
            "MESSAGE sip:+1@",
            "Route: <sip:127.0.0.8:5090;lr>\r\n",
        ),
        (
            by_tcp,
            PEER,
            "MESSAGE sip:+1@",
            "Route: <sip:127.0.0.9:5090;transport=tcp;lr>\r\n",
        ),
        (
            same,
            "127.0.0.1:5090".parse().unwrap(),
            "MESSAGE sip:+1@",
            "Route: <sip:127.0.0.1:5090;lr>\r\n",
        ),
        (
            quoted,
            hop,
            "MESSAGE sip:127.0.0.9:5090 ",
            "Route: <sip:b;lr>, <sip:+1@127.0.0.1:6001;gr=urn:uuid:7>\r\n",
        ),
    ];
    for (lines, target, start, route) in expected {
        let mut device = Device::new(config());
        device.people.hops = vec![hop];
        device.say(&device.invite(lines));
        let accepted = device.net.one();
        assert!(accepted.contains(lines), "{accepted}");
        device.learn_tag(&accepted);
        device.say(&device.inside("ACK", 1, "", ""));
        assert_eq!(device.net.datagrams[0].0, target);
        let pushed = device.net.one();
        assert!(
            pushed.starts_with(start) && pushed.contains(route),
            "{pushed}"
        );
    }
}

#[test]
fn behind_a_proxy_that_stays_away_requests_go_to_the_contact() {
    let contact: SocketAddr = "127.0.0.7:6001".parse().unwrap();
    let other = "Via: SIP/2.0/UDP 127.0.0.7:6001;branch=z9hG4bKd\r\n";
    for (vias, hops, target) in [
        (other, vec![contact], contact),
        (other, vec![], PEER),
        ("", vec![contact], PEER),
    ] {
        let mut device = Device::new(config());
        device.people.hops = hops;
        let invite = device.invite(vias);
        device.say(&invite.replace("+1@127.0.0.1:6001", "+1@127.0.0.7:6001"));
        assert_eq!(device.net.datagrams[0].0, PEER, "the 2xx");
        let accepted = device.net.one();
        device.learn_tag(&accepted);
        device.say(&device.inside("ACK", 1, "", ""));
        assert_eq!(device.net.datagrams[0].0, target);
    }
}

#[test]
fn another_invite_of_the_same_call_is_judged_anew() {
    let mut device = Device::new(config());
    device.build();
    let other = device.invite("").replace("z9hG4bKi", "z9hG4bKj");
    device.say(&other);
    assert!(device.net.one().starts_with("SIP/2.0 482 "));
    device.people.verdict = Err(Refusal::TokenUsed);
    device.say(&other.replace("CSeq: 1 ", "CSeq: 2 "));
    assert!(device.net.one().starts_with("SIP/2.0 403 "));
}

#[test]
fn the_scheme_of_a_contact_has_no_case() {
    let mut device = Device::new(config());
    device.say(&device.invite("").replace("<sip:+1@127", "<SIP:+1@127"));
    assert!(device.net.one().starts_with("SIP/2.0 200 "));
}

#[test]
fn no_room_is_repaired_by_timers() {
    let mut device = Device::new(config());
    device.net.full = true;
    device.say(&device.invite(""));
    device.net.full = false;
    device.wait(SECOND / 2);
    let accepted = device.net.one();
    device.learn_tag(&accepted);
    device.net.full = true;
    device.say(&device.inside("ACK", 1, "", ""));
    device.net.full = false;
    device.wait(SECOND / 2);
    assert!(device.net.one().starts_with("MESSAGE "));
    assert_eq!(device.sessions.counts().no_room, 2);
}

#[test]
fn an_ipv6_peer_gets_its_messages() {
    let mut device = Device::new(config());
    let peer = "[2001:db8::5]:6001".parse().unwrap();
    device.path = Path::Datagram { peer };
    let invite = device
        .invite("")
        .replace("127.0.0.1:6001;branch", "[2001:db8::5]:6001;branch");
    device.say(&invite);
    assert_eq!(device.net.datagrams[0].0, peer);
    let accepted = device.net.one();
    assert!(!accepted.contains("received="));
    device.learn_tag(&accepted);
    device.say(&device.inside("ACK", 1, "", ""));
    assert_eq!(device.net.datagrams[0].0, peer);
}
