//! Seeded simulation of the shard: no kernel, no clock, thousands of devices, a bad network, and after
//! each run books that balance and a wire on which every rule was kept. `world` dispatches SIRs with all
//! that an order may be; `calls` has devices that follow them with sessions.
//!
//! A failing seed prints the line that replays it. `SEEDS=5000` runs that many seeds, `SEED=17` one.

mod calls;
mod devices;
mod network;
mod observer;
mod orders;
mod outbox;
mod people;
mod random;
mod reckon;
mod world;

use std::alloc::System;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use sirocco_ring::allocation::Counting;
use world::{Story, run};

/// Counts the allocations of each thread.
#[global_allocator]
static ALLOCATOR: Counting<System> = Counting(System);

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
fn run_seed<S>(run: fn(u64) -> Result<S, String>, seed: u64) -> Result<S, String> {
    let replay = format!("SEED={seed} cargo test -p sirocco-tests --test simulation");
    match catch_unwind(|| run(seed)) {
        Ok(Ok(story)) => Ok(story),
        Ok(Err(breach)) => Err(format!("{replay}\n    {breach}")),
        Err(_) => Err(format!("{replay}\n    the run panicked")),
    }
}

/// Runs seeds on all cores; their stories in the order of seeds.
///
/// # Panics
/// With all failures, if there are any.
fn run_all<S: Send>(run: fn(u64) -> Result<S, String>) -> Vec<S> {
    let (first, count) = seeds();
    let next = AtomicU64::new(first);
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut ran = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + count {
                return ran;
            }
            ran.push((seed, run_seed(run, seed)));
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
    assert!(
        failures.is_empty(),
        "{} of {count} seeds:\n{}",
        failures.len(),
        failures.join("\n")
    );
    stories
}

/// The first seed to run, and how many.
fn seeds() -> (u64, u64) {
    match number("SEED") {
        Some(seed) => (seed, 1),
        None => (
            number("SEED_FIRST").unwrap_or(1),
            number("SEEDS").unwrap_or(SEEDS),
        ),
    }
}

#[test]
fn every_seed_keeps_every_rule() {
    let stories = run_all(run);
    let count = stories.len() as u64;
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
        assert_eq!(run_seed(run, seed), run_seed(run, seed));
    }
}
