//! Two threads, a port each: one sends trains, the other sends each back out of slabs of its own; every
//! octet is compared. Backends meet each other, with few buffers, so that receives end and are armed
//! again while the other side sends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use sirocco_ring::{Backend, PortConfig, SendPath, Train, Wait};

use crate::rig::{PATIENCE, fill_segments, port, small};

const TRAINS: u64 = 1500;
const SEGMENT: u16 = 400;
const LENGTH: u32 = 400 * 20 + 123;

/// Trains under way at once: fewer than slabs, more than receive buffers.
const WINDOW: u64 = 10;

fn config(backend: Backend, send_path: SendPath) -> PortConfig {
    PortConfig {
        receive_buffer_count: 3,
        send_path,
        ..small(backend)
    }
}

/// Sends everything back until told to stop.
fn echo(config: &PortConfig, tell: &mpsc::Sender<std::net::SocketAddr>, stop: &AtomicBool) {
    let mut port = port(config);
    tell.send(port.local_address(0)).unwrap();
    let mut held = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        port.turn(Wait::Until(Duration::from_millis(5))).unwrap();
        port.receive(usize::MAX, |received| {
            held.push((received.peer, received.segment, received.bytes.to_vec()));
        });
        port.sent(|sent| assert_eq!(sent.result, Ok(LENGTH)));
        while let Some((target, segment, bytes)) = held.pop() {
            let Some(slab) = port.take_slab() else {
                held.push((target, segment, bytes));
                break;
            };
            port.slab_mut(&slab)[..bytes.len()].copy_from_slice(&bytes);
            let (length, segment) = (bytes.len() as u32, segment as u16);
            port.send(
                slab,
                Train {
                    socket: 0,
                    target,
                    source: None,
                    length,
                    segment,
                    tag: 0,
                },
            );
        }
    }
}

/// Sends trains and compares what comes back; the order of trains is free, that of octets is not.
fn dispatch(config: &PortConfig, target: std::net::SocketAddr) {
    let mut port = port(config);
    let (mut sent, mut seen) = (0, vec![false; TRAINS as usize]);
    let mut back = 0;
    while back < TRAINS {
        while sent < TRAINS
            && sent - back < WINDOW
            && let Some(slab) = port.take_slab()
        {
            let bytes = &mut port.slab_mut(&slab)[..LENGTH as usize];
            fill_segments(bytes, SEGMENT.into(), sent);
            bytes[..8].copy_from_slice(&sent.to_ne_bytes());
            let (length, segment, tag) = (LENGTH, SEGMENT, sent);
            port.send(
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
        let silent = back;
        let completions = port.counters().completions;
        port.turn(Wait::Until(PATIENCE)).unwrap();
        port.sent(|sent| assert_eq!(sent.result, Ok(LENGTH)));
        port.receive(usize::MAX, |received| {
            let number = u64::from_ne_bytes(*received.bytes.first_chunk().unwrap());
            let mut wanted = vec![0; LENGTH as usize];
            fill_segments(&mut wanted, SEGMENT.into(), number);
            wanted[..8].copy_from_slice(&number.to_ne_bytes());
            assert!(received.bytes == wanted, "train {number} came back changed");
            assert!(
                !std::mem::replace(&mut seen[number as usize], true),
                "{number} came twice"
            );
            back += 1;
        });
        let moved = back > silent || port.counters().completions > completions;
        assert!(
            moved,
            "{} of {TRAINS} came back: {:?}",
            back,
            port.counters()
        );
    }
}

#[test]
fn trains_come_back_as_they_went_whatever_the_backends_and_send_paths() {
    let pairs = [
        (Backend::Uring, Backend::Uring, SendPath::Copy),
        (Backend::Uring, Backend::Mmsg, SendPath::Copy),
        (Backend::Mmsg, Backend::Uring, SendPath::ZeroCopy),
        (Backend::Uring, Backend::Uring, SendPath::ZeroCopy),
        (Backend::Uring, Backend::Uring, SendPath::ZeroCopyFixed),
        (Backend::Mmsg, Backend::Mmsg, SendPath::Copy),
    ];
    for (near, far, path) in pairs {
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, told) = mpsc::channel();
        let echoing = {
            let stop = stop.clone();
            thread::spawn(move || echo(&config(far, path), &tell, &stop))
        };
        dispatch(&config(near, path), told.recv().unwrap());
        stop.store(true, Ordering::Relaxed);
        echoing.join().unwrap();
    }
}
