//! `sirocco engine`: the worker of sirocco_dispatch on a thread of its own. Orders and commands come as
//! lines on stdin or on a local socket; ready, progress and reports go to stdout as JSON lines. When
//! stdin closes or SIGTERM comes it drains: nothing accepted is lost without being counted and named.

mod control;
mod door;
mod orders;
mod window;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use crossbeam::channel::{Receiver, Sender, bounded};
use serde::Serialize;
use serde_json::Value;
use sirocco_dispatch::config::{EngineConfig, Sink};
use sirocco_dispatch::live::Live;
use sirocco_dispatch::report::EngineReport;
use sirocco_dispatch::shard::Remainder;
use sirocco_dispatch::worker::{self, Command, Event, Lines};
use sirocco_index::Index;
use sirocco_index::population::{Policy, generate_into};
use sirocco_ring::Waker;

use super::population::{read, spec};
use super::protocol::EngineReady;
use super::{EXIT_INVALID, EXIT_USAGE, complain, emit};
use crate::cli::EngineArgs;
use crate::flight::{self, Origin};
use crate::run::child::die_with_parent;
use crate::watch::reading::{self, Reading};
use crate::watch::server::{self, tell};

/// Commands and events under way between the threads; a worker takes 64 commands a turn.
const LINES_MAX: usize = 1 << 16;

/// An error with its words for people.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Runs the role; returns its exit code.
pub fn start(args: &EngineArgs) -> u8 {
    if args.child
        && let Err(error) = die_with_parent()
    {
        complain(error);
        return EXIT_INVALID;
    }
    let config = match config(args) {
        Ok(config) => config,
        Err(error) => {
            complain(format!("engine settings: {error}"));
            return EXIT_USAGE;
        }
    };
    if args.print_config {
        crate::print(&toml::to_string_pretty(&config).unwrap_or_default());
        return 0;
    }
    match work(args, &config) {
        Ok(()) => 0,
        Err(error) => {
            complain(format!("engine: {error}"));
            EXIT_INVALID
        }
    }
}

/// Settings from the file, then from JSON, then from options, the last one wins.
fn config(args: &EngineArgs) -> Result<EngineConfig, Failure> {
    let mut settings = serde_json::to_value(EngineConfig::default())?;
    if let Some(path) = &args.config {
        let named = |error: String| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        // Read on its own first, so that an error names the line of the file.
        let _: EngineConfig = toml::from_str(&text).map_err(|error| named(error.to_string()))?;
        let table: toml::Table = toml::from_str(&text).map_err(|error| named(error.to_string()))?;
        overlay(&mut settings, serde_json::to_value(table)?);
    }
    if let Some(json) = &args.config_json {
        overlay(&mut settings, serde_json::from_str(json)?);
    }
    let mut config: EngineConfig = serde_json::from_value(settings)?;
    config.core = args.core.or(config.core);
    config.bind = args.bind.unwrap_or(config.bind);
    config.record_outcomes |= args.record_sirs.is_some();
    config.check()?;
    Ok(config)
}

/// Puts the fields of `over` in place of those of `settings`.
fn overlay(settings: &mut Value, over: Value) {
    if let (Value::Object(settings), Value::Object(over)) = (settings, over) {
        settings.extend(over);
    }
}

/// What the worker's thread says when it is ready.
struct Started {
    ready: EngineReady,
    waker: Option<Waker>,
}

fn work(args: &EngineArgs, config: &EngineConfig) -> Result<(), Failure> {
    let live = Arc::new(Live::default());
    let (commands, commanded) = bounded(LINES_MAX);
    let (events, happened) = bounded(LINES_MAX);
    let (ready, started) = bounded(1);
    let worker = thread::Builder::new().name("worker".to_owned()).spawn({
        let (args, config, live) = (Population::of(args)?, config.clone(), Arc::clone(&live));
        let record = args.record.clone();
        move || {
            worker(
                &args,
                &config,
                (commanded, events),
                &live,
                (&ready, record.as_deref()),
            )
        }
    })?;
    if let Ok(Started { ready, waker }) = started.recv() {
        if let Some(address) = args.metrics {
            let live = Arc::clone(&live);
            let read = move || Reading {
                engine: reading::engine(&live),
                ..Reading::default()
            };
            tell(server::serve(address, read)?);
        }
        emit("ready", &ready);
        let flight = args.flight.clone().zip(ready.address.parse().ok());
        let control = control::Control::new(config, commands, waker, Arc::clone(&live));
        let control = control.with_flight(flight);
        control.run(&happened, &door::open(args.socket.as_deref())?)?;
    }
    let report = worker
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    emit("report", &report);
    Ok(())
}

/// What the worker's thread loads, and where it writes what.
#[derive(Clone, Debug)]
struct Population {
    file: Option<std::path::PathBuf>,
    policy: Policy,
    spec: sirocco_index::population::GenerateSpec,
    record: Option<std::path::PathBuf>,
    flight: Option<std::path::PathBuf>,
}

impl Population {
    fn of(args: &EngineArgs) -> Result<Self, Failure> {
        let hops = match &args.next_hops {
            Some(text) => next_hops(text)?,
            None => (0..args.population_shape.next_hop_count)
                .map(|n| SocketAddr::from(([127, 0, 0, 1], 6000 + n % 59_000)))
                .collect(),
        };
        if args.population.is_none() && args.generate.is_none() {
            return Err("no population: give --population FILE or --generate N".into());
        }
        Ok(Self {
            file: args.population.clone(),
            policy: if args.skip_bad_lines {
                Policy::Count
            } else {
                Policy::Stop
            },
            spec: spec(args.generate.unwrap_or(0), &args.population_shape, hops),
            record: args.record_sirs.clone(),
            flight: args.flight.clone(),
        })
    }

