//! Records of another scale held against what the plan's coefficients say of them: the test of the model.
//! A record is predicted from its scenario alone, nothing that it measured goes in. Called by `plan`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::coefficients::Coefficients;
use super::cost::{At, Cost, Stretch};
use super::estimate::Estimate;
use super::evidence::{Evidence, EvidenceError, Kept};

/// One figure of one record, predicted and measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// The record.
    pub record: String,
    /// Field of it.
    pub figure: String,
    /// What the coefficients say.
    pub predicted: Estimate,
    /// What the record says.
    pub measured: f64,
    /// Whether that lies in the interval.
    pub inside: bool,
    /// How far the record lies beyond those that the coefficients come from.
    pub extrapolated: Vec<Stretch>,
}

/// Predicts every figure of `paths` that the plan rests on.
///
/// # Errors
/// When they cannot be read, or there is nothing in them to predict.
pub fn predict(paths: &[PathBuf], measured: &Coefficients) -> Result<Vec<Checked>, EvidenceError> {
    let other = Evidence::read(paths)?;
    let mut checked = Vec::new();
    for kept in &other.sirs {
        let cost = kept.1.engine.cpu_ns_per_sir;
        checked.push(of_cost(kept, &measured.sir, "engine.cpu_ns_per_sir", cost));
    }
    for kept in &other.cycles {
        let sessions = kept.1.sessions.as_ref();
        let cost = sessions.map_or(0.0, |sessions| sessions.engine_cpu_ns_per_cycle.median);
        checked.push(of_cost(
            kept,
            &measured.cycle,
            "sessions.engine_cpu_ns_per_cycle.median",
            cost,
        ));
    }
    for (path, record) in other.all().filter(|(_, record)| record.index_bytes > 0) {
        let (identities, devices) = (record.identities as f64, record.devices as f64);
        let predicted = measured.index_bytes(identities, devices);
        let bytes = record.index_bytes as f64;
        checked.push(Checked {
            record: path.display().to_string(),
            figure: "index_bytes".to_owned(),
            predicted,
            measured: bytes,
            inside: predicted.covers(bytes),
            extrapolated: measured.index_stretch(identities).into_iter().collect(),
        });
    }
    match checked.is_empty() {
        true => Err(other.missing(
            "anything that a plan predicts",
            "give closed-loop records of dispatch or sessions",
        )),
        false => Ok(checked),
    }
}

fn of_cost((path, record): &Kept, cost: &Cost, figure: &str, measured: f64) -> Checked {
    let hops = f64::from(record.config.next_hops);
    let at = At {
        train: cost.train(super::cost::setting(record), hops),
        identities: (record.config.population.identities as f64).max(1.0),
        hops,
    };
    let predicted = cost.at(at);
    Checked {
        record: path.display().to_string(),
        figure: figure.to_owned(),
        predicted,
        measured,
        inside: predicted.covers(measured),
        extrapolated: cost.stretches(at),
    }
}
