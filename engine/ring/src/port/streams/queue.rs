//! Send queues of streams: chains of fixed blocks out of one mapping, filled at the tail and sent from
//! the head, where a flight of octets is the kernel's until its completion. Octets behind the flight
//! are ours, in the same block too. Deliberately knows no sockets. Called by `port::streams`.

use std::net::SocketAddr;

use crate::address::{NAME_BYTES, decode, encode};
use crate::config::{OpenError, STREAM_BLOCK_BYTES};
use crate::memory::Mapping;

/// Blocks of one send, so that a send takes 64 KiB: one call costs less than 1 % of that copy.
const VECTORS_MAX: usize = 8;

/// No block.
const NONE: u32 = u32::MAX;

/// What one operation of a stream points the kernel at; 256 octets.
#[repr(C, align(64))]
struct Envelope {
    header: libc::msghdr,
    vectors: [libc::iovec; VECTORS_MAX],
    name: [u8; NAME_BYTES],
    name_bytes: u32,
}

/// One envelope for each stream and each pending accept.
#[derive(Debug)]
pub(crate) struct StreamEnvelopes {
    memory: Mapping,
    count: usize,
}

impl StreamEnvelopes {
    pub(crate) fn new(count: usize) -> Result<StreamEnvelopes, OpenError> {
        let bytes = count * size_of::<Envelope>();
        let memory = Mapping::new(bytes, false).map_err(|source| OpenError::Memory {
            what: "envelopes of streams",
            bytes,
            source,
        })?;
        Ok(StreamEnvelopes { memory, count })
    }

    fn envelope_mut(&mut self, slot: usize) -> &mut Envelope {
        assert!(slot < self.count, "envelope beyond the mapping");
        let address = self.memory.as_ptr().cast::<Envelope>().wrapping_add(slot);
        // SAFETY: in bounds (asserted), aligned, all zeroes is a valid Envelope, and the slot is
        // ours: no operation of its stream or accept uses it (ownership table).
        unsafe { &mut *address }
    }

    /// Writes the target of a connect and returns address and length for the kernel.
    pub(crate) fn name(&mut self, slot: usize, target: SocketAddr) -> (*const libc::sockaddr, u32) {
        let envelope = self.envelope_mut(slot);
        envelope.name_bytes = encode(target, &mut envelope.name);
        (envelope.name.as_ptr().cast(), envelope.name_bytes)
    }

    /// Room for the peer's address of an accept, for the kernel to write.
    pub(crate) fn name_room(&mut self, slot: usize) -> (*mut libc::sockaddr, *mut u32) {
        let envelope = self.envelope_mut(slot);
        envelope.name_bytes = NAME_BYTES as u32;
        let length = &raw mut envelope.name_bytes;
        (envelope.name.as_mut_ptr().cast(), length)
    }

    /// The peer's address that a completed accept wrote.
    pub(crate) fn accepted_name(&mut self, slot: usize) -> Option<SocketAddr> {
        let envelope = self.envelope_mut(slot);
        let length = (envelope.name_bytes as usize).min(NAME_BYTES);
        decode(&envelope.name[..length])
    }
}

/// What the next send of a stream takes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Flight {
    /// Octets of one block.
    One(*const u8, u32),
    /// Octets of several blocks, named by an envelope.
    Many(*const libc::msghdr),
}

/// The queue of one stream.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Queue {
    head: u32,
    tail: u32,
    /// First unsent octet in the head block.
    head_at: u32,
    /// Octets filled in the tail block.
    tail_end: u32,
    bytes: u32,
    flying: u32,
    #[cfg(debug_assertions)]
    seal: u64,
}

impl Queue {
    pub(crate) const EMPTY: Queue = Queue {
        head: NONE,
        tail: NONE,
        head_at: 0,
        tail_end: 0,
        bytes: 0,
        flying: 0,
        #[cfg(debug_assertions)]
        seal: 0,
    };

    /// Octets queued, those in flight included.
    #[inline]
    pub(crate) fn bytes(&self) -> u32 {
        self.bytes
    }
}

/// The blocks of all queues.
#[derive(Debug)]
pub(crate) struct Blocks {
    memory: Mapping,
    /// The next block of a chain.
    next: Box<[u32]>,
    free: Vec<u32>,
    /// Blocks that only streams with an empty queue may take, one each.
    kept: usize,
}

impl Blocks {
    pub(crate) fn new(count: u32) -> Result<Blocks, OpenError> {
        let bytes = count as usize * STREAM_BLOCK_BYTES;
        let memory = Mapping::new(bytes, false).map_err(|source| OpenError::Memory {
            what: "send queues of streams",
            bytes,
            source,
        })?;
        Ok(Blocks {
            memory,
            next: vec![NONE; count as usize].into_boxed_slice(),
            free: (0..count).rev().collect(),
            kept: count as usize / 4,
        })
    }

