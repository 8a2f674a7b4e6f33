//! Hash -> candidate numbers, by linear hashing over 64-byte buckets.
//!
//! Grows one bucket at a time, so no insert ever pays for a rehash of the whole table.
//! Stores only a 16-bit tag and a 32-bit number for each entry: the owner of the numbers
//! (`index` for device runs, `names` for texts) says whether a candidate is the wanted one and
//! what its hash is. Layout and reasons: docs/decisions/0002-index-layout.md.

use std::io;

use crate::bucket::{Bucket, EMPTY, SLOTS, slot_of, tag_of};
use crate::memory::{Region, bytes, bytes_mut};

/// Entries for each bucket above which the table grows by one bucket. At 6 of 10, at most
/// 4-5 % of the entries sit in an overflow bucket (Poisson, worst moment of a doubling round).
const ENTRIES_PER_BUCKET: usize = 6;

/// Buckets at most: addresses use 32 hash bits, and 2^27 buckets hold 800 M entries.
const BUCKETS_MAX: usize = 1 << 27;

/// Overflow buckets at most; a tenth of `BUCKETS_MAX` is the expected need.
const OVERFLOW_MAX: usize = 1 << 25;

/// Numbers that [`Directory::state`] gives.
pub const DIRECTORY_STATE: usize = 5;

/// Where a walk over all entries stands; valid across inserts, removals and growth.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct WalkCursor(u64);

impl WalkCursor {
    /// The beginning of a walk.
    pub const START: WalkCursor = WalkCursor(0);
    const END: u64 = 1 << 32;

    /// Whether every entry was visited.
    pub fn finished(self) -> bool {
        self.0 >= Self::END
    }

    /// Share of the walk already done, 0 to 1.
    pub fn progress(self) -> f64 {
        self.0 as f64 / Self::END as f64
    }
}

/// What the owner of the numbers tells the table about them.
pub trait Numbers {
    /// The hash under which `number` was inserted.
    fn hash(&self, number: u32) -> u64;
    /// Starts loading what `hash` will read.
    fn prefetch(&self, number: u32);
}

/// Splits between loading a bucket's entries and splitting it: several inserts' worth of time.
const SPLIT_AHEAD: u32 = 4;

/// The table.
pub struct Directory {
    buckets: Region<Bucket>,
    overflow: Region<Bucket>,
    overflow_free: u32,
    overflow_used: usize,
    /// Buckets in use, and the largest power of two not above it.
    count: u32,
    round: u32,
    len: usize,
}

impl Directory {
    /// A table that takes `entries_hint` entries before its first growth.
    ///
    /// # Errors
    /// The kernel's, when address space or memory is refused.
    pub fn new(entries_hint: usize) -> io::Result<Self> {
        let mut overflow = Region::reserve(OVERFLOW_MAX)?;
        overflow.grow(1)?;
        let mut directory = Directory {
            buckets: Region::reserve(BUCKETS_MAX)?,
            overflow,
            overflow_free: 0,
            overflow_used: 0,
            count: 0,
            round: 1,
            len: 0,
        };
        directory.expect_entries(entries_hint)?;
        Ok(directory)
    }

    /// Grows an empty table to take `entries` before its next growth; a table in use grows by
    /// itself.
    ///
    /// # Errors
    /// The kernel's, when memory is refused.
    pub fn expect_entries(&mut self, entries: usize) -> io::Result<()> {
        let count = entries.div_ceil(ENTRIES_PER_BUCKET).clamp(16, BUCKETS_MAX);
        if self.len > 0 || count <= self.count as usize {
            return Ok(());
        }
        self.buckets.grow(count)?;
        (self.count, self.round) = (count as u32, 1 << count.ilog2());
        Ok(())
    }

    /// Entries held.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Buckets on overflow chains.
    pub fn overflow_len(&self) -> usize {
        self.overflow_used
    }

    /// Bytes of memory that the table occupies.
    pub fn memory_bytes(&self) -> usize {
        self.buckets.memory_bytes() + self.overflow.memory_bytes()
    }

    /// The address of the bucket of `hash` at the present size.
    #[inline]
    pub fn address(&self, hash: u64) -> u32 {
        let low = hash as u32;
        let fine = low & (self.round * 2 - 1);
        if fine < self.count {
            fine
        } else {
            low & (self.round - 1)
        }
    }

    /// Starts loading the bucket at `address`.
    #[inline]
    pub fn prefetch(&self, address: u32) {
        self.buckets.prefetch(address as usize);
    }

