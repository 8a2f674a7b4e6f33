//! Which session an INVITE belongs to: a bounded table from dialog fingerprints to slots, the INVITEs of sessions that
//! ended a moment ago, and those whose refusal has to be the same when they come again.
//!
//! Only sessions that were admitted are in it, so strangers cannot fill it; the fingerprint is keyed, so a device
//! cannot choose collisions. Requests inside a dialog do not come here: their To tag names the slot.

/// Ended sessions that are remembered, in 256 KiB: at 250 k sessions a second, the last quarter of a second, far
/// longer than a network keeps a duplicate of an INVITE behind its BYE.
const RECENT_MAX: usize = 1 << 16;

/// Places of the table that is tried first: 256 KiB stay in the nearest caches, and hold the sessions that are built
/// and ended within milliseconds.
const NEAR_PLACES_MAX: usize = 1 << 15;

/// Which sessions there are, by fingerprint.
pub struct Lookup {
    near: Places,
    /// Where sessions go while the near table is full.
    far: Places,
    /// INVITEs of ended sessions, each at its own place until another takes it.
    recent: Box<[u32]>,
    refused: Refused,
}

/// Refused INVITEs that are remembered, in 32 KiB.
const REFUSED_MAX: usize = 1 << 12;
/// How long an INVITE may come again, in seconds: Timer B (RFC 3261 17.1.1.2).
const AGAIN_S: u16 = 32;

/// INVITEs that were refused for a reason that may pass.
struct Refused {
    /// Half of the name, status code, second; each at its own place until another takes it.
    entries: Box<[(u32, u16, u16)]>,
    /// When the last of them is forgotten.
    until_s: u64,
}

