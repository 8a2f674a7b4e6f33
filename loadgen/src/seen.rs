//! The requests seen lately, so that a retransmission is known for what it is and gets the answer of
//! its first transmission again (RFC 3261 17.2.2, without keeping the response itself).
//!
//! A fixed table of 64-byte buckets, eight entries each, keyed by the hash of the whole branch. An
//! entry keeps 39 bits of the hash, so a new request is taken for a retransmission with a probability
//! below 16 / 2^39 (one in 3.4e10). The bound: when a bucket is full, answered transactions go first,
//! since only a lost answer makes their sender ask again; a bucket full of unanswered ones spills into
//! a second one, and when that is full too, its oldest is forgotten and counted. A test shows none
//! forgotten up to a quarter of the capacity, and less than one in a thousand at half. Nothing is
//! allocated after [`Seen::with_capacity`].
//! Called by `population`, once per received request.

use std::io;

use sirocco_ring::memory::Mapping;

/// The entries in one bucket: eight words fill one 64-byte cache line, so a lookup costs one miss.
const BUCKET_ENTRIES: usize = 8;
/// The fewest entries a table has.
pub const SEEN_ENTRIES_MIN: usize = 1 << 10;
/// The most entries a table has: 2 GiB of them.
pub const SEEN_ENTRIES_MAX: usize = 1 << 28;
/// One tick is 2^24 ns = 16.8 ms: fine enough for late answers, coarse enough for 13 bits.
const TICK_SHIFT: u32 = 24;
/// How long an entry counts: RFC 3261 17.1.2.2 ends retransmissions at Timer F = 32 s; 33 s in ticks.
const LIFETIME_TICKS: u64 = 33_000_000_000 >> TICK_SHIFT;

const HASH_BITS: u32 = 39;
const TICK_BITS: u32 = 13;
const CLASS_BITS: u32 = 6;
const COUNT_BITS: u32 = 4;
/// The transmissions counted per request: RFC 3261 17.1.2.2 sends at most 11 over UDP.
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

const COUNT_SHIFT: u32 = 2;
const CLASS_SHIFT: u32 = COUNT_SHIFT + COUNT_BITS;
const TICK_POSITION: u32 = CLASS_SHIFT + CLASS_BITS;
const HASH_SHIFT: u32 = TICK_POSITION + TICK_BITS;
const TICK_MASK: u64 = (1 << TICK_BITS) - 1;
const CLASS_MASK: u64 = (1 << CLASS_BITS) - 1;
const SETTLED: u64 = 1;
/// In a bucket's first entry: requests of this bucket may be in their second one.
const SPILLED: u64 = 2;
const _: () = assert!(HASH_SHIFT + HASH_BITS == u64::BITS);
const _: () = assert!(crate::mix::CLASSES_MAX <= 1 << CLASS_BITS);

/// The octets of one bucket: one cache line.
const BUCKET_BYTES: usize = BUCKET_ENTRIES * size_of::<u64>();

type Bucket = [u64; BUCKET_ENTRIES];

/// The bounded table of requests seen lately.
pub struct Seen {
    /// On huge pages where there are any: each request touches a random bucket, and with base pages
    /// the address translation costs as much again as the cache miss.
    memory: Mapping,
    mask: u64,
    forgotten: u64,
}

/// What the table knows of one received request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Which transmission this is, 1 for the first; stays at 15 beyond.
    pub transmission: u32,
    /// The class index stored at the first transmission.
    pub class: u8,
    /// The time since the first transmission in milliseconds, rounded down to a tick.
    pub age_ms: u64,
    slot: u32,
}

