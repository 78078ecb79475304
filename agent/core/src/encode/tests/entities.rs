//! Arbitrary entities.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tarsier_abi::exec::Creds;
use tarsier_abi::tcp::Counters;

use crate::event::{
    CloseReason, Flow, FlowKind, Image, Namespaces, Origin, Process, Role, Strings, TaskKey, What, Workload,
    WorkloadKind,
};

/// A report that owns what it tells of.
#[derive(Clone, Debug)]
pub(super) enum Happening {
    Exec(Process),
    Fork(Process),
    Exit(Process, u32),
    Flow(Flow, Option<Process>),
}

impl Happening {
    pub(super) fn what(&self) -> What<'_> {
        match self {
            Self::Exec(process) => What::Exec { process },
            Self::Fork(process) => What::Fork { process },
            Self::Exit(process, status) => What::Exit { process, status: *status },
            Self::Flow(flow, process) => What::Flow { flow, process: process.as_ref() },
        }
    }
}

/// Of these workloads reports are made: one of each kind, and a container that tells little.
pub(super) fn workloads() -> Vec<Workload> {
    let id = "4f5c2a".repeat(10);
    let container = Workload {
        index: 0,
        kind: WorkloadKind::Container,
        name: "4f5c2a4f5c2a".into(),
        container_id: id.as_str().into(),
        runtime: Some("containerd"),
        pod_uid: Some("0d5e0ef8-6f1b-4a53-9c5c-4d0b4f1d2a3b".into()),
        cgroup_path: "/kubepods.slice/x.scope".into(),
    };
    let bare = Workload { index: 1, runtime: None, pod_uid: None, ..container.clone() };
    let unit = Workload {
        index: 2,
        kind: WorkloadKind::Unit,
        name: "ssh".into(),
        container_id: "".into(),
        runtime: None,
        pod_uid: None,
        cgroup_path: "/system.slice/ssh.service".into(),
    };
    let host = Workload { index: 7, kind: WorkloadKind::Host, name: "host".into(), ..unit.clone() };
    vec![container, bare, unit, host]
}

/// Bytes as paths and arguments may be: text, empty, anything.
fn bytes() -> impl Strategy<Value = Box<[u8]>> {
    prop_oneof![
        "[a-zA-Z0-9/._=-]{0,30}".prop_map(|text| text.into_bytes().into()),
        ".{0,20}".prop_map(|text: String| text.into_bytes().into()),
        vec(any::<u8>(), 0..200).prop_map(Into::into),
    ]
}

prop_compose! {
    fn key()(start_boottime: u64, tgid in prop_oneof![Just(0_u32), 1_u32..5, any::<u32>()], exec: u32) -> TaskKey {
        TaskKey { start_boottime, tgid, exec }
    }
}

prop_compose! {
    fn creds()(
        ids: [u32; 6], loginuid in prop_oneof![Just(u32::MAX), any::<u32>()], caps: [u64; 3], rare in 0_u64..2,
        some in 0_u64..2, twins: bool,
    ) -> Creds {
        let [uid, gid, suid, sgid, euid, egid] = if twins { [ids[0]; 6] } else { ids };
        let effective = some * caps[2];
        Creds {
            cap_inheritable: rare * caps[0],
            cap_permitted: if twins { effective } else { caps[1] },
            cap_effective: effective,
            cap_bounding: u64::MAX,
            cap_ambient: rare,
            uid, gid, suid, sgid, euid, egid, loginuid,
            session: 1,
        }
    }
}

prop_compose! {
    fn image()(
        exe in bytes(), args in vec(bytes(), 0..6), cut: bool, cwd in bytes(), comm in vec(any::<u8>(), 0..16),
        args_bytes: u32, args_truncated: bool, flags: u32, creds in creds(), ns: [u32; 4], zero in 0_u32..2,
        tty in prop_oneof![Just(0), any::<u32>()], own_user: bool, exe_inode in prop_oneof![Just(0), any::<u64>()],
        exe_dev: u32, exe_ctime_ns: u64,
    ) -> Image {
        let [mnt, pid, net, user] = ns;
        let user = if own_user { user } else { 4_026_531_837 };
        let ns = Namespaces { mnt: zero * mnt, pid, net, user, uts: 1, ipc: 2, cgroup: 3, time: 4 };
        let mut args: Vec<u8> = args.iter().flat_map(|arg| {
            let text = arg.iter().copied().map(|byte| if byte == 0 { b'0' } else { byte });
            text.chain([0]).collect::<Vec<u8>>()
        }).collect();
        if cut {
            args.pop();
        }
        Image {
            args_bytes, args_truncated, flags, creds, ns, tty, exe_inode, exe_dev, exe_ctime_ns,
            strings: Strings::of(&exe, &cwd, &comm, &args),
        }
    }
}

