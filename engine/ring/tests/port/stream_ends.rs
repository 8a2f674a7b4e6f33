//! The ends of streams: orderly ones, resets, half-open peers, refused connects, churn, drops.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::thread;

use sirocco_ring::{CloseCause, StreamFull, StreamId};

use crate::rig::BACKENDS;
use crate::stream_rig::{End, PAIRS, both, join, pattern, streaming, until};

/// Makes the drop of a peer a reset.
fn reset_on_drop(peer: &std::net::TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let length = size_of_val(&linger) as libc::socklen_t;
    let (raw, value) = (peer.as_raw_fd(), (&raw const linger).cast());
    // SAFETY: `linger` is ours over the call.
    let result = unsafe { libc::setsockopt(raw, libc::SOL_SOCKET, libc::SO_LINGER, value, length) };
    assert_eq!(result, 0);
}

fn accepted(end: &mut End) -> StreamId {
    let before = end.told.accepted.len();
    until(end, "an accept", |end| end.told.accepted.len() > before);
    end.told.accepted[before].0
}

#[test]
fn what_is_queued_before_a_close_still_arrives() {
    for backend in BACKENDS {
        let mut end = End::new(&streaming(backend));
        let mut peer = end.peer();
        let stream = accepted(&mut end);
        let octets = pattern(200_000, 5);
        end.port.send_stream(stream, &octets).unwrap();
        end.port.close_stream(stream);
        assert_eq!(end.port.send_stream(stream, b"x"), Err(StreamFull::Closed));
        let reader = thread::spawn(move || {
            let mut heard = Vec::new();
            // Said after our end was told: it is dropped, and does not reset what is under way.
            peer.write_all(b"too late").unwrap();
            peer.read_to_end(&mut heard).unwrap();
            heard
        });
        until(&mut end, "the end", |end| {
            end.told.closed.contains_key(&stream)
        });
        assert!(reader.join().unwrap() == octets, "{backend:?}");
        assert_eq!(end.told.closed[&stream], CloseCause::Local);
        assert_eq!(end.port.stream_count(), 0);
        assert_eq!(end.port.stream_counters().bytes_discarded, 8);
    }
}

#[test]
fn a_peer_that_ends_its_half_still_gets_the_answer() {
    for backend in BACKENDS {
        let mut end = End::new(&streaming(backend));
        let mut peer = end.peer();
        peer.write_all(b"question").unwrap();
        peer.shutdown(Shutdown::Write).unwrap();
        let stream = accepted(&mut end);
        until(&mut end, "its end", |end| {
            end.told.closed.contains_key(&stream)
        });
        assert_eq!(end.told.closed[&stream], CloseCause::Peer);
        assert_eq!(end.told.received[&stream], b"question");
        // The turn in which its end was told is not over yet.
        end.port.send_stream(stream, &pattern(100_000, 2)).unwrap();
        let reader = thread::spawn(move || {
            let mut heard = Vec::new();
            peer.read_to_end(&mut heard).unwrap();
            heard
        });
        until(&mut end, "the answer", |_| reader.is_finished());
        assert!(reader.join().unwrap() == pattern(100_000, 2), "{backend:?}");
        until(&mut end, "the slot", |end| end.port.stream_count() == 0);
        assert_eq!(end.port.send_stream(stream, b"x"), Err(StreamFull::Closed));
    }
}

