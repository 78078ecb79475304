//! What may be tried again: the OTLP specification's list.

use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::export::worker::Verdict;

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

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
}