/// What names an INVITE: its dialog and its transaction.
#[inline]
fn invite_name(fingerprint: u64, transaction: u16) -> u64 {
    fingerprint ^ u64::from(transaction).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl Lookup {
    /// Builds a table for `sessions_max` sessions.
    pub fn new(sessions_max: usize) -> Self {
        let recent = sessions_max.next_power_of_two().min(RECENT_MAX);
        let places = sessions_max + sessions_max / 3 + 4;
        Self {
            near: Places::new(places.min(NEAR_PLACES_MAX)),
            far: Places::new(places),
            recent: vec![0; recent].into_boxed_slice(),
            refused: Refused {
                entries: vec![(0, 0, 0); REFUSED_MAX].into_boxed_slice(),
                until_s: 0,
            },
        }
    }

    /// Octets of all tables when all of them is touched.
    pub fn memory_bytes(&self) -> usize {
        let places = self.near.entries.len() + self.far.entries.len();
        let refused = size_of_val(&*self.refused.entries);
        places * size_of::<u64>() + size_of_val(&*self.recent) + refused
    }

    /// The first slot of that fingerprint which `is_it` confirms.
    #[inline]
    pub fn find(&self, fingerprint: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let near = self.near.find(fingerprint, &is_it);
        // An empty table is not touched: that would be a cache miss for each INVITE.
        if near.is_some() || self.far.held == 0 {
            return near;
        }
        self.far.find(fingerprint, &is_it)
    }

    /// Enters a session; the caller holds at most `sessions_max`.
    #[inline]
    pub fn enter(&mut self, fingerprint: u64, slot: u32) {
        if self.near.has_room() {
            self.near.enter(fingerprint, slot);
        } else {
            self.far.enter(fingerprint, slot);
        }
    }

    /// Takes a session out and remembers its INVITE for a moment.
    ///
    /// `fingerprint_of` tells the fingerprint of the session in a slot.
    #[inline]
    pub fn leave(
        &mut self,
        (fingerprint, transaction): (u64, u16),
        slot: u32,
        fingerprint_of: impl Fn(u32) -> u64,
    ) {
        let name = invite_name(fingerprint, transaction);
        let recent = name as usize & (self.recent.len() - 1);
        self.recent[recent] = (name >> 32) as u32;
        if !self.near.leave(fingerprint, slot, &fingerprint_of) {
            self.far.leave(fingerprint, slot, &fingerprint_of);
        }
    }

    /// Whether the session of that INVITE ended a moment ago.
    #[inline]
    pub fn was_here(&self, fingerprint: u64, transaction: u16) -> bool {
        let name = invite_name(fingerprint, transaction);
        let recent = name as usize & (self.recent.len() - 1);
        self.recent[recent] == (name >> 32) as u32 && name >> 32 != 0
    }

    /// Remembers that an INVITE was refused with `code`.
    #[cold]
    pub fn refuse(&mut self, now: u64, (fingerprint, transaction): (u64, u16), code: u16) {
        let name = invite_name(fingerprint, transaction);
        let now_s = now / 1_000_000_000;
        self.refused.until_s = now_s + u64::from(AGAIN_S);
        let place = name as usize % REFUSED_MAX;
        self.refused.entries[place] = ((name >> 32) as u32, code, now_s as u16);
    }

    /// The code that an INVITE was refused with, as long as it may come again.
    #[inline]
    pub fn refused(&self, now: u64, fingerprint: u64, transaction: u16) -> Option<u16> {
        let now_s = now / 1_000_000_000;
        if now_s > self.refused.until_s || self.refused.until_s == 0 {
            return None;
        }
        let name = invite_name(fingerprint, transaction);
        let (half, code, second) = self.refused.entries[name as usize % REFUSED_MAX];
        let is_it = half == (name >> 32) as u32 && (now_s as u16).wrapping_sub(second) <= AGAIN_S;
        (is_it && code > 0).then_some(code)
    }
}

/// Open addressing with backward-shift deletion: no tombstones, no rehash, no growth, a quarter vacant.
struct Places {
    /// Fingerprint's low half above, slot + 1 below; 0 is vacant.
    entries: Box<[u64]>,
    held: usize,
}

impl Places {
    fn new(places: usize) -> Self {
        Self {
            entries: vec![0; places].into_boxed_slice(),
            held: 0,
        }
    }

    #[inline]
    fn has_room(&self) -> bool {
        self.held < self.entries.len() / 4 * 3
    }

    #[inline]
    fn find(&self, fingerprint: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
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

    #[inline]
    fn enter(&mut self, fingerprint: u64, slot: u32) {
        let mut at = self.home(fingerprint);
        while self.entries[at] != 0 {
            at = self.next(at);
        }
        self.entries[at] = fingerprint << 32 | u64::from(slot + 1);
        self.held += 1;
    }

    /// Takes a session out; `false` if it is not here.
    #[inline]
    fn leave(&mut self, fingerprint: u64, slot: u32, fingerprint_of: impl Fn(u32) -> u64) -> bool {
        let mut hole = self.home(fingerprint);
        while self.entries[hole] as u32 != slot + 1 {
            if self.entries[hole] == 0 {
                return false;
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
        self.held -= 1;
        true
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
            near in 4..64usize,
        ) {
            let prints: Vec<u64> = prints
                .iter()
                .map(|(high, low)| (high * 0x2aaa_aaaa) << 32 | u64::from(*low))
                .collect();
            let mut lookup = Lookup::new(prints.len());
            lookup.near = Places::new(near);
            for (slot, print) in prints.iter().enumerate() {
                lookup.enter(*print, slot as u32);
            }
            let mut left: Vec<u32> = (0..prints.len() as u32).collect();
            while !left.is_empty() {
                let gone = left.swap_remove(order as usize % left.len());
                lookup.leave((prints[gone as usize], 0), gone, |slot| prints[slot as usize]);
                let gone_print = prints[gone as usize];
                prop_assert!(lookup.find(gone_print, |slot| slot == gone).is_none());
                for slot in &left {
                    let found = lookup.find(prints[*slot as usize], |found| found == *slot);
                    prop_assert_eq!(found, Some(*slot));
                }
            }
            for places in [&lookup.near, &lookup.far] {
                prop_assert!(places.held == 0 && places.entries.iter().all(|entry| *entry == 0));
            }
        }
    }

    #[test]
    fn the_last_to_leave_is_remembered() {
        let mut lookup = Lookup::new(4);
        assert!(!lookup.was_here(7 << 32 | 1, 5));
        lookup.enter(7 << 32 | 1, 0);
        lookup.leave((7 << 32 | 1, 5), 0, |_| 0);
        assert!(lookup.was_here(7 << 32 | 1, 5));
        assert!(!lookup.was_here(7 << 32 | 1, 6));
        assert!(!lookup.was_here(8 << 32 | 1, 5));
    }

    #[test]
    fn a_refusal_is_remembered_while_its_invite_may_come_again() {
        let second = 1_000_000_000;
        let mut lookup = Lookup::new(4);
        assert_eq!(lookup.refused(second, 9 << 32, 5), None);
        lookup.refuse(second, (9 << 32, 5), 503);
        assert_eq!(lookup.refused(33 * second, 9 << 32, 5), Some(503));
        assert_eq!(lookup.refused(second, 9 << 32, 6), None);
        assert_eq!(lookup.refused(34 * second, 9 << 32, 5), None);
    }
}
