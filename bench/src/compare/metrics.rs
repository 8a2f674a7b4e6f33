//! The figures of a record that two records are compared by: each with its unit, its direction, and
//! whether it is a time, which is compared by intervals over repetitions, or a counter, which is compared
//! by its value. One list, so that every comparison means the same by a name.

use crate::record::{Record, RunFigures, SessionRun};

/// Which way a figure gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// How a figure is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// It depends on the machine and its moment: a difference has to stand out of the repetitions.
    Time,
    /// It counts work: a greater relative change than `tolerance` is one. Trains depend on timing a little,
    /// and what is counted a train varies with them.
    Counter {
        /// Relative change that a run of the same program shows.
        tolerance: f64,
        /// Change that is none whatever its share: how counts near 0 are compared.
        absolute: f64,
    },
}

/// One figure of a record.
#[derive(Clone, Copy)]
pub struct Metric {
    /// Its name, with the unit.
    pub name: &'static str,
    /// Its direction.
    pub better: Better,
    /// How it is compared.
    pub kind: Kind,
    /// Its samples in a record: one a repetition; empty where the record does not have it.
    pub read: fn(&Record) -> Vec<f64>,
}

const fn time(name: &'static str, better: Better, read: fn(&Record) -> Vec<f64>) -> Metric {
    Metric {
        name,
        better,
        kind: Kind::Time,
        read,
    }
}

const fn counter(
    name: &'static str,
    better: Better,
    (tolerance, absolute): (f64, f64),
    read: fn(&Record) -> Vec<f64>,
) -> Metric {
    Metric {
        name,
        better,
        kind: Kind::Counter {
            tolerance,
            absolute,
        },
        read,
    }
}

/// Every figure that records are compared by, the headline first.
pub const METRICS: &[Metric] = &[
    time("sirs_per_s", Better::Higher, |record| {
        at_rate(record, |run| Some(run.sirs_per_s))
    }),
    time("engine_cpu_ns_per_sir", Better::Lower, |record| {
        at_rate(record, |run| Some(run.engine.cpu_ns_per_sir))
    }),
    time("latency_p50_us", Better::Lower, |record| {
        latency(record, |run| run.latency_us.p50)
    }),
    time("latency_p99_us", Better::Lower, |record| {
        latency(record, |run| run.latency_us.p99)
    }),
    time("cycles_per_s", Better::Higher, |record| {
        cycle(record, |run| run.cycles_per_s)
    }),
    time("engine_cpu_ns_per_cycle", Better::Lower, |record| {
        cycle(record, |run| run.engine_cpu_ns_per_cycle)
    }),
    time("loadgen_cpu_ns_per_cycle", Better::Lower, |record| {
        cycle(record, |run| run.loadgen_cpu_ns_per_cycle)
    }),
    counter(
        "allocations_per_sir",
        Better::Lower,
        (0.05, 0.001),
        |record| at_rate(record, |run| Some(run.engine.allocations_per_sir)),
    ),
    counter(
        "bytes_written_per_sir",
        Better::Lower,
        (0.005, 0.0),
        |record| at_rate(record, |run| Some(run.engine.bytes_written_per_sir)),
    ),
    counter("syscalls_per_sir", Better::Lower, (0.1, 0.0), |record| {
        at_rate(record, |run| Some(run.engine.syscalls_per_sir))
    }),
    counter(
        "segments_per_train",
        Better::Higher,
        (0.05, 0.0),
        |record| at_rate(record, |run| Some(run.engine.segments_per_train)),
    ),
    counter("octets_per_cycle", Better::Lower, (0.005, 0.0), |record| {
        cycle(record, |run| run.octets_per_cycle)
    }),
    counter(
        "messages_per_cycle",
        Better::Lower,
        (0.005, 0.0),
        |record| cycle(record, |run| run.messages_per_cycle),
    ),
    counter(
        "index_bytes_per_device",
        Better::Lower,
        (0.005, 0.0),
        |record| match record.devices {
            0 => Vec::new(),
            devices => vec![record.index_bytes as f64 / devices as f64],
        },
    ),
    counter(
        "table_bytes_per_session",
        Better::Lower,
        (0.01, 0.0),
        |record| {
            let held = record.hold.iter();
            held.map(|hold| hold.table_bytes_per_session).collect()
        },
    ),
    counter("flood_kept_share", Better::Higher, (0.05, 0.0), |record| {
        record.flood.iter().map(|flood| flood.kept_share).collect()
    }),
    counter(
        "inadequately_handled_share",
        Better::Lower,
        (0.0, 0.0005),
        |record| record.outcome.iter().map(|outcome| outcome.ihs).collect(),
    ),
    counter("ledger_residue", Better::Lower, (0.0, 0.0), |record| {
        vec![record.ledger.residue.unsigned_abs() as f64]
    }),
];

/// A figure of each run at the scenario's own rate.
fn at_rate(record: &Record, read: fn(&RunFigures) -> Option<f64>) -> Vec<f64> {
    let runs = record.runs.iter();
    let runs = runs.filter(|run| matches!(run.purpose.as_str(), "rate" | "counted"));
    runs.filter_map(read).collect()
}

/// A latency: of the open-loop run at half speed where there is one, else of every run at an offered rate.
fn latency(record: &Record, read: fn(&RunFigures) -> f64) -> Vec<f64> {
    let of = |purpose: &str| -> Vec<f64> {
        let runs = record.runs.iter();
        let runs = runs.filter(|run| run.purpose == purpose && run.rate != "max");
        runs.filter(|run| run.latency_us.count > 0)
            .map(read)
            .collect()
    };
    match of("latency") {
        none if none.is_empty() => of("rate"),
        some => some,
    }
}

/// A figure of the sessions of each run at the scenario's own rate.
fn cycle(record: &Record, read: fn(&SessionRun) -> f64) -> Vec<f64> {
    let runs = record.runs.iter().filter(|run| run.purpose == "rate");
    let sessions = runs.filter_map(|run| run.sessions.as_ref());
    sessions.filter(|run| run.cycles > 0).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::sound;

    #[test]
    fn every_metric_has_its_own_name_and_reads_a_sound_record() {
        let record = sound();
        let mut names = std::collections::BTreeSet::new();
        for metric in METRICS {
            assert!(names.insert(metric.name), "{}", metric.name);
            (metric.read)(&record);
        }
        assert_eq!((METRICS[0].read)(&record).len(), 1);
    }

    #[test]
    fn a_latency_is_that_of_the_open_loop() {
        let mut record = sound();
        let mut open = record.runs[0].clone();
        (open.purpose, open.rate) = ("latency".to_owned(), "1M".to_owned());
        (open.latency_us.count, open.latency_us.p99) = (10, 7.0);
        record.runs.push(open);
        let p99 = METRICS
            .iter()
            .find(|metric| metric.name == "latency_p99_us");
        assert_eq!((p99.unwrap().read)(&record), [7.0]);
    }
}
