//! Captures by boundary: what is written is read, whatever was cut off is missed and nothing else, a
//! damaged byte never becomes another event, and nothing secret is in the file.

use std::io::Write;
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use tarsier_abi::exec::{ArgsRecord, ExecRecord};
use tarsier_abi::tcp::{SeedRecord, SweepSlot, Tuple};
use tarsier_abi::{Header, Sensor, Tail, TaskKey};
use tarsier_core::encode::redact::{HIDDEN, RedactConfig, Redactor};
use zerocopy::{FromZeros, IntoBytes};

use super::*;
use crate::config::Config;
use crate::pipeline::Offline;

mod abi;
mod files;
mod secrets;

/// A process of the tests.
fn task(tgid: u32) -> TaskKey {
    TaskKey { start_boottime: 1_000_000 + u64::from(tgid), tgid, exec: 1 }
}

/// An exec record with the inline arguments `args` of `args_bytes` bytes in all.
fn exec_record(seq: u32, tgid: u32, args: &[u8], args_bytes: usize) -> Vec<u8> {
    let exe = b"tool\0bin\0usr\0";
    let mut record = ExecRecord::new_zeroed();
    record.header = Header { sensor: Sensor::Exec as u8, op: 0, cpu: 0, seq, boot_ns: 5_000_000_000 };
    record.task = task(tgid);
    record.comm[..4].copy_from_slice(b"tool");
    record.args_bytes = args_bytes as u32;
    let start = size_of::<ExecRecord>();
    record.exe = Tail { offset: start as u16, len: exe.len() as u16 };
    record.args = Tail { offset: (start + exe.len()) as u16, len: args.len() as u16 };
    [record.as_bytes(), exe, args].concat()
}

/// A side record: arguments from `position` on.
fn args_record(seq: u32, tgid: u32, position: usize, bytes: &[u8]) -> Vec<u8> {
    let header = Header { sensor: Sensor::Exec as u8, op: 1, cpu: 0, seq, boot_ns: 5_000_000_001 };
    let record = ArgsRecord { header, task: task(tgid), position: position as u32, len: bytes.len() as u32 };
    [record.as_bytes(), bytes].concat()
}

fn about() -> About {
    About {
        tarsier: "test".into(),
        abi: tarsier_abi::ABI,
        cpus: 4,
        socket_cgroups: true,
        host_name: "node".into(),
        began: Time { boot_ns: 4_000_000_000, unix_offset_ns: 1_700_000_000_000_000_000 },
        redacted: true,
        ..About::default()
    }
}

fn redactor() -> Redactor {
    Redactor::new(&RedactConfig::default()).unwrap()
}

fn time(boot_ns: u64) -> Time {
    Time { boot_ns, unix_offset_ns: 1_700_000_000_000_000_000 }
}

/// The file that holds `frames`.
fn record(frames: &[Frame<'_>]) -> Vec<u8> {
    let mut recorder = Recorder::begin(Vec::new(), &about(), Some(redactor()), None).unwrap();
    for frame in frames {
        assert_eq!(recorder.frame(frame).unwrap(), Cut::No);
    }
    recorder.finish(0).unwrap().0
}

/// The frames of a file, each as its bytes, and how it ended.
fn read(file: &[u8]) -> Result<(Vec<Vec<u8>>, Ending), ReadError> {
    let mut reader = Reader::new(file)?;
    let mut frames = Vec::new();
    while let Some(frame) = reader.next_frame()? {
        frames.push(bytes_of(&frame));
    }
    Ok((frames, reader.ending().unwrap()))
}

fn bytes_of(frame: &Frame<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.write_to(&mut bytes);
    bytes
}

/// What the pipeline prints for frames.
fn lines(feed: impl FnOnce(&mut Offline)) -> String {
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);
    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let shared = Shared::default();
    let mut offline =
        Offline::new(&about(), &Config::default(), Some(Box::new(shared.clone())), None).unwrap();
    feed(&mut offline);
    let bytes = shared.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}
