//! Probe for trains: UDP_SEGMENT out, UDP_GRO in, answered by trains of responses. Nothing is built,
//! looked up or parsed: lengths alone are counted, so what remains is the kernel's own price of
//! moving these bytes between two cores. This is the ceiling that the wire figure is divided by.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::endpoint::{self, SILENCE_MAX};
use super::{Cores, Measured, Run, Timing};

/// Longest payload of one UDP_SEGMENT send over IPv4 in bytes (65,535 less both headers).
pub const TRAIN_BYTES_MAX: usize = 65_507;

/// Most segments that one send may carry (udp(7), UDP_MAX_SEGMENTS).
pub const SEGMENTS_MAX: u16 = 128;

/// Buffer that holds any train.
pub const BUFFER_BYTES: usize = 1 << 16;

/// Lengths of what travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Length of a request in bytes.
    pub request_bytes: u16,
    /// Length of its response in bytes.
    pub response_bytes: u16,
    /// Requests in one train.
    pub train: u16,
    /// Receiving sockets, each with its own port.
    pub next_hops: u16,
}

impl Shape {
    /// The same shape with a train that the kernel can carry in both directions.
    #[must_use]
    pub fn bounded(self) -> Self {
        let longest = usize::from(self.request_bytes.max(self.response_bytes).max(1));
        let fitting = u16::try_from(TRAIN_BYTES_MAX / longest).unwrap_or(u16::MAX);
        Self {
            train: self.train.clamp(1, fitting.min(SEGMENTS_MAX)),
            ..self
        }
    }
}

/// A way of doing the same work; calibration keeps the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// One connected socket for each next hop instead of one socket for all.
    pub connected: bool,
    /// Trains in flight, over all next hops.
    pub in_flight: u16,
}

impl Variant {
    /// The variants that calibration compares.
    pub const ALL: [Self; 6] = [
        Self {
            connected: false,
            in_flight: 4,
        },
        Self {
            connected: false,
            in_flight: 16,
        },
        Self {
            connected: false,
            in_flight: 64,
        },
        Self {
            connected: true,
            in_flight: 4,
        },
        Self {
            connected: true,
            in_flight: 16,
        },
        Self {
            connected: true,
            in_flight: 64,
        },
    ];
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sockets = if self.connected {
            "a connected socket a next hop"
        } else {
            "one socket"
        };
        write!(f, "{sockets}, {} trains in flight", self.in_flight)
    }
}

/// Sockets of both sides, opened before any thread starts.
struct Pair {
    /// Sender's sockets: one, or one for each next hop.
    near: Vec<UdpSocket>,
    /// Receiving sockets, connected to their sender so that the route is known.
    far: Vec<UdpSocket>,
    /// Address of each of `far`.
    hops: Vec<SocketAddr>,
    /// Whether `near` has one connected socket for each of `far`.
    connected: bool,
}

impl Pair {
    fn open(shape: Shape, connected: bool) -> io::Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let near_count = if connected {
            usize::from(shape.next_hops)
        } else {
            1
        };
        let near = (0..near_count)
            .map(|_| endpoint::open(any, true, Some(shape.request_bytes)))
            .collect::<io::Result<Vec<_>>>()?;
        let far = (0..shape.next_hops)
            .map(|_| endpoint::open(any, true, Some(shape.response_bytes)))
            .collect::<io::Result<Vec<_>>>()?;
        let hops = far
            .iter()
            .map(UdpSocket::local_addr)
            .collect::<io::Result<Vec<_>>>()?;
        for (index, socket) in far.iter().enumerate() {
            let peer = &near[index % near.len()];
            socket.connect(peer.local_addr()?)?;
            if connected {
                peer.connect(hops[index])?;
            }
        }
        Ok(Self {
            near,
            far,
            hops,
            connected,
        })
    }
}

/// Requests out, responses back, until the time is over; counts answered requests.
///
/// # Errors
/// The kernel's, when a socket cannot be opened or a send fails for good.
pub fn closed_loop(
    shape: Shape,
    variant: Variant,
    cores: Cores,
    timing: Timing,
) -> io::Result<Run> {
    let shape = shape.bounded();
    let pair = Pair::open(shape, variant.connected)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let peer = scope.spawn(|| answer(&pair.far, shape, cores.far, &stop));
        let sender = scope.spawn(|| {
            let run = ask(&pair, shape, variant, cores.near, timing);
            stop.store(true, Ordering::Relaxed);
            run
        });
        let run = joined(sender);
        joined(peer)?;
        run
    })
}

