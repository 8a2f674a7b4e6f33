//! The three send paths under load: a slab is rewritten the moment it is free, and what the peer
//! reads is still what was sent. On loopback the kernel copies in the end and says so.

use std::time::Duration;

use sirocco_ring::{Backend, SendPath, Train, Wait};

use crate::rig::{Rig, fill_segments, port, small};

const ROUNDS: u64 = 400;
const SEGMENT: usize = 512;
const SEGMENTS: usize = 32;

/// Slabs in flight at once, fewer than the rig has receive buffers.
const WINDOW: usize = 6;

fn rig(path: SendPath) -> Rig {
    let mut config = small(Backend::Uring);
    config.send_path = path;
    config.slab_count = WINDOW as u32;
    Rig {
        left: port(&config),
        right: port(&small(Backend::Uring)),
    }
}

/// The receiver's view of one train against what its salt says it was.
fn check(bytes: &[u8], salt: u64) {
    let mut wanted = vec![0; bytes.len()];
    fill_segments(&mut wanted, SEGMENT, salt);
    assert!(bytes == wanted, "train {salt} was changed under way");
}

/// Reads the reports that are there, which frees their slabs.
fn settled(rig: &mut Rig, length: u32) -> u64 {
    let mut count = 0;
    rig.left.sent(|report| {
        assert_eq!(report.result, Ok(length));
        count += 1;
    });
    count
}

fn run(path: SendPath) -> Rig {
    let mut rig = rig(path);
    let target = rig.right.local_address(0);
    let length = (SEGMENT * SEGMENTS) as u32;
    let (mut sent, mut read, mut free) = (0, 0, 0);
    while read < ROUNDS {
        // Notifications of the last round first; if none came yet, there is nothing to send or read.
        let wait = if rig.left.free_slab_count() == 0 {
            crate::rig::PATIENCE
        } else {
            Duration::ZERO
        };
        rig.left.turn(Wait::Until(wait)).unwrap();
        free += settled(&mut rig, length);
        while sent < ROUNDS
            && let Some(slab) = rig.left.take_slab()
        {
            fill_segments(
                &mut rig.left.slab_mut(&slab)[..length as usize],
                SEGMENT,
                sent,
            );
            let segment = SEGMENT as u16;
            let tag = sent;
            rig.left.send(
                slab,
                Train {
                    socket: 0,
                    target,
                    source: None,
                    length,
                    segment,
                    tag,
                },
            );
            sent += 1;
        }
        rig.left.turn(Wait::No).unwrap();
        free += settled(&mut rig, length);
        let before = read;
        rig.right.turn(Wait::Until(crate::rig::PATIENCE)).unwrap();
        rig.right.receive(usize::MAX, |received| {
            check(received.bytes, read);
            read += 1;
        });
        assert!(read > before, "{path:?}: train {read} never came");
    }
    while free < ROUNDS {
        free += crate::rig::reports(&mut rig.left, 1).len() as u64;
    }
    assert_eq!(rig.left.free_slab_count(), WINDOW);
    rig
}

#[test]
fn copying_sends_keep_every_octet() {
    let rig = run(SendPath::Copy);
    assert_eq!(rig.left.counters().zc_notifications, 0);
}

#[test]
fn zero_copy_sends_keep_every_octet_and_free_slabs_at_the_notification() {
    let rig = run(SendPath::ZeroCopy);
    let counters = rig.left.counters();
    assert_eq!(counters.zc_notifications, ROUNDS);
    assert_eq!(counters.zc_copied, ROUNDS, "loopback copies");
    assert_eq!(counters.completions, 2 * ROUNDS);
}

#[test]
fn registered_sends_keep_every_octet_and_free_slabs_at_the_notification() {
    let rig = run(SendPath::ZeroCopyFixed);
    let registered = rig
        .left
        .limits()
        .iter()
        .all(|notice| !matches!(notice, sirocco_ring::Notice::FixedBuffersMissing(_)));
    assert!(registered, "{:?}", rig.left.limits());
    assert_eq!(rig.left.counters().zc_notifications, ROUNDS);
}

#[test]
fn a_slab_is_not_free_before_its_notification() {
    // The receiver has not looked yet, so the kernel still holds the sender's pages or a copy of
    // them; free slabs and notifications must agree at every moment.
    let mut rig = rig(SendPath::ZeroCopy);
    let target = rig.right.local_address(0);
    for _ in 0..WINDOW {
        let slab = rig.left.take_slab().unwrap();
        let train = Train {
            socket: 0,
            target,
            source: None,
            length: 1024,
            segment: 512,
            tag: 0,
        };
        rig.left.send(slab, train);
    }
    while rig.left.free_slab_count() < WINDOW {
        rig.left.turn(Wait::Until(crate::rig::PATIENCE)).unwrap();
        rig.left.sent(|report| assert_eq!(report.failed, 0));
        let notified = rig.left.counters().zc_notifications as usize;
        assert_eq!(rig.left.free_slab_count(), notified);
    }
}

#[test]
fn refused_zero_copy_sends_are_reported_and_freed() {
    for path in [SendPath::ZeroCopy, SendPath::ZeroCopyFixed] {
        let mut rig = rig(path);
        let target = rig.right.local_address(0);
        let slab = rig.left.take_slab().unwrap();
        let train = Train {
            socket: 0,
            target,
            source: None,
            length: 1290,
            segment: 10,
            tag: 8,
        };
        rig.left.send(slab, train);
        let report = rig.reports(1)[0];
        assert_eq!(
            (report.tag, report.failed, report.result.is_err()),
            (8, 1, true),
            "{path:?}"
        );
        assert_eq!(rig.left.free_slab_count(), WINDOW);
    }
}
