//! Captures: a file that anybody may send, and the pipeline behind it.

use crate::capture::{About, Frame, Reader, Time, block};
use crate::config::Config;
use crate::export::Batch;
use crate::pipeline::{KeptLines, Offline};

/// A file, as it is and with every checksum and number put right: read to its end or to an error.
pub(super) fn file(input: &[u8]) {
    read(input);
    let mut mended = input.to_vec();
    block::mend(&mut mended);
    read(&mended);
}

fn read(file: &[u8]) {
    let Ok(mut reader) = Reader::new(file) else { return };
    let about = reader.about();
    assert_eq!(about.abi, tarsier_abi::ABI);
    let mut bytes = Vec::new();
    while let Ok(Some(frame)) = reader.next_frame() {
        bytes.clear();
        frame.write_to(&mut bytes);
    }
}

/// Frames, one behind the other, through all stages of the agent. What is read is written again as it was;
/// lines are JSON; no stage panics.
pub(super) fn pipeline(input: &[u8]) {
    run(input, |_| {});
}

/// The same; `requests` takes the OTLP requests.
pub(super) fn run(input: &[u8], requests: impl FnMut(Batch) + Send + 'static) {
    let about = About { cpus: 4, socket_cgroups: true, ..About::default() };
    let mut config = Config::default();
    // Compiling its patterns takes longer than all else; `exec` fuzzes it.
    config.redaction.enabled = false;
    config.process.max_entries = 16;
    config.flows.max_connections = 16;
    config.metrics.series_limit = 4;
    let lines = KeptLines::default();
    let mut pipeline = Offline::new(&about, &config, Some(Box::new(lines.clone())), Some(Box::new(requests)))
        .expect("no pattern, no error");
    let (mut rest, mut slots, mut written) = (input, Vec::new(), Vec::new());
    while let Ok((frame, after)) = Frame::read_from(rest, &mut slots) {
        written.clear();
        frame.write_to(&mut written);
        assert!(rest.starts_with(&written), "read and written again");
        pipeline.feed(&frame);
        if matches!(frame, Frame::Finish(_)) {
            break;
        }
        let read = rest.len() - after.len();
        rest = &rest[read..];
    }
    pipeline.feed(&Frame::End);
    pipeline.feed(&Frame::Finish(Time { boot_ns: u64::MAX, unix_offset_ns: 0 }));
    assert_eq!(pipeline.panicked(), 0);
    drop(pipeline);
    for line in lines.take().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let value: Result<serde_json::Value, _> = serde_json::from_slice(line);
        assert!(value.is_ok_and(|value| value.is_object()), "{}", String::from_utf8_lossy(line));
    }
}
