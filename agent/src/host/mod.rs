//! Facts from the node that are not events: the cgroup tree, the boot clock, what `/proc` knows of
//! processes that were there before the agent, what runtimes have on disk of their containers, users and groups.

pub mod accounts;
pub mod cgroups;
pub mod clock;
mod config;
pub mod containers;
pub mod id_map;
pub mod identity;
pub mod memory;
pub mod processes;
pub mod root;
pub mod terminal;
pub mod usage;

pub use config::HostConfig;

/// The running kernel's release; empty if unreadable.
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// How many CPUs there can be: those not on line yet included.
pub fn possible_cpus() -> usize {
    // "0-3" or "0,2-5": the last number is the highest.
    let text = std::fs::read_to_string("/sys/devices/system/cpu/possible").unwrap_or_default();
    let highest = text.trim().rsplit(['-', ',']).next().and_then(|number| number.parse::<usize>().ok());
    highest.map_or_else(|| std::thread::available_parallelism().map_or(1, usize::from), |number| number + 1)
}
