//! Tests of moulds: a datagram that fits gets the answer that the parser's way gives, and what the
//! parser would refuse does not fit.

use sirocco_wire::sip::screen::{Role, screen_as};
use sirocco_wire::sip::{Transport, Verdict};

use super::*;
use crate::hash::seeded;
use crate::mix::Behaviour;
use crate::sample::{sir, sirs};
use crate::script::tag;
use crate::source::Source;

fn learned(datagram: &[u8]) -> Moulds {
    let mut moulds = Moulds::default();
    moulds.learn(&Message::parse(datagram).unwrap());
    moulds
}

fn scripts() -> Vec<Script> {
    [
        Behaviour::Answer {
            status: 200,
            retry_after_s: None,
        },
        Behaviour::Answer {
            status: 503,
            retry_after_s: Some(12),
        },
        Behaviour::Garbage,
        Behaviour::Forged { status: 480 },
    ]
    .map(Script::compile)
    .to_vec()
}

/// Both ways of answering, for every script; the cast's answer must equal the parser's.
fn assert_same_answers(moulds: &mut Moulds, datagram: &[u8]) {
    let cast = moulds.fit(datagram).expect("fits");
    let message = Message::parse(datagram).expect("parses");
    let (uri, branch) = moulds.keys(cast, datagram);
    assert_eq!(Some(uri), message.request_uri());
    assert_eq!(Some(branch), message.top_via().unwrap().branch);
    for script in scripts() {
        let width = moulds.copied_bytes_max(cast.mould) + script.literal_bytes() + 5;
        let (mut one, mut other) = (vec![0; width], vec![0xff; width]);
        let source = Source::Cast {
            moulds,
            cast,
            datagram,
        };
        assert!(source.write(&script, tag(9), &mut one));
        assert!(Source::Parsed(&message).write(&script, tag(9), &mut other));
        assert_eq!(
            one.escape_ascii().to_string(),
            other.escape_ascii().to_string()
        );
    }
}

#[test]
fn every_sir_of_one_length_fits_the_first() {
    let requests = sirs(0, 50);
    let mut moulds = learned(&requests[0]);
    for request in &requests {
        assert_same_answers(&mut moulds, request);
    }
}

#[test]
fn narrower_identities_of_the_same_class_fit_too() {
    let mut moulds = learned(&sir("861380000000", 1));
    for user in ["861380000000", "86138000000", "8613800000"] {
        let request = sir(user, 2);
        if request.len() == sir("861380000000", 1).len() {
            assert_same_answers(&mut moulds, &request);
        }
    }
}

#[test]
fn another_length_fits_nothing() {
    let mut moulds = learned(&sir("86138", 1));
    let longer = sir("86138000000000000000000000", 1);
    assert_eq!(moulds.fit(&longer), None);
    moulds.learn(&Message::parse(&longer).unwrap());
    assert!(moulds.fit(&longer).is_some());
    assert!(moulds.fit(&sir("86138", 2)).is_some());
}

#[test]
fn an_octet_changed_anywhere_either_does_not_fit_or_gives_the_same_answer() {
    let request = sir("8613800001111", 7);
    let mut moulds = learned(&request);
    let section_end = request
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    let mut fitted = 0;
    for at in 0..section_end {
        for octet in [b"\0\r\n \t\"<>;:@,=%?/\\[]a0Zz.-_~\x7f\xff".as_slice()].concat() {
            let mut changed = request.clone();
            changed[at] = octet;
            if moulds.fit(&changed).is_some() {
                fitted += 1;
                let verdict = screen_as(&changed, Transport::Datagram, Role::Endpoint);
                let text = changed[..section_end].escape_ascii().to_string();
                assert_eq!(verdict, Verdict::Accept, "at {at}: {text}");
                assert_same_answers(&mut moulds, &changed);
            }
        }
    }
    assert!(fitted > 1000, "{fitted}");
}

#[test]
fn several_octets_changed_either_do_not_fit_or_give_the_same_answer() {
    let request = sir("8613800001111", 7);
    let mut moulds = learned(&request);
    let section_end = request
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .unwrap()
        + 4;
    // The fields that a mould leaves open: the octets that differ between two SIRs.
    let other = sir("8712911112222", 0xffff_ffff_ffff_ffff);
    let open: Vec<usize> = (0..section_end)
        .filter(|&at| request[at] != other[at])
        .collect();
    let alphabet = b"abz019AZ.-_;:@=&'()*+,/ ";
    let mut fitted = 0;
    for round in 0..200_000u64 {
        let mut changed = request.clone();
        for n in 0..1 + round % 4 {
            let random = seeded(round, n);
            let at = open[(random >> 32) as usize % open.len()];
            changed[at] = alphabet[random as usize % alphabet.len()];
        }
        if moulds.fit(&changed).is_some() {
            fitted += 1;
            let verdict = screen_as(&changed, Transport::Datagram, Role::Endpoint);
            let text = changed[..section_end].escape_ascii().to_string();
            assert_eq!(verdict, Verdict::Accept, "{text}");
            assert_same_answers(&mut moulds, &changed);
        }
    }
    assert!(fitted > 1000, "{fitted}");
}

#[test]
fn requests_of_another_layout_teach_nothing() {
    let request = String::from_utf8_lossy(&sir("86138", 1)).into_owned();
    let layouts = [
        request.replace("Via: ", "v: "),
        request.replace("Via: ", "Via:  "),
        request.replace(
            "\r\nFrom: ",
            "\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: ",
        ),
        request.replace("\r\nCall-ID: ", "\r\nX-Between: 1\r\nCall-ID: "),
        request.replace(";tag=ppg1", ";tag=ppg1\r\n "),
        request.replace("MESSAGE sip:+86138", "MESSAGE sip:%2b86138"),
        request.replace("To: <", "To: \"x\" <"),
    ];
    for layout in layouts {
        assert_ne!(layout, request);
        let mut moulds = Moulds::default();
        if let Ok(message) = Message::parse(layout.as_bytes()) {
            moulds.learn(&message);
        }
        assert_eq!(moulds.fit(layout.as_bytes()), None, "{layout}");
    }
}

#[test]
fn the_number_of_moulds_is_bounded() {
    let mut moulds = Moulds::default();
    for n in 0..3 * MOULDS_MAX {
        let body = "x".repeat(n);
        let request = format!(
            "MESSAGE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:f@h>;tag=1\r\n\
             To: <sip:a@b>\r\nCall-ID: c\r\nCSeq: 1 MESSAGE\r\nContent-Length: {n}\r\n\r\n{body}"
        );
        moulds.learn(&Message::parse(request.as_bytes()).unwrap());
        assert!(moulds.fit(request.as_bytes()).is_some());
        assert!(moulds.moulds.len() <= MOULDS_MAX);
    }
}
