//! Streams on io_uring: single accepts, each with room for its peer's address, never more than there
//! are free slots; one multishot receive and at most one send for each stream, in plain descriptors.
//!
//! Deliberately no multishot accept: it names no peer and would take connections beyond the bound.
//! Deliberately no registered descriptors: their table is bounded by RLIMIT_NOFILE as well, and a
//! plain one can be bound, shut down and reset by a call. Called by `port::uring`.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::provided::{ProvidedBuffers, STREAM_GROUP};
use super::{
    KIND_ACCEPT, KIND_CANCEL, KIND_CONNECT, KIND_STREAM_RECEIVE, KIND_STREAM_SEND, Uring, user_data,
};
use crate::config::STREAM_BUFFER_BYTES;
use crate::listener::Listener;
use crate::port::store::Store;
use crate::port::streams::{ACCEPTS_MAX, Flight, Streams};
use crate::probe::{self, UringMissing};

/// Submissions that one slot may ask for at a time.
const SUBMISSIONS_PER_SLOT: usize = 2;

/// What a completion of a stream belongs to: as `user_data`, with the generation's low octets between.
fn stream_data(kind: u64, slot: u32, generation: u32) -> u64 {
    user_data(kind, slot) | u64::from(generation & 0x00ff_ffff) << 32
}

/// A connection that came when no slot was free; its room waits with it.
struct Parked {
    socket: OwnedFd,
    room: u16,
    peer: SocketAddr,
}

pub(super) struct Tcp {
    provided: ProvidedBuffers,
    listeners: Vec<RawFd>,
    /// Rooms with no accept pending; room / `ACCEPTS_MAX` is the listener.
    idle: VecDeque<u16>,
    armed: usize,
    parked: VecDeque<Parked>,
    /// Accepting stopped for want of slots, and that was counted.
    stopped: bool,
}

impl Tcp {
    pub(super) fn open(
        ring: &IoUring,
        listeners: &[Listener],
        streams: &Streams,
    ) -> Result<Tcp, UringMissing> {
        probe::stream_operations(ring)?;
        let provided = ProvidedBuffers::register(
            ring,
            STREAM_GROUP,
            streams.receive.count(),
            STREAM_BUFFER_BYTES,
            |buffer| streams.receive.address(buffer),
        )?;
        let rooms = listeners.len() * ACCEPTS_MAX;
        // The rooms of all listeners in turn, so that few free slots serve each of them.
        let room = |at: usize| at % listeners.len() * ACCEPTS_MAX + at / listeners.len();
        Ok(Tcp {
            provided,
            listeners: listeners.iter().map(Listener::descriptor).collect(),
            idle: (0..rooms).map(|at| room(at) as u16).collect(),
            armed: 0,
            parked: VecDeque::with_capacity(rooms),
            stopped: false,
        })
    }

    /// One completion of a stream or of an accept.
    pub(super) fn reap(
        &mut self,
        streams: &mut Streams,
        completion: &cqueue::Entry,
        draining: bool,
    ) {
        let data = completion.user_data();
        let (kind, slot, result) = (data >> 56, data as u32, completion.result());
        if kind == KIND_ACCEPT {
            return self.reap_accept(streams, slot as u16, result, draining);
        }
        debug_assert_eq!(
            data,
            stream_data(kind, slot, streams.generation(slot)),
            "a completion of a stream that is gone"
        );
        match kind {
            KIND_CONNECT => streams.connected(slot, -result),
            KIND_STREAM_SEND => streams.sent(slot, result),
            _ => self.reap_receive(streams, slot, completion),
        }
    }

    fn reap_receive(&mut self, streams: &mut Streams, slot: u32, completion: &cqueue::Entry) {
        let result = completion.result();
        let buffer = cqueue::buffer_select(completion.flags());
        let last = !cqueue::more(completion.flags());
        let told = match buffer {
            Some(buffer) if result > 0 => streams.received(slot, buffer, result as u32),
            _ => false,
        };
        if let (Some(buffer), false) = (buffer, told) {
            self.provided.add(streams.receive.address(buffer), buffer);
            self.provided.publish();
        }
        match (last, result) {
            (false, _) => {}
            (true, 1..) => streams.receive_paused(slot),
            (true, _) => streams.receive_ended(slot, -result),
        }
    }

    fn reap_accept(&mut self, streams: &mut Streams, room: u16, result: i32, draining: bool) {
        self.armed -= 1;
        if result < 0 {
            streams.accept_failed(-result);
            return self.idle.push_back(room);
        }
        // SAFETY: the completion names a new descriptor, owned by nobody else.
        let socket = unsafe { OwnedFd::from_raw_fd(result) };
        if draining {
            return;
        }
        let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let peer = streams.accepted_peer(room.into()).unwrap_or(nobody);
        self.parked.push_back(Parked { socket, room, peer });
        self.adopt(streams);
    }

    /// Gives connections that came the slots that are free.
    fn adopt(&mut self, streams: &mut Streams) {
        while streams.free_count() > 0
            && let Some(Parked { socket, room, peer }) = self.parked.pop_front()
        {
            streams.accepted(socket, room / ACCEPTS_MAX as u16, peer);
            self.idle.push_back(room);
        }
    }

