//! A panic in a stage costs the record that it met, counted and logged, and not the agent: a node's
//! security view must not end because one record was unlike all that were thought of.
//!
//! What a stage left half done stays: tables hold plain values, and the next record finds them usable,
//! though the entry in question may be wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Where a panic was caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Decoding a record, and the process and cgroup tables.
    Apply,
    /// The flow table.
    Flows,
    /// The rules, and making alerts of what they find.
    Rules,
    /// Printing and encoding a report.
    Report,
    /// The workload metrics.
    Metrics,
}

impl Stage {
    pub(super) const ALL: [Self; 5] = [Self::Apply, Self::Flows, Self::Rules, Self::Report, Self::Metrics];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Apply => "apply",
            Self::Flows => "flows",
            Self::Rules => "rules",
            Self::Report => "report",
            Self::Metrics => "metrics",
        }
    }
}

/// Counts what was lost to panics.
#[derive(Debug, Default)]
pub(super) struct Guard {
    lost: [u64; Stage::ALL.len()],
}

impl Guard {
    /// Records lost at a stage.
    pub(super) fn lost(&self, stage: Stage) -> u64 {
        self.lost[stage as usize]
    }

    /// Notes what [`catch`] caught: `records` were lost. Logged at the 1st, 2nd, 4th, 8th … time.
    pub(super) fn note(&mut self, stage: Stage, records: usize, caught: Result<(), String>) {
        let Err(panic) = caught else { return };
        let lost = &mut self.lost[stage as usize];
        let before = *lost;
        *lost += records as u64;
        if before == 0 || before.ilog2() != lost.ilog2() {
            tracing::error!(
                stage = stage.name(),
                lost = *lost,
                panic,
                "a stage panicked: the record is lost; please report this with the record (tarsier record)"
            );
        }
    }
}

/// Runs `work`; what it panicked with is the error.
pub(super) fn catch(work: impl FnOnce()) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use tarsier_abi::exec::ExecRecord;
    use tarsier_abi::{Sensor, TaskKey};
    use zerocopy::{FromZeros, IntoBytes};

    use super::*;
    use crate::capture::{About, Frame, Time};
    use crate::config::Config;
    use crate::pipeline::Offline;

    #[test]
    fn a_panic_on_the_way_out_does_not_end_the_pipeline() {
        let taken = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&taken);
        let requests = move |_| {
            assert!(counter.fetch_add(1, Ordering::Relaxed) >= 2, "the taker is not well");
        };
        let about = About { cpus: 1, ..About::default() };
        let config = Config::default();
        let mut offline = Offline::new(&about, &config, None, Some(Box::new(requests))).unwrap();
        for second in 1..=6_u32 {
            let mut exec = ExecRecord::new_zeroed();
            exec.header.sensor = Sensor::Exec as u8;
            exec.header.seq = second - 1;
            exec.task = TaskKey { start_boottime: 1, tgid: second, exec: 1 };
            let boot_ns = u64::from(second) * 2_000_000_000;
            offline.feed(&Frame::Begin(Time { boot_ns, unix_offset_ns: 0 }));
            offline.feed(&Frame::Record(exec.as_bytes()));
            // A request older than a second is sent here; the first two panic.
            offline.feed(&Frame::End);
        }
        assert_eq!(taken.load(Ordering::Relaxed), 4);
        assert_eq!(offline.panicked(), 2);
    }

    #[test]
    fn losses_are_counted_by_stage() {
        let mut guard = Guard::default();
        guard.note(Stage::Apply, 1, catch(|| ()));
        guard.note(Stage::Flows, 3, catch(|| panic!("three records")));
        guard.note(Stage::Flows, 1, catch(|| panic!("{} more", 1)));
        let lost = Stage::ALL.map(|stage| guard.lost(stage));
        assert_eq!(lost, [0, 4, 0, 0, 0]);
        assert_eq!(catch(|| panic!("{} more", 1)), Err("1 more".to_owned()));
    }
}
