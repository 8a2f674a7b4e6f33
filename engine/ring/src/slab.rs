//! Send slabs: fixed blocks of one mapping, handed out last-in first-out so that the warm one comes
//! back first. Contents survive the trip (a filled template stays filled). In debug builds a guard
//! line after each slab and a seal over the bytes in flight catch whoever writes out of turn.
//! Deliberately knows nothing of how a slab travels. Called by `port` and its backends.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::OpenError;
use crate::memory::Mapping;

/// Octets between two slabs: a cache line, which also keeps slabs of 64 KiB out of each other's cache sets.
const GUARD_BYTES: usize = 64;

/// What the guard line holds.
const GUARD_OCTET: u8 = 0xA5;

/// The right to write one slab; given away by `Port::send` and not to be had twice.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a slab that is dropped is lost to its port; send it or release it"]
pub struct Slab {
    index: u32,
    port: u32,
}

impl Slab {
    /// The slab's number, 0 to `slab_count` - 1: stable, so that a caller can remember what it filled in.
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Ends the right to write and returns the number.
    #[inline]
    fn redeem(self, port: u32) -> u32 {
        assert_eq!(self.port, port, "slab of another port");
        self.index
    }
}

/// The state of a slab that travels.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Flight {
    pub(crate) tag: u64,
    /// Operations whose last completion is still to come; 0 while our side owns the slab.
    pub(crate) outstanding: u32,
    pub(crate) operations: u32,
    pub(crate) failed: u32,
    pub(crate) bytes: u32,
    /// The first error number, 0 for none.
    pub(crate) error: i32,
    #[cfg(debug_assertions)]
    seal: (u64, u32),
}

/// All slabs of one port.
#[derive(Debug)]
pub(crate) struct Slabs {
    memory: Mapping,
    slab_bytes: usize,
    stride: usize,
    free: Vec<u32>,
    flights: Box<[Flight]>,
    port: u32,
}

/// Numbers ports, so that a slab of one cannot pass for a slab of another.
static PORTS_OPENED: AtomicU32 = AtomicU32::new(0);

impl Slabs {
    pub(crate) fn new(count: u32, bytes: u32, huge: bool) -> Result<Slabs, OpenError> {
        let slab_bytes = bytes as usize;
        let stride = slab_bytes.next_multiple_of(64) + GUARD_BYTES;
        let bytes = stride * count as usize;
        let memory = Mapping::new(bytes, huge).map_err(|source| OpenError::Memory {
            what: "send slabs",
            bytes,
            source,
        })?;
        let mut slabs = Slabs {
            memory,
            slab_bytes,
            stride,
            free: (0..count).rev().collect(),
            flights: vec![Flight::default(); count as usize].into_boxed_slice(),
            port: PORTS_OPENED.fetch_add(1, Ordering::Relaxed),
        };
        if cfg!(debug_assertions) {
            for index in 0..count {
                slabs.guard_mut(index).fill(GUARD_OCTET);
            }
        }
        Ok(slabs)
    }

    pub(crate) fn memory(&self) -> &Mapping {
        &self.memory
    }

    pub(crate) fn count(&self) -> u32 {
        self.flights.len() as u32
    }

    pub(crate) fn free_count(&self) -> usize {
        self.free.len()
    }

    /// Octets from one slab's first octet to the next one's.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    #[inline]
    pub(crate) fn take(&mut self) -> Option<Slab> {
        let index = self.free.pop()?;
        Some(Slab {
            index,
            port: self.port,
        })
    }

    #[inline]
    pub(crate) fn release(&mut self, slab: Slab) {
        let index = slab.redeem(self.port);
        self.check_guard(index);
        self.free.push(index);
    }

    #[inline]
    pub(crate) fn bytes_mut(&mut self, slab: &Slab) -> &mut [u8] {
        assert_eq!(slab.port, self.port, "slab of another port");
        self.memory
            .range_mut(slab.index as usize * self.stride, self.slab_bytes)
    }

    /// Turns the right to write into a flight of `operations` operations over the first `length` octets.
    #[inline]
    pub(crate) fn depart(&mut self, slab: Slab, operations: u32, length: u32, tag: u64) -> u32 {
        let index = slab.redeem(self.port);
        self.check_guard(index);
        self.flights[index as usize] = Flight {
            tag,
            outstanding: operations,
            operations,
            ..Flight::default()
        };
        #[cfg(debug_assertions)]
        {
            self.flights[index as usize].seal = (self.seal_of(index, length), length);
        }
        let _ = length;
        index
    }