    /// The next room that is to wait for a connection.
    fn next_room(&mut self, streams: &mut Streams) -> Option<u16> {
        if self.idle.is_empty() || !streams.accepts() {
            return None;
        }
        if streams.free_count() == 0 {
            streams.counters.accepts_stopped += u64::from(!self.stopped);
            self.stopped = true;
            return None;
        }
        if self.armed >= streams.free_count() {
            return None;
        }
        self.stopped = false;
        self.armed += 1;
        self.idle.pop_front()
    }
}

impl Uring {
    /// Submits what streams want, as far as the submission queue has room; the rest waits a turn.
    pub(super) fn serve_streams(&mut self, store: &mut Store) {
        if self.submission_room() < SUBMISSIONS_PER_SLOT {
            // Datagrams filled the queue: streams must not wait for ever.
            self.flush(store);
        }
        let Some(streams) = store.streams.as_deref_mut() else {
            return;
        };
        self.arm_accepts(streams);
        streams.feed();
        for _ in 0..streams.work_count() {
            if self.submission_room() < SUBMISSIONS_PER_SLOT {
                break;
            }
            let Some(slot) = streams.next_work() else {
                break;
            };
            self.serve(streams, slot);
        }
    }

    fn submission_room(&mut self) -> usize {
        let submission = self.ring.submission();
        submission.capacity() - submission.len()
    }

    fn arm_accepts(&mut self, streams: &mut Streams) {
        let mut room_left = self.submission_room();
        let Some(tcp) = self.tcp.as_deref_mut() else {
            return;
        };
        tcp.adopt(streams);
        while room_left > SUBMISSIONS_PER_SLOT
            && let Some(tcp) = self.tcp.as_deref_mut()
            && let Some(room) = tcp.next_room(streams)
        {
            let listener = tcp.listeners[usize::from(room) / ACCEPTS_MAX];
            let (name, length) = streams.accept_room(room.into());
            let entry = opcode::Accept::new(Fd(listener), name, length)
                .flags(libc::SOCK_CLOEXEC)
                .build()
                .user_data(user_data(KIND_ACCEPT, room.into()));
            self.push_in_room(&entry);
            room_left -= 1;
        }
    }

    fn serve(&mut self, streams: &mut Streams, slot: u32) {
        let Some(raw) = streams.descriptor(slot) else {
            return;
        };
        let wants = streams.wants(slot);
        let generation = streams.generation(slot);
        let data = |kind| stream_data(kind, slot, generation);
        if wants.connect {
            let (name, length) = streams.target(slot);
            let entry = opcode::Connect::new(Fd(raw), name, length).build();
            self.push_in_room(&entry.user_data(data(KIND_CONNECT)));
            streams.slot_mut(slot).connecting = true;
        }
        if wants.send {
            let entry = match streams.depart(slot) {
                Flight::One(octets, length) => opcode::Send::new(Fd(raw), octets, length)
                    .flags(libc::MSG_NOSIGNAL)
                    .build(),
                Flight::Many(header) => opcode::SendMsg::new(Fd(raw), header)
                    .flags(libc::MSG_NOSIGNAL as u32)
                    .build(),
            };
            self.push_in_room(&entry.user_data(data(KIND_STREAM_SEND)));
            streams.slot_mut(slot).sending = true;
        }
        if wants.receive {
            let at = streams.slot_mut(slot);
            at.permitted = false;
            let entry = if at.metered {
                // A buffer is chosen when octets are there, as for the others, but one alone.
                opcode::Recv::new(Fd(raw), std::ptr::null_mut(), STREAM_BUFFER_BYTES as u32)
                    .buf_group(STREAM_GROUP)
                    .build()
                    .flags(squeue::Flags::BUFFER_SELECT)
            } else {
                opcode::RecvMulti::new(Fd(raw), STREAM_GROUP).build()
            };
            self.push_in_room(&entry.user_data(data(KIND_STREAM_RECEIVE)));
            streams.slot_mut(slot).receiving = true;
        }
        if wants.cancel {
            self.cancel_all(streams, slot);
        }
    }

    /// Cancels what the kernel holds of a dead stream.
    fn cancel_all(&mut self, streams: &mut Streams, slot: u32) {
        let generation = streams.generation(slot);
        let at = streams.slot_mut(slot);
        at.canceled = true;
        let operations = [
            (at.connecting, KIND_CONNECT),
            (at.sending, KIND_STREAM_SEND),
            (at.receiving, KIND_STREAM_RECEIVE),
        ];
        for (_, kind) in operations.into_iter().filter(|(held, _)| *held) {
            let entry = opcode::AsyncCancel::new(stream_data(kind, slot, generation)).build();
            self.push_in_room(&entry.user_data(user_data(KIND_CANCEL, 0)));
        }
    }

    /// Pushes an entry for which `submission_room` answered.
    fn push_in_room(&mut self, entry: &squeue::Entry) {
        let pushed = self.push(entry);
        assert!(pushed, "the submission queue has the room it said");
    }

    /// Takes a stream's buffer back; `publish_stream_buffers` shows it to the kernel.
    #[inline]
    pub(crate) fn give_back_stream(&mut self, streams: &Streams, buffer: u16) {
        if let Some(tcp) = self.tcp.as_deref_mut() {
            tcp.provided.add(streams.receive.address(buffer), buffer);
        }
    }

    #[inline]
    pub(crate) fn publish_stream_buffers(&mut self) {
        if let Some(tcp) = self.tcp.as_deref_mut() {
            tcp.provided.publish();
        }
    }
}
