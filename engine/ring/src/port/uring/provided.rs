//! A ring of provided buffers that multishot receives share, one for datagrams, one for streams: a page of entries read
//! by the kernel, with the tail in the unused field of the first one (io_uring_register_buf_ring(3)).
//! Deliberately plain: no incremental consumption, one buffer for each arrival.

use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::memory::Mapping;
use crate::probe::UringMissing;

/// The buffer group of datagrams.
pub(super) const GROUP: u16 = 0;

/// The buffer group of streams.
pub(super) const STREAM_GROUP: u16 = 1;

pub(super) struct ProvidedBuffers {
    memory: Mapping,
    mask: u16,
    tail: u16,
    buffer_bytes: u32,
}

impl ProvidedBuffers {
    /// Registers a ring large enough for `count` buffers of `buffer_bytes` and fills it.
    pub(super) fn register(
        ring: &IoUring,
        group: u16,
        count: u32,
        buffer_bytes: usize,
        address_of: impl Fn(u16) -> *mut u8,
    ) -> Result<ProvidedBuffers, UringMissing> {
        let entries = count.next_power_of_two() as u16;
        let bytes = usize::from(entries) * size_of::<BufRingEntry>();
        let memory = Mapping::new(bytes, false).map_err(|_| UringMissing::Memory)?;
        let address = memory.as_ptr() as u64;
        let submitter = ring.submitter();
        // SAFETY: the mapping is page-aligned, holds `entries` entries and outlives the ring: it is
        // unmapped with this struct, after the drain.
        unsafe { submitter.register_buf_ring_with_flags(address, entries, group, 0) }
            .map_err(|error| UringMissing::BufferRing(error.raw_os_error().unwrap_or(0)))?;
        let mut provided = ProvidedBuffers {
            memory,
            mask: entries - 1,
            tail: 0,
            buffer_bytes: buffer_bytes as u32,
        };
        // Highest first, so that the order of use is plain to see in a trace.
        for buffer in 0..count as u16 {
            provided.add(address_of(buffer), buffer);
        }
        provided.publish();
        Ok(provided)
    }

    /// Writes the entry at the tail; the kernel sees it at the next `publish`.
    #[inline]
    pub(super) fn add(&mut self, address: *mut u8, buffer: u16) {
        let first = self.memory.as_ptr().cast::<BufRingEntry>();
        let entry = first.wrapping_add(usize::from(self.tail & self.mask));
        // SAFETY: in bounds (masked) and ours: the kernel reads entries below the published tail
        // only, and there are never more buffers than entries. The setters leave the tail field alone.
        let entry = unsafe { &mut *entry };
        entry.set_addr(address as u64);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
    }

    /// Shows all entries written so far to the kernel.
    #[inline]
    pub(super) fn publish(&mut self) {
        let first = self.memory.as_ptr().cast::<BufRingEntry>();
        // SAFETY: the first entry is in the mapping; only the field's address is taken.
        let tail = unsafe { BufRingEntry::tail(first) };
        // SAFETY: the field is aligned, lives as long as the mapping, and is shared with the kernel
        // by atomic accesses alone.
        let tail = unsafe { &*tail.cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}
