//! Growable arrays of plain data in reserved, huge-page backed address space.
//!
//! The only home of `unsafe` in this crate. A [`Region`] reserves address space once and makes
//! it usable step by step, so growth never copies and never moves what is already there.
//! It knows nothing of identities or devices; `directory`, `runs` and `texts` call it.

#![allow(unsafe_code)]

use std::io;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::bucket::Bucket;
use crate::device::Device;
use crate::runs::RunHeader;
use crate::texts::TextUnit;

/// Address space becomes usable in steps of this many bytes: a multiple of the 2 MiB huge page,
/// large enough that `mprotect` is rare and small enough that strict overcommit is not wasted.
const STEP_BYTES: usize = 16 << 20;

/// Size of a transparent huge page on `x86_64` and on 4 KiB-granule `aarch64`.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Sixteen bytes of a run heap: the grain in which device runs are allocated.
#[derive(Copy, Clone)]
#[repr(C, align(16))]
pub struct Unit(pub [u32; 4]);

/// Types that are valid for every bit pattern and have no padding.
///
/// # Safety
/// The implementor is `repr(C)`, holds only integers or arrays of them, and has no padding.
pub unsafe trait Plain: Copy + 'static {}

// SAFETY: four u32, no padding.
unsafe impl Plain for Unit {}
// SAFETY: repr(C), integers only; its size of 64 is asserted in bucket.rs.
unsafe impl Plain for Bucket {}
// SAFETY: repr(C), integers only; its size of 32 is asserted in device.rs.
unsafe impl Plain for Device {}
// SAFETY: repr(C), integers only; its size of 16 is asserted in runs.rs.
unsafe impl Plain for RunHeader {}
// SAFETY: repr(C), integers only; its size of 16 is asserted in texts.rs.
unsafe impl Plain for TextUnit {}

/// An array of `T` that grows in place up to a bound fixed at creation; fresh elements are zero.
pub struct Region<T: Plain> {
    base: NonNull<T>,
    reserved_bytes: usize,
    usable_bytes: usize,
    len: usize,
    element: PhantomData<T>,
}

// SAFETY: a Region owns its mapping alone, like a Vec<T> of plain data owns its buffer.
unsafe impl<T: Plain> Send for Region<T> {}
// SAFETY: shared access hands out shared slices only.
unsafe impl<T: Plain> Sync for Region<T> {}

impl<T: Plain> Region<T> {
    /// Reserves address space for `len_max` elements; no memory is used yet.
    ///
    /// # Errors
    /// The kernel's, when the address space is limited (`ulimit -v`).
    pub fn reserve(len_max: usize) -> io::Result<Self> {
        let reserved_bytes = (len_max * size_of::<T>()).next_multiple_of(STEP_BYTES);
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // One extra huge page, so that the base can be aligned to one.
        let mapped_bytes = reserved_bytes + HUGE_PAGE_BYTES;
        // SAFETY: a fresh anonymous mapping at an address of the kernel's choice.
        let mapping = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                mapped_bytes,
                libc::PROT_NONE,
                flags,
                -1,
                0,
            )
        };
        if mapping == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let head = mapping.align_offset(HUGE_PAGE_BYTES);
        let base = mapping.wrapping_byte_add(head);
        trim(mapping, head)?;
        trim(
            base.wrapping_byte_add(reserved_bytes),
            HUGE_PAGE_BYTES - head,
        )?;
        // SAFETY: advice on the mapping that this Region now owns; refusal is harmless.
        unsafe { libc::madvise(base, reserved_bytes, libc::MADV_HUGEPAGE) };
        let base = NonNull::new(base.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Region {
            base,
            reserved_bytes,
            usable_bytes: 0,
            len: 0,
            element: PhantomData,
        })
    }

    /// Makes at least `len` elements usable; never shrinks.
    ///
    /// # Errors
    /// `OutOfMemory` past the reserved bound, or the kernel's refusal to commit memory.
    pub fn grow(&mut self, len: usize) -> io::Result<()> {
        if len <= self.len {
            return Ok(());
        }
        let wanted = len * size_of::<T>();
        if wanted > self.reserved_bytes {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        if wanted > self.usable_bytes {
            let usable = wanted.next_multiple_of(STEP_BYTES);
            let access = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: 0..usable lies inside the mapping this Region owns until drop.
            let refused = unsafe { libc::mprotect(self.base.as_ptr().cast(), usable, access) };
            if refused != 0 {
                return Err(io::Error::last_os_error());
            }
            self.usable_bytes = usable;
        }
        self.len = len;
        Ok(())
    }

    /// Elements usable now.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// All usable elements.
    #[inline]
    pub fn slice(&self) -> &[T] {
        // SAFETY: len elements are readable, initialised (zero pages) and owned until drop.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.len) }
    }

    /// All usable elements, writable.
    #[inline]
    pub fn slice_mut(&mut self) -> &mut [T] {
        // SAFETY: len elements are writable, initialised (zero pages) and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.len) }
    }

    /// Starts loading the cache line of element `index`; out of range does nothing harmful.
    #[inline]
    pub fn prefetch(&self, index: usize) {
        prefetch_line(self.base.as_ptr().wrapping_add(index));
    }

    /// Bytes of physical memory that the usable elements can occupy, in whole huge pages.
    pub fn memory_bytes(&self) -> usize {
        (self.len * size_of::<T>()).next_multiple_of(HUGE_PAGE_BYTES)
    }
}

