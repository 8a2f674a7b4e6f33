//! The table of sessions: one 64-byte slot each, found by index, with the state of its transactions in it.
//!
//! A session has at most one timer: `due` moves later without touching the wheel, whose entry finds out when it
//! fires. Ticks are 16 bits and compare within 163 s, so longer times are waited for in steps. No I/O and no clock;
//! `Sessions` decides, this module keeps.

use crate::arena::TextRef;
use crate::host::{Path, StreamId};
use crate::wheel::{Handle, TICK_NS};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// The slot is free.
    Free,
    /// 2xx sent, no ACK yet.
    Accepted,
    /// A MESSAGE is on its way.
    Pushing,
    /// Nothing is on its way.
    Open,
    /// A BYE is on its way.
    Ending,
    /// The device's BYE came while a MESSAGE was on its way: its response may still come.
    HungUp,
    /// Waits for the device to connect for MSRP.
    Connecting,
    /// Content goes by MSRP.
    Streaming,
}

const STATES: [State; 8] = [
    State::Free,
    State::Accepted,
    State::Pushing,
    State::Open,
    State::Ending,
    State::HungUp,
    State::Connecting,
    State::Streaming,
];

/// Marks of a session.
pub mod mark {
    /// How the peer is reached.
    pub const PATH: u8 = 0x03;
    /// A provisional response came to the request on its way.
    pub const PROCEEDING: u8 = 0x04;
    /// The session is to end as soon as it can.
    pub const DRAIN: u8 = 0x08;
    /// The wheel holds an entry for it.
    pub const ARMED: u8 = 0x10;
    /// The device takes no MESSAGE.
    pub const NO_MESSAGE: u8 = 0x20;
    /// The session can carry MSRP.
    pub const HAS_MSRP: u8 = 0x40;
    /// Its content was delivered or has failed.
    pub const SETTLED: u8 = 0x80;
}

const PATH_IPV4: u8 = 0;
const PATH_STREAM: u8 = 1;
/// The address stands with the texts.
const PATH_KEPT: u8 = 2;

/// One session.
#[repr(C, align(64))]
pub struct Slot {
    /// The host's name for identity and device.
    pub owner: [u64; 2],
    path: u64,
    /// Call-ID and the peer's tag, hashed.
    pub fingerprint: u64,
    /// The dialog's texts.
    pub texts: TextRef,
    /// What the state needs: the 2xx, the cause of the end, the next free slot.
    pub kept: u32,
    generation: u32,
    /// The INVITE's transaction, hashed.
    pub invite: u16,
    /// Which of the last CSeq numbers were MESSAGEs that were answered 200: bit 0 is the highest number.
    pub answered: u16,
    /// Highest CSeq number of the peer.
    pub remote_cseq: u32,
    due: u16,
    armed: u16,
    started: u16,
    /// CSeq number of our last request.
    pub local_cseq: u16,
    /// The content to push.
    pub content: u16,
    state_and_count: u8,
    /// See [`mark`].
    pub marks: u8,
}

const _: () = assert!(size_of::<Slot>() == 64);

/// Beside the state: see [`Slot::follows`].
const FOLLOWS: u8 = 0x08;
/// Transmissions that are counted: 11 happen in 64*T1.
const COUNT_MAX: u8 = 15;

impl Slot {
    /// Where it stands.
    #[inline]
    pub fn state(&self) -> State {
        STATES[usize::from(self.state_and_count & 0x07)]
    }

    /// Moves it to `state`, with no transmission counted and no provisional response seen.
    #[inline]
    pub fn enter(&mut self, state: State, now: u64) {
        self.state_and_count = self.state_and_count & FOLLOWS | state as u8;
        self.marks &= !mark::PROCEEDING;
        self.started = (now / TICK_NS) as u16;
    }

    /// Whether requests go where the top route or else Contact says, not where the INVITE came from.
    #[inline]
    pub fn follows(&self) -> bool {
        self.state_and_count & FOLLOWS != 0
    }

