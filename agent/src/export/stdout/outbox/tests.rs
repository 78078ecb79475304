//! What is read is what was not dropped, in whole lines.

use std::io::{BufRead as _, BufReader, Read as _};
use std::time::Duration;

use super::*;

fn line(number: usize) -> Vec<u8> {
    format!("{number:08} {}\n", "x".repeat(number % 9_000)).into_bytes()
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(20)
}

#[test]
fn what_is_read_is_what_was_not_dropped_in_whole_lines() {
    const LINES: usize = 20_000;
    let (reader, writer) = io::pipe().unwrap();
    let mut outbox = Outbox::start(writer, 256 * 1024).unwrap();
    // Nobody reads yet: most of it is dropped.
    for number in 0..LINES {
        outbox.write_all(&line(number)).unwrap();
    }
    let (counts, bytes) = outbox.counts();
    assert!(counts.balanced() && counts.dropped(DropCause::QueueFull) > 0, "{counts:?}");
    assert!(bytes <= 256 * 1024, "{bytes} bytes are held");
    let reading = std::thread::spawn(move || {
        let lines = BufReader::new(reader).split(b'\n').map(Result::unwrap);
        lines
            .map(|found| {
                let number = std::str::from_utf8(&found[..8]).unwrap().parse().unwrap();
                assert_eq!([&found[..], b"\n"].concat(), line(number));
                number
            })
            .collect::<Vec<usize>>()
    });
    let counts = outbox.close(soon());
    let read = reading.join().unwrap();
    assert!(read.is_sorted() && *read.last().unwrap() == LINES - 1, "the newest are kept");
    assert_eq!(counts.sent, read.len() as u64);
    assert_eq!(counts.enqueued, LINES as u64);
    assert_eq!(counts.sent + counts.dropped(DropCause::QueueFull), LINES as u64);
}

#[test]
fn a_reader_that_never_reads_costs_the_deadline_and_tears_nothing() {
    let (mut reader, writer) = io::pipe().unwrap();
    let mut outbox = Outbox::start(writer, 1 << 20).unwrap();
    let mut lines = 0;
    for number in (0..400_000).filter(|number| number % 9_000 < 4_000) {
        outbox.write_all(&line(number)).unwrap();
        lines += 1;
    }
    let counts = outbox.close(Instant::now() + Duration::from_millis(50));
    assert!(counts.balanced() && counts.dropped(DropCause::Shutdown) > 0, "{counts:?}");
    assert_eq!(counts.enqueued, lines);
    // The thread has nothing more to write, and ends with its end of the pipe.
    let mut read = Vec::new();
    reader.read_to_end(&mut read).unwrap();
    assert_eq!(read.iter().filter(|byte| **byte == b'\n').count() as u64, counts.sent);
    assert_eq!(read.last(), Some(&b'\n'));
}

#[test]
fn a_reader_that_is_gone_is_told_to_whoever_writes() {
    let (reader, writer) = io::pipe().unwrap();
    drop(reader);
    let mut outbox = Outbox::start(writer, 1 << 20).unwrap();
    outbox.write_all(b"one\n").unwrap();
    let counts = outbox.close(soon());
    assert_eq!(outbox.flush().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!((counts.sent, counts.dropped(DropCause::Shutdown)), (0, 1));
    assert_eq!(outbox.write_all(b"two\n").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert!(outbox.counts().0.balanced());
}

#[test]
fn small_writes_share_a_chunk_and_chunks_are_used_again() {
    let mut state = State::new(1 << 20);
    for _ in 0..1_000 {
        state.push(b"0123456789\n").unwrap();
    }
    assert_eq!((state.chunks.len(), state.bytes), (1, CHUNK));
    let chunk = state.chunks.pop_front().unwrap();
    let place = chunk.text.as_ptr();
    state.release(chunk.text);
    state.push(b"again\n").unwrap();
    assert_eq!(state.chunks[0].text.as_ptr(), place);
}
