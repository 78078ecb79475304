//! Alerts appended to a file.
//!
//! Rotation needs no signal: without `keep_alive` the file is opened for each alert, and with it the name is looked at
//! before each, and opened again if it means another file. A named pipe may stand in its place: who reads it has as long
//! as an attempt may take.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::channel::SIGNAL;
use crate::export::Signal;
use crate::export::worker::{Accepted, Destination, Failure};

/// Alerts appended to a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FileOutput {
    /// Whether there is such a file.
    pub enabled: bool,
    /// The file. It is made if it is not there; a named pipe will do.
    pub filename: PathBuf,
    /// Keep the file open between alerts. Once it is renamed or removed, alerts go to a new file of this name
    /// all the same.
    pub keep_alive: bool,
    /// JSON or text here, whatever `alerts.json_output` says.
    pub json_output: Option<bool>,
}

impl Default for FileOutput {
    fn default() -> Self {
        let filename = PathBuf::from("./events.txt");
        Self { enabled: false, filename, keep_alive: false, json_output: None }
    }
}

/// The channel's end.
pub(super) struct FileChannel {
    /// [`None`] while a blocking thread has it.
    log: Option<Log>,
}

/// The file and what is known of it.
struct Log {
    path: PathBuf,
    keep: bool,
    timeout: Duration,
    open: Option<File>,
    /// The last line lacks its end: the next one must not continue it.
    torn: bool,
}

impl FileChannel {
    pub(super) fn new(config: &FileOutput, timeout: Duration) -> Self {
        let (path, keep) = (config.filename.clone(), config.keep_alive);
        Self { log: Some(Log { path, keep, timeout, open: None, torn: false }) }
    }
}

impl Destination for FileChannel {
    fn name(&self) -> &'static str {
        "alerts_file"
    }

    fn signal(&self) -> Signal {
        SIGNAL
    }

    async fn send(&mut self, line: Bytes) -> Result<Accepted, Failure> {
        let Some(mut log) = self.log.take() else {
            return Err(Failure::again("the writing thread panicked"));
        };
        // A disk may take its time.
        let written = tokio::task::spawn_blocking(move || {
            let written = log.append(&line);
            (log, written)
        });
        match written.await {
            Ok((log, written)) => {
                let path = log.path.display().to_string();
                self.log = Some(log);
                match written {
                    Ok(()) => Ok(Accepted::default()),
                    Err(error) => Err(Failure::again(format!("{path}: {error}"))),
                }
            }
            Err(error) => Err(Failure::again(error.to_string())),
        }
    }

    async fn close(self) {}
}

impl Log {
    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let mut file = self.file()?;
        let end = Instant::now() + self.timeout;
        if self.torn {
            write_whole(&mut file, b"\n", end).map_err(|torn| torn.error)?;
            self.torn = false;
        }
        let written = write_whole(&mut file, line, end);
        match written {
            Ok(()) if self.keep => self.open = Some(file),
            Ok(()) => {}
            Err(Torn { any, error }) => {
                self.torn = any;
                return Err(error);
            }
        }
        Ok(())
    }

    /// The file that the name means now.
    fn file(&mut self) -> io::Result<File> {
        if let Some(file) = self.open.take()
            && let (Ok(own), Ok(named)) = (file.metadata(), std::fs::metadata(&self.path))
            && (own.dev(), own.ino()) == (named.dev(), named.ino())
        {
            return Ok(file);
        }
        let nonblocking = libc::O_NONBLOCK | libc::O_NOCTTY;
        OpenOptions::new().append(true).create(true).custom_flags(nonblocking).open(&self.path)
    }
}

/// A write that failed, and whether a part of the line is there.
struct Torn {
    any: bool,
    error: io::Error,
}

/// Writes a line by one call as a rule, so that lines of several writers stay whole. A pipe may take its time until
/// `end`.
fn write_whole(file: &mut File, line: &[u8], end: Instant) -> Result<(), Torn> {
    let mut rest = line;
    while !rest.is_empty() {
        let any = rest.len() < line.len();
        match file.write(rest) {
            Ok(0) => return Err(Torn { any, error: io::ErrorKind::WriteZero.into() }),
            Ok(written) => rest = rest.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                wait_for_room(file, end).map_err(|error| Torn { any, error })?;
            }
            Err(error) => return Err(Torn { any, error }),
        }
    }
    Ok(())
}

fn wait_for_room(file: &File, end: Instant) -> io::Result<()> {
    let left = end.saturating_duration_since(Instant::now());
    let left = Timespec::try_from(left).map_err(|_| io::ErrorKind::InvalidInput)?;
    match retry_on_intr(|| poll(&mut [PollFd::new(file, PollFlags::OUT)], Some(&left)))? {
        0 => Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads")),
        _ => Ok(()),
    }
}
