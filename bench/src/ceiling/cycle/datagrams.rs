//! The single datagrams of the cycle probe: each message of each cycle in a datagram of its own, so
//! many in each sendmmsg call, to devices at addresses of their own, as when no train is possible.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use nix::sys::socket::SockaddrIn;

use super::super::datagrams::{Batch, CHARGE_BYTES, addresses};
use super::super::{Cores, Run, Timing, endpoint};
use super::{Link, Shape};

/// A way of doing the same work; calibration keeps the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Entries of one sendmmsg or recvmmsg call.
    pub batch: u16,
    /// Batches in flight.
    pub in_flight: u16,
}

impl Variant {
    /// The variants that calibration compares.
    pub const ALL: [Self; 4] = [
        Self::of(16, 4),
        Self::of(64, 2),
        Self::of(64, 8),
        Self::of(256, 4),
    ];

    const fn of(batch: u16, in_flight: u16) -> Self {
        Self { batch, in_flight }
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { batch, in_flight } = self;
        write!(
            f,
            "sendmmsg of {batch}, {in_flight} batches of cycles in flight"
        )
    }
}

/// One side's socket.
struct Single {
    socket: UdpSocket,
    batch: Batch,
    targets: Vec<Option<SockaddrIn>>,
    shape: Shape,
    /// Datagrams received and not yet asked for.
    have: usize,
}

impl Link for Single {
    fn send(&mut self, step: usize, group: usize) -> io::Result<()> {
        let batch = self.batch.size();
        let begin = group * batch % self.targets.len();
        let bytes = usize::from(self.shape.message_bytes[step]);
        let mut sent = 0;
        while sent < batch {
            let targets = &self.targets[begin + sent..begin + batch];
            sent += self.batch.send(&self.socket, targets, bytes)?;
        }
        Ok(())
    }

    fn receive(&mut self, _step: usize, _group: usize) -> io::Result<bool> {
        if self.have < self.batch.size() {
            self.have += self.batch.receive(&self.socket)?;
        }
        let whole = self.have >= self.batch.size();
        if whole {
            self.have -= self.batch.size();
        }
        Ok(whole)
    }
}

/// Whole cycles, one datagram a message, until the time is over.
///
/// # Errors
/// The kernel's, when a socket cannot be opened or a call fails for good.
pub fn run(shape: Shape, variant: Variant, cores: Cores, timing: Timing) -> io::Result<Run> {
    let near = endpoint::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false, None)?;
    let far = endpoint::open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), false, None)?;
    let SocketAddr::V4(asker) = near.local_addr()? else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    // Messages 1 and 2 come together, so two datagrams a cycle have to fit.
    let capacity = endpoint::receive_capacity(&near)? * 4 / CHARGE_BYTES / 2;
    let batch = usize::from(variant.batch).min(capacity.max(1));
    let window = usize::from(variant.in_flight).min((capacity / batch).max(1));
    // Whole batches, so that none begins again inside one call.
    let count = (shape.addresses as usize).div_ceil(batch).max(1) * batch;
    let devices = addresses(
        u32::try_from(count).unwrap_or(u32::MAX),
        far.local_addr()?.port(),
    );
    let side = |socket, targets| Single {
        socket,
        batch: Batch::new(batch),
        targets,
        shape,
        have: 0,
    };
    let answers = vec![Some(SockaddrIn::from(asker)); batch];
    let sides = (|| side(near, devices), || side(far, answers));
    super::closed_loop(sides, (window, batch as u64), cores, timing)
}
