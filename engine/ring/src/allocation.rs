//! A global allocator that counts per thread, so that a test can prove that the steady state
//! allocates nothing. Deliberately counts only; binaries choose what it wraps.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::Cell;

thread_local! {
    // Const-initialised and without a destructor: touching it never allocates.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Allocations (including reallocations) made by the calling thread since it began; 0 where
/// `Counting` is not the global allocator.
pub fn allocations_on_this_thread() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// Passes every call to `A` and counts allocations and reallocations on the calling thread.
#[derive(Debug, Default)]
pub struct Counting<A>(pub A);

#[inline]
fn count() {
    // A thread that is being torn down has no cell any more; its last allocations go uncounted.
    let _ = ALLOCATIONS.try_with(|cell| cell.set(cell.get() + 1));
}

// SAFETY: every method forwards unchanged to `A`, which upholds the contract; counting touches
// only a thread-local integer.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Counting<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.alloc(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on; `A` made the block.
        unsafe { self.0.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on; `A` made the block.
        unsafe { self.0.realloc(block, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::alloc::System;

    #[test]
    fn allocation_and_reallocation_are_counted() {
        let counting = Counting(System);
        let layout = Layout::from_size_align(64, 8).unwrap();
        let before = allocations_on_this_thread();
        // SAFETY: the layout is not empty.
        let block = unsafe { counting.alloc(layout) };
        // SAFETY: the block came from `counting` with this layout.
        let block = unsafe { counting.realloc(block, layout, 128) };
        let larger = Layout::from_size_align(128, 8).unwrap();
        // SAFETY: the block came from `counting` with the larger layout.
        unsafe { counting.dealloc(block, larger) };
        assert_eq!(allocations_on_this_thread() - before, 2);
    }
}
