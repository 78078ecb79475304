//! Alerts on their way out, through the channels that Falco's users know.
//!
//! [`line`](mod@line) makes Falco's text or JSON of an alert; `config` and `append` are the section of the configuration.

pub mod append;
mod config;
pub mod line;

pub use config::{AlertsConfig, ConfigError, PriorityName, StdoutOutput};
