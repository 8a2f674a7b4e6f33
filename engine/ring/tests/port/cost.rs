//! What a turn costs, counted: system calls and allocations per train. Exact, so that a change shows.

use sirocco_ring::allocation::allocations_on_this_thread;
use sirocco_ring::{Backend, Datagram, Train, Wait};

use crate::rig::{BACKENDS, Rig};

const ROUNDS: u64 = 200;
const SEGMENTS: u64 = 64;

/// One train there; the receiver takes it; returns datagrams received.
fn round(rig: &mut Rig) -> u64 {
    let target = rig.right.local_address(0);
    let slab = rig.left.take_slab().unwrap();
    let train = Train {
        socket: 0,
        target,
        source: None,
        length: 64 * 500,
        segment: 500,
        tag: 1,
    };
    rig.left.send(slab, train);
    rig.left.turn(Wait::No).unwrap();
    rig.left.sent(|sent| assert_eq!(sent.result, Ok(64 * 500)));
    rig.right.turn(Wait::No).unwrap();
    let mut datagrams = 0;
    rig.right.receive(usize::MAX, |received| {
        datagrams += received.datagram_count() as u64;
    });
    datagrams
}

#[test]
fn a_train_costs_one_system_call_a_side_on_io_uring_and_two_to_send_on_mmsg() {
    for backend in BACKENDS {
        let mut rig = Rig::new(backend);
        let datagrams: u64 = (0..ROUNDS).map(|_| round(&mut rig)).sum();
        assert_eq!(datagrams, ROUNDS * SEGMENTS);
        let sender = rig.left.counters();
        let receiver = rig.right.counters();
        // The fallback's turn also asks its socket whether something came.
        let sender_calls = if backend == Backend::Uring {
            ROUNDS
        } else {
            2 * ROUNDS
        };
        assert_eq!(sender.syscalls, sender_calls, "{backend:?}");
        assert_eq!(receiver.syscalls, ROUNDS, "{backend:?}");
        assert_eq!(sender.submissions, ROUNDS);
        assert_eq!(sender.datagrams_sent, ROUNDS * SEGMENTS);
        assert_eq!(sender.trains_sent, ROUNDS);
        assert_eq!(receiver.trains_received, ROUNDS);
    }
}

#[test]
fn an_idle_turn_costs_nothing_on_io_uring() {
    let mut rig = Rig::new(Backend::Uring);
    for _ in 0..100 {
        rig.left.turn(Wait::No).unwrap();
    }
    assert_eq!(
        (rig.left.counters().turns, rig.left.counters().syscalls),
        (100, 0)
    );
}

#[test]
fn many_datagrams_share_one_system_call_on_both_backends() {
    for backend in BACKENDS {
        let mut rig = Rig::new(backend);
        let target = rig.right.local_address(0);
        let slab = rig.left.take_slab().unwrap();
        let one = |offset| Datagram {
            target,
            source: None,
            offset,
            length: 100,
        };
        let datagrams: Vec<Datagram> = (0..64).map(|index| one(index * 100)).collect();
        rig.left.send_many(slab, 0, &datagrams, 3);
        rig.left.turn(Wait::No).unwrap();
        let calls = if backend == Backend::Uring { 1 } else { 2 };
        assert_eq!(rig.left.counters().syscalls, calls, "{backend:?}");
        assert_eq!(rig.left.counters().submissions, 64);
    }
}

#[test]
fn the_steady_state_allocates_nothing() {
    for backend in BACKENDS {
        let mut rig = Rig::new(backend);
        round(&mut rig);
        let before = allocations_on_this_thread();
        for _ in 0..ROUNDS {
            round(&mut rig);
        }
        assert_eq!(allocations_on_this_thread() - before, 0, "{backend:?}");
    }
    // The counter does count, or the figure above would mean nothing.
    let before = allocations_on_this_thread();
    drop(std::hint::black_box(Box::new(1)));
    assert_eq!(allocations_on_this_thread() - before, 1);
}

#[test]
fn more_datagrams_than_submission_entries_all_leave_in_one_turn() {
    for backend in BACKENDS {
        let mut rig = Rig::new(backend);
        let target = rig.right.local_address(0);
        let one = |offset| Datagram {
            target,
            source: None,
            offset,
            length: 20,
        };
        let datagrams: Vec<Datagram> = (0..128).map(|index| one(index * 20)).collect();
        for tag in 0..10 {
            let slab = rig.left.take_slab().unwrap();
            rig.left.send_many(slab, 0, &datagrams, tag);
        }
        rig.left.turn(Wait::No).unwrap();
        assert_eq!(rig.left.counters().submissions, 1280, "{backend:?}");
        let mut sent = rig.reports(10);
        sent.sort_by_key(|sent| sent.tag);
        for (tag, sent) in sent.iter().enumerate() {
            assert_eq!((sent.tag, sent.result), (tag as u64, Ok(128 * 20)));
            assert_eq!((sent.operations, sent.failed), (128, 0));
        }
        assert_eq!(rig.left.counters().cq_overflow, 0);
    }
}
