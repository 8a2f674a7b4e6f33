//! Answers that leave later: a bounded store of finished answers, released by their due time.
//!
//! Each has a time of its own, so they lie in a heap. Released answers are gathered for a short time and
//! sorted by where they go, so that they ride in trains too. The bytes live in fixed slots made at start:
//! an answer that finds no slot is dropped and counted by the caller. Called by `population`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::population::Origin;

/// The longest answer a slot holds: a request of 1300 octets (RFC 3428 8) has a shorter answer.
pub(crate) const SLOT_BYTES: usize = 1024;
/// The most answers that may wait, over all classes: 256 MiB of slots.
pub const LATE_SLOTS_MAX: usize = 1 << 18;
/// How long due answers are gathered before they leave: well below the delays in use (hundreds of
/// milliseconds), enough for trains of several at a million answers per second.
pub(crate) const GATHER_NS: u64 = 2_000_000;
/// The most answers sorted at once: a few trains for each edge.
const BATCH_MAX: usize = 1024;

#[derive(Clone, Copy, Debug)]
struct Waiting {
    stored_ns: u64,
    due_ns: u64,
    origin: Origin,
    length: u16,
    class: u8,
}

/// All answers that wait.
pub(crate) struct LateAnswers {
    /// By slot; what a free one has is of no use.
    waiting: Vec<Waiting>,
    bytes: Vec<u8>,
    free: Vec<u32>,
    slots: usize,
    /// Due times and slots.
    due: BinaryHeap<Reverse<(u64, u32)>>,
    batch: Vec<u32>,
    batch_at: usize,
    next_gather_ns: u64,
}

/// One train of answers that were due.
#[derive(Clone, Copy, Debug)]
pub struct LateTrain {
    /// Where it goes, and from which socket.
    pub origin: Origin,
    /// The octets written.
    pub length: usize,
    /// The length of each answer.
    pub segment: usize,
    /// The answers in it.
    pub answers: u32,
    /// How long after its due time the oldest of them left, in nanoseconds.
    pub lateness_ns: u64,
}

impl LateAnswers {
    /// Returns an empty store of `slots` slots, at most [`LATE_SLOTS_MAX`].
    pub(crate) fn new(slots: usize) -> LateAnswers {
        let slots = slots.min(LATE_SLOTS_MAX);
        LateAnswers {
            waiting: Vec::with_capacity(slots),
            // Zeroed pages: the system gives them when they are first written.
            bytes: vec![0; slots * SLOT_BYTES],
            free: Vec::with_capacity(slots),
            slots,
            due: BinaryHeap::with_capacity(slots),
            batch: Vec::with_capacity(BATCH_MAX),
            batch_at: 0,
            next_gather_ns: 0,
        }
    }

