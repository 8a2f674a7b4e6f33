//! What a caller asks of a port, and what the port says back when the host granted less.
//! Deliberately no reading of files or arguments: the roles fill these structs. Called at start-up only.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use crate::memory::Pages;
use crate::probe::UringMissing;

/// Segments that one train may carry (Linux 6.18, UDP_MAX_SEGMENTS; one more gives EINVAL).
pub const SEGMENTS_MAX: usize = 128;

/// Octets that one UDP datagram or one train may carry over IPv4 (65,535 less IP and UDP headers).
pub const TRAIN_BYTES_MAX: usize = 65_507;

/// Octets of one slab: the longest train over IPv4 or IPv6, and no more than the kernel could take.
pub const SLAB_BYTES_MAX: usize = 65_536;

/// Datagrams of `send_many` that one slab may carry: as many as a train has segments, so that a
/// slab filled for one mode also serves the other.
pub const DATAGRAMS_PER_SLAB_MAX: usize = SEGMENTS_MAX;

/// Sockets of one port: one for each edge of the largest load plan (1,024), twice.
pub const SOCKETS_MAX: usize = 2048;

/// Slabs of one port; 16,384 of 64 KiB are 1 GiB, more than a send queue should ever hold.
pub const SLABS_MAX: u32 = 16_384;

/// Receive buffers of one port (a provided buffer ring has at most 32,768 entries, io_uring_register(2)).
pub const RECEIVE_BUFFERS_MAX: u32 = 32_768;

/// Receive buffers by default. Few stay in the cache: with trains of 64 over loopback a message costs 98 ns
/// of CPU with 8 buffers, 108 with 16, 111 with 32, 114 with 128; below 16 the receives end too often
/// when datagrams come singly. A port of hundreds of sockets wants one for every four of them.
pub const RECEIVE_BUFFERS: u32 = 16;

/// Streams of one port: twice the ports of one address, and 32 MiB of addresses and vectors.
pub const STREAMS_MAX: u32 = 131_072;

/// Listeners of one port: SIP and MSRP on some addresses each.
pub const LISTENERS_MAX: usize = 64;

/// Octets of one block of a stream's send queue: a few messages, and 8 blocks are one send of 64 KiB.
pub const STREAM_BLOCK_BYTES: usize = 8192;

/// Blocks that all streams of a port may queue in; 131,072 are 1 GiB.
pub const STREAM_BLOCKS_MAX: u32 = 131_072;

/// Octets that one stream may queue: 16 MiB, more than any content pushed over MSRP.
pub const STREAM_QUEUE_BYTES_MAX: u32 = 16 << 20;

/// Octets of one receive buffer of streams.
pub const STREAM_BUFFER_BYTES: usize = 16_384;

/// Milliseconds that a closed stream may take to send its queue and to hear the peer's end; then it
/// is reset. A peer that never answers would hold its place for ever.
pub const CLOSE_MS_MAX: u64 = 5000;

/// Connections that may wait to be accepted, by default; net.core.somaxconn bounds it.
pub const BACKLOG: u32 = 1024;

/// The kernel interface under a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Backend {
    /// io_uring where the probe finds all of it, else sendmmsg and recvmmsg with a notice.
    #[default]
    Auto,
    /// io_uring, or an error.
    Uring,
    /// sendmmsg(2) and recvmmsg(2).
    Mmsg,
}

/// How a slab's bytes reach the network; matters to the io_uring backend only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SendPath {
    /// SENDMSG: the kernel copies at submission; the best on loopback.
    #[default]
    Copy,
    /// SENDMSG_ZC: the device reads the slab; it is free again at the notification.
    ZeroCopy,
    /// SENDMSG_ZC out of registered buffers: as above without pinning pages for each send.
    ZeroCopyFixed,
}

/// One UDP socket of a port.
#[derive(Debug, Clone)]
pub struct SocketConfig {
    /// Local address; port 0 lets the kernel choose.
    pub bind: SocketAddr,
    /// Ask for the local address of each datagram (IP_PKTINFO, ip(7)); needed for wildcard binds.
    pub packet_info: bool,
    /// Octets of payload that may wait to be received; the kernel accounts twice as much.
    pub receive_buffer_bytes: u32,
    /// Octets of payload that may wait to be sent.
    pub send_buffer_bytes: u32,
}

/// Octets asked of SO_RCVBUF and SO_SNDBUF by default: 64 full trains, a quarter millisecond of
/// the fastest sender measured.
pub const SOCKET_BUFFER_BYTES: u32 = 4 << 20;

