//! Raw ceilings of this machine on loopback, measured with no Sirocco code: what the kernel alone
//! lets two cores exchange with messages of the same lengths. A wire figure is published beside it
//! and as a share of it. Called by `sirocco ceiling` and, interleaved with its own runs, by
//! `sirocco bench`. It does not judge: the record does.

pub mod cycle;
mod datagrams;
mod endpoint;
mod stream;
mod trains;

use std::io;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::statistics::Spread;
use cycle::{CycleCeiling, CycleGauge};
use endpoint::Stamp;

/// The two cores of a probe: the asking side's and the answering side's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// Core of the side whose CPU time is reported.
    pub near: usize,
    /// Core of the peer.
    pub far: usize,
}

/// Length of one probe run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Time that is run and not counted.
    pub warm_up: Duration,
    /// Time that is counted.
    pub length: Duration,
}

/// What one probe run counted.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Messages delivered (one way) or answered (closed loop) in the counted time.
    pub messages: u64,
    /// Counted wall time.
    pub wall: Duration,
    /// CPU time of the asking thread in the counted time.
    pub cpu: Duration,
    /// Messages that never came back, over the whole run.
    pub lost: u64,
}

/// Cuts the warm-up off and ends a run: one clock read each time round the loop.
struct Measured {
    started: Instant,
    timing: Timing,
    begin: Option<(Stamp, u64)>,
}

impl Measured {
    fn new(timing: Timing) -> Self {
        Self {
            started: Instant::now(),
            timing,
            begin: None,
        }
    }

    /// True when the run is over; `messages` is the count so far.
    fn is_over(&mut self, messages: u64) -> bool {
        let elapsed = self.started.elapsed();
        if self.begin.is_none() && elapsed >= self.timing.warm_up {
            self.begin = Some((Stamp::now(), messages));
        }
        elapsed >= self.timing.warm_up + self.timing.length
    }

    /// The counted part of the run, which ends now.
    fn run(self, messages: u64, lost: u64) -> Run {
        let now = Stamp::now();
        let (begin, before) = self.begin.unwrap_or((now, messages));
        let (wall, cpu) = now.since(&begin);
        Run {
            messages: messages - before,
            wall,
            cpu,
            lost,
        }
    }
}

/// What to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CeilingSpec {
    /// Cores of both sides; never the same one.
    pub cores: Cores,
    /// Length of a request (a SIR) in bytes.
    pub request_bytes: u16,
    /// Length of its response in bytes.
    pub response_bytes: u16,
    /// Requests in one train; bounded by what one send carries.
    pub train: u16,
    /// Next hops: receiving sockets.
    pub next_hops: u16,
    /// Distinct device addresses of the datagram probe.
    pub addresses: u32,
    /// Length of one probe run.
    pub timing: Timing,
    /// Which probes to run.
    pub probes: Probes,
}

/// Which probes a measurement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probes {
    /// Trains, single datagrams and TCP.
    All,
    /// Only the closed loop of trains.
    Trains,
    /// Only the closed loop of single datagrams.
    Datagrams,
}

/// One probe's figures over its repetitions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Probe {
    /// Messages a second of wall time: answered ones in a closed loop, delivered ones one way.
    pub per_second: Spread,
    /// Wall nanoseconds a message: the reciprocal of the median rate.
    pub ns_per_message: f64,
    /// CPU nanoseconds a message of the asking thread (CLOCK_THREAD_CPUTIME_ID).
    pub cpu_ns_per_message: Spread,
    /// Messages lost over all repetitions; anything but 0 voids the probe.
    pub lost: u64,
    /// The variant that calibration kept.
    pub variant: String,
    /// What calibration saw: each variant with its messages a second.
    pub compared: Vec<(String, f64)>,
}

impl Probe {
    fn some(runs: &[Run], kept: &Kept<impl ToString>) -> Option<Self> {
        (!runs.is_empty()).then(|| Self::of(runs, kept))
    }

    fn of(runs: &[Run], kept: &Kept<impl ToString>) -> Self {
        let rates = runs
            .iter()
            .map(|run| run.messages as f64 / run.wall.as_secs_f64());
        let cpu = runs
            .iter()
            .map(|run| run.cpu.as_nanos() as f64 / run.messages.max(1) as f64);
        let per_second = Spread::of(rates.collect());
        let ns_per_message = if per_second.median > 0.0 {
            1e9 / per_second.median
        } else {
            f64::INFINITY
        };
        Self {
            per_second,
            ns_per_message,
            cpu_ns_per_message: Spread::of(cpu.collect()),
            lost: runs.iter().map(|run| run.lost).sum(),
            variant: kept.variant.to_string(),
            compared: kept.compared.clone(),
        }
    }
}

