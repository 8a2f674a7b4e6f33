//! Sessions under a seed: devices follow their SIRs with INVITE over a bad network, take content by
//! MESSAGE and MSRP, fail, cheat and restart, while strangers flood the engine with forged requests.

mod cables;
mod call;
mod campaign;
mod edge;
mod msrp;
mod plan;
mod plateau;
mod settle;
mod witness;
mod world;

use settle::{Story, run};

use crate::{SEEDS, run_all, run_seed};

#[test]
fn every_session_keeps_every_rule() {
    let stories = run_all(run);
    let sum = |part: fn(&Story) -> u64| stories.iter().map(part).sum::<u64>();
    println!(
        "{} seeds: {} calls, {} sessions, {} contents ({} in chunks, {} direct), {} duplicates, {} unwanted, \
         {} forged requests, {} repetitions, {} s simulated",
        stories.len(),
        sum(|story| story.calls),
        sum(|story| story.opened),
        sum(|story| story.delivered),
        sum(|story| story.chunks),
        sum(|story| story.direct),
        sum(|story| story.duplicates),
        sum(|story| story.unwanted),
        sum(|story| story.forged),
        sum(|story| story.repetitions),
        sum(|story| story.simulated_ms) / 1_000,
    );
    if stories.len() as u64 >= SEEDS {
        // A simulation in which a path is never taken tests nothing of it.
        for (what, taken) in [
            ("delivered", sum(|story| story.delivered)),
            ("chunks", sum(|story| story.chunks)),
            ("direct", sum(|story| story.direct)),
            ("duplicates", sum(|story| story.duplicates)),
            ("unwanted", sum(|story| story.unwanted)),
            ("forged", sum(|story| story.forged)),
            ("repetitions", sum(|story| story.repetitions)),
            ("used", sum(|story| story.refused_used)),
            ("expired", sum(|story| story.refused_expired)),
            ("no ACK", sum(|story| story.no_ack)),
            ("no answer", sum(|story| story.no_answer)),
            ("gone", sum(|story| story.gone)),
            ("lost connections", sum(|story| story.connection)),
            ("overload", sum(|story| story.overload)),
            ("owed", sum(|story| story.owed)),
        ] {
            assert!(taken > 0, "no seed took the path: {what}");
        }
    }
}

#[test]
fn a_seed_of_sessions_runs_alike_each_time() {
    for seed in [3, 4, 5] {
        assert_eq!(run_seed(run, seed), run_seed(run, seed));
    }
}
