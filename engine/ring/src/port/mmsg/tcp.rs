//! Streams without io_uring: nonblocking sockets, watched by epoll for edges, so that a stream costs
//! one epoll_ctl in its life. A slot remembers what epoll said until a call is denied (EAGAIN).
//! Deliberately the same slots, queues and events as the io_uring backend. Called by `port::mmsg`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::{Mmsg, watch};
use crate::address::{NAME_BYTES, decode};
use crate::config::STREAM_BUFFER_BYTES;
use crate::listener::{Listener, pending_error};
use crate::port::store::Store;
use crate::port::streams::{ACCEPTS_MAX, Flight, Streams};

/// Kinds of epoll keys, in the top octet; below it the listener, or the generation and the slot.
const KEY_LISTENER: u64 = 1 << 56;
const KEY_STREAM: u64 = 2 << 56;

/// What is watched of a stream.
const STREAM_EVENTS: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;

#[derive(Debug, Clone, Copy)]
struct Listening {
    descriptor: RawFd,
    /// Connections may wait.
    ready: bool,
}

pub(super) struct Tcp {
    listeners: Vec<Listening>,
    /// Receive buffers that are free, last-in first-out for cache warmth.
    free: Vec<u16>,
    /// Accepting stopped for want of slots, and that was counted.
    stopped: bool,
}

impl Tcp {
    pub(super) fn open(
        epoll: &OwnedFd,
        listeners: &[Listener],
        streams: &Streams,
    ) -> io::Result<Tcp> {
        for (index, listener) in (0..).zip(listeners) {
            listener.never_block()?;
            let events = libc::EPOLLIN | libc::EPOLLET;
            watch(epoll, listener.descriptor(), events, KEY_LISTENER | index)?;
        }
        let listening = |listener: &Listener| Listening {
            descriptor: listener.descriptor(),
            ready: false,
        };
        Ok(Tcp {
            listeners: listeners.iter().map(listening).collect(),
            free: (0..streams.receive.count() as u16).rev().collect(),
            stopped: false,
        })
    }
}

/// The key of a stream: its slot, and the low octets of its generation.
fn stream_key(streams: &Streams, slot: u32) -> u64 {
    let generation = streams.generation(slot) & 0x00ff_ffff;
    KEY_STREAM | u64::from(generation) << 32 | u64::from(slot)
}

fn last_errno() -> i32 {
    let error = io::Error::last_os_error();
    error.raw_os_error().unwrap_or(libc::EIO)
}

impl Mmsg {
    /// Notes what epoll said about a listener or a stream.
    pub(super) fn note(&mut self, store: &mut Store, key: u64, events: u32) {
        let (Some(tcp), Some(streams)) = (&mut self.tcp, &mut store.streams) else {
            return;
        };
        if key & KEY_STREAM == 0 {
            tcp.listeners[key as u16 as usize].ready = true;
            return;
        }
        let slot = key as u32;
        if key != stream_key(streams, slot) {
            return;
        }
        let said = |bits: i32| events & bits as u32 != 0;
        let ended = said(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR);
        let at = streams.slot_mut(slot);
        at.hung_up |= ended;
        at.readable |= ended || said(libc::EPOLLIN);
        at.writable |= ended || said(libc::EPOLLOUT);
        if at.connecting
            && at.writable
            && let Some(raw) = streams.descriptor(slot)
        {
            streams.syscalls += 1;
            let errno = pending_error(raw);
            streams.connected(slot, errno);
        }
        streams.list(slot);
    }

    /// Whether there is something to do for streams, or to tell, before anything is waited for.
    pub(super) fn streams_are_busy(&self, store: &Store) -> bool {
        let (Some(tcp), Some(streams)) = (&self.tcp, &store.streams) else {
            return false;
        };
        let accepts = streams.accepts() && streams.free_count() > 0;
        let ready = |listening: &Listening| listening.ready;
        streams.has_work() || streams.has_events() || (accepts && tcp.listeners.iter().any(ready))
    }

    /// Does once what each listener and each listed stream wants.
    pub(super) fn serve_streams(&mut self, store: &mut Store) {
        let (Some(tcp), Some(streams)) = (&mut self.tcp, &mut store.streams) else {
            return;
        };
        for listener in 0..tcp.listeners.len() {
            accept(tcp, streams, listener as u16);
        }
        streams.feed();
        for _ in 0..streams.work_count() {
            let Some(slot) = streams.next_work() else {
                break;
            };
            serve(&self.epoll, tcp, streams, slot);
        }
    }

    #[inline]
    pub(crate) fn give_back_stream(&mut self, buffer: u16) {
        if let Some(tcp) = &mut self.tcp {
            tcp.free.push(buffer);
        }
    }
}

