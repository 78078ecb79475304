//! `tarsier replay`: a capture through the same stages and exporters, on any machine.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Desk;
use super::background::Background;
use super::engine::Engine;
use super::offline::surroundings;
use super::outlet::{Forms, Outlet, Sink};
use super::rules::Rules;
use super::summary::Summary;
use crate::capture::{Ending, Frame, Reader, Time};
use crate::config::Config;
use crate::kernel::wait::Waiter;
use crate::rules::Active;

/// What a replay came to.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Records of the rings.
    pub records: u64,
    /// Time that the capture covers, as far as it was replayed.
    pub covered: Duration,
    /// Time that the replay took.
    pub took: Duration,
    /// How the capture ended; `None`: the replay was stopped before.
    pub ending: Option<Ending>,
    /// What rules came to, if there were any. What was lost is what the recorder lost, if the capture is whole.
    pub rules: Option<Summary>,
}

/// Feeds a capture to the pipeline. `speed` 1 takes as long as it took live, `None` as fast as it goes.
///
/// # Errors
/// It is no capture, or damaged (what came before the damage has been exported); an exporter cannot start.
pub fn replay(input: impl Read, config: &Config, speed: Option<f64>) -> anyhow::Result<Replayed> {
    let mut reader = Reader::new(input)?;
    let waiter = Waiter::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let desk = Arc::new(Desk::new(waiter.waker()));
    let runtime = Background::start(config, None, desk, Arc::clone(&stop), waiter.waker())?;
    let active = Active::load(&config.rules, config.alerts.priority.into(), &[])?;
    let exits = runtime.exits().clone();
    let sink = exits.otlp.map_or(Sink::None, Sink::Patient);
    let surroundings = surroundings(reader.about(), config);
    // A capture can wait for whoever reads.
    let forms = Forms::of_stdout(config, active.is_some(), &surroundings.identity.host_name);
    let lines = forms.map(|forms| forms.printer(Box::new(std::io::stdout()), config));
    let outlet = Outlet::new(config, &surroundings, sink, lines)?.with_channels(exits.alerts);
    let rules = active
        .map(|active| Rules::new(config, active, &surroundings.identity.host_name, surroundings.answers))
        .transpose()?;
    let mut engine = Engine::new(config, &surroundings, rules, outlet);
    let began = surroundings.began;
    let pace = Pace { speed, start: Instant::now(), began, waiter, stop };
    let mut done =
        Replayed { records: 0, covered: Duration::ZERO, took: Duration::ZERO, ending: None, rules: None };
    let result = feed_all(&mut reader, &mut engine, &pace, &mut done);
    done.took = pace.start.elapsed();
    done.ending = reader.ending();
    runtime.stop(&engine.outlet);
    let lost = match done.ending {
        Some(Ending::Whole(totals)) => totals.lost,
        _ => 0,
    };
    done.rules = engine.stages.rules.as_ref().map(|rules| Summary::new(rules, &engine.outlet, lost));
    result.map(|()| done)
}

/// When the next frame is due.
struct Pace {
    speed: Option<f64>,
    start: Instant,
    began: Time,
    waiter: Waiter,
    stop: Arc<AtomicBool>,
}

impl Pace {
    /// Waits until `time` has come; false if the replay is to stop.
    fn keep(&self, time: &Time) -> bool {
        let covered = time.boot_ns.saturating_sub(self.began.boot_ns);
        if let Some(speed) = self.speed {
            // A speed is above 0 (the command line sees to it); what overflows is a very long wait.
            let after = Duration::try_from_secs_f64(covered as f64 / 1e9 / speed).unwrap_or(Duration::MAX);
            while !self.is_stopped() {
                let left = after.saturating_sub(self.start.elapsed());
                if left.is_zero() {
                    break;
                }
                // The waiter counts whole milliseconds: less than one is no wait.
                if left < Duration::from_millis(1) {
                    break;
                }
                self.waiter.wait(left);
            }
        }
        !self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }
}

fn feed_all<R: Read>(
    reader: &mut Reader<R>,
    engine: &mut Engine,
    pace: &Pace,
    done: &mut Replayed,
) -> anyhow::Result<()> {
    let mut last = pace.began;
    let mut finished = false;
    let result = loop {
        let frame = match reader.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        };
        match &frame {
            Frame::Begin(time) | Frame::Finish(time) => {
                last = *time;
                finished = matches!(frame, Frame::Finish(_));
                if !pace.keep(time) {
                    break Ok(());
                }
            }
            Frame::Record(_) => done.records += 1,
            _ => {}
        }
        engine.feed(&frame);
        if engine.outlet.is_closed() {
            break Ok(());
        }
    };
    done.covered = Duration::from_nanos(last.boot_ns.saturating_sub(pace.began.boot_ns));
    // A capture that was cut, or a replay that was stopped, still reports what is on hold.
    if !finished {
        engine.feed(&Frame::End);
        engine.feed(&Frame::Finish(last));
    }
    result.context("replaying")
}