impl Seen {
    /// Returns a table for at least `entries` requests, rounded up to a power of two within
    /// [`SEEN_ENTRIES_MIN`]..=[`SEEN_ENTRIES_MAX`]; 8 bytes each, on huge pages with `huge`.
    ///
    /// # Errors
    /// The host has not the memory (mmap(2)).
    pub fn with_capacity(entries: usize, huge: bool) -> io::Result<Seen> {
        let entries = entries
            .clamp(SEEN_ENTRIES_MIN, SEEN_ENTRIES_MAX)
            .next_power_of_two();
        let count = entries / BUCKET_ENTRIES;
        let memory = Mapping::new(count * BUCKET_BYTES, huge)?;
        Ok(Seen {
            memory,
            mask: count as u64 - 1,
            forgotten: 0,
        })
    }

    /// Returns how many unanswered requests were forgotten before their Timer F.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Reads one word of the bucket of `branch_hash`: a loop of these over a train overlaps the cache
    /// misses that [`Seen::sight`] would take one by one.
    #[inline]
    #[must_use]
    pub fn touch(&mut self, branch_hash: u64) -> u64 {
        let index = (branch_hash & self.mask) as usize;
        u64::from_ne_bytes(self.words_mut(index)[0])
    }

    #[inline]
    fn words_mut(&mut self, index: usize) -> &mut [[u8; 8]] {
        let bytes = &mut self.memory.as_mut_slice()[index * BUCKET_BYTES..][..BUCKET_BYTES];
        bytes.as_chunks_mut().0
    }

    #[inline]
    fn bucket(&mut self, index: usize) -> Bucket {
        let mut bucket = [0; BUCKET_ENTRIES];
        for (entry, word) in bucket.iter_mut().zip(self.words_mut(index)) {
            *entry = u64::from_ne_bytes(*word);
        }
        bucket
    }

    #[inline]
    fn store(&mut self, index: usize, at: usize, entry: u64) {
        self.words_mut(index)[at] = entry.to_ne_bytes();
    }

    /// Finds or enters the request with this hash; `class` is stored when it is new.
    #[inline]
    pub fn sight(&mut self, branch_hash: u64, now_ns: u64, class: u8) -> Sighting {
        let tick = (now_ns >> TICK_SHIFT) & TICK_MASK;
        let print = branch_hash >> (u64::BITS - HASH_BITS);
        let first = (branch_hash & self.mask) as usize;
        let bucket = self.bucket(first);
        if let Some(sighting) = self.find(first, &bucket, print, tick) {
            return sighting;
        }
        let entry = (print << HASH_SHIFT)
            | (tick << TICK_POSITION)
            | ((u64::from(class) & CLASS_MASK) << CLASS_SHIFT)
            | (1 << COUNT_SHIFT);
        let (at, live) = victim(&bucket, tick);
        if !live && bucket[0] & SPILLED == 0 {
            return self.enter(first, &bucket, at, entry);
        }
        self.sight_second(branch_hash, tick, entry, (first, at, live))
    }

    /// The rest of `sight` for a bucket that is or was full of unanswered requests.
    #[cold]
    fn sight_second(
        &mut self,
        branch_hash: u64,
        tick: u64,
        entry: u64,
        (first, at, live): (usize, usize, bool),
    ) -> Sighting {
        let second = self.second(branch_hash, first);
        let bucket = self.bucket(second);
        if let Some(sighting) = self.find(second, &bucket, entry >> HASH_SHIFT, tick) {
            return sighting;
        }
        let full = self.bucket(first);
        if !live {
            return self.enter(first, &full, at, entry);
        }
        self.store(first, 0, full[0] | SPILLED);
        let (at, live) = victim(&bucket, tick);
        self.forgotten += u64::from(live);
        self.enter(second, &bucket, at, entry)
    }

    /// Returns a bucket that other bits of the hash choose, and that is not the first.
    #[inline]
    fn second(&self, branch_hash: u64, first: usize) -> usize {
        let second = (branch_hash.rotate_right(25) & self.mask) as usize;
        if second == first { first ^ 1 } else { second }
    }

