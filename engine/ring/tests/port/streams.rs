//! Octets over TCP streams: every one comes, in order, on every pair of backends.

use std::io::{Read, Write};
use std::thread;

use sirocco_ring::allocation::allocations_on_this_thread;
use sirocco_ring::{Backend, CloseCause, StreamFull, StreamId, Wait};

use crate::rig::BACKENDS;
use crate::stream_rig::{End, PAIRS, both, join, pattern, streaming, until};

/// Sends back what came in the last turn, in order.
fn echo(end: &mut End) {
    for (stream, bytes) in std::mem::take(&mut end.told.fresh) {
        end.port.send_stream(stream, &bytes).unwrap();
    }
}

#[test]
fn many_streams_echo_what_they_hear() {
    for (near, far) in PAIRS {
        let mut left = End::new(&streaming(near));
        let mut right = End::new(&streaming(far));
        let streams: Vec<StreamId> = (0..50)
            .map(|_| left.port.connect(right.address(), None).unwrap())
            .collect();
        // Octets may be queued before the connection is there.
        let sent: Vec<Vec<u8>> = (0..50).map(|salt| pattern(3000, salt)).collect();
        for (stream, octets) in streams.iter().zip(&sent) {
            for piece in octets.chunks(700) {
                left.port.send_stream(*stream, piece).unwrap();
            }
        }
        both(&mut left, &mut right, "echoes", |left, right| {
            echo(right);
            streams.iter().all(|stream| left.octets(*stream) == 3000)
        });
        for (stream, octets) in streams.iter().zip(&sent) {
            assert!(
                left.told.received[stream] == *octets,
                "{near:?} {far:?}: {stream:?} came back changed"
            );
        }
        assert_eq!(
            (left.port.stream_count(), left.told.connected.len()),
            (50, 50)
        );
        assert_eq!(right.told.accepted.len(), 50);
        let ports = right.told.accepted.iter().map(|(_, peer)| peer.port());
        assert!(
            ports.clone().all(|port| port != 0),
            "{:?}",
            ports.collect::<Vec<_>>()
        );
    }
}

#[test]
fn a_large_transfer_arrives_whole_through_partial_sends() {
    const TOTAL: usize = 24 << 20;
    for (near, far) in PAIRS {
        let mut left = End::new(&streaming(near));
        let mut right = End::new(&streaming(far));
        let (stream, heard) = join(&mut left, &mut right);
        let octets = pattern(TOTAL, 7);
        let (mut queued, mut refused, mut seen) = (0, 0, 0);
        both(&mut left, &mut right, "the whole", |left, right| {
            while queued < TOTAL {
                let piece = &octets[queued..TOTAL.min(queued + 60_000)];
                match left.port.send_stream(stream, piece) {
                    Ok(()) => queued += piece.len(),
                    Err(full) => {
                        assert_eq!(full, StreamFull::Stream);
                        refused += 1;
                        break;
                    }
                }
            }
            for (_, bytes) in std::mem::take(&mut right.told.fresh) {
                assert!(
                    bytes == octets[seen..seen + bytes.len()],
                    "changed at {seen}"
                );
                seen += bytes.len();
            }
            right.told.received.clear();
            seen == TOTAL
        });
        assert!(refused > 0, "the queue was never full");
        assert!(!left.told.drained.is_empty(), "room was never told");
        assert_eq!(left.port.stream_counters().bytes_sent, TOTAL as u64);
        assert_eq!(right.port.stream_counters().bytes_received, TOTAL as u64);
        left.port.close_stream(stream);
        both(&mut left, &mut right, "both ends", |left, right| {
            left.told.closed.contains_key(&stream) && right.told.closed.contains_key(&heard)
        });
        assert_eq!(left.told.closed[&stream], CloseCause::Local);
        assert_eq!(right.told.closed[&heard], CloseCause::Peer);
    }
}

#[test]
fn a_slow_reader_fills_its_own_queue_and_no_other() {
    for backend in BACKENDS {
        let mut end = End::new(&streaming(backend));
        let mut slow = end.peer();
        let mut quick = end.peer();
        until(&mut end, "accepts", |end| end.told.accepted.len() == 2);
        let of = |end: &End, peer: &std::net::TcpStream| {
            let local = peer.local_addr().unwrap();
            let found = end.told.accepted.iter().find(|(_, peer)| *peer == local);
            found.unwrap().0
        };
        let (slow_id, quick_id) = (of(&end, &slow), of(&end, &quick));
        let octets = pattern(50_000, 1);
        let mut queued = 0_usize;
        // Until the socket buffers of both sides and the queue are full, and stay so.
        let mut idle = 0;
        until(&mut end, "a full queue", |end| {
            match end.port.send_stream(slow_id, &octets) {
                Ok(()) => (queued, idle) = (queued + octets.len(), 0),
                Err(full) => {
                    assert_eq!(full, StreamFull::Stream);
                    idle += 1;
                }
            }
            idle > 50
        });
        assert!(end.port.stream_counters().partial_sends > 0 || backend == Backend::Mmsg);
        for round in 0..20 {
            let piece = pattern(20_000, round);
            end.port.send_stream(quick_id, &piece).unwrap();
            let reader = thread::spawn(move || {
                let mut heard = vec![0; 20_000];
                quick.read_exact(&mut heard).unwrap();
                (quick, heard)
            });
            until(&mut end, "the quick one", |_| reader.is_finished());
            let (back, heard) = reader.join().unwrap();
            quick = back;
            assert!(heard == piece, "{backend:?}: changed beside a slow reader");
        }
        assert!(end.told.drained.is_empty());
        // The slow one wakes up: everything is there, and then room is told.
        let reader = thread::spawn(move || {
            let mut heard = vec![0; queued];
            slow.read_exact(&mut heard).unwrap();
            (slow, heard)
        });
        until(&mut end, "the slow one", |_| reader.is_finished());
        let (_slow, heard) = reader.join().unwrap();
        assert!(heard.chunks(50_000).all(|chunk| chunk == octets));
        until(&mut end, "room", |end| end.told.drained == [slow_id]);
        end.port.send_stream(slow_id, &octets).unwrap();
    }
}

