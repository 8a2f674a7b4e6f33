//! The TCP streams of a port, whatever the kernel interface: slots with their sockets and states, send
//! queues, receive buffers, and the events not yet told. The backends ask what a slot wants of the
//! kernel (`wants`) and say what the kernel did. Deliberately makes no system call of the data path.
//!
//! A slot is free again when the last operation of its stream has completed, its socket is closed
//! and its end was told; its generation then counts up, so that an old `StreamId` finds nothing.

mod buffers;
mod closing;
mod opening;
mod queue;
mod slot;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use crate::config::{OpenError, PortConfig};
use crate::listener::{end_sending, reset_at_close};
use crate::stream::{CloseCause, StreamCounters, StreamEvent, StreamFull, StreamId};

pub(crate) use buffers::StreamBuffers;
use closing::Deadlines;
pub(crate) use queue::Flight;
use queue::{Blocks, StreamEnvelopes};
use slot::{Slot, State};

/// Accepts that may wait at one listener; more connections than that come with the next turn.
pub(crate) const ACCEPTS_MAX: usize = 16;

/// What a slot asks of the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    pub(crate) connect: bool,
    pub(crate) send: bool,
    pub(crate) receive: bool,
    /// Operations of a dead stream are to be cancelled.
    pub(crate) cancel: bool,
}

/// An event that waits to be told; the stream's slot stays until its last one was.
#[derive(Debug, Clone, Copy)]
enum Event {
    Accepted(u16),
    Connected,
    Refused(i32),
    Received { buffer: u16, length: u32 },
    Drained,
    Closed(CloseCause),
}

#[derive(Debug)]
pub(crate) struct Streams {
    slots: Box<[Slot]>,
    free: Vec<u32>,
    blocks: Blocks,
    envelopes: StreamEnvelopes,
    pub(crate) receive: StreamBuffers,
    events: VecDeque<(StreamId, Event)>,
    /// Slots that want something of the kernel, each once.
    work: VecDeque<u32>,
    /// Slots whose receive ended for want of buffers, each once.
    starved: VecDeque<u32>,
    /// Slots refused for want of blocks, each once, in the order in which they asked.
    short: VecDeque<u32>,
    /// Streams whose peer's end was told; they are closed at the next turn.
    ending: Vec<StreamId>,
    deadlines: Deadlines,
    /// Accepting pauses until then, for want of descriptors or memory.
    accepts_pause: Option<Instant>,
    queue_bytes_max: u32,
    /// System calls made here, to be added to those of the port.
    pub(crate) syscalls: u64,
    pub(crate) counters: StreamCounters,
}

impl Streams {
    pub(crate) fn new(config: &PortConfig) -> Result<Streams, OpenError> {
        let count = config.streams_max as usize;
        let buffers = config.stream_buffers;
        // At most three events of a stream wait beside its octets: begin, room, end.
        let events = VecDeque::with_capacity(3 * count + buffers as usize);
        let rooms = config.listeners.len() * ACCEPTS_MAX;
        Ok(Streams {
            slots: (0..count).map(|_| Slot::new()).collect(),
            free: (0..config.streams_max).rev().collect(),
            blocks: Blocks::new(config.stream_blocks)?,
            envelopes: StreamEnvelopes::new(count + rooms)?,
            receive: StreamBuffers::new(buffers)?,
            events,
            work: VecDeque::with_capacity(count),
            starved: VecDeque::with_capacity(count),
            short: VecDeque::with_capacity(count),
            ending: Vec::with_capacity(count),
            deadlines: Deadlines::default(),
            accepts_pause: None,
            queue_bytes_max: config.stream_queue_bytes,
            syscalls: 0,
            counters: StreamCounters::default(),
        })
    }

