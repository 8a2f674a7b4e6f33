//! `sirocco loadgen`: the worker of sirocco_loadgen on a thread of its own, told by stdin and stopped
//! by its closing or by a signal; ready, progress and report go to stdout as JSON lines.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use sirocco_loadgen::{Control, Idle, Live, LoadgenConfig, Mix, Place, run};

use super::protocol::LoadgenReady;
use super::{EXIT_INVALID, EXIT_USAGE, complain, emit};
use crate::cli::{IdleArg, LoadgenArgs};
use crate::run::child::die_with_parent;
use crate::watch::reading::Reading;
use crate::watch::server::{self, tell};

/// Time between two progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

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
    match work(config, args) {
        Ok(()) => 0,
        Err(error) => {
            complain(format!("loadgen: {error}"));
            EXIT_INVALID
        }
    }
}

impl LoadgenArgs {
    /// Whether a person runs it on a scenario of its own: it then ends with its calls, not with stdin.
    fn is_alone(&self) -> bool {
        self.scenario.is_some() && !self.child
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
    config.idle = match args.idle {
        Some(IdleArg::Spin) => Idle::Spin,
        Some(IdleArg::Wait) => Idle::Wait,
        None => config.idle,
    };
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

fn work(config: LoadgenConfig, args: &LoadgenArgs) -> Result<(), Box<dyn std::error::Error>> {
    let (live, control) = (Arc::new(Live::new()), Arc::new(Control::new()));
    let is_alone = args.is_alone();
    if let Some(address) = args.metrics {
        let live = Arc::clone(&live);
        let read = move || Reading {
            loadgen: serde_json::to_value(live.read()).unwrap_or_default(),
            ..Reading::default()
        };
        tell(server::serve(address, read)?);
    }
    let finished = Arc::new(AtomicBool::new(false));
    let asked_to_stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&asked_to_stop))?;
    }
    thread::spawn({
        let (live, control) = (Arc::clone(&live), Arc::clone(&control));
        move || obey(&control, &live, is_alone)
    });
    // The worker takes a thread of its own, so that pinning it pins neither this one nor its heirs.
    let worker = thread::Builder::new().name("worker".to_owned()).spawn({
        let (live, control) = (Arc::clone(&live), Arc::clone(&control));
        let finished = Arc::clone(&finished);
        move || {
            let result = run(&config, &live, &control, |ready| {
                let addresses = ready.addresses.iter().map(ToString::to_string).collect();
                emit(
                    "ready",
                    &LoadgenReady {
                        addresses,
                        notices: ready.notices.clone(),
                    },
                );
            });
            finished.store(true, Ordering::Release);
            result
        }
    })?;
    while !finished.load(Ordering::Acquire) {
        thread::park_timeout(PROGRESS_EVERY);
        if asked_to_stop.load(Ordering::Relaxed) {
            control.stop();
        }
        emit("progress", &live.read());
    }
    let report = worker
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    emit("report", &report);
    Ok(())
}

/// Reads commands until stdin closes, which stops the worker: no loadgen survives its bench. One that
/// runs a scenario of its own goes on until its calls are over or a signal comes.
fn obey(control: &Control, live: &Live, is_alone: bool) {
    for line in io::stdin().lock().lines() {
        match line.as_deref().map(str::trim) {
            Ok("stop") => return control.stop(),
            Err(_) => break,
            Ok("reset") => control.reset(),
            Ok("span") => close_span(control, live),
            Ok("begin") => control.begin(),
            Ok("") => {}
            Ok(other) => complain(format!(
                "command not understood: `{other}`; give stop, reset, begin or span"
            )),
        }
    }
    if !is_alone {
        control.stop();
    }
}

/// Closes a span of time and says how the worker fared in it: event `span`.
fn close_span(control: &Control, live: &Live) {
    let before = live.span().number;
    control.close_span();
    let until = Instant::now() + SPAN_CLOSED;
    while live.span().number == before && Instant::now() < until {
        thread::sleep(SPAN_LOOK);
    }
    emit("span", &live.span());
}
