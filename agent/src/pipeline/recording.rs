//! `tarsier record`: the frames of a run, into a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;
use tarsier_core::encode::redact::Redactor;

use super::outlet::redaction;
use crate::capture::{About, Cut, Frame, Recorder, Totals};
use crate::config::Config;

/// What `tarsier record` asks for.
#[derive(Clone, Debug)]
pub struct RecordOptions {
    /// The file; `-` is standard output.
    pub path: PathBuf,
    /// Its greatest size, bytes.
    pub max_bytes: Option<u64>,
    /// Overwrite it if it is there.
    pub force: bool,
    /// Leave out who the host is.
    pub anonymous: bool,
}

/// How a recording ended.
#[derive(Clone, Copy, Debug)]
pub struct Recorded {
    /// What the capture holds.
    pub totals: Totals,
    /// Bytes of the file.
    pub bytes: u64,
}

/// How often progress is shown on a terminal.
const PROGRESS: Duration = Duration::from_secs(1);

enum State {
    Recording(Box<Recorder<Box<dyn Write + Send>>>),
    Failed(anyhow::Error),
}

/// A capture being written.
pub(super) struct Recording {
    state: State,
    name: String,
    over: bool,
    shown: Option<Instant>,
}

/// The file, opened before anything is loaded, so that a wrong path is said at once.
pub(super) struct Target {
    output: Box<dyn Write + Send>,
    /// Whether it is ours to remove again.
    created: bool,
    options: RecordOptions,
}

impl Target {
    pub(super) fn open(options: &RecordOptions) -> anyhow::Result<Self> {
        let options = options.clone();
        if options.path.as_os_str() == "-" {
            if io::stdout().is_terminal() {
                anyhow::bail!("a capture is not for a terminal: name a file, or send it through a pipe");
            }
            return Ok(Self { output: Box::new(io::stdout()), created: false, options });
        }
        let created = !options.path.exists();
        let mut open = OpenOptions::new();
        open.write(true);
        if options.force {
            open.create(true).truncate(true)
        } else {
            open.create_new(true)
        };
        // Command lines are in it: for its owner only.
        std::os::unix::fs::OpenOptionsExt::mode(&mut open, 0o600);
        let name = options.path.display().to_string();
        let file: File = open.open(&options.path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => anyhow::anyhow!("{name} is there already: --force overwrites it"),
            _ => anyhow::Error::new(error).context(format!("creating {name}")),
        })?;
        Ok(Self { output: Box::new(file), created, options })
    }

    /// Begins the capture that `about` describes.
    pub(super) fn begin(self, mut about: About, config: &Config) -> anyhow::Result<Recording> {
        let RecordOptions { path, max_bytes, anonymous, .. } = self.options;
        if anonymous {
            about =
                About { host_name: String::new(), host_id: None, node_name: None, boot_id: None, ..about };
        }
        let redactor = about.redacted.then(|| Redactor::new(&redaction(config))).transpose()?;
        let name = path.display().to_string();
        let recorder = Recorder::begin(self.output, &about, redactor, max_bytes)
            .with_context(|| format!("writing {name}"))?;
        let shown = io::stderr().is_terminal().then(Instant::now);
        Ok(Recording { state: State::Recording(Box::new(recorder)), name, over: false, shown })
    }

    /// Nothing was recorded: leaves no empty file behind.
    pub(super) fn discard(self) {
        if self.created && self.options.path.as_os_str() != "-" {
            // If it cannot be removed it stays, empty.
            let _ = std::fs::remove_file(&self.options.path);
        }
    }
}

impl Recording {
    /// Takes a frame.
    pub(super) fn frame(&mut self, frame: &Frame<'_>) {
        let State::Recording(recorder) = &mut self.state else { return };
        match recorder.frame(frame) {
            Ok(cut) => self.over = cut != Cut::No,
            Err(error) => {
                let kept = recorder.totals().records;
                let error = anyhow::Error::new(error).context(format!(
                    "writing {}: the recording ends here; its first {kept} records are kept and can be replayed",
                    self.name
                ));
                (self.state, self.over) = (State::Failed(error), true);
            }
        }
        if let (Frame::End, Some(shown)) = (frame, self.shown)
            && shown.elapsed() >= PROGRESS
        {
            self.shown = Some(Instant::now());
            self.progress();
        }
    }

    /// Whether it takes no more.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Ends the capture; `lost` is what the kernel counted as lost while it ran.
    pub(super) fn finish(self, lost: u64) -> anyhow::Result<Recorded> {
        if self.shown.is_some() {
            // The line of progress stands where the next line begins.
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
        let recorder = match self.state {
            State::Recording(recorder) => recorder,
            State::Failed(error) => return Err(error),
        };
        let bytes = recorder.written();
        let (_, totals) = recorder.finish(lost).with_context(|| format!("writing {}", self.name))?;
        Ok(Recorded { totals, bytes })
    }

    fn progress(&self) {
        let State::Recording(recorder) = &self.state else { return };
        let Totals { records, duration_ns, .. } = recorder.totals();
        let (seconds, mib) = (duration_ns / 1_000_000_000, recorder.written() as f64 / f64::from(1 << 20));
        // There is nobody left to tell if standard error is gone.
        let _ = write!(io::stderr(), "\r\x1b[K{seconds} s, {records} records, {mib:.1} MiB (Ctrl-C ends it)");
    }
}
