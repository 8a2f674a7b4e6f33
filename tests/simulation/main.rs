//! Seeded simulation of the shard: no kernel, no clock, thousands of devices, a bad network, and after
//! each run books that balance and a wire on which every rule was kept.
//!
//! A failing seed prints the line that replays it. `SEEDS=5000` runs that many seeds, `SEED=17` one.

mod devices;
mod network;
mod observer;
mod orders;
mod outbox;
mod people;
mod random;
mod reckon;
mod world;

use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use world::{Story, run};

/// Seeds of an ordinary run.
const SEEDS: u64 = 200;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} has to be a number, not {text}")),
    )
}

/// Runs one seed; a breach or a panic tells how to run it again.
fn run_seed(seed: u64) -> Result<Story, String> {
    let replay = format!("SEED={seed} cargo test -p sirocco-tests --test simulation");
    match catch_unwind(|| run(seed)) {
        Ok(Ok(story)) => Ok(story),
        Ok(Err(breach)) => Err(format!("{replay}\n    {breach}")),
        Err(_) => Err(format!("{replay}\n    the run panicked")),
    }
}

/// Runs seeds on all cores; all failures in the order of their seeds.
fn run_all(first: u64, count: u64) -> (Vec<Story>, Vec<String>) {
    let next = AtomicU64::new(first);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut ran = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return ran;
            }
            ran.push((seed, run_seed(seed)));
        }
    };
    let mut ran: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("a worker"))
            .collect()
    });
    ran.sort_by_key(|(seed, _)| *seed);
    let mut stories = Vec::new();
    let mut failures = Vec::new();
    for (_, ended) in ran {
        match ended {
            Ok(story) => stories.push(story),
            Err(failure) => failures.push(failure),
        }
    }
    (stories, failures)
}

#[test]
fn every_seed_keeps_every_rule() {
    let (first, count) = match number("SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("SEED_FIRST").unwrap_or(1),
            number("SEEDS").unwrap_or(SEEDS),
        ),
    };
    let (stories, failures) = run_all(first, count);
    assert!(
        failures.is_empty(),
        "{} of {count} seeds:\n{}",
        failures.len(),
        failures.join("\n")
    );
    let sum = |part: fn(&Story) -> u64| stories.iter().map(part).sum::<u64>();
    println!(
        "{count} seeds: {} units, {} SIRs, {} retransmissions, {} delivered, {} failed, {} expired, \
         {} cancelled, {} s simulated",
        sum(|story| story.accepted),
        sum(|story| story.sirs_sent),
        sum(|story| story.retransmissions),
        sum(|story| story.delivered),
        sum(|story| story.failed),
        sum(|story| story.expired),
        sum(|story| story.cancelled),
        sum(|story| story.simulated_ms) / 1_000,
    );
    if count >= SEEDS {
        // A simulation in which a path is never taken tests nothing of it.
        for part in [
            |story: &Story| story.retransmissions,
            |story: &Story| story.failed,
            |story: &Story| story.expired,
            |story: &Story| story.cancelled,
        ] {
            assert!(sum(part) > 0, "no seed took one of the paths");
        }
    }
}

#[test]
fn a_seed_runs_alike_each_time() {
    for seed in [3, 4, 5] {
        assert_eq!(run_seed(seed), run_seed(seed));
    }
}
