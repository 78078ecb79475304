//! Alerts on their way out, through the channels that Falco's users know.
//!
//! [`line`](mod@line) makes Falco's text or JSON of an alert; `config` and `append` are the section of the
//! configuration. [`Channels::tell`] (any thread) → one `channel` each, with a queue of its own → `file`, `syslog`, `program`
//! or `http` (with `tls`), on the exporters' runtime. Standard output is not among them: its alerts stand among
//! the lines of events, in their order ([`stdout`](super::stdout)).
//!
//! Delivery is at least once: an attempt that failed half-way is made again.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jiff::tz::TimeZone;
use tarsier_core::event::alert::Alert;
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::worker::Destination;

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

/// All channels that are enabled. Which these are may change while alerts are told.
#[derive(Debug, Default)]
pub struct Channels(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    running: Vec<Running>,
    /// Those that run no more, and have yet to send what they hold.
    former: Vec<Arc<Channel>>,
    /// What became of all alerts of those that are done.
    settled: Vec<ChannelState>,
}

/// A channel, and what it was made of: one that would be made of the same goes on.
#[derive(Clone, Debug)]
struct Running {
    channel: Arc<Channel>,
    /// The configuration without what is of other channels, or of none.
    made_of: AlertsConfig,
}

/// Channels that can take the place of others.
#[derive(Debug)]
pub struct Change(Vec<Running>);

/// Makes channels of a configuration.
struct Maker<'a> {
    config: &'a AlertsConfig,
    host_name: &'a str,
    zone: TimeZone,
    runtime: &'a Handle,
    before: &'a [Running],
    made: Vec<Running>,
}

impl Maker<'_> {
    fn form(&self, json: Option<bool>) -> LineForm {
        LineForm::new(self.config, json, self.host_name, self.zone.clone())
    }

    /// Starts a channel, unless there is one that was made of the same: what all share, and what `own` copies from the first
    /// configuration to the second.
    fn add<D: Destination + 'static>(
        &mut self,
        own: fn(&AlertsConfig, &mut AlertsConfig),
        json: Option<bool>,
        framing: Framing,
        end: impl FnOnce(Duration, &LineForm) -> Result<D, ConfigError>,
    ) -> Result<(), ConfigError> {
        let AlertsConfig { queue_bytes, retry_for, output_timeout, .. } = self.config;
        let mut made_of = AlertsConfig {
            priority: PriorityName::default(),
            append_output: Vec::new(),
            throttle: ThrottleConfig::default(),
            group: GroupConfig::default(),
            stdout_output: StdoutOutput::default(),
            file_output: FileOutput::default(),
            syslog_output: SyslogOutput::default(),
            program_output: ProgramOutput::default(),
            http_output: HttpOutput::default(),
            ..self.config.clone()
        };
        own(self.config, &mut made_of);
        if let Some(same) = self.before.iter().find(|running| running.made_of == made_of) {
            self.made.push(same.clone());
            return Ok(());
        }
        let limits = Limits {
            queue_bytes: usize::try_from(queue_bytes.get()).unwrap_or(usize::MAX),
            retry_for: retry_for.get(),
        };
        let form = self.form(json);
        let end = end(output_timeout.get(), &form)?;
        let channel = Arc::new(Channel::start(end, form, framing, limits, self.runtime));
        self.made.push(Running { channel, made_of });
        Ok(())
    }
}

impl Channels {
    /// Starts the channels on `runtime`. None waits for who is to take its alerts.
    ///
    /// # Errors
    /// A certificate or key cannot be used, or what [`AlertsConfig::check`] says.
    pub fn start(config: &AlertsConfig, host_name: &str, runtime: &Handle) -> Result<Self, ConfigError> {
        let channels = Self::default();
        let change = channels.prepare(config, host_name, runtime)?;
        channels.install(change);
        Ok(channels)
    }

