//! The trains of the cycle probe: UDP_SEGMENT given with each send, since the nine messages differ in
//! length, and UDP_GRO on every socket. One recv(2) takes one whole train.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, SockaddrIn, sendmsg};

use super::super::endpoint;
use super::super::trains::{BUFFER_BYTES, SEGMENTS_MAX, TRAIN_BYTES_MAX};
use super::super::{Cores, Run, Timing};
use super::{Link, Shape};

/// A way of doing the same work; calibration keeps the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// One connected socket for each next hop instead of one socket for all.
    pub connected: bool,
    /// Trains of cycles in flight, over all next hops.
    pub in_flight: u16,
}

impl Variant {
    /// The variants that calibration compares.
    pub const ALL: [Self; 6] = [
        Self::of(false, 4),
        Self::of(false, 16),
        Self::of(false, 64),
        Self::of(true, 4),
        Self::of(true, 16),
        Self::of(true, 64),
    ];

    const fn of(connected: bool, in_flight: u16) -> Self {
        Self {
            connected,
            in_flight,
        }
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sockets = if self.connected {
            "a connected socket a next hop"
        } else {
            "one socket"
        };
        write!(
            f,
            "{sockets}, {} trains of cycles in flight",
            self.in_flight
        )
    }
}

/// The same shape with a train whose longest message the kernel can carry.
#[must_use]
pub fn bounded(shape: Shape) -> Shape {
    let longest = shape
        .message_bytes
        .iter()
        .copied()
        .max()
        .unwrap_or(1)
        .max(1);
    let fitting = u16::try_from(TRAIN_BYTES_MAX / usize::from(longest)).unwrap_or(u16::MAX);
    Shape {
        train: shape.train.clamp(1, fitting.min(SEGMENTS_MAX)),
        ..shape
    }
}

/// Sockets of one side.
struct Sockets {
    sockets: Vec<UdpSocket>,
    /// Where each next hop is; empty when the sockets are connected.
    targets: Vec<SockaddrIn>,
    next_hops: usize,
    shape: Shape,
    payload: Vec<u8>,
    buffer: Vec<u8>,
}

impl Link for Sockets {
    fn send(&mut self, step: usize, group: usize) -> io::Result<()> {
        let hop = group % self.next_hops;
        let bytes = self.shape.message_bytes[step];
        let train = usize::from(bytes) * usize::from(self.shape.train);
        let payload = [IoSlice::new(&self.payload[..train])];
        let control = [ControlMessage::UdpGsoSegments(&bytes)];
        let socket = self.sockets[hop % self.sockets.len()].as_raw_fd();
        let target = self.targets.get(hop);
        loop {
            match sendmsg(socket, &payload, &control, MsgFlags::MSG_DONTWAIT, target) {
                Ok(_) => return Ok(()),
                // Loopback frees its buffers within microseconds.
                Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR) => std::hint::spin_loop(),
                // The peer is gone; silence says so.
                Err(Errno::ECONNREFUSED) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn receive(&mut self, _step: usize, group: usize) -> io::Result<bool> {
        let socket = &self.sockets[group % self.next_hops % self.sockets.len()];
        match socket.recv(&mut self.buffer) {
            Ok(_) => Ok(true),
            Err(error) if endpoint::is_not_yet(&error) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Opens the sockets of both sides, connected where their peer is one socket.
fn open(shape: Shape, connected: bool) -> io::Result<(Sockets, Sockets)> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let next_hops = usize::from(shape.next_hops.max(1));
    let sockets = |count: usize| {
        (0..count)
            .map(|_| endpoint::open(any, true, None))
            .collect::<io::Result<Vec<_>>>()
    };
    let near = sockets(if connected { next_hops } else { 1 })?;
    let far = sockets(next_hops)?;
    let mut targets = Vec::new();
    for (hop, socket) in far.iter().enumerate() {
        let peer = &near[hop % near.len()];
        socket.connect(peer.local_addr()?)?;
        match socket.local_addr()? {
            address if connected => peer.connect(address)?,
            SocketAddr::V4(address) => targets.push(SockaddrIn::from(address)),
            SocketAddr::V6(_) => return Err(io::ErrorKind::AddrNotAvailable.into()),
        }
    }
    let side = |sockets, targets| Sockets {
        sockets,
        targets,
        next_hops,
        shape,
        payload: vec![b'R'; TRAIN_BYTES_MAX],
        buffer: vec![0; BUFFER_BYTES],
    };
    Ok((side(near, targets), side(far, Vec::new())))
}

/// Whole cycles in trains until the time is over.
///
/// # Errors
/// The kernel's, when a socket cannot be opened or a call fails for good.
pub fn run(shape: Shape, variant: Variant, cores: Cores, timing: Timing) -> io::Result<Run> {
    let (near, far) = open(shape, variant.connected)?;
    // Messages 1 and 2 come together, so two trains a group have to fit.
    let capacity = endpoint::receive_capacity(&near.sockets[0])? / (2 * TRAIN_BYTES_MAX);
    let window = usize::from(variant.in_flight).min(capacity.max(1));
    super::closed_loop(
        (|| near, || far),
        (window, shape.train.into()),
        cores,
        timing,
    )
}