#[test]
fn a_reset_in_the_middle_of_a_send_ends_that_stream_only() {
    for backend in BACKENDS {
        let mut end = End::new(&streaming(backend));
        let doomed = end.peer();
        let stream = accepted(&mut end);
        let mut other = end.peer();
        let healthy = accepted(&mut end);
        let octets = pattern(250_000, 9);
        let mut idle = 0;
        // More than the socket buffers take, so that a send is under way when the reset comes.
        until(&mut end, "a full queue", |end| {
            idle = match end.port.send_stream(stream, &octets) {
                Ok(()) => 0,
                Err(_) => idle + 1,
            };
            idle > 20
        });
        reset_on_drop(&doomed);
        drop(doomed);
        until(&mut end, "the reset", |end| {
            end.told.closed.contains_key(&stream)
        });
        assert_eq!(end.told.closed[&stream], CloseCause::Reset, "{backend:?}");
        assert_eq!(end.port.stream_counters().resets, 1);
        assert_eq!(end.port.send_stream(stream, b"x"), Err(StreamFull::Closed));
        end.port.send_stream(healthy, b"still here").unwrap();
        end.pump();
        let mut heard = [0; 10];
        other.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"still here");
        until(&mut end, "the slot", |end| end.port.stream_count() == 1);
    }
}

#[test]
fn a_peer_closed_while_we_send_ends_the_stream_once() {
    for backend in BACKENDS {
        let mut end = End::new(&streaming(backend));
        let peer = end.peer();
        let stream = accepted(&mut end);
        end.port.send_stream(stream, &pattern(250_000, 4)).unwrap();
        end.pump();
        // Closed with octets unread: the kernel answers what follows with a reset.
        drop(peer);
        until(&mut end, "its end", |end| {
            end.told.closed.contains_key(&stream)
        });
        until(&mut end, "the slot", |end| end.port.stream_count() == 0);
        let cause = end.told.closed[&stream];
        assert!(
            matches!(cause, CloseCause::Reset | CloseCause::Peer),
            "{backend:?} {cause:?}"
        );
    }
}

#[test]
fn our_reset_is_seen_by_the_peer_and_drops_the_queue() {
    for (near, far) in PAIRS {
        let mut left = End::new(&streaming(near));
        let mut right = End::new(&streaming(far));
        let (stream, heard) = join(&mut left, &mut right);
        left.port.send_stream(stream, &pattern(250_000, 1)).unwrap();
        left.pump();
        left.port.reset_stream(stream);
        both(&mut left, &mut right, "both ends", |left, right| {
            left.told.closed.contains_key(&stream) && right.told.closed.contains_key(&heard)
        });
        assert_eq!(left.told.closed[&stream], CloseCause::Local);
        assert_eq!(
            right.told.closed[&heard],
            CloseCause::Reset,
            "{near:?} {far:?}"
        );
        both(&mut left, &mut right, "slots", |left, right| {
            left.port.stream_count() + right.port.stream_count() == 0
        });
    }
}

#[test]
fn a_connect_that_nobody_answers_is_refused_with_its_errno() {
    for backend in BACKENDS {
        let mut end = End::new(&streaming(backend));
        let nobody = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let refused = end.port.connect(nobody, None).unwrap();
        let foreign: SocketAddr = "192.0.2.77:0".parse().unwrap();
        let unbound = end.port.connect(nobody, Some(foreign)).unwrap();
        end.port.send_stream(refused, b"never sent").unwrap();
        until(&mut end, "refusals", |end| end.told.refused.len() == 2);
        let mut told = end.told.refused.clone();
        told.sort_unstable();
        let mut wanted = [
            (refused, libc::ECONNREFUSED),
            (unbound, libc::EADDRNOTAVAIL),
        ];
        wanted.sort_unstable();
        assert_eq!(told, wanted, "{backend:?}");
        assert_eq!((end.port.stream_count(), end.told.closed.len()), (0, 0));
    }
}

