//! The digest of a schedule as it was taken: one word over every due time and whom it was for.
//!
//! Two runs with equal digests over equally many entries offered the same identities at the same times.
//! It is no cryptographic hash: it guards against mistakes, not against forgers. A multiplication of 64
//! by 64 bits folded to 64 an entry, after the manner of wyhash's mixing step.

use serde::{Deserialize, Serialize};

/// A digest and over how many entries it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The word; 16 hexadecimal digits in JSON, whose numbers end at 53 bits.
    #[serde(with = "hexadecimal")]
    pub word: u64,
    /// Entries in it.
    pub entries: u64,
}

impl Default for Digest {
    fn default() -> Self {
        Self {
            // The fraction of the square root of 2, as good as any other start.
            word: 0x6a09_e667_f3bc_c908,
            entries: 0,
        }
    }
}

impl Digest {
    /// Adds an entry: nanoseconds from the begin of the schedule, and whom it was for.
    #[inline]
    pub fn add(&mut self, due_ns: u64, key: u64) {
        let wide = u128::from(self.word ^ due_ns) * u128::from(key ^ 0xa076_1d64_78bd_642f);
        self.word = (wide as u64 ^ (wide >> 64) as u64).wrapping_add(self.entries);
        self.entries += 1;
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.word)
    }
}

mod hexadecimal {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(word: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{word:016x}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(entries: &[(u64, u64)]) -> Digest {
        let mut digest = Digest::default();
        entries.iter().for_each(|(due, key)| digest.add(*due, *key));
        digest
    }

    #[test]
    fn time_identity_order_and_count_are_in_it() {
        let digest = of(&[(0, 7), (10, 8), (20, 9)]);
        assert_eq!(digest, of(&[(0, 7), (10, 8), (20, 9)]));
        for other in [
            &[(0, 7), (10, 8), (21, 9)][..],
            &[(0, 7), (10, 9), (20, 8)],
            &[(10, 8), (0, 7), (20, 9)],
            &[(0, 7), (10, 8)],
            &[(0, 0), (0, 7), (10, 8), (20, 9)],
        ] {
            assert_ne!(digest.word, of(other).word, "{other:?}");
        }
    }

    #[test]
    fn many_schedules_that_differ_in_one_bit_differ_in_their_digest() {
        let mut words: Vec<u64> = (0..64)
            .flat_map(|bit| {
                [
                    of(&[(1 << bit, 0), (5, 5)]).word,
                    of(&[(0, 1 << bit), (5, 5)]).word,
                ]
            })
            .collect();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), 128);
    }
}
