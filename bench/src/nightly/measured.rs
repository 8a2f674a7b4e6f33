//! From a scenario of the suite to its line: the bench runs it as it always does, an invalid run is made
//! once more, and a bench that gives no record leaves a line that says so. Called by `nightly`.

use std::collections::BTreeMap;
use std::hash::Hasher;

use siphasher::sip::SipHasher13;

use super::history::{Line, Reached};
use super::suite::Job;
use crate::cli::{BenchArgs, NightlyArgs};
use crate::host::Host;
use crate::record::Record;
use crate::run::{launch::Cores, plan, stage::StageError};
use crate::scenario::Scenario;
use crate::together::Generators;
use crate::verdict::Verdict;

/// Runs of one scenario in a night: an invalid one is made once more.
const ATTEMPTS_MAX: u32 = 2;

/// Runs the scenario as often as the job starts it, and fills in `line`, which names night, commit and
/// host.
#[must_use]
pub fn run(job: &Job, scenario: &Scenario, cores: Cores, args: &NightlyArgs, line: Line) -> Line {
    let mut line = Line {
        scenario: scenario.name.clone(),
        settings: settings(job, scenario),
        ..line
    };
    for _ in 0..job.starts() {
        start(&mut line, scenario, cores, args);
        if !line.verdict.valid || !line.verdict.passed {
            break;
        }
    }
    line.objectives = job.objectives.iter().map(|o| reached(&line, o)).collect();
    line
}

/// A short name of all that makes the figures: the scenario, and how often it is started.
fn settings(job: &Job, scenario: &Scenario) -> String {
    match job.starts() {
        1 => digest(&scenario.to_toml()),
        starts => digest(&format!("{}starts = {starts}\n", scenario.to_toml())),
    }
}

/// One start: an invalid run is made once more.
fn start(line: &mut Line, scenario: &Scenario, cores: Cores, args: &NightlyArgs) {
    let bench = BenchArgs {
        quiet: args.quiet,
        no_ceiling: true,
        ..BenchArgs::default()
    };
    for attempt in 1..=ATTEMPTS_MAX {
        line.attempts = line.attempts.max(attempt);
        let generators = Generators::one(cores.loadgen);
        match plan::run(scenario.clone(), &bench, (cores, &generators)) {
            Ok(record) => take(line, &record),
            Err(plan::PlanError::Stage(error @ StageError::Interrupted)) => {
                line.verdict = unusable(&error);
                break;
            }
            Err(error) => line.verdict = unusable(&error),
        }
        if line.verdict.valid || !line.verdict.passed {
            break;
        }
    }
}

fn reached(line: &Line, objective: &super::suite::Objective) -> Reached {
    let value = line.figure(&objective.figure);
    Reached {
        met: line.counts() && objective.is_met(value),
        value,
        objective: objective.clone(),
    }
}

/// A verdict on a run that gave nothing.
#[must_use]
pub fn unusable(why: &dyn std::fmt::Display) -> Verdict {
    Verdict {
        valid: false,
        passed: true,
        reasons: vec![why.to_string()],
    }
}

/// Takes the figures of a record over; those of an invalid run only where it is the last word.
fn take(line: &mut Line, record: &Record) {
    let times = times(record);
    line.verdict = record.verdict.clone();
    if line.verdict.valid && times.is_empty() {
        line.verdict = unusable(&"the record holds no repetition");
    }
    if line.verdict.valid {
        for (name, samples) in times {
            line.times.entry(name).or_default().extend(samples);
        }
    } else if line.times.is_empty() {
        line.times = times;
    }
}

/// The times of a record, every repetition in its order.
fn times(record: &Record) -> BTreeMap<String, Vec<f64>> {
    let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let mut keep = |name: &str, value: f64| {
        // 0 is a figure that the scenario does not have.
        if value.is_finite() && value > 0.0 {
            times.entry(name.to_owned()).or_default().push(value);
        }
    };
    for run in record.runs.iter().filter(|run| run.is_rated()) {
        keep("cpu_ns_per_sir", run.engine.cpu_ns_per_sir);
        keep("sirs_per_s", run.sirs_per_s);
        keep("syscalls_per_sir", run.engine.syscalls_per_sir);
        keep("segments_per_train", run.engine.segments_per_train);
    }
    if let Some(latency) = &record.latency_us {
        keep("latency_p50_us", latency.p50);
        keep("latency_p99_us", latency.p99);
    }
    times
}

/// A short name of all that must be equal on two hosts for their figures to be compared.
#[must_use]
pub fn host_key(host: &Host) -> String {
    let parts = host.key().into_iter();
    let lines: Vec<String> = parts
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    digest(&lines.join("\n"))
}

/// A short name of a text, the same in every build.
#[must_use]
pub fn digest(text: &str) -> String {
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Latency, RunFigures, tests::sound};

    #[test]
    fn every_repetition_is_kept_and_what_a_scenario_lacks_is_left_out() {
        let mut record = sound();
        let run = |purpose: &str, cpu_ns_per_sir: f64| {
            let mut run = RunFigures {
                purpose: purpose.to_owned(),
                ..RunFigures::default()
            };
            run.engine.cpu_ns_per_sir = cpu_ns_per_sir;
            run
        };
        record.runs = vec![
            run("rate", 210.0),
            run("rate", 200.0),
            run("latency", 900.0),
        ];
        record.latency_us = Some(Latency {
            p50: 40.0,
            ..Latency::default()
        });
        let mut line = Line::default();
        take(&mut line, &record);
        assert_eq!(line.times["cpu_ns_per_sir"], [210.0, 200.0]);
        assert_eq!(line.times["latency_p50_us"], [40.0]);
        assert!(!line.times.contains_key("latency_p99_us"));
        assert!(line.counts());
    }

    #[test]
    fn a_record_without_samples_does_not_count() {
        let mut record = sound();
        record.runs.clear();
        record.latency_us = None;
        let mut line = Line::default();
        take(&mut line, &record);
        assert!(!line.counts() && !line.verdict.valid);
    }

    #[test]
    fn each_start_adds_its_repetitions_and_an_invalid_one_adds_none() {
        let mut record = sound();
        let mut run = RunFigures {
            purpose: "rate".to_owned(),
            ..RunFigures::default()
        };
        run.engine.cpu_ns_per_sir = 210.0;
        record.runs = vec![run.clone(), run];
        let mut line = Line::default();
        take(&mut line, &record);
        take(&mut line, &record);
        assert_eq!(line.times["cpu_ns_per_sir"], [210.0; 4]);
        record.verdict.valid = false;
        take(&mut line, &record);
        assert_eq!(line.times["cpu_ns_per_sir"].len(), 4);
        assert!(!line.counts());
        let job = |starts: &str| -> Job {
            toml::from_str(&format!("scenario = 'null'\n{starts}")).unwrap()
        };
        let of = |job: &Job| settings(job, &job.scenario().unwrap());
        assert_eq!(of(&job("")), of(&job("starts = 1")));
        assert_ne!(of(&job("")), of(&job("starts = 2")), "another series");
    }

    #[test]
    fn a_missed_objective_of_an_invalid_run_stays_missed() {
        let mut line = super::super::history::tests::line(1, "sirs_per_s", &[2e6]);
        let objective = "sirs_per_s >= 1e6".parse().unwrap();
        assert!(reached(&line, &objective).met);
        line.verdict.valid = false;
        assert!(!reached(&line, &objective).met);
    }
}
