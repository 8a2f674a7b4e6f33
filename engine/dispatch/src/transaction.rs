//! The client transactions: one 64-byte slot for each SIR in flight, found by index.
//!
//! A slot holds all that is needed to send its SIR again, so that a retransmission renders the same
//! bytes whatever has happened to the index meanwhile. It implements the non-INVITE client transaction
//! of RFC 3261 17.1.2 but for its Completed state: a response that arrives after the final one meets
//! another generation and is dropped, which is what Timer K waits for. No I/O and no clock; the shard
//! decides, this module keeps.

use crate::branch::Handle;
use crate::wheel::TICK_NS;
use sirocco_index::{Device, Identity};

/// RFC 3261 table 4: T1, the round-trip estimate, in nanoseconds.
pub const T1_NS: u64 = 500_000_000;
/// RFC 3261 table 4: T2, the longest Timer E, in nanoseconds.
pub const T2_NS: u64 = 4_000_000_000;
/// RFC 3261 table 4: Timer F, in nanoseconds.
pub const TIMER_F_NS: u64 = 64 * T1_NS;

/// Set in the shape of a target whose Request-URI is the AOR, for the network to fork; shapes have 20 bits.
pub const TO_AOR: u32 = 1 << 30;

/// One device that is to get one SIR: all that rendering and routing need, in 56 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Target {
    /// User identity: packed digits or arena reference, see `sirocco_index::Identity`.
    pub key: u64,
    /// When the order was due, in nanoseconds of the worker's clock: latency counts from here.
    pub due_ns: u64,
    /// The device as the index held it when it was selected.
    pub device: Device,
    /// User identity: interned prefix and suffix; [`TO_AOR`] beside it.
    pub shape: u32,
    /// Slot of the order in the order table.
    pub order: u16,
    /// Template of its length class.
    pub template: u16,
}

impl Target {
    /// The user identity of this target.
    #[inline]
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            key: self.key,
            shape: self.shape & !TO_AOR,
        }
    }

    /// Whether the Request-URI is the AOR alone.
    #[inline]
    #[must_use]
    pub fn is_to_aor(&self) -> bool {
        self.shape & TO_AOR != 0
    }
}

/// Where a transaction stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// The slot is free.
    Free,
    /// In a train that has not left yet.
    Queued,
    /// Sent, no response yet (RFC 3261 17.1.2.2 "Trying").
    Trying,
    /// A provisional response came: Timer E runs at T2.
    Proceeding,
}

/// One client transaction.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Transaction {
    /// What was sent, to whom.
    pub target: Target,
    generation: u32,
    /// Tick of the first transmission, modulo 2^16 (327 s, ten times Timer F).
    started_tick: u16,
    /// Transmissions so far in the low half (11 at most over UDP), earlier transactions of the same
    /// target after a 503 in the high half.
    counts: u8,
    /// State in the two low bits, then the part of the tick at which it was first sent, then the window
    /// mark.
    state_and_window: u8,
}

const _: () = assert!(size_of::<Transaction>() == 64);

/// Set while the transaction counts against its next hop's window.
const IN_WINDOW: u8 = 0x80;
/// The bits of the state.
const STATE: u8 = 0x03;
/// The bits of the part of a tick.
const PART: u8 = 0x7c;
/// Parts of a tick that are told apart.
const PARTS: u64 = 32;
/// How finely a transaction knows when it was first sent, in nanoseconds.
pub const FIRST_SENT_WITHIN_NS: u64 = TICK_NS / PARTS;
/// Retries that a transaction can count.
pub const RETRIES_MAX: u8 = 15;

impl Transaction {
    fn new(target: Target, retries: u8, generation: u32) -> Self {
        Self {
            target,
            generation,
            started_tick: 0,
            counts: retries.min(RETRIES_MAX) << 4,
            state_and_window: State::Queued as u8 | IN_WINDOW,
        }
    }

    /// Transmissions so far.
    #[inline]
    #[must_use]
    pub fn transmissions(&self) -> u8 {
        self.counts & 0x0f
    }

