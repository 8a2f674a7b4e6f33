//! `sirocco loadgen`: the worker of sirocco_loadgen on a thread of its own, told by stdin and stopped
//! by its closing or by a signal; ready, progress and report go to stdout as JSON lines.

use std::io::{self, BufRead};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use sirocco_loadgen::{Control, Idle, Live, LoadgenConfig, Mix, Place, run};

use sirocco_ring::clock::now_ns;

use super::protocol::LoadgenReady;
use super::{EXIT_INVALID, EXIT_USAGE, Voice, complain, join};
use crate::cli::{IdleArg, LoadgenArgs};
use crate::host::cpu_ns_of;
use crate::run::child::die_with_parent;
use crate::watch::reading::Reading;
use crate::watch::server::{self, tell};

/// Time between two progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// How often a held worker is looked at for its begin.
const BEGIN_LOOK: Duration = Duration::from_millis(2);

/// Longest command in bytes.
const COMMAND_BYTES_MAX: u64 = 4096;

/// Time for the worker to close a span: many of its turns.
const SPAN_CLOSED: Duration = Duration::from_secs(2);

/// Time between two looks at whether it did.
const SPAN_LOOK: Duration = Duration::from_micros(200);

/// Runs the role; returns its exit code.
pub fn start(args: &LoadgenArgs) -> u8 {
    if args.child
        && let Err(error) = die_with_parent()
    {
        complain(error);
        return EXIT_INVALID;
    }
    if let Some(address) = &args.join {
        return join::start(args, address);
    }
    let config = match config(args) {
        Ok(config) => config,
        Err(error) => {
            complain(error);
            return EXIT_USAGE;
        }
    };
    if let Err(error) = config.validate() {
        complain(error);
        return EXIT_USAGE;
    }
    if args.print_scenario {
        return print(&config);
    }
    let wires = Wires {
        commands: Box::new(io::BufReader::new(io::stdin())),
        voice: Voice::into(io::stdout()),
    };
    match work(config, wires, args.manner(), args.metrics) {
        Ok(_) => 0,
        Err(error) => {
            complain(format!("loadgen: {error}"));
            EXIT_INVALID
        }
    }
}

impl LoadgenArgs {
    fn manner(&self) -> Manner {
        if self.scenario.is_some() && !self.child {
            Manner::Alone
        } else {
            Manner::Commanded { held: self.held }
        }
    }
}

