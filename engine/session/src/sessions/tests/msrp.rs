//! Content by MSRP: binding, chunks, reports, slow readers, lost connections.

use super::*;
use crate::{StreamId, StreamKind};

const PATH: &str = "msrp://127.0.0.1:7001/dev1;tcp";

fn with_msrp() -> SessionConfig {
    SessionConfig {
        msrp: "127.0.0.1:2855".parse().ok(),
        ..config()
    }
}

/// A session whose device waits for content of `octets` octets, and our path.
fn built(config: SessionConfig, octets: usize) -> (Device, String) {
    let mut device = Device::new(config);
    let content = (b'a'..=b'z').cycle().take(octets).collect();
    device.people.content = Some(("text/plain".to_owned(), content, Push::Auto));
    let path = invite(&mut device, "c1");
    (device, path)
}

fn invite(device: &mut Device, call_id: &str) -> String {
    device.call_id = call_id.to_owned();
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=message 9 TCP/MSRP *\r\na=path:{PATH}\r\na=accept-types:*\r\na=setup:active\r\n"
    );
    device.say(&device.invite_with("", "application/sdp", &body));
    let accepted = device.net.one();
    device.learn_tag(&accepted);
    device.say(&device.inside("ACK", 1, "", ""));
    assert!(
        accepted.contains("m=message 2855 TCP/MSRP *\r\n"),
        "{accepted}"
    );
    assert!(accepted.contains("a=setup:passive\r\n"));
    let path = accepted.split("a=path:").nth(1).expect("a path");
    path.split("\r\n").next().expect("a line").to_owned()
}

fn bind(path: &str) -> String {
    format!(
        "MSRP bind1 SEND\r\nTo-Path: {path}\r\nFrom-Path: {PATH}\r\nMessage-ID: m1\r\n\
         Byte-Range: 1-0/0\r\n-------bind1$\r\n"
    )
}

/// The chunks in `text`: transaction, range, octets, flag.
fn chunks(text: &str) -> Vec<(String, String, String, char)> {
    let mut found = vec![];
    for piece in text
        .split("MSRP ")
        .skip(1)
        .filter(|piece| piece.contains(" SEND\r\n"))
    {
        let transaction = piece.split(' ').next().expect("a transaction").to_owned();
        let field = |name: &str| {
            let rest = piece.split(name).nth(1).expect("the field");
            rest.split("\r\n").next().expect("a line").to_owned()
        };
        let (body, end) = piece
            .split_once("\r\n\r\n")
            .expect("a body")
            .1
            .split_once(&format!("\r\n-------{transaction}"))
            .expect("an end-line");
        let flag = end.chars().next().expect("a flag");
        found.push((transaction, field("Byte-Range: "), body.to_owned(), flag));
    }
    found
}

/// The Message-ID of the last chunk in `text`.
fn message_id(text: &str) -> String {
    let id = text.rsplit("Message-ID: ").next().expect("an id");
    id.split("\r\n").next().expect("a line").to_owned()
}

fn answer(path: &str, transaction: &str, code: u16) -> String {
    format!(
        "MSRP {transaction} {code} x\r\nTo-Path: {path}\r\nFrom-Path: {PATH}\r\n-------{transaction}$\r\n"
    )
}

#[test]
fn a_long_content_goes_in_chunks_over_the_connection_of_the_device() {
    let (mut device, path) = built(with_msrp(), 5_000);
    assert!(
        device.net.datagrams.is_empty(),
        "it waits for the device to connect"
    );
    let stream = device.connect(9, StreamKind::Msrp);
    for part in bind(&path).as_bytes().chunks(11) {
        device.write(stream, part);
    }
    let sent = device.read(stream);
    assert!(sent.starts_with("MSRP bind1 200 OK\r\n"), "{sent}");
    let sent = chunks(&sent);
    let ranges: Vec<_> = sent
        .iter()
        .map(|(_, range, _, flag)| (range.as_str(), *flag))
        .collect();
    assert_eq!(
        ranges,
        [
            ("1-2048/5000", '+'),
            ("2049-4096/5000", '+'),
            ("4097-5000/5000", '$')
        ]
    );
    let whole: String = sent.iter().map(|(_, _, body, _)| body.as_str()).collect();
    assert_eq!(
        Some(whole.into_bytes()),
        device
            .people
            .content
            .as_ref()
            .map(|content| content.1.clone())
    );
    for (transaction, ..) in &sent {
        assert_eq!(device.sessions.counts().delivered, 0);
        device.write(stream, answer(&path, transaction, 200).as_bytes());
    }
    let bye = device.net.one();
    device.answer(&bye, 200);
    let events = device.people.take_events();
    assert_eq!(events[1..], [SessionEvent::Delivered, ended(Cause::Engine)]);
    let counts = device.sessions.counts();
    assert_eq!(
        (counts.chunks, counts.residue(), device.sessions.len()),
        (3, 0, 0)
    );
    device.write(stream, bind(&path).as_bytes());
    assert!(
        device.read(stream).starts_with("MSRP bind1 481"),
        "its session is over"
    );
}

