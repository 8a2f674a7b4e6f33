//! Time of reading one chunk of 200 octets out of a stream, of writing it, and of answering it.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sirocco_wire::msrp::{ByteRange, Chunk, Continuation, FailureReport, Framer, Step, write};

fn msrp(criterion: &mut Criterion) {
    let chunk = Chunk {
        transaction: b"0123456789abcdef",
        to_path: b"msrp://192.0.2.7:9/2s93i9ek2a2s93i9;tcp",
        from_path: b"msrp://192.0.2.1:2855/0123456789abcdef;tcp",
        message_id: b"0123456789abcdef",
        byte_range: ByteRange {
            start: 1,
            end: Some(200),
            total: Some(200),
        },
        success_report: false,
        failure_report: FailureReport::Yes,
        content_type: b"text/plain",
        octets: &[b'x'; 200],
        continuation: Continuation::Last,
    };
    let mut stream = [0u8; 1024];
    let len = write::send(&mut stream, &chunk).expect("room");

    let mut group = criterion.benchmark_group("msrp");
    group.bench_function("write a chunk", |bencher| {
        let mut out = [0u8; 1024];
        bencher.iter(|| write::send(black_box(&mut out), black_box(&chunk)));
    });
    group.bench_function("read a chunk", |bencher| {
        bencher.iter(|| Framer::new(4096).step(black_box(&stream[..len])).is_ok());
    });
    let Ok(Step::Whole { message, .. }) = Framer::new(4096).step(&stream[..len]) else {
        return;
    };
    group.bench_function("write a response", |bencher| {
        let mut out = [0u8; 512];
        let own_uri = message.to_uri();
        bencher.iter(|| {
            write::response(
                black_box(&mut out),
                black_box(&message),
                own_uri,
                200,
                b"OK",
            )
        });
    });
    group.finish();
}

criterion_group!(benches, msrp);
criterion_main!(benches);