    /// Earlier transactions of the same target that ended with 503.
    #[inline]
    #[must_use]
    pub fn retries(&self) -> u8 {
        self.counts >> 4
    }

    /// Where it stands.
    #[inline]
    #[must_use]
    pub fn state(&self) -> State {
        match self.state_and_window & STATE {
            0 => State::Free,
            1 => State::Queued,
            2 => State::Trying,
            _ => State::Proceeding,
        }
    }

    /// Moves it to `state`; the other bits stay.
    #[inline]
    pub fn set_state(&mut self, state: State) {
        self.state_and_window = self.state_and_window & !STATE | state as u8;
    }

    /// Takes it out of its next hop's window; `false` if it had left before.
    #[inline]
    pub fn leave_window(&mut self) -> bool {
        let inside = self.state_and_window & IN_WINDOW != 0;
        self.state_and_window &= !IN_WINDOW;
        inside
    }

    /// Notes one transmission at `now` and returns when the next timer (E or F) is due.
    #[inline]
    pub fn transmitted(&mut self, now: u64) -> u64 {
        if self.transmissions() == 0 {
            self.started_tick = (now / TICK_NS) as u16;
            let part = (now % TICK_NS / FIRST_SENT_WITHIN_NS) as u8;
            self.state_and_window = self.state_and_window & !PART | part << 2;
            self.set_state(State::Trying);
        }
        self.counts += u8::from(self.transmissions() < 0x0f);
        now + self.timer_e_ns().min(self.timer_f_left_ns(now))
    }

    /// When it was first sent, in nanoseconds, rounded down to [`FIRST_SENT_WITHIN_NS`]; it was, and at most 327 s
    /// ago.
    #[must_use]
    pub fn first_sent_ns(&self, now: u64) -> u64 {
        let tick = now / TICK_NS;
        let started = tick - u64::from((tick as u16).wrapping_sub(self.started_tick));
        started * TICK_NS + u64::from((self.state_and_window & PART) >> 2) * FIRST_SENT_WITHIN_NS
    }

    /// Whether Timer F has fired by `now`.
    #[inline]
    #[must_use]
    pub fn timed_out(&self, now: u64) -> bool {
        self.timer_f_left_ns(now) == 0
    }

    fn timer_f_left_ns(&self, now: u64) -> u64 {
        let elapsed = ((now / TICK_NS) as u16).wrapping_sub(self.started_tick);
        TIMER_F_NS.saturating_sub(u64::from(elapsed) * TICK_NS)
    }

    /// RFC 3261 17.1.2.2: Timer E doubles from T1 to T2, and is T2 once a provisional response came.
    fn timer_e_ns(&self) -> u64 {
        if self.state() == State::Proceeding {
            return T2_NS;
        }
        (T1_NS << self.transmissions().saturating_sub(1).min(3)).min(T2_NS)
    }
}

/// The table of transactions: fixed capacity, slots reused last-in first-out so that few lines stay hot.
pub struct Transactions {
    table: Vec<Transaction>,
    free: Vec<u32>,
    capacity: usize,
}