impl<T: Plain> Drop for Region<T> {
    fn drop(&mut self) {
        // SAFETY: the whole mapping, owned by this Region alone, which ends here.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.reserved_bytes) };
    }
}

/// Gives `bytes` of address space at `start` back to the kernel.
fn trim(start: *mut libc::c_void, bytes: usize) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    // SAFETY: a page-aligned edge of the mapping made by `reserve`, not yet handed out.
    let refused = unsafe { libc::munmap(start, bytes) };
    if refused == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[inline]
fn prefetch_line<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Sees `count` values of `T` at the start of `units`.
#[inline]
pub fn view<T: Plain>(units: &[Unit], count: usize) -> &[T] {
    assert!(count * size_of::<T>() <= size_of_val(units) && align_of::<T>() <= align_of::<Unit>());
    // SAFETY: in bounds and aligned by the assertion; T is valid for every bit pattern.
    unsafe { std::slice::from_raw_parts(units.as_ptr().cast(), count) }
}

/// Sees `count` values of `T` at the start of `units`, writable.
#[inline]
pub fn view_mut<T: Plain>(units: &mut [Unit], count: usize) -> &mut [T] {
    assert!(count * size_of::<T>() <= size_of_val(units) && align_of::<T>() <= align_of::<Unit>());
    // SAFETY: in bounds and aligned by the assertion; T is plain and the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(units.as_mut_ptr().cast(), count) }
}

/// Sees a slice of plain data as bytes, for checksums and snapshots.
pub fn bytes<T: Plain>(elements: &[T]) -> &[u8] {
    // SAFETY: T has no padding, so each of its bytes is initialised.
    unsafe { std::slice::from_raw_parts(elements.as_ptr().cast(), size_of_val(elements)) }
}

/// Sees a slice of plain data as writable bytes, for snapshots.
pub fn bytes_mut<T: Plain>(elements: &mut [T]) -> &mut [u8] {
    // SAFETY: T is valid for every bit pattern, so any bytes may be written.
    unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast(), size_of_val(elements)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_in_place_and_keeps_what_was_written() {
        let mut region = Region::<Unit>::reserve(4 << 20).unwrap();
        assert!(region.slice().is_empty());
        region.grow(10).unwrap();
        region.slice_mut()[9] = Unit([1, 2, 3, 4]);
        let before = region.slice().as_ptr();
        region.grow(3 << 20).unwrap();
        assert_eq!(region.slice().as_ptr(), before);
        assert_eq!(region.slice()[9].0, [1, 2, 3, 4]);
        assert_eq!(region.slice()[(3 << 20) - 1].0, [0; 4]);
        assert_eq!(before.addr() % HUGE_PAGE_BYTES, 0);
    }

    #[test]
    fn refuses_to_grow_past_its_bound() {
        let mut region = Region::<Unit>::reserve(1 << 20).unwrap();
        assert!(region.grow((1 << 20) + 1).is_err());
        assert!(region.grow(1 << 20).is_ok());
    }

    #[test]
    fn prefetch_out_of_range_is_harmless() {
        let region = Region::<Unit>::reserve(1).unwrap();
        region.prefetch(usize::MAX >> 5);
        assert_eq!(region.len(), 0);
    }

    #[test]
    #[should_panic(expected = "assertion failed")]
    fn a_view_never_leaves_its_units() {
        let units = [Unit([0; 4]); 3];
        let _ = view::<Device>(&units, 2);
    }
}