    #[inline]
    fn find(&mut self, index: usize, bucket: &Bucket, print: u64, tick: u64) -> Option<Sighting> {
        for (at, &entry) in bucket.iter().enumerate() {
            if entry >> HASH_SHIFT != print || count_of(entry) == 0 {
                continue;
            }
            let age = tick.wrapping_sub(entry >> TICK_POSITION) & TICK_MASK;
            if age <= LIFETIME_TICKS {
                let count = (count_of(entry) + 1).min(COUNT_MAX);
                let cleared = entry & !(COUNT_MAX << COUNT_SHIFT);
                self.store(index, at, cleared | (count << COUNT_SHIFT));
                return Some(Sighting {
                    transmission: count as u32,
                    class: ((entry >> CLASS_SHIFT) & CLASS_MASK) as u8,
                    age_ms: (age << TICK_SHIFT) / 1_000_000,
                    slot: (index * BUCKET_ENTRIES + at) as u32,
                });
            }
        }
        None
    }

    #[inline]
    fn enter(&mut self, index: usize, bucket: &Bucket, at: usize, entry: u64) -> Sighting {
        self.store(index, at, entry | (bucket[at] & SPILLED));
        Sighting {
            transmission: 1,
            class: ((entry >> CLASS_SHIFT) & CLASS_MASK) as u8,
            age_ms: 0,
            slot: (index * BUCKET_ENTRIES + at) as u32,
        }
    }

    /// Changes the class of a request that was just entered: its retransmissions get that one.
    #[inline]
    pub fn reclass(&mut self, sighting: Sighting, class: u8) {
        let slot = sighting.slot as usize;
        let word = &mut self.words_mut(slot / BUCKET_ENTRIES)[slot % BUCKET_ENTRIES];
        let entry = u64::from_ne_bytes(*word) & !(CLASS_MASK << CLASS_SHIFT);
        *word = (entry | (u64::from(class) & CLASS_MASK) << CLASS_SHIFT).to_ne_bytes();
    }

    /// Notes that the request of `sighting` was answered, so that its entry may be forgotten first.
    #[inline]
    pub fn settle(&mut self, sighting: Sighting) {
        let slot = sighting.slot as usize;
        let word = &mut self.words_mut(slot / BUCKET_ENTRIES)[slot % BUCKET_ENTRIES];
        *word = (u64::from_ne_bytes(*word) | SETTLED).to_ne_bytes();
    }
}

#[inline]
fn count_of(entry: u64) -> u64 {
    (entry >> COUNT_SHIFT) & COUNT_MAX
}