/// Reads the scenario, if there is one.
fn scenario(args: &LoadgenArgs) -> Result<LoadgenConfig, String> {
    if let Some(json) = &args.scenario_json {
        return serde_json::from_str(json).map_err(|error| format!("--scenario-json: {error}"));
    }
    let Some(path) = &args.scenario else {
        return Ok(LoadgenConfig {
            idle: Idle::Spin,
            ..LoadgenConfig::default()
        });
    };
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("--scenario {}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| format!("--scenario {}: {error}", path.display()))
}

fn config(args: &LoadgenArgs) -> Result<LoadgenConfig, String> {
    let mut config = scenario(args)?;
    if let Some(mix) = &args.mix {
        let mix = mix.parse::<Mix>();
        config.mix = mix.map_err(|error| format!("--mix: {error}"))?;
    }
    config.core = args.core.or(config.core);
    config.seed = args.seed.unwrap_or(config.seed);
    config.target = args.target.or(config.target);
    config.population = args.population.clone().or(config.population);
    config.record_sirs = args.record_sirs.clone().or(config.record_sirs);
    if args.sessions {
        config.session.get_or_insert_default();
    }
    config.idle = args.idle.map_or(config.idle, idle);
    if let Some(port) = args.direct {
        config.place = Place::Direct { port };
    }
    if let Place::Edges {
        count,
        bind,
        port_base,
    } = &mut config.place
    {
        *count = args.edges.unwrap_or(*count);
        *bind = args.bind.unwrap_or(*bind);
        *port_base = args.port_base.unwrap_or(*port_base);
    }
    Ok(config)
}

/// What an argument says about waiting.
#[must_use]
pub fn idle(arg: IdleArg) -> Idle {
    match arg {
        IdleArg::Spin => Idle::Spin,
        IdleArg::Wait => Idle::Wait,
    }
}

/// Prints the scenario in force; returns the exit code.
fn print(config: &LoadgenConfig) -> u8 {
    use std::io::Write;
    let text = match toml::to_string(config) {
        Ok(text) => text,
        Err(error) => {
            complain(error);
            return EXIT_INVALID;
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => EXIT_INVALID,
    }
}

/// Where commands come from and events go to.
pub struct Wires {
    /// One command a line.
    pub commands: Box<dyn BufRead + Send>,
    /// Where events go.
    pub voice: Voice,
}

/// Who a loadgen listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A person runs it on a scenario of its own: it ends with its calls, not with its commands.
    Alone,
    /// It ends when its commands end; `held` waits for a begin before anything counts.
    Commanded {
        /// Whether it waits.
        held: bool,
    },
}

/// A time by CLOCK_MONOTONIC of this host, as an event has it.
#[derive(Serialize)]
struct Told {
    ns: u64,
}

/// Runs a worker until it is told to end; returns whether it was told, or only lost its commands.
///
/// # Errors
/// The worker's, or the system's.
pub fn work(
    config: LoadgenConfig,
    wires: Wires,
    manner: Manner,
    metrics: Option<SocketAddr>,
) -> Result<bool, Box<dyn std::error::Error>> {
    let Wires { commands, voice } = wires;
    let held = manner == Manner::Commanded { held: true };
    let control = if held {
        Control::held()
    } else {
        Control::new()
    };
    let (live, control) = (Arc::new(Live::new()), Arc::new(control));
    if let Some(address) = metrics {
        tell(publish(address, &live)?);
    }
    let finished = Arc::new(AtomicBool::new(false));
    let told = Arc::new(AtomicBool::new(false));
    let asked_to_stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&asked_to_stop))?;
    }
    thread::spawn({
        let (live, control, voice) = (Arc::clone(&live), Arc::clone(&control), voice.clone());
        let told = Arc::clone(&told);
        move || {
            if obey(commands, &control, &live, &voice) {
                told.store(true, Ordering::Relaxed);
            } else if manner != Manner::Alone {
                control.stop();
            }
        }
    });
    // The worker takes a thread of its own, so that pinning it pins neither this one nor its heirs.
    let worker = thread::Builder::new().name("worker".to_owned()).spawn({
        let (live, control, voice) = (Arc::clone(&live), Arc::clone(&control), voice.clone());
        let (finished, main) = (Arc::clone(&finished), thread::current());
        move || {
            let result = run(&config, &live, &control, |ready| {
                let addresses = ready.addresses.iter().map(ToString::to_string).collect();
                let notices = ready.notices.clone();
                voice.emit("ready", &LoadgenReady { addresses, notices });
            });
            finished.store(true, Ordering::Release);
            main.unpark();
            result
        }
    })?;
    let mut begun = !held;
    let mut tell_at = Instant::now() + PROGRESS_EVERY;
    while !finished.load(Ordering::Acquire) {
        // A begin is waited for by the bench and by the other generators.
        thread::park_timeout(if begun { PROGRESS_EVERY } else { BEGIN_LOOK });
        if asked_to_stop.load(Ordering::Relaxed) {
            control.stop();
        }
        if !begun && live.begun_ns() > 0 {
            begun = true;
            voice.emit(
                "begun",
                &Told {
                    ns: live.begun_ns(),
                },
            );
        }
        if Instant::now() >= tell_at || finished.load(Ordering::Acquire) {
            tell_at = Instant::now() + PROGRESS_EVERY;
            voice.emit("progress", &live.read());
        }
    }
    let report = worker
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    voice.emit("report", &report);
    Ok(told.load(Ordering::Relaxed))
}

/// Serves the worker's progress as metrics; returns where.
fn publish(address: SocketAddr, live: &Arc<Live>) -> io::Result<SocketAddr> {
    let live = Arc::clone(live);
    server::serve(address, move || Reading {
        loadgen: serde_json::to_value(live.read()).unwrap_or_default(),
        ..Reading::default()
    })
}

/// Reads commands until they end or say stop; returns whether they did.
fn obey(
    mut commands: Box<dyn BufRead + Send>,
    control: &Control,
    live: &Live,
    voice: &Voice,
) -> bool {
    let mut line = String::new();
    loop {
        line.clear();
        match io::Read::take(&mut commands, COMMAND_BYTES_MAX).read_line(&mut line) {
            Ok(0) | Err(_) => return false,
            Ok(_) => {}
        }
        let mut words = line.split_whitespace();
        let (word, number) = (words.next().unwrap_or_default(), words.next());
        let ns = number.and_then(|number| number.parse().ok());
        match (word, ns) {
            ("stop", _) => {
                control.stop();
                return true;
            }
            ("stop-at", Some(ns)) => {
                control.stop_at(ns);
                return true;
            }
            ("begin-at", Some(ns)) => control.begin_at(ns),
            ("begin", _) => control.begin(),
            ("reset", _) => control.reset(),
            ("span", _) => close_span(control, live, voice),
            ("clock", _) => voice.emit("clock", &Told { ns: now_ns() }),
            ("cpu", _) => {
                let ns = cpu_ns_of(std::process::id());
                voice.emit("cpu", &Told { ns });
            }
            ("", _) => {}
            _ => complain(format!(
                "command not understood: `{}`; give stop, reset, begin, span, clock, cpu, begin-at NS or stop-at NS",
                line.trim().chars().take(80).collect::<String>()
            )),
        }
    }
}

/// Closes a span of time and says how the worker fared in it: event `span`.
fn close_span(control: &Control, live: &Live, voice: &Voice) {
    let before = live.span().number;
    control.close_span();
    let until = Instant::now() + SPAN_CLOSED;
    while live.span().number == before && Instant::now() < until {
        thread::sleep(SPAN_LOOK);
    }
    voice.emit("span", &live.span());
}
