//! Dropping a port at any moment: everything in flight is cancelled and drained, and descriptors and
//! memory are given back.

use sirocco_ring::{Backend, SendPath, Train, Wait};

use crate::rig::{BACKENDS, Rig, port, small};

/// Lines of /proc/self/maps: mappings of this process.
fn mappings() -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .unwrap()
        .lines()
        .count()
}

/// Open sockets, eventfds, epolls and rings of this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn open_use_and_drop(backend: Backend, path: SendPath) {
    let mut config = small(backend);
    config.send_path = path;
    let mut left = port(&config);
    let mut right = port(&config);
    let target = right.local_address(0);
    let train = Train {
        socket: 0,
        target,
        source: None,
        length: 6400,
        segment: 100,
        tag: 1,
    };
    for _ in 0..4 {
        let slab = left.take_slab().unwrap();
        left.send(slab, train);
    }
    left.turn(Wait::No).unwrap();
    right.turn(Wait::No).unwrap();
    // Queued and never submitted, taken and never sent, received and never read.
    let slab = left.take_slab().unwrap();
    left.send(slab, train);
    let _taken = left.take_slab().unwrap();
    drop(left);
    drop(right);
}

#[test]
fn ports_dropped_in_the_middle_leak_nothing() {
    // In a process of its own, as other tests open ports too.
    if !crate::rig::in_own_process("closing::ports_dropped_in_the_middle_leak_nothing") {
        return;
    }
    for backend in BACKENDS {
        for path in [SendPath::Copy, SendPath::ZeroCopy, SendPath::ZeroCopyFixed] {
            open_use_and_drop(backend, path);
            let before = descriptors();
            let mapped_before = mappings();
            for _ in 0..20 {
                open_use_and_drop(backend, path);
            }
            assert_eq!(descriptors(), before, "{backend:?} {path:?}");
            let grown = mappings().saturating_sub(mapped_before);
            assert!(
                grown < 20,
                "{backend:?} {path:?}: {grown} mappings left behind"
            );
        }
    }
}

#[test]
fn a_queued_train_of_a_dropped_port_still_leaves() {
    let mut rig = Rig::new(Backend::Uring);
    let target = rig.right.local_address(0);
    let slab = rig.left.take_slab().unwrap();
    rig.left.slab_mut(&slab)[..200].fill(5);
    rig.left.send(
        slab,
        Train {
            socket: 0,
            target,
            source: None,
            length: 200,
            segment: 100,
            tag: 1,
        },
    );
    drop(rig.left);
    let datagrams = crate::rig::read_all(&mut rig.right, 2);
    assert_eq!(datagrams, [[5; 100], [5; 100]]);
}