impl SocketConfig {
    /// A socket bound to `bind` with default buffers and no packet information.
    pub fn new(bind: SocketAddr) -> SocketConfig {
        SocketConfig {
            bind,
            packet_info: false,
            receive_buffer_bytes: SOCKET_BUFFER_BYTES,
            send_buffer_bytes: SOCKET_BUFFER_BYTES,
        }
    }
}

impl Default for SocketConfig {
    fn default() -> SocketConfig {
        SocketConfig::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }
}

/// One TCP listener of a port.
#[derive(Debug, Clone)]
pub struct ListenerConfig {
    /// Local address; port 0 lets the kernel choose.
    pub bind: SocketAddr,
    /// Connections that may wait to be accepted, at least 1.
    pub backlog: u32,
}

impl ListenerConfig {
    /// A listener on `bind` with the default backlog.
    pub fn new(bind: SocketAddr) -> ListenerConfig {
        ListenerConfig {
            bind,
            backlog: BACKLOG,
        }
    }
}

/// Everything that a port needs to open.
#[derive(Debug, Clone)]
pub struct PortConfig {
    /// 1 to `SOCKETS_MAX` sockets; their index is the `socket` of trains and received datagrams.
    pub sockets: Vec<SocketConfig>,
    /// Send slabs, 1 to `SLABS_MAX`.
    pub slab_count: u32,
    /// Octets of one slab, 1 to `SLAB_BYTES_MAX`.
    pub slab_bytes: u32,
    /// Receive buffers of 64 KiB shared by all sockets, 1 to `RECEIVE_BUFFERS_MAX`; few stay warm.
    pub receive_buffer_count: u32,
    /// Kernel interface.
    pub backend: Backend,
    /// Send path of the io_uring backend.
    pub send_path: SendPath,
    /// Receive trains whole (UDP_GRO, udp(7)) instead of cut into datagrams.
    pub gro: bool,
    /// Back slabs and receive buffers by huge pages where the host has them.
    pub huge_pages: bool,
    /// Up to `LISTENERS_MAX` TCP listeners; their index is the `listener` of accepted streams.
    pub listeners: Vec<ListenerConfig>,
    /// Streams that may be open at one time, up to `STREAMS_MAX`; 0 for a port without streams.
    pub streams_max: u32,
    /// Octets that one stream may queue, 1 to `STREAM_QUEUE_BYTES_MAX`.
    pub stream_queue_bytes: u32,
    /// Blocks of `STREAM_BLOCK_BYTES` for the queues of all streams, 1 to `STREAM_BLOCKS_MAX`.
    pub stream_blocks: u32,
    /// Receive buffers of `STREAM_BUFFER_BYTES` shared by all streams, 1 to `RECEIVE_BUFFERS_MAX`.
    pub stream_buffers: u32,
}

impl PortConfig {
    /// The defaults that were measured best on loopback, for the given sockets.
    pub fn new(sockets: Vec<SocketConfig>) -> PortConfig {
        PortConfig {
            sockets,
            slab_count: 256,
            slab_bytes: TRAIN_BYTES_MAX as u32,
            receive_buffer_count: RECEIVE_BUFFERS,
            backend: Backend::Auto,
            send_path: SendPath::Copy,
            gro: true,
            huge_pages: true,
            listeners: Vec::new(),
            streams_max: 0,
            stream_queue_bytes: 256 << 10,
            stream_blocks: 1024,
            stream_buffers: 64,
        }
    }

    /// Refuses counts and sizes outside the bounds named above.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let bound = |name, value: usize, max: usize| match value {
            value if (1..=max).contains(&value) => Ok(()),
            value => Err(OpenError::Bound { name, value, max }),
        };
        bound("sockets", self.sockets.len(), SOCKETS_MAX)?;
        bound("slab_count", self.slab_count as usize, SLABS_MAX as usize)?;
        bound("slab_bytes", self.slab_bytes as usize, SLAB_BYTES_MAX)?;
        let buffers = self.receive_buffer_count as usize;
        bound(
            "receive_buffer_count",
            buffers,
            RECEIVE_BUFFERS_MAX as usize,
        )?;
        if self.streams_max == 0 && self.listeners.is_empty() {
            return Ok(());
        }
        bound("listeners", self.listeners.len().max(1), LISTENERS_MAX)?;
        let streams = self.streams_max as usize;
        bound("streams_max", streams, STREAMS_MAX as usize)?;
        let queue = self.stream_queue_bytes as usize;
        bound("stream_queue_bytes", queue, STREAM_QUEUE_BYTES_MAX as usize)?;
        let blocks = self.stream_blocks as usize;
        bound("stream_blocks", blocks, STREAM_BLOCKS_MAX as usize)?;
        let buffers = self.stream_buffers as usize;
        bound("stream_buffers", buffers, RECEIVE_BUFFERS_MAX as usize)
    }
}

