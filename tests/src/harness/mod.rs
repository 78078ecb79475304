//! What a test holds: guards that clean up on drop, the agent as a child process, an OTLP server,
//! and eyes on the kernel. Waiting is always for an event, with a deadline.

pub mod accounts;
pub mod agent;
pub mod alerts;
pub mod attributes;
pub mod cable;
pub mod cgroup;
pub mod daemon;
pub mod dns;
pub mod equation;
pub mod exit;
pub mod http;
pub mod jail;
pub mod ledger;
pub mod memory_group;
pub mod multipath;
pub mod names;
pub mod netns;
pub mod pair;
pub mod pairs;
pub mod peer;
pub mod peers;
pub mod programs;
pub mod puppet;
pub mod receiver;
pub mod recorder;
pub mod rootfs;
pub mod runc;
pub mod scene;
pub mod seen;
pub mod segment;
pub mod terminal;
pub mod tool;
pub mod tun;
pub mod wire;
