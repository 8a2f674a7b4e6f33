//! Two ports over loopback, on both backends: what is sent arrives whole, in order, from and to the
//! right addresses, and costs the system calls it should.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::rig::{BACKENDS, PATIENCE, Rig, fill_segments, port, read_all};
use sirocco_ring::{Backend, Datagram, PortConfig, SocketConfig, Train, Wait};

fn train(target: SocketAddr, length: u32, segment: u16) -> Train {
    Train {
        socket: 0,
        target,
        source: None,
        length,
        segment,
        tag: 7,
    }
}

#[test]
fn trains_arrive_whole_in_order_and_with_their_segment_size() {
    for backend in BACKENDS {
        for (count, last) in [(1, 550), (2, 550), (64, 550), (64, 17), (119, 1)] {
            let mut rig = Rig::new(backend);
            let slab = rig.left.take_slab().unwrap();
            let length = 550 * (count - 1) + last;
            fill_segments(&mut rig.left.slab_mut(&slab)[..length], 550, 0);
            let target = rig.right.local_address(0);
            rig.left.send(slab, train(target, length as u32, 550));
            rig.left.turn(Wait::No).unwrap();
            let received = read_all(&mut rig.right, count);
            let mut wanted = vec![0; length];
            fill_segments(&mut wanted, 550, 0);
            let wanted: Vec<&[u8]> = wanted.chunks(550).collect();
            assert_eq!(
                received, wanted,
                "{backend:?}, {count} segments, last of {last}"
            );
            let sent = rig.reports(1);
            assert_eq!((sent[0].tag, sent[0].result), (7, Ok(length as u32)));
            if count > 1 && backend == Backend::Uring {
                assert_eq!(
                    rig.right.counters().trains_received,
                    1,
                    "GRO keeps a train whole"
                );
            }
        }
    }
}

#[test]
fn many_targets_are_reached_and_answers_leave_from_the_address_asked() {
    for backend in BACKENDS {
        let mut rig = Rig::new(backend);
        let mut wildcard = SocketConfig::new(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
        wildcard.packet_info = true;
        let mut devices = port(&PortConfig {
            backend,
            ..PortConfig::new(vec![wildcard])
        });
        let port_number = devices.local_address(0).port();
        let slab = rig.left.take_slab().unwrap();
        let addresses: Vec<Ipv4Addr> = (0..100)
            .map(|device| Ipv4Addr::new(127, 3, device, 100 - device))
            .collect();
        let mut datagrams = Vec::new();
        for (index, address) in addresses.iter().enumerate() {
            rig.left.slab_mut(&slab)[index * 40..][..40].fill(index as u8);
            let target = SocketAddr::from((*address, port_number));
            let offset = index as u32 * 40;
            datagrams.push(Datagram {
                target,
                source: None,
                offset,
                length: 40,
            });
        }
        rig.left.send_many(slab, 0, &datagrams, 9);
        rig.left.turn(Wait::No).unwrap();
        let mut reached = Vec::new();
        while reached.len() < addresses.len() {
            devices.turn(Wait::Until(PATIENCE)).unwrap();
            let told = devices.receive(usize::MAX, |received| {
                assert_eq!(received.bytes, [reached.len() as u8; 40]);
                reached.push((received.local.unwrap(), received.peer));
            });
            assert!(told > 0, "{backend:?}: nothing came");
        }
        let wanted: Vec<IpAddr> = addresses.iter().map(|address| (*address).into()).collect();
        assert_eq!(
            reached.iter().map(|(local, _)| *local).collect::<Vec<_>>(),
            wanted
        );
        assert_eq!(rig.reports(1)[0].operations, 100);

        let slab = devices.take_slab().unwrap();
        let (local, peer) = reached[42];
        devices.slab_mut(&slab)[..2].copy_from_slice(b"ok");
        devices.send(
            slab,
            Train {
                source: Some(local),
                ..train(peer, 2, 0)
            },
        );
        devices.turn(Wait::No).unwrap();
        rig.left.turn(Wait::Until(PATIENCE)).unwrap();
        let mut answers = Vec::new();
        rig.left.receive(8, |received| {
            answers.push((received.peer, received.bytes.to_vec()));
        });
        assert_eq!(
            answers,
            [(SocketAddr::from((local, port_number)), b"ok".to_vec())]
        );
    }
}

#[test]
fn trains_travel_over_ipv6_from_the_source_asked() {
    for backend in BACKENDS {
        let mut config = crate::rig::small(backend);
        let mut socket = SocketConfig::new(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)));
        socket.packet_info = true;
        config.sockets = vec![socket];
        let mut rig = Rig {
            left: port(&config),
            right: port(&config),
        };
        let number = rig.right.local_address(0).port();
        let target = SocketAddr::from((Ipv6Addr::LOCALHOST, number));
        let slab = rig.left.take_slab().unwrap();
        rig.left.slab_mut(&slab)[..900].fill(6);
        let source = IpAddr::from(Ipv6Addr::LOCALHOST);
        rig.left.send(
            slab,
            Train {
                source: Some(source),
                ..train(target, 900, 300)
            },
        );
        rig.left.turn(Wait::No).unwrap();
        let mut datagrams = 0;
        while datagrams < 3 {
            rig.right.turn(Wait::Until(PATIENCE)).unwrap();
            let told = rig.right.receive(8, |received| {
                assert_eq!((received.local, received.peer.ip()), (Some(source), source));
                assert_eq!(received.bytes.len() % 300, 0);
                datagrams += received.datagram_count();
            });
            assert!(told > 0, "{backend:?}: nothing came");
        }
    }
}
