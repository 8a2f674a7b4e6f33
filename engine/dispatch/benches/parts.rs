//! Time of the parts of a SIR's way, each alone and warm: timer, branch, pending set, token.

use std::hint::black_box;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use sirocco_dispatch::branch::{BranchKey, Handle, MAGIC_COOKIE};
use sirocco_dispatch::pending::Pending;
use sirocco_dispatch::token::{Claim, Holder, Tick, TokenKey};
use sirocco_dispatch::transaction::{T1_NS, Target};
use sirocco_dispatch::used::Used;
use sirocco_dispatch::wheel::{TICK_NS, Wheel};
use sirocco_index::{Device, Identity};

/// SIRs in one iteration: a window's worth.
const BATCH: u32 = 4096;

fn handles() -> impl Iterator<Item = Handle> {
    (0..BATCH).map(|slot| Handle {
        slot,
        generation: 7,
    })
}

fn target(number: u32) -> Target {
    Target {
        key: u64::from(number),
        due_ns: 1,
        device: Device::default(),
        shape: 1,
        order: 0,
        template: 0,
    }
}

/// The device that a target is for.
fn holder(target: &Target) -> Holder<'_> {
    let device = (target.device.kind(), target.device.packed_id());
    Holder::Packed(target.identity(), Some(device))
}

fn parts(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parts");
    group.throughput(Throughput::Elements(u64::from(BATCH)));

    let mut wheel = Wheel::new(0, BATCH as usize * 128);
    let mut expired = Vec::with_capacity(BATCH as usize);
    let mut now = 0;
    group.bench_function("timer: arm and expire", |bencher| {
        bencher.iter(|| {
            for handle in handles() {
                wheel.arm(now + T1_NS, handle);
            }
            now += TICK_NS;
            expired.clear();
            wheel.expire(now, 2, &mut expired);
            black_box(&expired);
        });
    });

    let names = BranchKey::new([1, 2]);
    group.bench_function("branch: name", |bencher| {
        bencher.iter(|| {
            for handle in handles() {
                black_box(names.name(black_box(handle)));
            }
        });
    });
    let branches: Vec<_> = handles()
        .map(|handle| [MAGIC_COOKIE.as_slice(), &names.name(handle)].concat())
        .collect();
    group.bench_function("branch: recognise", |bencher| {
        bencher.iter(|| {
            for branch in &branches {
                black_box(names.recognise(black_box(branch)).is_ok());
            }
        });
    });

    let mut pending =
        Pending::new([3, 5, 7, 9].map(|word: u64| word.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let fingerprint = |pending: &Pending, number: u32| {
        let identity = Identity {
            key: u64::from(number),
            shape: 1,
        };
        pending.fingerprint(black_box(identity), &[9; 16])
    };
    group.bench_function("pending: insert and remove", |bencher| {
        bencher.iter(|| {
            for number in 0..BATCH {
                let fingerprint = fingerprint(&pending, number);
                black_box(pending.insert(fingerprint));
            }
            for number in 0..BATCH {
                let fingerprint = fingerprint(&pending, number);
                black_box(pending.remove(fingerprint));
            }
        });
    });

    tokens(&mut group);
    group.finish();
}

/// Making, checking and remembering tokens.
fn tokens(group: &mut BenchmarkGroup<'_, WallTime>) {
    let key = TokenKey::new([1, 2], 1_700_000_000, 632);
    let targets: Vec<_> = (0..BATCH).map(target).collect();
    group.bench_function("token", |bencher| {
        bencher.iter(|| {
            for target in &targets {
                let target = black_box(target);
                black_box(key.token(target.due_ns, 1, holder(target), true));
            }
        });
    });
    let shown: Vec<_> = targets
        .iter()
        .map(|target| key.token(target.due_ns, 1, holder(target), true))
        .collect();
    group.bench_function("token_check", |bencher| {
        bencher.iter(|| {
            for (token, target) in shown.iter().zip(&targets) {
                let claim = Claim::read(black_box(token)).expect("a token");
                assert!(key.verify(&claim, holder(target)));
            }
        });
    });
    let now = Tick(1 << 40);
    let mut used = Used::new(1 << 22, 1 << 30, now);
    let mut number = 0u64;
    group.bench_function("token_used", |bencher| {
        bencher.iter(|| {
            for _ in 0..BATCH {
                number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
                black_box(used.note(black_box(number), now, now));
            }
        });
    });
}

criterion_group!(benches, parts);
criterion_main!(benches);