    pub(crate) fn free_count(&self) -> usize {
        self.free.len()
    }

    /// Copies `octets` behind what is queued; false when blocks are short, and then none is taken.
    #[inline]
    pub(crate) fn append(&mut self, queue: &mut Queue, mut octets: &[u8]) -> bool {
        let room = match queue.tail {
            NONE => 0,
            _ => STREAM_BLOCK_BYTES - queue.tail_end as usize,
        };
        let blocks = octets
            .len()
            .saturating_sub(room)
            .div_ceil(STREAM_BLOCK_BYTES);
        let kept = if queue.bytes == 0 && blocks == 1 {
            0
        } else {
            self.kept
        };
        if blocks > 0 && self.free.len() < blocks + kept {
            return false;
        }
        queue.bytes += octets.len() as u32;
        while !octets.is_empty() {
            if queue.tail == NONE || queue.tail_end as usize == STREAM_BLOCK_BYTES {
                self.chain(queue);
            }
            let room = STREAM_BLOCK_BYTES - queue.tail_end as usize;
            let (now, later) = octets.split_at(octets.len().min(room));
            let at = queue.tail as usize * STREAM_BLOCK_BYTES + queue.tail_end as usize;
            self.memory.range_mut(at, now.len()).copy_from_slice(now);
            queue.tail_end += now.len() as u32;
            octets = later;
        }
        true
    }

    /// Puts a free block at the end of the chain.
    fn chain(&mut self, queue: &mut Queue) {
        let block = self.free.pop().expect("append counted the free blocks");
        self.next[block as usize] = NONE;
        if queue.tail == NONE {
            queue.head = block;
            queue.head_at = 0;
        } else {
            self.next[queue.tail as usize] = block;
        }
        queue.tail = block;
        queue.tail_end = 0;
    }

    /// Calls `f` with offset and length of each run of queued octets, `VECTORS_MAX` at most, and
    /// returns their sum.
    fn runs(&self, queue: &Queue, mut f: impl FnMut(usize, usize, usize)) -> u32 {
        let (mut block, mut at, mut sum) = (queue.head, queue.head_at, 0);
        for index in 0..VECTORS_MAX {
            if block == NONE {
                break;
            }
            let last = block == queue.tail;
            let end = if last {
                queue.tail_end
            } else {
                STREAM_BLOCK_BYTES as u32
            };
            if end > at {
                let offset = block as usize * STREAM_BLOCK_BYTES + at as usize;
                f(index, offset, (end - at) as usize);
                sum += end - at;
            }
            (block, at) = (self.next[block as usize], 0);
        }
        sum
    }

    /// Starts a flight of what is queued, up to `VECTORS_MAX` blocks.
    pub(crate) fn depart(
        &mut self,
        queue: &mut Queue,
        envelopes: &mut StreamEnvelopes,
        slot: usize,
    ) -> Flight {
        debug_assert!(queue.flying == 0 && queue.bytes > 0, "one flight a stream");
        let base = self.memory.as_ptr();
        let flight = if queue.head == queue.tail {
            let offset = queue.head as usize * STREAM_BLOCK_BYTES + queue.head_at as usize;
            queue.flying = queue.tail_end - queue.head_at;
            Flight::One(base.wrapping_add(offset), queue.flying)
        } else {
            let envelope = envelopes.envelope_mut(slot);
            let mut count = 0;
            queue.flying = self.runs(queue, |index, offset, length| {
                envelope.vectors[index] = libc::iovec {
                    iov_base: base.wrapping_add(offset).cast(),
                    iov_len: length,
                };
                count = index + 1;
            });
            envelope.header.msg_iov = envelope.vectors.as_mut_ptr();
            envelope.header.msg_iovlen = count as _;
            Flight::Many(&raw const envelope.header)
        };
        #[cfg(debug_assertions)]
        {
            queue.seal = self.seal_of(queue);
        }
        flight
    }

    /// Ends a flight of which the kernel took `sent` octets; returns true when it took all of it.
    pub(crate) fn arrive(&mut self, queue: &mut Queue, sent: u32) -> bool {
        #[cfg(debug_assertions)]
        assert_eq!(
            self.seal_of(queue),
            queue.seal,
            "a stream's block was written while the kernel owned it"
        );
        let whole = sent == queue.flying;
        let mut left = sent.min(queue.flying);
        queue.flying = 0;
        queue.bytes -= left;
        while left > 0 {
            let end = if queue.head == queue.tail {
                queue.tail_end
            } else {
                STREAM_BLOCK_BYTES as u32
            };
            let taken = left.min(end - queue.head_at);
            left -= taken;
            queue.head_at += taken;
            if queue.head_at == end {
                self.unchain(queue);
            }
        }
        whole
    }

