//! Sessions of a whole load generator on loopback, with a small server on the other side: devices call
//! it, take contents, are hung up on or hang up, and the counts are what happened.

#![expect(clippy::unwrap_used, reason = "a test that fails may panic")]

mod running;
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use running::Running;
use server::{Server, config, policy};
use sirocco_loadgen::{Fault, LoadgenConfig, SessionPolicy};

const MS: Duration = Duration::from_millis(1);

fn with_policy(policy: SessionPolicy) -> LoadgenConfig {
    LoadgenConfig {
        session: Some(policy),
        ..config()
    }
}

fn only_edge(running: &Running) -> SocketAddr {
    running.addresses[0]
}

#[test]
fn a_train_of_sirs_becomes_trains_of_sessions() {
    let running = Running::start(with_policy(policy()));
    let mut server = Server::open();
    let edge = only_edge(&running);
    server.send_sirs(edge, 0..64);
    server.serve(64, |server| server.ended());
    let report = running.stop();
    let counts = &report.sessions.counts;
    assert_eq!(report.sirs_received, 64);
    assert_eq!(
        (counts.attempts, counts.established, counts.acks),
        (64, 64, 64)
    );
    assert_eq!((counts.contents, counts.content_octets), (64, 64 * 13));
    assert_eq!((counts.ended_by_peer, counts.duplicate_pushes), (64, 0));
    assert_eq!((report.sessions.calls, report.sessions.strays), (0, 0));
    assert_eq!(counts.decisions["accepted"], 64);
    assert_eq!(counts.setup_us.count, 64);
    // SIR, 200, MESSAGE and BYE came as trains of 64 and went as such.
    assert_eq!(server.trains["INVITE"], [64]);
    assert_eq!(server.trains["ACK"], [64]);
    assert_eq!(server.trains["200 MESSAGE in dialog"], [64]);
    assert_eq!(server.trains["200 BYE"], [64]);
    assert_eq!(report.sessions.messages_sent["invite"], 64);
}

#[test]
fn a_device_hangs_up_itself_when_its_policy_says_so() {
    let hang_up = Some("20ms".parse().unwrap());
    let running = Running::start(with_policy(SessionPolicy {
        hang_up,
        ..policy()
    }));
    let mut server = Server::open();
    server.ends = false;
    server.send_sirs(only_edge(&running), 0..10);
    server.serve(10, |server| server.byes);
    running.until(|live| live.sessions_open == 0);
    let report = running.stop();
    assert_eq!(report.sessions.counts.ended_by_device, 10);
    assert_eq!(report.sessions.calls, 0);
}

#[test]
fn an_invite_is_repeated_until_it_is_answered_and_given_up_after_timer_b() {
    let mut config = with_policy(policy());
    config.t1_ms = 20;
    let running = Running::start(config);
    let mut server = Server::open();
    server.deaf_to_invites = 2;
    server.send_sirs(only_edge(&running), 0..1);
    server.serve(1, |server| server.ended());
    server.deaf_to_invites = usize::MAX;
    server.send_sirs(only_edge(&running), 1..2);
    server.serve_for(1400 * MS);
    let report = running.stop();
    let counts = &report.sessions.counts;
    assert_eq!((counts.established, counts.timeouts), (1, 1));
    assert!(counts.invite_retransmissions >= 2 + 4, "{counts:?}");
    assert_eq!(report.sessions.calls, 0);
}

#[test]
fn a_refused_invite_gets_its_ack_and_its_status_is_counted() {
    let running = Running::start(with_policy(policy()));
    let mut server = Server::open();
    server.refuse_with = Some("403 Forbidden");
    server.send_sirs(only_edge(&running), 0..5);
    server.serve(5, |server| server.acks);
    let report = running.stop();
    assert_eq!(report.sessions.counts.refused[&403], 5);
    assert_eq!(report.sessions.counts.established, 0);
}

#[test]
fn a_2xx_that_comes_again_is_acknowledged_again_even_when_the_call_is_over() {
    let running = Running::start(with_policy(policy()));
    let mut server = Server::open();
    server.send_sirs(only_edge(&running), 0..1);
    server.serve(1, |server| server.ended());
    server.repeat_last_2xx(only_edge(&running));
    server.serve(2, |server| server.acks);
    let report = running.stop();
    assert_eq!(report.sessions.counts.established, 1);
    assert_eq!(report.sessions.counts.acks, 2);
}

#[test]
fn faults_of_devices_show_on_the_wire() {
    let faulty = |fault| {
        let running = Running::start(with_policy(SessionPolicy { fault, ..policy() }));
        let mut server = Server::open();
        server.send_sirs(only_edge(&running), 0..1);
        (running, server)
    };
    let (running, mut server) = faulty(Fault::ForgedToken);
    server.serve(1, |server| server.ended());
    assert_ne!(server.last_token, format!("{:032x}", 0));
    drop(running.stop());

    let (running, mut server) = faulty(Fault::DoubleInvite);
    server.serve(1, |server| server.ended());
    assert!(server.invites >= 2);
    assert_eq!(running.stop().sessions.counts.attempts, 1);

    let (running, mut server) = faulty(Fault::NoAck);
    server.serve_for(100 * MS);
    assert_eq!((server.acks, server.invites), (0, 1));
    drop(running.stop());

    let (running, mut server) = faulty(Fault::LateAck { ms: 50 });
    server.serve(1, |server| server.ended());
    assert_eq!(server.acks, 1);
    drop(running.stop());

    let (running, mut server) = faulty(Fault::VanishEstablished);
    server.serve_for(100 * MS);
    assert_eq!((server.acks, server.ended()), (1, 0));
    let report = running.stop();
    assert_eq!(
        (
            report.sessions.counts.vanished,
            report.sessions.counts.contents
        ),
        (1, 0)
    );
}

#[test]
fn corrupt_and_repeated_contents_are_told_apart() {
    let mut config = with_policy(policy());
    config.content = Some("another text!".to_owned());
    let running = Running::start(config);
    let mut server = Server::open();
    server.copies_of_content = 2;
    server.send_sirs(only_edge(&running), 0..3);
    server.serve(3, |server| server.ended());
    let report = running.stop();
    let counts = &report.sessions.counts;
    assert_eq!((counts.contents, counts.contents_corrupt), (3, 3));
    assert_eq!((counts.contents_repeated, counts.duplicate_pushes), (3, 0));
}
