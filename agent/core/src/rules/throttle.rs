//! How many alerts a rule may tell: a bucket of tokens for each rule, in whole nanoseconds.

/// A bucket that gains a token in every interval and holds a burst of them. An alert takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throttle {
    interval_ns: u64,
    /// How far ahead of time the bucket may be drawn on.
    slack_ns: u64,
    /// When the bucket is full again.
    full_ns: u64,
}

impl Throttle {
    /// A full bucket that gains a token every `interval_ns` and holds `burst`, one at least.
    pub fn new(interval_ns: u64, burst: u32) -> Self {
        let slack_ns = interval_ns.saturating_mul(u64::from(burst.max(1)) - 1);
        Self { interval_ns, slack_ns, full_ns: 0 }
    }

    /// Takes a token at `now_ns`, of any clock that does not run back; false if there is none.
    pub fn take(&mut self, now_ns: u64) -> bool {
        if self.full_ns.saturating_sub(now_ns) > self.slack_ns {
            return false;
        }
        self.full_ns = self.full_ns.max(now_ns).saturating_add(self.interval_ns);
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_and_then_one_in_each_interval() {
        let mut throttle = Throttle::new(10, 3);
        let told: Vec<u64> = (100..160).filter(|now| throttle.take(*now)).collect();
        assert_eq!(told, [100, 101, 102, 110, 120, 130, 140, 150]);
        assert!((1_000..1_003).all(|now| throttle.take(now)), "full again");
        assert!(!throttle.take(1_003));
    }

    proptest! {
        /// As a bucket whose level is counted ns by ns: a token is `interval` of them.
        #[test]
        fn as_a_bucket_that_is_filled_drop_by_drop(
            interval in 1_u64..50, burst in 1_u32..6, steps in prop::collection::vec(0_u64..60, 0..200),
        ) {
            let mut throttle = Throttle::new(interval, burst);
            let full = interval * u64::from(burst);
            let (mut level, mut now) = (full, 1_000);
            for step in steps {
                for _ in 0..step {
                    level = full.min(level + 1);
                }
                now += step;
                let expected = level >= interval;
                if expected {
                    level -= interval;
                }
                prop_assert_eq!(throttle.take(now), expected);
            }
        }

        #[test]
        fn any_numbers(interval: u64, burst: u32, times: [u64; 8]) {
            let mut throttle = Throttle::new(interval, burst);
            prop_assert!(throttle.take(times[0]), "a new bucket is full");
            for now in times {
                throttle.take(now);
            }
        }
    }
}
