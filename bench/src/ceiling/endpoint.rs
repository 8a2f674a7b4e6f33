//! Sockets of the ceiling probes: plain UDP with the largest buffers the kernel grants, the thread
//! placed on its core, and its CPU clock. Knows neither SIP nor any Sirocco crate: the ceiling must
//! not share code with what is judged against it. Called by the probes beside this file.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{getsockopt, setsockopt, sockopt};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

/// Receive and send buffer asked for in bytes: room for every train of 1,024 next hops at once.
const SOCKET_BUFFER_BYTES: usize = 64 << 20;

/// Time without any answer after which what is in flight counts as lost: loopback answers in
/// microseconds, and a machine that stalls longer than this voids the probe anyway.
pub const SILENCE_MAX: Duration = Duration::from_millis(200);

/// A UDP socket with large buffers, non-blocking, bound to `address`.
///
/// # Errors
/// The kernel's, from socket(2), bind(2) or setsockopt(2).
pub fn open(address: SocketAddr, gro: bool, segment: Option<u16>) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    enlarge(&socket)?;
    if gro {
        setsockopt(&socket, sockopt::UdpGroSegment, &true)?;
    }
    if let Some(bytes) = segment {
        setsockopt(&socket, sockopt::UdpGsoSegment, &i32::from(bytes))?;
    }
    Ok(socket)
}

/// Asks for `SOCKET_BUFFER_BYTES` both ways: past the limit where allowed, up to it elsewhere.
fn enlarge<F: AsFd>(socket: &F) -> io::Result<()> {
    if setsockopt(socket, sockopt::RcvBufForce, &SOCKET_BUFFER_BYTES).is_err() {
        setsockopt(socket, sockopt::RcvBuf, &SOCKET_BUFFER_BYTES)?;
    }
    if setsockopt(socket, sockopt::SndBufForce, &SOCKET_BUFFER_BYTES).is_err() {
        setsockopt(socket, sockopt::SndBuf, &SOCKET_BUFFER_BYTES)?;
    }
    Ok(())
}

/// Bytes of payload that the receive buffer of `socket` surely holds.
///
/// The kernel charges the memory of a buffer, not its payload: socket(7) doubles the value asked
/// for, and a datagram of a few hundred bytes is charged up to four times its length.
pub fn receive_capacity(socket: &UdpSocket) -> io::Result<usize> {
    Ok(getsockopt(socket, sockopt::RcvBuf)? / 4)
}

/// Places the calling thread on one core.
///
/// # Errors
/// When the core is outside the set this process may use.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set)?;
    Ok(())
}

/// Pair of clocks of the calling thread: wall time and CPU time, read together.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    wall: Instant,
    cpu: Duration,
}

impl Stamp {
    /// Reads both clocks now, on the calling thread.
    #[must_use]
    pub fn now() -> Self {
        let cpu = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)
            .map(Duration::from)
            .unwrap_or_default();
        Self {
            wall: Instant::now(),
            cpu,
        }
    }

    /// Wall and CPU time since `earlier`, a stamp of the same thread.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> (Duration, Duration) {
        (
            self.wall - earlier.wall,
            self.cpu.saturating_sub(earlier.cpu),
        )
    }
}

/// True when the error only says that nothing is there yet, or no room is left yet.
#[must_use]
pub fn is_not_yet(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    ) || error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32)
}
