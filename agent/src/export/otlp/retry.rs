//! What may be tried again (the OTLP specification's list), and when.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::config::RetryConfig;

/// What a failed attempt means for its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Never again: the same bytes would be refused again.
    Permanent,
    /// Again, after the delay the server asked for or else after a backoff.
    Retry(Option<Duration>),
}

/// The verdict on a status that the server sent.
///
/// `RESOURCE_EXHAUSTED` alone is permanent, as the specification has it: the server could not tell when
/// it would recover. With `RetryInfo` it is a throttle.
pub(super) fn verdict(status: &Status) -> Verdict {
    let asked = status.get_details_retry_info().map(|info| info.retry_delay.unwrap_or_default());
    match status.code() {
        Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::OutOfRange
        | Code::Unavailable
        | Code::DataLoss => Verdict::Retry(asked.filter(|delay| !delay.is_zero())),
        Code::ResourceExhausted if asked.is_some() => Verdict::Retry(asked.filter(|delay| !delay.is_zero())),
        _ => Verdict::Permanent,
    }
}

/// Exponential backoff with full jitter: agents that lost the same backend do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(config: &RetryConfig) -> Self {
        Self { initial: config.initial, max: config.max, failures: 0 }
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
    use tonic_types::ErrorDetails;

    #[test]
    fn the_specifications_table() {
        use Code::{
            Aborted, AlreadyExists, Cancelled, DataLoss, DeadlineExceeded, FailedPrecondition, Internal,
            InvalidArgument, NotFound, OutOfRange, PermissionDenied, ResourceExhausted, Unauthenticated,
            Unavailable, Unimplemented, Unknown,
        };
        for code in [Cancelled, DeadlineExceeded, Aborted, OutOfRange, Unavailable, DataLoss] {
            assert_eq!(verdict(&Status::new(code, "")), Verdict::Retry(None), "{code:?}");
        }
        for code in [
            Unknown,
            InvalidArgument,
            NotFound,
            AlreadyExists,
            PermissionDenied,
            Unauthenticated,
            FailedPrecondition,
            Unimplemented,
            Internal,
            ResourceExhausted,
        ] {
            assert_eq!(verdict(&Status::new(code, "")), Verdict::Permanent, "{code:?}");
        }
    }

    #[test]
    fn the_servers_delay_wins() {
        let delay = Duration::from_millis(1234);
        for code in [Code::Unavailable, Code::ResourceExhausted] {
            let status =
                Status::with_error_details(code, "slow down", ErrorDetails::with_retry_info(Some(delay)));
            assert_eq!(verdict(&status), Verdict::Retry(Some(delay)));
        }
        let refusal =
            Status::with_error_details(Code::Internal, "", ErrorDetails::with_retry_info(Some(delay)));
        assert_eq!(verdict(&refusal), Verdict::Permanent);
    }

    #[test]
    fn the_bound_doubles_up_to_its_maximum_and_every_delay_is_below_it() {
        let config = RetryConfig {
            initial: Duration::from_millis(500),
            max: Duration::from_secs(3),
            ..RetryConfig::default()
        };
        let mut backoff = Backoff::new(&config);
        let mut bounds = Vec::new();
        for _ in 0..100 {
            let bound = backoff.bound();
            bounds.push(bound.as_millis());
            assert!(backoff.next() <= bound);
        }
        assert_eq!(bounds[..5], [500, 1000, 2000, 3000, 3000]);
        assert_eq!(bounds[99], 3000);
        backoff.reset();
        assert_eq!(backoff.bound(), config.initial);
    }
}
