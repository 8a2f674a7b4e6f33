//! Bounds of streams: how many, how much is queued, descriptors; and the fallback without io_uring.

use std::io::{Read, Write};
use std::net::TcpStream;

use sirocco_ring::{Backend, Notice, OpenError, Port, STREAM_BLOCK_BYTES, StreamFull, StreamId};

use crate::fallback::without_io_uring;
use crate::rig::{BACKENDS, in_own_process, small};
use crate::stream_rig::{End, both, join, pattern, streaming, until};

#[test]
fn accepting_stops_at_the_bound_and_goes_on_when_a_stream_ends() {
    for backend in BACKENDS {
        let mut config = streaming(backend);
        config.streams_max = 3;
        let mut end = End::new(&config);
        let mut peers: Vec<TcpStream> = (0..5).map(|_| end.peer()).collect();
        until(&mut end, "three", |end| end.told.accepted.len() == 3);
        for _ in 0..20 {
            end.pump();
        }
        assert_eq!(end.told.accepted.len(), 3, "{backend:?}");
        assert_eq!(end.port.stream_counters().accepts_stopped, 1, "{backend:?}");
        assert_eq!(end.port.connect(end.address(), None), None);
        assert_eq!(end.port.stream_counters().connects_full, 1);
        // Those that wait are not lost, nor what they said meanwhile.
        for peer in &mut peers {
            peer.write_all(b"hello").unwrap();
        }
        for ended in 0..3 {
            let stream = end.told.accepted[ended].0;
            end.port.reset_stream(stream);
            until(&mut end, "one more", |end| {
                end.told.accepted.len() == 5.min(4 + ended)
            });
        }
        let waited: Vec<StreamId> = end.told.accepted[3..].iter().map(|(id, _)| *id).collect();
        until(&mut end, "what they said", |end| {
            waited.iter().all(|stream| end.octets(*stream) == 5)
        });
        let counters = end.port.stream_counters();
        assert!((1..=3).contains(&counters.accepts_stopped), "{counters:?}");
    }
}

#[test]
fn a_connect_may_take_the_slot_that_an_accept_waits_for() {
    for backend in BACKENDS {
        let mut config = streaming(backend);
        config.streams_max = 2;
        let mut end = End::new(&config);
        let mut far = End::new(&streaming(backend));
        end.pump();
        let (one, _) = join(&mut end, &mut far);
        join(&mut end, &mut far);
        let mut late = end.peer();
        late.write_all(b"patient").unwrap();
        for _ in 0..10 {
            end.pump();
        }
        assert!(end.told.accepted.is_empty(), "{backend:?}");
        end.port.reset_stream(one);
        until(&mut end, "the late one", |end| {
            let accepted = end.told.accepted.first();
            accepted.is_some_and(|(stream, _)| end.octets(*stream) == 7)
        });
        assert_eq!(end.told.accepted[0].1, late.local_addr().unwrap());
    }
}

#[test]
fn queues_of_all_streams_have_a_bound_and_a_quarter_is_kept() {
    for backend in BACKENDS {
        let mut config = streaming(backend);
        config.stream_blocks = 8;
        config.stream_queue_bytes = 16 * STREAM_BLOCK_BYTES as u32;
        let mut left = End::new(&config);
        let mut right = End::new(&streaming(backend));
        let (hog, _) = join(&mut left, &mut right);
        let (modest, heard) = join(&mut left, &mut right);
        let six = pattern(6 * STREAM_BLOCK_BYTES, 1);
        let too_long = pattern(17 * STREAM_BLOCK_BYTES, 1);
        assert_eq!(
            left.port.send_stream(hog, &too_long),
            Err(StreamFull::Stream)
        );
        left.port.send_stream(hog, &six).unwrap();
        assert_eq!(left.port.send_stream(hog, b"x"), Err(StreamFull::Port));
        left.port.send_stream(modest, b"small").unwrap();
        assert_eq!(left.port.stream_counters().port_full, 1);
        assert_eq!(left.port.stream_counters().stream_full, 1);
        both(&mut left, &mut right, "room", |left, right| {
            left.told.drained.contains(&hog) && right.octets(heard) == 5
        });
        left.port.send_stream(hog, &six).unwrap();
    }
}

#[test]
fn without_io_uring_streams_fall_back_too() {
    without_io_uring(|| {
        let mut left = End::new(&streaming(Backend::Auto));
        let mut right = End::new(&streaming(Backend::Auto));
        assert_eq!(left.port.backend(), Backend::Mmsg);
        let (stream, heard) = join(&mut left, &mut right);
        let octets = pattern(100_000, 6);
        left.port.send_stream(stream, &octets).unwrap();
        both(&mut left, &mut right, "octets", |_, right| {
            right.octets(heard) == octets.len()
        });
        assert!(right.told.received[&heard] == octets);
    });
}