#[test]
fn a_connect_may_name_its_source_and_be_closed_before_it_is_there() {
    for (near, far) in PAIRS {
        let mut left = End::new(&streaming(near));
        let mut right = End::new(&streaming(far));
        let source: SocketAddr = "127.0.0.9:0".parse().unwrap();
        let stream = left.port.connect(right.address(), Some(source)).unwrap();
        left.port.send_stream(stream, b"short").unwrap();
        left.port.close_stream(stream);
        let given_up = left.port.connect(right.address(), None).unwrap();
        left.port.close_stream(given_up);
        both(&mut left, &mut right, "ends", |left, right| {
            left.told.closed.len() == 2 && right.port.stream_counters().closed == 1
        });
        let (heard, peer) = right.told.accepted[0];
        assert_eq!(peer.ip(), source.ip());
        assert_eq!(right.told.received[&heard], b"short");
        assert_eq!(left.told.closed[&stream], CloseCause::Local);
        assert_eq!(left.told.closed[&given_up], CloseCause::Local);
    }
}

#[test]
fn slots_are_used_again_and_old_names_find_nothing() {
    for (near, far) in PAIRS {
        let mut config = streaming(near);
        config.streams_max = 3;
        let mut left = End::new(&config);
        config.backend = far;
        let mut right = End::new(&config);
        let mut old: Vec<StreamId> = Vec::new();
        for round in 0..60_u64 {
            let (stream, heard) = join(&mut left, &mut right);
            assert!(!old.contains(&stream), "{stream:?} was given twice");
            for gone in &old {
                let nothing = left.port.send_stream(*gone, b"for another");
                assert_eq!(nothing, Err(StreamFull::Closed));
                left.port.close_stream(*gone);
                left.port.reset_stream(*gone);
                assert_eq!(left.port.stream_peer(*gone), None);
            }
            let octets = pattern(5000, round);
            left.port.send_stream(stream, &octets).unwrap();
            match round % 3 {
                0 => left.port.close_stream(stream),
                1 => {
                    both(&mut left, &mut right, "octets", |_, right| {
                        right.octets(heard) == 5000
                    });
                    right.port.close_stream(heard);
                }
                _ => {
                    left.pump();
                    right.port.reset_stream(heard);
                }
            }
            both(&mut left, &mut right, "both slots", |left, right| {
                left.port.stream_count() + right.port.stream_count() == 0
            });
            if round % 3 < 2 {
                assert!(right.told.received[&heard] == octets, "{near:?} {far:?}");
            }
            old.push(stream);
        }
        assert_eq!(left.port.stream_counters().connected, 60);
        assert_eq!(left.port.stream_counters().closed, 60);
        assert!(old.iter().all(|stream| stream.slot() < 3));
    }
}

/// A draw from 0 to `below` - 1.
fn draw(state: &mut u64, below: u64) -> u64 {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    (*state >> 33) % below
}

/// One random deed to one of an end's streams; `sent` keeps what each was given.
fn meddle(end: &mut End, state: &mut u64, sent: &mut HashMap<StreamId, Vec<u8>>) {
    let open: Vec<StreamId> = end.told.connected.clone();
    let accepted = end.told.accepted.iter().map(|(stream, _)| *stream);
    let open: Vec<StreamId> = open.into_iter().chain(accepted).collect();
    let recent = &open[open.len().saturating_sub(8)..];
    if recent.is_empty() {
        return;
    }
    let stream = recent[draw(state, recent.len() as u64) as usize];
    match draw(state, 30) {
        0 => end.port.close_stream(stream),
        1 => end.port.reset_stream(stream),
        _ => {
            let before = sent.entry(stream).or_default();
            let octets = pattern(draw(state, 40_000) as usize, before.len() as u64);
            if end.port.send_stream(stream, &octets).is_ok() {
                before.extend(octets);
            }
        }
    }
}

