//! `sirocco plan`: from subscribers to machines, by measured records. `assumptions` are the planner's,
//! `evidence` reads records, `coefficients` makes figures of them, `sizing` the lines; `check` predicts
//! records of another scale, `what_if` varies assumptions, `measure` makes the records. The form of the
//! result is stable: reports read it.

pub mod assumptions;
pub mod check;
pub mod coefficients;
pub mod cost;
mod erlang;
pub mod estimate;
pub mod evidence;
mod measure;
mod published;
mod regression;
pub mod scaling;
pub mod sizing;
mod table;
pub mod what_if;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::PlanArgs;
use crate::record::write_json;
use crate::role::{EXIT_FAILED, EXIT_INVALID, EXIT_USAGE, complain};
use crate::scenario::Mode;
use assumptions::Assumptions;
use check::Checked;
use coefficients::{Coefficient, Coefficients};
use cost::CONFIDENCE;
use evidence::{Evidence, EvidenceError};
use sizing::{Line, Sizing};
use what_if::WhatIf;

/// Version of the form below; it changes when a field changes its meaning.
pub const SCHEMA: &str = "sirocco.plan/1";

/// The lines that the modes are set side by side by.
const MODE_LINES: [&str; 8] = [
    "sessions_per_s",
    "cpu_us_per_order",
    "workers",
    "machines",
    "packets_per_s",
    "bits_per_s",
    "pages_per_area_per_s",
    "push_all_s",
];

/// What a plan does not know, whatever its records: said with every plan.
const LIMITS: [&str; 5] = [
    "Records are of a loopback device: the cost of a network card and its driver is in none of them. Trains end at the \
     card, so every SIR is a packet on the wire; where the card cannot segment UDP the kernel does, and where answers \
     come back one by one nothing merges them: `workers_without_trains` bounds both.",
    "The engine has one worker. Several are engines beside each other, each with its share of subscribers and next \
     hops of its own; `contention of workers` says on what that rests.",
    "A worker's cost is that of a full one: trains fill because there is more to send. A worker with time to spare \
     sends shorter trains at a higher price each, and still has time to spare.",
    "Intervals of measured figures are 95 % prediction intervals; sums and products take both ends together, which is \
     wider. Assumptions have no interval: vary them with --what-if.",
    "Erlang's formulas hold for Poisson arrivals. A push to everybody is none: it fills what there is, and new SIRs \
     wait for places.",
];

/// The answer to the question whether it fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fits {
    /// Machines asked about, spare ones included.
    pub asked: u32,
    /// Whether the upper end of the interval fits.
    pub fits: bool,
    /// The answer in words.
    pub words: String,
}

/// One addressing mode beside the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModeLines {
    /// The mode.
    pub mode: Mode,
    /// Some of its lines, as in the plan of that mode.
    pub lines: Vec<Line>,
}

/// A whole plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: String,
    /// The planner's figures.
    pub assumptions: Assumptions,
    /// What records say, each with its records.
    pub coefficients: Vec<Coefficient>,
    /// Confidence of the measured intervals.
    pub confidence: f64,
    /// The plan.
    pub lines: Vec<Line>,
    /// The addressing modes side by side.
    pub modes: Vec<ModeLines>,
    /// Whether it fits, where that was asked.
    pub fits: Option<Fits>,
    /// The assumptions varied, where that was asked.
    pub what_if: Option<WhatIf>,
    /// Records predicted, where that was asked.
    pub checked: Vec<Checked>,
    /// What no record tells.
    pub limits: Vec<String>,
    /// Records that were not used, with the reason.
    pub passed_over: Vec<String>,
}

/// Why there is no plan, with the exit code.
struct Refused(u8, String);

/// Runs the role; returns its exit code.
pub fn start(args: &PlanArgs) -> u8 {
    if let Some(folder) = &args.measure {
        return measure::start(folder, args);
    }
    let assumptions = match assumed(args) {
        Ok(assumptions) => assumptions,
        Err(Refused(code, words)) => {
            complain(words);
            return code;
        }
    };
    if args.print_plan {
        let untouched = args.plan.is_none() && args.assumptions.is_empty();
        let own = || assumptions.to_toml();
        crate::print(&if untouched {
            assumptions::BUILT_IN.to_owned()
        } else {
            own()
        });
        return 0;
    }
    match planned(assumptions, args) {
        Ok(plan) => publish(&plan, args),
        Err(Refused(code, words)) => {
            complain(words);
            code
        }
    }
}

