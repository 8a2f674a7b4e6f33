//! Time of reading one message: a response as the engine reads it, a request as the load generator
//! does, and the full screening of a request.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sirocco_wire::sip::{Message, Status, Transport, screen, write};

/// A response of 350 octets, as an edge proxy sends it.
const RESPONSE: &[u8] = b"SIP/2.0 200 OK\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK0123456789abcdef0123456789abcdef\r\n\
    From: <sip:ppg@ims.example>;tag=a1b2c3d4e5f60718\r\n\
    To: <sip:+8613800001111@ims.example>;tag=9fxced76sl1234567890\r\n\
    Call-ID: 0123456789abcdef0123456789abcdef\r\n\
    CSeq: 1 MESSAGE\r\n\
    Server: edge/1.0 (simulated device population)\r\n\
    Content-Length: 0\r\n\r\n";

const REQUEST: &[u8] = b"MESSAGE sip:+8613800001111@ims.example;gr=urn:uuid:\
    f81d4fae-7dec-11d0-a765-00a0c91e6bf6 SIP/2.0\r\nMax-Forwards:      70\r\n\
    Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK0123456789abcdef0123456789abcdef\r\n\
    From: <sip:ppg@ims.example>;tag=a1b2c3d4e5f60718\r\n\
    To: <sip:+8613800001111@ims.example>    \r\n\
    Call-ID: 0123456789abcdef0123456789abcdef\r\n\
    CSeq: 1 MESSAGE\r\n\
    Accept-Contact: *;+g.oma.pusheventapp=\"push.sia\";require;explicit\r\n\
    X-Wap-Application-Id: x-wap-application:push.sia\r\n\
    Content-Type: application/vnd.wap.sia\r\n\
    Content-Length: 8\r\n\r\n\x01\x02\xaf\x81\x00\x00\x00\x00\x00";

/// What the engine reads of a response; the parser's budget is 150 ns for this.
fn read_response(octets: &[u8]) -> Option<(u16, usize, u32)> {
    let message = Message::parse(octets).ok()?;
    let branch = message.top_via()?.branch?;
    Some((message.status_code()?, branch.len(), message.cseq()?.number))
}

fn messages(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("message");
    group.bench_function("read response, 350 octets", |bencher| {
        bencher.iter(|| read_response(black_box(RESPONSE)));
    });
    group.bench_function("parse request, 600 octets", |bencher| {
        bencher.iter(|| Message::parse(black_box(REQUEST)).map(|message| message.body().len()));
    });
    group.bench_function("screen request", |bencher| {
        bencher.iter(|| screen(black_box(REQUEST), Transport::Datagram));
    });
    let request = Message::parse(REQUEST).expect("the request is valid");
    let mut out = [0u8; 1024];
    group.bench_function("write response", |bencher| {
        bencher.iter(|| {
            write::response(
                black_box(&mut out),
                black_box(&request),
                Status::OK,
                b"9fxced",
                &[],
            )
        });
    });
    group.finish();
}

criterion_group!(benches, messages);
criterion_main!(benches);
