//! Probe for single datagrams: one message to one address in each entry of a sendmmsg call, as when
//! every device has an address of its own and no train is possible. The peer owns all of 127.0.0.0/8
//! by one wildcard socket. This is the ceiling of the scenario `direct`.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg};

use super::endpoint::{self, SILENCE_MAX};
use super::trains::joined;
use super::{Cores, Measured, Run, Timing};

/// Longest message of this probe in bytes: what one Ethernet frame carries.
const MESSAGE_BYTES_MAX: usize = 1500;

/// Kernel memory charged for one small datagram in bytes (its buffer and bookkeeping), upper bound.
pub const CHARGE_BYTES: usize = 2304;

/// First address of the simulated devices; the network is 127.0.0.0/8, all of it loopback.
const FIRST_ADDRESS: u32 = 0x7f01_0001;

/// Lengths and addresses of what travels.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Length of a request in bytes.
    pub request_bytes: u16,
    /// Length of its response in bytes.
    pub response_bytes: u16,
    /// Distinct destination addresses, visited in turn.
    pub addresses: u32,
}

/// A way of doing the same work; calibration keeps the fastest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Entries of one sendmmsg or recvmmsg call.
    pub batch: u16,
    /// Datagrams in flight.
    pub in_flight: u16,
}

impl Variant {
    /// The variants that calibration compares.
    pub const ALL: [Self; 4] = [
        Self {
            batch: 16,
            in_flight: 64,
        },
        Self {
            batch: 64,
            in_flight: 128,
        },
        Self {
            batch: 64,
            in_flight: 512,
        },
        Self {
            batch: 256,
            in_flight: 1024,
        },
    ];
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "sendmmsg of {}, {} datagrams in flight",
            self.batch, self.in_flight
        )
    }
}

/// Messages of one side with the header memory of its calls, reused for every batch.
pub struct Batch {
    send: MultiHeaders<SockaddrIn>,
    receive: MultiHeaders<SockaddrIn>,
    message: Vec<u8>,
    memory: Vec<u8>,
    size: usize,
}

impl Batch {
    /// Memory for calls of `size` entries.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self {
            send: MultiHeaders::preallocate(size, None),
            receive: MultiHeaders::preallocate(size, None),
            message: vec![b'R'; MESSAGE_BYTES_MAX],
            memory: vec![0; size * MESSAGE_BYTES_MAX],
            size,
        }
    }

    /// Entries of one call.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Sends one message of so many bytes to each target; how many left.
    ///
    /// # Errors
    /// The kernel's, when it refuses for good.
    pub fn send(
        &mut self,
        socket: &UdpSocket,
        targets: &[Option<SockaddrIn>],
        message_bytes: usize,
    ) -> io::Result<usize> {
        let message = &self.message[..message_bytes.min(MESSAGE_BYTES_MAX)];
        let entries = vec![[IoSlice::new(message)]; targets.len()];
        let control: [ControlMessage<'_>; 0] = [];
        let flags = MsgFlags::MSG_DONTWAIT;
        match sendmmsg(
            socket.as_raw_fd(),
            &mut self.send,
            &entries,
            targets,
            control,
            flags,
        ) {
            Ok(results) => Ok(results.count()),
            Err(Errno::EAGAIN | Errno::ENOBUFS | Errno::EINTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Takes what is there, at most one batch; how many came.
    ///
    /// # Errors
    /// The kernel's, when it refuses for good.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        let mut entries: Vec<[IoSliceMut<'_>; 1]> = self
            .memory
            .chunks_mut(MESSAGE_BYTES_MAX)
            .take(self.size)
            .map(|chunk| [IoSliceMut::new(chunk)])
            .collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        match recvmmsg(
            socket.as_raw_fd(),
            &mut self.receive,
            &mut entries,
            flags,
            None,
        ) {
            Ok(results) => Ok(results.count()),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(0),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// Requests to many addresses, responses back, until the time is over; counts answered requests.
///
/// # Errors
/// The kernel's, when a socket cannot be opened or a call fails for good.
pub fn closed_loop(
    shape: Shape,
    variant: Variant,
    cores: Cores,
    timing: Timing,
) -> io::Result<Run> {
    let near = endpoint::open(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), false, None)?;
    let far = endpoint::open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), false, None)?;
    let (near_address, port) = (near.local_addr()?, far.local_addr()?.port());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let peer = scope.spawn(|| answer(&far, near_address, shape, variant, (cores.far, &stop)));
        let sender = scope.spawn(|| {
            let run = ask(&near, port, shape, variant, (cores.near, timing));
            stop.store(true, Ordering::Relaxed);
            run
        });
        let run = joined(sender);
        joined(peer)?;
        run
    })
}

fn ask(
    socket: &UdpSocket,
    port: u16,
    shape: Shape,
    variant: Variant,
    (core, timing): (usize, Timing),
) -> io::Result<Run> {
    endpoint::pin(core)?;
    let mut batch = Batch::new(variant.batch.into());
    let targets = addresses(shape.addresses, port);
    let capacity = endpoint::receive_capacity(socket)? * 4 / CHARGE_BYTES;
    let window = usize::from(variant.in_flight).min(capacity.max(1));
    let (mut next, mut in_flight, mut answered, mut lost) = (0, 0, 0u64, 0u64);
    let mut heard = Instant::now();
    let mut clock = Measured::new(timing);
    while !clock.is_over(answered) {
        let room = (window - in_flight)
            .min(batch.size)
            .min(targets.len() - next);
        if room == batch.size || room == targets.len() - next {
            let sent = batch.send(
                socket,
                &targets[next..next + room],
                shape.request_bytes.into(),
            )?;
            in_flight += sent;
            next = if next + sent == targets.len() {
                0
            } else {
                next + sent
            };
        }
        let received = batch.receive(socket)?.min(in_flight);
        in_flight -= received;
        answered += received as u64;
        if received > 0 {
            heard = Instant::now();
        } else if in_flight > 0 && heard.elapsed() > SILENCE_MAX {
            lost += in_flight as u64;
            in_flight = 0;
        }
    }
    Ok(clock.run(answered, lost))
}

/// Distinct addresses of 127.0.0.0/8, all on the peer's port.
#[must_use]
pub fn addresses(count: u32, port: u16) -> Vec<Option<SockaddrIn>> {
    (0..count.max(1))
        .map(|index| Ipv4Addr::from(FIRST_ADDRESS + index))
        .map(|address| Some(SockaddrIn::from(std::net::SocketAddrV4::new(address, port))))
        .collect()
}

/// The peer: answers each datagram by one datagram.
fn answer(
    socket: &UdpSocket,
    asker: SocketAddr,
    shape: Shape,
    variant: Variant,
    (core, stop): (usize, &AtomicBool),
) -> io::Result<()> {
    endpoint::pin(core)?;
    let mut batch = Batch::new(variant.batch.into());
    let SocketAddr::V4(asker) = asker else {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    };
    let targets = vec![Some(SockaddrIn::from(asker)); batch.size];
    while !stop.load(Ordering::Relaxed) {
        let mut left = batch.receive(socket)?;
        while left > 0 && !stop.load(Ordering::Relaxed) {
            left -= batch.send(socket, &targets[..left], shape.response_bytes.into())?;
        }
    }
    Ok(())
}
