//! Which of a sensor's hooks is used: the best that this kernel gives, found by doing.

use tarsier_abi::{Attach, Entry, Hook, HookKind};

use super::offsets::Missing;

/// One thing that a sensor listens to, and how far the choice of its hook is.
#[derive(Clone, Debug)]
pub(super) struct Point {
    /// In the order in which they are tried.
    entries: Vec<&'static Entry>,
    /// Why the first ones were refused.
    refusals: Vec<String>,
    /// The present one's program is loaded.
    pub(super) is_loaded: bool,
}

impl Point {
    /// `avoid`: kinds of hook that are used only where there is no other.
    pub(super) fn new(attach: &'static Attach, avoid: &[HookKind]) -> Self {
        let (last, first): (Vec<_>, Vec<_>) =
            attach.entries.iter().partition(|entry| avoid.contains(&entry.hook.kind));
        Self { entries: [first, last].concat(), refusals: Vec::new(), is_loaded: false }
    }

    /// The hook to try, or in use; `None` if this kernel refused them all.
    pub(super) fn entry(&self) -> Option<&'static Entry> {
        self.entries.get(self.refusals.len()).copied()
    }

    /// Goes on to the next hook.
    pub(super) fn refuse(&mut self, reason: String) {
        self.refusals.push(reason);
        self.is_loaded = false;
    }

    /// The hooks that were refused, each with the reason.
    fn refused(&self) -> impl Iterator<Item = (Hook, &str)> {
        let hooks = self.entries.iter().map(|entry| entry.hook);
        hooks.zip(self.refusals.iter().map(String::as_str))
    }

    /// Why there is no hook left.
    fn reason(&self) -> String {
        match self.refusals.as_slice() {
            [only] => only.clone(),
            _ => self
                .refused()
                .map(|(hook, reason)| format!("{hook}: {reason}"))
                .collect::<Vec<_>>()
                .join("; "),
        }
    }
}

/// Why a sensor is off that works: what it tells is not asked for at present.
pub(super) const RESTING: &str = "no rule asks for it";

/// One sensor, from its choice of hooks to its end.
#[derive(Clone, Debug)]
pub struct SensorState {
    /// Which.
    pub sensor: tarsier_abi::Sensor,
    /// `Ok` = loaded, and attached unless [`super::Kernel::attach`] is still to come; `Err` = why it is off.
    pub state: Result<(), String>,
    pub(super) points: Vec<Point>,
}

impl SensorState {
    /// Nothing is tried yet; off from the start if a field is `missing`.
    pub(super) fn new(sensor: tarsier_abi::Sensor, missing: Option<&Missing>, avoid: &[HookKind]) -> Self {
        let points = sensor.attach().iter().map(|attach| Point::new(attach, avoid)).collect();
        let state = missing.map_or(Ok(()), |missing| Err(format!("needs {}", missing.reason)));
        Self { sensor, state, points }
    }

    /// Whether it is off only because nobody asks for what it tells.
    pub fn is_resting(&self) -> bool {
        self.state.as_ref().is_err_and(|reason| reason == RESTING)
    }

    /// The hooks in use, in the order of the registry; none if the sensor is off.
    pub fn hooks(&self) -> impl Iterator<Item = Hook> {
        let points = self.points.iter().filter(|_| self.state.is_ok());
        points.filter_map(|point| Some(point.entry()?.hook))
    }

    /// The better hooks that this kernel refused, each with the reason.
    pub fn refused(&self) -> impl Iterator<Item = (Hook, &str)> {
        self.points.iter().flat_map(Point::refused)
    }

    /// Off, if one of its points has no hook left.
    pub(super) fn settle(&mut self) {
        if let (true, Some(point)) = (self.state.is_ok(), self.points.iter().find(|p| p.entry().is_none())) {
            self.state = Err(point.reason());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Entry = Entry::new("a_fentry", HookKind::Fentry, "f");
    const SECOND: Entry = Entry::new("a", HookKind::BtfTracepoint, "t");
    const ATTACH: Attach = Attach { entries: &[FIRST, SECOND] };

    #[test]
    fn a_refused_hook_gives_way_to_the_next() {
        let mut point = Point::new(&ATTACH, &[]);
        assert_eq!(point.entry(), Some(&FIRST));
        point.refuse("no".to_owned());
        assert_eq!(point.entry(), Some(&SECOND));
        point.refuse("never".to_owned());
        assert_eq!(point.entry(), None);
        assert_eq!(point.reason(), "fentry/f: no; tp_btf/t: never");
    }

    #[test]
    fn what_is_to_be_avoided_is_the_last_resort() {
        let mut point = Point::new(&ATTACH, &[HookKind::Fentry]);
        assert_eq!(point.entry(), Some(&SECOND));
        point.refuse("no".to_owned());
        assert_eq!(point.entry(), Some(&FIRST));
        assert_eq!(Point::new(&ATTACH, &HookKind::ALL).entry(), Some(&FIRST), "no preference is left");
    }

    #[test]
    fn a_sensor_is_off_when_one_of_its_points_has_no_hook() {
        let sensor = tarsier_abi::Sensor::Cgroup;
        let mut state = SensorState::new(sensor, None, &[]);
        assert_eq!(state.hooks().count(), 2);
        state.points[1].refuse("no such tracepoint".to_owned());
        state.settle();
        assert_eq!(state.state, Err("no such tracepoint".to_owned()));
        assert_eq!(state.hooks().count(), 0);
        assert_eq!(state.refused().count(), 1);
    }
}
