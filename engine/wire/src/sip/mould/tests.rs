//! Moulds against the parser: whatever fits reads alike.

use proptest::prelude::*;

use super::*;

const BYE: &str = "BYE sip:ppg@127.0.0.1:5070;s=0011 SIP/2.0\r\nMax-Forwards:      70\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:6001;branch=z9hG4bK0123456789abcdef;rport\r\n\
    From: <sip:+8613800001111@ims.example>;tag=0a0b0c0d    \r\n\
    To: <sip:ppg@127.0.0.1:5070>;tag=00000001\r\nCall-ID: 0011223344556677\r\n\
    CSeq:  2 BYE\r\nUser-Agent: edge\r\nContent-Length: 0\r\n\r\n";

const ANSWER: &str = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 127.0.0.1:6001;branch=z9hG4bK0123456789abcdef\r\n\
    From: <sip:+8613800001111@ims.example>;tag=0a0b0c0d\r\nTo: <sip:ppg@127.0.0.1:5070>;tag=00000001\r\n\
    Call-ID: 0011223344556677\r\nCSeq: 1 INVITE\r\nContact: <sip:ppg@127.0.0.1:5070;s=1>\r\n\
    Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";

fn mould(text: &str) -> Mould {
    let message = Message::parse(text.as_bytes()).expect("SIP");
    Mould::learn(&message).expect("a plain message")
}

/// Holds that a cast reads as the parser does.
fn assert_alike(cast: &Cast<'_, '_>) {
    let message = Message::parse(cast.datagram()).expect("what fits parses");
    assert_eq!(cast.request_uri(), message.request_uri());
    assert_eq!(cast.mould().status(), message.status_code());
    assert_eq!(cast.mould().method(), message.method());
    let via = message.top_via().expect("a Via");
    assert_eq!(Some(cast.branch()), via.branch);
    assert!(!message.has_several_vias());
    assert_eq!(Some(cast.from()), message.from());
    assert_eq!(Some(cast.to()), message.to());
    assert_eq!(Some(cast.call_id()), message.call_id());
    assert_eq!(cast.contact(), message.header(HeaderName::Contact));
    assert_eq!(cast.body(), message.body());
    let cseq = message.cseq().expect("a CSeq");
    assert_eq!(
        (cast.cseq_number(), cast.mould().cseq_method()),
        (cseq.number, cseq.method)
    );
    assert_eq!(tag_of(cast.from()), message.from_tag());
    assert_eq!(tag_of(cast.to()), message.to_tag());
}

#[test]
fn another_dialog_fits() {
    let bye = mould(BYE);
    let other = BYE
        .replace("s=0011 SIP", "s=001122 SIP")
        .replace("Forwards:      70", "Forwards:    70")
        .replace("hG4bK0123", "hG4bKffff")
        .replace(
            "+8613800001111@ims.example>;tag=0a0b0c0d    ",
            "+861380000111@ims.example>;tag=1a0b0c0d     ",
        )
        .replace("tag=00000001", "tag=00000002")
        .replace("0011223344556677", "8899aabbccddeeff")
        .replace("CSeq:  2", "CSeq: 17");
    let cast = bye.fit(other.as_bytes()).expect("the same form");
    assert_alike(&cast);
    assert_eq!(
        cast.request_uri(),
        Some(&b"sip:ppg@127.0.0.1:5070;s=001122"[..])
    );
    assert_eq!(cast.branch(), b"z9hG4bKffff456789abcdef");
    assert_eq!(tag_of(cast.from()), Some(&b"1a0b0c0d"[..]));
    assert_eq!(
        (cast.call_id(), cast.cseq_number()),
        (&b"8899aabbccddeeff"[..], 17)
    );
    assert_eq!(bye.method(), Some(Method::Bye));
}

#[test]
fn responses_and_bodies_fit() {
    let answer = mould(ANSWER);
    let other = ANSWER
        .replace("s=1>", "s=9>")
        .replace("v=0\r\n", "\r\n\0\r\n");
    let cast = answer.fit(other.as_bytes()).expect("the same form");
    assert_alike(&cast);
    assert_eq!(cast.contact(), Some(&b"<sip:ppg@127.0.0.1:5070;s=9>"[..]));
    assert_eq!(
        (answer.status(), answer.cseq_method()),
        (Some(200), Method::Invite)
    );
    assert_eq!(cast.request_uri(), None);
}

#[test]
fn another_sender_fits_and_another_receiver_of_a_response_does_not() {
    let other = BYE.replace("127.0.0.1:6001;branch", "10.20.3.44:601;branch");
    let bye = mould(BYE);
    assert_alike(&bye.fit(other.as_bytes()).expect("the same form"));
    let other = ANSWER.replace("127.0.0.1:6001;branch", "10.20.3.44:601;branch");
    assert!(mould(ANSWER).fit(other.as_bytes()).is_none());
}

