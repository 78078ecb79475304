//! Enrichment: tables of facts about what records name by number. Written from outside (the start-up
//! walk, cgroup records, later the watchers of `kube`), read per event.

mod answers;
mod cgroups;
mod container_id;
mod proc_cgroup;

pub use answers::{Answer, Answers};
pub use cgroups::{CgroupTable, Counters, Limits};
pub use container_id::{Owner, owner};
pub use proc_cgroup::{CgroupLine, Hierarchy, lines, path_in};
