//! Files, and what may stand in their place.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tarsier::export::DropCause;
use tarsier::export::alerts::{AlertsConfig, FileOutput};

use crate::{config, counts, messages, narrow, overflow, sent, start, tell, until};

pub(crate) fn to(path: &Path, keep_alive: bool) -> AlertsConfig {
    let filename = path.to_path_buf();
    let file_output = FileOutput { enabled: true, filename, keep_alive, json_output: None };
    AlertsConfig { file_output, ..config() }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn lines_go_on_in_a_new_file_after_rotation() {
    for keep_alive in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let (path, old) = (directory.path().join("events.txt"), directory.path().join("events.txt.1"));
        fs::write(&path, "before\n").unwrap();
        let channels = start(&to(&path, keep_alive));
        tell(&channels, "one");
        tell(&channels, "two\nthree");
        sent(&channels, 2).await;
        fs::rename(&path, &old).unwrap();
        tell(&channels, "four");
        sent(&channels, 3).await;
        fs::remove_file(&path).unwrap();
        tell(&channels, "five");
        sent(&channels, 4).await;
        assert_eq!(messages(&read(&old)), ["before", "one", "two\\nthree"]);
        assert_eq!(messages(&read(&path)), ["five"]);
        assert_eq!(counts(&channels).retries, 0);
    }
}

#[tokio::test]
async fn one_channel_in_json_and_a_text_for_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.json");
    let mut config = to(&path, false);
    config.file_output.json_output = Some(true);
    let channels = start(&config);
    tell(&channels, "one");
    sent(&channels, 1).await;
    let line: serde_json::Value = serde_json::from_str(&read(&path)).unwrap();
    assert_eq!((&line["hostname"], &line["priority"]), (&"node-1".into(), &"Warning".into()));
}

#[tokio::test]
async fn what_cannot_be_written_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("later/events.txt");
    let channels = start(&to(&path, true));
    tell(&channels, "one");
    tell(&channels, "two");
    until("a second attempt", || counts(&channels).retries > 0).await;
    fs::create_dir(directory.path().join("later")).unwrap();
    sent(&channels, 2).await;
    assert_eq!(messages(&read(&path)), ["one", "two"]);
}

#[tokio::test]
async fn a_full_disk_is_counted_once_its_time_is_over() {
    let mut config = to(Path::new("/dev/full"), true);
    config.retry_for = tarsier::config::units::Duration::from_millis(1);
    let channels = start(&config);
    tell(&channels, "one");
    until("given up", || counts(&channels).dropped(DropCause::RetryExhausted) == 1).await;
}

fn pipe(directory: &Path) -> PathBuf {
    let path = directory.join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    path
}

#[tokio::test]
async fn a_named_pipe_that_nobody_reads_yet() {
    let directory = tempfile::tempdir().unwrap();
    let path = pipe(directory.path());
    let channels = start(&to(&path, true));
    tell(&channels, "one");
    until("a second attempt", || counts(&channels).retries > 0).await;
    // Opening waits for the writer: on a thread of its own.
    let reader = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(fs::File::open(path).unwrap()).read_line(&mut line).unwrap();
        line
    });
    assert_eq!(messages(&reader.await.unwrap()), ["one"]);
}

#[tokio::test]
async fn a_line_that_was_torn_does_not_run_into_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let path = pipe(directory.path());
    // Open for both: neither end waits for the other.
    let mut both = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let channels = start(&narrow(to(&path, true)));
    let long = "x".repeat(200_000);
    tell(&channels, &long);
    until("a first attempt that failed", || counts(&channels).requests > 1).await;
    let taken = tokio::task::spawn_blocking(move || {
        // What was torn ends with a line break, and the whole line follows: more than fits into the pipe at once.
        let (mut text, mut room) = (Vec::new(), vec![0; 1 << 20]);
        while !text.ends_with(b"done\n") {
            let length = both.read(&mut room).unwrap();
            text.extend_from_slice(&room[..length]);
        }
        String::from_utf8(text).unwrap()
    });
    tell(&channels, "done");
    let text = taken.await.unwrap();
    let found = messages(&text);
    assert_eq!(found.last(), Some(&"done"));
    assert!(found.contains(&long.as_str()), "the whole line is there");
    assert!(
        found[..found.len() - 1]
            .iter()
            .all(|part| part.chars().all(|letter| letter == 'x') && !part.is_empty())
    );
}

#[tokio::test]
async fn a_pipe_whose_reader_stands_still_holds_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let path = pipe(directory.path());
    let _both = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    overflow(&start(&narrow(to(&path, true)))).await;
}