fn assumed(args: &PlanArgs) -> Result<Assumptions, Refused> {
    let usage = |error: assumptions::AssumptionError| Refused(EXIT_USAGE, error.to_string());
    let found = Assumptions::find(args.plan.as_deref()).map_err(usage)?;
    args.assumptions
        .iter()
        .try_fold(found, |plan, assignment| plan.with(assignment))
        .map_err(usage)
}

fn planned(assumptions: Assumptions, args: &PlanArgs) -> Result<Plan, Refused> {
    let invalid = |error: EvidenceError| Refused(EXIT_INVALID, error.to_string());
    let usage = |words: String| Refused(EXIT_USAGE, words);
    let axes = what_if::axes(&args.what_if, &assumptions).map_err(usage)?;
    let evidence = Evidence::read(&args.records).map_err(invalid)?;
    let coefficients = Coefficients::of(&evidence, &assumptions).map_err(invalid)?;
    let mut plan =
        Plan::of(assumptions, &coefficients).map_err(|words| Refused(EXIT_INVALID, words))?;
    if plan.line(&args.figure).is_none() {
        let names: Vec<&str> = plan.lines.iter().map(|line| line.name.as_str()).collect();
        return Err(usage(format!(
            "a plan has no line `{}`: give one of {}",
            args.figure,
            names.join(", ")
        )));
    }
    plan.passed_over = evidence.passed_over;
    plan.what_if = what_if::vary(&axes, &args.figure, &plan.assumptions, &coefficients);
    if !args.check.is_empty() {
        plan.checked = check::predict(&args.check, &coefficients).map_err(invalid)?;
    }
    Ok(plan)
}

impl Plan {
    /// Works the plan out.
    ///
    /// # Errors
    /// In words, when no record has the mode.
    pub fn of(assumptions: Assumptions, coefficients: &Coefficients) -> Result<Self, String> {
        let lines = |plan: &Assumptions| Some(Sizing::new(plan, coefficients)?.lines());
        let own = lines(&assumptions).ok_or_else(|| {
            format!(
                "no record has the mode {}; run `sirocco bench --scenario addressing --json FILE`",
                assumptions.mode
            )
        })?;
        let beside = |mode: Mode| {
            let of_mode = lines(&Assumptions {
                mode,
                ..assumptions.clone()
            })?;
            let kept = of_mode
                .into_iter()
                .filter(|line| MODE_LINES.contains(&line.name.as_str()));
            Some(ModeLines {
                mode,
                lines: kept.collect(),
            })
        };
        let modes = coefficients
            .measured_modes()
            .into_iter()
            .filter_map(beside)
            .collect();
        let mut plan = Self {
            schema: SCHEMA.to_owned(),
            coefficients: coefficients.published.clone(),
            confidence: CONFIDENCE,
            lines: own,
            modes,
            fits: None,
            what_if: None,
            checked: Vec::new(),
            limits: LIMITS.map(str::to_owned).into(),
            passed_over: Vec::new(),
            assumptions,
        };
        plan.fits = plan.answer();
        Ok(plan)
    }

    /// A line by its name.
    #[must_use]
    pub fn line(&self, name: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.name == name)
    }

    fn answer(&self) -> Option<Fits> {
        let asked = self.assumptions.machines;
        let machines = self.line("machines").filter(|_| asked > 0)?.estimate;
        let room = f64::from(asked);
        let words = match (machines.high <= room, machines.value <= room) {
            (true, _) => format!("fits {asked} machines, at the upper end of the interval as well"),
            (false, true) => format!(
                "cannot be promised: {} machines are likely to do, the interval reaches {}",
                machines.value, machines.high
            ),
            (false, false) => format!(
                "does not fit {asked} machines: {} are needed",
                machines.value
            ),
        };
        Some(Fits {
            asked,
            fits: machines.high <= room,
            words,
        })
    }

    fn exit_code(&self) -> u8 {
        let missed = self.fits.as_ref().is_some_and(|answer| !answer.fits);
        let outside = self.checked.iter().any(|checked| !checked.inside);
        if missed || outside { EXIT_FAILED } else { 0 }
    }
}

fn publish(plan: &Plan, args: &PlanArgs) -> u8 {
    let to_stdout = args.json.as_deref() == Some(Path::new("-"));
    if to_stdout {
        crate::print(&format!("{}\n", serde_json::json!(plan)));
    } else if !args.quiet {
        crate::print(&table::plan(plan));
    }
    if let Some(path) = args.json.as_deref().filter(|_| !to_stdout)
        && let Err(error) = write_json(path, plan)
    {
        complain(format!("cannot write {}: {error}", path.display()));
        return EXIT_INVALID;
    }
    plan.exit_code()
}
