//! The heap of device runs: for each identity one contiguous block, a 16-byte header and then
//! its devices.
//!
//! Blocks come in size classes (1 to 16 devices exactly, then four to a doubling), never move
//! except when their identity outgrows them, and are reused through one free list a class.
//! Block boundaries never change, so a sweep may stop and go on at any block. Called by `index`.

use std::io;

use crate::device::Device;
use crate::memory::{Region, Unit, bytes, bytes_mut, view, view_mut};

/// Devices of one identity at most. An insert scans the identity's devices for a duplicate, and
/// this bounds that scan; it is a hundred times the largest fan-out anybody has asked for.
pub const DEVICES_PER_IDENTITY_MAX: usize = 1 << 20;

/// Units of the heap at most: what a 32-bit run number can address, 64 GiB.
const UNITS_MAX: usize = u32::MAX as usize;

const CLASSES_EXACT: u32 = 16;
const CLASSES: usize = 81;
/// Numbers that [`RunHeap::state`] gives.
pub const RUNS_STATE: usize = 3 + CLASSES;

const UNITS_PER_DEVICE: usize = size_of::<Device>() / size_of::<Unit>();

const SHAPE_BITS: u32 = (1 << 20) - 1;
const LIVE_BIT: u32 = 1 << 31;
const CLASS_SHIFT: u32 = 20;

/// The devices of one identity: the number of a block, valid until that identity changes.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub struct Run(pub(crate) u32);

impl Run {
    /// No devices: the identity is unknown.
    pub const NONE: Run = Run(0);

    /// Whether the identity was found.
    #[inline]
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}

/// First unit of a block.
#[derive(Copy, Clone)]
#[repr(C)]
pub struct RunHeader {
    /// Key of the identity; in a free block the number of the next free block of its class.
    pub key: u64,
    /// Devices in use; 0 in a free block.
    pub count: u32,
    /// Live bit, size class and the identity's shape.
    bits: u32,
}

const _: () = assert!(size_of::<RunHeader>() == size_of::<Unit>());

impl RunHeader {
    /// The identity's shape.
    #[inline]
    pub fn shape(&self) -> u32 {
        self.bits & SHAPE_BITS
    }

    fn class(&self) -> u32 {
        self.bits >> CLASS_SHIFT & 0x7f
    }

    fn live(&self) -> bool {
        self.bits & LIVE_BIT != 0
    }
}

/// Devices that a block of `class` holds.
fn capacity_of(class: u32) -> usize {
    if class < CLASSES_EXACT {
        return class as usize + 1;
    }
    let (doubling, quarter) = ((class - CLASSES_EXACT) / 4, (class - CLASSES_EXACT) % 4);
    let base = 16usize << doubling;
    base + base / 4 * (quarter as usize + 1)
}

/// The smallest class that holds `count` devices (1 to [`DEVICES_PER_IDENTITY_MAX`]).
fn class_of(count: usize) -> u32 {
    if count <= CLASSES_EXACT as usize {
        return count.saturating_sub(1) as u32;
    }
    let power = (count - 1).ilog2();
    let base = 1usize << power;
    CLASSES_EXACT + (power - 4) * 4 + ((count - 1 - base) / (base / 4)) as u32
}

fn units_of(class: u32) -> usize {
    1 + capacity_of(class) * UNITS_PER_DEVICE
}

/// The heap.
pub struct RunHeap {
    units: Region<Unit>,
    free: [u32; CLASSES],
    free_units: usize,
    devices: usize,
}

impl RunHeap {
    /// An empty heap.
    ///
    /// # Errors
    /// The kernel's, when address space is refused.
    pub fn new() -> io::Result<Self> {
        let mut units = Region::reserve(UNITS_MAX)?;
        units.grow(1)?; // Unit 0 stands for no run.
        Ok(RunHeap {
            units,
            free: [0; CLASSES],
            free_units: 0,
            devices: 0,
        })
    }

    /// Devices held.
    pub fn devices_len(&self) -> usize {
        self.devices
    }