#[test]
fn few_receive_buffers_lose_nothing_and_every_stream_gets_its_turn() {
    for backend in BACKENDS {
        let mut config = streaming(backend);
        config.stream_buffers = 2;
        let mut end = End::new(&config);
        let writers: Vec<_> = (0..8)
            .map(|salt| {
                let mut peer = end.peer();
                thread::spawn(move || {
                    peer.write_all(&pattern(400_000, salt)).unwrap();
                    peer
                })
            })
            .collect();
        until(&mut end, "eight transfers", |end| {
            let whole = end.told.received.values();
            whole.filter(|octets| octets.len() == 400_000).count() == 8
        });
        let mut heard: Vec<_> = end.told.received.values().cloned().collect();
        let mut wanted: Vec<_> = (0..8).map(|salt| pattern(400_000, salt)).collect();
        heard.sort_unstable();
        wanted.sort_unstable();
        assert!(heard == wanted, "{backend:?}");
        for writer in writers {
            writer.join().unwrap();
        }
    }
}

#[test]
fn streams_and_turns_allocate_nothing_in_steady_state() {
    for backend in BACKENDS {
        let mut left = End::new(&streaming(backend));
        let mut right = End::new(&streaming(backend));
        let (stream, heard) = join(&mut left, &mut right);
        let octets = pattern(20_000, 3);
        let mut round = || {
            left.port.send_stream(stream, &octets).unwrap();
            let mut count = 0;
            while count < octets.len() {
                left.port.turn(Wait::No).unwrap();
                right.port.turn(Wait::No).unwrap();
                right.port.streams(usize::MAX, |event| match event {
                    sirocco_ring::StreamEvent::Received { bytes, .. } => count += bytes.len(),
                    other => panic!("{other:?}"),
                });
            }
            left.port.streams(usize::MAX, |event| panic!("{event:?}"));
        };
        round();
        let before = allocations_on_this_thread();
        for _ in 0..100 {
            round();
        }
        assert_eq!(allocations_on_this_thread() - before, 0, "{backend:?}");
        assert_eq!(
            right.port.stream_peer(heard).unwrap().ip(),
            left.address().ip()
        );
    }
}

#[test]
fn messages_of_many_streams_share_one_system_call_on_io_uring() {
    let mut left = End::new(&streaming(Backend::Uring));
    let mut right = End::new(&streaming(Backend::Uring));
    let streams: Vec<_> = (0..40).map(|_| join(&mut left, &mut right).0).collect();
    let before = left.port.counters().syscalls;
    for stream in &streams {
        left.port.send_stream(*stream, b"MSRP").unwrap();
        left.port.send_stream(*stream, b" d93kswow SEND").unwrap();
    }
    left.port.turn(Wait::No).unwrap();
    assert_eq!(left.port.counters().syscalls - before, 1);
    assert_eq!(left.port.stream_counters().sends, 40);
    both(&mut left, &mut right, "messages", |_, right| {
        right
            .told
            .received
            .values()
            .filter(|octets| octets.len() == 18)
            .count()
            == 40
    });
}

#[test]
fn a_metered_stream_reads_a_portion_for_each_permit_and_closes_its_window() {
    for (near, far) in PAIRS {
        let mut left = End::new(&streaming(near));
        let mut right = End::new(&streaming(far));
        let stream = left.port.connect(right.address(), None).unwrap();
        left.port.meter_stream(stream);
        both(&mut left, &mut right, "a connection", |left, right| {
            left.told.connected.contains(&stream) && right.told.accepted.len() == 1
        });
        let heard = right.told.accepted[0].0;
        let octets = pattern(60_000, 3);
        let mut queued = 0;
        // Nothing is read, so in the end the other side's queue is full.
        both(&mut left, &mut right, "a full queue", |_, right| {
            let full = right.port.send_stream(heard, &octets).is_err();
            queued += if full { 0 } else { octets.len() };
            full && right.told.drained.is_empty() && queued > (1 << 20)
        });
        (0..20).for_each(|_| left.pump());
        assert_eq!(left.octets(stream), 0, "read without a permit");
        for portion in 1..=5 {
            left.port.permit_stream(stream);
            let before = left.octets(stream);
            both(&mut left, &mut right, "a portion", |left, _| {
                left.octets(stream) > before
            });
            (0..10).for_each(|_| left.pump());
            let got = left.octets(stream) - before;
            assert!(got <= 16_384, "{near:?} portion {portion} of {got}");
        }
        let mut read = left.octets(stream);
        both(&mut left, &mut right, "the whole", |left, _| {
            left.port.permit_stream(stream);
            read = left.octets(stream);
            read == queued
        });
        right.port.close_stream(heard);
        both(&mut left, &mut right, "the end", |left, _| {
            left.port.permit_stream(stream);
            left.told.closed.contains_key(&stream)
        });
        assert_eq!(left.told.closed[&stream], CloseCause::Peer);
    }
}
