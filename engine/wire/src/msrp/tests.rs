//! MSRP: the examples of RFC 4975, streams cut anywhere, hostile heads and bodies, round trips.

use proptest::prelude::*;

use super::frame::{HEAD_BYTES_MAX, HEADERS_MAX, is_free_of_end_line};
use super::*;
use crate::writer::Overflow;

const BYTES_MAX: usize = 4096;

/// RFC 4975 11.1, messages 4 to 7.
const TALK: &[&str] = &[
    "MSRP d93kswow SEND\nTo-Path: msrp://bob.example.com:8888/9di4eae923wzd;tcp\n\
     From-Path: msrp://alicepc.example.com:7777/iau39soe2843z;tcp\nMessage-ID: 12339sdqwer\n\
     Byte-Range: 1-16/16\nContent-Type: text/plain\n\nHi, I'm Alice!\n-------d93kswow$\n",
    "MSRP d93kswow 200 OK\nTo-Path: msrp://alicepc.example.com:7777/iau39soe2843z;tcp\n\
     From-Path: msrp://bob.example.com:8888/9di4eae923wzd;tcp\n-------d93kswow$\n",
    "MSRP dkei38sd SEND\nTo-Path: msrp://alicepc.example.com:7777/iau39soe2843z;tcp\n\
     From-Path: msrp://bob.example.com:8888/9di4eae923wzd;tcp\nMessage-ID: 456s9wlk3\n\
     Byte-Range: 1-21/21\nContent-Type: text/plain\n\nHi, Alice!  I'm Bob!\n-------dkei38sd$\n",
    "MSRP dkei38sd 200 OK\nTo-Path: msrp://bob.example.com:8888/9di4eae923wzd;tcp\n\
     From-Path: msrp://alicepc.example.com:7777/iau39soe2843z;tcp\n-------dkei38sd$\n",
];

/// RFC 4975 11.4 to 11.6: two chunks, a system message, a report.
const MORE: &[&str] = &[
    "MSRP d93kswow SEND\nTo-Path: msrp://bobpc.example.com:8888/9di4eae923wzd;tcp\n\
     From-Path: msrp://alicepc.example.com:7654/iau39soe2843z;tcp\nMessage-ID: 12339sdqwer\n\
     Byte-Range: 1-137/148\nContent-Type: message/cpim\n\nTo: Bob <sip:bob@example.com>\n\
     From: Alice <sip:alice@example.com>\nDateTime: 2006-05-15T15:02:31-03:00\n\
     Content-Type: text/plain\n\nABCD\n-------d93kswow+\n",
    "MSRP op2nc9a SEND\nTo-Path: msrp://bobpc.example.com:8888/9di4eae923wzd;tcp\n\
     From-Path: msrp://alicepc.example.com:7654/iau39soe2843z;tcp\nMessage-ID: 12339sdqwer\n\
     Byte-Range: 138-148/148\nContent-Type: message/cpim\n\n1234567890\n-------op2nc9a$\n",
    "MSRP d93kswow SEND\nTo-Path: msrp://alicepc.example.com:8888/9di4eae923wzd;tcp\n\
     From-Path: msrp://example.com:7777/iau39soe2843z;tcp\nMessage-ID: 12339sdqwer\n\
     Byte-Range: 1-38/38\nFailure-Report: no\nSuccess-Report: no\nContent-Type: text/plain\n\n\
     This conference will end in 5 minutes\n-------d93kswow$\n",
    "MSRP dkei38sd REPORT\nTo-Path: msrp://alicepc.example.com:7777/iau39soe2843z;tcp\n\
     From-Path: msrp://bob.example.com:8888/9di4eae923wzd;tcp\nMessage-ID: 12339sdqwer\n\
     Byte-Range: 1-106/106\nStatus: 000 200 OK\n-------dkei38sd$\n",
];