    /// The channels of another configuration; those that are the same in it go on. Nothing changes before they are
    /// [installed](Self::install).
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn prepare(
        &self,
        config: &AlertsConfig,
        host_name: &str,
        runtime: &Handle,
    ) -> Result<Change, ConfigError> {
        let state = self.state();
        let (zone, before) = (TimeZone::system(), state.running.as_slice());
        let mut maker = Maker { config, host_name, zone, runtime, before, made: Vec::new() };
        let AlertsConfig { file_output, syslog_output, program_output, http_output, .. } = config;
        if file_output.enabled {
            let own = |from: &AlertsConfig, to: &mut AlertsConfig| to.file_output = from.file_output.clone();
            maker.add(own, file_output.json_output, Framing::Newline, |timeout, _| {
                Ok(FileChannel::new(file_output, timeout))
            })?;
        }
        if syslog_output.enabled {
            let framing = Framing::Syslog(Header::new(syslog_output, maker.zone.clone()));
            let own =
                |from: &AlertsConfig, to: &mut AlertsConfig| to.syslog_output = from.syslog_output.clone();
            maker.add(own, syslog_output.json_output, framing, |timeout, _| {
                Ok(SyslogChannel::new(syslog_output, timeout))
            })?;
        }
        if program_output.enabled {
            let own =
                |from: &AlertsConfig, to: &mut AlertsConfig| to.program_output = from.program_output.clone();
            maker.add(own, program_output.json_output, Framing::Newline, |timeout, _| {
                Ok(ProgramChannel::new(program_output, timeout))
            })?;
        }
        if http_output.enabled {
            let own = |from: &AlertsConfig, to: &mut AlertsConfig| to.http_output = from.http_output.clone();
            maker.add(own, http_output.json_output, Framing::None, |timeout, form| {
                HttpChannel::new(http_output, form.is_json(), timeout).map_err(|(key, problem)| ConfigError {
                    key: format!("http_output.{key}"),
                    problem,
                    fix: String::new(),
                })
            })?;
        }
        Ok(Change(maker.made))
    }

    /// Channels in place of those so far, from the next alert on. One that is not among them takes nothing more, and sends
    /// what it holds; its ledger is in that of the channel of its name.
    pub fn install(&self, change: Change) {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let State { running, former, settled } = &mut *state;
        let before = std::mem::replace(running, change.0);
        let gone = before.into_iter().map(|running| running.channel);
        let gone = gone.filter(|channel| running.iter().all(|now| !Arc::ptr_eq(&now.channel, channel)));
        former.extend(gone.inspect(|channel| channel.close()));
        former.retain(|channel| {
            let is_done = channel.is_done();
            if is_done {
                add_to(settled, ChannelState { max_bytes: 0, ..channel.state() });
            }
            !is_done
        });
    }

    /// Queues an alert for every channel; never waits. What a channel does not take is in its ledger.
    pub fn tell(&self, alert: &Alert<'_>) {
        self.state().running.iter().for_each(|running| running.channel.tell(alert));
    }

    /// Has a program that is kept started anew, before the next alert. Files need nothing: a rotation is noticed.
    pub fn reopen(&self) {
        self.all().iter().for_each(|channel| channel.reopen());
    }

    /// Memory is short: halves the queues, see [`DropCause::Memory`](super::DropCause::Memory). Whether anything was given
    /// up.
    pub fn shed(&self) -> bool {
        // Each of them, also behind one that gave up something.
        self.all().iter().filter(|channel| channel.shed()).count() > 0
    }

    /// There is memory again: the queues may hold what they are configured to.
    pub fn restore(&self) {
        self.all().iter().for_each(|channel| channel.restore());
    }

    /// The ledger of every channel now, one for each name.
    pub fn states(&self) -> Vec<ChannelState> {
        let state = self.state();
        let mut states = Vec::new();
        let running = state.running.iter().map(|running| running.channel.state());
        let former = state.former.iter().map(|channel| ChannelState { max_bytes: 0, ..channel.state() });
        running.chain(former).chain(state.settled.iter().copied()).for_each(|one| add_to(&mut states, one));
        states
    }

    /// Takes nothing more, sends what is queued for at most `deadline` and counts the rest as
    /// [`DropCause::Shutdown`](super::DropCause::Shutdown). What was unanswered at the deadline counts as lost although it
    /// may have arrived.
    pub async fn shutdown(&self, deadline: Duration) -> Vec<ChannelState> {
        let end = Instant::now() + deadline;
        let all = self.all();
        all.iter().for_each(|channel| channel.close());
        for channel in &all {
            channel.flush(end).await;
        }
        self.states()
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those that run, and those that have yet to send what they hold.
    fn all(&self) -> Vec<Arc<Channel>> {
        let state = self.state();
        let running = state.running.iter().map(|running| &running.channel);
        running.chain(&state.former).cloned().collect()
    }
}

/// Adds a ledger to that of its name.
fn add_to(states: &mut Vec<ChannelState>, one: ChannelState) {
    match states.iter_mut().find(|known| known.name == one.name) {
        Some(known) => {
            known.counts.add(&one.counts);
            known.queue_bytes += one.queue_bytes;
            known.max_bytes += one.max_bytes;
        }
        None => states.push(one),
    }
}
