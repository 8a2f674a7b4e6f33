//! One turn over loopback on each backend: a train of 64 messages of 550 octets is sent, received
//! and read on one thread. What a worker pays for I/O, both directions, without protocol or patching.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sirocco_ring::{Backend, Port, PortConfig, SocketConfig, Train, Wait};

const SEGMENTS: u32 = 64;
const SEGMENT_BYTES: u16 = 550;

fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("turn");
    group.throughput(Throughput::Elements(SEGMENTS.into()));
    for backend in [Backend::Uring, Backend::Mmsg] {
        let mut config = PortConfig::new(vec![SocketConfig::default()]);
        config.backend = backend;
        let mut port = Port::open(&config).expect("a loopback port");
        // To itself: the turn that sends also finds the train received.
        let target = port.local_address(0);
        let length = SEGMENTS * u32::from(SEGMENT_BYTES);
        let segment = SEGMENT_BYTES;
        let train = Train {
            socket: 0,
            target,
            source: None,
            length,
            segment,
            tag: 0,
        };
        group.bench_function(
            format!("train_of_64_{backend:?}").to_lowercase(),
            |bencher| {
                bencher.iter(|| round(&mut port, train));
            },
        );
    }
    group.finish();
}

fn round(port: &mut Port, train: Train) {
    let slab = port.take_slab().expect("one train at a time");
    port.send(slab, train);
    let mut octets = 0;
    while octets < train.length as usize {
        port.turn(Wait::No).expect("a turn");
        port.receive(usize::MAX, |received| {
            octets += black_box(received.bytes).len();
        });
    }
    port.sent(|sent| assert_eq!(sent.failed, 0));
}

criterion_group!(benches, turns);
criterion_main!(benches);