fn octets(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn whole(octets: &[u8]) -> (Message<'_>, usize) {
    match Framer::new(BYTES_MAX).step(octets) {
        Ok(Step::Whole { message, len }) => (message, len),
        other => panic!("{other:?}: {}", octets.escape_ascii()),
    }
}

#[test]
fn reads_the_talk_of_the_rfc() {
    let stream: Vec<u8> = TALK
        .iter()
        .chain(MORE)
        .flat_map(|text| octets(text))
        .collect();
    let mut framer = Framer::new(BYTES_MAX);
    let mut rest = &stream[..];
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let Ok(Step::Whole { message, len }) = framer.step(rest) else {
            panic!("{}", rest.escape_ascii());
        };
        messages.push(message);
        rest = &rest[len..];
    }
    assert_eq!(messages.len(), 8);
    assert!(messages.iter().all(|message| !message.is_faulty));
    let hello = &messages[0];
    assert_eq!(hello.start, Start::Request(Method::Send));
    assert_eq!(hello.body, Some(&b"Hi, I'm Alice!"[..]));
    assert_eq!(
        (hello.message_id, hello.content_type),
        (&b"12339sdqwer"[..], &b"text/plain"[..])
    );
    assert!(hello.is_complete() && hello.wants_response(200));
    assert_eq!(
        messages[1].start,
        Start::Response {
            code: 200,
            comment: b"OK"
        }
    );
    assert!(!messages[1].wants_response(400));
    assert_eq!(messages[1].body, None);
    let (first, second) = (&messages[4], &messages[5]);
    assert_eq!(
        (first.continuation, first.is_complete()),
        (Continuation::More, false)
    );
    assert_eq!(first.body.map(<[u8]>::len), Some(137));
    assert!(!second.is_complete());
    let range = ByteRange {
        start: 138,
        end: Some(148),
        total: Some(148),
    };
    assert_eq!(
        (second.byte_range, second.body),
        (Some(range), Some(&b"1234567890"[..]))
    );
    assert!(!messages[6].wants_response(481));
    let report = &messages[7];
    assert_eq!(
        (report.start, report.status),
        (Start::Request(Method::Report), Some(200))
    );
    assert!(!report.wants_response(200));
}

#[test]
fn responses_and_reports_are_those_of_the_rfc() {
    let request = octets(TALK[0]);
    let (message, _) = whole(&request);
    let mut out = [0u8; 512];
    let len = write::response(&mut out, &message, message.to_uri(), 200, b"OK").expect("room");
    assert_eq!(&out[..len], octets(TALK[1]));
    for short in 0..len {
        let written = write::response(&mut out[..short], &message, b"u", 200, b"OK");
        assert!(written.is_err() || written.is_ok_and(|len| len <= short));
    }
    let report = Report {
        transaction: b"dkei38sd",
        to_path: b"msrp://alicepc.example.com:7777/iau39soe2843z;tcp",
        from_path: b"msrp://bob.example.com:8888/9di4eae923wzd;tcp",
        message_id: b"12339sdqwer",
        byte_range: ByteRange {
            start: 1,
            end: Some(106),
            total: Some(106),
        },
        code: 200,
        comment: b"OK",
    };
    let len = write::report(&mut out, &report).expect("room");
    assert_eq!(&out[..len], octets(MORE[3]));
    let bare = Report {
        comment: b"",
        code: 413,
        ..report
    };
    let len = write::report(&mut out, &bare).expect("room");
    assert_eq!(whole(&out[..len]).0.status, Some(413));
}

#[test]
fn paths_over_relays_go_back_as_the_rfc_says() {
    let mut request = octets(TALK[0]);
    let at = request
        .windows(10)
        .position(|window| window == b"From-Path:")
        .expect("it is there");
    request.splice(at + 11..at + 11, b"msrp://relay:1/x;tcp ".iter().copied());
    let (send, _) = whole(&request);
    let mut out = [0u8; 512];
    let len = write::response(&mut out, &send, b"msrp://own:1/x;tcp", 200, b"").expect("room");
    assert_eq!(whole(&out[..len]).0.to_path, b"msrp://relay:1/x;tcp");
    let other = String::from_utf8(request.clone())
        .expect("text")
        .replacen("SEND", "AUTH", 1);
    let (auth, _) = whole(other.as_bytes());
    assert_eq!(auth.start, Start::Request(Method::Other(b"AUTH")));
    let len = write::response(&mut out, &auth, b"msrp://own:1/x;tcp", 501, b"").expect("room");
    assert_eq!(whole(&out[..len]).0.to_path, send.from_path);
}

#[test]
fn a_body_may_hold_anything_but_its_own_end_line() {
    let body = b"\0\r\n-------abcd\r\n-------abcdx$\r\n-------abce$\r\n\r\nMSRP \xff".as_slice();
    assert!(!is_free_of_end_line(body, b"abcd"));
    assert!(is_free_of_end_line(body, b"abcf"));
    assert!(
        is_free_of_end_line(b"--------", b"abcd") && !is_free_of_end_line(b"--------abcd", b"abcd")
    );
    let chunk = Chunk {
        transaction: b"abcd",
        octets: body,
        ..CHUNK
    };
    let mut out = [0u8; 512];
    let len = write::send(&mut out, &chunk).expect("room");
    // Neither a longer identifier nor one without flag ends the body.
    assert_eq!(whole(&out[..len]).0.body, Some(body));
}

