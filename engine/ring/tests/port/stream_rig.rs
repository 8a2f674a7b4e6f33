//! A port with a listener and what it told about its streams. Deliberately no assertions about time.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use sirocco_ring::{
    Backend, CloseCause, ListenerConfig, Port, PortConfig, StreamEvent, StreamId, Wait,
};

use crate::rig::{PATIENCE, port, small};

pub const PAIRS: [(Backend, Backend); 4] = [
    (Backend::Uring, Backend::Uring),
    (Backend::Uring, Backend::Mmsg),
    (Backend::Mmsg, Backend::Uring),
    (Backend::Mmsg, Backend::Mmsg),
];

/// A small configuration with one loopback listener and 64 streams.
pub fn streaming(backend: Backend) -> PortConfig {
    let mut config = small(backend);
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    config.listeners = vec![ListenerConfig::new(loopback)];
    config.streams_max = 64;
    config
}

/// What a port told, by stream.
#[derive(Debug, Default)]
pub struct Told {
    pub accepted: Vec<(StreamId, SocketAddr)>,
    pub connected: Vec<StreamId>,
    pub refused: Vec<(StreamId, i32)>,
    pub received: HashMap<StreamId, Vec<u8>>,
    pub drained: Vec<StreamId>,
    pub closed: HashMap<StreamId, CloseCause>,
    /// Octets of this turn, in order.
    pub fresh: Vec<(StreamId, Vec<u8>)>,
}

pub struct End {
    pub port: Port,
    pub told: Told,
}

impl End {
    pub fn new(config: &PortConfig) -> End {
        End {
            port: port(config),
            told: Told::default(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.port.listener_address(0)
    }

    /// A stream of the kernel's own kind to this end, which blocks and gives up after `PATIENCE`.
    pub fn peer(&self) -> TcpStream {
        let peer = TcpStream::connect(self.address()).unwrap();
        peer.set_read_timeout(Some(PATIENCE)).unwrap();
        peer.set_write_timeout(Some(PATIENCE)).unwrap();
        peer
    }

    /// One turn.
    pub fn pump(&mut self) {
        self.port
            .turn(Wait::Until(Duration::from_millis(2)))
            .unwrap();
        self.tell();
    }

    pub fn tell(&mut self) {
        let told = &mut self.told;
        told.fresh.clear();
        self.port.streams(usize::MAX, |event| match event {
            StreamEvent::Accepted { stream, peer, .. } => told.accepted.push((stream, peer)),
            StreamEvent::Connected { stream } => told.connected.push(stream),
            StreamEvent::Refused { stream, errno } => told.refused.push((stream, errno)),
            StreamEvent::Received { stream, bytes } => {
                told.received.entry(stream).or_default().extend(bytes);
                told.fresh.push((stream, bytes.to_vec()));
            }
            StreamEvent::Drained { stream } => told.drained.push(stream),
            StreamEvent::Closed { stream, cause } => {
                let before = told.closed.insert(stream, cause);
                assert_eq!(before, None, "{stream:?} ended twice");
            }
        });
    }

    pub fn octets(&self, stream: StreamId) -> usize {
        self.told.received.get(&stream).map_or(0, Vec::len)
    }
}

/// Turns one end until `done`.
pub fn until(end: &mut End, what: &str, mut done: impl FnMut(&mut End) -> bool) {
    let start = Instant::now();
    while !done(end) {
        end.pump();
        assert!(
            start.elapsed() < 4 * PATIENCE,
            "{what}: {:?} {:?}",
            end.port.stream_counters(),
            end.told.closed
        );
    }
}

/// Turns two ends until `done`.
pub fn both(
    left: &mut End,
    right: &mut End,
    what: &str,
    mut done: impl FnMut(&mut End, &mut End) -> bool,
) {
    let start = Instant::now();
    while !done(left, right) {
        left.pump();
        right.pump();
        let counters = (left.port.stream_counters(), right.port.stream_counters());
        assert!(start.elapsed() < 4 * PATIENCE, "{what}: {counters:?}");
    }
}

/// A stream from `left` to `right`: both names.
pub fn join(left: &mut End, right: &mut End) -> (StreamId, StreamId) {
    let near = left.port.connect(right.address(), None).unwrap();
    let before = right.told.accepted.len();
    both(left, right, "a connection", |left, right| {
        left.told.connected.contains(&near) && right.told.accepted.len() > before
    });
    (near, right.told.accepted[before].0)
}

/// `length` octets that depend on their place and on `salt`.
pub fn pattern(length: usize, salt: u64) -> Vec<u8> {
    let mut octets = vec![0; length];
    crate::rig::fill_segments(&mut octets, 977, salt);
    octets
}
