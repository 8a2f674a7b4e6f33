//! The parser on well-formed, faulty and hostile messages.

use proptest::prelude::*;

use super::*;

const REQUEST: &str = "MESSAGE sip:a@h SIP/2.0\r\nv: SIP/2.0/UDP h:5070;branch=z9hG4bK1\r\n\
    f: <sip:p@g>;tag=1\r\nTo: <sip:a@h>\r\ni: c1\r\nCSeq: 7 MESSAGE\r\nWarning: x\r\n\
    Warning: y\r\nl: 4\r\n\r\nbodyrest";

#[test]
fn reads_a_request() {
    let message = Message::parse(REQUEST.as_bytes()).unwrap();
    let line = StartLine::Request {
        method: Method::Message,
        uri: b"sip:a@h",
    };
    assert_eq!(message.start_line(), line);
    assert_eq!(
        (message.method(), message.status_code()),
        (Some(Method::Message), None)
    );
    assert_eq!(
        message.top_via().unwrap().host_port(),
        (&b"h"[..], Some(5070))
    );
    assert_eq!(message.from(), Some(&b"<sip:p@g>;tag=1"[..]));
    assert_eq!(
        (message.from_tag(), message.to_tag()),
        (Some(&b"1"[..]), None)
    );
    assert_eq!(message.call_id(), Some(&b"c1"[..]));
    assert_eq!(
        message.cseq(),
        Some(CSeq {
            number: 7,
            method: Method::Message
        })
    );
    assert_eq!(message.body(), b"body");
    assert_eq!(message.headers().count(), 8);
    // A name without a slot is found by walking.
    assert_eq!(message.header(HeaderName::Warning), Some(&b"x"[..]));
    assert!(message.repeats(HeaderName::Warning) && !message.repeats(HeaderName::Via));
    assert_eq!(message.header(HeaderName::Other), None);
}

#[test]
fn reads_a_response() {
    let text = b"SIP/2.0 503 Service Unavailable\r\nRetry-After: 18000 (come back);duration=3\r\n\
        Expires: 7\r\n\r\n";
    let message = Message::parse(text).unwrap();
    let line = StartLine::Status {
        code: 503,
        reason: b"Service Unavailable",
    };
    assert_eq!(message.start_line(), line);
    assert_eq!((message.method(), message.request_uri()), (None, None));
    assert_eq!(message.retry_after_seconds(), Some(18000));
    assert_eq!(message.expires_seconds(), Some(7));
    assert_eq!(
        Message::parse(b"SIP/2.0 100\r\n\r\n")
            .unwrap()
            .status_code(),
        Some(100)
    );
}

#[test]
fn folding_joins_lines() {
    let text = b"SIP/2.0 200 OK\r\nSubject:\r\n\ta\r\n  b\r\nCSeq:\r\n 1\r\n\t BYE \r\n\r\n";
    let message = Message::parse(text).unwrap();
    assert_eq!(message.headers().next().unwrap().2, b"a\r\n  b");
    assert_eq!(
        message.cseq(),
        Some(CSeq {
            number: 1,
            method: Method::Bye
        })
    );
}

#[test]
fn refuses_faulty_octets() {
    for (text, error) in [
        ("", ParseError::KeepAlive),
        ("\r\n\r\n", ParseError::KeepAlive),
        ("x", ParseError::Unterminated),
        ("\r\n\r", ParseError::StartLine),
        ("HELLO\r\n\r\n", ParseError::StartLine),
        ("A b HTTP/1.1\r\n\r\n", ParseError::StartLine),
        ("A SIP/2.0\r\n\r\n", ParseError::StartLine),
        (" a SIP/2.0\r\n\r\n", ParseError::StartLine),
        ("SIP/2.0 x\r\n\r\n", ParseError::StartLine),
        ("SIP/2.0 200OK\r\n\r\n", ParseError::StartLine),
        ("SIP/3.0 200 OK\r\n\r\n", ParseError::StartLine),
        ("SIP/2.0 200 OK\n\n", ParseError::StartLine),
        ("SIP/2.0 200 OK\r\n", ParseError::Unterminated),
        ("SIP/2.0 200 OK\r\nVia: x", ParseError::Unterminated),
        ("SIP/2.0 200 OK\r\nVia: x\r\n", ParseError::Unterminated),
        ("SIP/2.0 200 OK\r\nVia x\r\n\r\n", ParseError::HeaderLine),
        ("SIP/2.0 200 OK\r\n: x\r\n\r\n", ParseError::HeaderLine),
        ("SIP/2.0 200 OK\r\n Via: x\r\n\r\n", ParseError::HeaderLine),
        ("SIP/2.0 200 OK\r\nV a: x\r\n\r\n", ParseError::HeaderLine),
        (
            "SIP/2.0 200 OK\r\nVia: x\ny\r\n\r\n",
            ParseError::HeaderLine,
        ),
        (
            "SIP/2.0 200 OK\r\nVia: x\ry\r\n\r\n",
            ParseError::HeaderLine,
        ),
        ("SIP/2.0 200 OK\r\nl: -1\r\n\r\n", ParseError::ContentLength),
        ("SIP/2.0 200 OK\r\nl:\r\n\r\n", ParseError::ContentLength),
        (
            "SIP/2.0 200 OK\r\nl: 4294967296\r\n\r\n",
            ParseError::ContentLength,
        ),
        (
            "SIP/2.0 200 OK\r\nl: 0\r\nl: 1\r\n\r\nx",
            ParseError::ContentLength,
        ),
        ("SIP/2.0 200 OK\r\nl: 2\r\n\r\nx", ParseError::BodyTruncated),
        (
            "SIP/2.0 200 OK\r\nl: 4294967295\r\n\r\nx",
            ParseError::BodyTruncated,
        ),
    ] {
        assert_eq!(
            Message::parse(text.as_bytes()).err(),
            Some(error),
            "{}",
            text.escape_debug()
        );
    }
    let same_twice = "SIP/2.0 200 OK\r\nl: 1\r\nContent-Length: 01\r\n\r\nx";
    assert_eq!(Message::parse(same_twice.as_bytes()).unwrap().body(), b"x");
}

