//! Any octets as a session description: no panic, and whatever is read is answered with the streams of
//! the offer in their order, all refused but the one that is taken.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sirocco_wire::sdp::{self, Description, Direction, Local, MessageStream, STREAMS_MAX, Setup};

fuzz_target!(|octets: &[u8]| {
    let Ok(offer) = Description::parse(octets) else {
        return;
    };
    assert!(offer.stream_count <= STREAMS_MAX);
    assert_eq!(offer.streams().count(), offer.stream_count);
    let message = offer.message.map(|offered| {
        let _ = sdp::accepts(offered.accept_types, b"text/plain");
        MessageStream {
            path: b"msrp://192.0.2.1:2855/1;tcp",
            accept_types: b"*",
            setup: Some(Setup::answer(offered.setup, Setup::Active)),
            direction: offered.direction.answer(true, false),
            port: 2855,
        }
    });
    let local = Local {
        connection: "IN IP4 192.0.2.1",
        session_id: 1,
        version: 1,
        message,
    };
    let mut out = vec![0; octets.len() + 4096];
    let len = sdp::answer(&mut out, &offer, &local).expect("an answer is no longer than its offer");
    let answer = Description::parse(&out[..len]).expect("an answer reads");
    assert_eq!(answer.stream_count, offer.stream_count);
    assert_eq!(answer.message, message);
    for (offered, answered) in offer.streams().zip(answer.streams()) {
        assert!(answered.port == 0 || answered.port == 2855);
        assert!(answered.port != 0 || offered.media == answered.media);
    }
    if let Some(answered) = answer.message {
        assert_ne!(answered.direction, Direction::SendRecv);
    }
});
