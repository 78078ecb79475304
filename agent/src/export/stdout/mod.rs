//! Reports as lines on standard output: for people, or JSON with the attribute names of OTLP.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarsier_core::encode::redact::{self, Redactor};
use tarsier_core::event::alert::Alert;
use tarsier_core::event::{FlowKind, Report, What};

use crate::config::units::ByteSize;
use crate::export::alerts::line::LineForm;
use crate::export::{escape, put};

mod human;
mod json;
mod outbox;

pub use outbox::Outbox;

/// Lines on standard output.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StdoutConfig {
    /// The form of events on standard output.
    pub format: Format,
    /// Also print every new process that has not (yet) started a program.
    pub forks: bool,
    /// Also print connections that live on, at every sweep.
    pub live: bool,
    /// Most memory for lines whose reader is slow or stands still. When it is full, the oldest lines make
    /// room, counted by cause: nothing else waits for the reader.
    #[schemars(extend("x-min" = "256KiB", "x-max" = "1GiB"))]
    pub buffer_bytes: ByteSize,
}

impl Default for StdoutConfig {
    fn default() -> Self {
        Self { format: Format::default(), forks: false, live: false, buffer_bytes: ByteSize::from_mib(8) }
    }
}

/// What is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Lines for people on a terminal, JSON otherwise; with rules nothing, but for their alerts
    /// (`alerts.stdout_output`).
    #[default]
    Auto,
    /// Lines for people.
    Human,
    /// One JSON object a line, keys named like the OTLP attributes.
    Json,
    /// Nothing.
    None,
}

/// How a [`Printer`] writes events: the format resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Lines for people.
    Human {
        /// With colours (ANSI escape sequences).
        colour: bool,
    },
    /// JSON lines.
    Json,
}

impl StdoutConfig {
    /// The style for an output that is a terminal or not; `colour` is whether the user wants colours there
    /// (`NO_COLOR`), and `rules` whether rules run: who has rules wants their alerts, and every event only if asked
    /// for. `None`: print no events.
    pub fn style(&self, terminal: bool, colour: bool, rules: bool) -> Option<Style> {
        match self.format {
            Format::None => None,
            Format::Auto if rules => None,
            Format::Auto if !terminal => Some(Style::Json),
            Format::Json => Some(Style::Json),
            Format::Auto | Format::Human => Some(Style::Human { colour: terminal && colour }),
        }
    }
}

/// Why nothing more can be printed.
#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    /// The reader is gone (`tarsier run | head`): a reason to stop, not a failure.
    #[error("the reader of the output is gone")]
    Closed,
    /// Any other error of the output.
    #[error("cannot write the output: {0}")]
    Write(#[from] io::Error),
}

/// Writes reports as lines, several at a time, whole lines always. It blocks as its output does: before a reader
/// that may stand still belongs an [`Outbox`].
///
/// Nothing that a process chose (path, arguments) reaches the output unescaped: neither line breaks
/// nor escape sequences, so a line is a line and a terminal stays as it is.
#[derive(Debug)]
pub struct Printer<W> {
    out: W,
    style: Option<Style>,
    alerts: Option<LineForm>,
    forks: bool,
    live: bool,
    buffer: Vec<u8>,
    scratch: Scratch,
}

/// Memory for what a line is made of, used again and again.
#[derive(Debug, Default)]
struct Scratch {
    text: Vec<u8>,
    arguments: redact::Scratch,
}

/// What every line is made from beside the report.
#[derive(Clone, Copy)]
struct Context<'a> {
    boot_to_unix_ns: u64,
    redactor: &'a Redactor,
}

impl<W: Write> Printer<W> {
    /// Bytes gathered before they are written.
    const CHUNK: usize = 32 * 1024;

    /// Writes to `out`: events in `style` and alerts in the form of `alerts`, if at all. What is printed of forks and
    /// live connections is in `config`.
    pub fn new(out: W, style: Option<Style>, alerts: Option<LineForm>, config: &StdoutConfig) -> Self {
        Self {
            out,
            style,
            alerts,
            forks: config.forks,
            live: config.live,
            buffer: Vec::with_capacity(2 * Self::CHUNK),
            scratch: Scratch::default(),
        }
    }

    /// Prints alerts in another form from here on, or none.
    pub fn set_alerts(&mut self, form: Option<LineForm>) {
        self.alerts = form;
    }

    /// Adds a line for an alert, unless they are switched off.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn alert(&mut self, alert: &Alert<'_>) -> Result<(), PrintError> {
        let Some(form) = &self.alerts else { return Ok(()) };
        form.write(&mut self.buffer, alert);
        self.buffer.push(b'\n');
        if self.buffer.len() >= Self::CHUNK { self.flush() } else { Ok(()) }
    }

    /// Adds a line for a report, unless its kind is switched off. `boot_to_unix_ns` added to boot time
    /// gives Unix time.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn print(
        &mut self,
        report: &Report<'_>,
        boot_to_unix_ns: u64,
        redactor: &Redactor,
    ) -> Result<(), PrintError> {
        let wanted = match report.what {
            What::Fork { .. } => self.forks,
            What::Flow { flow, .. } => flow.kind == FlowKind::Closed || self.live,
            What::Exec { .. } | What::Exit { .. } => true,
        };
        let Some(style) = self.style.filter(|_| wanted) else { return Ok(()) };
        let context = Context { boot_to_unix_ns, redactor };
        match style {
            Style::Human { colour } => {
                human::line(&mut self.buffer, &mut self.scratch, report, context, colour);
            }
            Style::Json => json::line(&mut self.buffer, &mut self.scratch, report, context),
        }
        if self.buffer.len() >= Self::CHUNK { self.flush() } else { Ok(()) }
    }

    /// Writes what was gathered: call it after each batch of reports.
    ///
    /// # Errors
    /// The output cannot be written; what was gathered is lost.
    pub fn flush(&mut self) -> Result<(), PrintError> {
        let written = self.out.write_all(&self.buffer).and_then(|()| self.out.flush());
        self.buffer.clear();
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => PrintError::Closed,
            _ => PrintError::Write(error),
        })
    }
}

#[cfg(test)]
mod tests;