    /// Notes that requests go where the top route or else Contact says.
    pub fn follow(&mut self) {
        self.state_and_count |= FOLLOWS;
    }

    /// Transmissions of what is on its way.
    #[inline]
    pub fn transmissions(&self) -> u8 {
        self.state_and_count >> 4
    }

    /// Counts a transmission.
    #[inline]
    pub fn transmitted(&mut self) {
        if self.transmissions() < COUNT_MAX {
            self.state_and_count += 0x10;
        }
    }

    /// How long it has been in its state, in nanoseconds, 327 s at most.
    #[inline]
    pub fn elapsed_ns(&self, now: u64) -> u64 {
        u64::from(((now / TICK_NS) as u16).wrapping_sub(self.started)) * TICK_NS
    }

    /// Whether that CSeq number was a MESSAGE that was answered 200.
    pub fn has_answered(&self, number: u32) -> bool {
        let behind = self.remote_cseq.checked_sub(number);
        behind.is_some_and(|behind| self.answered.checked_shr(behind).unwrap_or(0) & 1 != 0)
    }

    /// Whether a mark is set.
    #[inline]
    pub fn has(&self, mark: u8) -> bool {
        self.marks & mark != 0
    }

    /// Notes when its timer is due; `true`: the wheel needs an entry for it, and [`Slot::armed_at`] its tick.
    #[inline]
    pub fn set_due(&mut self, due_ns: u64) -> bool {
        self.due = due_ns.div_ceil(TICK_NS) as u16;
        !self.has(mark::ARMED) || later(self.armed, self.due)
    }

    /// Notes at which tick the wheel's entry fires.
    #[inline]
    pub fn armed_at(&mut self, tick: u64) {
        self.armed = tick as u16;
        if later(self.armed, self.due) {
            // It was due already.
            self.due = self.armed;
        }
        self.marks |= mark::ARMED;
    }

    /// What an entry of the wheel means that has fired for `tick`, which may be long past after a standstill.
    #[inline]
    pub fn fired(&mut self, tick: u64, now: u64) -> Fired {
        if !self.has(mark::ARMED) || self.armed != tick as u16 {
            return Fired::Stale;
        }
        // The entry is never later than the timer, so their distance says which of all ticks `due` means.
        let due = tick + u64::from(self.due.wrapping_sub(tick as u16));
        if due > now / TICK_NS {
            return Fired::Early(due * TICK_NS);
        }
        self.marks &= !mark::ARMED;
        Fired::Due
    }

    /// Notes where the peer is; an IPv6 address and the far end of a connection stand with the texts.
    pub fn set_path(&mut self, path: Path) {
        let (kind, word) = match path {
            Path::Stream { stream, .. } => (PATH_STREAM, stream.0),
            Path::Datagram {
                peer: SocketAddr::V4(peer),
            } => {
                let ip = u64::from(peer.ip().to_bits());
                (PATH_IPV4, ip << 16 | u64::from(peer.port()))
            }
            Path::Datagram { .. } => (PATH_KEPT, 0),
        };
        self.path = word;
        self.marks = self.marks & !mark::PATH | kind;
    }

    /// Where the peer is; `kept` is the address that stands with the texts.
    #[inline]
    pub fn path(&self, kept: impl FnOnce() -> SocketAddr) -> Path {
        match self.marks & mark::PATH {
            PATH_IPV4 => {
                let ip = Ipv4Addr::from_bits((self.path >> 16) as u32);
                Path::Datagram {
                    peer: SocketAddr::new(IpAddr::V4(ip), self.path as u16),
                }
            }
            PATH_STREAM => Path::Stream {
                stream: StreamId(self.path),
                peer: kept(),
            },
            _ => Path::Datagram { peer: kept() },
        }
    }

