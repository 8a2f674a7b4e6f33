//! Which session an INVITE belongs to: a bounded table from dialog fingerprints to slots, and the fingerprints of
//! sessions that ended a moment ago.
//!
//! Only sessions that were admitted are in it, so strangers cannot fill it; the fingerprint is keyed, so a device
//! cannot choose collisions. Requests inside a dialog do not come here: their To tag names the slot.

/// Ended sessions that are remembered, in 256 KiB: at 250 k sessions a second, the last quarter of a second, far
/// longer than a network keeps a duplicate of an INVITE behind its BYE.
const RECENT_MAX: usize = 1 << 16;

/// Open addressing with backward-shift deletion: no tombstones, no rehash, no growth.
pub struct Lookup {
    /// Fingerprint's low half above, slot + 1 below; 0 is vacant.
    entries: Box<[u64]>,
    /// Fingerprints of ended sessions, each at its own place until another takes it.
    recent: Box<[u32]>,
}

impl Lookup {
    /// Builds a table for `sessions_max` sessions, a quarter of it vacant at the least.
    pub fn new(sessions_max: usize) -> Self {
        let places = sessions_max + sessions_max / 3 + 4;
        let recent = sessions_max.next_power_of_two().min(RECENT_MAX);
        Self {
            entries: vec![0; places].into_boxed_slice(),
            recent: vec![0; recent].into_boxed_slice(),
        }
    }

    /// Octets of both tables when all of it is touched.
    pub fn memory_bytes(&self) -> usize {
        size_of_val(&*self.entries) + size_of_val(&*self.recent)
    }

    /// The first slot of that fingerprint which `is_it` confirms.
    #[inline]
    pub fn find(&self, fingerprint: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let mut at = self.home(fingerprint);
        loop {
            let entry = self.entries[at];
            if entry == 0 {
                return None;
            }
            let slot = entry as u32 - 1;
            if entry >> 32 == u64::from(fingerprint as u32) && is_it(slot) {
                return Some(slot);
            }
            at = self.next(at);
        }
    }

    /// Enters a session; the caller holds at most `sessions_max`.
    #[inline]
    pub fn enter(&mut self, fingerprint: u64, slot: u32) {
        let mut at = self.home(fingerprint);
        while self.entries[at] != 0 {
            at = self.next(at);
        }
        self.entries[at] = fingerprint << 32 | u64::from(slot + 1);
    }

    /// Takes a session out and remembers for a moment that it was there.
    ///
    /// `fingerprint_of` tells the fingerprint of the session in a slot.
    #[inline]
    pub fn leave(&mut self, fingerprint: u64, slot: u32, fingerprint_of: impl Fn(u32) -> u64) {
        let recent = fingerprint as usize & (self.recent.len() - 1);
        self.recent[recent] = (fingerprint >> 32) as u32;
        let mut hole = self.home(fingerprint);
        while self.entries[hole] as u32 != slot + 1 {
            if self.entries[hole] == 0 {
                return;
            }
            hole = self.next(hole);
        }
        let mut at = hole;
        loop {
            at = self.next(at);
            let entry = self.entries[at];
            if entry == 0 {
                break;
            }
            let home = self.home(fingerprint_of(entry as u32 - 1));
            // An entry may fill the hole if that lies on its way from its home to its place.
            if self.distance(home, hole) < self.distance(home, at) {
                self.entries[hole] = entry;
                hole = at;
            }
        }
        self.entries[hole] = 0;
    }

    /// Whether a session of that fingerprint ended a moment ago.
    #[inline]
    pub fn was_here(&self, fingerprint: u64) -> bool {
        let recent = fingerprint as usize & (self.recent.len() - 1);
        self.recent[recent] == (fingerprint >> 32) as u32 && fingerprint >> 32 != 0
    }

    #[inline]
    fn home(&self, fingerprint: u64) -> usize {
        (((fingerprint >> 32) * self.entries.len() as u64) >> 32) as usize
    }

    #[inline]
    fn next(&self, at: usize) -> usize {
        if at + 1 == self.entries.len() {
            0
        } else {
            at + 1
        }
    }

    #[inline]
    fn distance(&self, from: usize, to: usize) -> usize {
        if to >= from {
            to - from
        } else {
            to + self.entries.len() - from
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_holds_what_was_entered_and_nothing_else(
            // Few homes, so that runs collide and wrap.
            prints in proptest::collection::vec((0..6u64, any::<u32>()), 1..40),
            order in any::<u64>(),
        ) {
            let prints: Vec<u64> = prints
                .iter()
                .map(|(high, low)| (high * 0x2aaa_aaaa) << 32 | u64::from(*low))
                .collect();
            let mut lookup = Lookup::new(prints.len());
            for (slot, print) in prints.iter().enumerate() {
                lookup.enter(*print, slot as u32);
            }
            let mut left: Vec<u32> = (0..prints.len() as u32).collect();
            while !left.is_empty() {
                let gone = left.swap_remove(order as usize % left.len());
                lookup.leave(prints[gone as usize], gone, |slot| prints[slot as usize]);
                let gone_print = prints[gone as usize];
                prop_assert!(lookup.find(gone_print, |slot| slot == gone).is_none());
                for slot in &left {
                    let found = lookup.find(prints[*slot as usize], |found| found == *slot);
                    prop_assert_eq!(found, Some(*slot));
                }
            }
            prop_assert!(lookup.entries.iter().all(|entry| *entry == 0));
        }
    }

    #[test]
    fn the_last_to_leave_is_remembered() {
        let mut lookup = Lookup::new(4);
        assert!(!lookup.was_here(7 << 32 | 1));
        lookup.enter(7 << 32 | 1, 0);
        lookup.leave(7 << 32 | 1, 0, |_| 0);
        assert!(lookup.was_here(7 << 32 | 1));
        assert!(!lookup.was_here(8 << 32 | 1));
    }
}
