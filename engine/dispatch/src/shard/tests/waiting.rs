//! Who waits, for what, and until when: a pending SIR, a closed or stalled next hop, a full table, timers.

use super::*;

#[test]
fn the_same_uri_gets_its_sirs_one_after_the_other_in_order() {
    let aor = "sip:+4930000000@ims.example";
    let mut rig = Rig::new(&EngineConfig::default(), &people(1, "127.0.0.1:1"));
    let named = |number| {
        let json = format!(
            r#"{{"order":"o{number}","application":"app-{number}","to":{{"identity":"{aor}"}}}}"#
        );
        order(&json)
    };
    (0..5).for_each(|number| rig.accept(named(number)));
    for number in 0..5 {
        let left = rig.run_for(10 * MS);
        assert_eq!(left.len(), 1, "one at a time");
        let text = String::from_utf8_lossy(&left[0].1).into_owned();
        assert!(text.contains(&format!("app-{number}")), "{number}: {text}");
        assert_eq!(rig.shard.deferred_count, 4 - number);
        rig.answer(&left[0].1, 200, &[]);
    }
    assert!(rig.shard.is_idle());
}

#[test]
fn what_is_deferred_counts_as_waiting_and_ends_at_its_deadline() {
    let aor = "sip:+4930000000@ims.example";
    let config = EngineConfig {
        backlog_total: 3,
        ..EngineConfig::default()
    };
    let mut rig = Rig::new(&config, &people(1, "127.0.0.1:1"));
    let json = format!(
        r#"{{"order":"o","deadline-ms":200,"to":{{"identities":{}}}}}"#,
        serde_json::json!(vec![aor; 9])
    );
    rig.accept(to(aor));
    rig.accept(order(&json));
    assert_eq!(rig.run_for(10 * MS).len(), 1);
    assert!(
        rig.shard.deferred_count <= 3,
        "{} wait",
        rig.shard.deferred_count
    );
    let left = rig.run_for(300 * MS);
    assert!(left.is_empty());
    assert_eq!(
        rig.shard.ledger.expired, 9,
        "without waiting for the first to end"
    );
    assert_eq!(rig.shard.in_flight(), 1);
}

#[test]
fn waiting_units_end_at_their_deadline_though_their_next_hop_is_closed() {
    let mut rig = Rig::new(&EngineConfig::default(), &people(4, "127.0.0.1:1"));
    rig.accept(to("sip:+4930000000@ims.example"));
    let left = rig.run_for(MS);
    rig.answer(&left[0].1, 503, &[(b"Retry-After", b"600")]);
    rig.accept(order(
        r#"{"order":"e","deadline-ms":700,"to":{"everybody":true}}"#,
    ));
    rig.run_for(600 * MS);
    assert_eq!((rig.shard.ledger.expired, rig.shard.in_flight()), (0, 5));
    let deadline = rig.shard.next_due_ns(rig.now).expect("a deadline");
    assert_eq!(deadline, SECOND + MS + 700 * MS);
    rig.run_for(200 * MS);
    assert_eq!((rig.shard.ledger.expired, rig.shard.in_flight()), (4, 1));
    assert_eq!(
        rig.shard.next_due_ns(rig.now),
        Some(SECOND + MS + 600 * SECOND),
        "the opening"
    );
}

#[test]
fn timers_follow_the_standard_and_end_in_a_timeout() {
    let mut rig = Rig::new(&EngineConfig::default(), &people(1, "127.0.0.1:1"));
    rig.accept(to("sip:+4930000000@ims.example"));
    let left = rig.run_for(TIMER_F_NS + SECOND);
    let start = left[0].0;
    let at: Vec<_> = left
        .iter()
        .map(|(at, _)| (at - start) / (100 * MS) * 100)
        .collect();
    assert_eq!(
        at,
        [
            0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500
        ]
    );
    assert!(left.iter().all(|(_, sir)| *sir == left[0].1));
    assert_eq!(rig.causes(), [("timeout".to_owned(), 1)]);
    assert!(rig.shard.is_idle());
}

#[test]
fn one_with_a_full_table_parks_nobody_where_nothing_calls() {
    // Silent targets fill the table; they are out of their window after T1 but in it until Timer F.
    let config = EngineConfig {
        transactions: 4,
        window_total: 4,
        ..EngineConfig::default()
    };
    let mut all = people(6, "127.0.0.1:1");
    all.push(line("sip:+4940000000@ims.example", UUID, "127.0.0.1:2"));
    let mut rig = Rig::new(&config, &all);
    rig.accept(order(r#"{"order":"e","to":{"everybody":true}}"#));
    let left = rig.run_for(100 * SECOND);
    let mut branches: Vec<_> = left.iter().map(|(_, sir)| branch_of(sir)).collect();
    branches.sort();
    branches.dedup();
    assert_eq!(branches.len(), 7, "each got its turn");
    assert_eq!(rig.causes(), [("timeout".to_owned(), 7)]);
    assert!(rig.shard.is_idle());
}

#[test]
fn a_held_target_waits_without_a_spin_until_its_next_hop_counts_as_stalled() {
    let config = EngineConfig {
        window_per_next_hop: 1,
        backlog_per_next_hop: 1,
        ..EngineConfig::default()
    };
    let mut rig = Rig::new(&config, &people(4, "127.0.0.1:1"));
    rig.accept(order(r#"{"order":"e","to":{"everybody":true}}"#));
    assert_eq!(rig.run_for(100 * MS).len(), 1);
    assert!(
        rig.shard.held.is_some(),
        "one in the window, one in the backlog, one held"
    );
    assert_eq!(rig.shard.select(rig.now, &mut ()), 0, "nothing can happen");
    assert!(
        rig.shard.next_due_ns(rig.now) > Some(rig.now),
        "so it need not look again at once"
    );
    let left = rig.run_for(80 * SECOND);
    assert!(rig.shard.is_idle(), "{:?} {}", rig.causes(), left.len());
}