    /// The connection that its peer is at the other end of.
    #[inline]
    pub fn stream(&self) -> Option<StreamId> {
        self.is_on_stream().then_some(StreamId(self.path))
    }

    /// Whether its peer is at the other end of a connection.
    #[inline]
    pub fn is_on_stream(&self) -> bool {
        self.marks & mark::PATH == PATH_STREAM
    }
}

/// Whether tick `one` lies behind tick `other`.
#[inline]
fn later(one: u16, other: u16) -> bool {
    (one.wrapping_sub(other) as i16) > 0
}

/// What an entry of the wheel means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Nothing: another entry stands for the session.
    Stale,
    /// Too early: the timer was moved to this time.
    Early(u64),
    /// The timer is due.
    Due,
}

/// All sessions of a worker; slots are reused last-in first-out.
pub struct Table {
    slots: Vec<Slot>,
    free: u32,
    open: usize,
    capacity: usize,
}

const NONE: u32 = u32::MAX;

impl Table {
    /// Builds an empty table of at most `capacity` sessions; memory is touched as they come.
    pub fn new(capacity: usize) -> Self {
        Self {
            slots: Vec::with_capacity(capacity),
            free: NONE,
            open: 0,
            capacity,
        }
    }

    /// Sessions that are open.
    pub fn len(&self) -> usize {
        self.open
    }

    /// Whether one more fits.
    pub fn has_room(&self) -> bool {
        self.open < self.capacity
    }

    /// Octets that were touched.
    pub fn memory_bytes(&self) -> usize {
        self.slots.len() * size_of::<Slot>()
    }

    /// The handle that [`Table::open`] will give next; the caller has asked for room.
    #[inline]
    pub fn next(&self) -> Handle {
        let slot = match self.free {
            NONE => self.slots.len() as u32,
            free => free,
        };
        let generation = self
            .slots
            .get(slot as usize)
            .map_or(0, |slot| slot.generation);
        Handle { slot, generation }
    }

    /// What is left of a session that was the last one in its slot and is over.
    pub fn last(&self, handle: Handle) -> Option<&Slot> {
        let slot = self.slots.get(handle.slot as usize)?;
        let is_last = slot.generation == handle.generation.wrapping_add(1);
        (is_last && slot.state() == State::Free).then_some(slot)
    }

    /// Opens a session in state `Accepted`; the caller has asked for room.
    pub fn open(&mut self, now: u64) -> Handle {
        if self.free == NONE {
            assert!(self.slots.len() < self.capacity, "the caller asks for room");
            self.free = self.slots.len() as u32;
            self.slots.push(Slot {
                owner: [0; 2],
                path: 0,
                fingerprint: 0,
                texts: TextRef::NONE,
                kept: NONE,
                generation: 0,
                invite: 0,
                answered: 0,
                remote_cseq: 0,
                due: 0,
                armed: 0,
                started: 0,
                local_cseq: 0,
                content: 0,
                state_and_count: State::Free as u8,
                marks: 0,
            });
        }
        let number = self.free;
        let slot = &mut self.slots[number as usize];
        self.free = slot.kept;
        self.open += 1;
        slot.marks = 0;
        slot.answered = 0;
        slot.state_and_count = 0;
        slot.local_cseq = 0;
        slot.enter(State::Accepted, now);
        Handle {
            slot: number,
            generation: slot.generation,
        }
    }

