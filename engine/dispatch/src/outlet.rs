//! The outlet of a worker: a port with sockets, or the null sink.
//!
//! It carries slabs out and hands arrivals to the shard; it decides nothing. The two kinds differ in a
//! branch a turn, not a branch a SIR.

use crate::config::{self, EngineConfig, Sink};
use crate::report::{Counts, EngineReport};
use crate::shard::Shard;
use crate::stopwatch::{Lap, Stage, Stopwatch, Watch};
use crate::train::{Outbox, TRAIN_BYTES_MAX};
use crate::worker::{EngineError, Ready};
use connections::SIP_LISTENER;
use sirocco_ring::{Backend, Datagram, ListenerConfig, OpenError, Port, PortConfig};
use sirocco_ring::{SendError, SendPath, Sent, Slab, tracepoints};
use sirocco_ring::{SocketConfig, Train, Wait};
use std::net::{SocketAddr, UdpSocket};

mod connections;

/// Receives handled in one turn before sending goes on: about four full trains from 16 next hops.
const RECEIVES_PER_TURN_MAX: usize = 64;
/// Receive buffers beyond which more next hops get no more: 16 MiB.
const RECEIVE_BUFFERS_OF_NEXT_HOPS_MAX: usize = 256;
/// Largest train that is counted by its size.
const TRAIN_SIZE_MAX: usize = 128;

/// Where a worker's slabs go.
pub struct Outlet {
    kind: Kind,
    train_sizes: [u64; TRAIN_SIZE_MAX + 1],
    answer_train_sizes: [u64; TRAIN_SIZE_MAX + 1],
    /// Slabs handed over since the start, replies and all.
    departures: u64,
    sir_bytes: usize,
    answer_bytes: usize,
}

enum Kind {
    Wire {
        port: Box<Port>,
        datagrams: Vec<Datagram>,
        has_msrp: bool,
    },
    Null(Null),
}

/// Ownership of a slab of either kind.
pub enum Stall {
    /// A slab of the port.
    Port(Slab),
    /// A slab of the null sink, by number.
    Null(usize),
}

/// Slabs that go nowhere.
struct Null {
    slabs: Vec<Box<[u8]>>,
    free: Vec<usize>,
    sunk: Vec<usize>,
    trains: u64,
    datagrams: u64,
    /// Turns until it fails as a ring might.
    #[cfg(test)]
    turns_left: Option<u64>,
}

impl Outlet {
    /// Opens the outlet that the settings name.
    ///
    /// # Errors
    /// [`EngineError::Port`], which says what the host lacks.
    pub fn open(config: &EngineConfig, next_hops: usize) -> Result<Self, EngineError> {
        let kind = match config.sink {
            Sink::Null => Kind::Null(Null::new(config.slabs as usize)),
            Sink::Wire => Kind::Wire {
                port: Box::new(open_port(config, next_hops)?),
                datagrams: Vec::with_capacity(TRAIN_SIZE_MAX),
                has_msrp: config.msrp_bind.is_some() && config.streams_max > 0,
            },
        };
        let train_sizes = [0; TRAIN_SIZE_MAX + 1];
        Ok(Self {
            kind,
            train_sizes,
            answer_train_sizes: train_sizes,
            departures: 0,
            sir_bytes: 0,
            answer_bytes: 0,
        })
    }

