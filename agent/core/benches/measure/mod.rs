//! How the benches measure: fixed work, sides interleaved, CPU time of this thread, allocations counted.

#![allow(dead_code, reason = "each bench uses a part of it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// Counts what is asked of the allocator: every call that may have to find memory.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call is handed to the system's allocator as it came; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `run` asked the allocator for memory.
pub(crate) fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    run();
    ALLOCATIONS.with(Cell::get) - before
}

/// CPU time that this thread has used, ns.
pub(crate) fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a timespec, and every thread has this clock.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    assert_eq!(result, 0, "the kernel keeps the CPU time of threads");
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// CPU time of `run`, ns.
pub(crate) fn time(run: impl FnOnce()) -> u64 {
    let start = cpu_ns();
    run();
    cpu_ns() - start
}

/// Runs all sides in each round, in turn forwards and backwards, and returns what each run says it took:
/// `times[side][round]`. The first round is not counted.
pub(crate) fn interleave(sides: &mut [&mut dyn FnMut() -> u64], rounds: usize) -> Vec<Vec<u64>> {
    let mut times = vec![Vec::new(); sides.len()];
    for round in 0..=rounds {
        let mut order: Vec<usize> = (0..sides.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for side in order {
            let taken = sides[side]();
            if round > 0 {
                times[side].push(taken);
            }
        }
    }
    times
}

/// The middle one.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// Per round, how much more time `other` took than `base`: median, least and greatest ratio.
pub(crate) fn ratio(base: &[u64], other: &[u64]) -> (f64, f64, f64) {
    let ratios: Vec<f64> = base.iter().zip(other).map(|(base, other)| *other as f64 / *base as f64).collect();
    let (least, greatest) = ratios
        .iter()
        .fold((f64::MAX, 0.0_f64), |(least, greatest), ratio| (least.min(*ratio), greatest.max(*ratio)));
    (median(&ratios), least, greatest)
}

/// ns per item: the median of all rounds, and the least.
pub(crate) fn per_item(times: &[u64], items: usize) -> (f64, f64) {
    let per: Vec<f64> = times.iter().map(|time| *time as f64 / items as f64).collect();
    (median(&per), per.iter().copied().fold(f64::MAX, f64::min))
}

/// The machine's processor, for the head of a table.
pub(crate) fn processor() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split(':').nth(1));
    model.map_or_else(|| "unknown processor".to_owned(), |model| model.trim().to_owned())
}
