//! Session descriptions: RFC examples, odd streams, round trips, and another implementation's view.

use proptest::prelude::*;

use super::*;

/// The offer of RFC 4975 8.7, with addresses filled in.
const OFFER: &[u8] = b"v=0\r\no=alice 2890844526 2890844527 IN IP4 alice.example.com\r\ns= -\r\n\
    c=IN IP4 alice.example.com\r\nt=0 0\r\nm=message 7394 TCP/MSRP *\r\n\
    a=accept-types:message/cpim text/plain text/html\r\n\
    a=path:msrp://alice.example.com:7394/2s93i9ek2a;tcp\r\n";

const LOCAL: MessageStream<'static> = MessageStream {
    path: b"msrp://192.0.2.1:2855/0123456789abcdef;tcp",
    accept_types: b"text/plain",
    setup: Some(Setup::Passive),
    direction: Direction::SendOnly,
    port: 2855,
};

fn local(message: Option<MessageStream<'_>>) -> Local<'_> {
    Local {
        connection: "IN IP4 192.0.2.1",
        session_id: 42,
        version: 1,
        message,
    }
}

fn written(write: impl FnOnce(&mut [u8]) -> Result<usize, Overflow>) -> Vec<u8> {
    let mut out = vec![0; 4096];
    let len = write(&mut out).expect("room");
    out.truncate(len);
    out
}

#[test]
fn reads_the_offer_of_the_rfc() {
    let offer = Description::parse(OFFER).expect("an offer");
    assert_eq!(
        (offer.session_id, offer.version),
        (&b"2890844526"[..], &b"2890844527"[..])
    );
    assert_eq!(
        offer.origin,
        b"IP4 alice.example.com".strip_prefix(b"IP4 ").unwrap()
    );
    let stream = offer.message.expect("a stream");
    assert_eq!(stream.path, b"msrp://alice.example.com:7394/2s93i9ek2a;tcp");
    assert_eq!(
        (stream.setup, stream.direction, stream.port),
        (None, Direction::SendRecv, 7394)
    );
    assert!(accepts(stream.accept_types, b"Text/Plain;charset=utf-8"));
    assert!(!accepts(stream.accept_types, b"image/png"));
    let with_line_feeds = String::from_utf8(OFFER.to_vec()).unwrap().replace('\r', "");
    let again = Description::parse(with_line_feeds.as_bytes()).expect("an offer");
    assert_eq!(again.message, Some(stream));
}

#[test]
fn answers_every_stream_in_its_place() {
    let text =
        b"v=0\r\no=- 1 1 IN IP6 ::1\r\ns=x\r\ni=more\r\nb=AS:1\r\nt=5 6\r\nr=7d 1h 0 25h\r\n\
        a=recvonly\r\na=setup:actpass\r\nm=audio 4000/2 RTP/AVP 0 8\r\na=rtpmap:0 PCMU/8000\r\n\
        m=message 0 TCP/MSRP *\r\na=path:msrp://no;tcp\r\nm=message 5000 TCP/TLS/MSRP *\r\n\
        a=path:msrps://no;tcp\r\nm=message 9 TCP/MSRP *\r\na=path:msrp://h:9/s;tcp\r\n\
        a=accept-types:*\r\na=sendrecv\r\na=setup:active\r\nm=message 9 tcp/msrp *\r\n\
        a=path:msrp://second:9/s;tcp\r\n";
    let offer = Description::parse(text).expect("an offer");
    let stream = offer.message.expect("a stream");
    assert_eq!(
        (stream.path, stream.setup),
        (&b"msrp://h:9/s;tcp"[..], Some(Setup::Active))
    );
    assert_eq!(stream.direction, Direction::SendRecv);
    let answered = written(|out| answer(out, &offer, &local(Some(LOCAL))));
    let expected = "v=0\r\no=- 00000000000000000042 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\n\
        t=5 6\r\nm=audio 0 RTP/AVP 0 8\r\nm=message 0 TCP/MSRP *\r\nm=message 0 TCP/TLS/MSRP *\r\n\
        m=message 2855 TCP/MSRP *\r\na=path:msrp://192.0.2.1:2855/0123456789abcdef;tcp\r\n\
        a=accept-types:text/plain\r\na=setup:passive\r\na=sendonly\r\nm=message 0 tcp/msrp *\r\n";
    assert_eq!(String::from_utf8(answered).unwrap(), expected);
    let refusal = written(|out| answer(out, &offer, &local(None)));
    let refused = Description::parse(&refusal).expect("an answer");
    assert_eq!(refused.stream_count, 5);
    assert!(refused.streams().all(|stream| stream.port == 0));
}

#[test]
fn a_session_may_have_no_streams() {
    let offered = written(|out| offer(out, &local(None)));
    let read = Description::parse(&offered).expect("an offer");
    assert_eq!((read.message, read.stream_count), (None, 0));
    let answered = written(|out| answer(out, &read, &local(Some(LOCAL))));
    assert_eq!(answered, offered);
}

#[test]
fn refuses_what_cannot_be_answered() {
    let many = format!(
        "v=0\r\no=- 1 1 IN IP4 h\r\n{}",
        "m=x 1 y z\r\n".repeat(STREAMS_MAX + 1)
    );
    let long = format!("v=0\r\no=- 1 1 IN IP4 h\r\n{}", "a=x\r\n".repeat(LINES_MAX));
    for (text, error) in [
        ("", SdpError::Version),
        ("v=0\r\n", SdpError::Version),
        ("v=1\r\no=- 1 1 IN IP4 h\r\n", SdpError::Version),
        ("v=0\r\ns=-\r\n", SdpError::Origin),
        ("v=0\r\no=- 1 1 IN IP4\r\n", SdpError::Origin),
        ("v=0\r\no=- a 1 IN IP4 h\r\n", SdpError::Origin),
        (
            "v=0\r\no=- 1 1 IN IP4 h\r\nm=message 70000 TCP/MSRP *\r\n",
            SdpError::Line,
        ),
        (
            "v=0\r\no=- 1 1 IN IP4 h\r\nm=message 9 TCP/MSRP\r\n",
            SdpError::Line,
        ),
        ("v=0\r\no=- 1 1 IN IP4 h\r\n\r\na=x\r\n", SdpError::Line),
        ("v=0\r\no=- 1 1 IN IP4 h\r\na=x\ry\r\n", SdpError::Line),
        (&many, SdpError::TooLong),
        (&long, SdpError::TooLong),
    ] {
        assert_eq!(
            Description::parse(text.as_bytes()).err(),
            Some(error),
            "{text}"
        );
    }
    let pathless = b"v=0\no=- 1 1 IN IP4 h\nm=message 9 TCP/MSRP *\na=accept-types:*\n\n";
    assert_eq!(Description::parse(pathless).expect("sound").message, None);
}

#[test]
fn directions_and_connection_roles_answer_each_other() {
    assert_eq!(Direction::RecvOnly.answer(true, true), Direction::SendOnly);
    assert_eq!(Direction::SendRecv.answer(true, false), Direction::SendOnly);
    assert_eq!(Direction::SendOnly.answer(true, false), Direction::Inactive);
    assert_eq!(Direction::Inactive.answer(true, true), Direction::Inactive);
    assert_eq!(Setup::answer(None, Setup::Active), Setup::Passive);
    assert_eq!(
        Setup::answer(Some(Setup::Active), Setup::Active),
        Setup::Passive
    );
    assert_eq!(
        Setup::answer(Some(Setup::Passive), Setup::Passive),
        Setup::Active
    );
    assert_eq!(
        Setup::answer(Some(Setup::Actpass), Setup::Active),
        Setup::Active
    );
    assert_eq!(
        Setup::answer(Some(Setup::Actpass), Setup::Passive),
        Setup::Passive
    );
    assert_eq!(Setup::of(b"holdconn"), None);
}

#[test]
fn content_types_match_lists() {
    for (list, accepted) in [
        ("*", true),
        ("text/*", true),
        ("image/* TEXT/plain", true),
        ("text/plain;max-size=5", true),
        ("", false),
        ("text/html image/*", false),
        ("text/plainer", false),
        ("tex*", false),
    ] {
        assert_eq!(accepts(list.as_bytes(), b"text/plain"), accepted, "{list}");
    }
}

#[test]
fn addresses_become_connection_data() {
    assert_eq!(connection_data([192, 0, 2, 1].into()), "IN IP4 192.0.2.1");
    assert_eq!(
        connection_data(std::net::Ipv6Addr::LOCALHOST.into()),
        "IN IP6 ::1"
    );
}

/// What the crate `sdp-types` reads of a description.
type View = (String, Option<String>, Vec<(String, u16, Option<String>)>);

fn other_view(text: &[u8]) -> View {
    let session = sdp_types::Session::parse(text).expect("the other reader takes it");
    let streams = session.medias.iter().map(|media| {
        let path = media.get_first_attribute_value("path").flatten();
        (media.media.to_string(), media.port, path.map(str::to_owned))
    });
    let connection = session
        .connection
        .as_ref()
        .map(|found| found.connection_address.to_string());
    (
        session.origin.sess_id.to_string(),
        connection,
        streams.collect(),
    )
}

proptest! {
    #[test]
    fn what_is_written_reads_back_here_and_elsewhere(
        session_id: u64, version in 1..u32::MAX, port: u16, path in "msrp://[a-z0-9.]{1,20}:[0-9]{1,5}/[a-z0-9]{1,20};tcp",
        types in "[a-z]{1,5}/[a-z]{1,5}( [a-z]{1,5}/[*])?", setup in proptest::option::of(0..3usize), direction in 0..4usize,
        has_stream: bool,
    ) {
        let message = MessageStream {
            path: path.as_bytes(),
            accept_types: types.as_bytes(),
            setup: setup.map(|at| Setup::ALL[at].0),
            direction: Direction::ALL[direction].0,
            port: port.max(1),
        };
        let local = Local { session_id, version, ..local(has_stream.then_some(message)) };
        let offered = written(|out| offer(out, &local));
        let read = Description::parse(&offered).expect("our own offer");
        prop_assert_eq!(read.message, local.message);
        prop_assert_eq!(decimal(read.version), Some(version));
        let same_width = Local { session_id: !session_id, ..local };
        prop_assert_eq!(written(|out| offer(out, &same_width)).len(), offered.len());
        let (id, connection, streams) = other_view(&offered);
        prop_assert_eq!(id, format!("{session_id:020}"));
        prop_assert_eq!(connection.as_deref(), Some("192.0.2.1"));
        let wanted: Vec<_> = has_stream.then(|| ("message".to_owned(), port.max(1), Some(path))).into_iter().collect();
        prop_assert_eq!(streams, wanted);
    }

    #[test]
    fn no_octets_panic_and_answers_have_the_streams_of_offers(
        text in proptest::collection::vec(any::<u8>(), 0..200),
        changes in proptest::collection::vec((0..OFFER.len(), any::<u8>()), 0..6),
    ) {
        let _ = Description::parse(&text);
        let mut offer = OFFER.to_vec();
        for (at, octet) in changes {
            offer[at] = octet;
        }
        if let Ok(offer) = Description::parse(&offer) {
            let answered = written(|out| answer(out, &offer, &local(Some(LOCAL))));
            let read = Description::parse(&answered).expect("an answer");
            prop_assert_eq!(read.stream_count, offer.stream_count);
            prop_assert_eq!(read.message.is_some(), offer.message.is_some());
        }
    }
}
