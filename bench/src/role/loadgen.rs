//! `sirocco loadgen`: the worker of sirocco_loadgen on a thread of its own, told by stdin and stopped
//! by its closing or by a signal; ready, progress and report go to stdout as JSON lines.

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use sirocco_loadgen::{Control, Idle, Live, LoadgenConfig, Mix, Place, run};

use super::protocol::LoadgenReady;
use super::{EXIT_INVALID, EXIT_USAGE, complain, emit};
use crate::cli::{IdleArg, LoadgenArgs};
use crate::run::child::die_with_parent;

/// Time between two progress events.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Runs the role; returns its exit code.
pub fn start(args: &LoadgenArgs) -> u8 {
    if args.child
        && let Err(error) = die_with_parent()
    {
        complain(error);
        return EXIT_INVALID;
    }
    let mix = match args.mix.parse::<Mix>() {
        Ok(mix) => mix,
        Err(error) => {
            complain(format!("--mix: {error}"));
            return EXIT_USAGE;
        }
    };
    let config = config(args, mix);
    if let Err(error) = config.validate() {
        complain(error);
        return EXIT_USAGE;
    }
    match work(config) {
        Ok(()) => 0,
        Err(error) => {
            complain(format!("loadgen: {error}"));
            EXIT_INVALID
        }
    }
}

fn config(args: &LoadgenArgs, mix: Mix) -> LoadgenConfig {
    let place = match args.direct {
        Some(port) => Place::Direct { port },
        None => Place::Edges {
            count: args.edges,
            bind: args.bind,
            port_base: args.port_base,
        },
    };
    LoadgenConfig {
        core: args.core,
        seed: args.seed,
        place,
        mix,
        record_sirs: args.record_sirs.as_ref().map(PathBuf::from),
        idle: match args.idle {
            IdleArg::Spin => Idle::Spin,
            IdleArg::Wait => Idle::Wait,
        },
        ..LoadgenConfig::default()
    }
}

fn work(config: LoadgenConfig) -> Result<(), Box<dyn std::error::Error>> {
    let (live, control) = (Arc::new(Live::new()), Arc::new(Control::new()));
    let finished = Arc::new(AtomicBool::new(false));
    let asked_to_stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
        signal_hook::flag::register(signal, Arc::clone(&asked_to_stop))?;
    }
    thread::spawn({
        let control = Arc::clone(&control);
        move || obey(&control)
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

/// Reads commands until stdin closes, which stops the worker: no loadgen survives its bench.
fn obey(control: &Control) {
    for line in io::stdin().lock().lines() {
        match line.as_deref().map(str::trim) {
            Ok("stop") | Err(_) => break,
            Ok("reset") => control.reset(),
            Ok("") => {}
            Ok(other) => complain(format!(
                "command not understood: `{other}`; give stop or reset"
            )),
        }
    }
    control.stop();
}
