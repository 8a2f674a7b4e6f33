//! Time of reading an offer with an MSRP stream and of writing its answer; beside them the time that
//! the crate `sdp-types` takes, which is the runner-up of docs/decisions/0011-sdp.md.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sirocco_wire::sdp::{self, Description, Direction, Local, MessageStream, Setup};

/// An offer of a device that wants to receive, with the header lines a user agent sends.
const OFFER: &[u8] =
    b"v=0\r\no=- 00000000000000000042 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\n\
    t=0 0\r\nm=message 9 TCP/MSRP *\r\na=path:msrp://192.0.2.7:9/2s93i9ek2a2s93i9;tcp\r\n\
    a=accept-types:text/plain image/*\r\na=setup:active\r\na=recvonly\r\n";

fn sdp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sdp");
    group.bench_function("read offer", |bencher| {
        bencher.iter(|| Description::parse(black_box(OFFER)));
    });
    let offer = Description::parse(OFFER).expect("an offer");
    let local = Local {
        connection: "IN IP4 192.0.2.1",
        session_id: 42,
        version: 1,
        message: Some(MessageStream {
            path: b"msrp://192.0.2.1:2855/0123456789abcdef;tcp",
            accept_types: b"text/plain",
            setup: Some(Setup::Passive),
            direction: Direction::SendOnly,
            port: 2855,
        }),
    };
    group.bench_function("write answer", |bencher| {
        let mut out = [0u8; 1024];
        bencher.iter(|| sdp::answer(black_box(&mut out), black_box(&offer), black_box(&local)));
    });
    group.bench_function("sdp-types reads the offer", |bencher| {
        bencher.iter(|| sdp_types::Session::parse(black_box(OFFER)));
    });
    let session = sdp_types::Session::parse(OFFER).expect("an offer");
    group.bench_function("sdp-types writes a description", |bencher| {
        let mut out = Vec::with_capacity(1024);
        bencher.iter(|| {
            out.clear();
            session.write(black_box(&mut out))
        });
    });
    group.finish();
}

criterion_group!(benches, sdp);
criterion_main!(benches);
