//! An allocator that panics at a size that no input asks for honestly.
#![expect(unsafe_code, reason = "an allocator is unsafe to state")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Sets the largest size of one allocation from here on, in bytes.
pub fn limit(size: usize) {
    LIMIT.store(size, Ordering::Relaxed);
}

struct Limited;

#[global_allocator]
static ALLOCATOR: Limited = Limited;

fn appraise(size: usize) {
    let limit = LIMIT.load(Ordering::Relaxed);
    if size > limit {
        // So that the report of the failure may allocate.
        LIMIT.store(usize::MAX, Ordering::Relaxed);
        eprintln!("an allocation of {size} bytes, the limit is {limit}");
        std::process::abort();
    }
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        appraise(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        appraise(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        appraise(size);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}
