//! Waiting turns: they end by a datagram, by a waker, by the time asked, and never sleep over work.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use sirocco_ring::{Train, Wait};

use crate::rig::{BACKENDS, PATIENCE, Rig, port, small};

/// Longer than any test may run: a turn that waits for it has failed.
const FOR_EVER: Wait = Wait::Until(Duration::MAX);

#[test]
fn another_thread_ends_a_waiting_turn() {
    for backend in BACKENDS {
        let (tell, told) = mpsc::channel();
        let (done, finished) = mpsc::channel();
        let sleeper = thread::spawn(move || {
            let mut port = port(&small(backend));
            tell.send(port.wake_handle()).unwrap();
            for _ in 0..3 {
                while port.counters().wakes == 0 {
                    port.turn(FOR_EVER).unwrap();
                }
            }
            done.send(port.counters().wakes).unwrap();
        });
        let waker = told.recv().unwrap();
        // No telling when the port lies down: wake until it says that it was woken.
        let woken = loop {
            waker.wake();
            if let Ok(wakes) = finished.recv_timeout(Duration::from_millis(1)) {
                break wakes;
            }
        };
        assert!(woken > 0, "{backend:?}");
        sleeper.join().unwrap();
    }
}

#[test]
fn a_wake_up_before_the_turn_is_not_lost() {
    for backend in BACKENDS {
        let mut port = port(&small(backend));
        port.wake_handle().wake();
        port.turn(FOR_EVER).unwrap();
        assert_eq!(port.counters().wakes, 1, "{backend:?}");
    }
}

#[test]
fn each_wake_up_ends_one_turn_and_the_next_waits_again() {
    for backend in BACKENDS {
        let (tell, told) = mpsc::channel();
        let (ready, go) = mpsc::channel::<()>();
        let sleeper = thread::spawn(move || {
            let mut port = port(&small(backend));
            tell.send(port.wake_handle()).unwrap();
            for round in 1..=50 {
                ready.send(()).unwrap();
                while port.counters().wakes < round {
                    port.turn(FOR_EVER).unwrap();
                }
            }
            // Nothing is left over: this one runs its time.
            port.turn(Wait::Until(Duration::from_millis(1))).unwrap();
            port.turn(Wait::Until(Duration::from_millis(1))).unwrap();
            port.counters().wakes
        });
        let waker = told.recv().unwrap();
        for () in go {
            waker.wake();
        }
        assert_eq!(sleeper.join().unwrap(), 50, "{backend:?}");
    }
}

#[test]
fn a_datagram_ends_a_waiting_turn() {
    for backend in BACKENDS {
        let (tell, told) = mpsc::channel();
        let sleeper = thread::spawn(move || {
            let mut port = port(&small(backend));
            tell.send(port.local_address(0)).unwrap();
            let mut seen = 0;
            while seen == 0 {
                port.turn(FOR_EVER).unwrap();
                port.receive(8, |received| seen += received.bytes.len());
            }
            seen
        });
        let target = told.recv().unwrap();
        let mut sender = port(&small(backend));
        let slab = sender.take_slab().unwrap();
        let train = Train {
            socket: 0,
            target,
            source: None,
            length: 12,
            segment: 0,
            tag: 0,
        };
        sender.send(slab, train);
        sender.turn(Wait::No).unwrap();
        assert_eq!(sleeper.join().unwrap(), 12, "{backend:?}");
    }
}

#[test]
fn a_turn_does_not_wait_over_unread_datagrams() {
    for backend in BACKENDS {
        let mut rig = Rig::new(backend);
        let target = rig.right.local_address(0);
        let slab = rig.left.take_slab().unwrap();
        let train = Train {
            socket: 0,
            target,
            source: None,
            length: 12,
            segment: 0,
            tag: 0,
        };
        rig.left.send(slab, train);
        rig.left.turn(Wait::No).unwrap();
        rig.right.turn(Wait::Until(PATIENCE)).unwrap();
        rig.right.turn(FOR_EVER).unwrap();
        assert_eq!(rig.right.receive(8, |_| ()), 1, "{backend:?}");
    }
}
