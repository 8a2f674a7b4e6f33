//! TCP sockets as a port wants them: listeners, connecting sockets, and the few calls of a stream's
//! life. Nagle's algorithm is off (accepted sockets inherit that, tcp(7)): the port gathers octets
//! itself. Deliberately no buffer sizes: the kernel tunes those of TCP better. Called by `port`.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use crate::config::{ListenerConfig, Notice, OpenError};
use crate::socket::{bind_to, create, set};

/// One open listener.
#[derive(Debug)]
pub(crate) struct Listener {
    inner: TcpListener,
    local: SocketAddr,
}

impl Listener {
    pub(crate) fn open(
        index: u16,
        config: &ListenerConfig,
        notices: &mut Vec<Notice>,
    ) -> Result<Listener, OpenError> {
        let bind = config.bind;
        let failed = |step| move |source| OpenError::Listener { bind, step, source };
        let descriptor = create(bind, libc::SOCK_STREAM).map_err(failed("socket"))?;
        let raw = descriptor.as_raw_fd();
        if bind.is_ipv6() {
            set(raw, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1).map_err(failed("IPV6_V6ONLY"))?;
        }
        // socket(7), SO_REUSEADDR: connections of an earlier process that still wait for their
        // end do not keep the address; another listener does.
        set(raw, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1).map_err(failed("SO_REUSEADDR"))?;
        set(raw, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1).map_err(failed("TCP_NODELAY"))?;
        bind_to(raw, bind).map_err(failed("bind"))?;
        let asked = config.backlog.max(1);
        let backlog = i32::try_from(asked).unwrap_or(i32::MAX);
        // SAFETY: takes integers only; the descriptor is ours.
        if unsafe { libc::listen(raw, backlog) } != 0 {
            return Err(failed("listen")(io::Error::last_os_error()));
        }
        if let Some(granted) = backlog_limit()
            && granted < asked
        {
            notices.push(Notice::Backlog {
                listener: index,
                asked,
                granted,
            });
        }
        let inner = TcpListener::from(descriptor);
        let local = inner.local_addr().map_err(failed("getsockname"))?;
        Ok(Listener { inner, local })
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    /// Makes accept4(2) return at once; io_uring would not wait for connections either, so it does not ask.
    pub(crate) fn never_block(&self) -> io::Result<()> {
        self.inner.set_nonblocking(true)
    }

    pub(crate) fn local(&self) -> SocketAddr {
        self.local
    }
}

/// The bound that listen(2) silently applies.
fn backlog_limit() -> Option<u32> {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?;
    text.trim().parse().ok()
}

/// The soft limit of descriptors of this process.
pub(crate) fn descriptors_limit() -> Option<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is ours over the call.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (result == 0).then_some(limit.rlim_cur)
}

/// Makes a socket that is to be connected to `target` from `source`. `flags` is SOCK_NONBLOCK where
/// the socket is used by system calls; io_uring would fail with EAGAIN instead of waiting.
pub(crate) fn connecting(
    target: SocketAddr,
    source: Option<SocketAddr>,
    flags: i32,
) -> io::Result<OwnedFd> {
    let descriptor = create(target, libc::SOCK_STREAM | flags)?;
    let raw = descriptor.as_raw_fd();
    set(raw, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    if let Some(source) = source {
        if source.port() == 0 {
            // ip(7), IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect, where two targets
            // may share one. Older kernels choose at bind, which serves fewer.
            let option = libc::IP_BIND_ADDRESS_NO_PORT;
            let _ = set(raw, libc::IPPROTO_IP, option, 1);
        } else {
            set(raw, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        }
        bind_to(raw, source)?;
    }
    Ok(descriptor)
}

/// Tells the peer that we send no more (FIN); a stream that is broken already says so elsewhere.
pub(crate) fn end_sending(raw: RawFd) {
    // SAFETY: takes integers only; the descriptor is the stream's.
    let _ = unsafe { libc::shutdown(raw, libc::SHUT_WR) };
}

/// Makes the closing of a socket a reset that drops what is queued (SO_LINGER of 0, socket(7)).
pub(crate) fn reset_at_close(raw: RawFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let length = size_of_val(&linger) as libc::socklen_t;
    let value = (&raw const linger).cast();
    // SAFETY: `linger` is ours over the call.
    let _ = unsafe { libc::setsockopt(raw, libc::SOL_SOCKET, libc::SO_LINGER, value, length) };
}

/// Takes the error that a socket holds, 0 for none (SO_ERROR, socket(7)).
pub(crate) fn pending_error(raw: RawFd) -> i32 {
    let mut errno = 0_i32;
    let mut length = size_of_val(&errno) as libc::socklen_t;
    let value = (&raw mut errno).cast();
    // SAFETY: `errno` and `length` are ours over the call.
    let result = unsafe {
        libc::getsockopt(
            raw,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            value,
            &raw mut length,
        )
    };
    if result == 0 { errno } else { libc::EIO }
}
