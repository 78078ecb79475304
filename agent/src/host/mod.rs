//! Facts from the node that are not events: the cgroup tree, the boot clock, what `/proc` knows of
//! processes that were there before the agent.

pub mod cgroups;
pub mod clock;
pub mod processes;
