//! Answers: what closes nothing, 503 and who may say it, answers that come late, sends the kernel refused.

use super::*;

#[test]
fn answers_that_close_nothing_are_told_apart() {
    let mut rig = Rig::new(&EngineConfig::default(), &people(1, "127.0.0.1:1"));
    rig.accept(to("sip:+4930000000@ims.example"));
    let sir = rig.run_for(MS).remove(0).1;
    rig.answer(&sir, 100, &[]);
    let good = answer_to(&sir, 200, &[]);
    let text = String::from_utf8_lossy(&good).into_owned();
    let branch = branch_of(&sir);
    let forged = branch.replace(
        &branch[20..22],
        if &branch[20..22] == "00" { "11" } else { "00" },
    );
    for wrong in [
        text.replace(&branch, &forged),
        text.replace(&branch, "z9hG4bKother"),
        text.replace("1 MESSAGE", "1 INVITE"),
        text.replace(
            "From:",
            "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nFrom:",
        ),
        text.replace(
            "\r\nFrom:",
            ", SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nFrom:",
        ),
        text.replace("UDP 127.0.0.1:5070", "UDP 127.0.0.1:5071"),
        text.replace("UDP 127.0.0.1:5070", "UDP 127.0.0.1"),
        "MESSAGE sip:a@h SIP/2.0\r\n\r\n".to_owned(),
        "nonsense".to_owned(),
    ] {
        rig.shard
            .answer(rig.now, EDGE, wrong.as_bytes(), wrong.len(), &mut ());
        assert_eq!(rig.shard.transactions_open(), 1, "{wrong}");
    }
    rig.answer(&sir, 202, &[]);
    rig.answer(&sir, 200, &[]);
    let stray = rig.shard.ledger.stray;
    assert_eq!(
        (stray.provisional, stray.late, stray.other_method),
        (1, 1, 1)
    );
    assert!(stray.forged >= 1 && stray.foreign >= 5, "{stray:?}");
    let unreadable = rig.shard.session_counts().requests;
    assert!(stray.malformed + unreadable >= 2, "{stray:?}");
    assert_eq!(
        (rig.shard.ledger.stored, rig.shard.ledger.sirs_answered),
        (1, 1)
    );
}

#[test]
fn a_503_with_retry_after_closes_its_next_hop_and_tries_again_so_often() {
    let config = EngineConfig {
        retries_max: 1,
        ..EngineConfig::default()
    };
    let mut rig = Rig::new(&config, &people(1, "127.0.0.1:1"));
    rig.accept(to("sip:+4930000000@ims.example"));
    let first = rig.run_for(MS).remove(0).1;
    rig.answer(&first, 503, &[(b"Retry-After", b"2")]);
    let again = rig.run_for(3 * SECOND);
    assert_eq!(again.len(), 2, "a new transaction and its retransmission");
    assert!(again[0].0 >= SECOND + MS + 2 * SECOND);
    assert_ne!(branch_of(&again[0].1), branch_of(&first));
    rig.answer(&again[0].1, 503, &[(b"Retry-After", b"0")]);
    assert_eq!(rig.causes(), [("503".to_owned(), 1)]);
    assert!(rig.shard.is_idle());
}

#[test]
fn a_503_from_elsewhere_fails_its_own_sir_and_closes_nothing() {
    let mut rig = Rig::new(&EngineConfig::default(), &people(2, "127.0.0.1:1"));
    rig.accept(order(r#"{"order":"e","to":{"everybody":true}}"#));
    let left = rig.run_for(MS);
    let answer = answer_to(&left[0].1, 503, &[(b"Retry-After", b"3600")]);
    let device = SocketAddr::from(([192, 0, 2, 9], 5060));
    rig.shard
        .answer(rig.now, device, &answer, answer.len(), &mut ());
    assert_eq!(rig.causes(), [("503".to_owned(), 1)]);
    assert_eq!(rig.shard.next_hops.next_opening_ns(), None);
    rig.answer(&left[1].1, 200, &[]);
    assert!(rig.shard.is_idle());
}

#[test]
fn an_answer_that_comes_while_a_retransmission_waits_for_its_train_keeps_it_behind() {
    let config = EngineConfig {
        departure_us: 50_000,
        departure_busy_us: 50_000,
        ..EngineConfig::default()
    };
    let mut rig = Rig::new(&config, &people(2, "127.0.0.1:1"));
    rig.accept(order(r#"{"order":"e","to":{"everybody":true}}"#));
    let left = rig.run_for(60 * MS);
    assert_eq!(left.len(), 2);
    rig.now = left[0].0 + 505 * MS;
    assert!(rig.turn().is_empty(), "both are aboard again");
    rig.answer(&left[0].1, 200, &[]);
    let again = rig.run_for(60 * MS);
    assert_eq!(again.len(), 1);
    assert_eq!(branch_of(&again[0].1), branch_of(&left[1].1));
}

#[test]
fn a_refused_send_fails_everybody_aboard() {
    let mut rig = Rig::new(&EngineConfig::default(), &people(3, "127.0.0.1:1"));
    rig.accept(order(r#"{"order":"e","to":{"everybody":true}}"#));
    rig.shard.expire(rig.now);
    rig.shard.select(rig.now, &mut ());
    rig.now += MS;
    rig.shard.depart(rig.now, &mut rig.yard, &mut ());
    let departed = rig.yard.take_departed();
    assert_eq!((departed.len(), departed[0].1.len()), (1, 3));
    rig.shard.sent(rig.now, departed[0].0, true);
    rig.check();
    assert_eq!(rig.causes(), [("transport".to_owned(), 3)]);
}
