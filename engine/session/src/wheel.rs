//! The timer wheel: which transactions and sessions are due for a timer, and nothing else.
//!
//! Entries are (slot, generation) pairs in chunks taken from one pool; they are never searched for and
//! never removed early: an answered transaction leaves its entry behind, and its owner sees by the
//! generation that it is stale. `Sessions` has one for its sessions, `sirocco_dispatch` one for its SIRs. That makes arming a sequential 8-byte write and keeps the wheel out of
//! the answer path. Departure times of trains and Retry-After of next hops are not kept here: they are
//! few and have queues of their own. No clock: the caller brings `now`.

/// A slot and its generation: the name of a transaction or session inside its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Handle {
    /// Index in its table.
    pub slot: u32,
    /// How often that slot had been opened when this name was given.
    pub generation: u32,
}

/// Length of one tick in nanoseconds: Timer E is 500 ms at the least, so 1 % of it is fine enough.
pub const TICK_NS: u64 = 5_000_000;
/// Ticks of the ring: 40.96 s, beyond 64*T1 = 32 s, the longest timer of RFC 3261 table 4 armed here.
const TICKS: usize = 8192;
/// Ticks that the wheel may be behind before it catches up in one go: half its ring.
const STANDSTILL_TICKS: u64 = TICKS as u64 / 2;
/// The longest time ahead that can be armed, in nanoseconds.
pub const AHEAD_MAX_NS: u64 = (TICKS as u64 - 2) * TICK_NS;
/// Entries in one chunk: 512 bytes with its link, so that a sparse ring stays small.
const CHUNK_ENTRIES: usize = 63;
const NONE: u32 = u32::MAX;

struct Chunk {
    next: u32,
    length: u32,
    entries: [Handle; CHUNK_ENTRIES],
}

/// A ring of [`Handle`]s with ticks of [`TICK_NS`]; the caller compares generations.
pub struct Wheel {
    /// First chunk of each tick, or `NONE`.
    ring: Box<[u32]>,
    pool: Vec<Chunk>,
    free: u32,
    /// The tick that expires next.
    tick: u64,
    armed: u64,
}

impl Wheel {
    /// Builds an empty wheel whose pool holds `entries` without growing; `now` is in nanoseconds.
    #[must_use]
    pub fn new(now: u64, entries: usize) -> Self {
        let chunks = entries / CHUNK_ENTRIES + TICKS / 8;
        let mut wheel = Self {
            ring: vec![NONE; TICKS].into_boxed_slice(),
            pool: Vec::with_capacity(chunks),
            free: NONE,
            tick: now / TICK_NS,
            armed: 0,
        };
        let stock: Vec<_> = (0..chunks).map(|_| wheel.fresh()).collect();
        for chunk in stock {
            wheel.recycle(chunk);
        }
        wheel
    }

    /// Entries that are armed, stale ones included.
    #[must_use]
    pub fn armed(&self) -> u64 {
        self.armed
    }