#[test]
fn a_short_content_goes_as_message_even_where_msrp_is_offered() {
    let mut device = Device::new(with_msrp());
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\na=path:{PATH}\r\na=accept-types:*\r\n"
    );
    device.say(&device.invite_with("", "application/sdp", &body));
    let accepted = device.net.one();
    assert!(accepted.contains("m=message 0 TCP/MSRP *\r\n"));
    let mut device = Device::new(with_msrp());
    device.say(&device.invite_with("Allow: INVITE, ACK, BYE\r\n", "application/sdp", &body));
    assert!(
        device.net.one().contains("m=message 2855 TCP/MSRP *\r\n"),
        "it does not take MESSAGE"
    );
}

#[test]
fn sessions_on_one_connection_take_turns() {
    let (mut device, first) = built(with_msrp(), 6_000);
    let second = invite(&mut device, "c2");
    let stream = device.connect(9, StreamKind::Msrp);
    device.net.full = true;
    device.write(stream, bind(&first).as_bytes());
    device.write(stream, bind(&second).as_bytes());
    assert!(device.read(stream).is_empty());
    device.net.full = false;
    let Device {
        sessions,
        people,
        net,
        now,
        ..
    } = &mut device;
    sessions.stream_drained(*now, stream, people, net);
    let sent = device.read(stream);
    let froms: Vec<_> = sent
        .split("From-Path: ")
        .skip(1)
        .map(|rest| rest.split("\r\n").next().expect("a line") == first)
        .collect();
    assert_eq!(froms, [true, false, true, false, true, false]);
}

#[test]
fn a_session_is_bound_by_its_own_device_and_once() {
    let (mut device, path) = built(with_msrp(), 5_000);
    let stream = device.connect(9, StreamKind::Msrp);
    let forged = path.replace(&path[20..24], "0000");
    for (text, code) in [
        (bind(&forged), 481),
        (
            bind(&path).replace(PATH, "msrp://127.0.0.1:7001/other;tcp"),
            481,
        ),
        (bind(&path).replace(" SEND", " AUTH"), 501),
        (bind(&path).replace("Message-ID: m1\r\n", ""), 400),
    ] {
        device.write(stream, text.as_bytes());
        let response = device.read(stream);
        assert!(
            response.starts_with(&format!("MSRP bind1 {code}")),
            "{response}"
        );
    }
    device.write(stream, bind(&path).as_bytes());
    assert!(device.read(stream).starts_with("MSRP bind1 200"));
    let other = device.connect(10, StreamKind::Msrp);
    device.write(other, bind(&path).as_bytes());
    assert!(device.read(other).starts_with("MSRP bind1 506"));
    assert_eq!(device.sessions.counts().msrp_refused, 5);
}

#[test]
fn refused_chunks_and_bad_reports_fail_the_content() {
    for (line, code) in [("413 x", 413), ("report", 408)] {
        let (mut device, path) = built(with_msrp(), 100_000);
        let stream = device.connect(9, StreamKind::Msrp);
        device.write(stream, bind(&path).as_bytes());
        let sent = device.read(stream);
        let id = message_id(&sent);
        let sent = chunks(&sent);
        assert_eq!(sent.len(), 49);
        let text = if line == "report" {
            format!(
                "MSRP rep1 REPORT\r\nTo-Path: {path}\r\nFrom-Path: {PATH}\r\nMessage-ID: {id}\r\n\
                Byte-Range: 1-*/100000\r\nStatus: 000 408 late\r\n-------rep1$\r\n"
            )
        } else {
            answer(&path, &sent[0].0, code)
        };
        device.write(stream, text.as_bytes());
        assert!(device.read(stream).is_empty(), "a report is not answered");
        let bye = device.net.one();
        device.answer(&bye, 200);
        let cause = Cause::Refused(code);
        let events = device.people.take_events();
        assert_eq!(events[1..], [SessionEvent::Failed(cause), ended(cause)]);
    }
}

#[test]
fn a_success_report_is_waited_for_where_it_is_asked_for() {
    let (mut device, path) = built(
        SessionConfig {
            msrp_success_report: true,
            ..with_msrp()
        },
        1_500,
    );
    let stream = device.connect(9, StreamKind::Msrp);
    device.write(stream, bind(&path).as_bytes());
    let sent = device.read(stream);
    assert!(sent.contains("Success-Report: yes\r\n"));
    device.write(stream, answer(&path, &chunks(&sent)[0].0, 200).as_bytes());
    assert_eq!(device.sessions.counts().delivered, 0);
    let report = format!(
        "MSRP rep1 REPORT\r\nTo-Path: {path}\r\nFrom-Path: {PATH}\r\nMessage-ID: {}\r\n\
        Byte-Range: 1-1500/1500\r\nStatus: 000 200 OK\r\n-------rep1$\r\n",
        message_id(&sent)
    );
    device.write(stream, report.as_bytes());
    assert_eq!(device.sessions.counts().delivered, 1);
}