impl Transactions {
    /// Builds an empty table of at most `capacity` transactions (64 bytes each, taken as needed).
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(u32::MAX as usize - 1);
        Self {
            table: Vec::with_capacity(capacity),
            free: Vec::with_capacity(capacity),
            capacity,
        }
    }

    /// Transactions in flight.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len() - self.free.len()
    }

    /// Whether none is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many more fit.
    #[inline]
    #[must_use]
    pub fn room(&self) -> usize {
        self.capacity - self.len()
    }

    /// Opens a transaction in state `Queued`, inside its window; `None` if the table is full.
    #[inline]
    pub fn open(&mut self, target: Target, retries: u8) -> Option<Handle> {
        if let Some(slot) = self.free.pop() {
            let transaction = &mut self.table[slot as usize];
            *transaction = Transaction::new(target, retries, transaction.generation);
            return Some(Handle {
                slot,
                generation: transaction.generation,
            });
        }
        if self.table.len() >= self.capacity {
            return None;
        }
        self.table.push(Transaction::new(target, retries, 0));
        Some(Handle {
            slot: (self.table.len() - 1) as u32,
            generation: 0,
        })
    }

    /// The transaction that a handle names; `None` if it is over.
    #[inline]
    pub fn find(&mut self, handle: Handle) -> Option<&mut Transaction> {
        let transaction = self.table.get_mut(handle.slot as usize)?;
        let current =
            transaction.generation == handle.generation && transaction.state() != State::Free;
        current.then_some(transaction)
    }

    /// Ends a transaction: its slot is free and its generation over. Returns what it was.
    ///
    /// The handle must have been found just before.
    #[inline]
    pub fn close(&mut self, handle: Handle) -> Transaction {
        let transaction = &mut self.table[handle.slot as usize];
        let ended = *transaction;
        transaction.generation = transaction.generation.wrapping_add(1);
        transaction.state_and_window = State::Free as u8;
        self.free.push(handle.slot);
        ended
    }

    /// The handles of all transactions in flight, for a shutdown that has to name them.
    pub fn open_handles(&self) -> impl Iterator<Item = Handle> + '_ {
        let open = self.table.iter().enumerate();
        let open = open.filter(|(_, transaction)| transaction.state() != State::Free);
        open.map(|(slot, transaction)| Handle {
            slot: slot as u32,
            generation: transaction.generation,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(table: &mut Transactions) -> Handle {
        table.open(crate::testing::target(0, 0), 3).expect("room")
    }

    #[test]
    fn timer_e_and_f_follow_the_standards_schedule() {
        // RFC 3261 17.1.2.2 over UDP: 0, 0.5, 1.5, 3.5, 7.5, ... 31.5 s, then Timer F at 32 s.
        let mut table = Transactions::new(1);
        let handle = opened(&mut table);
        let transaction = table.find(handle).expect("open");
        let mut now = 0;
        let mut sent_ms = vec![];
        while !(transaction.transmissions() > 0 && transaction.timed_out(now)) {
            sent_ms.push(now / 1_000_000);
            now = transaction.transmitted(now);
        }
        assert_eq!(
            sent_ms,
            [
                0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500
            ]
        );
        assert_eq!(now, TIMER_F_NS);
        assert_eq!(
            (transaction.transmissions(), transaction.retries()),
            (11, 3)
        );
    }

    #[test]
    fn a_provisional_response_slows_timer_e_to_t2_and_leaves_timer_f() {
        let mut table = Transactions::new(1);
        let handle = opened(&mut table);
        let transaction = table.find(handle).expect("open");
        assert_eq!(transaction.transmitted(0), T1_NS);
        transaction.set_state(State::Proceeding);
        assert_eq!(transaction.transmitted(T1_NS), T1_NS + T2_NS);
        assert!(!transaction.timed_out(TIMER_F_NS - TICK_NS));
        assert!(transaction.timed_out(TIMER_F_NS));
    }

    #[test]
    fn a_closed_handle_finds_nothing_even_when_its_slot_is_open_again() {
        let mut table = Transactions::new(1);
        let first = opened(&mut table);
        assert!(
            table.open(crate::testing::target(0, 0), 0).is_none(),
            "the table is bounded"
        );
        table.close(first);
        assert!(table.find(first).is_none());
        let second = opened(&mut table);
        assert_eq!(second.slot, first.slot);
        assert!(table.find(first).is_none());
        assert!(table.find(second).is_some());
        assert!(
            table
                .find(Handle {
                    slot: 9,
                    generation: 0
                })
                .is_none()
        );
    }

    #[test]
    fn a_transaction_leaves_its_window_once() {
        let mut table = Transactions::new(1);
        let handle = opened(&mut table);
        let transaction = table.find(handle).expect("open");
        transaction.set_state(State::Proceeding);
        assert!(transaction.leave_window());
        assert!(!transaction.leave_window());
        assert_eq!(transaction.state(), State::Proceeding);
    }
}
