//! The boot clock: kernel time stamps are `CLOCK_BOOTTIME`, exports are Unix time, and the kernel's own notes
//! monotonic time.

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
        Self(narrowest(libc::CLOCK_BOOTTIME, libc::CLOCK_REALTIME).offset_ns)
    }

    /// The same, unless the wall clock has stepped since the last look.
    pub fn look(&mut self) -> u64 {
        self.take(narrowest(libc::CLOCK_BOOTTIME, libc::CLOCK_REALTIME))
    }

    fn take(&mut self, Sample { offset_ns, width_ns }: Sample) -> u64 {
        if apart(offset_ns, self.0) > NOISE_NS.max(width_ns) {
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

/// Boot time less monotonic time, ns: how long the machine has been asleep since it started.
#[derive(Clone, Copy, Debug)]
pub struct Asleep(Sample);

impl Asleep {
    /// As of now.
    pub fn new() -> Self {
        Self(narrowest(libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME))
    }

    /// As last looked at.
    pub fn ns(&self) -> u64 {
        self.0.offset_ns
    }

    /// Looks again. True if the machine has slept since, or if this look was closer than all before.
    pub fn look(&mut self) -> bool {
        self.take(sample(libc::CLOCK_MONOTONIC, libc::CLOCK_BOOTTIME))
    }

    fn take(&mut self, sample: Sample) -> bool {
        let slept = apart(sample.offset_ns, self.0.offset_ns) > NOISE_NS.max(sample.width_ns);
        let closer = sample.width_ns < self.0.width_ns;
        if slept || closer {
            self.0 = sample;
        }
        slept || closer
    }
}

impl Default for Asleep {
    fn default() -> Self {
        Self::new()
    }
}

/// A look at two clocks.
#[derive(Clone, Copy, Debug)]
struct Sample {
    /// The second less the first, modulo 2⁶⁴: of clocks that agree it may come out a little below 0.
    offset_ns: u64,
    /// How long it took: what the offset can be wrong by.
    width_ns: u64,
}

/// How far two offsets are from each other, the short way around 2⁶⁴: −20 and 20 are 40 apart.
fn apart(one_ns: u64, other_ns: u64) -> u64 {
    one_ns.wrapping_sub(other_ns).cast_signed().unsigned_abs()
}

/// The narrowest of a few looks: the thread may be preempted between the two clocks.
fn narrowest(first: libc::clockid_t, second: libc::clockid_t) -> Sample {
    let look = |_| sample(first, second);
    (1..5).map(look).fold(look(0), |best, next| if next.width_ns < best.width_ns { next } else { best })
}

fn sample(first: libc::clockid_t, second: libc::clockid_t) -> Sample {
    let before = read(first);
    let between = read(second);
    let after = read(first);
    let width_ns = after - before;
    Sample { offset_ns: between.wrapping_sub(before + width_ns / 2), width_ns }
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

    #[test]
    fn sleep_is_told_from_looks_that_were_interrupted() {
        let mut asleep = Asleep(Sample { offset_ns: 40, width_ns: 100 });
        assert!(!asleep.take(Sample { offset_ns: 500, width_ns: 2_000 }), "noise");
        assert!(!asleep.take(Sample { offset_ns: 5_000_000, width_ns: 9_000_000 }), "interrupted");
        assert!(asleep.take(Sample { offset_ns: 10, width_ns: 30 }), "closer");
        assert_eq!(asleep.ns(), 10);
        assert!(
            asleep.take(Sample { offset_ns: 7_000_000_200, width_ns: 800 }),
            "a sleep, looked at from afar"
        );
        assert!(asleep.take(Sample { offset_ns: 7_000_000_000, width_ns: 90 }), "closer");
        assert_eq!(asleep.ns(), 7_000_000_000);
    }

    /// A machine that has never slept: its offset is 0, and looks come out on either side of that.
    #[test]
    fn no_sleep_is_told_from_looks_that_were_interrupted() {
        let of = |offset_ns: i64, width_ns| Sample { offset_ns: offset_ns.cast_unsigned(), width_ns };
        let mut asleep = Asleep(of(-40, 100));
        assert!(!asleep.take(of(40, 120)), "the same, from the other side");
        assert!(!asleep.take(of(4_600_000, 9_300_000)), "interrupted");
        assert!(asleep.take(of(10, 60)), "closer");
        assert!(!asleep.take(of(-4_600_000, 9_300_000)), "interrupted, on the other side");
        assert!(asleep.take(of(7_000_000_000, 9_300_000)), "a sleep");
        let mut offset = UnixOffset(of(-40, 0).offset_ns);
        assert_eq!(offset.take(of(4_600_000, 9_300_000)), of(-40, 0).offset_ns);
    }

    #[test]
    fn monotonic_time_and_sleep_are_boot_time() {
        let mut asleep = Asleep::new();
        asleep.look();
        let (before, monotonic, after) = (boot_ns(), read(libc::CLOCK_MONOTONIC), boot_ns());
        let boot = monotonic.wrapping_add(asleep.ns());
        let slack = asleep.0.width_ns;
        assert!((before - slack..=after + slack).contains(&boot), "{before} {boot} {after}");
    }
}
