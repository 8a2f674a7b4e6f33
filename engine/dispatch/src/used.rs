//! The used tokens: each (token, device) opens one session, and no second one while the token lives.
//!
//! Two generations of 32-bit fingerprints in lines of 16, each generation bounded. A full or outlived
//! younger one becomes the older one, whose content is forgotten: from then on every token that was
//! issued before the younger one began is refused, so that what is forgotten cannot be used again. A
//! bound that is too small for the rate of sessions shortens the life of tokens; it never lets a replay
//! in. A fresh token is taken for a used one with probability 16 in 2^32. It checks no tag.

use crate::token::Tick;

/// Fingerprints in one cache line.
const LINE: usize = 16;
/// Smallest bound: one page of lines.
pub const REMEMBERED_MIN: usize = 1 << 10;
/// Largest bound: 2 GiB for both generations.
pub const REMEMBERED_MAX: usize = 1 << 28;

struct Generation {
    /// Lines of [`LINE`] fingerprints; zeroed by the system as they are first touched.
    places: Vec<u32>,
    lines: usize,
    count: usize,
    began: Tick,
}

impl Generation {
    fn new(capacity: usize, began: Tick) -> Self {
        // A third more places than fingerprints keep the walks from line to line short.
        let lines = (capacity * 4 / 3).div_ceil(LINE).next_power_of_two();
        Self {
            places: vec![0; lines * LINE],
            lines,
            count: 0,
            began,
        }
    }

    /// Finds a fingerprint, or the line that has room for it.
    #[inline]
    fn find(&self, number: u64) -> Result<(), usize> {
        let (mask, fingerprint) = (self.lines - 1, fingerprint(number));
        let mut at = (number >> 32) as usize & mask;
        loop {
            let line = &self.places[at * LINE..][..LINE];
            if line.contains(&fingerprint) {
                return Ok(());
            }
            if line[LINE - 1] == 0 {
                return Err(at);
            }
            at = (at + 1) & mask;
        }
    }

    #[inline]
    fn insert(&mut self, number: u64, at: usize) {
        let line = &mut self.places[at * LINE..][..LINE];
        let place = line.iter().position(|&held| held == 0);
        line[place.expect("a line whose last place is free")] = fingerprint(number);
        self.count += 1;
    }
}

/// The low half, which does not choose the line; 0 marks a free place.
#[inline]
fn fingerprint(number: u64) -> u32 {
    (number as u32).max(1)
}

/// All used tokens that are remembered.
pub struct Used {
    young: Generation,
    old: Option<Generation>,
    capacity: usize,
    lifetime: u64,
    /// Tokens issued before this tick are refused.
    not_before: Tick,
}

impl Used {
    /// Builds an empty memory of `capacity` uses in each of two generations of at least `lifetime`
    /// ticks.
    #[must_use]
    pub fn new(capacity: usize, lifetime: u64, now: Tick) -> Self {
        Self {
            young: Generation::new(capacity, now),
            old: None,
            capacity,
            lifetime,
            not_before: Tick(0),
        }
    }

    /// Tokens issued before this tick may have been used and forgotten.
    #[must_use]
    pub fn not_before(&self) -> Tick {
        self.not_before
    }

    /// Whether `number` has been used.
    #[must_use]
    pub fn contains(&self, number: u64) -> bool {
        self.young.find(number).is_ok()
            || (self.old.as_ref()).is_some_and(|old| old.find(number).is_ok())
    }

    /// Notes a use; `false` if it is not the first one.
    pub fn insert(&mut self, number: u64, now: Tick) -> bool {
        let is_outlived = now.0 - self.young.began.0.min(now.0) > self.lifetime;
        if is_outlived || self.young.count >= self.capacity {
            self.turn_over(now);
        }
        if (self.old.as_ref()).is_some_and(|old| old.find(number).is_ok()) {
            return false;
        }
        match self.young.find(number) {
            Ok(()) => false,
            Err(at) => {
                self.young.insert(number, at);
                true
            }
        }
    }

    /// Bytes of the memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let lines = |generation: &Generation| generation.lines * LINE * size_of::<u32>();
        lines(&self.young) + self.old.as_ref().map_or(0, lines)
    }

    #[cold]
    fn turn_over(&mut self, now: Tick) {
        if self.old.is_some() {
            // A token used in the tick in which the younger one began may be of that very tick.
            self.not_before = Tick(self.young.began.0 + 1);
        }
        let fresh = Generation::new(self.capacity, now);
        self.old = Some(std::mem::replace(&mut self.young, fresh));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look like tags.
    fn tag(number: u64) -> u64 {
        let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ mixed >> 29
    }

    #[test]
    fn a_second_use_is_told_from_the_first() {
        let mut used = Used::new(REMEMBERED_MIN, 1_000, Tick(0));
        for number in 0..800 {
            assert!(used.insert(tag(number), Tick(1)), "{number}");
        }
        for number in 0..800 {
            assert!(!used.insert(tag(number), Tick(2)), "{number}");
            assert!(used.contains(tag(number)));
        }
        assert!(!used.contains(tag(800)));
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_refused_by_age() {
        let mut used = Used::new(REMEMBERED_MIN, 1 << 40, Tick(0));
        let bytes = used.memory_bytes();
        let mut plateau = 0;
        for number in 0..20_000 {
            // One token a tick, issued the tick before its use.
            let (now, issued) = (Tick(number + 1), Tick(number));
            assert!(used.insert(tag(number), now), "{number}");
            assert!(issued >= used.not_before(), "{number}");
            plateau = plateau.max(used.memory_bytes());
        }
        assert!(plateau <= 2 * bytes);
        for number in 0..20_000 {
            let is_refused = Tick(number) < used.not_before() || used.contains(tag(number));
            assert!(is_refused, "{number} could be used again");
        }
    }

    #[test]
    fn an_outlived_generation_is_forgotten_without_refusing_anybody() {
        let mut used = Used::new(REMEMBERED_MIN, 100, Tick(0));
        assert!(used.insert(tag(1), Tick(10)));
        assert!(used.insert(tag(2), Tick(150)));
        assert!(
            !used.insert(tag(1), Tick(160)),
            "it lives until tick 200 at least"
        );
        assert!(used.insert(tag(3), Tick(300)));
        assert!(
            used.not_before() <= Tick(300 - 100),
            "no token that still lives is refused"
        );
    }
}
