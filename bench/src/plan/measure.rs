//! `sirocco plan --measure`: makes the records that a plan rests on, each by `sirocco bench` as a child.
//! A crossed design of train lengths, populations and next hops in closed loop, in random order and more
//! than once, with and without sessions; then modes, held sessions, silent devices, and engines beside
//! each other. What is there and valid is kept, so it can go on where it stopped.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;

use serde_json::Value;
use sirocco_schedule::Draw;

use super::evidence::BESIDE;
use crate::cli::PlanArgs;
use crate::record::Record;
use crate::role::{EXIT_INVALID, EXIT_USAGE, complain};
use crate::run::launch;
use crate::scenario::Scenario;

/// Where a plan looks first.
pub const FOLDER: &str = "target/sirocco/plan";

/// Each cell is measured so often, hours or seconds apart: what differs between starts is in the scatter.
const BLOCKS: u64 = 2;

/// Train lengths of the full factor, and of the corners.
const TRAINS: [i64; 7] = [1, 2, 4, 8, 16, 32, 64];
const TRAINS_FEW: [i64; 4] = [1, 4, 16, 64];
const TRAINS_TWO: [i64; 2] = [8, 64];

/// Populations: a few caches' worth to what a cache never holds, four times apart.
const IDENTITIES: [u64; 3] = [65_536, 262_144, 1_000_000];
const IDENTITIES_ENDS: [u64; 2] = [65_536, 1_000_000];

/// Next hops beside the bench's own 16.
const HOPS_USUAL: u16 = 16;
const HOPS: [u16; 3] = [64, 256, 1_024];
const HOPS_SESSIONS: [u16; 2] = [16, 256];

/// Length of a repetition and of its warm-up in the crossed design, in milliseconds: a million SIRs each.
const MEASURED_MS: u64 = 500;
const WARM_UP_MS: u64 = 300;

/// Identities of engines beside each other: all of their indexes together fit small machines.
const IDENTITIES_BESIDE: u64 = 1_000_000;

/// One record to be made, by one engine or several at once.
struct Cell {
    name: String,
    scenario: Scenario,
    engines: usize,
}

/// Runs what is missing; returns the exit code.
pub fn start(folder: &Path, args: &PlanArgs) -> u8 {
    let cores = match launch::cores(&args.cores, false) {
        Ok(cores) => [cores.engine, cores.loadgen],
        Err(error) => {
            complain(error);
            return EXIT_USAGE;
        }
    };
    let begin = Instant::now();
    let (mut left, mut late) = (0, false);
    let cells = design(std::thread::available_parallelism().map_or(1, usize::from));
    let all = cells.len();
    for (number, cell) in cells.iter().enumerate() {
        if cell.is_there(folder) {
            continue;
        }
        late |= args.measure_for.is_some_and(|most| begin.elapsed() >= most);
        if late {
            left += 1;
            continue;
        }
        if !args.quiet {
            complain(format!("{} of {all}: {}", number + 1, cell.name));
        }
        match cell.measure(folder, cores) {
            Ok(()) if cell.is_there(folder) => (),
            Ok(()) => left += 1,
            Err(error) => {
                complain(format!("cannot measure {}: {error}", cell.name));
                return EXIT_INVALID;
            }
        }
    }
    if left > 0 {
        let shown = folder.display();
        complain(format!(
            "{left} of {all} records are missing or invalid in {shown}; run the same again, which keeps the others"
        ));
        return EXIT_INVALID;
    }
    0
}

/// Every record, block after block, each block in an order of its own.
fn design(cores: usize) -> Vec<Cell> {
    let mut cells = Vec::new();
    for block in 1..=BLOCKS {
        let mut own: Vec<Cell> = Vec::new();
        let mut cross = |scenario: &str, trains: &[i64], identities: &[u64], hops: &[u16]| {
            for (&train, &identities, &hops) in crossed(trains, identities, hops) {
                own.push(closed(scenario, block, train, identities, hops));
            }
        };
        cross("dispatch", &TRAINS, &IDENTITIES, &[HOPS_USUAL]);
        cross("dispatch", &TRAINS_TWO, &IDENTITIES_ENDS, &HOPS);
        cross("sessions", &TRAINS_FEW, &IDENTITIES_ENDS, &HOPS_SESSIONS);
        own.push(whole("addressing", block));
        own.push(whole("hold", block));
        own.push(whole("silent", block));
        own.extend(numbers(cores).map(|engines| beside(engines, block)));
        let mut draw = Draw::new(block);
        for last in (1..own.len()).rev() {
            own.swap(last, draw.below(last as u64 + 1) as usize);
        }
        cells.append(&mut own);
    }
    cells
}

fn crossed<'a>(
    trains: &'a [i64],
    identities: &'a [u64],
    hops: &'a [u16],
) -> impl Iterator<Item = (&'a i64, &'a u64, &'a u16)> {
    let pairs = trains
        .iter()
        .flat_map(move |train| identities.iter().map(move |count| (train, count)));
    pairs.flat_map(move |(train, count)| hops.iter().map(move |hops| (train, count, hops)))
}

/// One, all, and the powers of two between: the law wants the whole range, not every number.
fn numbers(cores: usize) -> impl Iterator<Item = usize> {
    (1..=cores).filter(move |&count| count.is_power_of_two() || count == cores)
}

fn built_in(name: &str) -> Scenario {
    Scenario::find(name).expect("a scenario that is built in")
}