    /// The address that answers come to; a placeholder for the null sink.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        match &self.kind {
            Kind::Wire { port, .. } => port.local_address(0),
            Kind::Null(_) => SocketAddr::from(([127, 0, 0, 1], 5060)),
        }
    }

    /// Where MSRP connections come to, if anywhere.
    #[must_use]
    pub fn msrp_address(&self) -> Option<SocketAddr> {
        match &self.kind {
            Kind::Wire { port, has_msrp, .. } => {
                has_msrp.then(|| port.listener_address(SIP_LISTENER + 1))
            }
            Kind::Null(_) => None,
        }
    }

    /// What a started worker says of itself.
    #[must_use]
    pub fn introduce(&self) -> Ready {
        match &self.kind {
            Kind::Wire { port, .. } => Ready {
                address: Some(port.local_address(0)),
                msrp: self.msrp_address(),
                waker: Some(port.wake_handle()),
                backend: match port.backend() {
                    Backend::Mmsg => "mmsg",
                    _ => "uring",
                },
                notices: port.limits().iter().map(ToString::to_string).collect(),
            },
            Kind::Null(_) => Ready {
                address: None,
                msrp: None,
                waker: None,
                backend: "null",
                notices: Vec::new(),
            },
        }
    }

    /// Submits what was queued, in one system call at most.
    ///
    /// # Errors
    /// What the kernel says of the ring itself; failed sends are reported by [`Outlet::settle`].
    pub fn submit(&mut self, wait: Wait) -> std::io::Result<()> {
        match &mut self.kind {
            Kind::Wire { port, .. } => port.submit(wait),
            Kind::Null(null) => {
                null.count_turn()?;
                if let Wait::Until(sleep) = wait {
                    std::thread::sleep(sleep.min(std::time::Duration::from_millis(1)));
                }
                Ok(())
            }
        }
    }

    /// Reaps what has completed.
    pub fn reap(&mut self) {
        if let Kind::Wire { port, .. } = &mut self.kind {
            port.reap();
        }
    }

    /// Hands the shard what arrived and what has left; returns how many of both.
    pub fn settle(&mut self, now: u64, shard: &mut Shard, watch: &mut Stopwatch) -> usize {
        let mut settled = 0;
        match &mut self.kind {
            Kind::Wire { port, .. } => {
                port.sent(|sent| {
                    settled += 1;
                    shard.sent(now, sent.tag as usize, is_fatal(&sent));
                });
                watch.lap(Lap::Reap);
                settled += self.receive(now, shard, watch);
                watch.lap(Lap::Arrivals);
                settled += self.serve_connections(now, shard);
                watch.lap(Lap::Streams);
            }
            Kind::Null(null) => {
                for number in null.sunk.drain(..) {
                    settled += 1;
                    shard.sink(now, number);
                    null.free.push(number);
                }
                watch.lap(Lap::Reap);
            }
        }
        settled
    }

    /// Reads what arrived; the train of replies to a train leaves before the next one is read.
    fn receive(&mut self, now: u64, shard: &mut Shard, watch: &mut Stopwatch) -> usize {
        for trains in 0..RECEIVES_PER_TURN_MAX {
            let Kind::Wire { port, .. } = &mut self.kind else {
                return trains;
            };
            let (answer_bytes, sizes) = (&mut self.answer_bytes, &mut self.answer_train_sizes);
            let heard = port.receive(1, |received| {
                watch.split(Stage::Receive);
                let (bytes, segment) = (received.bytes, received.segment);
                *answer_bytes = segment;
                sizes[bytes.len().div_ceil(segment.max(1)).min(TRAIN_SIZE_MAX)] += 1;
                shard.answer(now, received.peer, bytes, segment, watch);
            });
            if heard == 0 {
                return trains;
            }
            watch.split(Stage::Receive);
            shard.reply(self);
            watch.split(Stage::Session);
        }
        RECEIVES_PER_TURN_MAX
    }

    /// Slabs handed over since the start.
    #[must_use]
    pub fn departures(&self) -> u64 {
        self.departures
    }

    /// Whether nothing of this outlet's own is left to settle.
    #[must_use]
    pub fn can_sleep(&self) -> bool {
        match &self.kind {
            Kind::Wire { .. } => true,
            Kind::Null(null) => null.sunk.is_empty(),
        }
    }

    /// Adds this outlet's counters.
    #[must_use]
    pub fn count(&self, counts: Counts) -> Counts {
        match &self.kind {
            Kind::Wire { port, .. } => {
                let counters = port.counters();
                Counts {
                    syscalls: counters.syscalls,
                    submissions: counters.submissions,
                    trains_sent: counters.trains_sent,
                    datagrams_sent: counters.datagrams_sent,
                    datagrams_received: counters.datagrams_received,
                    bytes_sent: counters.bytes_sent,
                    bytes_received: counters.bytes_received,
                    receives: counters.trains_received,
                    ..counts
                }
            }
            Kind::Null(null) => Counts {
                trains_sent: null.trains,
                datagrams_sent: null.datagrams,
                ..counts
            },
        }
    }

    /// Adds what this outlet knows to a report.
    pub fn report(&self, report: &mut EngineReport) {
        if let Kind::Wire { port, .. } = &self.kind {
            report.sends_refused = port.counters().send_errors.total();
            report.enobufs = port.counters().enobufs;
        }
        report.sir_bytes = self.sir_bytes;
        report.answer_bytes = self.answer_bytes;
        report.train_sizes = self.train_sizes.to_vec();
        report.answer_train_sizes = self.answer_train_sizes.to_vec();
    }

    /// Lets the null sink fail after so many turns.
    #[cfg(test)]
    pub fn fail_after(&mut self, turns: Option<u64>) {
        if let Kind::Null(null) = &mut self.kind {
            null.turns_left = turns;
        }
    }

    /// Begins to count train sizes anew.
    pub fn reset_train_sizes(&mut self) {
        self.train_sizes.fill(0);
        self.answer_train_sizes.fill(0);
    }
}