    /// Octets of the ring and of all chunks.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.ring) + self.pool.len() * size_of::<Chunk>()
    }

    /// Arms a timer that expires at `due` (nanoseconds), up to one tick late, and returns its tick.
    ///
    /// It expires early only where `due` lies more than [`AHEAD_MAX_NS`] ahead of the last expiry: whoever arms before
    /// `expire` has caught up with a standstill finds out by the tick, or when the timer fires.
    #[inline]
    pub fn arm(&mut self, due: u64, handle: Handle) -> u64 {
        let tick = due.div_ceil(TICK_NS).max(self.tick);
        let tick = tick.min(self.tick + TICKS as u64 - 1);
        let bucket = tick as usize % TICKS;
        let first = self.ring[bucket];
        self.armed += 1;
        if first != NONE {
            let chunk = &mut self.pool[first as usize];
            if (chunk.length as usize) < CHUNK_ENTRIES {
                chunk.entries[chunk.length as usize] = handle;
                chunk.length += 1;
                return tick;
            }
        }
        let chunk = self.fresh();
        let opened = &mut self.pool[chunk as usize];
        opened.next = first;
        opened.length = 1;
        opened.entries[0] = handle;
        self.ring[bucket] = chunk;
        tick
    }

    /// Moves every entry that is due at `now` to `expired`, at most `ticks_max` ticks' worth.
    pub fn expire(&mut self, now: u64, ticks_max: u32, expired: &mut Vec<Handle>) {
        self.expire_with(now, ticks_max, |_, entries| {
            expired.extend_from_slice(entries);
        });
    }

    /// Hands every entry that is due at `now` to `take`, with its tick, at most `ticks_max` ticks' worth.
    ///
    /// After a standstill of more than half the ring it catches up at once: what is armed next has to
    /// find its tick within the horizon.
    pub fn expire_with(&mut self, now: u64, ticks_max: u32, mut take: impl FnMut(u64, &[Handle])) {
        let last = now / TICK_NS;
        let ticks_max = match last.saturating_sub(self.tick) {
            0..STANDSTILL_TICKS => ticks_max,
            _ => u32::MAX,
        };
        let mut ticks = 0;
        while self.tick <= last && ticks < ticks_max {
            let bucket = self.tick as usize % TICKS;
            let mut chunk = std::mem::replace(&mut self.ring[bucket], NONE);
            while chunk != NONE {
                let emptied = &self.pool[chunk as usize];
                let next = emptied.next;
                take(self.tick, &emptied.entries[..emptied.length as usize]);
                self.armed -= u64::from(emptied.length);
                self.recycle(chunk);
                chunk = next;
            }
            self.tick += 1;
            ticks += 1;
        }
    }

    /// When the next armed tick is over, looking at most one second ahead; `None` if nothing is armed.
    #[must_use]
    pub fn next_due_ns(&self) -> Option<u64> {
        const LOOK_AHEAD: u64 = 1_000_000_000 / TICK_NS;
        if self.armed == 0 {
            return None;
        }
        let armed = (self.tick..self.tick + LOOK_AHEAD)
            .find(|tick| self.ring[*tick as usize % TICKS] != NONE);
        Some(armed.unwrap_or(self.tick + LOOK_AHEAD) * TICK_NS)
    }

    fn fresh(&mut self) -> u32 {
        if self.free != NONE {
            let chunk = self.free;
            self.free = self.pool[chunk as usize].next;
            return chunk;
        }
        let entries = [Handle {
            slot: 0,
            generation: 0,
        }; CHUNK_ENTRIES];
        self.pool.push(Chunk {
            next: NONE,
            length: 0,
            entries,
        });
        u32::try_from(self.pool.len() - 1).expect("the pool is bounded by the transactions")
    }

    fn recycle(&mut self, chunk: u32) {
        self.pool[chunk as usize].next = self.free;
        self.pool[chunk as usize].length = 0;
        self.free = chunk;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drained(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut expired = Vec::new();
        wheel.expire(now, u32::MAX, &mut expired);
        let mut slots: Vec<_> = expired.iter().map(|handle| handle.slot).collect();
        slots.sort_unstable();
        slots
    }

    proptest! {
        #[test]
        fn each_timer_expires_once_within_a_tick_and_never_early(
            start in 0..1u64 << 50,
            ahead in proptest::collection::vec(0..AHEAD_MAX_NS, 1..200),
            steps in proptest::collection::vec(1..700_000_000u64, 1..100),
        ) {
            let mut wheel = Wheel::new(start, 16);
            for (slot, ahead) in ahead.iter().enumerate() {
                wheel.arm(start + ahead, Handle { slot: slot as u32, generation: 0 });
            }
            let mut seen = vec![false; ahead.len()];
            let mut now = start;
            for step in steps.into_iter().chain([2 * AHEAD_MAX_NS]) {
                now += step;
                for slot in drained(&mut wheel, now) {
                    prop_assert!(!std::mem::replace(&mut seen[slot as usize], true));
                    prop_assert!(start + ahead[slot as usize] <= now);
                }
                for (slot, seen) in seen.iter().enumerate() {
                    prop_assert!(*seen || start + ahead[slot] + TICK_NS > now);
                }
            }
            prop_assert_eq!(wheel.armed(), 0);
        }
    }

    #[test]
    fn a_standstill_of_any_length_leaves_room_to_arm() {
        for standstill_s in [1, 30, 41, 100, 100_000] {
            let mut wheel = Wheel::new(0, 16);
            wheel.arm(
                500_000_000,
                Handle {
                    slot: 1,
                    generation: 0,
                },
            );
            let now = standstill_s * 1_000_000_000;
            let mut expired = Vec::new();
            wheel.expire(now, 100, &mut expired);
            wheel.arm(
                now + 20_000_000_000,
                Handle {
                    slot: 2,
                    generation: 0,
                },
            );
            wheel.expire(now + 20_000_000_000, u32::MAX, &mut expired);
            let slots: Vec<_> = expired.iter().map(|handle| handle.slot).collect();
            assert_eq!(slots, [1, 2], "after {standstill_s} s");
        }
    }

    #[test]
    fn a_timer_that_is_armed_before_the_wheel_has_caught_up_expires_early() {
        let handle = Handle {
            slot: 1,
            generation: 0,
        };
        let mut wheel = Wheel::new(0, 16);
        let now = 100_000_000_000;
        assert_eq!(wheel.arm(now + 500_000_000, handle), TICKS as u64 - 1);
        assert_eq!(drained(&mut wheel, now), [1]);
    }

    #[test]
    fn a_timer_that_is_due_already_expires_with_the_next_tick() {
        let mut wheel = Wheel::new(0, 16);
        assert!(drained(&mut wheel, 10 * TICK_NS).is_empty());
        wheel.arm(
            TICK_NS,
            Handle {
                slot: 1,
                generation: 0,
            },
        );
        assert!(drained(&mut wheel, 10 * TICK_NS).is_empty());
        assert_eq!(drained(&mut wheel, 11 * TICK_NS), [1]);
    }

    #[test]
    fn the_pool_stops_growing_once_the_wheel_has_turned() {
        let mut wheel = Wheel::new(0, 100_000);
        let chunks = wheel.pool.len();
        for tick in 0..20_000u64 {
            for slot in 0..100 {
                wheel.arm(
                    tick * TICK_NS + 500_000_000,
                    Handle {
                        slot,
                        generation: 0,
                    },
                );
            }
            drained(&mut wheel, tick * TICK_NS);
        }
        assert_eq!(wheel.pool.len(), chunks);
    }

    #[test]
    fn the_next_due_time_is_never_later_than_the_first_timer() {
        let mut wheel = Wheel::new(0, 16);
        assert_eq!(wheel.next_due_ns(), None);
        wheel.arm(
            500_000_000,
            Handle {
                slot: 1,
                generation: 0,
            },
        );
        assert_eq!(wheel.next_due_ns(), Some(500_000_000));
    }
}
