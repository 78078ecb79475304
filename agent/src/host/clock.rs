//! The boot clock: kernel time stamps are `CLOCK_BOOTTIME`, exports are Unix time.

/// `CLOCK_BOOTTIME`, ns.
pub fn boot_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// Unix time less boot time, ns, to be added to a boot time stamp. NTP's slewing moves both clocks alike:
/// it changes only when the wall clock steps.
#[derive(Clone, Copy, Debug)]
pub struct UnixOffset(u64);

/// Less than this between two looks is the noise of looking, not a step.
const NOISE_NS: u64 = 1_000_000;

impl UnixOffset {
    /// As of now.
    pub fn new() -> Self {
        Self(sample().offset_ns)
    }

    /// The same, unless the wall clock has stepped since the last look.
    pub fn look(&mut self) -> u64 {
        self.take(sample())
    }

    fn take(&mut self, Sample { offset_ns, width_ns }: Sample) -> u64 {
        if offset_ns.abs_diff(self.0) > NOISE_NS.max(width_ns) {
            self.0 = offset_ns;
        }
        self.0
    }
}

impl Default for UnixOffset {
    fn default() -> Self {
        Self::new()
    }
}

/// A look at both clocks.
#[derive(Clone, Copy, Debug)]
struct Sample {
    offset_ns: u64,
    /// How long it took: what the offset can be wrong by.
    width_ns: u64,
}

/// The narrowest of a few looks: the thread may be preempted between the two clocks.
fn sample() -> Sample {
    let look = |_| {
        let before = boot_ns();
        let unix = read(libc::CLOCK_REALTIME);
        let after = boot_ns();
        Sample { offset_ns: unix.wrapping_sub(before / 2 + after / 2), width_ns: after - before }
    };
    (1..5).map(look).fold(look(0), |best, next| if next.width_ns < best.width_ns { next } else { best })
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
        let ours = boot_ns() + UnixOffset::new().look();
        assert!(ours.abs_diff(now.as_nanos() as u64) < 1_000_000_000);
    }

    #[test]
    fn a_step_is_told_from_a_look_that_was_interrupted() {
        let mut offset = UnixOffset(5_000_000_000);
        assert_eq!(offset.take(Sample { offset_ns: 5_000_900_000, width_ns: 100 }), 5_000_000_000);
        assert_eq!(offset.take(Sample { offset_ns: 5_004_000_000, width_ns: 9_000_000 }), 5_000_000_000);
        assert_eq!(offset.take(Sample { offset_ns: 5_004_000_000, width_ns: 100 }), 5_004_000_000);
        assert_eq!(offset.take(Sample { offset_ns: 4_000_000_000, width_ns: 9_000_000 }), 4_000_000_000);
    }
}
