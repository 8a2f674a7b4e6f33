//! What the next due time of a schedule costs, by shape and arrivals; with the digest of what is taken.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sirocco_schedule::{Arrivals, Digest, Plan, Schedule, Shape};

/// Entries in one iteration.
const BATCH: u64 = 4096;

fn take(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("schedule");
    group.throughput(Throughput::Elements(BATCH));
    let shape = |text: &str| text.parse::<Shape>().expect("a shape of the grammar");
    let shapes = [
        ("one rate", Shape::constant(2e6)),
        ("ramp", shape("ramp 0..2M/20h")),
        ("sine", shape("repeat 20 (sine 2M+-1M/10s/60m)")),
    ];
    for (name, shape) in shapes {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let plan = Plan {
                arrivals,
                ..Plan::new(shape.clone())
            };
            let mut schedule = Schedule::new(&plan);
            group.bench_function(format!("{name}, {arrivals}"), |bencher| {
                bencher.iter(|| {
                    for _ in 0..BATCH {
                        black_box(schedule.take(u64::MAX - 1));
                    }
                });
            });
        }
    }
    let mut digest = Digest::default();
    group.bench_function("digest", |bencher| {
        bencher.iter(|| {
            for due_ns in 0..BATCH {
                digest.add(black_box(due_ns), 7);
            }
            black_box(digest)
        });
    });
    group.finish();
}

criterion_group!(benches, take);
criterion_main!(benches);
