//! The schedule of a load through real processes: the same for a seed, changed while it runs, replayed.

use std::path::Path;

use serde_json::{Value, json};

use crate::process::Directory;
use crate::roles::Role;
use crate::sirocco;

/// Starts an engine that renders and drops, so that nothing but the schedule sets the pace.
fn engine(directory: &Path) -> Role {
    let mut command = sirocco(directory);
    let settings = r#"{"sink":"null","idle":"wait"}"#;
    command.args(["engine", "--generate", "100", "--config-json", settings]);
    let role = Role::start(&mut command);
    role.event("ready");
    role
}

/// Offers a load to its end, told `changes` on the way; what was offered then.
fn offered(load: &Value, changes: &[&str]) -> Value {
    let directory = Directory::new("schedule");
    let mut engine = engine(directory.path());
    engine.tell(&json!({ "load": load }).to_string());
    engine.event("loaded");
    for change in changes {
        engine.event("progress");
        engine.tell(change);
        assert_eq!(engine.event("steered")["loads"], 1, "{change}");
    }
    engine.event("finished");
    engine.tell("books");
    let drained = engine.event("drained");
    engine.tell("stop");
    drained["measured"]["offered"].clone()
}

fn load(seed: u64) -> Value {
    json!({
        "seed": seed, "wanted": "one-in-turn", "rate": null, "orders_max": null,
        "shape": "ramp 0..20k/500ms, hold 2s, burst 50", "arrivals": "poisson",
    })
}

#[test]
fn a_seed_means_the_same_schedule_in_every_process() {
    let first = offered(&load(7), &[]);
    let entries = first["digest"]["entries"].as_u64().expect("a count");
    // 45,050 are to be expected; six standard deviations of a Poisson count.
    assert!((43_780..46_320).contains(&entries), "{first}");
    assert_eq!(first, offered(&load(7), &[]));
    assert_ne!(first["digest"], offered(&load(8), &[])["digest"]);
}

#[test]
fn a_run_that_was_changed_live_is_offered_again_by_its_list_of_changes() {
    let changes = ["pause", r#"{"rate":5000}"#, "resume", r#"{"scale":2}"#];
    let live = offered(&load(7), &changes);
    assert_eq!(live["steers"].as_array().map(Vec::len), Some(4), "{live}");
    assert_ne!(live["digest"], offered(&load(7), &[])["digest"]);
    let mut again = load(7);
    again["steers"] = live["steers"].clone();
    assert_eq!(live, offered(&again, &[]));
}