const CHUNK: Chunk<'static> = Chunk {
    transaction: b"a786hjs2",
    to_path: b"msrp://h:1/a;tcp",
    from_path: b"msrp://g:2/b;tcp",
    message_id: b"m1",
    byte_range: ByteRange {
        start: 1,
        end: None,
        total: None,
    },
    success_report: false,
    failure_report: FailureReport::Yes,
    content_type: b"text/plain",
    octets: b"",
    continuation: Continuation::Last,
};

#[test]
fn empty_bodies_are_bodies() {
    let mut out = [0u8; 512];
    let len = write::send(&mut out, &CHUNK).expect("room");
    assert_eq!(whole(&out[..len]).0.body, Some(&b""[..]));
    let tight = String::from_utf8(out[..len].to_vec()).expect("text");
    let tight = tight.replace("\r\n\r\n\r\n", "\r\n\r\n");
    let (message, used) = whole(tight.as_bytes());
    assert_eq!((message.body, used), (Some(&b""[..]), tight.len()));
}

#[test]
fn says_how_many_octets_are_wanted() {
    let request = octets(TALK[0]);
    let body_start = request.len() - b"Hi, I'm Alice!\r\n-------d93kswow$\r\n".len();
    let mut framer = Framer::new(BYTES_MAX);
    assert_eq!(framer.step(&[]), Ok(Step::More(1)));
    assert_eq!(framer.step(&request[..body_start - 1]), Ok(Step::More(1)));
    // The example's Byte-Range counts the CRLF, so it promises two octets too many.
    let promised = request.len() - body_start + 2;
    assert_eq!(
        framer.step(&request[..body_start]),
        Ok(Step::More(promised))
    );
    assert_eq!(
        framer.step(&request[..request.len() - 1]),
        Ok(Step::More(3))
    );
    assert!(matches!(framer.step(&request), Ok(Step::Whole { .. })));
}

#[test]
fn hostile_streams_end_early() {
    let long = format!("MSRP abcd SEND\r\nX: {}", "y".repeat(HEAD_BYTES_MAX));
    let many = format!("MSRP abcd SEND\r\n{}", "X: y\r\n".repeat(HEADERS_MAX + 1));
    let identifier = "a".repeat(33);
    for (text, fault) in [
        ("HTTP", StreamFault::StartLine),
        ("M\r", StreamFault::StartLine),
        ("MSRP abc SEND\r\n", StreamFault::StartLine),
        (
            &format!("MSRP {identifier} SEND\r\n"),
            StreamFault::StartLine,
        ),
        ("MSRP -abcd SEND\r\n", StreamFault::StartLine),
        ("MSRP abcd send\r\n", StreamFault::StartLine),
        ("MSRP abcd 2000\r\n", StreamFault::StartLine),
        ("MSRP abcd \r\n", StreamFault::StartLine),
        ("MSRP abcd SEND\nTo-Path", StreamFault::StartLine),
        ("MSRP abcd SEND\r\nTo-Path\r\n", StreamFault::HeaderLine),
        (
            "MSRP abcd SEND\r\nTo-Path: a\rb\r\n",
            StreamFault::HeaderLine,
        ),
        (
            "MSRP abcd SEND\r\n-------abce$\r\n",
            StreamFault::HeaderLine,
        ),
        (&long, StreamFault::HeadTooLong),
        (&many, StreamFault::HeadTooLong),
    ] {
        assert_eq!(
            Framer::new(1 << 20).step(text.as_bytes()),
            Err(fault),
            "{text}"
        );
    }
    let endless = [
        &b"MSRP abcd SEND\r\nTo-Path: x\r\n\r\n"[..],
        &[b'z'; BYTES_MAX],
    ]
    .concat();
    assert_eq!(
        Framer::new(BYTES_MAX).step(&endless),
        Err(StreamFault::TooLong)
    );
}

#[test]
fn faults_that_leave_the_framing_are_answered() {
    for (text, faulty) in [
        ("MSRP abcd SEND\r\n-------abcd$\r\n", true),
        (
            "MSRP abcd SEND\r\nTo-Path: a\r\nFrom-Path: b\r\n-------abcd$\r\n",
            true,
        ),
        (
            "MSRP abcd SEND\r\nTo-Path: a\r\nFrom-Path: b\r\nMessage-ID: c\r\n-------abcd$\r\n",
            false,
        ),
        (
            "MSRP abcd SEND\r\nto-path: a\r\nFROM-PATH: b\r\nMessage-ID: c\r\nByte-Range: 0-1/1\r\n-------abcd$\r\n",
            true,
        ),
        (
            "MSRP abcd SEND\r\nTo-Path: a\r\nFrom-Path: b\r\nMessage-ID: c\r\n\r\nx\r\n-------abcd$\r\n",
            true,
        ),
        (
            "MSRP abcd AUTH\r\nTo-Path: a\r\nFrom-Path: b\r\n-------abcd$\r\n",
            false,
        ),
    ] {
        assert_eq!(whole(text.as_bytes()).0.is_faulty, faulty, "{text}");
    }
    for text in [
        "",
        "1-2",
        "2-0/5",
        "1-9/5",
        "9-*/5",
        "x-1/1",
        "1-4294967296/*",
        "1/2-3",
    ] {
        assert_eq!(ByteRange::parse(text.as_bytes()), None, "{text}");
    }
    let empty = ByteRange {
        start: 1,
        end: Some(0),
        total: Some(0),
    };
    assert_eq!(ByteRange::parse(b"1-0/0"), Some(empty));
}

