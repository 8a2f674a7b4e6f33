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
    /// Chunks that were sent and not answered.
    pub unanswered: u32,
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