/// Receive buffers that so many next hops need: where they are many, their answers come in short trains,
/// each fills a buffer, and a receive that finds none has to be armed again.
fn buffers_for(next_hops: usize) -> u32 {
    (next_hops / 4).min(RECEIVE_BUFFERS_OF_NEXT_HOPS_MAX) as u32
}

/// Whether a refused send ends its transactions (RFC 3261 17.1.4).
///
/// Only what will be refused again does: a route that flaps, a packet filter whose table is full and want
/// of memory are losses that Timer E repairs. Of a slab with many targets, one that cannot be sent to
/// must not end the others.
fn is_fatal(sent: &Sent) -> bool {
    let lasting = matches!(
        sent.result,
        Err(SendError::TooLarge | SendError::Invalid(_))
    );
    lasting && sent.failed == sent.operations
}

/// Opens the port, whose SIP listener has the number of its UDP port (RFC 3261 18.2.1).
fn open_port(config: &EngineConfig, next_hops: usize) -> Result<Port, OpenError> {
    const TRIES: usize = 16;
    let mut config = config.clone();
    let is_chosen = config.bind.port() != 0 || config.streams_max == 0;
    for _ in 0..TRIES {
        if !is_chosen {
            // Whichever number the system gives for UDP may be taken for TCP, or by another until then.
            let probe = UdpSocket::bind((config.bind.ip(), 0));
            let address = probe.and_then(|socket| socket.local_addr());
            config
                .bind
                .set_port(address.map_or(0, |address| address.port()));
        }
        match Port::open(&port_config(&config, next_hops)) {
            Err(OpenError::Socket { .. } | OpenError::Listener { .. }) if !is_chosen => {}
            opened => return opened,
        }
    }
    Port::open(&port_config(&config, next_hops))
}

fn port_config(config: &EngineConfig, next_hops: usize) -> PortConfig {
    let backend = match config.backend {
        config::Backend::Auto => Backend::Auto,
        config::Backend::Uring => Backend::Uring,
        config::Backend::Mmsg => Backend::Mmsg,
    };
    let send_path = match config.send_path {
        config::SendPath::Copy => SendPath::Copy,
        config::SendPath::ZeroCopy => SendPath::ZeroCopy,
        config::SendPath::ZeroCopyFixed => SendPath::ZeroCopyFixed,
    };
    let socket = SocketConfig {
        bind: config.bind,
        packet_info: false,
        receive_buffer_bytes: config.socket_buffer_bytes,
        send_buffer_bytes: config.socket_buffer_bytes,
    };
    PortConfig {
        slab_count: config.slabs,
        receive_buffer_count: config.receive_buffers.max(buffers_for(next_hops)),
        backend,
        send_path,
        listeners: if config.streams_max == 0 {
            Vec::new()
        } else {
            let binds = [Some(config.bind), config.msrp_bind];
            binds
                .into_iter()
                .flatten()
                .map(ListenerConfig::new)
                .collect()
        },
        streams_max: config.streams_max,
        ..PortConfig::new(vec![socket])
    }
}