#[test]
fn a_device_that_does_not_connect_or_answer_is_given_up() {
    let (mut device, _) = built(with_msrp(), 5_000);
    device.wait(11 * SECOND);
    assert_eq!(
        device.people.take_events()[1],
        SessionEvent::Failed(Cause::NotConnected)
    );
    assert!(device.net.texts()[0].starts_with("BYE "));

    let (mut device, path) = built(with_msrp(), 5_000);
    let stream = device.connect(9, StreamKind::Msrp);
    device.write(stream, bind(&path).as_bytes());
    device.wait(29 * SECOND);
    assert!(device.net.datagrams.is_empty());
    device.wait(2 * SECOND);
    assert_eq!(
        device.people.take_events()[1],
        SessionEvent::Failed(Cause::NoAnswer)
    );
    assert!(device.net.texts()[0].starts_with("BYE "));
}

#[test]
fn a_lost_connection_fails_what_it_carried() {
    let (mut device, path) = built(with_msrp(), 5_000);
    let stream = device.connect(9, StreamKind::Msrp);
    device.write(stream, bind(&path).as_bytes());
    let Device {
        sessions,
        people,
        net,
        now,
        ..
    } = &mut device;
    sessions.stream_closed(*now, stream, people, net);
    let bye = device.net.one();
    device.answer(&bye, 200);
    let cause = Cause::Connection;
    let events = device.people.take_events();
    assert_eq!(events[1..], [SessionEvent::Failed(cause), ended(cause)]);
    device.write(stream, b"MSRP");
    assert_eq!(device.net.closed, [stream]);
}

#[test]
fn a_held_session_takes_a_second_content_over_its_connection() {
    let (mut device, path) = built(
        SessionConfig {
            end: End::Device,
            ..with_msrp()
        },
        3_000,
    );
    let stream: StreamId = device.connect(9, StreamKind::Msrp);
    device.write(stream, bind(&path).as_bytes());
    let sent = chunks(&device.read(stream));
    for (transaction, ..) in &sent {
        device.write(stream, answer(&path, transaction, 200).as_bytes());
    }
    let events = device.people.take_events();
    let Some(SessionEvent::Established { session }) = events.first().copied() else {
        panic!("established");
    };
    let Device {
        sessions,
        people,
        net,
        now,
        ..
    } = &mut device;
    assert!(sessions.push(
        *now,
        session,
        Grant {
            content: 8,
            owner: [1, 2],
        },
        people,
        net
    ));
    let again = chunks(&device.read(stream));
    assert_eq!(again.len(), 2);
    device.write(stream, answer(&path, &sent[0].0, 200).as_bytes());
    assert_eq!(
        device.sessions.counts().strays.late,
        1,
        "an answer to the first content"
    );
    for (transaction, ..) in &again {
        device.write(stream, answer(&path, transaction, 200).as_bytes());
    }
    assert_eq!(device.sessions.counts().delivered, 2);
    let said = format!(
        "MSRP dev22 SEND\r\nTo-Path: {path}\r\nFrom-Path: {PATH}\r\nMessage-ID: m2\r\n\
        Byte-Range: 1-2/2\r\nSuccess-Report: yes\r\nContent-Type: text/plain\r\n\r\nhi\r\n-------dev22$\r\n"
    );
    device.write(stream, said.as_bytes());
    let told = device.read(stream);
    assert!(told.starts_with("MSRP dev22 200 OK\r\n") && told.contains("MSRP dev22 REPORT\r\n"));
    assert_eq!(
        device.people.received,
        [("text/plain".to_owned(), b"hi".to_vec())]
    );
    device.say(&device.inside("BYE", 2, "", ""));
    assert!(device.sessions.is_empty());
}

