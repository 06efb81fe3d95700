//! Where an input led, by counters that the compiler put into this crate.
//!
//! Read first: clang's SanitizerCoverage, "Inline 8bit-counters". Built only with
//! `src/fuzz/with-coverage` around the compiler; without it, [`Seen`](super::drive::Seen) goes by
//! what inputs led to alone.

#![allow(
    unsafe_code,
    reason = "the counters are memory that the compiler names; no build that is shipped has them"
)]

use std::sync::atomic::AtomicPtr;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

static START: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Called before `main`, once for each object file, each time with all counters.
#[unsafe(no_mangle)]
extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    START.store(start, Relaxed);
    LENGTH.store(stop as usize - start as usize, Relaxed);
}

/// Calls `visit` with the number of each place that was passed since the last call, and how often.
pub(super) fn take(visit: &mut dyn FnMut(usize, u8)) {
    let start = START.load(Relaxed);
    if start.is_null() {
        return;
    }
    // SAFETY: the linker lays the counters out from start to stop, zero at first; they live as
    // long as the program, and who counts in them does so by plain additions, of which some may
    // be lost here.
    let words = unsafe {
        let at = start.align_offset(8);
        let length = LENGTH.load(Relaxed).saturating_sub(at) / 8;
        std::slice::from_raw_parts(start.add(at).cast::<AtomicU64>(), length)
    };
    for (number, word) in words.iter().enumerate() {
        let counts = word.load(Relaxed);
        if counts == 0 {
            continue;
        }
        word.store(0, Relaxed);
        for (at, count) in counts.to_le_bytes().into_iter().enumerate() {
            if count > 0 {
                visit(8 * number + at, count);
            }
        }
    }
}