fn origin() -> impl Strategy<Value = Origin> {
    use Origin::{Entry, EntryDescendant, Joined, JoinedDescendant, Unknown};
    prop::sample::select(vec![Entry, EntryDescendant, Joined, JoinedDescendant, Unknown])
}

prop_compose! {
    pub(super) fn process()(
        key in key(), parent in key(), image in image(), same_pid: bool, vpid: u32, pid_ns: u32, seeded: bool,
        started_ns: u64, origin in origin(),
    ) -> Process {
        let vpid = if same_pid { key.tgid } else { vpid };
        Process { key, parent, cgroup: 1, started_ns, image: Arc::new(image), vpid, pid_ns, origin, seeded }
    }
}

fn address() -> impl Strategy<Value = (IpAddr, u16)> {
    let v4 = any::<[u8; 4]>().prop_map(IpAddr::from);
    let v6 = any::<[u8; 16]>().prop_map(IpAddr::from);
    (prop_oneof![v4, v6], any::<u16>())
}

prop_compose! {
    fn counters()(bytes: [u64; 2], segments: [u32; 3], rtt in prop_oneof![
        Just([0, u32::MAX]), any::<[u32; 2]>(),
    ]) -> Counters {
        Counters {
            bytes_sent: bytes[0],
            bytes_received: bytes[1],
            segments_sent: segments[0],
            segments_received: segments[1],
            retransmits: segments[2],
            srtt_us: rtt[0],
            min_rtt_us: rtt[1],
            extra: 0,
        }
    }
}

prop_compose! {
    pub(super) fn flow()(
        kind in prop_oneof![4 => Just(FlowKind::Closed), 1 => Just(FlowKind::Live)],
        role in prop_oneof![Just(Role::Client), Just(Role::Server), Just(Role::Unknown)],
        reason in prop_oneof![
            Just(CloseReason::Closed), Just(CloseReason::Reset), Just(CloseReason::Refused),
            Just(CloseReason::Timeout), Just(CloseReason::Error), Just(CloseReason::Lost),
        ],
        ends in (address(), address()), isn: (u32, u32), owner in key(), flags: [bool; 2],
        net_ns in prop_oneof![Just(0), any::<u32>()], counters in counters(),
        // Boot times: a few hundred years hold no surprise, sums beyond u64 are tested apart.
        times in [0_u64..u64::MAX / 4, 0..u64::MAX / 4, 0..u64::MAX / 4], established in 0_u64..2,
        handshake_rtt_us: u32, errno in 0_u16..140, state in 0_u8..16,
    ) -> Flow {
        Flow {
            kind, role, local: ends.0, peer: ends.1, net_ns, cgroup: 1, owner,
            owner_from_listener: flags[0], isn, start_ns: times[0], start_observed: flags[1],
            established_ns: established * times[1], end_ns: times[2], counters, delta: Counters::default(),
            handshake_rtt_us, reason, errno, state,
        }
    }
}

/// Reports: index into [`workloads`], boot time, what happened.
pub(super) fn happenings() -> impl Strategy<Value = Vec<(usize, u64, Happening)>> {
    let what = prop_oneof![
        2 => process().prop_map(Happening::Exec),
        1 => process().prop_map(Happening::Fork),
        1 => (process(), any::<u32>()).prop_map(|(process, status)| Happening::Exit(process, status)),
        3 => (flow(), option::of(process())).prop_map(|(flow, process)| Happening::Flow(flow, process)),
    ];
    vec((0..workloads().len(), any::<u64>(), what), 0..24)
}
