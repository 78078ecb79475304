//! Channels that are others while alerts are told: none is lost, and what is counted stays counted.

use std::fs;
use std::io::{BufRead, BufReader};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tarsier::config::units::Duration as Setting;
use tarsier::export::alerts::{AlertsConfig, Channels};
use tokio::runtime::Handle;

use crate::file::to;
use crate::{counts, messages, sent, start, tell, until};

fn change(channels: &Channels, config: &AlertsConfig) {
    let change = channels.prepare(config, "node-1", &Handle::current()).unwrap();
    channels.install(change);
}

#[tokio::test]
async fn a_channel_that_is_no_longer_wanted_sends_what_it_holds() {
    let directory = tempfile::tempdir().unwrap();
    let (slow, quick) = (directory.path().join("slow"), directory.path().join("quick"));
    // Nobody reads this yet.
    mknodat(CWD, &slow, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let narrow = AlertsConfig { output_timeout: Setting::from_millis(50), ..to(&slow, true) };
    let channels = start(&narrow);
    for message in ["one", "two", "three"] {
        tell(&channels, message);
    }
    until("an attempt", || counts(&channels).requests > 0).await;
    change(&channels, &to(&quick, true));
    tell(&channels, "four");
    sent(&channels, 1).await;
    assert_eq!(messages(&fs::read_to_string(&quick).unwrap()), ["four"]);
    let held = counts(&channels);
    assert_eq!((held.enqueued, held.queued + held.in_flight), (4, 3), "of both, in one ledger");

    // Now somebody does.
    let reader = tokio::task::spawn_blocking(move || {
        BufReader::new(fs::File::open(slow).unwrap()).lines().take(3).map(Result::unwrap).collect::<Vec<_>>()
    });
    sent(&channels, 4).await;
    assert_eq!(messages(&reader.await.unwrap().join("\n")), ["one", "two", "three"]);
    // What is as it was goes on: its file is not made anew though it is gone.
    change(&channels, &to(&quick, true));
    tell(&channels, "five");
    sent(&channels, 5).await;
    assert_eq!(messages(&fs::read_to_string(&quick).unwrap()), ["four", "five"]);
    // And without any channel what was counted stays.
    change(&channels, &AlertsConfig::default());
    tell(&channels, "six");
    until("all is settled", || counts(&channels).sent == 5).await;
    change(&channels, &AlertsConfig::default());
    let last = counts(&channels);
    assert_eq!((last.enqueued, last.sent, channels.states()[0].queue_bytes), (5, 5, 0));
}

#[tokio::test]
async fn what_cannot_be_started_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.txt");
    let config = to(&path, false);
    let channels = start(&config);
    let mut wrong = config;
    wrong.http_output.enabled = true;
    wrong.http_output.url = "https://localhost/".into();
    wrong.http_output.ca_cert = Some(directory.path().join("none"));
    let error = channels.prepare(&wrong, "node-1", &Handle::current()).unwrap_err().to_string();
    assert!(error.contains("http_output."), "{error}");
    tell(&channels, "one");
    sent(&channels, 1).await;
    assert_eq!(messages(&fs::read_to_string(&path).unwrap()), ["one"]);
}
