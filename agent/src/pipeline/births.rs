//! While a container is being made, the drain looks often: what its runtime has of it must be read before it is gone, and on
//! an idle node that may be before the next look.

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
    newcomers: Option<Newcomers>,
    /// The pause until then is the shortest.
    hurry_until: Option<Instant>,
    shortest: Duration,
    watch_at: Instant,
}

impl Births {
    /// For a drain that `waiter` wakes.
    pub(super) fn new(config: &Config, waiter: &Waiter) -> Self {
        let newcomers = if config.rules.files.is_empty() { None } else { watched(config, waiter) };
        let shortest = config.rings.drain_min.into();
        Self { newcomers, hurry_until: None, shortest, watch_at: Instant::now() }
    }

    /// Sees whether one has begun. `asks`: a rule asks for what runtimes say.
    pub(super) fn look(&mut self, asks: bool) {
        let Some(newcomers) = &self.newcomers else { return };
        let have_come = newcomers.have_come();
        if have_come {
            self.hurry_until = Some(Instant::now() + HURRY);
        }
        if asks && (have_come || Instant::now() >= self.watch_at) {
            self.watch_at = Instant::now() + WATCH_AGAIN;
            newcomers.watch();
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

fn watched(config: &Config, waiter: &Waiter) -> Option<Newcomers> {
    let newcomers = Newcomers::new(&config.host).and_then(|newcomers| {
        waiter.watch(&newcomers)?;
        Ok(newcomers)
    });
    newcomers
        .inspect_err(
            |error| tracing::warn!(%error, "containers that live shortly may have no image and no mounts"),
        )
        .ok()
}
