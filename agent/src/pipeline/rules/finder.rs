//! Which rules match an event, and what each of them costs.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use tarsier_core::rules::compile::{Meter, Scratch};
use tarsier_core::rules::evaluate::Event;
use tarsier_core::rules::facts::Reading;

use crate::pipeline::alerts::Alerts;
use crate::rules::{Active, Matching};

/// Finds the rules that match an event.
#[derive(Default)]
pub(super) struct Finder {
    pub(super) matching: Matching,
    /// Measures what rules cost.
    pub(super) cost: bool,
    scratch: Scratch,
    /// Positions of those that match the present one, by reading; those of the second are not among the first.
    found: [Vec<u32>; 2],
    pub(super) observer: Option<Observer>,
}

/// Is shown every event that was evaluated: the types that it is, it, and the positions of the rules that matched.
pub(in crate::pipeline) type Observer = Box<dyn FnMut(&[usize], &dyn Event, &[u32]) + Send>;

impl Finder {
    pub(super) fn new(matching: Matching, cost: bool) -> Self {
        Self { matching, cost, ..Self::default() }
    }

    /// The positions of the rules that match an event of these types in this reading, and did not match in the one before. What
    /// each costs is charged to `alerts`.
    pub(super) fn find<'a>(
        &'a mut self,
        active: &Active,
        alerts: &mut Alerts,
        types: &[usize],
        event: &impl Event,
        reading: Reading,
    ) -> &'a [u32] {
        let Self { matching, cost, scratch, found: [written, own], .. } = self;
        own.clear();
        let (found, before) = match reading {
            Reading::Written => (written, None),
            Reading::Own => (own, Some(written)),
        };
        found.clear();
        let only_first = *matching == Matching::First;
        let stopwatch = Stopwatch { alerts: RefCell::new(alerts), running: Cell::new(None) };
        for kind in types {
            let found = |place| {
                // A rule that names both types of a call matches it once.
                if !found.contains(&place) && !before.as_ref().is_some_and(|before| before.contains(&place)) {
                    found.push(place);
                }
                !only_first
            };
            if *cost {
                active.compiled.metered(*kind, event, scratch, &stopwatch, found);
                stopwatch.stop();
            } else {
                active.compiled.matches(*kind, event, scratch, found);
            }
        }
        if only_first && let Some(first) = found.iter().min().copied() {
            found.clear();
            match before {
                Some(before) if before.iter().any(|other| *other < first) => {}
                Some(before) => {
                    before.clear();
                    found.push(first);
                }
                None => found.push(first),
            }
        }
        found
    }

    /// Shows the observer, if there is one, what was found last in this reading.
    pub(super) fn show(&mut self, types: &[usize], event: &impl Event, reading: Reading) -> &[u32] {
        let [written, own] = &self.found;
        let found = if reading == Reading::Own { own } else { written };
        if let Some(observer) = &mut self.observer {
            observer(types, event, found);
        }
        found
    }
}

/// Charges rules with the time that their comparisons take.
struct Stopwatch<'a> {
    alerts: RefCell<&'a mut Alerts>,
    /// Whose comparisons are made, and since when.
    running: Cell<Option<(u32, Instant)>>,
}

impl Stopwatch<'_> {
    fn stop(&self) {
        if let Some((place, since)) = self.running.take() {
            let ns = u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.alerts.borrow_mut().charge(place, ns);
        }
    }
}

impl Meter for &Stopwatch<'_> {
    const IS_ON: bool = true;

    fn enter(self, place: u32) {
        self.stop();
        self.running.set(Some((place, Instant::now())));
    }
}