    /// A likely number for `tag` in the bucket at `address`, from its first cache line only;
    /// 0 when there is none, in which case the chain's next line starts loading.
    #[inline]
    pub fn candidate(&self, address: u32, tag: u16) -> u32 {
        let bucket = &self.buckets.slice()[address as usize];
        let number = bucket.first_match(tag);
        if number == 0 && bucket.overflow != 0 {
            self.overflow.prefetch(bucket.overflow as usize);
        }
        number
    }

    /// The number under `hash` for which `is_wanted` holds.
    #[inline]
    pub fn find(&self, hash: u64, mut is_wanted: impl FnMut(u32) -> bool) -> Option<u32> {
        let tag = tag_of(hash);
        let mut bucket = &self.buckets.slice()[self.address(hash) as usize];
        loop {
            let mut bits = bucket.match_bits(tag);
            while bits != 0 {
                let slot = slot_of(bits);
                if bucket.tags[slot] == tag && is_wanted(bucket.numbers[slot]) {
                    return Some(bucket.numbers[slot]);
                }
                bits &= bits - 1;
            }
            if bucket.overflow == 0 {
                return None;
            }
            bucket = &self.overflow.slice()[bucket.overflow as usize];
        }
    }

    /// Adds `number` (not 0, not present) under `hash`; growth may split one bucket, for which
    /// it asks `numbers` for the hashes of what is in it.
    ///
    /// # Errors
    /// The kernel's, when memory is refused; the entry is then not added.
    pub fn insert(&mut self, hash: u64, number: u32, numbers: &impl Numbers) -> io::Result<()> {
        debug_assert_ne!(number, 0);
        if self.len >= self.count as usize * ENTRIES_PER_BUCKET {
            self.split(numbers)?;
        }
        self.push(self.address(hash), tag_of(hash), number)?;
        self.len += 1;
        Ok(())
    }

    /// Puts `fresh` in the place of `stale` under `hash`.
    ///
    /// # Panics
    /// When `stale` is not held under `hash`: the owner's bookkeeping is broken.
    pub fn replace(&mut self, hash: u64, stale: u32, fresh: u32) {
        let place = self
            .locate(hash, stale)
            .expect("a replaced entry is in the directory");
        self.bucket_mut(place.bucket).numbers[place.slot] = fresh;
    }

    /// Takes `number` out from under `hash`; false when it is not held.
    pub fn remove(&mut self, hash: u64, number: u32) -> bool {
        let Some(place) = self.locate(hash, number) else {
            return false;
        };
        // The last entry of the chain fills the hole, so chains stay packed.
        let (mut before, mut last) = (place.bucket, place.bucket);
        while self.bucket_mut(last).overflow != 0 {
            before = last;
            last = BucketRef::Overflow(self.bucket_mut(last).overflow);
        }
        let tail = self.bucket_mut(last);
        let slot = tail.occupied() - 1;
        let (moved, tag) = (tail.numbers[slot], tail.tags[slot]);
        (tail.numbers[slot], tail.tags[slot]) = (0, 0);
        if !(last == place.bucket && slot == place.slot) {
            let hole = self.bucket_mut(place.bucket);
            (hole.numbers[place.slot], hole.tags[place.slot]) = (moved, tag);
        }
        if let (0, BucketRef::Overflow(index)) = (slot, last) {
            // An emptied overflow bucket is never the start of the walk above: its chain has
            // an earlier bucket, found by walking again from the first.
            let parent = if before == last {
                self.parent(hash, index)
            } else {
                before
            };
            self.bucket_mut(parent).overflow = 0;
            self.release_overflow(index);
        }
        self.len -= 1;
        true
    }

    /// Visits the numbers of a few buckets from `cursor` on, until `budget` or more were visited
    /// or the walk ends, and returns where it stopped. A number that stays in the directory
    /// during the whole walk is visited exactly once, whatever is inserted, removed or split
    /// meanwhile: buckets are taken in the order of their bit-reversed address, in which the two
    /// halves of a split bucket are neighbours.
    pub fn walk(
        &self,
        cursor: WalkCursor,
        budget: usize,
        mut visit: impl FnMut(u32),
    ) -> WalkCursor {
        const AHEAD: usize = 8;
        let mut at = cursor.0;
        let mut visited = 0;
        while at < WalkCursor::END && visited < budget {
            let mut addresses = [0u32; AHEAD];
            let mut taken = 0;
            while taken < AHEAD && at < WalkCursor::END {
                let (address, next) = self.walk_step(at);
                self.prefetch(address);
                addresses[taken] = address;
                taken += 1;
                at = next;
            }
            for &address in &addresses[..taken] {
                visited += self.visit_chain(address, &mut visit);
            }
        }
        WalkCursor(at)
    }