/// Returns the entry to give up and whether an unanswered request is lost with it: empty and expired
/// ones first, then the oldest answered, then the oldest.
#[inline]
fn victim(bucket: &Bucket, tick: u64) -> (usize, bool) {
    let mut worst = 0u32;
    for (at, &entry) in bucket.iter().enumerate() {
        let age = (tick.wrapping_sub(entry >> TICK_POSITION) & TICK_MASK) as u32;
        let free = u32::from(count_of(entry) == 0) | u32::from(u64::from(age) > LIFETIME_TICKS);
        let settled = (entry & SETTLED) as u32;
        let score = (free << 30) | (settled << 29) | (age << 3) | at as u32;
        worst = worst.max(score);
    }
    let live = worst >> 29 == 0;
    ((worst & 7) as usize, live)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::seeded;

    const SECOND: u64 = 1_000_000_000;

    fn table(entries: usize) -> Seen {
        Seen::with_capacity(entries, false).unwrap()
    }

    #[test]
    fn a_second_transmission_is_known_with_its_class_and_age() {
        let mut seen = table(SEEN_ENTRIES_MIN);
        let first = seen.sight(0xabcd_ef01_2345_6789, SECOND, 5);
        assert_eq!((first.transmission, first.class, first.age_ms), (1, 5, 0));
        let second = seen.sight(0xabcd_ef01_2345_6789, 3 * SECOND, 9);
        assert_eq!((second.transmission, second.class), (2, 5));
        assert!((1980..=2000).contains(&second.age_ms), "{}", second.age_ms);
        assert_eq!(
            seen.sight(0x1bcd_ef01_2345_6789, 3 * SECOND, 9)
                .transmission,
            1
        );
    }

    #[test]
    fn a_class_that_was_changed_is_that_of_the_retransmissions() {
        let mut seen = table(SEEN_ENTRIES_MIN);
        let first = seen.sight(0xabcd_ef01_2345_6789, SECOND, 5);
        seen.reclass(first, 62);
        let second = seen.sight(0xabcd_ef01_2345_6789, 2 * SECOND, 5);
        assert_eq!((second.class, second.transmission), (62, 2));
    }

    #[test]
    fn the_count_stays_at_its_bound() {
        let mut seen = table(SEEN_ENTRIES_MIN);
        let counts: Vec<u32> = (0..20)
            .map(|_| seen.sight(42, 0, 63).transmission)
            .collect();
        assert_eq!(counts[..15], (1..=15).collect::<Vec<u32>>()[..]);
        assert!(counts[15..].iter().all(|&count| count == 15));
        assert_eq!(seen.sight(42, 0, 0).class, 63);
    }

    #[test]
    fn a_branch_is_forgotten_after_timer_f() {
        let mut seen = table(SEEN_ENTRIES_MIN);
        seen.sight(42, 0, 1);
        assert_eq!(seen.sight(42, 32 * SECOND, 2).transmission, 2);
        assert_eq!(seen.sight(42, 34 * SECOND, 2).transmission, 1);
    }

    #[test]
    fn a_full_bucket_gives_up_answered_requests_first_and_then_spills() {
        let mut seen = table(SEEN_ENTRIES_MIN);
        // Hashes with equal low bits share their first bucket, these their second one too.
        let hash = |n: u64| n << 48;
        for n in 1..=8 {
            let sighting = seen.sight(hash(n), n * SECOND, 0);
            if n == 5 {
                seen.settle(sighting);
            }
        }
        for n in 9..=17 {
            seen.sight(hash(n), 9 * SECOND, 0);
        }
        assert_eq!(seen.forgotten(), 0);
        assert_eq!(
            seen.sight(hash(5), 9 * SECOND, 0).transmission,
            1,
            "answered, so forgotten"
        );
        assert_eq!(seen.forgotten(), 1, "both buckets were full");
        let known = (1..=17).filter(|&n| n != 5);
        let again = known.filter(|&n| seen.sight(hash(n), 9 * SECOND, 0).transmission == 2);
        assert_eq!(again.count(), 15);
    }

    /// Enters `count` unanswered requests twice; returns how many were not known the second time.
    fn unknown_again(seen: &mut Seen, count: u64) -> usize {
        for n in 0..count {
            assert_eq!(seen.sight(seeded(3, n), SECOND, 0).transmission, 1);
        }
        assert_eq!(seen.sight(seeded(3, 0), SECOND, 0).transmission, 2);
        let again = (1..count).map(|n| seen.sight(seeded(3, n), SECOND, 0).transmission);
        again.filter(|&transmission| transmission == 1).count()
    }

    #[test]
    fn unanswered_requests_up_to_a_quarter_of_the_capacity_are_all_told_apart() {
        let mut seen = table(1 << 16);
        assert_eq!(
            (unknown_again(&mut seen, 1 << 14), seen.forgotten()),
            (0, 0)
        );
    }

    #[test]
    fn at_half_the_capacity_less_than_one_in_a_thousand_is_forgotten() {
        let mut seen = table(1 << 16);
        let unknown = unknown_again(&mut seen, 1 << 15);
        assert!(unknown < 33, "{unknown}");
        assert!(seen.forgotten() > 0, "counted");
    }

    #[test]
    fn the_capacity_is_bounded_both_ways() {
        assert_eq!(
            (table(0).mask + 1) * BUCKET_ENTRIES as u64,
            SEEN_ENTRIES_MIN as u64
        );
        assert_eq!((table(1025).mask + 1) * BUCKET_ENTRIES as u64, 2048);
    }
}
