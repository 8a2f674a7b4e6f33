//! What a plan takes from its records: each coefficient with its interval, the records and the field it
//! comes from, and how it was made. No figure of the model is written in code: what no record tells is an
//! error that names the bench to run. Called by `plan`.

use serde::{Deserialize, Serialize};

use super::assumptions::Assumptions;
use super::cost::{At, CONFIDENCE, Cost, Stretch, stretch};
use super::estimate::Estimate;
use super::evidence::{Evidence, EvidenceError, Kept};
use super::regression::{Fit, fit};
use super::scaling::Scaling;
use crate::record::{ModeFigures, Record};
use crate::scenario::Mode;
use crate::statistics::{median, student};

/// Fewest records of modes that make an interval of their own.
const OWN_SCATTER_MIN: usize = 3;

/// A coefficient as it is published.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Coefficient {
    /// What it is.
    pub name: String,
    /// Its figure, where it is one number.
    pub estimate: Option<Estimate>,
    /// Its unit.
    pub unit: String,
    /// How it was made: formula, scatter, what it covers.
    pub method: String,
    /// Field of the records.
    pub field: String,
    /// The records.
    pub records: Vec<String>,
}

/// An addressing mode as measured, for each order.
#[derive(Clone, Debug)]
struct Measured {
    mode: Mode,
    /// Devices of an identity.
    devices: f64,
    figures: ModeFigures,
}

/// One mode at the plan's devices a subscriber.
#[derive(Clone, Debug)]
pub struct ModeCost {
    /// CPU time over that of targeted.
    pub cpu: Estimate,
    /// SIRs an order.
    pub sirs: f64,
    /// Devices that a SIR reaches.
    pub copies: f64,
    /// Sessions of an order in which every device follows that may.
    pub sessions: f64,
    /// Messages between engine and edges of a whole cycle.
    pub messages: f64,
    /// Their octets.
    pub octets: f64,
    /// How far it is beyond the records.
    pub stretch: Option<Stretch>,
}

/// Everything that a plan takes from records.
#[derive(Clone, Debug)]
pub struct Coefficients {
    /// CPU nanoseconds of a SIR without a session.
    pub sir: Cost,
    /// CPU nanoseconds of a SIR with its whole session.
    pub cycle: Cost,
    /// Octets of a SIR and of a response.
    pub request_octets: f64,
    /// Octets of a response.
    pub response_octets: f64,
    /// Retransmissions of a SIR that is never answered.
    pub retransmissions: Estimate,
    /// Mean train in that run: retransmissions find fewer others to travel with.
    pub silent_train: f64,
    /// Bytes of an open session.
    pub session_bytes: Estimate,
    /// Most sessions that were held open.
    pub held_most: f64,
    /// What several workers bring.
    pub scaling: Scaling,
    index: Fit,
    indexed: Vec<(f64, f64)>,
    modes: Vec<Measured>,
    /// Each of them for people.
    pub published: Vec<Coefficient>,
}

