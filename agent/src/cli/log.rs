//! The agent's own log: standard error, text or JSON.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::style::Style;
use crate::config::{Log, LogFormat};
use crate::export::stdout::Outbox;
use crate::pipeline::Summary;

/// Lines that wait for who reads standard error: the agent never does.
static LINES: OnceLock<Outbox> = OnceLock::new();
/// Most memory for them.
const MAX_BYTES: usize = 1 << 20;
/// How long the end waits for their reader.
const PATIENCE: Duration = Duration::from_millis(500);

/// Sets up the log of this process. Only the first call counts. The lines that wait, if they need not be
/// waited for.
pub(super) fn init(config: &Log) -> Option<Outbox> {
    let level: LevelFilter = config.level.name().parse().unwrap_or(LevelFilter::INFO);
    // Libraries below us say at info what only concerns us at debug.
    let libraries = level.min(LevelFilter::WARN);
    let filter = EnvFilter::builder()
        .with_default_directive(libraries.into())
        .parse_lossy(format!("tarsier={level},tarsier_core={level}"));
    let lines = start();
    let writer = move || Writer(LINES.get().cloned());
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let builder = builder.with_ansi(Style::of(&io::stderr()).is_on()).log_internal_errors(false);
    // An error means that a log is set up already, which tests do.
    let _ = match config.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    lines
}

/// The thread that writes; `None`: there is no thread to be had, and lines are written by who has them.
fn start() -> Option<Outbox> {
    if LINES.get().is_none() {
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned().ok()?);
        // Somebody else may have been faster: then this one ends with nothing to write.
        if let Err(second) = LINES.set(Outbox::start(stderr, MAX_BYTES).ok()?) {
            second.close(Instant::now());
        }
    }
    LINES.get().cloned()
}

/// Says what rules came to: in the log if that is JSON, else as lines for people, where the log goes.
pub(super) fn summary(config: &Log, summary: &Summary) {
    if !tracing::enabled!(tracing::Level::INFO) {
        return;
    }
    match config.format {
        LogFormat::Json => summary.log(),
        LogFormat::Text => say(&summary.to_string()),
    }
}

/// Says something on standard error, behind all that was logged: whole lines.
pub(super) fn say(lines: &str) {
    // It never fails: nobody could be told.
    let _ = Writer(LINES.get().cloned()).write(lines.as_bytes());
}

/// Waits a little until all that was logged is written: to be called before the process ends or says something
/// itself. Nothing is logged after it.
pub(super) fn close() {
    if let Some(lines) = LINES.get() {
        lines.close(Instant::now() + PATIENCE);
    }
}

/// Takes whole lines. It never fails: nobody could be told.
struct Writer(Option<Outbox>);

impl Write for Writer {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Some(lines) => drop(lines.write(line)),
            None => drop(io::stderr().write_all(line)),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