#[test]
fn streams_ended_at_random_deliver_prefixes_and_give_everything_back() {
    for (seed, (near, far)) in (1..).zip(PAIRS) {
        let mut config = streaming(near);
        (
            config.streams_max,
            config.stream_blocks,
            config.stream_buffers,
        ) = (6, 64, 3);
        let mut left = End::new(&config);
        config.backend = far;
        let mut right = End::new(&config);
        let mut state = seed;
        let (mut from_left, mut from_right) = (HashMap::new(), HashMap::new());
        for _ in 0..3000 {
            if draw(&mut state, 8) == 0 {
                left.port.connect(right.address(), None);
            }
            meddle(&mut left, &mut state, &mut from_left);
            meddle(&mut right, &mut state, &mut from_right);
            match draw(&mut state, 3) {
                0 => left.pump(),
                1 => right.pump(),
                _ => {}
            }
        }
        let all: Vec<StreamId> = left.told.connected.clone();
        all.iter()
            .for_each(|stream| left.port.reset_stream(*stream));
        both(&mut left, &mut right, "the end of all", |left, right| {
            for (stream, _) in right.told.accepted.clone() {
                right.port.close_stream(stream);
            }
            for stream in left.told.connected.clone() {
                left.port.close_stream(stream);
            }
            left.port.stream_count() + right.port.stream_count() == 0
        });
        assert!(
            left.told.connected.len() > 50,
            "{}",
            left.told.connected.len()
        );
        // Slots fill in the order of accepts, so streams are matched by what they carried.
        let whole = |sent: &HashMap<StreamId, Vec<u8>>, heard: &[u8]| {
            sent.values().any(|octets| octets.starts_with(heard))
        };
        for heard in right.told.received.values() {
            assert!(whole(&from_left, heard), "{near:?} {far:?}: octets changed");
        }
        for heard in left.told.received.values() {
            assert!(
                whole(&from_right, heard),
                "{near:?} {far:?}: octets changed"
            );
        }
        let told = left.told.closed.len() as u64;
        assert_eq!(told, left.port.stream_counters().closed);
    }
}

#[test]
fn streams_speak_ipv6() {
    for backend in BACKENDS {
        let mut config = streaming(backend);
        config.listeners[0].bind = "[::1]:0".parse().unwrap();
        let mut left = End::new(&config);
        let mut right = End::new(&config);
        let (stream, heard) = join(&mut left, &mut right);
        left.port.send_stream(stream, b"v6").unwrap();
        both(&mut left, &mut right, "octets", |_, right| {
            right.octets(heard) == 2
        });
        let peer = right.port.stream_peer(heard).unwrap();
        assert_eq!(peer.ip(), left.address().ip());
    }
}

#[test]
fn a_peer_that_never_ends_is_reset_after_a_while() {
    for backend in BACKENDS {
        let mut end = End::new(&streaming(backend));
        let peer = end.peer();
        let stream = accepted(&mut end);
        end.port.close_stream(stream);
        until(&mut end, "our patience", |end| {
            end.told.closed.contains_key(&stream)
        });
        assert_eq!(
            end.told.closed[&stream],
            CloseCause::TimedOut,
            "{backend:?}"
        );
        until(&mut end, "the slot", |end| end.port.stream_count() == 0);
        drop(peer);
    }
}

#[test]
fn ports_dropped_while_streams_are_busy_leak_nothing() {
    if !crate::rig::in_own_process("stream_ends::ports_dropped_while_streams_are_busy_leak_nothing")
    {
        return;
    }
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    for (near, far) in PAIRS {
        let busy = || {
            let mut left = End::new(&streaming(near));
            let mut right = End::new(&streaming(far));
            let streams: Vec<_> = (0..8).map(|_| join(&mut left, &mut right)).collect();
            for (stream, heard) in &streams {
                left.port.send_stream(*stream, &pattern(200_000, 1)).ok();
                right.port.send_stream(*heard, &pattern(30_000, 1)).ok();
            }
            left.pump();
            right.port.close_stream(streams[0].1);
            // Queued and never submitted, connecting, received and never told.
            left.port.send_stream(streams[3].0, b"never sent").ok();
            left.port.connect(right.address(), None).unwrap();
            drop(left);
            drop(right);
        };
        busy();
        let before = descriptors();
        for _ in 0..10 {
            busy();
        }
        assert_eq!(descriptors(), before, "{near:?} {far:?}");
    }
}
