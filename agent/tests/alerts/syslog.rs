//! A log daemon's socket.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use tarsier::config::units::Duration as Setting;
use tarsier::export::DropCause;
use tarsier::export::alerts::{AlertsConfig, SyslogOutput};

use crate::{PATIENCE, config, counts, narrow, overflow, sent, start, tell, until};

fn to(socket: &Path) -> AlertsConfig {
    let socket = socket.to_path_buf();
    let syslog_output = SyslogOutput { enabled: true, socket, ..SyslogOutput::default() };
    AlertsConfig { syslog_output, ..config() }
}

fn daemon(path: &Path) -> UnixDatagram {
    let socket = UnixDatagram::bind(path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

async fn receive(socket: &UnixDatagram) -> String {
    let socket = socket.try_clone().unwrap();
    let read = tokio::task::spawn_blocking(move || {
        let mut room = vec![0; 65_536];
        let length = socket.recv(&mut room).unwrap();
        String::from_utf8(room[..length].to_vec()).unwrap()
    });
    read.await.unwrap()
}

#[tokio::test]
async fn one_datagram_for_each_alert_also_to_a_daemon_that_was_started_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let first = daemon(&path);
    let channels = start(&to(&path));
    tell(&channels, "one\nand more");
    let message = receive(&first).await;
    // `<12>`: facility user, priority warning. Then the time of now, the name, and the line without its end.
    let (header, line) = message.split_at("<12>Nov 27 10:11:12 tarsier: ".len());
    assert!(header.starts_with("<12>") && header.ends_with(" tarsier: "), "{message}");
    assert!(line.ends_with(": Warning one\\nand more"), "{message}");
    drop(first);
    std::fs::remove_file(&path).unwrap();
    tell(&channels, "two");
    until("a second attempt", || counts(&channels).retries > 0).await;
    let second = daemon(&path);
    assert!(receive(&second).await.ends_with(": Warning two"));
    sent(&channels, 2).await;
}

#[tokio::test]
async fn a_daemon_that_reads_nothing_holds_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let _daemon = daemon(&path);
    overflow(&start(&narrow(to(&path)))).await;
}

#[tokio::test]
async fn no_daemon_at_all_and_a_message_that_is_too_long_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let channels = start(&AlertsConfig { retry_for: Setting::from_millis(1), ..to(&path) });
    tell(&channels, "one");
    until("given up", || counts(&channels).dropped(DropCause::RetryExhausted) == 1).await;
    let _daemon = daemon(&path);
    tell(&channels, &"x".repeat(2 << 20));
    until("refused", || counts(&channels).dropped(DropCause::Refused) == 1).await;
    channels.shutdown(Duration::from_secs(1)).await;
    assert_eq!(counts(&channels).sent, 0);
}
