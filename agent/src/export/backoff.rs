//! When to try again.

use std::time::Duration;

/// Exponential backoff with full jitter: agents that lost the same backend do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(initial: Duration, max: Duration) -> Self {
        Self { initial, max, failures: 0 }
    }

    /// The delay after one more failure.
    pub(super) fn next(&mut self) -> Duration {
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(fastrand::f64())
    }

    /// The server answered: start over.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Whether the last attempt failed.
    pub(super) fn has_failed(&self) -> bool {
        self.failures > 0
    }

    fn bound(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.initial.saturating_mul(factor).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_up_to_its_maximum_and_every_delay_is_below_it() {
        let initial = Duration::from_millis(500);
        let mut backoff = Backoff::new(initial, Duration::from_secs(3));
        let mut bounds = Vec::new();
        for _ in 0..100 {
            let bound = backoff.bound();
            bounds.push(bound.as_millis());
            assert!(backoff.next() <= bound);
        }
        assert_eq!(bounds[..5], [500, 1000, 2000, 3000, 3000]);
        assert_eq!(bounds[99], 3000);
        backoff.reset();
        assert_eq!(backoff.bound(), initial);
    }
}
