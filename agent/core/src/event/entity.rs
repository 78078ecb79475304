//! The entities that events are about: the process, the workload, the flow. Plain data that the
//! tables own and the encoders read.

use std::net::IpAddr;
use std::sync::Arc;

use tarsier_abi::TaskKey;

use super::Image;

use super::Origin;

/// One execution: from exec (or fork) to exit. Strings are raw bytes: paths and arguments need not be
/// UTF-8; whoever prints or encodes them decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Identity.
    pub key: TaskKey,
    /// The parent; [`TaskKey::NONE`] if not known.
    pub parent: TaskKey,
    /// cgroup id, as of the last record that told it.
    pub cgroup: u64,
    /// When this execution began (fork or exec), boot ns.
    pub started_ns: u64,
    /// What it runs; shared with forked children until they exec.
    pub image: Arc<Image>,
    /// Pid in its own PID namespace; 0 = not known.
    pub vpid: u32,
    /// Inode number of that namespace; 0 = not known.
    pub pid_ns: u32,
    /// How it came into that namespace.
    pub origin: Origin,
    /// Known from the start-up scan, not from a record of its beginning.
    pub seeded: bool,
}

/// What kind of thing a cgroup belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkloadKind {
    /// A container: `container_id` is set.
    Container,
    /// A systemd service or scope.
    Unit,
    /// The host itself: no container, no unit.
    Host,
}

/// The owner of a cgroup: what logs and spans are grouped by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Dense number, stable while the agent runs: index of its pre-encoded resource.
    pub index: u32,
    /// What it is.
    pub kind: WorkloadKind,
    /// `service.name`: the container's short id, the unit without suffix, or `host`.
    pub name: Box<str>,
    /// Full container id (64 hex digits as a rule), else empty.
    pub container_id: Box<str>,
    /// Runtime that spelled the path (`containerd`, `cri-o`, `docker`, `podman`), if it told.
    pub runtime: Option<&'static str>,
    /// Kubernetes pod uid, if the path holds one.
    pub pod_uid: Option<Box<str>>,
    /// Path of the cgroup from the hierarchy's root.
    pub cgroup_path: Box<str>,
}

/// Who connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// The local socket connected.
    Client,
    /// The local socket was accepted.
    Server,
    /// The kernel's numbers do not tell.
    Unknown,
}

/// Why a flow record was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKind {
    /// The connection is over; counters are final.
    Closed,
    /// It lives on; counters are those of now.
    Live,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// FIN both ways, or a local close.
    Closed,
    /// A reset, either way.
    Reset,
    /// The peer refused (`ECONNREFUSED`).
    Refused,
    /// `ETIMEDOUT`.
    Timeout,
    /// Another error; its errno is in [`Flow::errno`].
    Error,
    /// The close record was lost; the sweep found the socket gone.
    Lost,
}

/// One connection, from the local socket's own view.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Closed or live.
    pub kind: FlowKind,
    /// Who connected.
    pub role: Role,
    /// The local end.
    pub local: (IpAddr, u16),
    /// The far end.
    pub peer: (IpAddr, u16),
    /// Network namespace of the socket, inode number.
    pub net_ns: u32,
    /// cgroup id of the socket; 0 = not known.
    pub cgroup: u64,
    /// The owning process; [`TaskKey::NONE`] if not known.
    pub owner: TaskKey,
    /// The owner is the listener's process, not one seen with this socket.
    pub owner_from_listener: bool,
    /// Both initial sequence numbers: (client's, server's) order if the role is known, else (local, peer).
    pub isn: (u32, u32),
    /// Start, boot ns: connect for a client, established for a server, first seen otherwise.
    pub start_ns: u64,
    /// `start_ns` is when it was first observed: the connection is older, or its open record was lost.
    pub start_observed: bool,
    /// Established, boot ns; 0 = never or not seen.
    pub established_ns: u64,
    /// End (closed) or now (live), boot ns.
    pub end_ns: u64,
    /// Counters of this report's connection since `start_ns` (baseline subtracted).
    pub counters: tarsier_abi::tcp::Counters,
    /// What is new since the last report of this connection: for metrics.
    pub delta: tarsier_abi::tcp::Counters,
    /// Round-trip time of the handshake, µs; 0 = not measured.
    pub handshake_rtt_us: u32,
    /// How it ended (closed only).
    pub reason: CloseReason,
    /// errno of the end, 0 = none.
    pub errno: u16,
    /// TCP state left (closed) or present (live).
    pub state: u8,
}

/// One finished happening with everything known about it: what every exporter receives.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// When it happened, boot ns. For a flow: its end.
    pub at_ns: u64,
    /// Whose it is.
    pub workload: &'a Workload,
    /// What happened.
    pub what: What<'a>,
}

/// The kinds of report.
#[derive(Clone, Copy, Debug)]
pub enum What<'a> {
    /// A process started a program.
    Exec {
        /// The process, after the exec.
        process: &'a Process,
    },
    /// A process was created.
    Fork {
        /// The child; its image is its parent's.
        process: &'a Process,
    },
    /// A process ended.
    Exit {
        /// The process.
        process: &'a Process,
        /// As `wait(2)` gives it: exit code << 8, or the signal (+ 0x80 if it dumped core).
        status: u32,
    },
    /// A connection, closed or still live.
    Flow {
        /// The connection.
        flow: &'a Flow,
        /// Its owner, if known.
        process: Option<&'a Process>,
    },
}
