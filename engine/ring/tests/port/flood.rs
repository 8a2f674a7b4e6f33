//! More datagrams than receive buffers: nothing is lost while the sockets hold them, multishot
//! receives end and are armed again, and no socket starves.

use sirocco_ring::{Backend, Datagram, SocketConfig, Wait};

use crate::rig::{BACKENDS, port, small};

const BUFFERS: u32 = 4;

#[test]
fn a_flood_beyond_the_buffers_is_received_whole_and_in_order() {
    for backend in BACKENDS {
        let mut left = port(&small(backend));
        let mut config = small(backend);
        config.receive_buffer_count = BUFFERS;
        let mut right = port(&config);
        let target = right.local_address(0);
        let slab = left.take_slab().unwrap();
        let datagrams: Vec<Datagram> = (0..120)
            .map(|index| {
                // Lengths differ, so that the kernel cannot merge them into trains.
                left.slab_mut(&slab)[index * 200..][..200].fill(index as u8);
                let offset = index as u32 * 200;
                Datagram {
                    target,
                    source: None,
                    offset,
                    length: 200 - index as u16,
                }
            })
            .collect();
        left.send_many(slab, 0, &datagrams, 0);
        left.turn(Wait::No).unwrap();
        // Turns without reading: the buffers fill, then the receive ends.
        for _ in 0..3 {
            right.turn(Wait::No).unwrap();
        }
        let mut seen = 0_u8;
        while seen < 120 {
            right.turn(Wait::Until(crate::rig::PATIENCE)).unwrap();
            let before = seen;
            right.receive(usize::MAX, |received| {
                for datagram in received.datagrams() {
                    assert_eq!(datagram, vec![seen; 200 - usize::from(seen)]);
                    seen += 1;
                }
            });
            assert!(
                seen - before <= BUFFERS as u8,
                "one buffer carries one datagram"
            );
        }
        let counters = right.counters();
        assert!(counters.enobufs > 0, "{backend:?}: {counters:?}");
        assert_eq!(
            counters.rearms > 0,
            backend == Backend::Uring,
            "{counters:?}"
        );
        assert_eq!(
            (counters.datagrams_received, counters.truncations),
            (120, 0)
        );
        assert_eq!(right.kernel_drops().unwrap(), 0);
    }
}

#[test]
fn many_sockets_share_few_buffers_and_none_starves() {
    const SOCKETS: u16 = 40;
    const EACH: u32 = 30;
    for backend in BACKENDS {
        let mut left = port(&small(backend));
        let mut config = small(backend);
        config.receive_buffer_count = BUFFERS;
        config.sockets = vec![SocketConfig::default(); SOCKETS.into()];
        let mut right = port(&config);
        for round in 0..EACH {
            let slab = left.take_slab().unwrap();
            let datagrams: Vec<Datagram> = (0..SOCKETS)
                .map(|socket| {
                    let target = right.local_address(socket);
                    // Shorter from round to round: GRO never merges a longer one behind a shorter one,
                    // and ends a train after a shorter one.
                    Datagram {
                        target,
                        source: None,
                        offset: 0,
                        length: 100 - 2 * round as u16,
                    }
                })
                .collect();
            left.send_many(slab, 0, &datagrams, 0);
            crate::rig::reports(&mut left, 1);
        }
        let mut seen = [0; SOCKETS as usize];
        let mut left_over = u32::from(SOCKETS) * EACH;
        while left_over > 0 {
            right.turn(Wait::Until(crate::rig::PATIENCE)).unwrap();
            let before = left_over;
            right.receive(usize::MAX, |received| {
                let count = received.datagram_count() as u32;
                seen[usize::from(received.socket)] += count;
                left_over -= count;
            });
            assert!(
                left_over < before,
                "{backend:?}: {left_over} never came, {:?}",
                right.counters()
            );
        }
        assert_eq!(seen, [EACH; SOCKETS as usize], "{backend:?}");
    }
}
