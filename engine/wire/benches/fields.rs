//! Time of reading what sessions need beside the message: one message out of a stream, the device of a
//! Contact, the methods of Allow, returned parameters.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sirocco_wire::parameters;
use sirocco_wire::sip::stream::Framer;
use sirocco_wire::sip::{Message, Method};

const INVITE: &[u8] =
    b"INVITE sip:ppg@127.0.0.1:5070;t=0123456789abcdef0123456789abcdef SIP/2.0\r\n\
    Via: SIP/2.0/TCP 127.0.0.1:6001;branch=z9hG4bK0123456789abcdef01234567\r\nMax-Forwards: 70\r\n\
    From: <sip:+8613800001111@ims.example>;tag=0a0b0c0d0e0f0011\r\nTo: <sip:ppg@127.0.0.1:5070>\r\n\
    Call-ID: 00112233445566778899aabbccddeeff\r\nCSeq: 1 INVITE\r\n\
    Contact: <sip:+8613800001111@127.0.0.1:6001;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\
    ;+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"\r\n\
    Allow: INVITE, ACK, BYE, CANCEL, MESSAGE\r\nContent-Length: 0\r\n\r\n";

const RETURNED: &[u8] =
    b"device: urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6\r\ncapability: 3\r\n\
    preference: 5\r\nsubscription: 1\r\n";

fn fields(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fields");
    group.bench_function("a message out of a stream", |bencher| {
        bencher.iter(|| Framer::new(8192).step(black_box(INVITE)).is_ok());
    });
    let invite = Message::parse(INVITE).expect("the sample is SIP");
    group.bench_function("device of Contact", |bencher| {
        bencher.iter(|| black_box(&invite).contact()?.device());
    });
    group.bench_function("Allow has MESSAGE", |bencher| {
        bencher.iter(|| black_box(&invite).allows(Method::Message));
    });
    group.bench_function("four parameters", |bencher| {
        bencher.iter(|| parameters::read(black_box(RETURNED)).count());
    });
    group.finish();
}

criterion_group!(benches, fields);
criterion_main!(benches);
