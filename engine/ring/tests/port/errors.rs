//! Sends that the kernel refuses: each typed, counted by cause, and its slab given back.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use sirocco_ring::{Datagram, OpenError, Port, SendError, SocketConfig, Train, Wait};

use crate::rig::{BACKENDS, Rig, port, small};

#[test]
fn refused_trains_are_typed_and_counted_and_their_slabs_come_back() {
    for backend in BACKENDS {
        let mut config = small(backend);
        config.slab_bytes = 65_536;
        let mut rig = Rig {
            left: port(&config),
            right: port(&config),
        };
        let good = rig.right.local_address(0);
        let broadcast = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
        let foreign = Some(IpAddr::from([192, 0, 2, 77]));
        let train = |target, source, length, segment| Train {
            socket: 0,
            target,
            source,
            length,
            segment,
            tag: u64::from(length),
        };
        let cases = [
            (train(good, None, 65_508, 0), SendError::TooLarge),
            (
                train(broadcast, None, 10, 0),
                SendError::Denied(libc_eacces()),
            ),
            (train(good, None, 129 * 10, 10), SendError::Invalid(22)),
            (train(good, foreign, 10, 0), SendError::Unreachable(101)),
        ];
        let free = rig.left.free_slab_count();
        for (train, wanted) in cases {
            let slab = rig.left.take_slab().unwrap();
            rig.left.send(slab, train);
            let sent = rig.reports(1)[0];
            assert_eq!(sent.result, Err(wanted), "{backend:?}");
            assert_eq!((sent.tag, sent.operations, sent.failed), (train.tag, 1, 1));
        }
        assert_eq!(rig.left.free_slab_count(), free);
        let errors = rig.left.counters().send_errors;
        assert_eq!((errors.too_large, errors.denied), (1, 1));
        assert_eq!((errors.unreachable, errors.invalid), (1, 1));
        assert_eq!(errors.total(), 4);
    }
}

fn libc_eacces() -> i32 {
    13
}

#[test]
fn one_bad_datagram_among_many_does_not_stop_the_others() {
    for backend in BACKENDS {
        let mut rig = Rig::new(backend);
        let good = rig.right.local_address(0);
        let bad = SocketAddr::from((Ipv4Addr::BROADCAST, 9));
        let slab = rig.left.take_slab().unwrap();
        rig.left.slab_mut(&slab)[..30].fill(b'x');
        let datagrams: Vec<Datagram> = (0..3)
            .map(|index| {
                let target = if index == 1 { bad } else { good };
                Datagram {
                    target,
                    source: None,
                    offset: index * 10,
                    length: 10,
                }
            })
            .collect();
        rig.left.send_many(slab, 0, &datagrams, 5);
        let sent = rig.reports(1)[0];
        assert_eq!(
            (sent.result.is_err(), sent.operations, sent.failed),
            (true, 3, 1)
        );
        assert_eq!(
            crate::rig::read_all(&mut rig.right, 2),
            [[b'x'; 10], [b'x'; 10]]
        );
    }
}

#[test]
fn slabs_run_out_and_come_back() {
    for backend in BACKENDS {
        let mut rig = Rig::new(backend);
        let target = rig.right.local_address(0);
        let mut slabs = Vec::new();
        while let Some(slab) = rig.left.take_slab() {
            slabs.push(slab);
        }
        assert_eq!(slabs.len(), 16);
        let train = Train {
            socket: 0,
            target,
            source: None,
            length: 8,
            segment: 0,
            tag: 2,
        };
        for slab in slabs.drain(1..) {
            rig.left.send(slab, train);
        }
        assert!(rig.left.take_slab().is_none());
        rig.left.release(slabs.remove(0));
        assert_eq!(rig.left.free_slab_count(), 1);
        rig.reports(15);
        assert_eq!(rig.left.free_slab_count(), 16);
    }
}

#[test]
fn a_slab_leaves_again_only_after_its_report_was_read() {
    for backend in BACKENDS {
        let mut rig = Rig::new(backend);
        let target = rig.right.local_address(0);
        let mut sent = 0;
        while let Some(slab) = rig.left.take_slab() {
            let train = Train {
                socket: 0,
                target,
                source: None,
                length: 8,
                segment: 0,
                tag: sent,
            };
            rig.left.send(slab, train);
            rig.left.turn(Wait::No).unwrap();
            sent += 1;
        }
        assert_eq!(sent, 16, "{backend:?}");
        let mut tags: Vec<_> = rig.reports(16).iter().map(|report| report.tag).collect();
        tags.sort_unstable();
        assert_eq!(tags, (0..16).collect::<Vec<_>>(), "{backend:?}");
        assert_eq!(rig.left.free_slab_count(), 16, "{backend:?}");
    }
}

#[test]
fn configurations_out_of_bounds_are_refused_by_name() {
    let mut config = small(BACKENDS[1]);
    config.slab_bytes = 65_537;
    let error = Port::open(&config).unwrap_err();
    assert!(
        matches!(
            error,
            OpenError::Bound {
                name: "slab_bytes",
                ..
            }
        ),
        "{error}"
    );
    config.slab_bytes = 1;
    config.sockets.clear();
    let error = Port::open(&config).unwrap_err();
    assert_eq!(error.to_string(), "sockets is 0; choose 1 to 2048");
}

#[test]
fn a_port_in_use_is_named_in_the_error() {
    let first = port(&small(BACKENDS[1]));
    let taken = first.local_address(0);
    let mut config = small(BACKENDS[1]);
    config.sockets = vec![SocketConfig::new(taken)];
    let error = Port::open(&config).unwrap_err().to_string();
    assert!(
        error.contains(&taken.to_string()) && error.contains("bind"),
        "{error}"
    );
}
