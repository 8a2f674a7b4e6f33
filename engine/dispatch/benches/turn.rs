//! Time of whole turns for each SIR, without a kernel: selection and departure with an outbox in memory,
//! then the answers, of a shape that is known or all different and so parsed.
//!
//! The time in which answers are written is not counted. Devices have UUIDs, but for the bench that names
//! text identities.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use sirocco_dispatch::config::EngineConfig;
use sirocco_dispatch::load::{Load, Wanted};
use sirocco_dispatch::order::{Audience, Order};
use sirocco_dispatch::rehearsal::Slabs;
use sirocco_dispatch::shard::{Keys, Shard};
use sirocco_dispatch::templates::Sender;
use sirocco_dispatch::train::{Outbox, TRAIN_BYTES_MAX};
use sirocco_index::Index;
use sirocco_index::population::{HEADER, Policy, load_from};
use sirocco_session::SessionConfig;
use sirocco_wire::sip::message::Message;
use sirocco_wire::sip::status::Status;
use sirocco_wire::sip::write;

/// Where answers come from.
const EDGE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 20_000));
/// Identities, one device each: more than a second-level cache holds.
const IDENTITIES: u32 = 200_000;
/// Time between two turns in nanoseconds.
const TURN_NS: u64 = 100_000;

/// An outbox that keeps what left, and the answers to it.
#[derive(Default)]
struct Echo {
    slabs: Slabs,
    answers: Vec<(Vec<u8>, usize)>,
    serial: u64,
}

impl Echo {
    /// Writes an answer to each SIR that left; `differs` makes each of a shape of its own.
    fn write_answers(&mut self, differs: bool) -> u64 {
        self.answers.clear();
        let mut sirs = 0;
        for &left in self.slabs.left() {
            let mut train = Vec::with_capacity(TRAIN_BYTES_MAX);
            let mut answer_len = 1;
            for octets in self.slabs.sirs_of(left) {
                let request = Message::parse(octets).expect("a SIR");
                self.serial += u64::from(differs);
                let tag = format!("d{:08x}", self.serial);
                let extra: &[(&[u8], &[u8])] = &[(b"X-Number", tag.as_bytes())];
                let mut out = [0; 1024];
                answer_len = write::response(&mut out, &request, Status::OK, tag.as_bytes(), extra)
                    .expect("room");
                train.extend_from_slice(&out[..answer_len]);
                sirs += 1;
            }
            self.answers.push((train, answer_len));
        }
        sirs
    }
}

fn population(device: impl Fn(u32) -> String) -> Index {
    let mut text = String::from_utf8_lossy(HEADER).into_owned();
    for number in 0..IDENTITIES {
        let line = format!(
            "\nsip:+86138{number:08}@ims.example\t{}\t127.0.0.1:{}\t-\tsip\tidle\t00\t0\t00\t-",
            device(number),
            10_000 + number % 16
        );
        text.push_str(&line);
    }
    let mut index = Index::new(IDENTITIES as usize).expect("memory");
    load_from(text.as_bytes(), "bench", &mut index, Policy::Stop).expect("a population");
    index
}

fn shard(index: Index) -> Shard {
    let identities: Vec<_> = index.keys().collect();
    let config = EngineConfig::default();
    let keys = Keys {
        branch: [1, 2],
        token: [3, 4],
        session: [9, 10],
        owner: [11, 12],
        pending: [5, 6, 7, 8].map(|word: u64| word.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        imei: None,
    };
    let sender = Sender {
        sent_by: "127.0.0.1:5070".to_owned(),
        from: config.from.clone(),
        from_tag: "0f1e2d3c".to_owned(),
        ppg_uri: "sip:ppg@127.0.0.1:5070".to_owned(),
        sir_key: None,
    };
    let mut shard = Shard::new(
        &config,
        index,
        sender,
        &keys,
        SessionConfig::default(),
        (0, 1_700_000_000),
    );
    let load = Load::new(identities.into(), Wanted::All, None, u64::MAX);
    let order = Order::new("bench", Audience::Load(load));
    shard.accept(1, order).expect("room");
    shard
}

/// Which half of the turns is timed.
#[derive(Clone, Copy)]
struct Timed {
    sending: bool,
    answering: bool,
    differs: bool,
}

/// Times turns until `sirs` SIRs have been answered.
fn time_turns(
    shard: &mut Shard,
    echo: &mut Echo,
    now: &mut u64,
    sirs: u64,
    timed: Timed,
) -> Duration {
    let (mut done, mut spent) = (0, Duration::ZERO);
    while done < sirs {
        *now += TURN_NS;
        let begin = Instant::now();
        shard.expire(*now);
        shard.select(*now, &mut ());
        shard.depart(*now, &mut echo.slabs, &mut ());
        if timed.sending {
            spent += begin.elapsed();
        }
        done += echo.write_answers(timed.differs);
        let begin = Instant::now();
        for (train, segment) in &echo.answers {
            shard.answer(*now, EDGE, train, *segment, &mut ());
        }
        if timed.answering {
            spent += begin.elapsed();
        }
        while let Some(left) = echo.slabs.take() {
            shard.sent(*now, left.slab, false);
            echo.slabs.release(left.slab);
        }
    }
    spent.mul_f64(sirs as f64 / done as f64)
}

fn bench(group: &mut BenchmarkGroup<'_, WallTime>, name: &str, shard: &mut Shard, timed: Timed) {
    let (mut echo, mut now) = (Echo::default(), 1);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|sirs| time_turns(shard, &mut echo, &mut now, sirs, timed));
    });
}

fn turns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("turn");
    // One iteration is one SIR.
    group.throughput(Throughput::Elements(1));
    let uuid = |number: u32| format!("urn:uuid:f81d4fae-7dec-11d0-a765-{number:012x}");
    let sending = Timed {
        sending: true,
        answering: false,
        differs: false,
    };
    let known = Timed {
        sending: false,
        answering: true,
        differs: false,
    };
    let parsed = Timed {
        differs: true,
        ..known
    };
    bench(
        &mut group,
        "select and depart",
        &mut shard(population(uuid)),
        sending,
    );
    bench(
        &mut group,
        "answers of a known shape",
        &mut shard(population(uuid)),
        known,
    );
    bench(
        &mut group,
        "answers that are parsed",
        &mut shard(population(uuid)),
        parsed,
    );
    let text = |number: u32| format!("urn:example:device;{number}");
    bench(
        &mut group,
        "select and depart, text identities",
        &mut shard(population(text)),
        sending,
    );
    group.finish();
}

criterion_group!(benches, turns);
criterion_main!(benches);