    /// Bytes of memory that the heap occupies.
    pub fn memory_bytes(&self) -> usize {
        self.units.memory_bytes()
    }

    /// Bytes inside free blocks, for reuse.
    pub fn free_bytes(&self) -> usize {
        self.free_units * size_of::<Unit>()
    }

    /// Starts loading a run's header and first devices.
    #[inline]
    pub fn prefetch(&self, number: u32) {
        self.units.prefetch(number as usize);
        self.units.prefetch(number as usize + 4);
    }

    /// Starts loading a run's header alone.
    #[inline]
    pub fn prefetch_header(&self, number: u32) {
        self.units.prefetch(number as usize);
    }

    /// The header of block `number`.
    #[inline]
    pub fn header(&self, number: u32) -> &RunHeader {
        &view::<RunHeader>(&self.units.slice()[number as usize..], 1)[0]
    }

    fn header_mut(&mut self, number: u32) -> &mut RunHeader {
        &mut view_mut::<RunHeader>(&mut self.units.slice_mut()[number as usize..], 1)[0]
    }

    /// The devices of run `number`; none for 0.
    #[inline]
    pub fn devices(&self, number: u32) -> &[Device] {
        let units = &self.units.slice()[number as usize..];
        let count = view::<RunHeader>(units, 1)[0].count as usize;
        view(&units[1..], count)
    }

    /// The devices of run `number`, writable.
    pub fn devices_mut(&mut self, number: u32) -> &mut [Device] {
        let count = self.header(number).count as usize;
        view_mut(&mut self.units.slice_mut()[number as usize + 1..], count)
    }

    /// Stores the devices of a new identity and returns the number of their run.
    ///
    /// # Errors
    /// The kernel's, when memory is refused, or when the heap's bound is reached.
    pub fn create(&mut self, key: u64, shape: u32, devices: &[Device]) -> io::Result<u32> {
        let number = self.take(class_of(devices.len()))?;
        let header = self.header_mut(number);
        header.key = key;
        header.bits |= LIVE_BIT | shape & SHAPE_BITS;
        header.count = devices.len() as u32;
        self.devices_mut(number).copy_from_slice(devices);
        self.devices += devices.len();
        Ok(number)
    }

    /// Adds devices to run `number`, which may move: the run's number from now on is returned.
    ///
    /// # Errors
    /// The kernel's, when memory is refused; nothing is changed then.
    pub fn append(&mut self, number: u32, fresh: &[Device]) -> io::Result<u32> {
        let header = *self.header(number);
        let count = header.count as usize;
        let mut at = number;
        if count + fresh.len() > capacity_of(header.class()) {
            at = self.relocate(number, class_of(count + fresh.len()))?;
        }
        self.header_mut(at).count += fresh.len() as u32;
        self.devices_mut(at)[count..].copy_from_slice(fresh);
        self.devices += fresh.len();
        Ok(at)
    }

    /// Takes device `index` out of run `number`; the last device takes its place. Returns the
    /// run's number from now on, 0 when the run is empty and gone. A run that fell to half of a
    /// block of more than four moves to a smaller one, unless memory is refused.
    pub fn take_device(&mut self, number: u32, index: usize) -> u32 {
        let devices = self.devices_mut(number);
        let last = devices.len() - 1;
        devices.swap(index, last);
        self.header_mut(number).count = last as u32;
        self.devices -= 1;
        if last == 0 {
            self.release(number);
            return 0;
        }
        let capacity = capacity_of(self.header(number).class());
        if capacity > 4 && last * 2 <= capacity {
            return self.relocate(number, class_of(last)).unwrap_or(number);
        }
        number
    }

    /// Forgets run `number` and its devices.
    pub fn destroy(&mut self, number: u32) {
        self.devices -= self.header(number).count as usize;
        self.release(number);
    }

    /// The first live run at or after unit `position`, and the position after it.
    pub fn next_live(&self, position: usize) -> Option<(u32, usize)> {
        let mut at = position.max(1);
        while at < self.units.len() {
            let header = self.header(at as u32);
            let after = at + units_of(header.class());
            if header.live() {
                return Some((at as u32, after));
            }
            at = after;
        }
        None
    }

