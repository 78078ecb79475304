//! The agent's own log: standard error, text or JSON.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use super::style::Style;
use crate::config::{Log, LogFormat};

/// Sets up the log of this process. Only the first call counts.
pub(super) fn init(config: &Log) {
    let level: LevelFilter = config.level.name().parse().unwrap_or(LevelFilter::INFO);
    // Libraries below us say at info what only concerns us at debug.
    let libraries = level.min(LevelFilter::WARN);
    let filter = EnvFilter::builder()
        .with_default_directive(libraries.into())
        .parse_lossy(format!("tarsier={level},tarsier_core={level}"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let builder = builder.with_ansi(Style::of(&io::stderr()).is_on());
    // An error means that a log is set up already, which tests do.
    let _ = match config.format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}
