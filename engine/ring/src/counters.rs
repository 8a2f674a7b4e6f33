//! Counts of what a port did: plain integers of its thread, read by the worker and by tests that
//! hold system calls per datagram. Deliberately no rates, no atomics and no times.

/// Sends that the kernel refused, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendErrors {
    /// EMSGSIZE: a datagram longer than its path or protocol allows.
    pub too_large: u64,
    /// ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL: no route to the target or no such source.
    pub unreachable: u64,
    /// ECONNREFUSED: an ICMP port unreachable came back.
    pub refused: u64,
    /// EPERM, EACCES: a filter or a broadcast address.
    pub denied: u64,
    /// ENOBUFS, ENOMEM: the host has no memory for it.
    pub no_memory: u64,
    /// EINVAL and other errors of ours, such as more than 128 segments.
    pub invalid: u64,
    /// ECANCELED: the port was closing.
    pub canceled: u64,
}

impl SendErrors {
    /// All refused sends.
    pub fn total(&self) -> u64 {
        self.too_large
            + self.unreachable
            + self.refused
            + self.denied
            + self.no_memory
            + self.invalid
            + self.canceled
    }
}

/// Counts since the port opened; they only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Turns made.
    pub turns: u64,
    /// System calls on the data path: io_uring_enter, or sendmmsg, recvmmsg, ppoll, epoll_wait, read.
    pub syscalls: u64,
    /// Operations given to the kernel (submission entries, or messages of sendmmsg).
    pub submissions: u64,
    /// Completions reaped (completion entries, or messages of sendmmsg and recvmmsg).
    pub completions: u64,
    /// Trains sent: sends with more than one segment.
    pub trains_sent: u64,
    /// Datagrams sent, each segment counted.
    pub datagrams_sent: u64,
    /// Payload octets sent.
    pub bytes_sent: u64,
    /// Buffers received: trains whole, or single datagrams.
    pub trains_received: u64,
    /// Datagrams received, each segment counted.
    pub datagrams_received: u64,
    /// Payload octets received.
    pub bytes_received: u64,
    /// Multishot receives armed again after the kernel ended them.
    pub rearms: u64,
    /// Multishot receives ended because all receive buffers were in use.
    pub enobufs: u64,
    /// Datagrams dropped because they were longer than a receive buffer.
    pub truncations: u64,
    /// Datagrams dropped because their header could not be read (no peer address).
    pub malformed: u64,
    /// Receives that failed for any other reason.
    pub receive_errors: u64,
    /// Turns that found the completion queue overflown (entries wait in the kernel, none is lost).
    pub cq_overflow: u64,
    /// Zero-copy notifications.
    pub zc_notifications: u64,
    /// Zero-copy sends that the kernel copied after all (always so on loopback).
    pub zc_copied: u64,
    /// Sends put off because the socket's send buffer was full (mmsg backend; io_uring waits inside).
    pub send_blocked: u64,
    /// Wake-ups by a `Waker`.
    pub wakes: u64,
    /// Refused sends by cause.
    pub send_errors: SendErrors,
}
