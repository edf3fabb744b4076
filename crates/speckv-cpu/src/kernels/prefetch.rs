//! Prefetching of weights. A pass reads all weights in order and is bound by the memory.

/// Distance of prefetches in bytes, into the second-level cache: a few memory latencies. Measured
/// on Zen 4 with Q4_K, two threads, medians of three alternating runs: at one row 30 GB/s of
/// weights so, 26 at half the distance, 28 at twice; at five rows 24.5, 20 and 24.7.
const AHEAD: usize = 8192;

/// Bytes of a cache line.
const LINE: usize = 64;

/// Prefetches the `bytes` bytes that follow `from` at a distance. A few lines at a time: a core has
/// a limited number of requests in flight, and loads wait behind a burst of more.
#[inline(always)]
pub(super) fn prefetch(from: *const u8, bytes: usize) {
    for line in (0..bytes).step_by(LINE) {
        ask(from.wrapping_add(AHEAD + line));
    }
}

/// Prefetches one line.
#[inline(always)]
fn ask(line: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        // SAFETY: a prefetch touches no memory that the program sees, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) };
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a prefetch touches no memory that the program sees, whatever the address.
    unsafe {
        std::arch::asm!(
            "prfm pldl2keep, [{line}]",
            line = in(reg) line,
            options(nostack, readonly, preserves_flags)
        );
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = line;
}

/// Weights to prefetch at the same distance, a few lines at a time between other work.
#[cfg(target_arch = "x86_64")]
pub(super) struct Ahead {
    next: *const u8,
    end: *const u8,
}

#[cfg(target_arch = "x86_64")]
impl Ahead {
    /// The `bytes` bytes that follow `from` at a distance.
    #[inline(always)]
    pub(super) fn of(from: *const u8, bytes: usize) -> Self {
        let next = from.wrapping_add(AHEAD);
        Ahead { next, end: next.wrapping_add(bytes) }
    }

    /// Prefetches the next `lines` lines, as long as some are left.
    #[inline(always)]
    pub(super) fn ask(&mut self, lines: usize) {
        if self.next < self.end {
            for line in 0..lines {
                ask(self.next.wrapping_add(LINE * line));
            }
            self.next = self.next.wrapping_add(LINE * lines);
        }
    }
}
