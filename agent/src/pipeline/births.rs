//! While a container is being made, the drain looks often: what its runtime has of it must be read before it is gone, and on
//! an idle node that may be before the next look.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use crate::config::Config;
use crate::host::containers::Newcomers;
use crate::kernel::wait::Waiter;

/// How long it takes at most from the first file of a runtime to the first program of a container, or so.
const HURRY: Duration = Duration::from_millis(500);
/// How often directories are looked for that were not there.
const WATCH_AGAIN: Duration = Duration::from_secs(10);

/// Containers that are being made.
pub(super) struct Births {
    /// None: there are no rules, or the kernel gives no inotify instance.
    newcomers: Option<Arc<Newcomers>>,
    /// Has directories watched that have come as well. Paths are walked for it, so a thread of its own does it, from the
    /// first time that a rule asks.
    watch: Option<SyncSender<()>>,
    /// The pause until then is the shortest.
    hurry_until: Option<Instant>,
    shortest: Duration,
}

impl Births {
    /// For a drain that `waiter` wakes.
    pub(super) fn new(config: &Config, waiter: &Waiter) -> Self {
        let newcomers = if config.rules.files.is_empty() { None } else { watched(config, waiter) };
        let shortest = config.rings.drain_min.into();
        Self { newcomers, watch: None, hurry_until: None, shortest }
    }

    /// Sees whether one has begun. `asks`: a rule asks for what runtimes say.
    pub(super) fn look(&mut self, asks: bool) {
        let Some(newcomers) = &self.newcomers else { return };
        if asks && self.watch.is_none() {
            self.watch = Some(watching(newcomers));
        }
        if newcomers.have_come() {
            self.hurry_until = Some(Instant::now() + HURRY);
            // If it is at it already, it is asked once more at most.
            self.watch.as_ref().map(|watch| watch.try_send(()));
        }
    }

    /// The pause instead of the one that the load suggests.
    pub(super) fn hurry(&mut self, pause: Duration) -> Duration {
        match self.hurry_until {
            Some(until) if Instant::now() < until => pause.min(self.shortest),
            _ => {
                self.hurry_until = None;
                pause
            }
        }
    }
}

/// Starts the thread that watches; it ends with the sender.
fn watching(newcomers: &Arc<Newcomers>) -> SyncSender<()> {
    let (sender, asked): (_, Receiver<()>) = mpsc::sync_channel(1);
    let newcomers = Arc::clone(newcomers);
    let run = move || {
        loop {
            newcomers.watch();
            if asked.recv_timeout(WATCH_AGAIN) == Err(RecvTimeoutError::Disconnected) {
                return;
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("tarsier-births".into()).spawn(run) {
        tracing::warn!(%error, "containers that live shortly may have no image and no mounts");
    }
    sender
}

fn watched(config: &Config, waiter: &Waiter) -> Option<Arc<Newcomers>> {
    let newcomers = Newcomers::new(&config.host).and_then(|newcomers| {
        waiter.watch(&newcomers)?;
        Ok(Arc::new(newcomers))
    });
    newcomers
        .inspect_err(
            |error| tracing::warn!(%error, "containers that live shortly may have no image and no mounts"),
        )
        .ok()
}
