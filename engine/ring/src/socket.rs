//! UDP sockets as a port wants them: bound, buffers as large as the host grants,
//! trains received whole. Deliberately no connect: one socket serves many
//! targets, and connected pairs were measured no faster (trains of 64: 114 ns a message and side, either way).
//! Called by `Port::open` only.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::address::{NAME_BYTES, encode};
use crate::config::{Notice, OpenError, SocketConfig};

/// One open socket.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: UdpSocket,
    local: SocketAddr,
}

impl Socket {
    pub(crate) fn open(
        index: u16,
        config: &SocketConfig,
        gro: bool,
        notices: &mut Vec<Notice>,
    ) -> Result<Socket, OpenError> {
        let bind = config.bind;
        let failed = |step| move |source| OpenError::Socket { bind, step, source };
        let descriptor = create(bind, libc::SOCK_DGRAM).map_err(failed("socket"))?;
        let raw = descriptor.as_raw_fd();
        if bind.is_ipv6() {
            set(raw, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1).map_err(failed("IPV6_V6ONLY"))?;
        }
        let (level, option, never_fragment) = match bind {
            SocketAddr::V4(_) => (
                libc::IPPROTO_IP,
                libc::IP_MTU_DISCOVER,
                libc::IP_PMTUDISC_PROBE,
            ),
            SocketAddr::V6(_) => (
                libc::IPPROTO_IPV6,
                libc::IPV6_MTU_DISCOVER,
                libc::IPV6_PMTUDISC_PROBE,
            ),
        };
        // ip(7), IP_PMTUDISC_PROBE: datagrams leave with DF and are never cut up; what a path is said to
        // carry is not believed, since anybody can forge that message and every send after it would fail
        // at once. A datagram that is never cut needs no identification, whose choice is a cache miss in a table
        // shared by all destinations: 7 % of a send to one of many addresses.
        set(raw, level, option, never_fragment).map_err(failed("MTU_DISCOVER"))?;
        if config.packet_info {
            let (level, option) = match bind {
                SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
                SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
            };
            set(raw, level, option, 1).map_err(failed("packet information"))?;
        }
        let asked = config.receive_buffer_bytes;
        let granted = size_buffer(raw, [libc::SO_RCVBUFFORCE, libc::SO_RCVBUF], asked);
        if granted < asked {
            notices.push(Notice::ReceiveBuffer {
                socket: index,
                asked,
                granted,
            });
        }
        let asked = config.send_buffer_bytes;
        let granted = size_buffer(raw, [libc::SO_SNDBUFFORCE, libc::SO_SNDBUF], asked);
        if granted < asked {
            notices.push(Notice::SendBuffer {
                socket: index,
                asked,
                granted,
            });
        }
        if gro && let Err(error) = set(raw, libc::SOL_UDP, libc::UDP_GRO, 1) {
            let missing = Notice::GroMissing(error.raw_os_error().unwrap_or(0));
            if !notices.contains(&missing) {
                notices.push(missing);
            }
        }
        bind_to(raw, bind).map_err(failed("bind"))?;
        let inner = UdpSocket::from(descriptor);
        let local = inner.local_addr().map_err(failed("getsockname"))?;
        Ok(Socket { inner, local })
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams that the kernel dropped because the receive buffer was full (SO_MEMINFO, socket(7)).
    pub(crate) fn drops(&self) -> io::Result<u64> {
        const WORDS: usize = libc::SK_MEMINFO_DROPS as usize + 1;
        let mut words = [0_u32; WORDS];
        let mut length = size_of_val(&words) as libc::socklen_t;
        // SAFETY: `words` and `length` are ours over the call, and `length` is the room there is.
        let result = unsafe {
            libc::getsockopt(
                self.descriptor(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                words.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if result == 0 {
            Ok(words[WORDS - 1].into())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// Makes a socket of the family of `address`; `kind` is SOCK_DGRAM or SOCK_STREAM, with flags.
pub(crate) fn create(address: SocketAddr, kind: i32) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() {
        libc::AF_INET
    } else {
        libc::AF_INET6
    };
    let kind = kind | libc::SOCK_CLOEXEC;
    // SAFETY: makes a new descriptor; touches no memory of ours.
    let raw = unsafe { libc::socket(family, kind, 0) };
    if raw < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

pub(crate) fn bind_to(raw: RawFd, address: SocketAddr) -> io::Result<()> {
    let mut name = [0_u8; NAME_BYTES];
    let length = encode(address, &mut name);
    // SAFETY: `name` holds `length` octets of a socket address over the call.
    let result = unsafe { libc::bind(raw, name.as_ptr().cast(), length) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

pub(crate) fn set(raw: RawFd, level: i32, option: i32, value: i32) -> io::Result<()> {
    let length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: `value` is ours over the call.
    let result = unsafe { libc::setsockopt(raw, level, option, (&raw const value).cast(), length) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Asks for a buffer by each option in turn and returns the payload octets granted.
fn size_buffer(raw: RawFd, options: [i32; 2], asked: u32) -> u32 {
    let value = i32::try_from(asked).unwrap_or(i32::MAX);
    let [force, plain] = options;
    // SO_RCVBUFFORCE needs CAP_NET_ADMIN; the plain option is cut at net.core.rmem_max (socket(7)).
    if set(raw, libc::SOL_SOCKET, force, value).is_err() {
        let _ = set(raw, libc::SOL_SOCKET, plain, value);
    }
    let mut granted = 0_i32;
    let mut length = size_of_val(&granted) as libc::socklen_t;
    // SAFETY: `granted` and `length` are ours over the call.
    let result = unsafe {
        libc::getsockopt(
            raw,
            libc::SOL_SOCKET,
            plain,
            (&raw mut granted).cast(),
            &raw mut length,
        )
    };
    // The kernel doubles what was asked, for its own bookkeeping, and reports the double (socket(7)).
    if result == 0 {
        granted.unsigned_abs() / 2
    } else {
        0
    }
}