    /// The heap's memory as bytes.
    pub fn section(&self) -> &[u8] {
        bytes(self.units.slice())
    }

    /// Numbers that a snapshot keeps beside the section.
    pub fn state(&self) -> [u64; RUNS_STATE] {
        let mut state = [0; RUNS_STATE];
        state[..3].copy_from_slice(&[
            self.units.len() as u64,
            self.free_units as u64,
            self.devices as u64,
        ]);
        for (word, &number) in state[3..].iter_mut().zip(&self.free) {
            *word = u64::from(number);
        }
        state
    }

    /// Takes the size of a heap from a snapshot's numbers; the memory then awaits its bytes.
    ///
    /// # Errors
    /// The kernel's, or `InvalidData` for numbers that no heap has.
    pub fn resize(&mut self, state: &[u64; RUNS_STATE]) -> io::Result<()> {
        let units = state[0];
        if units == 0 || state[3..].iter().any(|&number| number >= units) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.units.grow(units as usize)?;
        (self.free_units, self.devices) = (state[1] as usize, state[2] as usize);
        for (number, &word) in self.free.iter_mut().zip(&state[3..]) {
            *number = word as u32;
        }
        Ok(())
    }

    /// The heap's memory, to be filled from a snapshot.
    pub fn section_mut(&mut self) -> &mut [u8] {
        bytes_mut(self.units.slice_mut())
    }

    /// Whether the blocks tile the memory, and how many runs are live; `None` when not.
    pub fn live_runs(&self) -> Option<usize> {
        let (mut at, mut live, mut devices) = (1, 0, 0);
        while at < self.units.len() {
            let header = self.header(at as u32);
            if header.class() as usize >= CLASSES
                || header.count as usize > capacity_of(header.class())
                || header.live() != (header.count > 0)
            {
                return None;
            }
            live += usize::from(header.live());
            devices += header.count as usize;
            at += units_of(header.class());
        }
        (at == self.units.len() && devices == self.devices).then_some(live)
    }

    /// Units in use: above every run's number.
    pub fn numbers_max(&self) -> usize {
        self.units.len()
    }

    fn relocate(&mut self, number: u32, class: u32) -> io::Result<u32> {
        let fresh = self.take(class)?;
        let header = *self.header(number);
        let (source, target) = (number as usize + 1, fresh as usize + 1);
        let units = header.count as usize * UNITS_PER_DEVICE;
        self.units
            .slice_mut()
            .copy_within(source..source + units, target);
        let moved = self.header_mut(fresh);
        (moved.key, moved.count) = (header.key, header.count);
        moved.bits |= LIVE_BIT | header.shape();
        self.release(number);
        Ok(fresh)
    }

    /// A block of `class`, its header holding the class only.
    fn take(&mut self, class: u32) -> io::Result<u32> {
        let units = units_of(class);
        let mut number = self.free[class as usize];
        if number == 0 {
            let at = self.units.len();
            self.units.grow(at + units)?;
            number = at as u32;
        } else {
            self.free[class as usize] = self.header(number).key as u32;
            self.free_units -= units;
        }
        *self.header_mut(number) = RunHeader {
            key: 0,
            count: 0,
            bits: class << CLASS_SHIFT,
        };
        Ok(number)
    }

    fn release(&mut self, number: u32) {
        let class = self.header(number).class();
        let next = u64::from(self.free[class as usize]);
        *self.header_mut(number) = RunHeader {
            key: next,
            count: 0,
            bits: class << CLASS_SHIFT,
        };
        self.free[class as usize] = number;
        self.free_units += units_of(class);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_count_has_the_smallest_class_that_holds_it() {
        for count in (1..=5000).chain([DEVICES_PER_IDENTITY_MAX - 1, DEVICES_PER_IDENTITY_MAX]) {
            let class = class_of(count);
            assert!(capacity_of(class) >= count, "{count}");
            assert!(class == 0 || capacity_of(class - 1) < count, "{count}");
            assert!((class as usize) < CLASSES);
        }
    }
}
