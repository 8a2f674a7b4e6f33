//! Any octets into the SIP reader: no panic, no loop without bound, views inside the datagram, and
//! an accepted request can be answered with a response that parses and closes its transaction.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sirocco_wire::sip::message::HEADERS_MAX;
use sirocco_wire::sip::{
    HeaderName, Message, Method, Role, SipUri, StartLine, Status, Transport, Verdict, screen,
    screen_as, write,
};

fuzz_target!(|octets: &[u8]| {
    let verdict = screen(octets, Transport::Datagram);
    let _ = screen(octets, Transport::Stream);
    let _ = screen_as(octets, Transport::Datagram, Role::Proxy);
    let _ = screen_as(octets, Transport::Stream, Role::Endpoint);
    let Ok((message, fault)) = Message::scan(octets) else {
        assert!(matches!(verdict, Verdict::Drop { .. }));
        return;
    };
    assert_eq!(Message::parse(octets).is_ok(), fault.is_none());
    read_everything(&message);
    if verdict == Verdict::Accept && message.method().is_some() {
        answer(&message);
    }
});

fn read_everything(message: &Message<'_>) {
    assert!(message.headers().count() <= HEADERS_MAX);
    for (name, text, value) in message.headers() {
        assert_eq!(HeaderName::of(text), name);
        let folded = value.contains(&b'\n');
        assert!(!folded || !value.windows(4).any(|window| window == b"\r\n\r\n"));
        if name != HeaderName::Other {
            assert!(message.header(name).is_some() || value.is_empty());
        }
    }
    let _ = (
        message.start_line(),
        message.top_via(),
        message.cseq(),
        message.call_id(),
    );
    let _ = (
        message.from_tag(),
        message.to_tag(),
        message.retry_after_seconds(),
    );
    let _ = (message.expires_seconds(), message.body());
    if let StartLine::Request { uri, .. } = message.start_line() {
        read_uri(uri);
    }
}

fn read_uri(text: &[u8]) {
    let Some(uri) = SipUri::parse(text) else {
        return;
    };
    assert!(uri.equivalent(&uri) || uri.headers().count() > 0 || uri.params().count() > 1);
    let mut out = vec![0; text.len() + 8];
    let len = uri
        .write_aor(&mut out)
        .expect("the canonical form is no longer than the URI");
    let again = SipUri::parse(&out[..len]).expect("the canonical form is a URI");
    assert_eq!(again.user, uri.user);
    assert!(again.host.eq_ignore_ascii_case(uri.host));
}

fn answer(request: &Message<'_>) {
    let mut out = vec![0; request.datagram().len() * 2 + 256];
    let len = write::response(&mut out, request, Status::OK, b"sirocco", &[])
        .expect("the buffer has room for every copied header field");
    let response = Message::parse(&out[..len]).expect("our own response parses");
    assert_eq!(response.status_code(), Some(200));
    assert_eq!(response.cseq(), request.cseq());
    assert_eq!(response.call_id(), request.call_id());
    assert_eq!(
        response.top_via().and_then(|via| via.branch),
        request.top_via().and_then(|via| via.branch)
    );
    assert!(response.to_tag().is_some());
    assert_ne!(
        response.cseq().map(|cseq| cseq.method),
        Some(Method::Other(b""))
    );
}