#[test]
fn bounds_hold() {
    let message = |headers: usize| format!("SIP/2.0 200 OK\r\n{}\r\n", "a:\r\n".repeat(headers));
    assert!(Message::parse(message(HEADERS_MAX).as_bytes()).is_ok());
    let error = Message::parse(message(HEADERS_MAX + 1).as_bytes()).err();
    assert_eq!(error, Some(ParseError::TooManyHeaders));
    let large = vec![b'a'; MESSAGE_BYTES_MAX + 1];
    assert_eq!(Message::parse(&large).err(), Some(ParseError::TooLarge));
    let mut largest = b"SIP/2.0 200 OK\r\n\r\n".to_vec();
    largest.resize(MESSAGE_BYTES_MAX, b'x');
    assert_eq!(
        Message::parse(&largest).unwrap().body().len(),
        MESSAGE_BYTES_MAX - 18
    );
}

#[test]
fn numbers_stay_in_range() {
    let cseq = |value: &str| {
        let text = format!("SIP/2.0 200 OK\r\nCSeq: {value}\r\n\r\n");
        Message::parse(text.as_bytes())
            .unwrap()
            .cseq()
            .map(|cseq| cseq.number)
    };
    assert_eq!(cseq("2147483647 BYE"), Some(CSEQ_MAX));
    for faulty in [
        "2147483648 BYE",
        "4294967296 BYE",
        "-1 BYE",
        "1BYE",
        "1",
        "1 B YE",
        "BYE",
    ] {
        assert_eq!(cseq(faulty), None, "{faulty}");
    }
    let text = b"SIP/2.0 503 x\r\nRetry-After: 949302838503028349304023988\r\n\r\n";
    assert_eq!(Message::parse(text).unwrap().retry_after_seconds(), None);
    let text = b"SIP/2.0 503 x\r\nRetry-After: 12x\r\n\r\n";
    assert_eq!(Message::parse(text).unwrap().retry_after_seconds(), None);
}

#[test]
fn the_view_is_small() {
    assert!(
        size_of::<Message<'_>>() <= 128,
        "{}",
        size_of::<Message<'_>>()
    );
}

/// A message with octets replaced, removed and repeated.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let edits = proptest::collection::vec((0..REQUEST.len(), any::<u8>(), 0..3u8), 0..6);
    edits.prop_map(|edits| {
        let mut octets = REQUEST.as_bytes().to_vec();
        for (at, octet, kind) in edits {
            let at = at.min(octets.len() - 1);
            match kind {
                0 => octets[at] = octet,
                1 => drop(octets.drain(at..(at + usize::from(octet) / 8).min(octets.len() - 1))),
                _ => octets.insert(at, octet),
            }
        }
        octets
    })
}

proptest! {
    #[test]
    fn damage_never_panics(octets in damaged()) {
        let _ = crate::sip::screen(&octets, crate::sip::Transport::Stream);
        if let Ok((message, fault)) = Message::scan(&octets) {
            prop_assert_eq!(Message::parse(&octets).err(), fault);
            prop_assert!(message.headers().count() <= HEADERS_MAX);
            let _ = (message.top_via(), message.cseq(), message.from_tag(), message.to_tag());
            prop_assert!(message.body().len() <= octets.len());
        }
    }
}