impl Coefficients {
    /// Makes them; `plan` gives the bounds of contention where it is not measured.
    ///
    /// # Errors
    /// [`EvidenceError::Missing`] names what no record tells, and the command that measures it.
    pub fn of(evidence: &Evidence, plan: &Assumptions) -> Result<Self, EvidenceError> {
        let needed = |what: &'static str| {
            let remedy = "run `sirocco plan --measure`, which measures all that a plan needs";
            evidence.missing(what, remedy)
        };
        let sir = Cost::of(&evidence.sirs, |record| {
            positive(record.engine.cpu_ns_per_sir)
        });
        let sir = sir.ok_or_else(|| needed("the cost of a SIR by train length and population"))?;
        let cycle = Cost::of(&evidence.cycles, |record| {
            positive(record.sessions.as_ref()?.engine_cpu_ns_per_cycle.median)
        });
        let cycle = cycle.ok_or_else(|| needed("the cost of a session by train length"))?;
        let (index, indexed) =
            index(evidence).ok_or_else(|| needed("the index by identities and devices"))?;
        let modes = modes(&evidence.modes);
        if modes.is_empty() {
            return Err(needed("the addressing modes"));
        }
        let (retransmissions, silent_train) =
            silent(&evidence.silent).ok_or_else(|| needed("what silent devices cost"))?;
        let session_bytes =
            held(&evidence.held).ok_or_else(|| needed("the memory of a session"))?;
        let held_most = evidence
            .held
            .iter()
            .filter_map(|(_, record)| Some(record.hold.as_ref()?.open as f64));
        let beside: Vec<(u32, f64)> = together(evidence);
        let of_sirs = |figure: fn(&Record) -> f64| {
            let figures: Vec<f64> = evidence
                .sirs
                .iter()
                .map(|(_, record)| figure(record))
                .collect();
            median(&figures).unwrap_or_default()
        };
        let mut own = Self {
            request_octets: of_sirs(|record| record.engine.request_bytes),
            response_octets: of_sirs(|record| record.engine.response_bytes),
            retransmissions,
            silent_train,
            session_bytes,
            held_most: held_most.fold(0.0, f64::max),
            scaling: Scaling::of(&beside, (plan.contention_low, plan.contention_high)),
            sir,
            cycle,
            index,
            indexed,
            modes,
            published: Vec::new(),
        };
        own.published = super::published::all(&own, evidence);
        Ok(own)
    }

    /// Bytes of the index of so many identities and devices.
    #[must_use]
    pub fn index_bytes(&self, identities: f64, devices: f64) -> Estimate {
        self.index
            .predict(&index_terms(identities, devices), CONFIDENCE, 1.0)
    }

    /// How far so many identities lie beyond the largest index measured.
    #[must_use]
    pub fn index_stretch(&self, identities: f64) -> Option<Stretch> {
        stretch(
            "identities in an index",
            identities,
            self.indexed.iter().map(|(measured, _)| *measured),
        )
    }

    /// What the index takes, in words.
    #[must_use]
    pub fn index_formula(&self) -> String {
        let [fixed, identity, device] = self.index.coefficients[..] else {
            return String::new();
        };
        format!(
            "{fixed:.0} + {identity:.1} an identity + {device:.1} a device, scatter {:.1} %",
            self.index.scatter * 100.0
        )
    }

    /// A mode at so many devices a subscriber: linear in them between targeted, which reaches one, and what
    /// was measured. `None` where no record has the mode.
    #[must_use]
    pub fn mode(&self, mode: Mode, devices: f64) -> Option<ModeCost> {
        let of = |wanted: Mode| {
            self.modes
                .iter()
                .filter(move |measured| measured.mode == wanted)
        };
        let figure = |wanted: Mode, figure: &dyn Fn(&ModeFigures) -> f64| {
            median(
                &of(wanted)
                    .map(|measured| figure(&measured.figures))
                    .collect::<Vec<f64>>(),
            )
        };
        let measured = of(mode).next()?.devices;
        let reach = match measured > 1.0 {
            true => (devices - 1.0) / (measured - 1.0),
            false => 0.0,
        };
        let linear = |wanted: &dyn Fn(&ModeFigures) -> f64| {
            let alone = figure(Mode::Targeted, wanted)?;
            Some(alone + (figure(mode, wanted)? - alone) * reach)
        };
        let ratios = self.ratios(mode);
        let ratio = match mode {
            Mode::Targeted => Estimate::exact(1.0),
            _ => spread(&ratios, self.cycle.scatter())?,
        };
        Some(ModeCost {
            cpu: ratio.mapped(|ratio| (1.0 + (ratio - 1.0) * reach).max(0.0)),
            sirs: figure(mode, &|figures| figures.sirs)?,
            copies: linear(&|figures| figures.copies)?,
            sessions: linear(&|figures| figures.sessions)?,
            messages: linear(&|figures| figures.messages)?,
            octets: linear(&|figures| figures.octets)?,
            stretch: (mode != Mode::Targeted)
                .then(|| stretch("devices a subscriber", devices, [1.0, measured].into_iter()))
                .flatten(),
        })
    }

    /// The modes that were measured.
    #[must_use]
    pub fn measured_modes(&self) -> Vec<Mode> {
        let mut modes: Vec<Mode> = self.modes.iter().map(|measured| measured.mode).collect();
        modes.sort_unstable();
        modes.dedup();
        modes
    }

    /// CPU time of a mode over that of targeted in the same record.
    fn ratios(&self, mode: Mode) -> Vec<f64> {
        let of = |wanted: Mode| {
            self.modes
                .iter()
                .filter(move |measured| measured.mode == wanted)
        };
        of(mode)
            .zip(of(Mode::Targeted))
            .map(|(one, targeted)| one.figures.engine_cpu_us / targeted.figures.engine_cpu_us)
            .filter(|ratio| ratio.is_finite())
            .collect()
    }

    /// The cost of a SIR that is sent again: between that of one in the plan's train and that of one alone;
    /// at best as in the run with silent devices.
    #[must_use]
    pub fn retransmission(&self, at: At) -> Estimate {
        let train = |train: f64| self.sir.at(At { train, ..at });
        let likely = train(self.silent_train.min(at.train));
        likely.holding(train(at.train)).holding(train(1.0))
    }
}

