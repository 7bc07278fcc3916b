//! An allocator that counts what each thread holds.
#![allow(unsafe_code, reason = "an allocator is unsafe by its nature; this one passes everything on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counted;

fn count(change: isize) {
    let held = HELD.get() + change;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Old and new may exist side by side.
        count(size.cast_signed());
        let moved = unsafe { System.realloc(pointer, layout, size) };
        count(-layout.size().cast_signed());
        moved
    }
}

#[global_allocator]
static ALLOCATOR: Counted = Counted;

/// The result of `job`, the bytes that this thread holds more than before, and the most it held more meanwhile.
pub fn allocated<T>(job: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = job();
    let more = |held: isize| usize::try_from(held - before).unwrap_or_default();
    (result, more(HELD.get()), more(PEAK.get()))
}