    pub(crate) fn free_count(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn open_count(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    #[inline]
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    pub(crate) fn has_work(&self) -> bool {
        !self.work.is_empty()
    }

    fn id(&self, slot: u32) -> StreamId {
        StreamId::new(slot, self.slots[slot as usize].generation)
    }

    /// The slot of a stream that is not gone.
    fn find(&self, stream: StreamId) -> Option<u32> {
        let slot = self.slots.get(stream.slot() as usize)?;
        let alive = slot.generation == stream.generation() && slot.state != State::Free;
        alive.then(|| stream.slot())
    }

    pub(crate) fn peer(&self, stream: StreamId) -> Option<SocketAddr> {
        self.find(stream).map(|slot| self.slots[slot as usize].peer)
    }

    pub(crate) fn generation(&self, slot: u32) -> u32 {
        self.slots[slot as usize].generation
    }

    pub(crate) fn slot_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// The socket of a slot whose stream has one.
    pub(crate) fn descriptor(&self, slot: u32) -> Option<RawFd> {
        let socket = self.slots[slot as usize].socket.as_ref();
        socket.map(AsRawFd::as_raw_fd)
    }

    /// The envelope of pending accept `room`.
    pub(crate) fn accept_room(&mut self, room: usize) -> (*mut libc::sockaddr, *mut u32) {
        self.envelopes.name_room(self.slots.len() + room)
    }

    pub(crate) fn accepted_peer(&mut self, room: usize) -> Option<SocketAddr> {
        self.envelopes.accepted_name(self.slots.len() + room)
    }

    /// The target of a connecting slot, for the kernel.
    pub(crate) fn target(&mut self, slot: u32) -> (*const libc::sockaddr, u32) {
        let peer = self.slots[slot as usize].peer;
        self.envelopes.name(slot as usize, peer)
    }

    /// Puts a slot on the list of those that want something, once.
    pub(crate) fn list(&mut self, slot: u32) {
        let listed = &mut self.slots[slot as usize].listed;
        if !std::mem::replace(listed, true) {
            self.work.push_back(slot);
        }
    }

    /// Takes the next slot off the list; the listed ones that are done with are freed on the way.
    pub(crate) fn next_work(&mut self) -> Option<u32> {
        loop {
            let slot = self.work.pop_front()?;
            let at = &mut self.slots[slot as usize];
            at.listed = false;
            if at.state != State::Dead || at.in_kernel() {
                return Some(slot);
            }
            self.settle(slot);
        }
    }

    pub(crate) fn work_count(&self) -> usize {
        self.work.len()
    }

    pub(crate) fn wants(&self, slot: u32) -> Wants {
        self.slots[slot as usize].wants()
    }

    /// Lists as many starved slots as there are buffers.
    pub(crate) fn feed(&mut self) {
        for _ in 0..self.receive.available() {
            let Some(slot) = self.starved.pop_front() else {
                break;
            };
            self.slots[slot as usize].starved = false;
            self.list(slot);
        }
    }

    /// Copies octets into the queue of a stream, all or none.
    #[inline]
    pub(crate) fn send(&mut self, stream: StreamId, octets: &[u8]) -> Result<(), StreamFull> {
        let slot = self.find(stream).ok_or(StreamFull::Closed)?;
        let at = &mut self.slots[slot as usize];
        if !at.takes_octets() {
            return Err(StreamFull::Closed);
        }
        if octets.is_empty() {
            return Ok(());
        }
        if octets.len() > (self.queue_bytes_max - at.queue.bytes()) as usize {
            at.refused = true;
            self.counters.stream_full += 1;
            // Nothing will drain: what is too long for an empty queue never fits.
            return Err(StreamFull::Stream);
        }
        if !self.blocks.append(&mut at.queue, octets) {
            self.counters.port_full += 1;
            if !std::mem::replace(&mut at.short, true) {
                self.short.push_back(slot);
            }
            return Err(StreamFull::Port);
        }
        self.list(slot);
        Ok(())
    }

    /// Starts the next flight of a slot that wants to send.
    pub(crate) fn depart(&mut self, slot: u32) -> Flight {
        self.counters.sends += 1;
        let queue = &mut self.slots[slot as usize].queue;
        self.blocks
            .depart(queue, &mut self.envelopes, slot as usize)
    }

    /// A flight ended: octets taken, or a negative errno.
    pub(crate) fn sent(&mut self, slot: u32, result: i32) {
        let at = &mut self.slots[slot as usize];
        at.sending = false;
        let free_before = self.blocks.free_count();
        let whole = self
            .blocks
            .arrive(&mut at.queue, u32::try_from(result).unwrap_or(0));
        self.relieve(free_before);
        match result {
            1.. => {
                self.counters.bytes_sent += result as u64;
                self.counters.partial_sends += u64::from(!whole);
            }
            // A send of something that takes nothing and gives no reason would go round for ever.
            0 => return self.fail(slot, CloseCause::Failed(libc::EIO)),
            _ if -result == libc::EAGAIN || -result == libc::EINTR => {}
            _ => return self.fail(slot, CloseCause::from_errno(-result)),
        }
        let at = &self.slots[slot as usize];
        if at.state == State::Dead {
            self.settle(slot);
        } else if at.queue.bytes() == 0 {
            self.emptied(slot);
        } else {
            self.list(slot);
        }
    }

    /// The queue of a slot is empty.
    fn emptied(&mut self, slot: u32) {
        let at = &mut self.slots[slot as usize];
        if at.takes_octets() && std::mem::take(&mut at.refused) {
            self.tell_drained(slot);
        } else if at.state == State::Closing {
            self.flushed(slot);
        }
    }

    fn tell_drained(&mut self, slot: u32) {
        let stream = self.id(slot);
        let told = &mut self.slots[slot as usize].drained_waits;
        if !std::mem::replace(told, true) {
            self.events.push_back((stream, Event::Drained));
        }
    }

    /// Tells as many of those refused for want of blocks as blocks came back.
    fn relieve(&mut self, free_before: usize) {
        for _ in free_before..self.blocks.free_count() {
            let Some(slot) = self.short.pop_front() else {
                break;
            };
            let at = &mut self.slots[slot as usize];
            at.short = false;
            if at.takes_octets() {
                self.tell_drained(slot);
            }
        }
    }

    /// Reads a stream by portions from now on.
    pub(crate) fn meter(&mut self, stream: StreamId) {
        if let Some(slot) = self.find(stream) {
            self.slots[slot as usize].metered = true;
        }
    }

    /// Permits one more portion.
    pub(crate) fn permit(&mut self, stream: StreamId) {
        if let Some(slot) = self.find(stream) {
            self.slots[slot as usize].permitted = true;
            self.list(slot);
        }
    }

    /// Octets came into `buffer`; false when nobody wants them and the buffer is free at once.
    #[inline]
    pub(crate) fn received(&mut self, slot: u32, buffer: u16, length: u32) -> bool {
        if !self.slots[slot as usize].hears() {
            self.counters.bytes_discarded += u64::from(length);
            return false;
        }
        self.counters.bytes_received += u64::from(length);
        self.receive.hold();
        let stream = self.id(slot);
        self.events
            .push_back((stream, Event::Received { buffer, length }));
        true
    }

    /// A receive ended: the peer's end (0), or an errno.
    pub(crate) fn receive_ended(&mut self, slot: u32, errno: i32) {
        let at = &mut self.slots[slot as usize];
        at.receiving = false;
        match errno {
            _ if at.state == State::Dead => self.settle(slot),
            0 => self.peer_ended(slot),
            libc::ENOBUFS => {
                self.counters.enobufs += 1;
                // Nothing was read, so the portion is still due.
                at.permitted = true;
                if !std::mem::replace(&mut at.starved, true) {
                    self.starved.push_back(slot);
                }
            }
            libc::EAGAIN | libc::EINTR => self.list(slot),
            _ => self.fail(slot, CloseCause::from_errno(errno)),
        }
    }

    /// A receive ended with no reason of the stream's: it is armed again.
    pub(crate) fn receive_paused(&mut self, slot: u32) {
        let at = &mut self.slots[slot as usize];
        at.receiving = false;
        if at.state == State::Dead {
            self.settle(slot);
        } else {
            self.list(slot);
        }
    }

    fn peer_ended(&mut self, slot: u32) {
        let at = &mut self.slots[slot as usize];
        at.peer_ended = true;
        match at.state {
            State::Open => {
                at.state = State::Ending;
                self.tell_closed(slot, CloseCause::Peer);
            }
            State::Lingering => self.fail(slot, CloseCause::Local),
            _ => {}
        }
    }

    /// Closes after what is queued has left; what comes from now on is dropped.
    pub(crate) fn close(&mut self, stream: StreamId) {
        let Some(slot) = self.find(stream) else {
            return;
        };
        let at = &mut self.slots[slot as usize];
        match at.state {
            State::Connecting if at.queue.bytes() == 0 => {
                return self.fail(slot, CloseCause::Local);
            }
            State::Connecting if !at.close_wanted => at.close_wanted = true,
            State::Open | State::Ending => at.state = State::Closing,
            _ => return,
        }
        self.deadlines.append(&mut self.slots, slot);
        let at = &self.slots[slot as usize];
        if at.state == State::Closing && at.queue.bytes() == 0 {
            self.flushed(slot);
        }
    }

    /// Drops what is queued and resets the connection.
    pub(crate) fn reset(&mut self, stream: StreamId) {
        if let Some(slot) = self.find(stream) {
            self.cut(slot, CloseCause::Local);
        }
    }

    fn cut(&mut self, slot: u32, cause: CloseCause) {
        if let Some(raw) = self.descriptor(slot) {
            self.syscalls += 1;
            reset_at_close(raw);
        }
        self.fail(slot, cause);
    }

    /// All of a closing stream's queue left: our end is told, and the peer's awaited, as a socket
    /// closed before that would reset what the peer has not read.
    fn flushed(&mut self, slot: u32) {
        let at = &mut self.slots[slot as usize];
        if at.peer_ended {
            return self.fail(slot, CloseCause::Local);
        }
        at.state = State::Lingering;
        if let Some(raw) = self.descriptor(slot) {
            self.syscalls += 1;
            end_sending(raw);
        }
        self.list(slot);
    }

    /// Ends a stream at once; its operations are cancelled, its slot stays until they completed.
    pub(crate) fn fail(&mut self, slot: u32, cause: CloseCause) {
        if self.slots[slot as usize].state != State::Dead {
            self.slots[slot as usize].state = State::Dead;
            self.tell_closed(slot, cause);
        }
        self.settle(slot);
    }

    /// Queues the end of a stream, once.
    fn tell_closed(&mut self, slot: u32, cause: CloseCause) {
        let stream = self.id(slot);
        let at = &mut self.slots[slot as usize];
        if at.end_waits || at.end_told {
            return;
        }
        at.end_waits = true;
        self.counters.closed += 1;
        match cause {
            CloseCause::Reset => self.counters.resets += 1,
            CloseCause::TimedOut => self.counters.timeouts += 1,
            _ => {}
        }
        self.events.push_back((stream, Event::Closed(cause)));
    }

    /// Gives back what a dead stream holds, as far as the kernel let go of it.
    pub(crate) fn settle(&mut self, slot: u32) {
        let at = &mut self.slots[slot as usize];
        if at.state != State::Dead {
            return;
        }
        if at.in_kernel() {
            return self.list(slot);
        }
        self.deadlines.remove(&mut self.slots, slot);
        let free_before = self.blocks.free_count();
        let at = &mut self.slots[slot as usize];
        self.blocks.clear(&mut at.queue);
        if let Some(socket) = at.socket.take() {
            self.syscalls += 1;
            drop(socket);
            self.accepts_pause = None;
        }
        self.relieve(free_before);
        self.release(slot);
    }

    /// Frees the slot of a dead stream whose end was told and of which no list speaks any more.
    fn release(&mut self, slot: u32) {
        let at = &mut self.slots[slot as usize];
        let done = at.state == State::Dead && at.end_told && at.socket.is_none();
        // The lists name slots, not streams. That of work is gone through at every turn.
        if !done || at.in_kernel() || at.listed {
            return;
        }
        if at.starved || at.short {
            self.unlist(slot);
        }
        let at = &mut self.slots[slot as usize];
        at.state = State::Free;
        at.generation = at.generation.wrapping_add(1);
        self.free.push(slot);
    }

    #[cold]
    fn unlist(&mut self, slot: u32) {
        let at = &mut self.slots[slot as usize];
        if std::mem::take(&mut at.starved) {
            self.starved.retain(|starved| *starved != slot);
        }
        if std::mem::take(&mut at.short) {
            self.short.retain(|short| *short != slot);
        }
    }

    /// Closes what is due at the beginning of a turn; returns how long the turn may wait at most.
    #[inline]
    pub(crate) fn begin_turn(&mut self) -> Option<Duration> {
        while let Some(stream) = self.ending.pop() {
            self.close(stream);
        }
        if self.deadlines.is_empty() && self.accepts_pause.is_none() {
            return None;
        }
        let now = Instant::now();
        self.accepts_pause = self.accepts_pause.filter(|until| *until > now);
        let pause = self.accepts_pause.map(|until| until - now);
        while let Some(slot) = self.deadlines.due(&self.slots, now) {
            self.deadlines.remove(&mut self.slots, slot);
            self.cut(slot, CloseCause::TimedOut);
        }
        let next = self.deadlines.next(&self.slots, now);
        pause.into_iter().chain(next).min()
    }

    /// Tells the oldest event; returns the buffer that is free now, or None when there was none.
    #[inline]
    pub(crate) fn tell<F: FnMut(StreamEvent<'_>)>(&mut self, f: &mut F) -> Option<Option<u16>> {
        let (stream, event) = self.events.pop_front()?;
        let slot = stream.slot();
        match event {
            Event::Received { buffer, length } => {
                let bytes = self.receive.filled(buffer, length);
                f(StreamEvent::Received { stream, bytes });
                self.receive.let_go(buffer, length);
                return Some(Some(buffer));
            }
            Event::Accepted(listener) => {
                let peer = self.slots[slot as usize].peer;
                f(StreamEvent::Accepted {
                    stream,
                    listener,
                    peer,
                });
            }
            Event::Connected => f(StreamEvent::Connected { stream }),
            Event::Drained => {
                self.slots[slot as usize].drained_waits = false;
                f(StreamEvent::Drained { stream });
            }
            Event::Refused(errno) => {
                self.end_was_told(slot);
                f(StreamEvent::Refused { stream, errno });
            }
            Event::Closed(cause) => {
                if cause == CloseCause::Peer {
                    self.ending.push(stream);
                }
                self.end_was_told(slot);
                f(StreamEvent::Closed { stream, cause });
            }
        }
        Some(None)
    }

    fn end_was_told(&mut self, slot: u32) {
        let at = &mut self.slots[slot as usize];
        at.end_waits = false;
        at.end_told = true;
        self.release(slot);
    }
}

#[cfg(test)]
mod tests;
