//! The endpoint is away, comes back, or never does.

use std::time::{Duration, Instant};

use tarsier::export::{DropCause, Signal};

use crate::receiver::{Absent, Answer, Receiver};
use crate::{assert_balanced, config, items, last_error, settled, start, wait};

#[tokio::test]
async fn what_was_queued_arrives_once_the_endpoint_is_there() {
    let absent = Absent::new();
    let exporter = start(&config(absent.endpoint()));
    for signal in Signal::ALL {
        for start in [0, 10, 20] {
            exporter.push(items::batch(signal, start..start + 10)).unwrap();
        }
    }
    let ledger = wait(&exporter, |ledger| ledger.signals.iter().all(|counts| counts.retries >= 2)).await;
    assert!(ledger.signals.iter().all(|counts| counts.sent == 0 && counts.dropped_total() == 0));
    let error = last_error(&exporter, Signal::Logs);
    assert!(error.contains("cannot connect") && error.contains("Connection refused"), "{error}");
    assert_eq!(exporter.health(Signal::Logs).unwrap().connected_since, None);

    let receiver = absent.appear();
    wait(&exporter, |ledger| ledger.signals.iter().all(|counts| counts.sent == 30)).await;
    for signal in Signal::ALL {
        assert_eq!(receiver.accepted(signal), (0..30).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn memory_is_bounded_and_the_newest_survive_an_outage() {
    let absent = Absent::new();
    let mut config = config(absent.endpoint());
    config.max_request_bytes = 64 << 10;
    config.queue.max_bytes = 512 << 10;
    let exporter = start(&config);
    for id in 0..400 {
        // Evicting is not an error of the batch that comes.
        exporter.push(items::heavy(id, 32 << 10)).unwrap();
        let ledger = exporter.stats();
        assert!(ledger.queue_bytes <= config.queue.max_bytes, "{ledger:?}");
        assert_balanced(&ledger);
        tokio::task::yield_now().await;
    }
    let receiver = absent.appear();
    let counts = settled(&exporter, Signal::Logs).await;
    assert_eq!(counts.sent + counts.dropped(DropCause::QueueFull), 400);
    assert!(counts.sent >= 14 && counts.sent <= 17, "{counts:?}");
    let mut arrived = receiver.accepted(Signal::Logs);
    // The first may be one that was in flight when the rest of its age was evicted.
    let newest: Vec<u64> = arrived.split_off(arrived.len() - 14);
    assert_eq!(newest, (386..400).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_signal_whose_backend_is_away_holds_up_no_other() {
    let (absent, receiver) = (Absent::new(), Receiver::start([]).await);
    let mut config = config(receiver.endpoint());
    config.metrics.endpoint = Some(absent.endpoint());
    config.max_request_bytes = 64 << 10;
    config.queue.max_bytes = 128 << 10;
    let exporter = start(&config);
    for start in 0..4000 {
        exporter.push(items::batch(Signal::Metrics, start * 100..start * 100 + 100)).unwrap();
    }
    for start in 0..50 {
        exporter.push(items::batch(Signal::Logs, start..start + 1)).unwrap();
    }
    assert_eq!(settled(&exporter, Signal::Logs).await.sent, 50);
    let ledger = exporter.stats();
    assert!(ledger.of(Signal::Metrics).dropped(DropCause::QueueFull) > 0);
    assert_eq!(ledger.of(Signal::Logs).dropped_total(), 0);
}

#[tokio::test]
async fn a_shutdown_flushes_what_is_queued() {
    let receiver = Receiver::start([]).await;
    let exporter = start(&config(receiver.endpoint()));
    for start in 0..300 {
        exporter.push(items::batch(Signal::Traces, start..start + 1)).unwrap();
    }
    let ledger = exporter.shutdown(crate::PATIENCE).await;
    assert_balanced(&ledger);
    assert_eq!((ledger.of(Signal::Traces).sent, ledger.of(Signal::Traces).dropped_total()), (300, 0));
    assert_eq!(receiver.accepted(Signal::Traces), (0..300).collect::<Vec<_>>());
    assert_eq!(exporter.push(items::batch(Signal::Traces, 0..1)), Err(DropCause::Shutdown));
    assert_balanced(&exporter.stats());
}

#[tokio::test]
async fn a_shutdown_without_a_backend_ends_at_its_deadline_and_counts_the_rest() {
    let absent = Absent::new();
    let mut config = config(absent.endpoint());
    config.retry.max = Duration::from_secs(30);
    let exporter = start(&config);
    for signal in Signal::ALL {
        exporter.push(items::batch(signal, 0..10)).unwrap();
        exporter.push(items::batch(signal, 10..20)).unwrap();
    }
    wait(&exporter, |ledger| ledger.signals.iter().all(|counts| counts.in_flight == 10)).await;
    let begun = Instant::now();
    let ledger = exporter.shutdown(Duration::from_millis(200)).await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_balanced(&ledger);
    for counts in ledger.signals {
        assert_eq!((counts.dropped(DropCause::Shutdown), counts.queued, counts.in_flight), (20, 0, 0));
    }
}

#[tokio::test]
async fn a_shutdown_cuts_a_long_backoff_short() {
    let receiver = Receiver::start([Answer::Refuse(tonic::Status::unavailable("not yet"))]).await;
    let mut config = config(receiver.endpoint());
    // So long that the random delay below it cannot end within the test.
    config.retry.initial = Duration::from_secs(100_000_000);
    config.retry.max = config.retry.initial;
    config.retry.max_elapsed = Duration::ZERO;
    let exporter = start(&config);
    exporter.push(items::batch(Signal::Logs, 0..10)).unwrap();
    receiver.wait(|arrivals| arrivals.len() == 1).await;
    let ledger = exporter.shutdown(crate::PATIENCE).await;
    assert_eq!(ledger.of(Signal::Logs).sent, 10);
}