#[test]
fn what_reads_otherwise_does_not_fit() {
    let bye = mould(BYE);
    for other in [
        BYE.replace("BYE sip", "ACK sip"),
        BYE.replace("0a0b0c0d    ", "0a0b0c0d     "),
        BYE.replace("0a0b0c0d    \r\n", "0a0b0c\r\nX: y\r\n"),
        BYE.replace("z9hG4bK0123", "z9hG4bK;x=y"),
        BYE.replace("127.0.0.1:6001;branch", "127.0.0.1;6001;branch"),
        BYE.replace("127.0.0.1:6001;branch", "127.0.0.1, 601;branch"),
        BYE.replace("CSeq:  2 BYE", "CSeq:  x BYE"),
        BYE.replace("CSeq:  2 BYE", "CSeq:    BYE"),
        BYE.replace("CSeq:  2 BYE", "CSeq:  2 ACK"),
        BYE.replace("User-Agent: edge", "Require: 100rel "),
        BYE.replace(";s=0011 SIP", ";s=0 11 SIP"),
        BYE.replace(";s=0011 SIP/2.0\r\n", ";s=001122\r\nSIP/2."),
    ] {
        assert!(bye.fit(other.as_bytes()).is_none(), "{other}");
    }
}

#[test]
fn odd_messages_teach_nothing() {
    for odd in [
        BYE.replace("User-Agent: edge", "Via: SIP/2.0/UDP h;branch=z9hG4bK1"),
        BYE.replace("User-Agent: edge", "Call-ID: 2"),
        BYE.replace("User-Agent: edge", "X: y").replace(
            "BYE sip:ppg@127.0.0.1:5070;s=0011 SIP/2.0",
            "BYE sip:ppg@127.0.0.1:5070;s=0011 sip/2.0",
        ),
        BYE.replace("To: ", "To:\r\n  \"a\r\n b\" "),
        BYE.replace("Content-Length: 0\r\n\r\n", "Content-Length: 0\r\n\r\nmore"),
        BYE.replace("Call-ID: 0011223344556677\r\n", ""),
        BYE.replace("edge", &"e".repeat(SECTION_BYTES_MAX)),
        BYE.replace("z9hG4bK0123456789abcdef", "z9hG4bK~"),
    ] {
        let message = Message::parse(odd.as_bytes()).expect("SIP");
        assert!(Mould::learn(&message).is_none(), "{odd}");
    }
}

#[test]
fn the_oldest_mould_makes_room() {
    let mut moulds = Moulds::default();
    assert!(moulds.fit(BYE.as_bytes()).is_none() && moulds.is_empty());
    let texts: Vec<_> = (0..MOULDS_MAX + 1)
        .map(|number| BYE.replace("edge", &format!("edge{}", "e".repeat(number))))
        .collect();
    for text in &texts {
        assert!(moulds.fit(text.as_bytes()).is_none());
        assert!(moulds.learn(&Message::parse(text.as_bytes()).expect("SIP")));
    }
    assert_eq!(moulds.len(), MOULDS_MAX);
    assert!(moulds.fit(texts[0].as_bytes()).is_none());
    for text in texts[1..].iter().rev() {
        assert_alike(&moulds.fit(text.as_bytes()).expect("known"));
    }
}

#[test]
fn tags_are_found_in_every_form() {
    for (value, tag) in [
        ("<sip:a@h>;tag=1", Some("1")),
        ("\"a>;tag=2\" <sip:a@h;tag=3>;x=y;tag=4", Some("4")),
        ("<sip:a@h>;x=\"<b>\";tag=5", Some("5")),
        ("<sip:a@h>;x=\">;tag=6\"", None),
        ("<sip:a>b>;tag=1", None),
        ("sip:a@h;tag=7", Some("7")),
        ("<sip:a@h>;tag=8;x", Some("8")),
        ("<sip:a@h>;tag=8 , <b>", Some("8")),
        ("<sip:a@h>", None),
    ] {
        assert_eq!(tag_of(value.as_bytes()), tag.map(str::as_bytes), "{value}");
    }
}

proptest! {
    #[test]
    fn whatever_fits_reads_alike_through_the_parser(
        changes in proptest::collection::vec((0..ANSWER.len(), prop_oneof![any::<u8>(), Just(b'\r'), Just(b' '), Just(b';'), Just(b','), Just(b'"'), Just(b'>')]), 0..6),
        is_request: bool,
    ) {
        let text = if is_request { BYE } else { ANSWER };
        let mut datagram = text.as_bytes().to_vec();
        for (at, octet) in changes {
            let at = at % datagram.len();
            datagram[at] = octet;
        }
        if let Some(cast) = mould(text).fit(&datagram) {
            assert_alike(&cast);
        }
    }

    #[test]
    fn changes_inside_fields_fit(
        user in "[0-9]{13}", host in "[a-z0-9.:-]{14}", tag in "[0-9a-f]{8}", branch in "[0-9a-f]{16}", call_id in "[0-9a-f]{16}", number in 1..10u32,
    ) {
        let text = BYE
            .replace("8613800001111", &user)
            .replace("127.0.0.1:6001", &host)
            .replace("0a0b0c0d", &tag)
            .replace("0123456789abcdef", &branch)
            .replace("0011223344556677", &call_id)
            .replace("CSeq:  2", &format!("CSeq:  {number}"));
        let mould = mould(BYE);
        let cast = mould.fit(text.as_bytes());
        prop_assert!(cast.is_some());
        assert_alike(&cast.expect("just seen"));
    }
}
