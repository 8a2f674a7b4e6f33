//! The coefficients as the plan shows them: figure, unit, method, field and records of each. Words only;
//! nothing is computed here. Called by `coefficients`.

use super::coefficients::{Coefficient, Coefficients};
use super::cost::Cost;
use super::estimate::Estimate;
use super::evidence::{Evidence, Kept};
use super::scaling::Basis;

/// All of them, in the order in which a plan needs them.
#[must_use]
pub fn all(of: &Coefficients, evidence: &Evidence) -> Vec<Coefficient> {
    let of_sirs = files(&evidence.sirs);
    let octets = |name: &str, field: &str, octets: f64| Coefficient {
        name: name.to_owned(),
        estimate: Some(Estimate::exact(octets)),
        unit: "octets".to_owned(),
        method: "median of the records; one length for all devices of the bench".to_owned(),
        field: field.to_owned(),
        records: of_sirs.clone(),
    };
    let mut published = vec![
        cost("CPU time of a SIR", &of.sir, "engine.cpu_ns_per_sir"),
        cost(
            "CPU time of a SIR with its session",
            &of.cycle,
            "sessions.engine_cpu_ns_per_cycle.median",
        ),
        octets("length of a SIR", "engine.request_bytes", of.request_octets),
        octets(
            "length of a response",
            "engine.response_bytes",
            of.response_octets,
        ),
        Coefficient {
            name: "retransmissions of a SIR that is never answered".to_owned(),
            estimate: Some(of.retransmissions),
            unit: String::new(),
            method: format!(
                "over the engine's life; their trains are {:.1} long",
                of.silent_train
            ),
            field: "reports.engine.total.retransmissions / ledger.failed".to_owned(),
            records: files(&evidence.silent),
        },
        Coefficient {
            name: "memory of the index".to_owned(),
            estimate: None,
            unit: "B".to_owned(),
            method: of.index_formula(),
            field: "index_bytes over identities, devices".to_owned(),
            records: evidence
                .all()
                .map(|(path, _)| path.display().to_string())
                .collect(),
        },
        Coefficient {
            name: "memory of a session held".to_owned(),
            estimate: Some(of.session_bytes),
            unit: "B".to_owned(),
            method: "resident growth; from the tables' own count to the most that a record has"
                .to_owned(),
            field: "hold.resident_bytes_per_session, hold.table_bytes_per_session".to_owned(),
            records: files(&evidence.held),
        },
        scaling(of, evidence),
    ];
    published.extend(modes(of, evidence));
    published
}

fn modes(of: &Coefficients, evidence: &Evidence) -> Vec<Coefficient> {
    let ratio = |(_, record): &Kept| record.devices as f64 / record.identities as f64;
    let devices = evidence.modes.first().map_or(1.0, ratio);
    let modes = of.measured_modes().into_iter();
    let told = modes.filter_map(|mode| Some((mode, of.mode(mode, devices)?)));
    told.map(|(mode, cost)| Coefficient {
        name: format!("{mode} over targeted, CPU time of an order"),
        estimate: Some(cost.cpu),
        unit: String::new(),
        method: format!(
            "median at {devices:.1} devices; {:.1} copies, {:.1} sessions, {:.1} messages; linear in devices",
            cost.copies, cost.sessions, cost.messages
        ),
        field: "addressing[].engine_cpu_us".to_owned(),
        records: files(&evidence.modes),
    })
    .collect()
}

fn cost(name: &str, cost: &Cost, field: &str) -> Coefficient {
    let range = |of: fn(&super::cost::At) -> f64| {
        let values = cost.points.iter().map(of);
        let (low, high) = values.fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        format!("{low:.0} to {high:.0}")
    };
    Coefficient {
        name: name.to_owned(),
        estimate: None,
        unit: "ns".to_owned(),
        method: format!(
            "{}; {} records, scatter {:.1} %, 95 % interval widened {:.2} times to hold what was left out; trains {}, identities {}, next hops {}",
            cost.formula(),
            cost.points.len(),
            cost.scatter() * 100.0,
            cost.widened,
            range(|at| at.train),
            range(|at| at.identities),
            range(|at| at.hops),
        ),
        field: field.to_owned(),
        records: cost.records.clone(),
    }
}

fn scaling(of: &Coefficients, evidence: &Evidence) -> Coefficient {
    let scaling = &of.scaling;
    let method = match scaling.basis {
        Basis::Fitted => format!(
            "universal scalability law fitted on 1 to {} engines beside each other, coherence {:.2e}",
            scaling.measured, scaling.coherence
        ),
        Basis::Bounded => format!(
            "bounded, not fitted: 1 and {} engines beside each other; coherence unknown, taken as 0",
            scaling.measured
        ),
        Basis::Assumed => {
            "assumed, not measured: contention-low to contention-high of the plan".to_owned()
        }
    };
    let beside: Vec<Kept> = evidence
        .beside
        .iter()
        .map(|(_, kept)| kept.clone())
        .collect();
    Coefficient {
        name: "contention of workers on one machine".to_owned(),
        estimate: Some(scaling.contention),
        unit: String::new(),
        method,
        field: "sirs_per_s".to_owned(),
        records: files(&beside),
    }
}

fn files(kept: &[Kept]) -> Vec<String> {
    kept.iter()
        .map(|(path, _)| path.display().to_string())
        .collect()
}
