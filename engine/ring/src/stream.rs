//! The names of TCP streams: their numbers, what a port tells about them, and why it refuses.
//! Deliberately no state: that is in `port::streams`. Used by the callers of `Port`.

use std::net::SocketAddr;

/// One TCP stream of a port; never given twice, so that what comes late cannot touch another stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(u64);

impl StreamId {
    pub(crate) fn new(slot: u32, generation: u32) -> StreamId {
        StreamId(u64::from(generation) << 32 | u64::from(slot))
    }

    /// The number as one word, for tables of the caller.
    #[inline]
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The inverse of `to_bits`; a number that the port did not give names no stream.
    #[inline]
    pub fn from_bits(bits: u64) -> StreamId {
        StreamId(bits)
    }

    /// The place of the stream, 0 to `streams_max` - 1: used again once the stream is gone.
    #[inline]
    pub fn slot(self) -> u32 {
        self.0 as u32
    }

    #[inline]
    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What happened to a stream; told by `Port::streams` in the order in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEvent<'a> {
    /// A peer connected to a listener.
    Accepted {
        /// The new stream.
        stream: StreamId,
        /// Index of the listener.
        listener: u16,
        /// Who connected.
        peer: SocketAddr,
    },
    /// A `connect` succeeded.
    Connected {
        /// The stream that `connect` named.
        stream: StreamId,
    },
    /// A `connect` failed; the stream is gone.
    Refused {
        /// The stream that `connect` named.
        stream: StreamId,
        /// The kernel's reason, errno of connect(2), socket(2) or bind(2).
        errno: i32,
    },
    /// Octets came, as many as were there; where they are cut means nothing.
    Received {
        /// The stream.
        stream: StreamId,
        /// The octets, 1 to `STREAM_BUFFER_BYTES`; a borrow for this call.
        bytes: &'a [u8],
    },
    /// There is room again after `send_stream` was refused.
    Drained {
        /// The stream.
        stream: StreamId,
    },
    /// The stream is gone; told once for each stream that was accepted or connected. After
    /// `CloseCause::Peer`, what is queued before the next turn still leaves.
    Closed {
        /// The stream.
        stream: StreamId,
        /// Why.
        cause: CloseCause,
    },
}

/// Why a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseCause {
    /// The peer sends no more (FIN).
    Peer,
    /// We closed it, and the peer took what was queued or the stream was reset by us.
    Local,
    /// The peer reset it (ECONNRESET, EPIPE).
    Reset,
    /// The peer did not answer any more (ETIMEDOUT), or not within `CLOSE_MS_MAX` of our closing.
    TimedOut,
    /// The kernel ended it for another reason, an errno.
    Failed(i32),
}

impl CloseCause {
    pub(crate) fn from_errno(errno: i32) -> CloseCause {
        match errno {
            libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED => CloseCause::Reset,
            libc::ETIMEDOUT => CloseCause::TimedOut,
            _ => CloseCause::Failed(errno),
        }
    }
}

/// Why `send_stream` took no octet; `StreamEvent::Drained` tells when to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StreamFull {
    /// The peer reads more slowly than we send.
    #[error("the stream's queue is full; wait until it is drained, close it, or send less at once")]
    Stream,
    /// Other streams hold the blocks; the last quarter is kept for streams with nothing queued.
    #[error("the queues of all streams are full; wait until drained, or raise stream_blocks")]
    Port,
    /// The stream is gone or closing; no `Drained` follows.
    #[error("the stream is closed; drop what was to be sent")]
    Closed,
}

/// Counts of what the streams of a port did; they only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StreamCounters {
    /// Streams accepted.
    pub accepted: u64,
    /// Streams connected.
    pub connected: u64,
    /// Connects that failed.
    pub refused: u64,
    /// Connects given up because `streams_max` streams were open.
    pub connects_full: u64,
    /// Streams whose end was told.
    pub closed: u64,
    /// Streams that the peer reset.
    pub resets: u64,
    /// Streams that timed out, or were reset by us because their closing took too long.
    pub timeouts: u64,
    /// Sends given to the kernel.
    pub sends: u64,
    /// Sends of which the kernel took a part only.
    pub partial_sends: u64,
    /// Octets that the kernel took.
    pub bytes_sent: u64,
    /// Octets told to the caller.
    pub bytes_received: u64,
    /// Octets that came after `close_stream` and were dropped.
    pub bytes_discarded: u64,
    /// Refusals of `send_stream` because the stream's queue was full.
    pub stream_full: u64,
    /// Refusals of `send_stream` because the blocks of all streams were taken.
    pub port_full: u64,
    /// Times that accepting stopped because `streams_max` streams were open.
    pub accepts_stopped: u64,
    /// Times that accepting paused for want of descriptors or memory (EMFILE, ENFILE, ENOBUFS, ENOMEM).
    pub accepts_starved: u64,
    /// Accepts that failed for any other reason, such as a peer that was gone already.
    pub accept_errors: u64,
    /// Receives ended because all stream buffers were in use.
    pub enobufs: u64,
}
