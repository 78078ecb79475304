//! The contract of every network exporter, against real servers: what is sent arrives once and in order,
//! what fails is retried or counted, memory stays bounded, and the ledger's equation always holds.
#![expect(clippy::unwrap_used, reason = "clippy exempts test functions, but not what they call")]

mod authority;
mod connection;
mod delivery;
mod items;
mod outage;
mod receiver;
mod tls;

use std::time::{Duration, Instant};

use tarsier::export::otlp::{OtlpConfig, OtlpExporter};
use tarsier::export::{Counts, Signal, Snapshot};
use tokio::runtime::Handle;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A configuration for tests: short backoffs, everything else as shipped.
fn config(endpoint: String) -> OtlpConfig {
    let mut config = OtlpConfig { endpoint: Some(endpoint), ..OtlpConfig::default() };
    config.retry.initial = Duration::from_millis(5);
    config.retry.max = Duration::from_millis(50);
    config
}

fn start(config: &OtlpConfig) -> OtlpExporter {
    OtlpExporter::start(config, &Handle::current()).expect("the exporter starts")
}

/// Waits until `enough` holds of the ledger; every ledger seen on the way must balance.
async fn wait(exporter: &OtlpExporter, enough: impl Fn(&Snapshot) -> bool) -> Snapshot {
    let begun = Instant::now();
    loop {
        let snapshot = exporter.stats();
        assert_balanced(&snapshot);
        if enough(&snapshot) {
            return snapshot;
        }
        assert!(begun.elapsed() < PATIENCE, "the ledger stays at {snapshot:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until nothing of a signal is queued or in flight.
async fn settled(exporter: &OtlpExporter, signal: Signal) -> Counts {
    let snapshot = wait(exporter, |ledger| ledger.of(signal).queued + ledger.of(signal).in_flight == 0).await;
    *snapshot.of(signal)
}

fn assert_balanced(snapshot: &Snapshot) {
    for signal in Signal::ALL {
        assert!(snapshot.of(signal).balanced(), "{signal:?}: {:?}", snapshot.of(signal));
    }
}

fn last_error(exporter: &OtlpExporter, signal: Signal) -> String {
    exporter.health(signal).and_then(|health| health.last_error).map(|error| error.text).unwrap_or_default()
}
