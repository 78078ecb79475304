//! The channels of alerts against who really takes them: files that are rotated, a log daemon's socket, child processes,
//! HTTP servers with and without TLS. What is told arrives in order, or is counted by cause; nobody who stands still
//! holds up whoever tells.
#![expect(clippy::unwrap_used, reason = "clippy exempts test functions, but not what they call")]

#[path = "../exporters/authority.rs"]
mod authority;
mod change;
mod file;
mod http;
mod program;
mod server;
mod syslog;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tarsier::config::units::{ByteSize, Duration as Setting};
use tarsier::export::Counts;
use tarsier::export::alerts::{AlertsConfig, Channels};
use tarsier_core::event::alert::{Alert, Priority};
use tarsier_core::event::{Workload, WorkloadKind};
use tokio::runtime::Handle;

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// As shipped, with less patience.
fn config() -> AlertsConfig {
    AlertsConfig { output_timeout: Setting::from_secs(5), ..AlertsConfig::default() }
}

fn start(config: &AlertsConfig) -> Channels {
    Channels::start(config, "node-1", &Handle::current()).expect("the channels start")
}

static HOST: LazyLock<Workload> = LazyLock::new(|| Workload {
    index: 0,
    kind: WorkloadKind::Host,
    name: "host".into(),
    container_id: "".into(),
    runtime: None,
    pod_uid: None,
    cgroup_path: "/".into(),
});

/// Tells an alert that says `message`.
fn tell(channels: &Channels, message: &str) {
    channels.tell(&Alert {
        time_unix_ns: 1_795_774_272_000_000_345,
        number: 1,
        rule: "Test",
        description: "",
        priority: Priority::Warning,
        source: "syscall",
        tags: &[],
        ruleset: "ab",
        message,
        fields: &[],
        suppressed: 0,
        workload: &HOST,
        process: None,
        trace: None,
    });
}

/// Messages of lines of text, which stand behind time and priority.
fn messages(text: &str) -> Vec<&str> {
    text.lines().map(|line| line.split_once(": Warning ").map_or(line, |(_, message)| message)).collect()
}

/// The ledger of the only channel.
fn counts(channels: &Channels) -> Counts {
    let states = channels.states();
    assert_eq!(states.len(), 1);
    assert!(states[0].counts.balanced(), "{:?}", states[0].counts);
    states[0].counts
}

/// Waits until `enough` holds.
async fn until(what: &str, mut enough: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !enough() {
        assert!(begun.elapsed() < PATIENCE, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until `sent` alerts have been sent.
async fn sent(channels: &Channels, sent: u64) {
    until(&format!("{sent} sent, not {:?}", counts(channels)), || counts(channels).sent == sent).await;
}

/// More than a pipe holds.
const NARROW: usize = 256 << 10;

/// With room for few alerts, and little patience.
fn narrow(config: AlertsConfig) -> AlertsConfig {
    AlertsConfig {
        queue_bytes: ByteSize::from_bytes(NARROW as u64),
        output_timeout: Setting::from_millis(100),
        ..config
    }
}

/// Tells far more than fits to somebody who takes nothing: nobody waits, and all is accounted for.
async fn overflow(channels: &Channels) {
    // Until whatever lies between is full, and an attempt has failed.
    let mut told = 0;
    while counts(channels).retries == 0 {
        tell(channels, &"x".repeat(30_000));
        told += 1;
        until("taken or not", || counts(channels).sent == told || counts(channels).retries > 0).await;
    }
    let begun = Instant::now();
    for number in 0..20_000 {
        tell(channels, &format!("{number} {}", "x".repeat(1000)));
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(5), "telling took {took:?}");
    let counts = counts(channels);
    assert_eq!(counts.enqueued, 20_000 + told);
    assert!(counts.dropped(tarsier::export::DropCause::QueueFull) > 18_000, "{counts:?}");
    assert!(channels.states()[0].queue_bytes <= NARROW);
    let begun = Instant::now();
    let last = channels.shutdown(Duration::from_millis(500)).await[0];
    assert!(begun.elapsed() < Duration::from_secs(3), "the shutdown took {:?}", begun.elapsed());
    assert!(last.counts.balanced() && last.counts.queued + last.counts.in_flight == 0, "{:?}", last.counts);
    assert!(last.counts.dropped(tarsier::export::DropCause::Shutdown) > 0, "{:?}", last.counts);
}