/// Takes connections that wait at a listener, as many as slots are free, `ACCEPTS_MAX` at most.
fn accept(tcp: &mut Tcp, streams: &mut Streams, listener: u16) {
    for _ in 0..ACCEPTS_MAX {
        let listening = &mut tcp.listeners[usize::from(listener)];
        if !listening.ready || !streams.accepts() {
            return;
        }
        if streams.free_count() == 0 {
            streams.counters.accepts_stopped += u64::from(!tcp.stopped);
            tcp.stopped = true;
            return;
        }
        tcp.stopped = false;
        match accept_one(streams, listening.descriptor) {
            Ok((socket, peer)) => {
                let slot = streams.accepted(socket, listener, peer);
                // What can be read, epoll tells as soon as it watches.
                streams.slot_mut(slot).writable = true;
            }
            Err(errno) => {
                listening.ready = errno != libc::EAGAIN;
                streams.accept_failed(errno);
            }
        }
    }
}

fn accept_one(streams: &mut Streams, listener: RawFd) -> Result<(OwnedFd, SocketAddr), i32> {
    streams.syscalls += 1;
    let mut name = [0_u8; NAME_BYTES];
    let mut length = NAME_BYTES as libc::socklen_t;
    let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let room = name.as_mut_ptr().cast();
    // SAFETY: `name` and `length` are ours over the call, and `length` is the room there is.
    let raw = unsafe { libc::accept4(listener, room, &raw mut length, flags) };
    if raw < 0 {
        return Err(last_errno());
    }
    // SAFETY: the descriptor is new and owned by nobody else.
    let socket = unsafe { OwnedFd::from_raw_fd(raw) };
    let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let peer = decode(&name[..(length as usize).min(NAME_BYTES)]);
    Ok((socket, peer.unwrap_or(nobody)))
}

/// Connects, sends and receives once for one slot.
fn serve(epoll: &OwnedFd, tcp: &mut Tcp, streams: &mut Streams, slot: u32) {
    let Some(raw) = streams.descriptor(slot) else {
        return;
    };
    let wants = streams.wants(slot);
    if wants.cancel {
        // Nothing of a connect is in the kernel but the socket, which is closed now.
        streams.slot_mut(slot).connecting = false;
        return streams.settle(slot);
    }
    if wants.connect {
        connect(streams, slot, raw);
        if streams.descriptor(slot).is_none() {
            // Refused at once, and its socket closed.
            return;
        }
    }
    if !std::mem::replace(&mut streams.slot_mut(slot).watched, true) {
        streams.syscalls += 1;
        let key = stream_key(streams, slot);
        if let Err(error) = watch(epoll, raw, STREAM_EVENTS, key) {
            // ENOSPC, ENOMEM: a socket that nobody watches would hang.
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            streams.slot_mut(slot).connecting = false;
            return streams.fail(slot, crate::stream::CloseCause::Failed(errno));
        }
    }
    if streams.slot_mut(slot).writable && streams.wants(slot).send {
        send(streams, slot, raw);
    }
    if streams.slot_mut(slot).readable && streams.wants(slot).receive {
        receive(tcp, streams, slot, raw);
    }
}

fn connect(streams: &mut Streams, slot: u32, raw: RawFd) {
    streams.syscalls += 1;
    let (name, length) = streams.target(slot);
    // SAFETY: `name` points at `length` octets of the slot's envelope, ours over the call.
    let result = unsafe { libc::connect(raw, name, length) };
    let errno = if result == 0 { 0 } else { last_errno() };
    let at = streams.slot_mut(slot);
    if errno == libc::EINPROGRESS {
        at.connecting = true;
        return;
    }
    at.writable = errno == 0;
    streams.connected(slot, errno);
}

fn send(streams: &mut Streams, slot: u32, raw: RawFd) {
    streams.syscalls += 1;
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    let sent = match streams.depart(slot) {
        Flight::One(octets, length) => {
            // SAFETY: the flight's octets are not written before `sent` is called below.
            unsafe { libc::send(raw, octets.cast(), length as usize, flags) }
        }
        Flight::Many(header) => {
            // SAFETY: as above, and the slot's envelope holds header and vectors over the call.
            unsafe { libc::sendmsg(raw, header, flags) }
        }
    };
    let result = if sent < 0 { -last_errno() } else { sent as i32 };
    if result == -libc::EAGAIN {
        streams.slot_mut(slot).writable = false;
    }
    streams.sent(slot, result);
}

fn receive(tcp: &mut Tcp, streams: &mut Streams, slot: u32, raw: RawFd) {
    let Some(buffer) = tcp.free.pop() else {
        return streams.receive_ended(slot, libc::ENOBUFS);
    };
    streams.syscalls += 1;
    let room = streams.receive.address(buffer).cast();
    // SAFETY: the buffer is free, so it is the kernel's for the call, and as long as said.
    let got = unsafe { libc::recv(raw, room, STREAM_BUFFER_BYTES, libc::MSG_DONTWAIT) };
    if got > 0 {
        if !streams.received(slot, buffer, got as u32) {
            tcp.free.push(buffer);
        }
        let at = streams.slot_mut(slot);
        at.permitted = false;
        // epoll(7), Q9: a short read means that nothing is left, but for the end of the peer.
        at.readable = at.hung_up || got as usize == STREAM_BUFFER_BYTES;
        if at.readable {
            streams.list(slot);
        }
        return;
    }
    tcp.free.push(buffer);
    match if got == 0 { 0 } else { last_errno() } {
        libc::EAGAIN => streams.slot_mut(slot).readable = false,
        errno => streams.receive_ended(slot, errno),
    }
}
