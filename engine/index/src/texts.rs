//! The arena of texts: identities whose user part is not a number, and device ids that do not
//! fit 16 bytes.
//!
//! Blocks of whole 16-byte units, reused through one free list for each length in units, so the
//! arena grows only past its own high-water mark. Each text has one owner, who frees it.

use std::io;

use crate::memory::{Region, bytes, bytes_mut};

/// Octets of one text at most.
pub const TEXT_MAX: usize = 255;

const UNITS_MAX: usize = 1 << 30;
const UNIT_BYTES: usize = 16;
const HEADER_BYTES: usize = 8;
const CLASSES: usize = (TEXT_MAX + HEADER_BYTES).div_ceil(UNIT_BYTES) + 1;

/// Numbers that [`TextHeap::state`] gives.
pub const TEXTS_STATE: usize = 3 + CLASSES;

/// Sixteen bytes of the arena. A block's first unit starts with its header: context (or, in a
/// free block, the next free block), then length.
#[derive(Copy, Clone)]
#[repr(C)]
pub struct TextUnit {
    context: u32,
    length: u32,
    text: [u8; 8],
}

const _: () = assert!(size_of::<TextUnit>() == UNIT_BYTES);

/// The arena.
pub struct TextHeap {
    units: Region<TextUnit>,
    free: [u32; CLASSES],
    live_bytes: usize,
    free_units: usize,
}

fn units_of(length: usize) -> usize {
    (length + HEADER_BYTES).div_ceil(UNIT_BYTES)
}

impl TextHeap {
    /// An empty arena.
    ///
    /// # Errors
    /// The kernel's, when address space is refused.
    pub fn new() -> io::Result<Self> {
        let mut units = Region::reserve(UNITS_MAX)?;
        units.grow(1)?; // Unit 0 stands for no text.
        Ok(TextHeap {
            units,
            free: [0; CLASSES],
            live_bytes: 0,
            free_units: 0,
        })
    }

    /// Keeps `text` (at most [`TEXT_MAX`] octets) with a number of the owner's choice.
    ///
    /// # Errors
    /// The kernel's, when memory is refused.
    pub fn keep(&mut self, context: u32, text: &[u8]) -> io::Result<u32> {
        let units = units_of(text.len());
        let mut number = self.free[units];
        if number == 0 {
            number = self.units.len() as u32;
            self.units.grow(number as usize + units)?;
        } else {
            self.free[units] = self.units.slice()[number as usize].context;
            self.free_units -= units;
        }
        let at = number as usize;
        let block = &mut self.units.slice_mut()[at..at + units];
        (block[0].context, block[0].length) = (context, text.len() as u32);
        bytes_mut(block)[HEADER_BYTES..HEADER_BYTES + text.len()].copy_from_slice(text);
        self.live_bytes += text.len();
        Ok(number)
    }

    /// The text `number` and its context.
    #[inline]
    pub fn read(&self, number: u32) -> (u32, &[u8]) {
        let block = &self.units.slice()[number as usize..];
        let length = block[0].length as usize;
        (
            block[0].context,
            &bytes(&block[..units_of(length)])[HEADER_BYTES..][..length],
        )
    }

    /// The text `number` when there is such a block: for numbers that callers bring.
    #[inline]
    pub fn find(&self, number: u32) -> Option<(u32, &[u8])> {
        let block = self.units.slice().get(number as usize..)?;
        let length = block.first()?.length as usize;
        let text = bytes(block.get(..units_of(length))?)
            .get(HEADER_BYTES..)?
            .get(..length)?;
        Some((block[0].context, text))
    }

    /// Starts loading text `number`.
    #[inline]
    pub fn prefetch(&self, number: u32) {
        self.units.prefetch(number as usize);
    }

    /// Gives the block of text `number` back for reuse.
    pub fn release(&mut self, number: u32) {
        let length = self.units.slice()[number as usize].length as usize;
        let units = units_of(length);
        let head = &mut self.units.slice_mut()[number as usize];
        (head.context, head.length) = (self.free[units], 0);
        self.free[units] = number;
        self.live_bytes -= length;
        self.free_units += units;
    }

    /// The arena's memory as bytes.
    pub fn section(&self) -> &[u8] {
        bytes(self.units.slice())
    }

    /// Numbers that a snapshot keeps beside the section.
    pub fn state(&self) -> [u64; TEXTS_STATE] {
        let mut state = [0; TEXTS_STATE];
        state[..3].copy_from_slice(&[
            self.units.len() as u64,
            self.free_units as u64,
            self.live_bytes as u64,
        ]);
        for (word, &number) in state[3..].iter_mut().zip(&self.free) {
            *word = u64::from(number);
        }
        state
    }

    /// Takes the size of an arena from a snapshot's numbers; the memory then awaits its bytes.
    ///
    /// # Errors
    /// The kernel's, or `InvalidData` for numbers that no arena has.
    pub fn resize(&mut self, state: &[u64; TEXTS_STATE]) -> io::Result<()> {
        let units = state[0];
        if units == 0 || state[3..].iter().any(|&number| number >= units) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.units.grow(units as usize)?;
        (self.free_units, self.live_bytes) = (state[1] as usize, state[2] as usize);
        for (number, &word) in self.free.iter_mut().zip(&state[3..]) {
            *number = word as u32;
        }
        Ok(())
    }

    /// The arena's memory, to be filled from a snapshot.
    pub fn section_mut(&mut self) -> &mut [u8] {
        bytes_mut(self.units.slice_mut())
    }

    /// Units in use: above every text's number.
    pub fn numbers_max(&self) -> usize {
        self.units.len()
    }

    /// Octets of text held.
    pub fn live_bytes(&self) -> usize {
        self.live_bytes
    }

    /// Bytes in free blocks, for reuse.
    pub fn free_bytes(&self) -> usize {
        self.free_units * UNIT_BYTES
    }

    /// Bytes of memory that the arena occupies.
    pub fn memory_bytes(&self) -> usize {
        self.units.memory_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_freed_block_is_reused_by_a_text_of_its_size() {
        let mut heap = TextHeap::new().unwrap();
        let first = heap.keep(7, b"alice").unwrap();
        let second = heap.keep(8, &[b'x'; TEXT_MAX]).unwrap();
        assert_eq!(heap.read(first), (7, &b"alice"[..]));
        assert_eq!(heap.read(second), (8, &[b'x'; TEXT_MAX][..]));
        heap.release(first);
        assert_eq!(heap.free_bytes(), UNIT_BYTES);
        assert_eq!(heap.keep(9, b"bob").unwrap(), first);
        assert_eq!(heap.read(first), (9, &b"bob"[..]));
        assert_eq!((heap.live_bytes(), heap.free_bytes()), (3 + TEXT_MAX, 0));
    }
}