/// Why a port did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A count or size of the configuration is out of its bounds.
    #[error("{name} is {value}; choose 1 to {max}")]
    Bound {
        /// The setting.
        name: &'static str,
        /// What was asked.
        value: usize,
        /// The bound.
        max: usize,
    },
    /// A socket could not be made or bound.
    #[error(
        "cannot open UDP socket on {bind} ({step}): {source}; check that the address is local and the port free"
    )]
    Socket {
        /// The local address asked for.
        bind: SocketAddr,
        /// The system call that failed.
        step: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// A TCP listener could not be made or bound.
    #[error(
        "cannot listen for TCP on {bind} ({step}): {source}; check that the address is local and the port free"
    )]
    Listener {
        /// The local address asked for.
        bind: SocketAddr,
        /// The system call that failed.
        step: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
    /// Memory for slabs, buffers or envelopes was refused.
    #[error(
        "cannot map {bytes} octets for {what}: {source}; lower the counts of slabs, blocks, streams and buffers"
    )]
    Memory {
        /// What the memory is for.
        what: &'static str,
        /// Octets asked.
        bytes: usize,
        /// The kernel's reason.
        source: io::Error,
    },
    /// io_uring was demanded and is not to be had.
    #[error("{0}; or choose the mmsg backend")]
    Uring(#[from] UringMissing),
    /// Another system call failed at start-up.
    #[error("{step} failed at start-up: {source}")]
    System {
        /// The system call.
        step: &'static str,
        /// The kernel's reason.
        source: io::Error,
    },
}

/// Something that the host granted less of than was asked; the port works all the same.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Notice {
    /// The receive buffer of a socket is smaller than asked.
    #[error(
        "socket {socket}: receive buffer of {granted} octets granted, {asked} asked; raise net.core.rmem_max or grant CAP_NET_ADMIN"
    )]
    ReceiveBuffer {
        /// Index of the socket.
        socket: u16,
        /// Octets asked.
        asked: u32,
        /// Octets granted.
        granted: u32,
    },
    /// The send buffer of a socket is smaller than asked.
    #[error(
        "socket {socket}: send buffer of {granted} octets granted, {asked} asked; raise net.core.wmem_max or grant CAP_NET_ADMIN"
    )]
    SendBuffer {
        /// Index of the socket.
        socket: u16,
        /// Octets asked.
        asked: u32,
        /// Octets granted.
        granted: u32,
    },
    /// The memory does not lie on reserved huge pages; transparent ones serve as well once they are had.
    #[error(
        "{what} lie on {pages}; for reserved huge pages set vm.nr_hugepages to at least {huge_pages_wanted}"
    )]
    HugePages {
        /// What the memory is for.
        what: &'static str,
        /// What backs it.
        pages: Pages,
        /// Reserved huge pages that would hold it.
        huge_pages_wanted: usize,
    },
    /// io_uring is not to be had and the mmsg backend took over.
    #[error("{0}; sendmmsg and recvmmsg take over")]
    UringMissing(UringMissing),
    /// Fewer connections may wait at a listener than asked.
    #[error(
        "listener {listener}: backlog of {granted} connections granted, {asked} asked; raise net.core.somaxconn"
    )]
    Backlog {
        /// Index of the listener.
        listener: u16,
        /// Connections asked.
        asked: u32,
        /// Connections granted.
        granted: u32,
    },
    /// The process may not open as many descriptors as streams were asked.
    #[error(
        "{streams} streams asked, but this process may open {limit} descriptors; raise RLIMIT_NOFILE (ulimit -n), or lower streams_max"
    )]
    Descriptors {
        /// Streams asked.
        streams: u32,
        /// The soft limit.
        limit: u64,
    },
    /// The kernel does not aggregate received trains.
    #[error(
        "UDP_GRO refused (errno {0}); datagrams arrive one by one, at 20 times the cost; Linux 5.0 has it"
    )]
    GroMissing(i32),
    /// Zero-copy sends are not to be had and the copying path took over.
    #[error("zero-copy sends are missing ({0}); the copying path takes over")]
    ZeroCopyMissing(&'static str),
    /// Sends out of registered buffers were refused and plain zero-copy sends took over.
    #[error(
        "sends out of registered slabs are refused (errno {0}); ENOMEM (12): raise RLIMIT_MEMLOCK; EINVAL (22): Linux 6.15 or newer has them; plain zero-copy takes over"
    )]
    FixedBuffersMissing(i32),
}
