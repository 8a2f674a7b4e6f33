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
/// Largest bound: 2 GiB for each of the two generations.
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

/// What one use of a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The first one.
    First,
    /// Not the first one.
    Again,
    /// Perhaps not the first one: what was used when it was issued is forgotten.
    TooOld,
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

    /// Notes the use of a token that was issued at tick `issued`.
    ///
    /// What is full or outlived turns over only after both generations have been looked at, and what is
    /// forgotten by that counts against this very token too.
    pub fn note(&mut self, number: u64, issued: Tick, now: Tick) -> Use {
        if issued < self.not_before {
            return Use::TooOld;
        }
        let in_old = (self.old.as_ref()).is_some_and(|old| old.find(number).is_ok());
        if in_old || self.young.find(number).is_ok() {
            return Use::Again;
        }
        let is_outlived = now.0 - self.young.began.0.min(now.0) > self.lifetime;
        if is_outlived || self.young.count >= self.capacity {
            self.turn_over(now);
        }
        if issued < self.not_before {
            return Use::TooOld;
        }
        if let Err(at) = self.young.find(number) {
            self.young.insert(number, at);
        }
        Use::First
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

    const AT: Tick = Tick(1);

    #[test]
    fn a_second_use_is_told_from_the_first() {
        let mut used = Used::new(REMEMBERED_MIN, 1_000, Tick(0));
        for number in 0..800 {
            assert_eq!(used.note(tag(number), AT, AT), Use::First, "{number}");
        }
        for number in 0..800 {
            assert_eq!(used.note(tag(number), AT, Tick(2)), Use::Again, "{number}");
        }
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_refused_by_age() {
        let mut used = Used::new(REMEMBERED_MIN, 1 << 40, Tick(0));
        let bytes = used.memory_bytes();
        let mut plateau = 0;
        for number in 0..20_000 {
            // One token a tick, issued the tick before its use.
            let (now, issued) = (Tick(number + 1), Tick(number));
            assert_eq!(used.note(tag(number), issued, now), Use::First, "{number}");
            plateau = plateau.max(used.memory_bytes());
        }
        assert!(plateau <= 2 * bytes);
        for number in 0..20_000 {
            let again = used.note(tag(number), Tick(number), Tick(20_001));
            assert_ne!(again, Use::First, "{number} could be used again");
        }
    }

    #[test]
    fn a_replay_at_the_very_turn_over_is_none_the_less_refused() {
        // Whoever repeats a use at any moment, the turn-overs it causes itself included, is refused.
        for replayed in 0..3_000 {
            let mut used = Used::new(REMEMBERED_MIN, 1 << 40, Tick(0));
            for number in 0..3_000u64 {
                let (issued, now) = (Tick(number), Tick(number + 1));
                used.note(tag(number), issued, now);
                if number >= replayed && number % 512 == 511 {
                    let again = used.note(tag(replayed), Tick(replayed), now);
                    assert_ne!(again, Use::First, "{replayed} at {number}");
                }
            }
        }
    }

    #[test]
    fn an_outlived_generation_is_forgotten_without_refusing_anybody() {
        let mut used = Used::new(REMEMBERED_MIN, 100, Tick(0));
        assert_eq!(used.note(tag(1), Tick(9), Tick(10)), Use::First);
        assert_eq!(used.note(tag(2), Tick(149), Tick(150)), Use::First);
        assert_eq!(
            used.note(tag(1), Tick(100), Tick(160)),
            Use::Again,
            "it lives until tick 200"
        );
        assert_eq!(used.note(tag(3), Tick(299), Tick(300)), Use::First);
        let oldest_alive = Tick(300 - 100);
        assert_eq!(used.note(tag(4), oldest_alive, Tick(300)), Use::First);
    }
}
