//! Anonymous memory that outlives every kernel operation on it, on huge pages where the host has them.
//! A `Mapping` is a fixed block: slabs, receive buffers, envelopes, blocks of streams.
//! Deliberately no allocator: nothing here is freed piecemeal. Called by `port` at start-up only.

use std::fmt;
use std::fs;
use std::io;
use std::ptr::{self, NonNull};

/// Octets of one huge page on x86-64 and on arm64 with 4 KiB base pages.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Octets of one base page.
pub const PAGE_BYTES: usize = 4096;

/// The pages that back a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pages {
    /// Pages of the reserved pool (`vm.nr_hugepages`).
    Reserved,
    /// Transparent huge pages, asked for with `madvise(MADV_HUGEPAGE)`.
    Transparent,
    /// Base pages of 4 KiB.
    Base,
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pages::Reserved => "reserved huge pages",
            Pages::Transparent => "transparent huge pages",
            Pages::Base => "base pages of 4 KiB",
        })
    }
}

/// One anonymous private mapping, zeroed at birth, unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    pages: Pages,
}

impl Mapping {
    /// Maps `bytes` octets (rounded up to whole pages); with `huge`, tries the reserved pool, then
    /// transparent huge pages, then base pages. Errors are those of mmap(2).
    pub fn new(bytes: usize, huge: bool) -> io::Result<Mapping> {
        if huge {
            let rounded = bytes.next_multiple_of(HUGE_PAGE_BYTES);
            if let Ok(base) = map(rounded, libc::MAP_HUGETLB | libc::MAP_POPULATE) {
                return Ok(Mapping {
                    base,
                    bytes: rounded,
                    pages: Pages::Reserved,
                });
            }
            return Mapping::transparent(rounded);
        }
        let rounded = bytes.next_multiple_of(PAGE_BYTES);
        let base = map(rounded, 0)?;
        Ok(Mapping {
            base,
            bytes: rounded,
            pages: Pages::Base,
        })
    }

    /// Maps on a huge-page boundary, so that the kernel may back the whole block by huge pages.
    fn transparent(bytes: usize) -> io::Result<Mapping> {
        let whole = map(bytes + HUGE_PAGE_BYTES, 0)?;
        let head = whole.as_ptr().align_offset(HUGE_PAGE_BYTES);
        // SAFETY: the block just mapped is ours and holds `bytes + HUGE_PAGE_BYTES` octets; `head`
        // is less than one huge page.
        let base = unsafe { whole.add(head) };
        unmap(whole, head);
        let tail = HUGE_PAGE_BYTES - head;
        // SAFETY: as above; `head + bytes + tail` is the length mapped.
        let end = unsafe { base.add(bytes) };
        unmap(end, tail);
        let mut mapping = Mapping {
            base,
            bytes,
            pages: Pages::Base,
        };
        // SAFETY: advice on a block owned by `mapping` changes no contents.
        let advised = unsafe { libc::madvise(base.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
        if advised == 0 && transparent_allowed() {
            mapping.populate();
            if huge_bytes_at(base.as_ptr() as usize) > 0 {
                mapping.pages = Pages::Transparent;
            }
        }
        Ok(mapping)
    }

    /// Writes a zero to every page of fresh memory, so that no page fault is left for the hot path.
    fn populate(&mut self) {
        for page in self.as_mut_slice().chunks_mut(PAGE_BYTES) {
            page[0] = 0;
        }
    }

    /// Length in octets, a whole number of pages.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// True only for a mapping of no octets, which cannot be made.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Which pages back the mapping.
    pub fn pages(&self) -> Pages {
        self.pages
    }

    /// The first octet.
    #[inline]
    pub fn as_ptr(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// The whole block; only for memory that no kernel operation writes at this time.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the mapping owns `bytes` readable and writable octets until its drop.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.bytes) }
    }

    /// `length` octets at `offset`. The caller holds the range in the sense of the ownership table.
    #[inline]
    pub(crate) fn range(&self, offset: usize, length: usize) -> &[u8] {
        assert!(offset + length <= self.bytes, "range beyond the mapping");
        // SAFETY: in bounds (asserted); the kernel does not write a range that our side owns
        // (ownership table, crate root).
        unsafe { std::slice::from_raw_parts(self.as_ptr().wrapping_add(offset), length) }
    }

    /// `length` octets at `offset`, writable. The caller holds the range.
    #[inline]
    pub(crate) fn range_mut(&mut self, offset: usize, length: usize) -> &mut [u8] {
        assert!(offset + length <= self.bytes, "range beyond the mapping");
        // SAFETY: in bounds (asserted) and borrowed through `&mut self`; the kernel holds no
        // operation on a range that our side owns (ownership table, crate root).
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr().wrapping_add(offset), length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        unmap(self.base, self.bytes);
    }
}

fn map(bytes: usize, flags: i32) -> io::Result<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags;
    // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing we have.
    let address = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

fn unmap(base: NonNull<u8>, bytes: usize) {
    if bytes == 0 {
        return;
    }
    // SAFETY: called by the owner of exactly this range, at the end of its life.
    unsafe { libc::munmap(base.as_ptr().cast(), bytes) };
}

/// True when the host lets a process ask for transparent huge pages.
pub(crate) fn transparent_allowed() -> bool {
    fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled")
        .is_ok_and(|text| text.contains("[madvise]") || text.contains("[always]"))
}

/// Octets on transparent huge pages in the mapping that holds `address` (proc_pid_smaps(5)).
fn huge_bytes_at(address: usize) -> usize {
    let Ok(text) = fs::read_to_string("/proc/self/smaps") else {
        return 0;
    };
    let holds = |line: &str| {
        let (start, rest) = line.split_once('-')?;
        let (end, _) = rest.split_once(' ')?;
        let start = usize::from_str_radix(start, 16).ok()?;
        let end = usize::from_str_radix(end, 16).ok()?;
        Some((start..end).contains(&address))
    };
    let kibibytes = text
        .lines()
        .skip_while(|line| holds(line) != Some(true))
        .find_map(|line| line.strip_prefix("AnonHugePages:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|number| number.trim().parse::<usize>().ok());
    kibibytes.unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mapping_is_zeroed_writable_and_rounded() {
        for huge in [false, true] {
            let mut mapping = Mapping::new(5000, huge).unwrap();
            assert!(mapping.len() >= 5000);
            assert!(mapping.as_mut_slice().iter().all(|octet| *octet == 0));
            mapping.range_mut(4990, 10).fill(7);
            assert_eq!(mapping.range(4990, 10), [7; 10]);
            assert_eq!(
                mapping.pages() == Pages::Base,
                !huge || !transparent_allowed()
            );
        }
    }

    #[test]
    fn transparent_pages_are_claimed_only_when_they_are_had() {
        let mapping = Mapping::new(4 * HUGE_PAGE_BYTES, true).unwrap();
        let huge_bytes = huge_bytes_at(mapping.as_ptr() as usize);
        assert_eq!(mapping.as_ptr() as usize % HUGE_PAGE_BYTES, 0);
        assert_eq!(mapping.pages() == Pages::Transparent, huge_bytes > 0);
    }

    #[test]
    #[should_panic(expected = "range beyond the mapping")]
    fn range_beyond_the_end_is_refused() {
        let mapping = Mapping::new(4096, false).unwrap();
        mapping.range(4000, 97);
    }
}