    #[inline]
    pub(crate) fn flight_mut(&mut self, index: u32) -> &mut Flight {
        &mut self.flights[index as usize]
    }

    /// Ends the flight of a slab whose last operation completed; it is free once `settle` is called.
    #[inline]
    pub(crate) fn arrive(&mut self, index: u32) -> Flight {
        let flight = self.flights[index as usize];
        debug_assert_eq!(flight.outstanding, 0, "slab {index} is still the kernel's");
        #[cfg(debug_assertions)]
        {
            let (seal, length) = flight.seal;
            let seal_now = self.seal_of(index, length);
            assert_eq!(
                seal_now, seal,
                "slab {index} was written while the kernel owned it"
            );
        }
        flight
    }

    /// Frees an arrived slab: its report has been read, so its next flight cannot be taken for this one.
    #[inline]
    pub(crate) fn settle(&mut self, index: u32) {
        self.free.push(index);
    }

    /// Address of `offset` in slab `index`, for the kernel; `length` octets from there lie in the slab.
    #[inline]
    pub(crate) fn payload(&self, index: u32, offset: usize, length: usize) -> *mut u8 {
        assert!(offset + length <= self.slab_bytes, "send beyond the slab");
        self.memory
            .as_ptr()
            .wrapping_add(index as usize * self.stride + offset)
    }

    fn guard_mut(&mut self, index: u32) -> &mut [u8] {
        let end = (index as usize + 1) * self.stride;
        self.memory.range_mut(end - GUARD_BYTES, GUARD_BYTES)
    }

    #[inline]
    fn check_guard(&self, index: u32) {
        if cfg!(debug_assertions) {
            let end = (index as usize + 1) * self.stride;
            let guard = self.memory.range(end - GUARD_BYTES, GUARD_BYTES);
            assert_eq!(
                guard, [GUARD_OCTET; GUARD_BYTES],
                "slab {index} was overrun"
            );
        }
    }

    /// A sum over the bytes in flight (FNV-1a by words), to be compared when they come back.
    #[cfg(debug_assertions)]
    fn seal_of(&self, index: u32, length: u32) -> u64 {
        let bytes = self
            .memory
            .range(index as usize * self.stride, length as usize);
        bytes.chunks(8).fold(0xcbf2_9ce4_8422_2325, |sum, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            (sum ^ u64::from_ne_bytes(word)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_slab_released_is_the_next_one_taken() {
        let mut slabs = Slabs::new(3, 100, false).unwrap();
        let first = slabs.take().unwrap();
        let second = slabs.take().unwrap();
        let number = first.index();
        slabs.release(second);
        slabs.release(first);
        assert_eq!(slabs.take().unwrap().index(), number);
        let _rest = [slabs.take(), slabs.take()];
        assert!(slabs.take().is_none());
    }

    #[test]
    fn contents_survive_a_flight() {
        let mut slabs = Slabs::new(1, 100, false).unwrap();
        let slab = slabs.take().unwrap();
        slabs.bytes_mut(&slab).fill(9);
        let index = slabs.depart(slab, 1, 100, 7);
        slabs.flight_mut(index).outstanding = 0;
        assert_eq!(slabs.arrive(index).tag, 7);
        assert!(slabs.take().is_none(), "its report was not read");
        slabs.settle(index);
        let slab = slabs.take().unwrap();
        assert!(slabs.bytes_mut(&slab).iter().all(|octet| *octet == 9));
        slabs.release(slab);
    }

    #[test]
    #[should_panic(expected = "slab of another port")]
    fn a_slab_of_another_port_is_refused() {
        let mut one = Slabs::new(1, 100, false).unwrap();
        let mut other = Slabs::new(1, 100, false).unwrap();
        let slab = one.take().unwrap();
        other.bytes_mut(&slab);
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "was written while the kernel owned it")]
    fn a_write_during_flight_is_caught() {
        let mut slabs = Slabs::new(1, 100, false).unwrap();
        let slab = slabs.take().unwrap();
        let index = slabs.depart(slab, 1, 100, 0);
        slabs.memory.range_mut(50, 1)[0] = 1;
        slabs.flight_mut(index).outstanding = 0;
        slabs.arrive(index);
        slabs.settle(index);
    }

    #[cfg(debug_assertions)]
    #[test]
    #[should_panic(expected = "was overrun")]
    fn an_overrun_is_caught_at_release() {
        let mut slabs = Slabs::new(2, 128, false).unwrap();
        let slab = slabs.take().unwrap();
        slabs.memory.range_mut(128, 1)[0] = 0;
        slabs.release(slab);
    }
}
