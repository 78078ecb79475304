//! The first and the last block of a capture: JSON, for people and tools as well.

use serde::{Deserialize, Serialize};

use super::frame::Time;

/// Where and how a capture was made: everything that the pipeline asks of the machine it runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Version of the agent that wrote it.
    pub tarsier: String,
    /// Version of the records: [`tarsier_abi::ABI`].
    pub abi: u32,
    /// System calls that its agent knew: [`tarsier_abi::syscall::CALLS`]. Calls are added without a new version of the records.
    #[serde(default)]
    pub calls: usize,
    /// Parts of such a record that it knew: [`PartKind::LAST`](tarsier_abi::syscall::PartKind::LAST).
    #[serde(default)]
    pub call_parts: u8,
    /// Release of the kernel.
    pub kernel: String,
    /// Machine type, as `uname -m` says it.
    pub machine: String,
    /// Boot id: process identities are unique within one boot.
    pub boot_id: Option<String>,
    /// `host.name`; empty if recorded with `--anonymous`.
    pub host_name: String,
    /// `host.id` (the machine id).
    pub host_id: Option<String>,
    /// `k8s.node.name`.
    pub node_name: Option<String>,
    /// CPUs that there can be: records of others are malformed.
    pub cpus: usize,
    /// A socket's cgroup names its container (false where containers live in v1 hierarchies).
    pub socket_cgroups: bool,
    /// Which hierarchy names containers: `v2`, `hybrid`, `v1`.
    pub cgroups: String,
    /// The cgroup that the capture is limited to.
    pub scope: Option<String>,
    /// The agent's clocks when it began.
    pub began: Time,
    /// The sensors and how each stood when the capture began.
    pub sensors: Vec<SensorAtStart>,
    /// Secrets in arguments were overwritten.
    pub redacted: bool,
    /// What rules ask about containers and users was answered, and the answers are in it.
    #[serde(default)]
    pub answers: bool,
}

/// One sensor when the capture began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SensorAtStart {
    /// Its name.
    pub name: String,
    /// Why it is off; empty: it is on.
    pub off: String,
}

/// What a capture holds, written when it is closed. A capture without it was cut short.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Records of the rings.
    pub records: u64,
    /// Frames of all kinds.
    pub frames: u64,
    /// Blocks of frames.
    pub blocks: u64,
    /// Bytes of frames before compression.
    pub bytes: u64,
    /// From the first to the last moment, ns.
    pub duration_ns: u64,
    /// It ended because it had reached its greatest size.
    pub size_limit: bool,
    /// Records that the kernel counted as produced while the capture ran, and of them lost: the capture
    /// is complete if this is 0.
    pub lost: u64,
}
