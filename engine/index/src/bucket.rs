//! One cache line of the directory: ten tagged numbers and a link.
//!
//! Matching a tag compares all slots at once in three words, without a branch for each slot.
//! Called by `directory` only, which knows what the numbers are for.

/// Entries of one bucket: ten 6-byte entries and a link fill a cache line.
pub const SLOTS: usize = 10;

/// One cache line of entries. Entries are packed from slot 0; number 0 marks a free slot.
#[derive(Copy, Clone)]
#[repr(C, align(64))]
pub struct Bucket {
    /// The entries' numbers.
    pub numbers: [u32; SLOTS],
    /// The entries' tags; 0 in a free slot.
    pub tags: [u16; SLOTS],
    /// Index of the next bucket of this chain in the overflow region; 0 ends the chain.
    pub overflow: u32,
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// A bucket without entries.
pub const EMPTY: Bucket = Bucket {
    numbers: [0; SLOTS],
    tags: [0; SLOTS],
    overflow: 0,
};

impl Bucket {
    /// Entries held.
    #[inline]
    pub fn occupied(&self) -> usize {
        self.numbers
            .iter()
            .map(|&number| usize::from(number != 0))
            .sum()
    }

    /// The first number whose tag is `tag`, or 0; free slots have tag 0, which no entry has.
    #[inline]
    pub fn first_match(&self, tag: u16) -> u32 {
        let bits = self.match_bits(tag);
        if bits == 0 {
            return 0;
        }
        self.numbers[slot_of(bits)]
    }

    /// One bit for each slot with this tag (bit 16 * lane + word). A lane above a true match in
    /// the same word may be set falsely; the lowest bit is always true.
    #[inline]
    pub fn match_bits(&self, tag: u16) -> u64 {
        let t = &self.tags;
        let word = |a: u16, b: u16, c: u16, d: u16| {
            u64::from(a) | u64::from(b) << 16 | u64::from(c) << 32 | u64::from(d) << 48
        };
        let first = zero_lanes(word(t[0], t[1], t[2], t[3]) ^ splat(tag));
        let second = zero_lanes(word(t[4], t[5], t[6], t[7]) ^ splat(tag));
        let third = zero_lanes(word(t[8], t[9], 0, 0) ^ splat(tag));
        first | second << 1 | third << 2
    }
}

#[inline]
fn splat(tag: u16) -> u64 {
    u64::from(tag) * 0x0001_0001_0001_0001
}

/// Bit 0 of each 16-bit lane that is zero (and perhaps of lanes above such a lane).
#[inline]
fn zero_lanes(word: u64) -> u64 {
    (word.wrapping_sub(0x0001_0001_0001_0001) & !word & 0x8000_8000_8000_8000) >> 15
}

/// The slot of the lowest of some match bits.
#[inline]
pub fn slot_of(bits: u64) -> usize {
    let lowest = bits.trailing_zeros() as usize;
    ((lowest & 15) * 4 + (lowest >> 4)).min(SLOTS - 1)
}

/// The tag of a hash: its top 16 bits, never 0. Addresses use the low 32 bits.
#[inline]
pub fn tag_of(hash: u64) -> u16 {
    ((hash >> 48) as u16).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_found_in_every_slot_and_the_first_match_counts() {
        let mut bucket = EMPTY;
        assert_eq!(bucket.first_match(7), 0);
        for slot in 0..SLOTS {
            (bucket.numbers[slot], bucket.tags[slot]) = (100 + slot as u32, slot as u16 + 1);
        }
        assert_eq!(bucket.occupied(), SLOTS);
        for slot in 0..SLOTS {
            assert_eq!(bucket.first_match(slot as u16 + 1), 100 + slot as u32);
        }
        assert_eq!(bucket.first_match(99), 0);
        // Tags that differ by one bit from a match above it in the same word are no match.
        bucket.tags = [8, 9, 8, 9, 8, 9, 8, 9, 8, 9];
        let matches = |tag| {
            let (mut bits, mut slots) = (bucket.match_bits(tag), Vec::new());
            while bits != 0 {
                slots.push(slot_of(bits));
                bits &= bits - 1;
            }
            slots.retain(|&slot| bucket.tags[slot] == tag);
            slots.sort_unstable();
            slots.dedup();
            slots
        };
        assert_eq!(matches(8), [0, 2, 4, 6, 8]);
        assert_eq!(matches(9), [1, 3, 5, 7, 9]);
        assert_eq!(bucket.numbers[slot_of(bucket.match_bits(9))] % 2, 1);
    }

    #[test]
    fn no_hash_has_the_tag_of_a_free_slot() {
        assert_eq!(tag_of(0), 1);
        assert_eq!(tag_of(u64::MAX), u16::MAX);
    }
}
