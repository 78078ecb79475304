//! What the backend answers, and what becomes of the items.

use std::time::Duration;

use tarsier::export::otlp::{Compression, RetryConfig};
use tarsier::export::{Batch, DropCause, Signal};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::receiver::{Answer, Receiver};
use crate::{config, items, last_error, settled, start, wait};

#[tokio::test]
async fn all_signals_arrive_once_and_in_order() {
    let receiver = Receiver::start([]).await;
    let exporter = start(&config(receiver.endpoint()));
    let body_bytes = std::thread::scope(|scope| {
        let push = || {
            let mut bytes = 0;
            for (round, signal) in (0..20).flat_map(|round| Signal::ALL.map(|signal| (round, signal))) {
                let batch = items::batch(signal, round * 10..round * 10 + 10);
                bytes += batch.body.len() as u64;
                exporter.push(batch).unwrap();
            }
            bytes
        };
        scope.spawn(push).join().unwrap()
    });
    let ledger = wait(&exporter, |ledger| ledger.signals.iter().all(|counts| counts.sent == 200)).await;
    for signal in Signal::ALL {
        assert_eq!(receiver.accepted(signal), (0..200).collect::<Vec<_>>());
        assert_eq!((ledger.of(signal).requests, ledger.of(signal).retries), (20, 0));
        assert!(exporter.health(signal).unwrap().connected_since.is_some());
    }
    assert_eq!(ledger.signals.iter().map(|counts| counts.bytes_sent).sum::<u64>(), body_bytes);
    assert_eq!(ledger.queue_bytes, 0);
}

#[tokio::test]
async fn partial_success_is_counted_and_not_retried() {
    let script = [Answer::Partial(3, "label too long"), Answer::Partial(99, "all"), Answer::Partial(0, "hm")];
    let receiver = Receiver::start(script).await;
    let exporter = start(&config(receiver.endpoint()));
    for start in [0, 10, 20] {
        exporter.push(items::batch(Signal::Metrics, start..start + 10)).unwrap();
    }
    let counts = settled(&exporter, Signal::Metrics).await;
    // 3 of the first, all 10 of the second (a server cannot reject more than it got), none of the third.
    assert_eq!((counts.sent, counts.rejected, counts.requests), (17, 13, 3));
    assert_eq!(counts.dropped_total(), 0);
}

