//! An allocator that counts what each thread holds, for tests that hold an estimate of memory against it. Only tests use it, each in
//! a binary of its own:
//!
//! ```ignore
//! #[global_allocator]
//! static ALLOCATOR: allocated::Counting = allocated::Counting;
//! ```
#![allow(unsafe_code, reason = "an allocator is unsafe by its nature; this one passes everything on")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counted.
pub struct Counting;

fn count(change: isize) {
    // The thread's own may be gone when it ends.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
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

/// What a job has allocated on its thread, in bytes beyond what was held before.
#[derive(Clone, Copy, Debug)]
pub struct Allocated {
    /// What is held at its end, its result included.
    pub held: usize,
    /// The most that was held meanwhile.
    pub peak: usize,
}

/// The result of `job` and what it has allocated. All zero in a binary whose allocator is another.
pub fn allocated<T>(job: impl FnOnce() -> T) -> (T, Allocated) {
    let before = HELD.get();
    PEAK.set(before);
    let result = job();
    let more = |held: isize| usize::try_from(held - before).unwrap_or_default();
    (result, Allocated { held: more(HELD.get()), peak: more(PEAK.get()) })
}
