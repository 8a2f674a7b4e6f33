//! Any octets as a SIP stream and as the fields that sessions read: no panic, messages are found the
//! same however the stream is cut, and a message that fits the mould of another reads as the parser
//! reads it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sirocco_wire::parameters::{self, PARAMETERS_MAX};
use sirocco_wire::sip::mould::{Mould, tag_of};
use sirocco_wire::sip::stream::{Framer, Step};
use sirocco_wire::sip::{HeaderName, Message};

const BYTES_MAX: usize = 8192;

fuzz_target!(|octets: &[u8]| {
    let Some((&cut, stream)) = octets.split_first() else {
        return;
    };
    let mut framer = Framer::new(BYTES_MAX);
    let mut rest = stream;
    let mut moulds: Vec<Mould> = Vec::new();
    loop {
        let len = match framer.step(rest) {
            Ok(Step::Whole { message, len }) => {
                assert_eq!(message.datagram(), &rest[..len]);
                assert!(is_found_in_pieces(&rest[..len], usize::from(cut) + 1));
                read(&message);
                moulds.iter().for_each(|mould| compare(mould, &message));
                moulds.extend(Mould::learn(&message));
                moulds.iter().for_each(|mould| compare(mould, &message));
                len
            }
            Ok(Step::Ping) => 4,
            Ok(Step::Pong) => 2,
            Ok(Step::More(_)) | Err(_) => return,
        };
        rest = &rest[len..];
    }
});

fn is_found_in_pieces(whole: &[u8], piece: usize) -> bool {
    let mut framer = Framer::new(BYTES_MAX);
    let mut have = 0;
    loop {
        have = whole.len().min(have + piece);
        match framer.step(&whole[..have]) {
            Ok(Step::Whole { len, .. }) => return len == whole.len(),
            Ok(Step::More(wanted)) => assert!(wanted > 0 && have < whole.len()),
            _ => return false,
        }
    }
}

fn read(message: &Message<'_>) {
    for contact in message.contacts() {
        assert!(contact.q_thousandths() <= 1000);
        let _ = (
            contact.device(),
            contact.expires_s(),
            contact.features().count(),
        );
    }
    for route in message.record_routes() {
        assert!(route.text.len() > route.uri.len());
        let _ = route.is_loose();
    }
    let _ = (
        message.supports(b"gruu"),
        message.unknown_requirements(&[b"gruu"]).count(),
    );
    if let Some(method) = message.method() {
        let _ = message.allows(method);
    }
    assert!(parameters::read(message.body()).count() <= PARAMETERS_MAX);
}

fn compare(mould: &Mould, message: &Message<'_>) {
    let Some(cast) = mould.fit(message.datagram()) else {
        return;
    };
    assert_eq!(cast.request_uri(), message.request_uri());
    assert_eq!(
        (mould.status(), mould.method()),
        (message.status_code(), message.method())
    );
    assert_eq!(
        Some(cast.branch()),
        message.top_via().and_then(|via| via.branch)
    );
    assert_eq!(
        (Some(cast.from()), Some(cast.to())),
        (message.from(), message.to())
    );
    assert_eq!(
        (tag_of(cast.from()), tag_of(cast.to())),
        (message.from_tag(), message.to_tag())
    );
    assert_eq!(Some(cast.call_id()), message.call_id());
    assert_eq!(cast.contact(), message.header(HeaderName::Contact));
    assert_eq!(cast.body(), message.body());
    let cseq = message.cseq().expect("a mould has a CSeq");
    assert_eq!(
        (cast.cseq_number(), mould.cseq_method()),
        (cseq.number, cseq.method)
    );
}