fn closed(name: &str, block: u64, train: i64, identities: u64, hops: u16) -> Cell {
    let mut scenario = built_in(name);
    scenario.seed = block;
    scenario.next_hops = hops;
    scenario.population.identities = identities;
    scenario.runs.measured_ms = MEASURED_MS;
    scenario.runs.warm_up_ms = WARM_UP_MS;
    scenario.runs.latency_ms = 0;
    scenario
        .engine
        .insert("train-segments".to_owned(), train.into());
    scenario.summary =
        format!("{name}, trains of {train}, {identities} identities, {hops} next hops");
    Cell {
        name: format!("{name}-t{train}-i{identities}-h{hops}-b{block}"),
        scenario,
        engines: 1,
    }
}

fn whole(name: &str, block: u64) -> Cell {
    let mut scenario = built_in(name);
    scenario.seed = block;
    Cell {
        name: format!("{name}-b{block}"),
        scenario,
        engines: 1,
    }
}

fn beside(engines: usize, block: u64) -> Cell {
    let mut scenario = built_in("null");
    scenario.name = format!("{BESIDE}{engines}");
    scenario.summary =
        format!("one of {engines} engines beside each other, SIRs rendered and dropped");
    scenario.seed = block;
    scenario.population.identities = IDENTITIES_BESIDE;
    scenario.runs.repetitions = 1;
    Cell {
        name: format!("{BESIDE}{engines}-b{block}"),
        scenario,
        engines,
    }
}

impl Cell {
    /// The records of the cell: one, or one for each engine.
    fn records(&self, folder: &Path) -> Vec<PathBuf> {
        match self.engines {
            1 => vec![folder.join(format!("{}.json", self.name))],
            many => (1..=many)
                .map(|engine| folder.join(format!("{}-{engine}.json", self.name)))
                .collect(),
        }
    }

    fn is_there(&self, folder: &Path) -> bool {
        self.records(folder).iter().all(|path| {
            let text = fs::read_to_string(path).unwrap_or_default();
            let record: Result<Record, _> = serde_json::from_str(&text);
            record.is_ok_and(|record| record.verdict.valid && record.verdict.passed)
        })
    }

    fn measure(&self, folder: &Path, cores: [usize; 2]) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let scenario = folder.join(format!("{}.toml", self.name));
        fs::write(&scenario, self.scenario.to_toml())?;
        let records = self.records(folder);
        let benches: Vec<Child> = records
            .iter()
            .enumerate()
            .map(|(number, record)| {
                bench(&scenario, record, own_cores(self.engines, number, cores))
            })
            .collect::<io::Result<_>>()?;
        for mut bench in benches {
            // Its exit code is in the record's verdict.
            bench.wait()?;
        }
        fs::remove_file(&scenario)?;
        records
            .iter()
            .filter(|record| record.exists())
            .try_for_each(|record| trim(record))
    }
}

/// The cores of one bench: those asked for, or the next one for each engine beside the first.
fn own_cores(engines: usize, number: usize, asked: [usize; 2]) -> [usize; 2] {
    if engines == 1 {
        return asked;
    }
    let allowed = sirocco_ring::affinity::cores_allowed().unwrap_or_default();
    match allowed.len() {
        0 | 1 => asked,
        count => [allowed[number % count], allowed[(number + 1) % count]],
    }
}

fn bench(scenario: &Path, record: &Path, [engine, loadgen]: [usize; 2]) -> io::Result<Child> {
    Command::new(std::env::current_exe()?)
        .arg0("sirocco")
        .args(["bench", "--no-ceiling", "--quiet", "--scenario"])
        .arg(scenario)
        .arg("--cores")
        .arg(format!("{engine},{loadgen}"))
        .arg("--json")
        .arg(record)
        .spawn()
}

/// Takes the buckets of histograms out of a record: most of its octets, and a plan reads none.
fn trim(path: &Path) -> io::Result<()> {
    let mut record: Value = serde_json::from_str(&fs::read_to_string(path)?)?;
    without_buckets(&mut record);
    fs::write(path, format!("{record}\n"))
}

fn without_buckets(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("buckets");
            fields.values_mut().for_each(without_buckets);
        }
        Value::Array(values) => values.iter_mut().for_each(without_buckets),
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_design_is_crossed_and_each_block_has_its_order() {
        let cells = design(4);
        let names: Vec<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
        let half = names.len() / 2;
        assert_eq!(names.len() % 2, 0);
        let mut blocks: Vec<Vec<String>> = [&names[..half], &names[half..]]
            .map(|block| {
                block
                    .iter()
                    .map(|name| name.rsplit_once("-b").expect("a block").0.to_owned())
                    .collect()
            })
            .into();
        assert_ne!(blocks[0], blocks[1]);
        blocks.iter_mut().for_each(|block| block.sort_unstable());
        assert_eq!(blocks[0], blocks[1]);
        blocks[0].dedup();
        assert_eq!(blocks[0].len(), half);
        for name in [
            "dispatch-t1-i65536-h16",
            "dispatch-t64-i1000000-h1024",
            "sessions-t16-i65536-h256",
            "beside-4",
            "hold",
        ] {
            assert!(blocks[0].iter().any(|own| own == name), "{name}");
        }
    }

    #[test]
    fn every_scenario_of_the_design_is_one() {
        for cell in design(2) {
            Scenario::parse(&cell.scenario.to_toml(), &cell.name).expect("a scenario");
        }
    }

    #[test]
    fn powers_of_two_and_all_cores_are_measured() {
        assert_eq!(numbers(1).collect::<Vec<_>>(), [1]);
        assert_eq!(numbers(12).collect::<Vec<_>>(), [1, 2, 4, 8, 12]);
    }

    #[test]
    fn buckets_go_and_nothing_else() {
        let mut record =
            serde_json::json!({"a": [{"buckets": [1], "count": 2}], "buckets": 3, "b": 4});
        without_buckets(&mut record);
        assert_eq!(record, serde_json::json!({"a": [{"count": 2}], "b": 4}));
    }
}