/// The ceilings of one run, in the shape the record holds them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// Length of the requests in bytes.
    pub request_bytes: u16,
    /// Length of the responses in bytes.
    pub response_bytes: u16,
    /// Segments in each train.
    pub train: u16,
    /// Receiving sockets.
    pub next_hops: u16,
    /// Distinct destinations of the datagram probe.
    pub addresses: u32,
    /// Wall nanoseconds an answered message in trains (closed loop, both directions).
    pub gso_gro_ns_per_message: Option<f64>,
    /// Wall nanoseconds an answered message, one datagram each (closed loop).
    pub datagram_ns_per_message: Option<f64>,
    /// Wall nanoseconds an answered message in 64 KiB TCP writes (closed loop).
    pub tcp_ns_per_message: Option<f64>,
    /// Trains, closed loop.
    pub gso_gro: Option<Probe>,
    /// Trains, one way.
    pub gso_gro_one_way: Option<Probe>,
    /// Single datagrams, closed loop.
    pub datagram: Option<Probe>,
    /// TCP, closed loop.
    pub tcp: Option<Probe>,
    /// Whole session cycles, where sessions are built.
    #[serde(default)]
    pub cycle: Option<CycleCeiling>,
}

impl Ceiling {
    /// Messages lost over all probes; anything but 0 voids the ceiling.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let probes = [
            &self.gso_gro,
            &self.gso_gro_one_way,
            &self.datagram,
            &self.tcp,
        ];
        let cycles = self.cycle.as_ref().map_or(0, CycleCeiling::lost);
        cycles
            + probes
                .into_iter()
                .flatten()
                .map(|probe| probe.lost)
                .sum::<u64>()
    }
}

/// Length of one calibration run: long enough to tell variants apart by more than their noise.
const CALIBRATION: Timing = Timing {
    warm_up: Duration::from_millis(30),
    length: Duration::from_millis(90),
};

/// The fastest variants on this machine for one shape, found once and reused by every repetition.
#[derive(Clone, Debug)]
struct Calibration {
    trains: Kept<trains::Variant>,
    one_way: Kept<trains::Variant>,
    datagrams: Kept<datagrams::Variant>,
}

/// The variant kept and what it was compared with.
#[derive(Clone, Debug)]
struct Kept<V> {
    variant: V,
    compared: Vec<(String, f64)>,
}

impl<V> Kept<V> {
    fn untried(variant: V) -> Self {
        Self {
            variant,
            compared: Vec::new(),
        }
    }
}

/// Runs of every probe, gathered repetition by repetition between the runs of the engine.
#[derive(Debug)]
pub struct Gauge {
    spec: CeilingSpec,
    calibration: Calibration,
    trains: Vec<Run>,
    one_way: Vec<Run>,
    datagrams: Vec<Run>,
    stream: Vec<Run>,
}

impl Gauge {
    /// Compares the variants of each wanted probe and keeps the fastest of each.
    ///
    /// # Errors
    /// The kernel's, when a probe cannot run (a core outside the allowed set, no sockets left).
    pub fn calibrate(spec: CeilingSpec) -> io::Result<Self> {
        let shape = spec.trains();
        let mut calibration = Calibration {
            trains: Kept::untried(trains::Variant::ALL[0]),
            one_way: Kept::untried(trains::Variant::ALL[0]),
            datagrams: Kept::untried(datagrams::Variant::ALL[0]),
        };
        if spec.probes != Probes::Datagrams {
            calibration.trains = fastest(&trains::Variant::ALL, |variant| {
                trains::closed_loop(shape, variant, spec.cores, CALIBRATION)
            })?;
        }
        if spec.probes == Probes::All {
            calibration.one_way = fastest(&trains::Variant::ALL, |variant| {
                trains::one_way(shape, variant, spec.cores, CALIBRATION)
            })?;
        }
        if spec.probes != Probes::Trains {
            calibration.datagrams = fastest(&datagrams::Variant::ALL, |variant| {
                datagrams::closed_loop(spec.datagrams(), variant, spec.cores, CALIBRATION)
            })?;
        }
        Ok(Self {
            spec,
            calibration,
            trains: Vec::new(),
            one_way: Vec::new(),
            datagrams: Vec::new(),
            stream: Vec::new(),
        })
    }

