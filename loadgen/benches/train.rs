//! The cost of one answered train: 64 SIRs in, 64 answers out, no sockets.
//!
//! `first` gives new branches each time, as an engine does: each round enters the table of seen requests.
//! `repeated` gives the same train again, so that all of it is retransmissions. `parsed` hides the
//! shape, so that each datagram goes through the parser: what a stranger's traffic costs.
//! The time is CPU time of the thread, which a busy machine disturbs less than wall time.
//! Run with `cargo bench -p sirocco-loadgen`; figures per train, divide by 64 for one SIR.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sirocco_loadgen::{Arrival, Origin, Population, PopulationConfig, SEGMENTS_MAX};
use sirocco_ring::clock::ThreadCpu;
use sirocco_wire::sip::{DevicePosition, LengthClass, SirSpec, Slots, Template};

const SPEC: SirSpec<'static> = SirSpec {
    sent_by: "127.0.0.1:5070",
    from: "sip:ppg@ims.example",
    from_tag: "ppg1",
    ppg_uri: "sip:ppg@127.0.0.1:5070",
    application: "push.sia",
    device_position: DevicePosition::None,
    routed: true,
    expires_s: None,
    ask: "",
    activate: None,
    sealed: None,
};
const SIRS: u64 = 64;
/// Trains made before each measurement: making them costs more than answering them.
const TRAINS: usize = 64;
const DEVICE: &str = "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";

/// A train whose SIRs can be patched in place.
struct Train {
    template: Template,
    bytes: Vec<u8>,
    next: u64,
}

impl Train {
    fn new(first: u64) -> Train {
        let aor_len = "sip:+8613800000000@ims.example".len();
        let class = LengthClass::of(aor_len, DEVICE.len(), &SPEC).expect("fits a class");
        let template = Template::compile(&SPEC, class).expect("a valid specification");
        let mut bytes = vec![0; template.len() * SIRS as usize];
        bytes
            .chunks_mut(template.len())
            .for_each(|segment| template.fill(segment));
        let mut train = Train {
            template,
            bytes,
            next: first,
        };
        train.renew();
        train
    }

    /// Gives each SIR another identity and branch than any SIR of any train had before.
    fn renew(&mut self) {
        self.next += SIRS * (TRAINS as u64 - 1);
        for segment in self.bytes.chunks_mut(self.template.len()) {
            self.next += 1;
            let user = format!("86138{:08}", self.next % 100_000_000);
            let branch = format!(
                "{:032x}",
                u128::from(self.next) * 0x9e37_79b9_7f4a_7c15_f39c
            );
            let branch: [u8; 32] = branch.into_bytes().try_into().expect("32 digits");
            let slots = Slots {
                aor_prefix: b"sip:+",
                aor_user: user.as_bytes(),
                aor_suffix: b"@ims.example",
                device: DEVICE.as_bytes(),
                branch,
                token: branch,
            };
            self.template.patch(segment, &slots);
        }
    }

    /// Gives every datagram a shape that is not learned, without changing its length or meaning.
    fn disguise(&mut self) {
        for segment in self.bytes.chunks_mut(self.template.len()) {
            let via = segment
                .windows(5)
                .position(|five| five == b"Via: ")
                .expect("has a Via");
            segment[via..via + 3].copy_from_slice(b"VIA");
        }
    }
}

fn population(mix: &str) -> Population {
    let config = PopulationConfig {
        generator: 0,
        mix: mix.parse().expect("a valid mix"),
        seed: 1,
        seen_entries: 1 << 24,
        late_slots: 1 << 10,
        segments_max: SEGMENTS_MAX,
        huge_pages: true,
        sessions: None,
    };
    Population::new(config, None).expect("memory for the table")
}

fn answer(population: &mut Population, now_ns: u64, train: &Train, out: &mut [u8]) {
    let peer = SocketAddr::from(([127, 0, 0, 1], 5070));
    let origin = Origin {
        socket: 0,
        stream: 0,
        peer,
        local: None,
    };
    let arrival = Arrival {
        origin,
        segment: train.template.len(),
        bytes: &train.bytes,
    };
    let answered = population.answer(now_ns, black_box(&arrival), out);
    assert_eq!(answered.consumed, train.bytes.len());
}

fn answered_train(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("answered_train_of_64");
    group.throughput(Throughput::Elements(SIRS));
    let mut bench = |name: &str, mix: &str, prepare: fn(&mut Train)| {
        let mut population = population(mix);
        let mut trains: Vec<Train> = (0..TRAINS as u64).map(|n| Train::new(n * SIRS)).collect();
        let mut out = vec![0; 65_507];
        let mut round = 0;
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                let mut spent_ns = 0;
                for start in (0..iterations).step_by(TRAINS) {
                    let count = (iterations - start).min(TRAINS as u64) as usize;
                    trains[..count].iter_mut().for_each(prepare);
                    let cpu = ThreadCpu::start();
                    for train in &trains[..count] {
                        round += 1;
                        answer(&mut population, round * 50_000, train, &mut out);
                    }
                    spent_ns += cpu.elapsed_ns();
                }
                Duration::from_nanos(spent_ns)
            });
        });
    };
    let mix = "200:80,486:10,503(retry-after=2):5,silent:5";
    bench("first/200", "200:1", Train::renew);
    bench("first/mix", mix, Train::renew);
    bench("repeated", "200:1", |_| {});
    bench("parsed", "200:1", |train| {
        train.renew();
        train.disguise();
    });
    group.finish();
}

criterion_group!(benches, answered_train);
criterion_main!(benches);