    /// Returns how many answers wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len() - self.free.len()
    }

    /// Returns when `release` next has something to write, if any answer waits.
    pub(crate) fn next_release_ns(&self) -> Option<u64> {
        Some(self.next_due_ns()?.max(self.next_gather_ns))
    }

    #[inline]
    fn next_due_ns(&self) -> Option<u64> {
        let gathered = self.batch.get(self.batch_at);
        let gathered = gathered.map(|&slot| self.waiting[slot as usize].due_ns);
        gathered.or_else(|| self.due.peek().map(|Reverse((due_ns, _))| *due_ns))
    }

    /// Stores the answer that `write` puts into a slot, for `delay_ns`; false when there is no slot, or
    /// `write` returns nothing because the slot is too short.
    #[inline]
    pub(crate) fn store(
        &mut self,
        class: u8,
        (now_ns, delay_ns): (u64, u64),
        origin: Origin,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let fresh = self.waiting.len();
        let slot = match self.free.last() {
            Some(&slot) => slot as usize,
            None if fresh < self.slots => fresh,
            None => return false,
        };
        let Some(length) = write(&mut self.bytes[slot * SLOT_BYTES..][..SLOT_BYTES]) else {
            return false;
        };
        let waiting = Waiting {
            stored_ns: now_ns,
            due_ns: now_ns + delay_ns,
            origin,
            length: length as u16,
            class,
        };
        if slot == fresh {
            self.waiting.push(waiting);
        } else {
            self.free.pop();
            self.waiting[slot] = waiting;
        }
        self.due.push(Reverse((waiting.due_ns, slot as u32)));
        true
    }

    /// Writes one train of due answers into `out`; nothing when no more is due. Call it until then.
    /// `segments_max` bounds a train; `sent` hears the class of each answer and how long it waited.
    pub(crate) fn release(
        &mut self,
        now_ns: u64,
        segments_max: usize,
        out: &mut [u8],
        mut sent: impl FnMut(u8, u64),
    ) -> Option<LateTrain> {
        if self.batch_at == self.batch.len() && !self.gather(now_ns) {
            return None;
        }
        let first = self.waiting_at(self.batch_at)?;
        let segment = usize::from(first.length);
        let mut train = LateTrain {
            origin: first.origin,
            length: 0,
            segment,
            answers: 0,
            lateness_ns: 0,
        };
        while (train.answers as usize) < segments_max {
            let Some(waiting) = self.waiting_at(self.batch_at) else {
                break;
            };
            let Some(target) = out.get_mut(train.length..train.length + segment) else {
                break;
            };
            if waiting.origin != first.origin || waiting.length != first.length {
                break;
            }
            let slot = self.batch[self.batch_at];
            target.copy_from_slice(&self.bytes[slot as usize * SLOT_BYTES..][..segment]);
            train.length += segment;
            train.answers += 1;
            train.lateness_ns = train.lateness_ns.max(now_ns.saturating_sub(waiting.due_ns));
            sent(waiting.class, now_ns.saturating_sub(waiting.stored_ns));
            self.free.push(slot);
            self.batch_at += 1;
        }
        Some(train).filter(|train| train.answers > 0)
    }

    /// Tells whether `release` may have something to write at `now_ns`.
    #[inline]
    pub(crate) fn is_due(&self, now_ns: u64) -> bool {
        let gathered = self.batch_at < self.batch.len();
        let due = || self.next_due_ns().is_some_and(|due_ns| due_ns <= now_ns);
        gathered || (now_ns >= self.next_gather_ns && due())
    }

    fn waiting_at(&self, at: usize) -> Option<Waiting> {
        let &slot = self.batch.get(at)?;
        Some(self.waiting[slot as usize])
    }

    /// Collects what is due, at most once per `GATHER_NS`, sorted by where it goes.
    fn gather(&mut self, now_ns: u64) -> bool {
        if now_ns < self.next_gather_ns {
            return false;
        }
        self.batch.clear();
        self.batch_at = 0;
        while self.batch.len() < BATCH_MAX {
            let next = self.due.peek();
            let Some(&Reverse((_, slot))) = next.filter(|next| next.0.0 <= now_ns) else {
                break;
            };
            self.due.pop();
            self.batch.push(slot);
        }
        // A full batch leaves more behind: gather again at once.
        if self.batch.len() < BATCH_MAX {
            self.next_gather_ns = now_ns + GATHER_NS;
        }
        let waiting = &self.waiting;
        self.batch.sort_unstable_by_key(|&slot| {
            let waiting = &waiting[slot as usize];
            (waiting.origin, waiting.length, waiting.due_ns, slot)
        });
        !self.batch.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;

    const MS: u64 = 1_000_000;

    fn origin(port: u16) -> Origin {
        Origin {
            socket: 0,
            stream: 0,
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            local: None,
        }
    }

    /// Stores an answer for ten milliseconds.
    fn store(late: &mut LateAnswers, class: u8, now_ns: u64, port: u16, text: &[u8]) -> bool {
        late.store(class, (now_ns, 10 * MS), origin(port), |slot| {
            slot.get_mut(..text.len())?.copy_from_slice(text);
            Some(text.len())
        })
    }

    fn released(late: &mut LateAnswers, now_ns: u64) -> Vec<(u16, String)> {
        let mut out = [0; 4096];
        let mut trains = Vec::new();
        while let Some(train) = late.release(now_ns, 64, &mut out, |_, _| {}) {
            let text = String::from_utf8_lossy(&out[..train.length]).into_owned();
            trains.push((train.origin.peer.port(), text));
        }
        trains
    }

    #[test]
    fn answers_leave_when_due_grouped_by_peer() {
        let mut late = LateAnswers::new(16);
        for (n, port) in [1u16, 2, 1, 2, 1].into_iter().enumerate() {
            assert!(store(&mut late, 1, n as u64 * MS, port, &[b'a' + n as u8]));
        }
        assert_eq!(late.next_due_ns(), Some(10 * MS));
        assert_eq!(released(&mut late, 9 * MS), []);
        let expected = [(1, "ac".to_owned()), (2, "b".to_owned())];
        assert_eq!(released(&mut late, 12 * MS), expected);
        assert_eq!(late.waiting(), 2);
        let expected = [(1, "e".to_owned()), (2, "d".to_owned())];
        assert_eq!(released(&mut late, 15 * MS), expected);
        assert_eq!((late.waiting(), late.next_due_ns()), (0, None));
    }

    #[test]
    fn each_answer_has_a_time_of_its_own() {
        let mut late = LateAnswers::new(16);
        for (text, delay_ms) in [(b"c", 30), (b"a", 10), (b"b", 20)] {
            let stored = late.store(7, (0, delay_ms * MS), origin(1), |slot| {
                slot[..1].copy_from_slice(text);
                Some(1)
            });
            assert!(stored);
        }
        let mut out = [0; 64];
        for (text, now_ms) in [(b'a', 12), (b'b', 22), (b'c', 32)] {
            assert!(!late.is_due((now_ms - 3) * MS));
            let mut waited = Vec::new();
            let heard = |class, waited_ns| waited.push((class, waited_ns));
            let train = late.release(now_ms * MS, 64, &mut out, heard).unwrap();
            assert_eq!((train.answers, out[0]), (1, text));
            assert_eq!(
                (train.lateness_ns, &waited[..]),
                (2 * MS, &[(7, now_ms * MS)][..])
            );
        }
    }

    #[test]
    fn answers_of_other_lengths_make_other_trains() {
        let mut late = LateAnswers::new(16);
        for text in [&b"aa"[..], b"b", b"cc"] {
            assert!(store(&mut late, 0, 0, 1, text));
        }
        let trains: Vec<String> = released(&mut late, 19 * MS)
            .into_iter()
            .map(|t| t.1)
            .collect();
        assert_eq!(trains, ["b", "aacc"]);
    }

    #[test]
    fn a_full_store_refuses_and_recovers() {
        let mut late = LateAnswers::new(2);
        assert!(store(&mut late, 0, 0, 1, b"a"));
        assert!(!store(&mut late, 0, 0, 1, &[b'x'; SLOT_BYTES + 1]));
        assert!(store(&mut late, 1, 0, 1, b"b"));
        assert!(!store(&mut late, 0, 0, 1, b"c"));
        assert_eq!(released(&mut late, 19 * MS).len(), 1);
        assert_eq!(late.waiting(), 0);
        assert!(store(&mut late, 0, 19 * MS, 1, b"e") && store(&mut late, 0, 19 * MS, 1, b"f"));
        assert!(!store(&mut late, 0, 19 * MS, 1, b"g"));
    }

    #[test]
    fn a_train_ends_at_its_bounds() {
        let mut late = LateAnswers::new(16);
        for _ in 0..5 {
            store(&mut late, 0, 0, 1, b"abc");
        }
        let mut out = [0; 7];
        let mut heard = 0;
        let train = late
            .release(18 * MS, 64, &mut out, |_, _| heard += 1)
            .unwrap();
        assert_eq!(
            (train.length, train.answers, train.lateness_ns),
            (6, 2, 8 * MS)
        );
        assert!(late.is_due(0), "three of the batch are left");
        let train = late
            .release(18 * MS, 1, &mut out, |_, _| heard += 1)
            .unwrap();
        assert_eq!((train.answers, heard), (1, 3));
    }

    #[test]
    fn more_than_one_batch_is_released_in_order() {
        let mut late = LateAnswers::new(4096);
        for n in 0..3000u32 {
            assert!(store(&mut late, 0, u64::from(n), 1, &n.to_le_bytes()));
        }
        let mut out = [0; 512];
        let mut count = 0;
        while let Some(train) = late.release(19 * MS, 128, &mut out, |_, _| {}) {
            for four in out[..train.length].chunks(4) {
                assert_eq!(u32::from_le_bytes(four.try_into().unwrap()), count);
                count += 1;
            }
        }
        assert_eq!(count, 3000);
    }
}
