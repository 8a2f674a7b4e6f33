//! `sirocco profile` on this host, whatever perf may do here: a flame graph of the worker, or the reason why there
//! is none and the stages all the same.

use std::sync::PoisonError;

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::bench::TURN;
use crate::process::{Directory, run};
use crate::sirocco;

/// A short bench; its own verdict does not matter here.
const BENCH: &str =
    "-- --identities 10k --duration 1s --repetitions 1 --no-ceiling --quiet --allow-shared-core";

#[test]
fn a_profile_shows_the_worker_s_functions_or_says_why_it_cannot() {
    let directory = Directory::new("profile");
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut profile = sirocco(directory.path());
    let ended = run(profile.arg("profile").args(BENCH.split(' ')));
    drop(turn);
    assert!(
        ended.stdout.contains("stages of the same run"),
        "{}{}",
        ended.stdout,
        ended.stderr
    );
    let file = |ending: &str| {
        let path = directory
            .path()
            .join(format!("target/sirocco/profile.{ending}"));
        std::fs::read_to_string(path)
    };
    let Ok(svg) = file("svg") else {
        let said = ended.stderr;
        assert!(
            said.contains("linux-perf") || said.contains("perf_event_paranoid"),
            "{said}"
        );
        return;
    };
    let mut reader = Reader::from_str(&svg);
    let mut boxes = 0;
    loop {
        match reader.read_event().expect("well-formed XML") {
            Event::Empty(_) => boxes += 1,
            Event::Eof => break,
            _ => {}
        }
    }
    let folded = file("folded").expect("stacks beside the graph");
    assert!(
        boxes > 10 && folded.lines().count() > 10,
        "{boxes} boxes: {folded}"
    );
    assert!(folded.contains("sirocco_dispatch::worker::"), "{folded}");
    assert!(!folded.contains("sirocco_loadgen"), "{folded}");
    assert!(
        file("txt")
            .expect("a text beside the graph")
            .contains("function\n")
    );
}
