//! The boot clock: kernel time stamps are `CLOCK_BOOTTIME`, exports are Unix time.

/// `CLOCK_BOOTTIME`, ns.
pub fn boot_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// Unix time less boot time, ns: add it to a boot time stamp. Sampled anew whenever it is asked for, as
/// the wall clock steps.
pub fn unix_offset_ns() -> u64 {
    // The narrowest of a few samples: the thread may be preempted between the two reads.
    let sample = || {
        let before = boot_ns();
        let unix = read(libc::CLOCK_REALTIME);
        let after = boot_ns();
        (after - before, unix.wrapping_sub(before / 2 + after / 2))
    };
    (0..5).map(|_| sample()).min_by_key(|(width, _)| *width).map_or(0, |(_, offset)| offset)
}

/// Identity of this boot, as in `/proc/sys/kernel/random/boot_id`; empty if unreadable.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the result.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_time_plus_offset_is_now() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        let ours = boot_ns() + unix_offset_ns();
        assert!(ours.abs_diff(now.as_nanos() as u64) < 1_000_000_000);
    }
}