    /// The session that a handle names; `None` if it is over.
    #[inline]
    pub fn find(&mut self, handle: Handle) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(handle.slot as usize)?;
        (slot.generation == handle.generation && slot.state() != State::Free).then_some(slot)
    }

    /// Whether this process has ever given that name.
    pub fn knows(&self, handle: Handle) -> bool {
        self.slots
            .get(handle.slot as usize)
            .is_some_and(|slot| handle.generation <= slot.generation)
    }

    /// A session that is known to be there.
    #[inline]
    pub fn at(&self, slot: u32) -> &Slot {
        &self.slots[slot as usize]
    }

    /// A session that is known to be there, to be changed.
    #[inline]
    pub fn at_mut(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// The handle of the session in a slot.
    pub fn handle(&self, slot: u32) -> Handle {
        Handle {
            slot,
            generation: self.slots[slot as usize].generation,
        }
    }

    /// Frees a slot; its generation is over.
    pub fn close(&mut self, slot: u32) {
        let ended = &mut self.slots[slot as usize];
        ended.generation = ended.generation.wrapping_add(1);
        ended.state_and_count = State::Free as u8;
        ended.kept = self.free;
        self.free = slot;
        self.open -= 1;
    }

    /// The handles of all open sessions from slot `first` on.
    pub fn handles_from(&self, first: u32) -> impl Iterator<Item = Handle> + '_ {
        let slots = self.slots.iter().enumerate().skip(first as usize);
        let open = slots.filter(|(_, slot)| slot.state() != State::Free);
        open.map(|(number, slot)| Handle {
            slot: number as u32,
            generation: slot.generation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_moves_later_without_the_wheel_and_earlier_with_it() {
        let mut table = Table::new(1);
        let handle = table.open(0);
        let slot = table.find(handle).expect("open");
        let ms = |ms: u64| ms * 1_000_000;
        assert!(slot.set_due(ms(500)));
        slot.armed_at(100);
        assert!(!slot.set_due(ms(900)), "the entry at 500 ms stands for it");
        assert_eq!(slot.fired(100, ms(500)), Fired::Early(ms(900)));
        slot.armed_at(180);
        assert!(slot.set_due(ms(600)), "an earlier entry is needed");
        slot.armed_at(120);
        assert_eq!(slot.fired(120, ms(600)), Fired::Due);
        assert_eq!(slot.fired(180, ms(900)), Fired::Stale);
    }

    #[test]
    fn a_timer_that_is_due_already_fires_with_the_entry() {
        let mut table = Table::new(1);
        let handle = table.open(0);
        let slot = table.find(handle).expect("open");
        assert!(slot.set_due(100 * TICK_NS));
        slot.armed_at(101);
        assert_eq!(slot.fired(101, 101 * TICK_NS), Fired::Due);
    }

    #[test]
    fn ticks_compare_across_their_wrap() {
        let mut table = Table::new(1);
        let handle = table.open(0);
        let slot = table.find(handle).expect("open");
        let now = 65_530 * TICK_NS;
        assert!(slot.set_due(now + 10 * TICK_NS));
        slot.armed_at(65_540);
        assert_eq!(slot.fired(65_530, now), Fired::Stale);
        assert_eq!(slot.fired(65_540, now + 10 * TICK_NS), Fired::Due);
        slot.enter(State::Open, now);
        assert_eq!(slot.elapsed_ns(now + 10 * TICK_NS), 10 * TICK_NS);
    }

    #[test]
    fn a_closed_session_is_not_found_and_its_slot_serves_again() {
        let mut table = Table::new(1);
        let first = table.open(0);
        assert!(!table.has_room());
        table.close(first.slot);
        assert!(table.find(first).is_none() && table.knows(first));
        let second = table.open(0);
        assert_eq!(second.slot, first.slot);
        assert!(table.find(first).is_none() && table.find(second).is_some());
        assert_eq!(table.handles_from(0).collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn an_address_and_a_stream_come_back() {
        let mut table = Table::new(1);
        let handle = table.open(0);
        let slot = table.find(handle).expect("open");
        let peer: SocketAddr = "192.0.2.7:5060".parse().expect("an address");
        let six: SocketAddr = "[2001:db8::1]:5060".parse().expect("an address");
        let stream = StreamId(u64::MAX);
        for path in [
            Path::Datagram { peer },
            Path::Datagram { peer: six },
            Path::Stream { stream, peer: six },
        ] {
            slot.set_path(path);
            assert_eq!(slot.path(|| six), path);
        }
    }
}