    fn index(&self, notices: &mut Vec<String>) -> Result<Index, Failure> {
        let Some(file) = &self.file else {
            let hint = usize::try_from(self.spec.identities).unwrap_or(usize::MAX);
            let mut index = Index::new(hint)?;
            generate_into(&self.spec, &mut index)?;
            return Ok(index);
        };
        let (index, report) = read(file, self.policy)?;
        if report.faults > 0 {
            notices.push(format!(
                "{}: {} bad lines skipped",
                file.display(),
                report.faults
            ));
            report.first_faults.iter().for_each(complain);
        }
        Ok(index)
    }
}

/// Addresses between commas, or one a line in the file after `@`.
fn next_hops(text: &str) -> Result<Vec<SocketAddr>, Failure> {
    let text = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?,
        None => text.to_owned(),
    };
    let addresses = text
        .split([',', '\n'])
        .map(str::trim)
        .filter(|address| !address.is_empty());
    let parse = |address: &str| {
        address
            .parse()
            .map_err(|_| format!("--next-hops: `{address}` is no address; give IP:PORT"))
    };
    Ok(addresses.map(parse).collect::<Result<_, _>>()?)
}

/// The worker's thread: loads, runs until told to end, writes the record of outcomes.
fn worker(
    population: &Population,
    config: &EngineConfig,
    (commands, events): (Receiver<Command>, Sender<Event>),
    live: &Live,
    (ready, record): (&Sender<Started>, Option<&Path>),
) -> Result<EngineReport, Failure> {
    let begin = Instant::now();
    let mut notices = Vec::new();
    let index = population.index(&mut notices)?;
    let mut said = EngineReady {
        address: String::new(),
        identities: index.len() as u64,
        devices: index.devices_len() as u64,
        index_bytes: index.memory_bytes() as u64,
        load_ms: u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX),
        notices,
    };
    let mut remainder = |remainder| emit("cancelled", &Cancelled::from(remainder));
    let lines = Lines {
        commands,
        events,
        live,
        remainder: &mut remainder,
    };
    let mut local = None;
    let (report, shard) = worker::run(config, index, lines, |introduced| {
        local = introduced.address;
        said.address = introduced
            .address
            .map(|address| address.to_string())
            .unwrap_or_default();
        said.notices.extend(introduced.notices);
        if config.sink == Sink::Wire && introduced.backend != "uring" {
            said.notices.push(format!(
                "datagrams go by {}, not by io_uring",
                introduced.backend
            ));
        }
        // The other side waits for this, or is gone with the process.
        ready
            .send(Started {
                ready: said,
                waker: introduced.waker,
            })
            .ok();
    })?;
    if let (Some(path), Some(outcomes)) = (record, &shard.outcomes) {
        let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
        outcomes.write(&mut out)?;
        out.flush()?;
    }
    if let (Some(prefix), Some(local)) = (&population.flight, local)
        && let Some(written) = flight::write(&shard.flight_log(), Origin::here(local), prefix)?
    {
        emit("flight", &written);
    }
    Ok(report)
}

/// Event `cancelled`: one unit that a stop ended, so that its initiator can order it again.
#[derive(Serialize)]
struct Cancelled {
    order: String,
    identity: String,
    device: Option<String>,
    sent: bool,
}

impl From<Remainder> for Cancelled {
    fn from(remainder: Remainder) -> Self {
        let Remainder {
            order,
            identity,
            device,
            sent,
        } = remainder;
        Self {
            order,
            identity,
            device,
            sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Role};
    use clap::Parser;

    fn args(text: &str) -> EngineArgs {
        let words = ["sirocco", "engine"]
            .into_iter()
            .chain(text.split_whitespace());
        match Cli::try_parse_from(words).unwrap().role {
            Role::Engine(args) => args,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn settings_are_laid_over_each_other_and_checked() {
        let both = args(r#"--config-json {"slabs":8,"core":3} --core 1"#);
        let config = config(&both).unwrap();
        assert_eq!((config.slabs, config.core), (8, Some(1)));
        for (json, named) in [(r#"{"slab":8}"#, "slab"), (r#"{"slabs":1}"#, "4 to 4096")] {
            let error = super::config(&args(&format!("--config-json {json}"))).expect_err(json);
            assert!(error.to_string().contains(named), "{error}");
        }
    }

    #[test]
    fn next_hops_are_read_or_named() {
        assert_eq!(next_hops("127.0.0.1:6000, [::1]:7").unwrap().len(), 2);
        assert!(
            next_hops("127.0.0.1")
                .expect_err("no port")
                .to_string()
                .contains("IP:PORT")
        );
        assert!(
            next_hops("@/nowhere/hops")
                .expect_err("no file")
                .to_string()
                .contains("/nowhere")
        );
    }

    #[test]
    fn a_population_has_to_come_from_somewhere() {
        assert!(
            Population::of(&args(""))
                .expect_err("none")
                .to_string()
                .contains("--generate")
        );
        let population = Population::of(&args("--generate 100 --next-hops 127.0.0.1:9")).unwrap();
        let index = population.index(&mut Vec::new()).unwrap();
        assert_eq!((index.len(), index.next_hops().len()), (100, 1));
    }
}
