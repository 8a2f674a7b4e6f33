//! A worker and a peer over loopback: system calls and submissions for each SIR at trains of 64.

use sirocco_dispatch::config::{EngineConfig, Idle};
use sirocco_dispatch::load::{Load, Wanted};
use sirocco_dispatch::order::{Audience, Order};
use sirocco_loadgen::Mix;

use crate::devices::Devices;
use crate::engine::{Engine, population};

/// SIRs of the run.
const SIRS: u64 = 256 * 1024;

#[test]
fn trains_of_64_pay_one_system_call_for_many_sirs() {
    let devices = Devices::start(Mix::all_ok());
    let index = population(16_384, 1, &[devices.edge]);
    let identities: Vec<_> = index.keys().collect();
    let config = EngineConfig {
        window_total: 4_096,
        window_per_next_hop: 4_096,
        // Trains leave when they are full: how fast the machine is does not matter then.
        departure_us: 400_000,
        departure_busy_us: 400_000,
        train_segments: 64,
        idle: Idle::Wait,
        socket_buffer_bytes: 8 << 20,
        ..EngineConfig::default()
    };
    let engine = Engine::start(config, index);
    let audience = Audience::Load(Load::new(identities.into(), Wanted::All, None, SIRS));
    let summary = engine.order(Order::new("load", audience));
    assert_eq!(summary.tally.delivered, SIRS);
    let (report, names) = engine.stop();
    let heard = devices.stop();
    assert_eq!((names.len(), report.ledger.residue), (0, 0));
    assert_eq!(heard.sirs_received, SIRS);
    let total = report.total;
    let sent = total.sirs_sent + total.retransmissions;
    let per = |count: u64| count as f64 / sent as f64;
    println!(
        "{} system calls, {} submissions, {} trains for {sent} SIRs: {:.4}, {:.4}, {:.4} each",
        total.syscalls,
        total.submissions,
        total.trains_sent,
        per(total.syscalls),
        per(total.submissions),
        per(total.trains_sent),
    );
    assert_eq!(total.trains_sent, sent / 64, "every train is full");
    // A submission sends a train; a few more arm receives and wake-ups.
    assert!(
        total.submissions <= sent / 64 + sent / 1_000,
        "{} submissions",
        total.submissions
    );
    assert!(
        total.syscalls <= sent / 64,
        "{} system calls",
        total.syscalls
    );
}
