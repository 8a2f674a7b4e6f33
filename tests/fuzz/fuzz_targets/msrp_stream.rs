//! Any octets as an MSRP stream: no panic, every message is found the same however the stream is cut,
//! and what wants a response gets one that reads and goes back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sirocco_wire::msrp::{Framer, Message, MsrpUri, Start, Step, write};

const BYTES_MAX: usize = 4096;

fuzz_target!(|octets: &[u8]| {
    let Some((&cut, stream)) = octets.split_first() else {
        return;
    };
    let mut framer = Framer::new(BYTES_MAX);
    let mut rest = stream;
    while let Ok(Step::Whole { message, len }) = framer.step(rest) {
        assert!(0 < len && len <= rest.len());
        assert_eq!(
            found_in_pieces(&rest[..len], usize::from(cut) + 1),
            Some(message)
        );
        answer(&message);
        rest = &rest[len..];
    }
});

fn found_in_pieces(whole: &[u8], piece: usize) -> Option<Message<'_>> {
    let mut framer = Framer::new(BYTES_MAX);
    let mut have = 0;
    loop {
        have = whole.len().min(have + piece);
        match framer.step(&whole[..have]).ok()? {
            Step::Whole { message, len } => return (len == whole.len()).then_some(message),
            Step::More(wanted) => assert!(wanted > 0 && have < whole.len()),
        }
    }
}

fn answer(message: &Message<'_>) {
    if let Some(uri) = MsrpUri::parse(message.to_uri()) {
        assert!(uri.equivalent(&uri));
    }
    let _ = message.is_complete();
    if message.is_faulty || !message.wants_response(400) {
        return;
    }
    let mut out = [0u8; 2 * BYTES_MAX];
    let len = write::response(&mut out, message, b"msrp://h:1/s;tcp", 200, b"OK").expect("room");
    let Ok(Step::Whole {
        message: response,
        len: read,
    }) = Framer::new(2 * BYTES_MAX).step(&out[..len])
    else {
        panic!("our response does not read");
    };
    assert_eq!((read, response.transaction), (len, message.transaction));
    assert!(matches!(response.start, Start::Response { code: 200, .. }));
    assert_eq!(response.from_path, b"msrp://h:1/s;tcp");
}
