//! The pipeline under the names that Falco has for what it counts: [`FalcoMetric`].

use std::time::UNIX_EPOCH;

use tarsier_abi::Sensor;

use super::Pipeline;
use crate::export::DropCause;
use crate::host;
use crate::host::usage;
use crate::ops::falco::{FalcoMetric, FalcoSnapshot};

/// Those whose records rules are tried on.
const SENSORS: [Sensor; 4] = [Sensor::Exec, Sensor::Exit, Sensor::Syscall, Sensor::IoUring];

/// The numbers of now.
pub(super) fn metrics(pipeline: &Pipeline) -> FalcoSnapshot {
    let mut out = FalcoSnapshot::default();
    let outlet = &pipeline.feed.engine.outlet;
    let release = host::kernel_release();
    out.push(FalcoMetric::KernelRelease, &[("kernel_release", &release)], 1);
    out.push(FalcoMetric::HostName, &[("hostname", outlet.host_name())], 1);
    out.push(FalcoMetric::Start, &[], outlet.started_unix_ns());
    out.push(FalcoMetric::HostBoot, &[], outlet.unix_ns(0));
    out.push(FalcoMetric::HostCpus, &[], host::possible_cpus() as u64);
    out.push(FalcoMetric::Duration, &[], pipeline.started.elapsed().as_secs());
    out.push(FalcoMetric::Resident, &[], usage::own().resident_bytes);
    let full = |cause: DropCause| matches!(cause, DropCause::QueueFull | DropCause::Memory);
    let channels = outlet.channels().states();
    let dropped = channels.iter().map(|channel| {
        let causes = DropCause::ALL.into_iter().filter(|cause| full(*cause));
        causes.map(|cause| channel.counts.dropped(cause)).sum::<u64>()
    });
    out.push(FalcoMetric::OutputDrops, &[], dropped.sum::<u64>());
    let ledger = pipeline.kernel.ledger().unwrap_or_default();
    let rows = SENSORS.iter().filter_map(|sensor| ledger.sensors.get(*sensor as usize));
    let (produced, lost) = rows
        .fold((0, 0), |(produced, lost), row| (produced + row.produced, lost + row.lost.iter().sum::<u64>()));
    out.push(FalcoMetric::Events, &[], produced);
    out.push(FalcoMetric::Drops, &[], lost);
    if let Some(rules) = &pipeline.feed.engine.stages.rules {
        out.push(FalcoMetric::EventSource, &[("evt_source", "syscall")], 1);
        let active = rules.active();
        let loaded = active.loaded_at.duration_since(UNIX_EPOCH).unwrap_or_default();
        out.push(FalcoMetric::Reload, &[], u64::try_from(loaded.as_nanos()).unwrap_or(u64::MAX));
        for (name, digest) in &active.files {
            out.push(FalcoMetric::RulesFile, &[("file_name", name), ("sha256", digest)], 1);
        }
        rules.falco_metrics(&mut out);
    }
    out
}