/// Result of a probe thread; a panic in it is ours and goes on.
pub fn joined<T>(thread: thread::ScopedJoinHandle<'_, io::Result<T>>) -> io::Result<T> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What the sending side knows while it runs.
struct Asking {
    in_flight: usize,
    next: usize,
    due: usize,
    answered: u64,
    lost: u64,
    heard: Instant,
}

impl Asking {
    fn new() -> Self {
        Self {
            in_flight: 0,
            next: 0,
            due: 0,
            answered: 0,
            lost: 0,
            heard: Instant::now(),
        }
    }
}

fn ask(
    pair: &Pair,
    shape: Shape,
    variant: Variant,
    core: usize,
    timing: Timing,
) -> io::Result<Run> {
    endpoint::pin(core)?;
    let train = vec![b'R'; usize::from(shape.request_bytes) * usize::from(shape.train)];
    let mut buffer = vec![0u8; BUFFER_BYTES];
    // What is in flight must fit into the receive buffers of both sides, or datagrams are lost.
    let capacity = endpoint::receive_capacity(&pair.near[0])?;
    let window = usize::from(variant.in_flight).min((capacity / TRAIN_BYTES_MAX).max(1));
    let mut state = Asking::new();
    let mut clock = Measured::new(timing);
    while !clock.is_over(state.answered) {
        while state.in_flight < window && send_train(pair, &train, &mut state)? {}
        receive_trains(pair, &mut buffer, shape, &mut state)?;
        if state.in_flight > 0 && state.heard.elapsed() > SILENCE_MAX {
            state.lost += state.in_flight as u64 * u64::from(shape.train);
            state.in_flight = 0;
        }
    }
    Ok(clock.run(state.answered, state.lost))
}

/// Sends one train to the next hop whose turn it is; false when the kernel takes no more now.
fn send_train(pair: &Pair, train: &[u8], state: &mut Asking) -> io::Result<bool> {
    let hop = state.next;
    let sent = match pair.connected {
        true => pair.near[hop].send(train),
        false => pair.near[0].send_to(train, pair.hops[hop]),
    };
    match sent {
        Ok(_) => {
            state.next = following(hop, pair.hops.len());
            state.in_flight += 1;
            Ok(true)
        }
        Err(error) if endpoint::is_not_yet(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes every train of responses that is there, at most as many as are in flight.
fn receive_trains(
    pair: &Pair,
    buffer: &mut [u8],
    shape: Shape,
    state: &mut Asking,
) -> io::Result<()> {
    while state.in_flight > 0 {
        let socket = &pair.near[if pair.connected { state.due } else { 0 }];
        match socket.recv(buffer) {
            Ok(bytes) => {
                state.answered += (bytes / usize::from(shape.response_bytes)) as u64;
                state.in_flight -= 1;
                state.due = following(state.due, pair.hops.len());
                state.heard = Instant::now();
            }
            Err(error) if endpoint::is_not_yet(&error) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The peer: answers each train with as many responses, next hop by next hop.
///
/// The sender goes round the next hops in order and loopback keeps that order, so reading them in
/// turn needs no readiness call: cheaper than any real receiver can be, as a ceiling should be.
fn answer(far: &[UdpSocket], shape: Shape, core: usize, stop: &AtomicBool) -> io::Result<()> {
    endpoint::pin(core)?;
    let responses = vec![b'r'; usize::from(shape.response_bytes) * usize::from(shape.train)];
    let mut buffer = vec![0u8; BUFFER_BYTES];
    let mut due = 0;
    while !stop.load(Ordering::Relaxed) {
        match far[due].recv(&mut buffer) {
            Ok(bytes) => {
                let count = (bytes / usize::from(shape.request_bytes)).min(shape.train.into());
                let train = &responses[..count * usize::from(shape.response_bytes)];
                // A refused answer shows as loss at the sender.
                let _refused = far[due].send(train);
                due = following(due, far.len());
            }
            Err(error) if endpoint::is_not_yet(&error) => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Index after `index` on a round of `count`.
fn following(index: usize, count: usize) -> usize {
    if index + 1 == count { 0 } else { index + 1 }
}

/// Requests out and no answers: what sending alone costs, at most `variant.in_flight` trains ahead
/// of a peer that only reads.
///
/// # Errors
/// The kernel's, when a socket cannot be opened or a send fails for good.
pub fn one_way(shape: Shape, variant: Variant, cores: Cores, timing: Timing) -> io::Result<Run> {
    let shape = shape.bounded();
    let pair = Pair::open(shape, variant.connected)?;
    let stop = AtomicBool::new(false);
    let read = AtomicU64::new(0);
    thread::scope(|scope| {
        let peer = scope.spawn(|| swallow(&pair.far, shape, cores.far, (&read, &stop)));
        let sender = scope.spawn(|| {
            let run = pour(&pair, shape, variant, (cores.near, timing), &read);
            stop.store(true, Ordering::Relaxed);
            run
        });
        let run = joined(sender);
        joined(peer)?;
        run
    })
}

/// Sends for the whole time, never more than the window ahead of what the peer says it has read.
fn pour(
    pair: &Pair,
    shape: Shape,
    variant: Variant,
    (core, timing): (usize, Timing),
    read: &AtomicU64,
) -> io::Result<Run> {
    endpoint::pin(core)?;
    let train = vec![b'R'; usize::from(shape.request_bytes) * usize::from(shape.train)];
    let per_train = u64::from(shape.train);
    let capacity = endpoint::receive_capacity(&pair.far[0])?;
    let window = u64::from(variant.in_flight).min((capacity / TRAIN_BYTES_MAX).max(1) as u64);
    let mut state = Asking::new();
    let (mut sent, mut lost) = (0u64, 0u64);
    let mut clock = Measured::new(timing);
    while !clock.is_over(read.load(Ordering::Relaxed)) {
        let behind = sent - lost - read.load(Ordering::Acquire).min(sent - lost);
        if behind < window * per_train {
            if send_train(pair, &train, &mut state)? {
                sent += per_train;
                state.heard = Instant::now();
            }
        } else if state.heard.elapsed() > SILENCE_MAX {
            lost += behind;
            state.heard = Instant::now();
        }
    }
    Ok(clock.run(read.load(Ordering::Relaxed), lost))
}

/// The peer of `one_way`: reads and counts.
fn swallow(
    far: &[UdpSocket],
    shape: Shape,
    core: usize,
    (read, stop): (&AtomicU64, &AtomicBool),
) -> io::Result<()> {
    endpoint::pin(core)?;
    let mut buffer = vec![0u8; BUFFER_BYTES];
    let (mut due, mut count) = (0, 0u64);
    while !stop.load(Ordering::Relaxed) {
        match far[due].recv(&mut buffer) {
            Ok(bytes) => {
                count += (bytes / usize::from(shape.request_bytes)) as u64;
                read.store(count, Ordering::Release);
                due = following(due, far.len());
            }
            Err(error) if endpoint::is_not_yet(&error) => std::hint::spin_loop(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