/// Limits the descriptors that this process may have.
fn limit_descriptors(count: u64) {
    let limit = libc::rlimit {
        rlim_cur: count,
        rlim_max: count,
    };
    // SAFETY: `limit` is ours over the call.
    let result = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    assert_eq!(result, 0);
}

#[test]
fn accepting_survives_a_want_of_descriptors() {
    let name = "stream_limits::accepting_survives_a_want_of_descriptors";
    if !in_own_process(name) {
        return;
    }
    let mut ends: Vec<End> = BACKENDS
        .iter()
        .map(|backend| End::new(&streaming(*backend)))
        .collect();
    let mut peers: Vec<Vec<TcpStream>> = ends
        .iter()
        .map(|end| (0..6).map(|_| end.peer()).collect())
        .collect();
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64 - 1;
    // Descriptors are given from the lowest: two are left, and what gaps there are.
    limit_descriptors(open + 2);
    for end in &mut ends {
        until(end, "the want", |end| {
            end.port.stream_counters().accepts_starved > 0 && !end.told.accepted.is_empty()
        });
        let some = end.told.accepted.len();
        assert!(some < 6, "no want");
        let turns = end.port.counters().turns;
        let calls = end.port.counters().syscalls;
        let starved = end.port.stream_counters().accepts_starved;
        for _ in 0..10 {
            end.pump();
        }
        let counters = end.port.counters();
        assert!(
            counters.syscalls - calls <= 4 * (counters.turns - turns),
            "the port spins"
        );
        let more = end.port.stream_counters().accepts_starved - starved;
        assert!(more <= 10, "{more}");
        // Where nothing more is to be had, connects say so.
        let refused = end.port.connect(end.address(), None).unwrap();
        until(end, "the refusal", |end| {
            end.told.refused == [(refused, libc::EMFILE)]
        });
        // A stream that ends makes room for one that waits.
        let ended = end.told.accepted[0].0;
        end.port.reset_stream(ended);
        until(end, "one more", |end| end.told.accepted.len() > some);
        until(end, "all six", |end| {
            for (stream, _) in end.told.accepted.clone() {
                end.port.reset_stream(stream);
            }
            end.told.accepted.len() == 6 && end.port.stream_count() == 0
        });
    }
    for peer in peers.iter_mut().flatten() {
        // Each was accepted and reset; none hangs in a backlog.
        assert!(peer.read(&mut [0; 1]).is_err());
    }
}

#[test]
fn bounds_and_addresses_are_refused_by_name() {
    let open = |change: fn(&mut sirocco_ring::PortConfig)| {
        let mut config = streaming(Backend::Mmsg);
        change(&mut config);
        Port::open(&config).map(drop).unwrap_err()
    };
    let error = open(|config| config.streams_max = 0).to_string();
    assert_eq!(error, "streams_max is 0; choose 1 to 131072");
    let error = open(|config| config.stream_blocks = 0).to_string();
    assert_eq!(error, "stream_blocks is 0; choose 1 to 131072");
    let error = open(|config| config.stream_queue_bytes = u32::MAX).to_string();
    assert!(
        error.starts_with("stream_queue_bytes is 4294967295"),
        "{error}"
    );
    let error = open(|config| config.listeners[0].bind = "192.0.2.1:5060".parse().unwrap());
    assert!(matches!(error, OpenError::Listener { step: "bind", .. }));
    assert!(error.to_string().contains("192.0.2.1:5060"), "{error}");
}

#[test]
fn what_the_host_grants_less_of_is_noticed() {
    if !in_own_process("stream_limits::what_the_host_grants_less_of_is_noticed") {
        return;
    }
    limit_descriptors(50);
    let mut config = streaming(Backend::Mmsg);
    config.listeners[0].backlog = u32::MAX;
    let port = Port::open(&config).unwrap();
    let said: Vec<String> = port.limits().iter().map(Notice::to_string).collect();
    assert!(
        said.iter()
            .any(|text| text.contains("raise net.core.somaxconn")),
        "{said:?}"
    );
    assert!(
        said.iter().any(|text| text.contains("raise RLIMIT_NOFILE")),
        "{said:?}"
    );
}

#[test]
fn a_port_without_streams_knows_no_streams() {
    for backend in BACKENDS {
        let mut port = Port::open(&small(backend)).unwrap();
        let target = port.local_address(0);
        assert_eq!(port.connect(target, None), None);
        let unknown = StreamId::from_bits(0);
        assert_eq!(port.send_stream(unknown, b"x"), Err(StreamFull::Closed));
        port.close_stream(unknown);
        assert_eq!((port.stream_count(), port.streams(9, |_| ())), (0, 0));
        assert_eq!(port.stream_counters().connects_full, 0);
    }
}