#[test]
fn only_what_is_said_of_the_content_counts() {
    let (mut device, path) = built(
        SessionConfig {
            msrp_success_report: true,
            ..with_msrp()
        },
        5_000,
    );
    let stream = device.connect(9, StreamKind::Msrp);
    device.write(stream, bind(&path).as_bytes());
    let sent = device.read(stream);
    let id = message_id(&sent);
    let sent = chunks(&sent);
    let other = device.connect(10, StreamKind::Msrp);
    let first = &sent[0].0;
    device.write(other, answer(&path, first, 413).as_bytes());
    for _ in 0..3 {
        device.write(stream, answer(&path, first, 200).as_bytes());
    }
    let report = |id: &str, range: &str, code: u16| {
        format!(
            "MSRP rep1 REPORT\r\nTo-Path: {path}\r\nFrom-Path: {PATH}\r\nMessage-ID: {id}\r\n\
             Byte-Range: {range}\r\nStatus: 000 {code} x\r\n-------rep1$\r\n"
        )
    };
    device.write(stream, report("other", "1-5000/5000", 200).as_bytes());
    device.write(stream, report("other", "1-5000/5000", 413).as_bytes());
    device.write(stream, report(&id, "1-2048/5000", 200).as_bytes());
    device.write(other, report(&id, "1-5000/5000", 200).as_bytes());
    let counts = device.sessions.counts();
    assert_eq!(
        (counts.delivered, counts.failed.total(), counts.pushing),
        (0, 0, 1)
    );
    assert_eq!(counts.strays.late, 6);
    device.write(stream, report(&id, "1-5000/5000", 200).as_bytes());
    assert_eq!(device.sessions.counts().delivered, 1);
}

#[test]
fn what_the_device_does_not_take_is_not_pushed() {
    let mut device = Device::new(with_msrp());
    let body = format!(
        "v=0\r\no=- 1 1 IN IP4 h\r\ns=-\r\nt=0 0\r\nm=message 9 TCP/MSRP *\r\na=path:{PATH}\r\n\
         a=accept-types:text/plain image/*\r\na=max-size:4000\r\n"
    );
    let content = |kind: &str, octets| Some((kind.to_owned(), vec![b'x'; octets], Push::Auto));
    for (call, unfit) in [content("text/plain", 4_001), content("audio/x", 4_000)]
        .into_iter()
        .enumerate()
    {
        device.call_id = format!("call-{call}");
        device.people.content = unfit;
        device.say(&device.invite_with("", "application/sdp", &body));
        assert!(device.net.one().starts_with("SIP/2.0 488 "));
    }
    let mut device = Device::new(SessionConfig {
        end: End::Device,
        ..with_msrp()
    });
    device.people.content = Some((String::new(), vec![], Push::Auto));
    let lines = "Allow: INVITE, ACK, BYE\r\n";
    device.say(&device.invite_with(lines, "application/sdp", &body));
    let accepted = device.net.one();
    device.learn_tag(&accepted);
    device.say(&device.inside("ACK", 1, "", ""));
    let Some(SessionEvent::Established { session }) = device.people.take_events().pop() else {
        panic!("established");
    };
    let mut push = |kind: &str, octets| {
        device.people.content = content(kind, octets);
        let Device {
            sessions,
            people,
            net,
            now,
            ..
        } = &mut device;
        let grant = Grant {
            content: 8,
            owner: [1, 2],
        };
        sessions.push(*now, session, grant, people, net)
    };
    assert!(!push("text/plain", 4_001) && !push("audio/x", 10));
    assert!(push("image/png", 4_000));
}

#[test]
fn a_message_of_the_device_in_several_chunks_is_put_together() {
    let (mut device, path) = built(with_msrp(), 5_000);
    let stream = device.connect(9, StreamKind::Msrp);
    device.write(stream, bind(&path).as_bytes());
    let chunk = |start: usize, octets: &str, flag: char| {
        format!(
            "MSRP part{start} SEND\r\nTo-Path: {path}\r\nFrom-Path: {PATH}\r\nMessage-ID: told1\r\n\
             Byte-Range: {}-{}/24\r\nContent-Type: text/parameters\r\n\r\n{octets}\r\n\
             -------part{start}{flag}\r\n",
            start + 1,
            start + octets.len()
        )
    };
    device.read(stream);
    for (start, octets, flag) in [
        (0, "capability: ", '+'),
        (12, "7\r\nprefer", '+'),
        (21, "x:1", '$'),
    ] {
        device.write(stream, chunk(start, octets, flag).as_bytes());
        assert!(
            device
                .read(stream)
                .contains(&format!("MSRP part{start} 200"))
        );
    }
    let whole = b"capability: 7\r\npreferx:1".to_vec();
    let told = ("text/parameters".to_owned(), whole);
    assert_eq!(device.people.received, [told]);
    // One with a gap is stopped, one that its sender gives up is forgotten, and the next one is taken.
    device.write(stream, chunk(0, "capability: ", '+').as_bytes());
    device.write(stream, chunk(13, "7", '$').as_bytes());
    assert!(device.read(stream).contains("MSRP part13 413"));
    device.write(stream, chunk(0, "capability: ", '+').as_bytes());
    device.write(stream, chunk(12, "7", '#').as_bytes());
    device.write(stream, chunk(0, "x: 1", '$').as_bytes());
    assert_eq!(device.people.received.len(), 2);
    assert_eq!(device.people.received[1].1, b"x: 1");
}
