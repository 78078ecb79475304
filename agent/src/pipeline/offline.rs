//! The pipeline without a kernel and without threads, for benchmarks, fuzzers and tests: frames in, lines
//! and requests out.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use jiff::tz::TimeZone;
use tarsier_core::rules::stated::Stated;

use super::engine::{Engine, Surroundings};
use super::guard::Stage;
use super::outlet::{Forms, Outlet, Sink};
use super::rules::{Observer, Rules};
use crate::capture::{About, Frame, ReadError, Reader};
use crate::config::Config;
use crate::export::Batch;
use crate::export::alerts::line::LineForm;
use crate::export::stdout::Style;
use crate::host::identity::{self, HostFacts};
use crate::rules::Active;

/// What takes the lines of an [`Offline`] pipeline.
pub type Lines = Box<dyn Write + Send>;
/// Lines that stay in memory, for whoever holds a clone.
#[derive(Clone, Debug, Default)]
pub struct KeptLines(Arc<Mutex<Vec<u8>>>);

impl KeptLines {
    /// What was written since the last time.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Write for KeptLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What takes its requests.
pub type Requests = Box<dyn FnMut(Batch) + Send>;

/// The stages of the agent, fed by hand.
pub struct Offline {
    engine: Engine,
    finished: bool,
}

impl Offline {
    /// The pipeline that recorded what `about` describes, configured by `config`. JSON lines go to
    /// `lines`, OTLP requests to `requests`.
    ///
    /// # Errors
    /// A redaction pattern of the configuration is not usable.
    pub fn new(
        about: &About,
        config: &Config,
        lines: Option<Lines>,
        requests: Option<Requests>,
    ) -> anyhow::Result<Self> {
        let surroundings = surroundings(about, config);
        let host_name = &surroundings.identity.host_name;
        let forms = || Forms {
            events: Some(Style::Json),
            alerts: Some(LineForm::new(&config.alerts, Some(true), host_name, TimeZone::UTC)),
        };
        let printer = lines.map(|lines| forms().printer(lines, config));
        let sink = requests.map_or(Sink::None, Sink::Call);
        let outlet = Outlet::new(config, &surroundings, sink, printer)?;
        let rules = Active::load(&config.rules, config.alerts.priority.into(), &[])?
            .map(|active| Rules::new(config, active, &surroundings.identity.host_name, surroundings.answers))
            .transpose()?;
        Ok(Self { engine: Engine::new(config, &surroundings, rules, outlet), finished: false })
    }

    /// The pipeline that recorded what `about` describes, with `rules` and an `observer` of what they see. Of what it has
    /// to say, alerts alone go to `lines`, as JSON.
    pub(super) fn of_rules(
        about: &About,
        config: &Config,
        rules: Active,
        observer: Observer,
        lines: Lines,
    ) -> anyhow::Result<Self> {
        let surroundings = surroundings(about, config);
        let host_name = &surroundings.identity.host_name;
        let form = LineForm::new(&config.alerts, Some(true), host_name, TimeZone::UTC);
        let printer = Forms { events: None, alerts: Some(form) }.printer(lines, config);
        let outlet = Outlet::new(config, &surroundings, Sink::None, Some(printer))?;
        let rules = Rules::new(config, rules, host_name, surroundings.answers)?.with_observer(observer);
        Ok(Self { engine: Engine::new(config, &surroundings, Some(rules), outlet), finished: false })
    }

    /// Takes an event that somebody stated.
    pub(super) fn feed_stated(&mut self, event: &Stated) {
        let Engine { stages, outlet, .. } = &mut self.engine;
        stages.take_stated(event, outlet);
    }

    /// Has all lines written.
    pub(super) fn flush(&mut self) {
        self.engine.outlet.flush();
    }

    /// Takes the next frame.
    pub fn feed(&mut self, frame: &Frame<'_>) {
        self.finished |= matches!(frame, Frame::Finish(_));
        self.engine.feed(frame);
    }

    /// The rules that run, if there are any.
    #[cfg(test)]
    pub(super) fn rules(&self) -> Option<&Rules> {
        self.engine.stages.rules.as_ref()
    }

    /// Records lost because a stage panicked on them.
    pub fn panicked(&self) -> u64 {
        Stage::ALL.into_iter().map(|stage| self.engine.stages.guard.lost(stage)).sum()
    }

    /// Takes all frames of `reader`, and ends the run if the capture was cut before its end.
    ///
    /// # Errors
    /// The capture is damaged or cannot be read.
    pub fn feed_all<R: io::Read>(&mut self, reader: &mut Reader<R>) -> Result<(), ReadError> {
        let mut last = reader.about().began;
        while let Some(frame) = reader.next_frame()? {
            if let Frame::Begin(time) | Frame::Finish(time) = &frame {
                last = *time;
            }
            self.feed(&frame);
        }
        if !self.finished {
            self.feed(&Frame::End);
            self.feed(&Frame::Finish(last));
        }
        Ok(())
    }

    /// Reads a whole capture from `input` and feeds it.
    ///
    /// # Errors
    /// As [`Self::new`] and [`Self::feed_all`].
    pub fn replay(
        input: impl io::Read,
        config: &Config,
        lines: Option<Lines>,
        requests: Option<Requests>,
    ) -> anyhow::Result<()> {
        let mut reader = Reader::new(input).context("reading the capture")?;
        let about = reader.about().clone();
        Ok(Self::new(&about, config, lines, requests)?.feed_all(&mut reader)?)
    }
}

/// The surroundings that a capture describes.
pub(super) fn surroundings(about: &About, config: &Config) -> Surroundings {
    let facts = HostFacts {
        host_name: Some(about.host_name.clone()).filter(|name| !name.is_empty()),
        host_id: about.host_id.clone(),
        boot_id: about.boot_id.clone(),
        node_name: about.node_name.clone(),
    };
    Surroundings {
        // A damaged header must not ask for memory: more CPUs than Linux can have are none.
        cpus: about.cpus.min(8192),
        socket_cgroups: about.socket_cgroups,
        identity: identity::identity(&facts, config),
        began: about.began,
        answers: about.answers,
    }
}