impl Outlet {
    /// Hands one train to the kernel, or to nobody.
    fn put_train(&mut self, slab: Stall, target: SocketAddr, length: usize, segment: usize) {
        self.departures += 1;
        let tag = Self::number(&slab) as u64;
        match (&mut self.kind, slab) {
            (Kind::Wire { port, .. }, Stall::Port(slab)) => {
                let (length, segment) = (length as u32, segment as u16);
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
            }
            (Kind::Null(null), Stall::Null(number)) => null.sink(number, length / segment),
            _ => {}
        }
    }

    /// Hands one datagram for each target to the kernel, or to nobody.
    fn put_each(&mut self, slab: Stall, targets: &[SocketAddr], segment: usize) {
        self.departures += 1;
        let tag = Self::number(&slab) as u64;
        match (&mut self.kind, slab) {
            (
                Kind::Wire {
                    port, datagrams, ..
                },
                Stall::Port(slab),
            ) => {
                datagrams.clear();
                datagrams.extend(targets.iter().enumerate().map(|(place, &target)| Datagram {
                    target,
                    source: None,
                    offset: (place * segment) as u32,
                    length: segment as u16,
                }));
                port.send_many(slab, 0, datagrams, tag);
            }
            (Kind::Null(null), Stall::Null(number)) => null.sink(number, targets.len()),
            _ => {}
        }
    }
}

impl Outbox for Outlet {
    type Slab = Stall;

    #[inline]
    fn take_slab(&mut self) -> Option<Stall> {
        match &mut self.kind {
            Kind::Wire { port, .. } => port.take_slab().map(Stall::Port),
            Kind::Null(null) => null.free.pop().map(Stall::Null),
        }
    }

    #[inline]
    fn number(slab: &Stall) -> usize {
        match slab {
            Stall::Port(slab) => slab.index() as usize,
            Stall::Null(number) => *number,
        }
    }

    #[inline]
    fn octets(&mut self, slab: &Stall) -> &mut [u8] {
        match (&mut self.kind, slab) {
            (Kind::Wire { port, .. }, Stall::Port(slab)) => port.slab_mut(slab),
            (Kind::Null(null), Stall::Null(number)) => &mut null.slabs[*number],
            _ => &mut [],
        }
    }

    fn send_train(&mut self, slab: Stall, target: SocketAddr, length: usize, segment: usize) {
        self.train_sizes[(length / segment).min(TRAIN_SIZE_MAX)] += 1;
        tracepoints::train((length / segment) as u64, segment as u64);
        self.sir_bytes = segment;
        self.put_train(slab, target, length, segment);
    }

    fn send_each(&mut self, slab: Stall, targets: &[SocketAddr], segment: usize) {
        self.train_sizes[1] += targets.len() as u64;
        tracepoints::train(targets.len() as u64, segment as u64);
        self.sir_bytes = segment;
        self.put_each(slab, targets, segment);
    }

    fn send_replies(&mut self, slab: Stall, peer: SocketAddr, length: usize, segment: usize) {
        self.put_train(slab, peer, length, segment);
    }

    fn send_replies_each(&mut self, slab: Stall, peers: &[SocketAddr], segment: usize) {
        self.put_each(slab, peers, segment);
    }

    fn release(&mut self, slab: Stall) {
        match (&mut self.kind, slab) {
            (Kind::Wire { port, .. }, Stall::Port(slab)) => port.release(slab),
            (Kind::Null(null), Stall::Null(number)) => null.free.push(number),
            _ => {}
        }
    }
}

impl Null {
    fn new(slabs: usize) -> Self {
        let slab = || vec![0; TRAIN_BYTES_MAX].into_boxed_slice();
        Self {
            slabs: std::iter::repeat_with(slab).take(slabs).collect(),
            free: (0..slabs).rev().collect(),
            sunk: Vec::with_capacity(slabs),
            trains: 0,
            datagrams: 0,
            #[cfg(test)]
            turns_left: None,
        }
    }

    #[cfg(not(test))]
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "it fails in tests only"
    )]
    fn count_turn(&mut self) -> std::io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn count_turn(&mut self) -> std::io::Result<()> {
        match &mut self.turns_left {
            None => Ok(()),
            Some(0) => Err(std::io::Error::other("broken on purpose")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn sink(&mut self, number: usize, datagrams: usize) {
        self.sunk.push(number);
        self.trains += 1;
        self.datagrams += datagrams as u64;
    }
}
