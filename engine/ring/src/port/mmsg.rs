//! The fallback backend: sendmmsg(2) and recvmmsg(2) in batches, ppoll(2) and epoll(7) to wait. Sends
//! complete when the call returns, so a slab is the kernel's only while its send is queued or refused
//! for want of room. Deliberately the same buffers, envelopes and reports as the io_uring backend.

mod tcp;

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::Duration;

use crate::arrival::{
    Arrival, BUFFER_BYTES, CONTROL_ROOM_BYTES, HEAD_BYTES, NAME_ROOM_BYTES, OUT_BYTES,
    write_lengths,
};
use crate::listener::Listener;
use crate::socket::Socket;
use crate::waker::Bell;

use super::Wait;
use super::store::{Operation, Store};
use tcp::Tcp;

/// Messages of one sendmmsg or recvmmsg; beyond 64 the cost per call is lost in that of the messages.
const BATCH_MAX: usize = 64;

/// Ready sockets taken from one epoll_wait; the rest come with the next turn.
const READY_MAX: usize = 256;

/// Longest wait while a send is put off for a full socket buffer, before it is tried again.
const BLOCKED_RETRY: Duration = Duration::from_millis(1);

/// The epoll key of the eventfd; above every socket index.
const WAKE_KEY: u64 = u64::MAX;

#[derive(Debug, Clone, Copy)]
struct Queued {
    socket: u16,
    operation: Operation,
    header: libc::msghdr,
}

pub(crate) struct Mmsg {
    epoll: OwnedFd,
    descriptors: Vec<RawFd>,
    queue: VecDeque<Queued>,
    /// Receive buffers that are free, last-in first-out for cache warmth.
    free: Vec<u16>,
    send_batch: Box<[libc::mmsghdr; BATCH_MAX]>,
    receive_batch: Box<[libc::mmsghdr; BATCH_MAX]>,
    receive_vectors: Box<[libc::iovec; BATCH_MAX]>,
    ready: Box<[libc::epoll_event; READY_MAX]>,
    /// None for a port without streams.
    tcp: Option<Box<Tcp>>,
}

impl std::fmt::Debug for Mmsg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mmsg")
            .field("queued", &self.queue.len())
            .finish_non_exhaustive()
    }
}

