//! Answers that leave later: a bounded store of finished answers, released by their due time.
//!
//! All answers of one class wait equally long, so each class has a queue in order of its due times and
//! no timer structure is needed. Released answers are gathered for a short time and sorted by where
//! they go, so that they ride in trains too. The bytes live in fixed slots made at start: an answer
//! that finds no slot is dropped and counted by the caller. Called by `population`.

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
    due_ns: u64,
    origin: Origin,
    length: u16,
    class: u8,
}

/// The queue of one class: a ring over its fixed slots.
struct Queue {
    delay_ns: u64,
    waiting: Vec<Option<Waiting>>,
    bytes: Vec<u8>,
    head: usize,
    len: usize,
}

/// All answers that wait.
pub(crate) struct LateAnswers {
    /// One queue per late class; `by_class` finds it.
    queues: Vec<Queue>,
    by_class: Vec<Option<u8>>,
    batch: Vec<(u8, u32)>,
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
    /// Returns an empty store; `delays_ms` has the delay of each class that answers late, and the
    /// queues share `slots` slots evenly.
    pub(crate) fn new(delays_ms: &[Option<u32>], slots: usize) -> LateAnswers {
        let late = delays_ms.iter().flatten().count();
        let share = slots
            .min(LATE_SLOTS_MAX)
            .checked_div(late)
            .map_or(0, |share| share.max(1));
        let mut queues = Vec::with_capacity(late);
        let by_class = delays_ms
            .iter()
            .map(|delay_ms| {
                let delay_ns = u64::from((*delay_ms)?) * 1_000_000;
                queues.push(Queue::new(delay_ns, share));
                Some((queues.len() - 1) as u8)
            })
            .collect();
        LateAnswers {
            queues,
            by_class,
            batch: Vec::with_capacity(BATCH_MAX),
            batch_at: 0,
            next_gather_ns: 0,
        }
    }

    /// Returns how many answers wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queues.iter().map(|queue| queue.len).sum()
    }

    /// Returns when `release` next has something to write, if any answer waits.
    pub(crate) fn next_release_ns(&self) -> Option<u64> {
        Some(self.next_due_ns()?.max(self.next_gather_ns))
    }

    #[inline]
    fn next_due_ns(&self) -> Option<u64> {
        self.queues.iter().filter_map(Queue::next_due_ns).min()
    }

    /// Stores the answer that `write` puts into a slot; false when there is no slot, or `write`
    /// returns nothing because the slot is too short.
    #[inline]
    pub(crate) fn store(
        &mut self,
        class: u8,
        now_ns: u64,
        origin: Origin,
        write: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let Some(queue) = self.by_class[usize::from(class)] else {
            return false;
        };
        // A slot in the batch is still in use: positions must not move before it is released.
        let queue = &mut self.queues[usize::from(queue)];
        if queue.len == queue.waiting.len() {
            return false;
        }
        let slot = (queue.head + queue.len) % queue.waiting.len();
        let Some(length) = write(&mut queue.bytes[slot * SLOT_BYTES..][..SLOT_BYTES]) else {
            return false;
        };
        let due_ns = now_ns + queue.delay_ns;
        queue.waiting[slot] = Some(Waiting {
            due_ns,
            origin,
            length: length as u16,
            class,
        });
        queue.len += 1;
        true
    }

    /// Writes one train of due answers into `out`; nothing when no more is due. Call it until then.
    /// `segments_max` bounds a train; `sent` hears the class of each answer.
    pub(crate) fn release(
        &mut self,
        now_ns: u64,
        segments_max: usize,
        out: &mut [u8],
        mut sent: impl FnMut(u8),
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
        while self.batch_at < self.batch.len() && (train.answers as usize) < segments_max {
            let Some(waiting) = self.waiting_at(self.batch_at) else {
                break;
            };
            let Some(target) = out.get_mut(train.length..train.length + segment) else {
                break;
            };
            if waiting.origin != first.origin || waiting.length != first.length {
                break;
            }
            target.copy_from_slice(self.bytes_at(self.batch_at, segment));
            train.length += segment;
            train.answers += 1;
            train.lateness_ns = train.lateness_ns.max(now_ns.saturating_sub(waiting.due_ns));
            sent(waiting.class);
            self.batch_at += 1;
        }
        if self.batch_at == self.batch.len() {
            self.drop_batch();
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
        let &(queue, slot) = self.batch.get(at)?;
        self.queues[usize::from(queue)].waiting[slot as usize]
    }

    fn bytes_at(&self, at: usize, length: usize) -> &[u8] {
        let (queue, slot) = self.batch[at];
        &self.queues[usize::from(queue)].bytes[slot as usize * SLOT_BYTES..][..length]
    }

    /// Collects what is due, at most once per `GATHER_NS`, sorted by where it goes.
    fn gather(&mut self, now_ns: u64) -> bool {
        if now_ns < self.next_gather_ns {
            return false;
        }
        for (index, queue) in self.queues.iter().enumerate() {
            let room = BATCH_MAX - self.batch.len();
            let due = (0..queue.len.min(room)).map(|n| (queue.head + n) % queue.waiting.len());
            let due = due.take_while(|&slot| {
                queue.waiting[slot].is_some_and(|waiting| waiting.due_ns <= now_ns)
            });
            self.batch
                .extend(due.map(|slot| (index as u8, slot as u32)));
        }
        // A full batch leaves more behind: gather again at once.
        if self.batch.len() < BATCH_MAX {
            self.next_gather_ns = now_ns + GATHER_NS;
        }
        let queues = &self.queues;
        self.batch.sort_unstable_by_key(|&(queue, slot)| {
            queues[usize::from(queue)].waiting[slot as usize]
                .map(|waiting| (waiting.origin, waiting.length, waiting.due_ns))
        });
        !self.batch.is_empty()
    }

    fn drop_batch(&mut self) {
        for (queue, slot) in self.batch.drain(..) {
            let queue = &mut self.queues[usize::from(queue)];
            queue.waiting[slot as usize] = None;
        }
        self.batch_at = 0;
        for queue in &mut self.queues {
            while queue.len > 0 && queue.waiting[queue.head].is_none() {
                queue.head = (queue.head + 1) % queue.waiting.len();
                queue.len -= 1;
            }
        }
    }
}