    /// Frees the head block.
    fn unchain(&mut self, queue: &mut Queue) {
        let block = queue.head;
        self.free.push(block);
        queue.head = self.next[block as usize];
        queue.head_at = 0;
        if queue.head == NONE {
            queue.tail = NONE;
            queue.tail_end = 0;
        }
    }

    /// Frees the whole chain of a stream that is gone; nothing of it is in flight.
    pub(crate) fn clear(&mut self, queue: &mut Queue) {
        debug_assert_eq!(queue.flying, 0, "a flight was cleared");
        while queue.head != NONE {
            self.unchain(queue);
        }
        queue.bytes = 0;
    }

    /// A sum over the octets in flight, to be compared when they are ours again.
    #[cfg(debug_assertions)]
    fn seal_of(&self, queue: &Queue) -> u64 {
        let mut sum = 0xcbf2_9ce4_8422_2325_u64;
        let mut left = queue.flying as usize;
        self.runs(queue, |_, offset, length| {
            let length = length.min(left);
            left -= length;
            for chunk in self.memory.range(offset, length).chunks(8) {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                sum = (sum ^ u64::from_ne_bytes(word)).wrapping_mul(0x0100_0000_01b3);
            }
        });
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The octets that a flight shows the kernel.
    fn shown(blocks: &Blocks, queue: &Queue) -> Vec<u8> {
        let mut octets = Vec::new();
        blocks.runs(queue, |_, offset, length| {
            octets.extend_from_slice(blocks.memory.range(offset, length));
        });
        octets
    }

    #[test]
    fn an_envelope_is_four_cache_lines() {
        assert_eq!(size_of::<Envelope>(), 256);
    }

    #[test]
    fn the_last_quarter_of_blocks_is_for_streams_with_nothing_queued() {
        let mut blocks = Blocks::new(4).unwrap();
        let (mut one, mut other) = (Queue::EMPTY, Queue::EMPTY);
        assert!(!blocks.append(&mut one, &[1; 4 * STREAM_BLOCK_BYTES]));
        assert!(blocks.append(&mut one, &[1; 3 * STREAM_BLOCK_BYTES]));
        assert!(!blocks.append(&mut one, &[1]));
        assert!(blocks.append(&mut other, &[2]));
        assert!(blocks.append(&mut other, &[2; STREAM_BLOCK_BYTES - 1]));
        assert!(!blocks.append(&mut other, &[2]));
        blocks.clear(&mut one);
        blocks.clear(&mut other);
        assert_eq!(blocks.free_count(), 4);
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "written while the kernel owned it")]
    fn a_write_into_a_flight_is_caught() {
        let mut blocks = Blocks::new(1).unwrap();
        let mut envelopes = StreamEnvelopes::new(1).unwrap();
        let mut queue = Queue::EMPTY;
        assert!(blocks.append(&mut queue, &[1; 10]));
        blocks.depart(&mut queue, &mut envelopes, 0);
        blocks.memory.range_mut(9, 1)[0] = 2;
        blocks.arrive(&mut queue, 10);
    }

    proptest::proptest! {
        #[test]
        fn what_is_appended_is_sent_in_order_whatever_the_kernel_takes(
            steps in proptest::collection::vec((1_usize..30_000, 0_u32..70_000), 1..40),
        ) {
            let mut blocks = Blocks::new(64).unwrap();
            let mut envelopes = StreamEnvelopes::new(1).unwrap();
            let mut queue = Queue::EMPTY;
            let (mut appended, mut sent) = (Vec::new(), Vec::new());
            for (length, taken) in steps {
                let more: Vec<u8> = (0..length).map(|at| (at * 31 + length) as u8).collect();
                if blocks.append(&mut queue, &more) {
                    appended.extend_from_slice(&more);
                }
                let flight = shown(&blocks, &queue);
                blocks.depart(&mut queue, &mut envelopes, 0);
                proptest::prop_assert_eq!(queue.flying as usize, flight.len());
                // Octets queued while a flight is under way leave its octets alone.
                if blocks.append(&mut queue, &[7; 100]) {
                    appended.extend_from_slice(&[7; 100]);
                }
                let taken = taken.min(flight.len() as u32);
                let whole = blocks.arrive(&mut queue, taken);
                proptest::prop_assert_eq!(whole, taken as usize == flight.len());
                sent.extend_from_slice(&flight[..taken as usize]);
            }
            proptest::prop_assert_eq!(&appended[..sent.len()], &sent[..]);
            proptest::prop_assert_eq!(queue.bytes() as usize, appended.len() - sent.len());
            blocks.clear(&mut queue);
            proptest::prop_assert_eq!(blocks.free_count(), 64);
        }
    }
}
