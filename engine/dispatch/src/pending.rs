//! Which Request-URIs have a SIR in flight: at most one each, as RFC 3428 8 demands.
//!
//! Holds a 64-bit keyed fingerprint of each Request-URI in an open-addressed table of its own, so that
//! neither the index nor the transaction table is touched for the check. The table begins small and
//! grows with what is in flight: the fewer lines it has, the more of them stay in the cache. Two URIs
//! that share a fingerprint (2^-64 a pair) are merely sent one after the other. It does not queue what
//! must wait: the shard does.

use siphasher::sip::SipHasher13;
use sirocco_index::Identity;
use std::hash::Hasher;

/// Entries of an empty table: 8 KiB.
const ENTRIES_FIRST: usize = 1024;

/// The keyed fingerprint of a Request-URI; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(u64);

/// The set of Request-URIs with a SIR in flight.
pub struct Pending {
    /// 0 = empty. Linear probing, deletion by backward shift: no tombstones to outlive their use.
    table: Vec<u64>,
    count: usize,
    key: [u64; 4],
}

impl Pending {
    /// Builds an empty set; `key` is secret.
    #[must_use]
    pub fn new(key: [u64; 4]) -> Self {
        Self {
            table: vec![0; ENTRIES_FIRST],
            count: 0,
            key,
        }
    }

    /// Fingerprints the Request-URI of one device of one identity.
    ///
    /// Two folded multiplications under a secret key: an attacker who cannot see the key cannot aim for
    /// one probe sequence, and a collision costs only a delay.
    #[inline]
    #[must_use]
    pub fn fingerprint(&self, identity: Identity, device: &[u8; 16]) -> Fingerprint {
        let device = u128::from_le_bytes(*device);
        let low = fold(identity.key ^ self.key[0], device as u64 ^ self.key[1]);
        let high = (device >> 64) as u64 ^ u64::from(identity.shape).rotate_left(40);
        Fingerprint((fold(high ^ self.key[2], self.key[3] | 1) ^ low).max(1))
    }

    /// Fingerprints a Request-URI that is text.
    #[must_use]
    pub fn fingerprint_text(&self, octets: &[u8]) -> Fingerprint {
        let mut hasher = SipHasher13::new_with_keys(self.key[0], self.key[1]);
        hasher.write(octets);
        Fingerprint(hasher.finish().max(1))
    }

    /// Marks a Request-URI as in flight; `false` if it already is.
    #[inline]
    pub fn insert(&mut self, fingerprint: Fingerprint) -> bool {
        if (self.count + 1) * 2 > self.table.len() {
            self.grow();
        }
        let mask = self.table.len() - 1;
        let mut place = fingerprint.0 as usize & mask;
        while self.table[place] != 0 {
            if self.table[place] == fingerprint.0 {
                return false;
            }
            place = (place + 1) & mask;
        }
        self.table[place] = fingerprint.0;
        self.count += 1;
        true
    }

    /// Unmarks a Request-URI; `false` if it was not in flight.
    #[inline]
    pub fn remove(&mut self, fingerprint: Fingerprint) -> bool {
        let mask = self.table.len() - 1;
        let mut place = fingerprint.0 as usize & mask;
        while self.table[place] != fingerprint.0 {
            if self.table[place] == 0 {
                return false;
            }
            place = (place + 1) & mask;
        }
        self.close_gap(place, mask);
        self.count -= 1;
        true
    }

    /// Request-URIs in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn close_gap(&mut self, mut gap: usize, mask: usize) {
        let mut place = (gap + 1) & mask;
        while self.table[place] != 0 {
            let home = self.table[place] as usize & mask;
            // The entry may move back to the gap only if its home does not lie behind the gap.
            if (place.wrapping_sub(home) & mask) >= (place.wrapping_sub(gap) & mask) {
                self.table[gap] = self.table[place];
                gap = place;
            }
            place = (place + 1) & mask;
        }
        self.table[gap] = 0;
    }

    #[cold]
    fn grow(&mut self) {
        let larger = vec![0; self.table.len() * 2];
        let entries = std::mem::replace(&mut self.table, larger);
        let mask = self.table.len() - 1;
        for entry in entries.into_iter().filter(|entry| *entry != 0) {
            let mut place = entry as usize & mask;
            while self.table[place] != 0 {
                place = (place + 1) & mask;
            }
            self.table[place] = entry;
        }
    }
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    proptest! {
        #[test]
        fn it_agrees_with_a_set(steps in proptest::collection::vec((any::<bool>(), 0..3000u64), 1..4000)) {
            let mut pending = Pending::new([1, 2, 3, 4]);
            let mut model = HashSet::new();
            for (insert, number) in steps {
                // Few homes and many entries: long probe sequences that wrap around.
                let fingerprint = Fingerprint(number % 7 + (number << 16) + 1);
                if insert {
                    prop_assert_eq!(pending.insert(fingerprint), model.insert(fingerprint));
                } else {
                    prop_assert_eq!(pending.remove(fingerprint), model.remove(&fingerprint));
                }
                prop_assert_eq!(pending.len(), model.len());
            }
            for fingerprint in model {
                prop_assert!(pending.remove(fingerprint));
            }
            prop_assert!(pending.is_empty());
        }
    }

    #[test]
    fn each_part_of_the_uri_counts() {
        let pending =
            Pending::new([5, 6, 7, 8].map(|word: u64| word.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let base = pending.fingerprint(Identity { key: 1, shape: 2 }, &[3; 16]);
        assert_ne!(
            base,
            pending.fingerprint(Identity { key: 2, shape: 2 }, &[3; 16])
        );
        assert_ne!(
            base,
            pending.fingerprint(Identity { key: 1, shape: 3 }, &[3; 16])
        );
        assert_ne!(
            base,
            pending.fingerprint(Identity { key: 1, shape: 2 }, &[4; 16])
        );
    }
}
