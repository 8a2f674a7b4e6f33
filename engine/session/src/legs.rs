//! The MSRP side of sessions: where a content stands on its way, and which connection carries it.
//!
//! A leg exists as long as its session, for sessions that use MSRP only. It holds the word that the slot holds for
//! other sessions. No I/O; `Sessions` decides, this module keeps.

use crate::host::StreamId;

/// One session's MSRP side.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leg {
    /// What the session's state needs: see `Slot::kept`.
    pub kept: u32,
    /// Octets of the content that were sent.
    pub sent: u32,
    /// Number of the first chunk that is not answered.
    pub unanswered: u32,
    /// Which of the chunks from there on are answered.
    pub answered: u64,
    /// Number of the next chunk; numbers go on from one content to the next.
    pub chunk: u32,
    /// Number of the content's first chunk.
    pub first_chunk: u32,
    /// Place among the sessions of its connection.
    pub place: u32,
    /// The connection that the device has bound to this session.
    pub stream: Option<StreamId>,
    /// Whether it waits for its turn to send.
    pub is_queued: bool,
    /// Octets of the longest message that the device takes.
    pub bytes_max: u32,
}

/// All legs of a worker.
#[derive(Default)]
pub struct Legs {
    legs: Vec<Leg>,
    free: Vec<u32>,
}

impl Leg {
    /// Begins a content: chunks that were sent so far belong to earlier ones.
    pub fn begin(&mut self) {
        self.sent = 0;
        self.first_chunk = self.chunk;
        self.unanswered = self.chunk;
        self.answered = 0;
    }

    /// Notes the answer to a chunk; `false`: it is not on its way, or 64 chunks ahead of the first one that is.
    pub fn answer(&mut self, chunk: u32) -> bool {
        let ahead = chunk.wrapping_sub(self.unanswered);
        let on_their_way = self.chunk.wrapping_sub(self.unanswered);
        if ahead >= on_their_way.min(u64::BITS) || self.answered >> ahead & 1 != 0 {
            return false;
        }
        self.answered |= 1 << ahead;
        let done = self.answered.trailing_ones();
        self.answered = self.answered.checked_shr(done).unwrap_or(0);
        self.unanswered = self.unanswered.wrapping_add(done);
        true
    }

    /// Whether all chunks that were sent are answered.
    pub fn is_answered(&self) -> bool {
        self.unanswered == self.chunk
    }
}

impl Legs {
    /// Opens a leg whose device takes messages of `bytes_max` octets; there are as many at most as there are sessions.
    pub fn open(&mut self, bytes_max: u32) -> u32 {
        if let Some(number) = self.free.pop() {
            let chunk = self.legs[number as usize].chunk;
            self.legs[number as usize] = Leg {
                chunk,
                bytes_max,
                ..Leg::default()
            };
            return number;
        }
        self.legs.push(Leg {
            bytes_max,
            ..Leg::default()
        });
        (self.legs.len() - 1) as u32
    }

    /// A leg that is open.
    pub fn at(&self, number: u32) -> &Leg {
        &self.legs[number as usize]
    }

    /// A leg that is open, to be changed.
    pub fn at_mut(&mut self, number: u32) -> &mut Leg {
        &mut self.legs[number as usize]
    }

    /// Frees a leg.
    pub fn close(&mut self, number: u32) {
        self.free.push(number);
    }

    /// Octets that were touched.
    pub fn memory_bytes(&self) -> usize {
        self.legs.len() * size_of::<Leg>() + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_chunk_is_answered_once_in_any_order() {
        let mut leg = Leg {
            chunk: u32::MAX - 3,
            ..Leg::default()
        };
        leg.begin();
        assert!(!leg.answer(leg.chunk), "not sent");
        let first = leg.chunk;
        leg.chunk = leg.chunk.wrapping_add(70);
        assert!(!leg.answer(first.wrapping_add(64)), "too far ahead");
        for number in (0..64).rev() {
            assert!(leg.answer(first.wrapping_add(number)));
            assert!(!leg.answer(first.wrapping_add(number)), "again");
        }
        assert!(!leg.is_answered());
        for number in 64..70 {
            assert!(leg.answer(first.wrapping_add(number)));
        }
        assert!(leg.is_answered());
    }
}