/// The median of `samples` with an interval for one more of them: by their own scatter, or by `scatter`
/// where they are too few to have one. None without samples.
fn spread(samples: &[f64], scatter: f64) -> Option<Estimate> {
    let value = median(samples)?;
    let own = (samples.len() >= OWN_SCATTER_MIN).then(|| {
        let freedom = samples.len() as f64 - 1.0;
        let mean = samples.iter().sum::<f64>() / samples.len() as f64;
        let squares: f64 = samples
            .iter()
            .map(|sample| (sample / mean - 1.0).powi(2))
            .sum();
        student::quantile(CONFIDENCE, freedom)
            * (squares / freedom * (1.0 + 1.0 / samples.len() as f64)).sqrt()
    });
    // A ratio of two records scatters as both do; 2 is the normal quantile of 95 %.
    let half = value * own.unwrap_or(2.0 * std::f64::consts::SQRT_2 * scatter);
    Some(Estimate::between(value, value - half, value + half))
}

fn positive(figure: f64) -> Option<f64> {
    (figure.is_finite() && figure > 0.0).then_some(figure)
}

fn index_terms(identities: f64, devices: f64) -> Vec<f64> {
    vec![1.0, identities, devices]
}

/// The memory of the index over identities and devices, and where it was measured.
fn index(evidence: &Evidence) -> Option<(Fit, Vec<(f64, f64)>)> {
    let measured: Vec<&Record> = evidence
        .all()
        .map(|(_, record)| record)
        .filter(|record| record.index_bytes > 0)
        .collect();
    let points: Vec<_> = measured
        .iter()
        .map(|record| {
            (
                index_terms(record.identities as f64, record.devices as f64),
                record.index_bytes as f64,
            )
        })
        .collect();
    let at = measured
        .iter()
        .map(|record| (record.identities as f64, record.devices as f64));
    Some((fit(&points)?, at.collect()))
}

fn modes(kept: &[Kept]) -> Vec<Measured> {
    let of = |record: &Record| {
        let devices = record.devices as f64 / (record.identities as f64).max(1.0);
        let modes = record.addressing.iter().cloned();
        modes
            .map(|figures| Measured {
                mode: figures.mode,
                devices,
                figures,
            })
            .collect::<Vec<_>>()
    };
    // Without targeted there is nothing to hold a mode against.
    let whole = kept.iter().filter(|(_, record)| {
        record
            .addressing
            .iter()
            .any(|figures| figures.mode == Mode::Targeted)
    });
    whole.flat_map(|(_, record)| of(record)).collect()
}

/// Retransmissions of each SIR that was never answered, over the engine's life, and the mean train.
fn silent(kept: &[Kept]) -> Option<(Estimate, f64)> {
    let of = |record: &Record| {
        let again = record
            .reports
            .get("engine")?
            .pointer("/total/retransmissions")?
            .as_f64()?;
        positive(again / record.ledger.failed as f64)
    };
    let samples: Vec<f64> = kept.iter().filter_map(|(_, record)| of(record)).collect();
    let trains: Vec<f64> = kept
        .iter()
        .map(|(_, record)| record.engine.segments_per_train)
        .collect();
    let (low, high) = ends(&samples);
    Some((
        Estimate::between(median(&samples)?, low, high),
        median(&trains)?.max(1.0),
    ))
}

/// Bytes of a session: between what the engine counts in its tables and what the kernel sees grow.
fn held(kept: &[Kept]) -> Option<Estimate> {
    let figures = kept.iter().filter_map(|(_, record)| record.hold.as_ref());
    let (tables, resident): (Vec<f64>, Vec<f64>) = figures
        .map(|held| {
            (
                held.table_bytes_per_session,
                held.resident_bytes_per_session,
            )
        })
        .unzip();
    let (low, high) = ends(&[tables, resident.clone()].concat());
    Some(Estimate::between(median(&resident)?, low, high))
}

fn ends(samples: &[f64]) -> (f64, f64) {
    samples
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(low, high), &sample| {
            (low.min(sample), high.max(sample))
        })
}

/// Engines beside each other: their number, and all their SIRs a second if each does what this one did.
fn together(evidence: &Evidence) -> Vec<(u32, f64)> {
    let rate = |(count, (_, record)): &(u32, Kept)| (*count, f64::from(*count) * record.sirs_per_s);
    evidence
        .beside
        .iter()
        .map(rate)
        .filter(|(_, rate)| *rate > 0.0)
        .collect()
}