    /// Runs each wanted probe once more.
    ///
    /// # Errors
    /// The kernel's, when a probe breaks off.
    pub fn repeat(&mut self) -> io::Result<()> {
        let CeilingSpec {
            cores,
            timing,
            probes,
            ..
        } = self.spec;
        let (variant, one_way) = (
            self.calibration.trains.variant,
            self.calibration.one_way.variant,
        );
        let datagrams = self.calibration.datagrams.variant;
        if probes != Probes::Datagrams {
            self.trains.push(trains::closed_loop(
                self.spec.trains(),
                variant,
                cores,
                timing,
            )?);
        }
        if probes != Probes::Trains {
            let shape = self.spec.datagrams();
            self.datagrams
                .push(datagrams::closed_loop(shape, datagrams, cores, timing)?);
        }
        if probes == Probes::All {
            self.one_way
                .push(trains::one_way(self.spec.trains(), one_way, cores, timing)?);
            let (request, response) = (self.spec.request_bytes, self.spec.response_bytes);
            self.stream
                .push(stream::closed_loop(request, response, cores, timing)?);
        }
        Ok(())
    }

    /// Medians over the repetitions so far.
    #[must_use]
    pub fn ceiling(&self) -> Ceiling {
        let gso_gro = Probe::some(&self.trains, &self.calibration.trains);
        let gso_gro_one_way = Probe::some(&self.one_way, &self.calibration.one_way);
        let datagram = Probe::some(&self.datagrams, &self.calibration.datagrams);
        let tcp = Probe::some(
            &self.stream,
            &Kept::untried("one connection, 64 KiB writes"),
        );
        let ns = |probe: &Option<Probe>| probe.as_ref().map(|probe| probe.ns_per_message);
        Ceiling {
            request_bytes: self.spec.request_bytes,
            response_bytes: self.spec.response_bytes,
            train: self.spec.trains().train,
            next_hops: self.spec.next_hops,
            addresses: self.spec.addresses,
            gso_gro_ns_per_message: ns(&gso_gro),
            datagram_ns_per_message: ns(&datagram),
            tcp_ns_per_message: ns(&tcp),
            gso_gro,
            gso_gro_one_way,
            datagram,
            tcp,
            cycle: None,
        }
    }
}

impl CeilingSpec {
    /// A gauge of whole session cycles with these messages, on the same cores and next hops.
    ///
    /// # Errors
    /// The kernel's, when a probe cannot run.
    pub fn cycles(&self, message_bytes: [u16; cycle::MESSAGES]) -> io::Result<CycleGauge> {
        let shape = cycle::Shape {
            message_bytes,
            train: self.train,
            next_hops: self.next_hops,
            addresses: self.addresses,
        };
        let carriers = match self.probes {
            Probes::Datagrams => cycle::Carriers::Datagrams,
            Probes::All | Probes::Trains => cycle::Carriers::Both,
        };
        CycleGauge::calibrate(shape, carriers, self.cores, self.timing)
    }

    fn trains(&self) -> trains::Shape {
        let Self {
            request_bytes,
            response_bytes,
            train,
            next_hops,
            ..
        } = *self;
        trains::Shape {
            request_bytes,
            response_bytes,
            train,
            next_hops,
        }
        .bounded()
    }

    fn datagrams(&self) -> datagrams::Shape {
        let Self {
            request_bytes,
            response_bytes,
            addresses,
            ..
        } = *self;
        datagrams::Shape {
            request_bytes,
            response_bytes,
            addresses,
        }
    }
}

/// The variant with the highest rate and no loss; the first one when all lose.
fn fastest<V: Copy + ToString>(
    variants: &[V],
    mut run: impl FnMut(V) -> io::Result<Run>,
) -> io::Result<Kept<V>> {
    let mut kept = Kept::untried(variants[0]);
    let mut best = 0.0;
    for &variant in variants {
        let result = run(variant)?;
        let rate = result.messages as f64 / result.wall.as_secs_f64().max(1e-9);
        kept.compared.push((variant.to_string(), rate));
        if result.lost == 0 && rate > best {
            (kept.variant, best) = (variant, rate);
        }
    }
    Ok(kept)
}

/// Measures the ceilings of `spec` with `repetitions` of each probe, interleaved; those of a session
/// cycle as well where the lengths of its messages are given.
///
/// # Errors
/// The kernel's, when a probe cannot run.
pub fn measure(
    spec: CeilingSpec,
    cycle_bytes: Option<[u16; cycle::MESSAGES]>,
    repetitions: u32,
) -> io::Result<Ceiling> {
    let mut gauge = Gauge::calibrate(spec)?;
    let mut cycles = match cycle_bytes {
        Some(message_bytes) => Some(spec.cycles(message_bytes)?),
        None => None,
    };
    for _ in 0..repetitions.max(1) {
        gauge.repeat()?;
        if let Some(cycles) = &mut cycles {
            cycles.repeat()?;
        }
    }
    Ok(Ceiling {
        cycle: cycles.map(|cycles| cycles.ceiling()),
        ..gauge.ceiling()
    })
}