    /// The bucket at reversed position `at`, and the position after all its hashes.
    fn walk_step(&self, at: u64) -> (u32, u64) {
        let address = self.address(u64::from((at as u32).reverse_bits()));
        let split = address >= self.round || address < self.count - self.round;
        let depth = self.round.ilog2() + u32::from(split);
        (
            address,
            u64::from(address.reverse_bits()) + (1u64 << (32 - depth)),
        )
    }

    fn visit_chain(&self, address: u32, visit: &mut impl FnMut(u32)) -> usize {
        let mut bucket = &self.buckets.slice()[address as usize];
        let mut visited = 0;
        loop {
            for &number in bucket.numbers.iter().take_while(|&&number| number != 0) {
                visit(number);
                visited += 1;
            }
            if bucket.overflow == 0 {
                return visited;
            }
            bucket = &self.overflow.slice()[bucket.overflow as usize];
        }
    }

    /// Length in buckets of the longest chain; for tests and reports.
    pub fn chain_max(&self) -> usize {
        let length = |address: u32| {
            let mut bucket = &self.buckets.slice()[address as usize];
            let mut length = 1;
            while bucket.overflow != 0 {
                bucket = &self.overflow.slice()[bucket.overflow as usize];
                length += 1;
            }
            length
        };
        (0..self.count).map(length).max().unwrap_or(0)
    }

    /// The table's memory as bytes: buckets, then overflow buckets.
    pub fn sections(&self) -> [&[u8]; 2] {
        [
            bytes(&self.buckets.slice()[..self.count as usize]),
            bytes(self.overflow.slice()),
        ]
    }

    /// Numbers that a snapshot keeps beside the sections.
    pub fn state(&self) -> [u64; DIRECTORY_STATE] {
        let [free, used] = [u64::from(self.overflow_free), self.overflow_used as u64];
        [
            u64::from(self.count),
            self.overflow.len() as u64,
            self.len as u64,
            free,
            used,
        ]
    }

    /// Takes the size of a table from a snapshot's numbers; the memory then awaits its bytes.
    ///
    /// # Errors
    /// The kernel's, or `InvalidData` for numbers that no table has.
    pub fn resize(&mut self, state: [u64; DIRECTORY_STATE]) -> io::Result<()> {
        let [count, overflow, len, free, used] = state;
        if !(16..=BUCKETS_MAX as u64).contains(&count) || free >= overflow.max(1) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.buckets.grow(count as usize)?;
        self.overflow.grow(overflow as usize)?;
        (self.count, self.round) = (count as u32, 1 << count.ilog2());
        self.len = len as usize;
        (self.overflow_free, self.overflow_used) = (free as u32, used as usize);
        Ok(())
    }

    /// The table's memory, to be filled from a snapshot.
    pub fn sections_mut(&mut self) -> [&mut [u8]; 2] {
        let buckets = &mut self.buckets.slice_mut()[..self.count as usize];
        [bytes_mut(buckets), bytes_mut(self.overflow.slice_mut())]
    }

    /// Whether every number is below `numbers_max` and every link inside the table.
    pub fn is_sound(&self, numbers_max: usize) -> bool {
        let links_max = self.overflow.len();
        let sound = |bucket: &Bucket| {
            (bucket.overflow as usize) < links_max
                && bucket
                    .numbers
                    .iter()
                    .all(|&number| (number as usize) < numbers_max)
        };
        let buckets = &self.buckets.slice()[..self.count as usize];
        buckets.iter().all(sound) && self.overflow.slice().iter().all(sound)
    }

    /// Grows by one bucket: the entries of the oldest unsplit bucket divide between it and the
    /// new one.
    fn split(&mut self, numbers: &impl Numbers) -> io::Result<()> {
        let fresh = self.count as usize;
        if fresh >= BUCKETS_MAX {
            return Ok(());
        }
        self.buckets.grow(fresh + 1)?;
        // A chain needs at most as many buckets after the split as before, plus one.
        self.reserve_overflow()?;
        let old = fresh as u32 - self.round;
        let bit = u64::from(self.round);
        self.prefetch_splits(old, numbers);
        self.count += 1;
        if self.count == self.round * 2 {
            self.round *= 2;
        }
        let mut bucket = std::mem::replace(&mut self.buckets.slice_mut()[old as usize], EMPTY);
        loop {
            let occupied = bucket.occupied();
            // All hashes first: their loads are cache misses that then overlap.
            let mut hashes = [0u64; SLOTS];
            for (hash, &number) in hashes.iter_mut().zip(&bucket.numbers[..occupied]) {
                *hash = numbers.hash(number);
            }
            let next = bucket.overflow;
            if next != 0 {
                let after = self.overflow.slice()[next as usize];
                self.release_overflow(next);
                self.divide(&bucket, &hashes, (old, bit))?;
                bucket = after;
            } else {
                return self.divide(&bucket, &hashes, (old, bit));
            }
        }
    }