#[tokio::test]
async fn retryable_codes_are_retried_until_accepted() {
    let codes = [
        Code::Unavailable,
        Code::Cancelled,
        Code::DeadlineExceeded,
        Code::Aborted,
        Code::OutOfRange,
        Code::DataLoss,
    ];
    let receiver = Receiver::start(codes.map(|code| Answer::Refuse(Status::new(code, "later")))).await;
    let exporter = start(&config(receiver.endpoint()));
    exporter.push(items::batch(Signal::Logs, 0..7)).unwrap();
    exporter.push(items::batch(Signal::Logs, 7..9)).unwrap();
    let counts = settled(&exporter, Signal::Logs).await;
    assert_eq!((counts.sent, counts.requests, counts.retries), (9, 8, 6));
    assert_eq!(receiver.accepted(Signal::Logs), (0..9).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_delay_the_server_asks_for_is_honoured() {
    let delay = Duration::from_millis(400);
    let throttle = |code| {
        Answer::Refuse(Status::with_error_details(
            code,
            "slow down",
            ErrorDetails::with_retry_info(Some(delay)),
        ))
    };
    let receiver = Receiver::start([throttle(Code::Unavailable), throttle(Code::ResourceExhausted)]).await;
    let exporter = start(&config(receiver.endpoint()));
    exporter.push(items::batch(Signal::Traces, 0..5)).unwrap();
    let arrivals = receiver.wait(|arrivals| arrivals.len() == 3).await;
    for pair in arrivals.windows(2) {
        assert!(pair[1].at - pair[0].at >= delay, "{:?}", pair[1].at - pair[0].at);
    }
    assert_eq!(settled(&exporter, Signal::Traces).await.sent, 5);
}

#[tokio::test]
async fn permanent_refusals_are_dropped_and_counted() {
    let codes = [Code::InvalidArgument, Code::ResourceExhausted, Code::Unauthenticated];
    let receiver = Receiver::start(codes.map(|code| Answer::Refuse(Status::new(code, "no")))).await;
    let exporter = start(&config(receiver.endpoint()));
    for start in [0, 2, 4, 6] {
        exporter.push(items::batch(Signal::Logs, start..start + 2)).unwrap();
    }
    let counts = settled(&exporter, Signal::Logs).await;
    assert_eq!((counts.sent, counts.dropped(DropCause::Refused), counts.retries), (2, 6, 0));
    assert_eq!(receiver.accepted(Signal::Logs), [6, 7]);
    assert_eq!(last_error(&exporter, Signal::Logs), "UNAUTHENTICATED: no (check the headers)");
}

#[tokio::test]
async fn a_batch_is_given_up_after_its_time() {
    let receiver = Receiver::start((0..1000).map(|_| Answer::Refuse(Status::unavailable("never")))).await;
    let mut config = config(receiver.endpoint());
    config.retry = RetryConfig {
        initial: Duration::from_millis(5),
        max: Duration::from_millis(20),
        max_elapsed: Duration::from_millis(100),
    };
    let exporter = start(&config);
    exporter.push(items::batch(Signal::Metrics, 0..4)).unwrap();
    let counts = settled(&exporter, Signal::Metrics).await;
    assert_eq!((counts.dropped(DropCause::RetryExhausted), counts.sent), (4, 0));
    assert!(counts.retries >= 1);
}

#[tokio::test]
async fn a_batch_beyond_the_largest_request_is_not_queued() {
    let receiver = Receiver::start([]).await;
    let mut config = config(receiver.endpoint());
    config.max_request_bytes = 100_000;
    let exporter = start(&config);
    assert_eq!(exporter.push(items::heavy(0, 100_001)), Err(DropCause::TooLarge));
    exporter.push(items::heavy(1, 99_000)).unwrap();
    let counts = settled(&exporter, Signal::Logs).await;
    assert_eq!((counts.sent, counts.dropped(DropCause::TooLarge)), (1, 1));
}

#[tokio::test]
async fn compressed_bodies_decode() {
    for (compression, name) in [(Compression::Gzip, "gzip"), (Compression::Zstd, "zstd")] {
        let receiver = Receiver::start([]).await;
        let mut config = config(receiver.endpoint());
        config.compression = Some(compression);
        let exporter = start(&config);
        for signal in Signal::ALL {
            exporter.push(items::batch(signal, 0..500)).unwrap();
        }
        exporter.push(items::heavy(500, 3_000_000)).unwrap();
        let arrivals = receiver.wait(|arrivals| arrivals.len() == 4).await;
        assert!(arrivals.iter().all(|arrival| arrival.headers.get("grpc-encoding").unwrap() == name));
        for signal in Signal::ALL {
            assert_eq!(settled(&exporter, signal).await.dropped_total(), 0);
            assert_eq!(receiver.accepted(signal)[..500], (0..500).collect::<Vec<_>>());
        }
    }
}

#[tokio::test]
async fn headers_and_the_file_of_headers_arrive() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "authorization: Bearer first\n").unwrap();
    let receiver = Receiver::start([]).await;
    let mut config = config(receiver.endpoint());
    config.headers.0.insert("x-scope-orgid".into(), "tenant".into());
    config.traces.headers.0.insert("x-own".into(), "1".into());
    config.headers_file = Some(file.path().into());
    let exporter = start(&config);
    exporter.push(items::batch(Signal::Logs, 0..1)).unwrap();
    let arrivals = receiver.wait(|arrivals| arrivals.len() == 1).await;
    assert_eq!(arrivals[0].headers.get("x-scope-orgid").unwrap(), "tenant");
    assert_eq!(arrivals[0].headers.get("authorization").unwrap(), "Bearer first");
    assert!(arrivals[0].headers.get("x-own").is_none());
    let agent = arrivals[0].headers.get("user-agent").unwrap().to_str().unwrap();
    assert!(agent.starts_with("tarsier/"), "{agent}");

    // A token is rotated under a running exporter.
    std::fs::write(file.path(), "authorization: Bearer the-second\n").unwrap();
    exporter.push(items::batch(Signal::Traces, 0..1)).unwrap();
    exporter.push(items::batch(Signal::Logs, 1..2)).unwrap();
    let arrivals = receiver.wait(|arrivals| arrivals.len() == 3).await;
    for arrival in &arrivals[1..] {
        assert_eq!(arrival.headers.get("authorization").unwrap(), "Bearer the-second");
        assert_eq!(arrival.headers.contains_key("x-own"), arrival.signal == Signal::Traces);
    }
    assert_eq!(settled(&exporter, Signal::Logs).await.sent, 2);
}

#[tokio::test]
async fn signals_have_their_own_endpoints_and_switches() {
    let (common, tempo) = (Receiver::start([]).await, Receiver::start([]).await);
    let mut config = config(common.endpoint());
    config.traces.endpoint = Some(tempo.endpoint());
    config.metrics.enabled = false;
    let exporter = start(&config);
    assert!(!exporter.takes(Signal::Metrics));
    for signal in Signal::ALL {
        exporter.push(items::batch(signal, 0..3)).unwrap();
    }
    let ledger =
        wait(&exporter, |ledger| ledger.of(Signal::Logs).sent + ledger.of(Signal::Traces).sent == 6).await;
    assert_eq!(ledger.of(Signal::Metrics).enqueued, 0);
    assert_eq!((common.accepted(Signal::Logs).len(), common.accepted(Signal::Traces).len()), (3, 0));
    assert_eq!(tempo.accepted(Signal::Traces).len(), 3);
}

#[tokio::test]
async fn a_body_that_is_not_protobuf_is_refused_and_counted() {
    let receiver = Receiver::start([]).await;
    let exporter = start(&config(receiver.endpoint()));
    exporter.push(Batch { signal: Signal::Logs, body: vec![0xff; 64].into(), items: 5 }).unwrap();
    let counts = settled(&exporter, Signal::Logs).await;
    assert_eq!((counts.dropped(DropCause::Refused), counts.sent), (5, 0));
    assert!(receiver.arrivals().is_empty());
}
