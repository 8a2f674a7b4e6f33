//! What of a record is compared: each metric with its place in the record, its unit, which way is better
//! and whether it is a time or a count. Read by `compare`. It works on JSON, so that records of older and newer builds can be read.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Better {
    /// More of it.
    Higher,
    /// Less of it.
    Lower,
    /// Neither: it describes the job or the machine.
    Neither,
}

/// What kind of figure it is, which says how it is compared.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Kind {
    /// Clocks and whoever else runs there move it: compared by intervals over repetitions.
    Timed,
    /// Counted by the program: any two repetitions agree but for the stated slack, so that ranges which lie
    /// apart are a difference without any statistics.
    Counted {
        /// Slack as a share of the value: what the edges of a measured window make of it.
        slack_share: f64,
        /// Slack in the unit of the metric.
        slack: f64,
    },
}

/// Where the samples lie, as JSON pointers (RFC 6901).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A spread, which holds every repetition.
    Spread(Cow<'static, str>),
    /// A number in each measured run that counts for the rate.
    Runs(Cow<'static, str>),
    /// A number in each run at an offered rate: those made for the latency, else those for the rate.
    OpenLoop(Cow<'static, str>),
    /// One number in a record.
    One(Cow<'static, str>),
    /// Wall nanoseconds of the worker's stage of this name for each SIR, in each run that counts.
    Stage(String),
    /// A figure of the knee curve where it passes this rate a second, by the line between its neighbours.
    Knee {
        /// The rate.
        rate_per_s: u64,
        /// Pointer in a probe.
        pointer: &'static str,
    },
}

/// One metric of a record.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Name with its unit, such as `cpu_ns_per_sir`: the key in histories.
    pub name: Cow<'static, str>,
    /// Unit for people.
    pub unit: &'static str,
    /// Which way is better.
    pub better: Better,
    /// How it is compared.
    pub kind: Kind,
    /// Where its samples lie.
    pub place: Place,
}

/// Purposes of runs whose figures count, as the record names them.
const COUNTING: [&str; 2] = ["rate", "counted"];

const fn timed(name: &'static str, unit: &'static str, better: Better, place: Place) -> Metric {
    Metric {
        name: Cow::Borrowed(name),
        unit,
        better,
        kind: Kind::Timed,
        place,
    }
}

const fn counted(
    name: &'static str,
    unit: &'static str,
    better: Better,
    (slack_share, slack): (f64, f64),
    place: Place,
) -> Metric {
    Metric {
        name: Cow::Borrowed(name),
        unit,
        better,
        kind: Kind::Counted { slack_share, slack },
        place,
    }
}

const fn spread(pointer: &'static str) -> Place {
    Place::Spread(Cow::Borrowed(pointer))
}

const fn runs(pointer: &'static str) -> Place {
    Place::Runs(Cow::Borrowed(pointer))
}

const fn open_loop(pointer: &'static str) -> Place {
    Place::OpenLoop(Cow::Borrowed(pointer))
}

const fn one(pointer: &'static str) -> Place {
    Place::One(Cow::Borrowed(pointer))
}

/// Octets are the same in every repetition.
const EXACT: (f64, f64) = (0.0, 0.0);

/// A hundredth: turns and trains end where a window does, and some are shorter when answers pause.
const TRAINS: (f64, f64) = (0.01, 0.0);

/// A turn that finds nothing waits by one more call: over a window of millions of SIRs a twentieth.
const SYSCALLS: (f64, f64) = (0.05, 1e-4);

/// One allocation in ten thousand SIRs: a table that grows once in a run.
const ALLOCATIONS: (f64, f64) = (0.0, 1e-4);

/// A hundredth: sessions that are open at the edges of a window count half.
const CYCLES: (f64, f64) = (0.01, 0.0);

use Better::{Higher, Lower, Neither};

/// Metrics at fixed places; [`metrics`] adds those that a record names itself. What a record does not
/// hold is not compared.
pub static METRICS: [Metric; 38] = [
    timed("sirs_per_s", "SIRs/s", Higher, runs("/sirs_per_s")),
    timed(
        "cpu_ns_per_sir",
        "ns",
        Lower,
        runs("/engine/cpu_ns_per_sir"),
    ),
    counted(
        "syscalls_per_sir",
        "calls",
        Lower,
        SYSCALLS,
        runs("/engine/syscalls_per_sir"),
    ),
    counted(
        "bytes_written_per_sir",
        "B",
        Lower,
        EXACT,
        runs("/engine/bytes_written_per_sir"),
    ),
    counted(
        "allocations_per_sir",
        "allocations",
        Lower,
        ALLOCATIONS,
        runs("/engine/allocations_per_sir"),
    ),
    counted(
        "segments_per_train",
        "SIRs",
        Higher,
        TRAINS,
        runs("/engine/segments_per_train"),
    ),
    counted(
        "request_bytes",
        "B",
        Neither,
        (1e-6, 0.0),
        runs("/engine/request_bytes"),
    ),
    counted(
        "response_bytes",
        "B",
        Neither,
        (1e-2, 0.0),
        runs("/engine/response_bytes"),
    ),
    timed("latency_p50_us", "us", Lower, open_loop("/latency_us/p50")),
    timed("latency_p99_us", "us", Lower, open_loop("/latency_us/p99")),
    timed(
        "latency_p999_us",
        "us",
        Lower,
        open_loop("/latency_us/p999"),
    ),
    timed(
        "loadgen_cpu_ns_per_sir",
        "ns",
        Lower,
        one("/loadgen/cpu_ns_per_sir"),
    ),
    counted("index_bytes", "B", Lower, EXACT, one("/index_bytes")),
    timed("population_ms", "ms", Lower, one("/population_ms")),
    timed(
        "cycles_per_s",
        "sessions/s",
        Higher,
        runs("/sessions/cycles_per_s"),
    ),
    timed(
        "cpu_ns_per_cycle",
        "ns",
        Lower,
        runs("/sessions/engine_cpu_ns_per_cycle"),
    ),
    timed(
        "loadgen_cpu_ns_per_cycle",
        "ns",
        Lower,
        runs("/sessions/loadgen_cpu_ns_per_cycle"),
    ),
    counted(
        "messages_per_cycle",
        "messages",
        Lower,
        CYCLES,
        runs("/sessions/messages_per_cycle"),
    ),
    counted(
        "octets_per_cycle",
        "B",
        Lower,
        CYCLES,
        runs("/sessions/octets_per_cycle"),
    ),
    timed(
        "setup_p50_us",
        "us",
        Lower,
        open_loop("/sessions/setup_us/p50"),
    ),
    timed(
        "setup_p99_us",
        "us",
        Lower,
        open_loop("/sessions/setup_us/p99"),
    ),
    counted(
        "table_bytes_per_session",
        "B",
        Lower,
        EXACT,
        one("/hold/table_bytes_per_session"),
    ),
    timed(
        "resident_bytes_per_session",
        "B",
        Lower,
        one("/hold/resident_bytes_per_session"),
    ),
    timed(
        "loadgen_resident_bytes_per_session",
        "B",
        Lower,
        one("/hold/loadgen_resident_bytes_per_session"),
    ),
    timed("hold_built_ms", "ms", Lower, one("/hold/built_ms")),
    timed(
        "flood_alone_per_s",
        "sessions/s",
        Higher,
        spread("/flood/alone_per_s"),
    ),
    timed(
        "flood_flooded_per_s",
        "sessions/s",
        Higher,
        spread("/flood/flooded_per_s"),
    ),
    timed(
        "flood_kept_share",
        "share",
        Higher,
        one("/flood/kept_share"),
    ),
    counted(
        "ledger_residue",
        "targets",
        Lower,
        EXACT,
        one("/ledger/residue"),
    ),
    counted("ihs_share", "share", Lower, EXACT, one("/outcome/ihs")),
    timed("limit_per_s", "/s", Higher, one("/limit/rate_per_s")),
    timed("sipp_times", "times", Higher, one("/sipp/times")),
    timed(
        "raw_train_cpu_ns",
        "ns",
        Neither,
        spread("/ceiling/gso_gro/cpu_ns_per_message"),
    ),
    timed(
        "raw_trains_per_s",
        "messages/s",
        Neither,
        spread("/ceiling/gso_gro/per_second"),
    ),
    timed(
        "raw_datagram_cpu_ns",
        "ns",
        Neither,
        spread("/ceiling/datagram/cpu_ns_per_message"),
    ),
    timed(
        "raw_datagrams_per_s",
        "messages/s",
        Neither,
        spread("/ceiling/datagram/per_second"),
    ),
    timed("ceiling_share", "share", Higher, one("/ceiling_share")),
    timed(
        "ceiling_cpu_share",
        "share",
        Higher,
        one("/ceiling_cpu_share"),
    ),
];

/// What of an addressing mode is compared: field, unit, and whether it is a time.
const OF_MODES: [(&str, &str, bool); 8] = [
    ("sirs", "SIRs", false),
    ("copies", "SIRs", false),
    ("messages", "messages", false),
    ("octets", "B", false),
    ("unwanted", "sessions", false),
    ("duplicates", "pushes", false),
    ("engine_cpu_us", "us", true),
    ("first_session_us/p99", "us", true),
];

/// What of the knee curve is compared: name and place in a probe.
const OF_KNEES: [(&str, &str); 2] = [("p50_us", "/latency_us/p50"), ("p99_us", "/latency_us/p99")];

/// Rates at which knee curves are compared, in a decade: the searches try other rates each time, so curves
/// are read where they cross a grid (the series R10 of ISO 3, rounded).
const GRID: [f64; 10] = [1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0];

/// Every metric that `record` can hold: the fixed ones, those of its addressing modes, stages and knee.
#[must_use]
pub fn metrics(record: &Value) -> Vec<Metric> {
    let mut all = METRICS.to_vec();
    all.extend(of_stages(record));
    all.extend(of_knee(record));
    let modes = record["addressing"].as_array().into_iter().flatten();
    for (index, mode) in modes.enumerate() {
        let mode = mode["mode"].as_str().unwrap_or("unknown");
        all.extend(OF_MODES.map(|(field, unit, is_timed)| Metric {
            name: format!("{mode}/{field}").into(),
            unit,
            better: Lower,
            kind: match is_timed {
                true => Kind::Timed,
                // Retransmissions and sessions still open at the end.
                false => Kind::Counted {
                    slack_share: 0.01,
                    slack: 1e-3,
                },
            },
            place: Place::One(format!("/addressing/{index}/{field}").into()),
        }));
    }
    all
}

/// A time of each stage that a run names. No way of it is better: work that moves from one stage to another
/// is no loss, and the sum is the CPU time.
fn of_stages(record: &Value) -> Vec<Metric> {
    let runs = record["runs"].as_array().into_iter().flatten();
    let stages = runs.filter_map(|run| run["stages"]["stage_ns"].as_object());
    let mut names: Vec<&String> = stages.flat_map(serde_json::Map::keys).collect();
    names.sort_unstable();
    names.dedup();
    let metric = |name: &String| Metric {
        name: format!("stage_{name}_ns_per_sir").into(),
        unit: "ns",
        better: Neither,
        kind: Kind::Timed,
        place: Place::Stage(name.clone()),
    };
    names.into_iter().map(metric).collect()
}

/// Latencies of the knee at each rate of the grid between its least and greatest rate.
fn of_knee(record: &Value) -> Vec<Metric> {
    let points = knee(record, OF_KNEES[0].1);
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Vec::new();
    };
    let decades = (0..9).map(|exponent| 10f64.powi(exponent));
    let rates = decades.flat_map(|decade| GRID.map(|step| (step * decade).round()));
    let mut all = Vec::new();
    for rate in rates.filter(|rate| (first.0..=last.0).contains(rate)) {
        all.extend(OF_KNEES.map(|(name, pointer)| Metric {
            name: format!("knee_{name}_at_{rate}").into(),
            unit: "us",
            better: Lower,
            kind: Kind::Timed,
            place: Place::Knee {
                rate_per_s: rate as u64,
                pointer,
            },
        }));
    }
    all.dedup_by(|a, b| a.name == b.name);
    all
}

/// Rate and figure of every probe of the knee that the engine carried, by rate: beyond the limit a latency
/// is the length of a queue.
fn knee(record: &Value, pointer: &str) -> Vec<(f64, f64)> {
    let probes = record["limit"]["knee"].as_array().into_iter().flatten();
    let passed = probes.filter(|probe| probe["judgement"] == "passed");
    let point = |probe: &Value| Some((number(probe, "/rate_per_s")?, number(probe, pointer)?));
    let mut points: Vec<(f64, f64)> = passed.filter_map(point).collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// The value at `rate` on the line between the points beside it; `None` outside of them.
fn interpolated(points: &[(f64, f64)], rate: f64) -> Option<f64> {
    let above = points.iter().position(|point| point.0 >= rate)?;
    let (right, left) = (points[above], points[above.saturating_sub(1)]);
    if right.0 == rate {
        return Some(right.1);
    }
    if above == 0 {
        return None;
    }
    let share = (rate - left.0) / (right.0 - left.0);
    Some(left.1 + share * (right.1 - left.1))
}

/// Wall nanoseconds of a stage for each SIR of a run.
fn of_stage(run: &Value, stage: &str) -> Option<f64> {
    let stages = &run["stages"];
    let share = stages["stage_ns"][stage].as_f64()? / stages["wall_ns"].as_f64()?;
    let each = share * 1e9 / run["sirs_per_s"].as_f64()?;
    each.is_finite().then_some(each)
}

impl Metric {
    /// Its samples in `record`, in the order they were measured; empty when the record has none.
    #[must_use]
    pub fn samples(&self, record: &Value) -> Vec<f64> {
        match &self.place {
            Place::One(pointer) => number(record, pointer).into_iter().collect(),
            Place::Spread(pointer) => {
                let samples = record.pointer(pointer).map(|spread| &spread["samples"]);
                let samples = samples.and_then(Value::as_array).into_iter().flatten();
                samples.filter_map(Value::as_f64).collect()
            }
            Place::Runs(pointer) => of_runs(record, pointer, &COUNTING),
            Place::OpenLoop(pointer) => match of_runs(record, pointer, &["latency"]) {
                none if none.is_empty() => of_runs(record, pointer, &["rate"]),
                some => some,
            },
            Place::Stage(stage) => {
                let runs = record["runs"].as_array().into_iter().flatten();
                let counting = runs.filter(|run| has_purpose(run, &COUNTING));
                counting.filter_map(|run| of_stage(run, stage)).collect()
            }
            Place::Knee {
                rate_per_s,
                pointer,
            } => {
                let points = knee(record, pointer);
                interpolated(&points, *rate_per_s as f64)
                    .into_iter()
                    .collect()
            }
        }
    }

    /// Whether it is a time.
    #[must_use]
    pub fn is_timed(&self) -> bool {
        self.kind == Kind::Timed
    }

    /// Whether it describes the machine rather than the program: the ceilings run no code of Sirocco.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.name.starts_with("raw_")
    }
}

/// A number of every run of these purposes. A latency counts where something was timed at an offered rate
/// alone: at the greatest rate it is the length of the queue.
fn of_runs(record: &Value, pointer: &str, purposes: &[&str]) -> Vec<f64> {
    let runs = record["runs"].as_array().into_iter().flatten();
    let latency = pointer.contains("_us/p");
    let timed = |run: &&Value| {
        let figures = pointer
            .rsplit_once('/')
            .map_or(pointer, |(figures, _)| figures);
        let counted = number(run, &format!("{figures}/count")).is_some_and(|count| count > 0.0);
        !latency || (counted && run["rate"] != "max")
    };
    let runs = runs.filter(|run| has_purpose(run, purposes)).filter(timed);
    runs.filter_map(|run| number(run, pointer)).collect()
}

fn has_purpose(run: &Value, purposes: &[&str]) -> bool {
    let purpose = run["purpose"].as_str();
    purpose.is_some_and(|purpose| purposes.contains(&purpose))
}

fn number(value: &Value, pointer: &str) -> Option<f64> {
    value.pointer(pointer).and_then(Value::as_f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unlike_and_places_are_pointers() {
        for (index, metric) in METRICS.iter().enumerate() {
            let (Place::Spread(at) | Place::Runs(at) | Place::OpenLoop(at) | Place::One(at)) =
                &metric.place
            else {
                panic!("{metric:?} has no fixed place");
            };
            assert!(at.starts_with('/'), "{metric:?}");
            let again = METRICS[..index].iter().any(|m| m.name == metric.name);
            assert!(!again, "{} is there twice", metric.name);
        }
    }

    /// A misspelt place would silently compare nothing.
    #[test]
    fn every_place_is_in_a_record_that_holds_everything() {
        let record = crate::record::tests::sound();
        let mut json = serde_json::to_value(&record).unwrap();
        json["ceiling_share"] = 0.5.into();
        json["ceiling_cpu_share"] = 0.5.into();
        let spread = serde_json::to_value(crate::statistics::Spread::of(vec![1.0])).unwrap();
        let probe = crate::ceiling::Probe {
            ..Default::default()
        };
        let mut probe = serde_json::to_value(probe).unwrap();
        for field in ["cpu_ns_per_message", "per_second"] {
            assert!(probe.get(field).is_some(), "a probe has no {field}");
            probe[field] = spread.clone();
        }
        json["ceiling"] = serde_json::json!({ "gso_gro": probe, "datagram": probe });
        let sessions = crate::record::SessionFigures {
            setup_us: Some(Default::default()),
            ..Default::default()
        };
        json["sessions"] = serde_json::to_value(sessions).unwrap();
        json["runs"][0]["sessions"] =
            serde_json::to_value(crate::record::SessionRun::default()).unwrap();
        json["runs"][0]["rate"] = "1000".into();
        json["runs"][0]["latency_us"]["count"] = 1.into();
        json["runs"][0]["sessions"]["setup_us"]["count"] = 1.into();
        json["hold"] = serde_json::to_value(crate::record::HoldFigures::default()).unwrap();
        let flood = crate::record::FloodFigures {
            alone_per_s: crate::statistics::Spread::of(vec![1.0]),
            flooded_per_s: crate::statistics::Spread::of(vec![1.0]),
            ..Default::default()
        };
        json["flood"] = serde_json::to_value(flood).unwrap();
        json["sipp"] = serde_json::to_value(crate::record::SippFigures::default()).unwrap();
        json["outcome"] = serde_json::json!({ "ihs": 0.0 });
        json["limit"] = serde_json::json!({ "rate_per_s": 1.0 });
        for metric in &METRICS {
            assert!(!metric.samples(&json).is_empty(), "{}", metric.name);
        }
    }

    #[test]
    fn only_runs_that_count_are_samples() {
        let run = |purpose: &str, calls: f64| serde_json::json!({ "purpose": purpose, "engine": { "syscalls_per_sir": calls } });
        let record = serde_json::json!({
            "runs": [run("rate", 1.0), run("latency", 9.0), run("counted", 2.0)]
        });
        let calls = METRICS.iter().find(|m| m.name == "syscalls_per_sir");
        assert_eq!(calls.unwrap().samples(&record), [1.0, 2.0]);
    }

    #[test]
    fn a_latency_is_that_of_the_open_loop() {
        let run = |purpose: &str, rate: &str, p99: f64| {
            let latency = serde_json::json!({ "count": 9, "p99": p99 });
            serde_json::json!({ "purpose": purpose, "rate": rate, "latency_us": latency })
        };
        let p99 = METRICS.iter().find(|m| m.name == "latency_p99_us").unwrap();
        let closed =
            serde_json::json!({ "runs": [run("rate", "max", 1.0), run("latency", "9", 2.0)] });
        assert_eq!(p99.samples(&closed), [2.0]);
        let open = serde_json::json!({ "runs": [run("rate", "9", 3.0), run("rate", "9", 4.0)] });
        assert_eq!(p99.samples(&open), [3.0, 4.0]);
        let none = serde_json::json!({ "runs": [run("rate", "max", 1.0)] });
        assert!(p99.samples(&none).is_empty());
    }

    #[test]
    fn addressing_modes_bring_their_own() {
        let record = serde_json::json!({
            "addressing": [{ "mode": "targeted", "sirs": 1.5, "first_session_us": { "p99": 7.0 } }]
        });
        let all = metrics(&record);
        let of = |name: &str| {
            all.iter()
                .find(|m| m.name == name)
                .unwrap()
                .samples(&record)
        };
        assert_eq!(of("targeted/sirs"), [1.5]);
        assert_eq!(of("targeted/first_session_us/p99"), [7.0]);
    }

    #[test]
    fn stages_are_wall_time_for_each_sir_and_neither_way_is_better() {
        let run = |purpose: &str| {
            serde_json::json!({ "purpose": purpose, "sirs_per_s": 1e6, "stages": {
                "wall_ns": 1_000, "stage_ns": { "parse": 250, "idle": 750 } } })
        };
        let record = serde_json::json!({ "runs": [run("rate"), run("latency"), run("rate")] });
        let all = metrics(&record);
        let parse = all
            .iter()
            .find(|m| m.name == "stage_parse_ns_per_sir")
            .unwrap();
        // A quarter of the time of a SIR, which is a microsecond.
        assert_eq!(parse.samples(&record), [250.0, 250.0]);
        assert!(parse.better == Neither && !parse.is_control());
    }

    #[test]
    fn knees_are_read_at_the_same_rates_whatever_was_tried() {
        let probe = |rate: f64, p99: f64, judgement: &str| {
            serde_json::json!({ "rate_per_s": rate, "judgement": judgement,
                "latency_us": { "p50": 1.0, "p99": p99 } })
        };
        let record = serde_json::json!({ "limit": { "knee": [
            probe(90e3, 10.0, "passed"), probe(110e3, 30.0, "passed"), probe(300e3, 9e9, "failed"),
            probe(210e3, 130.0, "passed"),
        ] } });
        let all = metrics(&record);
        let names: Vec<&str> = all
            .iter()
            .map(|m| &*m.name)
            .filter(|n| n.contains("p99_us_at"))
            .collect();
        let wanted =
            [100_000, 125_000, 160_000, 200_000].map(|rate| format!("knee_p99_us_at_{rate}"));
        assert_eq!(names, wanted);
        let at = |name: &str| {
            all.iter()
                .find(|m| m.name == name)
                .unwrap()
                .samples(&record)
        };
        assert_eq!(at("knee_p99_us_at_100000"), [20.0]);
        assert_eq!(at("knee_p99_us_at_160000"), [80.0]);
    }
}
