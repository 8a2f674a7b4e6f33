//! Receive buffers of streams: equal blocks of one mapping, shared by all streams. A buffer is ours
//! from the completion that names it until its octets were told. Deliberately apart from those of
//! datagrams: a peer that pours octets into a stream cannot take the buffers of answers.

use crate::config::{OpenError, STREAM_BUFFER_BYTES};
use crate::memory::Mapping;

/// All receive buffers of the streams of one port.
#[derive(Debug)]
pub(crate) struct StreamBuffers {
    memory: Mapping,
    count: u32,
    /// Buffers whose octets wait to be told.
    held: u32,
}

impl StreamBuffers {
    pub(super) fn new(count: u32) -> Result<StreamBuffers, OpenError> {
        let bytes = count as usize * STREAM_BUFFER_BYTES;
        let memory = Mapping::new(bytes, false).map_err(|source| OpenError::Memory {
            what: "receive buffers of streams",
            bytes,
            source,
        })?;
        Ok(StreamBuffers {
            memory,
            count,
            held: 0,
        })
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Buffers that are not waiting to be told.
    #[inline]
    pub(crate) fn available(&self) -> usize {
        (self.count - self.held) as usize
    }

    /// First octet of a buffer, for the kernel.
    #[inline]
    pub(crate) fn address(&self, buffer: u16) -> *mut u8 {
        assert!(u32::from(buffer) < self.count, "buffer beyond the last");
        self.memory
            .as_ptr()
            .wrapping_add(usize::from(buffer) * STREAM_BUFFER_BYTES)
    }

    #[inline]
    pub(super) fn hold(&mut self) {
        debug_assert!(self.held < self.count, "a buffer arrived twice");
        self.held += 1;
    }

    /// The filled part of a buffer that is ours.
    #[inline]
    pub(super) fn filled(&self, buffer: u16, length: u32) -> &[u8] {
        let offset = usize::from(buffer) * STREAM_BUFFER_BYTES;
        self.memory
            .range(offset, (length as usize).min(STREAM_BUFFER_BYTES))
    }

    /// Ends our hold; debug builds overwrite what was read, so that a stale view is seen at once.
    #[inline]
    pub(super) fn let_go(&mut self, buffer: u16, length: u32) {
        self.held -= 1;
        if cfg!(debug_assertions) {
            let offset = usize::from(buffer) * STREAM_BUFFER_BYTES;
            let length = (length as usize).min(STREAM_BUFFER_BYTES);
            self.memory.range_mut(offset, length).fill(0xDB);
        }
    }
}