#[test]
fn uris_compare_as_the_rfc_says() {
    let base = "msrp://Host.example:2855/s1;tcp";
    for (other, same) in [
        ("MSRP://host.EXAMPLE:2855/s1;TCP", true),
        ("msrp://user@host.example:2855/s1;tcp;x=y", true),
        ("msrp://h%6Fst.example:2855/s1;tcp", true),
        ("msrps://host.example:2855/s1;tcp", false),
        ("msrp://host.example/s1;tcp", false),
        ("msrp://host.example:2856/s1;tcp", false),
        ("msrp://host.example:2855/S1;tcp", false),
        ("msrp://host.example:2855;tcp", false),
        ("msrp://host.example:2855/s1;sctp", false),
        ("sip:host.example:2855", false),
    ] {
        assert_eq!(
            uri::is_same(base.as_bytes(), other.as_bytes()),
            same,
            "{other}"
        );
    }
    assert!(uri::is_same(
        b"msrp://[::1]:1/a;tcp",
        b"msrp://[0:0::1]:1/a;tcp"
    ));
    for text in [
        "msrp:",
        "msrp://h:1/a",
        "msrp://h:1/;tcp",
        "msrp://:1/a;tcp",
        "msrp://h:0/a;tcp",
        "msrp://h:1/a;",
    ] {
        assert_eq!(MsrpUri::parse(text.as_bytes()), None, "{text}");
    }
}

proptest! {
    #[test]
    fn chunks_read_back_however_the_stream_is_cut(
        body in proptest::collection::vec(any::<u8>(), 0..600), start in 1..1000u32, known: bool,
        success_report: bool, failure in 0..3usize, flag in 0..3usize, cuts in proptest::collection::vec(1..50usize, 1..40),
    ) {
        let end = known.then(|| start + body.len() as u32 - 1);
        let chunk = Chunk {
            octets: &body,
            byte_range: ByteRange { start, end, total: None },
            success_report,
            failure_report: [FailureReport::Yes, FailureReport::Partial, FailureReport::No][failure],
            continuation: [Continuation::Last, Continuation::More, Continuation::Aborted][flag],
            ..CHUNK
        };
        prop_assume!(is_free_of_end_line(&body, chunk.transaction));
        let mut out = vec![0u8; BYTES_MAX];
        let len = write::send(&mut out, &chunk).expect("room");
        prop_assert_eq!(write::send(&mut out[..len - 1], &chunk), Err(Overflow));
        let mut framer = Framer::new(BYTES_MAX);
        let mut have = 0;
        let mut cuts = cuts.into_iter().cycle();
        let message = loop {
            match framer.step(&out[..have]) {
                Ok(Step::Whole { message, len: found }) => {
                    prop_assert_eq!(found, len);
                    break message;
                }
                Ok(Step::More(wanted)) => prop_assert!(have + wanted <= len, "{} + {} > {}", have, wanted, len),
                Err(fault) => prop_assert!(false, "{fault}"),
            }
            have = (have + cuts.next().unwrap_or(1)).min(len);
        };
        prop_assert!(!message.is_faulty);
        prop_assert_eq!(message.body, Some(&body[..]));
        prop_assert_eq!(message.byte_range, Some(chunk.byte_range));
        prop_assert_eq!(message.success_report, success_report);
        prop_assert_eq!(message.failure_report, chunk.failure_report);
        prop_assert_eq!(message.continuation, chunk.continuation);
        // In one piece it reads the same.
        prop_assert_eq!(whole(&out[..len]).0, message);
    }

    #[test]
    fn no_octets_panic(
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        changes in proptest::collection::vec((0..200usize, any::<u8>()), 0..5), which in 0..4usize,
    ) {
        let _ = Framer::new(BYTES_MAX).step(&noise);
        let _ = MsrpUri::parse(&noise);
        let mut damaged = octets(MORE[which]);
        for (at, octet) in changes {
            damaged[at] = octet;
        }
        if let Ok(Step::Whole { message, len }) = Framer::new(BYTES_MAX).step(&damaged) {
            prop_assert!(len <= damaged.len());
            prop_assert!(message.body.is_none_or(|body| body.len() < len));
        }
    }
}