    /// Starts loading what the coming splits will read: which buckets they are is known.
    fn prefetch_splits(&self, old: u32, numbers: &impl Numbers) {
        self.prefetch(old + 2 * SPLIT_AHEAD);
        let soon = old + SPLIT_AHEAD;
        if soon < self.round {
            let bucket = &self.buckets.slice()[soon as usize];
            for &number in &bucket.numbers {
                numbers.prefetch(number);
            }
        }
    }

    fn divide(
        &mut self,
        bucket: &Bucket,
        hashes: &[u64; SLOTS],
        (old, bit): (u32, u64),
    ) -> io::Result<()> {
        for (slot, &number) in bucket
            .numbers
            .iter()
            .enumerate()
            .take_while(|(_, n)| **n != 0)
        {
            let target = if hashes[slot] & bit == 0 {
                old
            } else {
                old + bit as u32
            };
            self.push(target, bucket.tags[slot], number)?;
        }
        Ok(())
    }

    fn push(&mut self, address: u32, tag: u16, number: u32) -> io::Result<()> {
        let mut at = BucketRef::Primary(address);
        loop {
            let bucket = self.bucket_mut(at);
            let occupied = bucket.occupied();
            if occupied < SLOTS {
                (bucket.numbers[occupied], bucket.tags[occupied]) = (number, tag);
                return Ok(());
            }
            if bucket.overflow == 0 {
                let index = self.take_overflow()?;
                self.bucket_mut(at).overflow = index;
            }
            at = BucketRef::Overflow(self.bucket_mut(at).overflow);
        }
    }

    /// Makes sure that `take_overflow` succeeds at least once.
    fn reserve_overflow(&mut self) -> io::Result<()> {
        if self.overflow_free != 0 {
            return Ok(());
        }
        let index = self.overflow.len();
        self.overflow.grow(index + 1)?;
        self.overflow_used += 1;
        self.release_overflow(index as u32);
        Ok(())
    }

    fn take_overflow(&mut self) -> io::Result<u32> {
        self.reserve_overflow()?;
        let index = self.overflow_free;
        let bucket = &mut self.overflow.slice_mut()[index as usize];
        self.overflow_free = bucket.overflow;
        *bucket = EMPTY;
        self.overflow_used += 1;
        Ok(index)
    }

    fn release_overflow(&mut self, index: u32) {
        self.overflow.slice_mut()[index as usize] = Bucket {
            overflow: self.overflow_free,
            ..EMPTY
        };
        self.overflow_free = index;
        self.overflow_used -= 1;
    }

    #[inline]
    fn bucket_mut(&mut self, at: BucketRef) -> &mut Bucket {
        match at {
            BucketRef::Primary(address) => &mut self.buckets.slice_mut()[address as usize],
            BucketRef::Overflow(index) => &mut self.overflow.slice_mut()[index as usize],
        }
    }

    fn locate(&self, hash: u64, number: u32) -> Option<Place> {
        let address = self.address(hash);
        let mut at = BucketRef::Primary(address);
        let mut bucket = &self.buckets.slice()[address as usize];
        loop {
            if let Some(slot) = bucket.numbers.iter().position(|&held| held == number) {
                return Some(Place { bucket: at, slot });
            }
            if bucket.overflow == 0 {
                return None;
            }
            at = BucketRef::Overflow(bucket.overflow);
            bucket = &self.overflow.slice()[bucket.overflow as usize];
        }
    }

    /// The bucket whose chain link is overflow bucket `index`.
    fn parent(&mut self, hash: u64, index: u32) -> BucketRef {
        let mut at = BucketRef::Primary(self.address(hash));
        loop {
            let next = self.bucket_mut(at).overflow;
            assert_ne!(next, 0, "an overflow bucket hangs on the chain of its hash");
            if next == index {
                return at;
            }
            at = BucketRef::Overflow(next);
        }
    }
}

#[derive(Copy, Clone, PartialEq, Eq)]
enum BucketRef {
    Primary(u32),
    Overflow(u32),
}

struct Place {
    bucket: BucketRef,
    slot: usize,
}