impl Mmsg {
    pub(crate) fn open(
        sockets: &[Socket],
        listeners: &[Listener],
        bell: &Bell,
        store: &Store,
    ) -> io::Result<Mmsg> {
        // SAFETY: makes a new descriptor; touches no memory of ours.
        let raw = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and owned by nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(raw) };
        let descriptors: Vec<RawFd> = sockets.iter().map(Socket::descriptor).collect();
        for (key, descriptor) in (0..).zip(&descriptors) {
            watch(&epoll, *descriptor, libc::EPOLLIN, key)?;
        }
        watch(&epoll, bell.descriptor(), libc::EPOLLIN, WAKE_KEY)?;
        let tcp = match &store.streams {
            Some(streams) => Some(Box::new(Tcp::open(&epoll, listeners, streams)?)),
            None => None,
        };
        let slots = store.slabs.count() as usize;
        // SAFETY: an mmsghdr is plain integers and pointers, for which all zeroes is valid.
        let message: libc::mmsghdr = unsafe { mem::zeroed() };
        let vector = libc::iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        Ok(Mmsg {
            epoll,
            descriptors,
            queue: VecDeque::with_capacity(slots * 2),
            free: (0..store.receive.count() as u16).rev().collect(),
            send_batch: Box::new([message; BATCH_MAX]),
            receive_batch: Box::new([message; BATCH_MAX]),
            receive_vectors: Box::new([vector; BATCH_MAX]),
            ready: Box::new([libc::epoll_event { events: 0, u64: 0 }; READY_MAX]),
            tcp,
        })
    }

    #[inline]
    pub(crate) fn queue(&mut self, socket: u16, operation: Operation, header: *const libc::msghdr) {
        // SAFETY: the envelope was filled by the operation that departed and is unchanged until it
        // completes; copied here, its vector, name and control stay where they are.
        let header = unsafe { *header };
        self.queue.push_back(Queued {
            socket,
            operation,
            header,
        });
    }

    #[inline]
    pub(crate) fn give_back(&mut self, buffer: u16) {
        self.free.push(buffer);
    }

    #[inline]
    pub(crate) fn turn(&mut self, store: &mut Store, bell: &Bell, wait: Wait) -> io::Result<()> {
        self.flush(store);
        self.serve_streams(store);
        if let Wait::Until(time) = wait {
            // Reports that are due now are not slept over.
            if store.sent.is_empty() && !self.streams_are_busy(store) {
                self.sleep(store, bell, time)?;
            }
        } else if self.descriptors.len() == 1 && self.tcp.is_none() {
            return self.fetch(store, 0);
        }
        let ready = self.poll(store)?;
        for at in 0..ready {
            let libc::epoll_event { events, u64: key } = self.ready[at];
            match key {
                WAKE_KEY => {
                    store.counters.syscalls += 1;
                    bell.silence();
                }
                socket if socket >> 56 == 0 => self.fetch(store, socket as u16)?,
                _ => self.note(store, key, events),
            }
        }
        self.serve_streams(store);
        Ok(())
    }

    /// Tries every queued send once, in order, batched by runs of the same socket.
    fn flush(&mut self, store: &mut Store) {
        let mut left = self.queue.len();
        while left > 0 {
            let socket = self.queue[0].socket;
            let run = self.queue.iter().take(left.min(BATCH_MAX));
            let run = run.take_while(|queued| queued.socket == socket);
            let mut count = 0;
            for (message, queued) in self.send_batch.iter_mut().zip(run) {
                message.msg_hdr = queued.header;
                count += 1;
            }
            left -= self.send_run(store, socket, count);
        }
    }

    /// Sends a run and returns how many queue entries were dealt with: sent, failed, or put off.
    fn send_run(&mut self, store: &mut Store, socket: u16, count: usize) -> usize {
        store.counters.syscalls += 1;
        let descriptor = self.descriptors[usize::from(socket)];
        let batch = self.send_batch.as_mut_ptr();
        // SAFETY: `count` headers were just filled from envelopes whose slabs are in flight, so they
        // and the payloads stay as they are over the call.
        let sent = unsafe { libc::sendmmsg(descriptor, batch, count as u32, libc::MSG_DONTWAIT) };
        if let Ok(sent @ 1..) = usize::try_from(sent) {
            for at in 0..sent {
                let bytes = self.send_batch[at].msg_len;
                self.complete_front(store, bytes as i32);
            }
            return sent;
        }
        match io::Error::last_os_error()
            .raw_os_error()
            .unwrap_or(libc::EIO)
        {
            libc::EINTR => 0,
            libc::EAGAIN => {
                // The socket is full: its whole run goes to the back and is tried at the next turn.
                store.counters.send_blocked += 1;
                self.queue.rotate_left(count);
                count
            }
            errno => {
                self.complete_front(store, -errno);
                1
            }
        }
    }

    fn complete_front(&mut self, store: &mut Store, result: i32) {
        if let Some(queued) = self.queue.pop_front() {
            store.counters.submissions += 1;
            store.counters.completions += 1;
            store.record(queued.operation, result);
            store.finish(queued.operation);
        }
    }

    /// Waits until a socket or the eventfd is readable.
    fn sleep(&mut self, store: &mut Store, bell: &Bell, time: Duration) -> io::Result<()> {
        let time = if self.queue.is_empty() {
            time
        } else {
            time.min(BLOCKED_RETRY)
        };
        let mut result = Ok(());
        if bell.lie_down() {
            store.counters.syscalls += 1;
            let mut poll = libc::pollfd {
                fd: self.epoll.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            let timeout = libc::timespec {
                tv_sec: time.as_secs() as i64,
                tv_nsec: i64::from(time.subsec_nanos()),
            };
            // SAFETY: one pollfd and one timespec, ours over the call; no signal mask.
            let ready = unsafe { libc::ppoll(&raw mut poll, 1, &raw const timeout, ptr::null()) };
            if ready < 0 {
                result = interrupted_is_fine(io::Error::last_os_error());
            }
        }
        store.counters.wakes += u64::from(bell.rise());
        result
    }

    /// Asks which sockets are readable; returns how many of `ready` are filled.
    fn poll(&mut self, store: &mut Store) -> io::Result<usize> {
        store.counters.syscalls += 1;
        let epoll = self.epoll.as_raw_fd();
        let events = self.ready.as_mut_ptr();
        // SAFETY: `ready` has room for READY_MAX events and is ours over the call.
        let count = unsafe { libc::epoll_wait(epoll, events, READY_MAX as i32, 0) };
        match usize::try_from(count) {
            Ok(count) => Ok(count),
            Err(_) => interrupted_is_fine(io::Error::last_os_error()).map(|()| 0),
        }
    }

    /// Receives what waits at one socket, as far as free buffers and one batch go.
    fn fetch(&mut self, store: &mut Store, socket: u16) -> io::Result<()> {
        let count = self.free.len().min(BATCH_MAX);
        if count == 0 {
            store.counters.enobufs += 1;
            return Ok(());
        }
        for at in 0..count {
            let buffer = self.free[self.free.len() - 1 - at];
            self.offer(store, at, buffer);
        }
        store.counters.syscalls += 1;
        let descriptor = self.descriptors[usize::from(socket)];
        let batch = self.receive_batch.as_mut_ptr();
        let flags = libc::MSG_DONTWAIT;
        // SAFETY: `count` headers point at free receive buffers, which are the kernel's for the call.
        let got =
            unsafe { libc::recvmmsg(descriptor, batch, count as u32, flags, ptr::null_mut()) };
        let Ok(got) = usize::try_from(got) else {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::EAGAIN | libc::EINTR) => Ok(()),
                _ => {
                    store.counters.receive_errors += 1;
                    Ok(())
                }
            };
        };
        for at in 0..got {
            let Some(buffer) = self.free.pop() else {
                break;
            };
            self.collect(store, socket, at, buffer);
        }
        Ok(())
    }

    /// Points message `at` at a free buffer.
    fn offer(&mut self, store: &Store, at: usize, buffer: u16) {
        let first = store.receive.address(buffer);
        self.receive_vectors[at] = libc::iovec {
            iov_base: first.wrapping_add(HEAD_BYTES).cast(),
            iov_len: BUFFER_BYTES - HEAD_BYTES,
        };
        let header = &mut self.receive_batch[at].msg_hdr;
        header.msg_name = first.wrapping_add(OUT_BYTES).cast();
        header.msg_namelen = NAME_ROOM_BYTES as u32;
        header.msg_iov = &raw mut self.receive_vectors[at];
        header.msg_iovlen = 1;
        header.msg_control = first.wrapping_add(OUT_BYTES + NAME_ROOM_BYTES).cast();
        header.msg_controllen = CONTROL_ROOM_BYTES as _;
        header.msg_flags = 0;
    }

    /// Writes the lengths that io_uring would have written and queues the arrival.
    fn collect(&mut self, store: &mut Store, socket: u16, at: usize, buffer: u16) {
        store.counters.completions += 1;
        let message = &self.receive_batch[at];
        let header = &message.msg_hdr;
        let flags = header.msg_flags as u32;
        let control = header.msg_controllen as u32;
        let head = store.receive.head_mut(buffer);
        write_lengths(head, header.msg_namelen, control, message.msg_len, flags);
        let length = HEAD_BYTES as u32 + message.msg_len;
        store.receive.push(Arrival {
            socket,
            buffer,
            length,
        });
    }
}

fn watch(epoll: &OwnedFd, descriptor: RawFd, events: i32, key: u64) -> io::Result<()> {
    let mut event = libc::epoll_event {
        events: events as u32,
        u64: key,
    };
    let epoll = epoll.as_raw_fd();
    // SAFETY: `event` is ours over the call.
    let result = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, descriptor, &raw mut event) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn interrupted_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::Interrupted {
        Ok(())
    } else {
        Err(error)
    }
}
