//! Alerts on their way out, through the channels that Falco's users know.
//!
//! [`line`](mod@line) makes Falco's text or JSON of an alert; `config` and `append` are the section of the
//! configuration. [`Channels::tell`] (any thread) → one `channel` each, with a queue of its own → `file`, `syslog`, `program`
//! or `http` (with `tls`), on the exporters' runtime. Standard output is not among them: its alerts stand among
//! the lines of events, in their order ([`stdout`](super::stdout)).
//!
//! Delivery is at least once: an attempt that failed half-way is made again.

use std::time::Duration;

use jiff::tz::TimeZone;
use tarsier_core::event::alert::Alert;
use tokio::runtime::Handle;
use tokio::time::Instant;

mod append;
mod channel;
mod config;
mod file;
mod http;
pub mod line;
mod program;
mod syslog;
mod tls;

pub use append::Addition;
pub use channel::ChannelState;
pub use config::{AlertsConfig, ConfigError, GroupConfig, PriorityName, StdoutOutput, ThrottleConfig};
pub use file::FileOutput;
pub use http::HttpOutput;
pub use program::ProgramOutput;
pub use syslog::SyslogOutput;

use channel::{Channel, Framing, Limits};
use file::FileChannel;
use http::HttpChannel;
use line::LineForm;
use program::ProgramChannel;
use syslog::{Header, SyslogChannel};

/// All channels that are enabled.
#[derive(Debug, Default)]
pub struct Channels {
    channels: Vec<Channel>,
}

impl Channels {
    /// Starts the channels on `runtime`. None waits for who is to take its alerts.
    ///
    /// # Errors
    /// A certificate or key cannot be used, or what [`AlertsConfig::check`] says.
    pub fn start(config: &AlertsConfig, host_name: &str, runtime: &Handle) -> Result<Self, ConfigError> {
        let zone = TimeZone::system();
        let form = |json: Option<bool>| LineForm::new(config, json, host_name, zone.clone());
        let limits = Limits {
            queue_bytes: usize::try_from(config.queue_bytes.get()).unwrap_or(usize::MAX),
            retry_for: config.retry_for.get(),
        };
        let timeout = config.output_timeout.get();
        let mut channels = Vec::new();
        let AlertsConfig { file_output, syslog_output, program_output, http_output, .. } = config;
        if file_output.enabled {
            let (end, form) = (FileChannel::new(file_output, timeout), form(file_output.json_output));
            channels.push(Channel::start(end, form, Framing::Newline, limits, runtime));
        }
        if syslog_output.enabled {
            let (end, form) = (SyslogChannel::new(syslog_output, timeout), form(syslog_output.json_output));
            let framing = Framing::Syslog(Header::new(syslog_output, zone.clone()));
            channels.push(Channel::start(end, form, framing, limits, runtime));
        }
        if program_output.enabled {
            let (end, form) =
                (ProgramChannel::new(program_output, timeout), form(program_output.json_output));
            channels.push(Channel::start(end, form, Framing::Newline, limits, runtime));
        }
        if http_output.enabled {
            let form = form(http_output.json_output);
            let end = HttpChannel::new(http_output, form.is_json(), timeout).map_err(|(key, problem)| {
                ConfigError { key: format!("http_output.{key}"), problem, fix: String::new() }
            })?;
            channels.push(Channel::start(end, form, Framing::None, limits, runtime));
        }
        Ok(Self { channels })
    }

    /// Queues an alert for every channel; never waits. What a channel does not take is in its ledger.
    pub fn tell(&self, alert: &Alert<'_>) {
        self.channels.iter().for_each(|channel| channel.tell(alert));
    }

    /// Has a program that is kept started anew, before the next alert. Files need nothing: a rotation is noticed.
    pub fn reopen(&self) {
        self.channels.iter().for_each(Channel::reopen);
    }

    /// Memory is short: halves the queues, see [`DropCause::Memory`](super::DropCause::Memory). Whether anything was given
    /// up.
    pub fn shed(&self) -> bool {
        // Each of them, also behind one that gave up something.
        self.channels.iter().filter(|channel| channel.shed()).count() > 0
    }

    /// There is memory again: the queues may hold what they are configured to.
    pub fn restore(&self) {
        self.channels.iter().for_each(Channel::restore);
    }

    /// The ledger of every channel now.
    pub fn states(&self) -> Vec<ChannelState> {
        self.channels.iter().map(Channel::state).collect()
    }

    /// Takes nothing more, sends what is queued for at most `deadline` and counts the rest as
    /// [`DropCause::Shutdown`](super::DropCause::Shutdown). What was unanswered at the deadline counts as lost although it
    /// may have arrived.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<ChannelState> {
        let end = Instant::now() + deadline;
        self.channels.iter().for_each(Channel::close);
        for channel in &self.channels {
            channel.flush(end).await;
        }
        self.states()
    }
}