impl Queue {
    fn new(delay_ns: u64, slots: usize) -> Queue {
        Queue {
            delay_ns,
            waiting: vec![None; slots],
            bytes: vec![0; slots * SLOT_BYTES],
            head: 0,
            len: 0,
        }
    }

    fn next_due_ns(&self) -> Option<u64> {
        self.waiting
            .get(self.head)
            .copied()
            .flatten()
            .map(|waiting| waiting.due_ns)
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
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            local: None,
        }
    }

    fn store(late: &mut LateAnswers, class: u8, now_ns: u64, port: u16, text: &[u8]) -> bool {
        late.store(class, now_ns, origin(port), |slot| {
            slot.get_mut(..text.len())?.copy_from_slice(text);
            Some(text.len())
        })
    }

    fn released(late: &mut LateAnswers, now_ns: u64) -> Vec<(u16, String)> {
        let mut out = [0; 4096];
        let mut trains = Vec::new();
        while let Some(train) = late.release(now_ns, 64, &mut out, |_| {}) {
            let text = String::from_utf8_lossy(&out[..train.length]).into_owned();
            trains.push((train.origin.peer.port(), text));
        }
        trains
    }

    #[test]
    fn answers_leave_when_due_grouped_by_peer() {
        let mut late = LateAnswers::new(&[None, Some(10)], 16);
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
    fn answers_of_other_lengths_make_other_trains() {
        let mut late = LateAnswers::new(&[Some(1)], 16);
        for text in [&b"aa"[..], b"b", b"cc"] {
            assert!(store(&mut late, 0, 0, 1, text));
        }
        let trains: Vec<String> = released(&mut late, 9 * MS)
            .into_iter()
            .map(|t| t.1)
            .collect();
        assert_eq!(trains, ["b", "aacc"]);
    }

    #[test]
    fn a_full_store_refuses_and_recovers() {
        let mut late = LateAnswers::new(&[Some(1), Some(2)], 4);
        assert!(store(&mut late, 0, 0, 1, b"a"));
        assert!(store(&mut late, 0, 0, 1, b"b"));
        assert!(!store(&mut late, 0, 0, 1, b"c"));
        assert!(store(&mut late, 1, 0, 1, b"d"));
        assert_eq!(released(&mut late, 9 * MS).len(), 1);
        assert!(store(&mut late, 0, 9 * MS, 1, b"e"));
        assert!(!store(&mut late, 0, 9 * MS, 1, &[b'x'; SLOT_BYTES + 1]));
    }

    #[test]
    fn a_train_ends_at_its_bounds() {
        let mut late = LateAnswers::new(&[Some(1)], 16);
        for _ in 0..5 {
            store(&mut late, 0, 0, 1, b"abc");
        }
        let mut out = [0; 7];
        let mut heard = 0;
        let train = late.release(9 * MS, 64, &mut out, |_| heard += 1).unwrap();
        assert_eq!(
            (train.length, train.answers, train.lateness_ns),
            (6, 2, 8 * MS)
        );
        assert!(late.is_due(0), "three of the batch are left");
        let train = late.release(9 * MS, 1, &mut out, |_| heard += 1).unwrap();
        assert_eq!((train.answers, heard), (1, 3));
    }

    #[test]
    fn more_than_one_batch_is_released_in_order() {
        let mut late = LateAnswers::new(&[Some(1)], 4096);
        for n in 0..3000u32 {
            assert!(store(&mut late, 0, u64::from(n), 1, &n.to_le_bytes()));
        }
        let mut out = [0; 512];
        let mut count = 0;
        while let Some(train) = late.release(9 * MS, 128, &mut out, |_| {}) {
            for four in out[..train.length].chunks(4) {
                assert_eq!(u32::from_le_bytes(four.try_into().unwrap()), count);
                count += 1;
            }
        }
        assert_eq!(count, 3000);
    }
}
