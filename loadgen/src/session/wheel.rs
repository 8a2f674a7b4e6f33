//! Timers of calls: a wheel of 4,096 buckets of about a millisecond. Nothing is ever cancelled; what
//! fires names a generation, and a call that has moved on ignores it.
//!
//! A timer beyond one turn of the wheel (4.3 s) stays in its bucket and is looked at once a turn.
//! Called by `calls`.

/// One tick is 2^20 ns, about a millisecond: fine enough for SIP's timers of 500 ms and more.
pub(crate) const TICK_SHIFT: u32 = 20;
const BUCKETS: usize = 4096;
/// The most timers at once: 256 MiB of them; beyond, a call goes without.
const TIMERS_MAX: usize = 1 << 24;
const NONE: u32 = u32::MAX;

/// What a timer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alarm {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// The tick at which it is due: a call that was armed anew has another.
    pub(crate) due: u32,
}

#[derive(Clone, Copy)]
struct Timer {
    alarm: Alarm,
    next: u32,
}

/// All timers of one worker.
pub(crate) struct Wheel {
    buckets: Box<[u32]>,
    timers: Vec<Timer>,
    free: u32,
    tick: u32,
    armed: usize,
}

impl Wheel {
    pub(crate) fn new(now_ns: u64) -> Wheel {
        Wheel {
            buckets: vec![NONE; BUCKETS].into_boxed_slice(),
            timers: Vec::new(),
            free: NONE,
            tick: tick_of(now_ns),
            armed: 0,
        }
    }

    /// Arms a timer `delay_ns` after `now_ns`, rounded up; returns the tick it is due at, never 0, or
    /// `None` when there are [`TIMERS_MAX`].
    #[inline]
    pub(crate) fn arm(
        &mut self,
        slot: u32,
        generation: u32,
        now_ns: u64,
        delay_ns: u64,
    ) -> Option<u32> {
        let ticks = ((delay_ns >> TICK_SHIFT) + 1) as u32;
        // 0 means no timer to callers.
        let due = tick_of(now_ns).max(self.tick).wrapping_add(ticks).max(1);
        let alarm = Alarm {
            slot,
            generation,
            due,
        };
        let bucket = due as usize % BUCKETS;
        let timer = Timer {
            alarm,
            next: self.buckets[bucket],
        };
        let at = if self.free == NONE {
            if self.timers.len() >= TIMERS_MAX {
                return None;
            }
            self.timers.push(timer);
            self.timers.len() as u32 - 1
        } else {
            let at = self.free;
            let spare = &mut self.timers[at as usize];
            self.free = spare.next;
            *spare = timer;
            at
        };
        self.buckets[bucket] = at;
        self.armed += 1;
        Some(due)
    }

    /// Moves what is due at `now_ns` into `fired`, whole ticks at a time until it holds `budget`.
    #[inline]
    pub(crate) fn advance(&mut self, now_ns: u64, budget: usize, fired: &mut Vec<Alarm>) {
        let now = tick_of(now_ns);
        if self.armed == 0 {
            self.tick = now;
            return;
        }
        while now.wrapping_sub(self.tick) as i32 > 0 && fired.len() < budget {
            self.tick = self.tick.wrapping_add(1);
            self.empty(self.tick, fired);
        }
    }

    fn empty(&mut self, tick: u32, fired: &mut Vec<Alarm>) {
        let bucket = tick as usize % BUCKETS;
        let mut at = std::mem::replace(&mut self.buckets[bucket], NONE);
        while at != NONE {
            let timer = self.timers[at as usize];
            if tick.wrapping_sub(timer.alarm.due) as i32 >= 0 {
                fired.push(timer.alarm);
                self.timers[at as usize].next = self.free;
                self.free = at;
                self.armed -= 1;
            } else {
                self.timers[at as usize].next = self.buckets[bucket];
                self.buckets[bucket] = at;
            }
            at = timer.next;
        }
    }

    /// Tells whether any timer is armed.
    #[inline]
    pub(crate) fn is_armed(&self) -> bool {
        self.armed > 0
    }
}

fn tick_of(now_ns: u64) -> u32 {
    (now_ns >> TICK_SHIFT) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn fired(wheel: &mut Wheel, now_ns: u64) -> Vec<u32> {
        let mut alarms = Vec::new();
        wheel.advance(now_ns, usize::MAX, &mut alarms);
        let mut slots: Vec<u32> = alarms.iter().map(|alarm| alarm.slot).collect();
        slots.sort_unstable();
        slots
    }

    #[test]
    fn timers_fire_after_their_time_and_never_before() {
        let mut wheel = Wheel::new(0);
        for (slot, ms) in [(1, 1), (2, 500), (3, 32_000), (4, 500)] {
            wheel.arm(slot, 0, 0, ms * MS).unwrap();
        }
        let mut seen = Vec::new();
        for ms in 0..33_000 {
            for slot in fired(&mut wheel, ms * MS) {
                seen.push((slot, ms));
            }
        }
        let due = |slot: u32| seen.iter().find(|(fired, _)| *fired == slot).unwrap().1;
        assert_eq!(seen.len(), 4);
        assert!((1..=3).contains(&due(1)), "{}", due(1));
        assert!((500..=503).contains(&due(2)) && due(2) == due(4));
        assert!((32_000..=32_003).contains(&due(3)));
        assert!(!wheel.is_armed());
    }

    #[test]
    fn places_are_used_again() {
        let mut wheel = Wheel::new(0);
        for round in 0..1000u64 {
            wheel.arm(7, 0, round * 4 * MS, MS).unwrap();
            fired(&mut wheel, (round + 1) * 4 * MS);
        }
        assert!(wheel.timers.len() < 8, "{}", wheel.timers.len());
    }
}
