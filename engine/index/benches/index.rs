//! Timed benches of the index: batched lookup, insert, and reading a population line.
//!
//! Throughput is in identities for lookups and inserts and in lines for the reader; the large
//! lookup does not fit any cache, so it shows what memory costs.

use std::hint::black_box;
use std::net::SocketAddr;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sirocco_index::population::{GenerateSpec, generate, generate_into, parse_line};
use sirocco_index::{Bearer, DeviceEntry, DeviceId, DeviceKind, EXPIRES_NEVER, Identity, Index};

/// Identities looked up in one call, as dispatch does.
const BATCH: usize = 64;

fn lookups(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lookup_batch");
    group.throughput(Throughput::Elements(BATCH as u64));
    for identities in [10_000u64, 1_000_000, 4_000_000] {
        let mut index = Index::new(identities as usize).expect("memory for the bench");
        let spec = GenerateSpec {
            identities,
            ..GenerateSpec::default()
        };
        generate_into(&spec, &mut index).expect("memory for the bench");
        let mut keys: Vec<Identity> = index.keys().collect();
        shuffle(&mut keys);
        let mut runs = Vec::with_capacity(BATCH);
        let mut batches = keys.chunks_exact(BATCH).cycle();
        group.bench_function(format!("{identities} identities"), |bencher| {
            bencher.iter(|| {
                index.lookup_batch(batches.next().unwrap_or(&keys), &mut runs);
                let first = |run| u64::from(index.devices(run)[0].packed_id()[0]);
                black_box(runs.iter().map(|&run| first(run)).sum::<u64>())
            });
        });
    }
    group.finish();
}

fn inserts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("insert");
    group.throughput(Throughput::Elements(1));
    let mut index = Index::new(0).expect("memory for the bench");
    let next_hop = index
        .intern_next_hop(SocketAddr::from(([127, 0, 0, 1], 6000)))
        .expect("room for one next hop");
    let mut entry = DeviceEntry {
        id: DeviceId::Packed {
            kind: DeviceKind::Uuid,
            bytes: [0; 16],
        },
        next_hop,
        contact: None,
        bearer: Bearer::SipUdp,
        connected: false,
        capability: 0,
        preference: 0,
        subscription: 0,
        expires_s: EXPIRES_NEVER,
    };
    let shape = index
        .intern(b"sip:+8613800000000@ims.example")
        .expect("an AOR")
        .shape;
    let mut serial = 0u128;
    group.bench_function("new identity, table growing", |bencher| {
        bencher.iter_batched(
            || {
                serial += 1;
                serial
            },
            |serial| {
                // Scattered keys of 15 digits; the table does not care that some are no digits.
                let key = (serial as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 4 | 0xf << 56;
                let id = DeviceId::Packed {
                    kind: DeviceKind::Uuid,
                    bytes: serial.to_be_bytes(),
                };
                entry.id = id;
                black_box(index.insert(Identity { key, shape }, &entry)).expect("memory")
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn lines(criterion: &mut Criterion) {
    let mut text = Vec::new();
    let spec = GenerateSpec {
        identities: 400,
        ..GenerateSpec::default()
    };
    generate(&spec, &mut text).expect("memory for the bench");
    let lines: Vec<&[u8]> = text
        .split(|&octet| octet == b'\n')
        .filter(|line| line.starts_with(b"sip:"))
        .collect();
    let mut group = criterion.benchmark_group("parse_line");
    group.throughput(Throughput::Elements(lines.len() as u64));
    group.bench_function("uuid behind a next hop", |bencher| {
        bencher.iter(|| {
            let read = |line: &&[u8]| parse_line(line).is_ok_and(|line| line.next_hop.is_some());
            black_box(lines.iter().filter(|line| read(line)).count())
        });
    });
    group.finish();
}

fn shuffle(keys: &mut [Identity]) {
    let mut state = 0x2545_f491_4f6c_dd1du64;
    for at in (1..keys.len()).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        keys.swap(at, (state % (at as u64 + 1)) as usize);
    }
}

criterion_group!(benches, lookups, inserts, lines);
criterion_main!(benches);
