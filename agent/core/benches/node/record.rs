//! Records as the kernel side lays them out.

use tarsier_abi::exec::{Creds, ExecRecord};
use tarsier_abi::exit::ExitRecord;
use tarsier_abi::fork::ForkRecord;
use tarsier_abi::tcp::{self, CloseRecord, Counters, EstablishedRecord, OpenRecord, OwnerRecord, Tuple};
use tarsier_abi::{Header, Namespaces, Sensor, Tail, TaskKey};
use zerocopy::{FromZeros, Immutable, IntoBytes};

use super::Records;

/// Numbers records as the kernel side does: per sensor and CPU.
#[derive(Default)]
pub(super) struct Writer {
    sequences: [[u32; 8]; 2],
    pub(super) records: Records,
}

/// What an exec record tells beside identity.
pub(super) struct Program<'a> {
    /// Components, the last first, each with its NUL.
    pub(super) exe: &'a [u8],
    pub(super) cwd: &'a [u8],
    pub(super) args: &'a [u8],
    pub(super) comm: &'a str,
    pub(super) inode: u64,
    pub(super) uid: u32,
    /// Tells the namespaces of one container from those of the next.
    pub(super) namespaces: u32,
}

/// One socket's view of a connection.
#[derive(Clone, Copy)]
pub(super) struct Socket {
    pub(super) tuple: Tuple,
    /// Own address and the peer's.
    pub(super) addresses: [u32; 2],
}

impl Writer {
    fn header(&mut self, sensor: Sensor, op: u8, boot_ns: u64) -> Header {
        let cpu = (boot_ns >> 16 & 1) as u16;
        let sequence = &mut self.sequences[usize::from(cpu)][sensor as usize];
        *sequence += 1;
        Header { sensor: sensor as u8, op, cpu, seq: *sequence - 1, boot_ns }
    }

    pub(super) fn fork(&mut self, at_ns: u64, child: TaskKey, parent: TaskKey, cgroup: u64) {
        let mut record = ForkRecord::new_zeroed();
        record.header = self.header(Sensor::Fork, 0, at_ns);
        (record.child, record.parent, record.cgroup, record.vpid) = (child, parent, cgroup, child.tgid);
        self.records.push(&[record.as_bytes()], false);
    }

    pub(super) fn exit(&mut self, at_ns: u64, task: TaskKey, parent: TaskKey, cgroup: u64, status: u32) {
        let mut record = ExitRecord::new_zeroed();
        record.header = self.header(Sensor::Exit, 0, at_ns);
        (record.task, record.parent, record.cgroup, record.status) = (task, parent, cgroup, status);
        self.records.push(&[record.as_bytes()], false);
    }

    pub(super) fn exec(
        &mut self,
        at_ns: u64,
        task: TaskKey,
        parent: TaskKey,
        cgroup: u64,
        program: &Program<'_>,
    ) {
        let Program { exe, cwd, args, comm, inode, uid, namespaces } = *program;
        let mut record = ExecRecord::new_zeroed();
        record.header = self.header(Sensor::Exec, 0, at_ns);
        (record.task, record.parent, record.cgroup) = (task, parent, cgroup);
        record.exe_inode = inode;
        record.exe_ctime_ns = 1_700_000_000_123_456_789 + inode;
        record.exe_dev = 253 << 20 | 1;
        record.creds = Creds {
            cap_permitted: if uid == 0 { 0x01FF_FFFF_FFFF } else { 0 },
            cap_effective: if uid == 0 { 0x01FF_FFFF_FFFF } else { 0 },
            cap_bounding: 0x01FF_FFFF_FFFF,
            uid,
            gid: uid,
            suid: uid,
            sgid: uid,
            euid: uid,
            egid: uid,
            loginuid: u32::MAX,
            session: u32::MAX,
            ..Creds::default()
        };
        let base = 4_026_532_000 + 8 * namespaces;
        let (net, uts, ipc) = (base + 2, base + 4, base + 5);
        record.ns = Namespaces {
            mnt: base,
            pid: base + 1,
            net,
            user: 4_026_531_837,
            uts,
            ipc,
            cgroup: base + 6,
            time: 4_026_531_834,
        };
        record.comm[..comm.len().min(15)].copy_from_slice(&comm.as_bytes()[..comm.len().min(15)]);
        record.vpid = task.tgid % 500;
        record.args_bytes = args.len() as u32;
        let mut end = size_of::<ExecRecord>();
        let mut tail = |bytes: &[u8]| {
            let tail = Tail { offset: end as u16, len: bytes.len() as u16 };
            end += bytes.len();
            tail
        };
        (record.exe, record.cwd, record.args) = (tail(exe), tail(cwd), tail(args));
        self.records.execs += 1;
        self.records.push(&[record.as_bytes(), exe, cwd, args], false);
    }

    pub(super) fn open(&mut self, at_ns: u64, socket: &Socket, task: TaskKey) {
        let mut record = OpenRecord::new_zeroed();
        record.header = self.header(Sensor::Tcp, tcp::Op::Open as u8, at_ns);
        let unknown = Tuple { local_port: 0, base: 0, isn_peer: 0, role: 0, ..socket.tuple };
        record.tuple = Tuple { state: tcp::state::SYN_SENT, ..unknown };
        record.task = task;
        record.addresses.words[..2].copy_from_slice(&socket.addresses);
        self.cut(&record);
    }

    pub(super) fn established(&mut self, at_ns: u64, socket: &Socket) {
        let mut record = EstablishedRecord::new_zeroed();
        record.header = self.header(Sensor::Tcp, tcp::Op::Established as u8, at_ns);
        record.tuple = Tuple { state: tcp::state::ESTABLISHED, ..socket.tuple };
        record.srtt_us = 180;
        record.addresses.words[..2].copy_from_slice(&socket.addresses);
        self.cut(&record);
    }

    pub(super) fn owner(&mut self, at_ns: u64, socket: &Socket, task: TaskKey) {
        let mut record = OwnerRecord::new_zeroed();
        record.header = self.header(Sensor::Tcp, tcp::Op::Owner as u8, at_ns);
        (record.sock, record.task) = (socket.tuple.sock, task);
        self.records.push(&[record.as_bytes()], true);
    }

    pub(super) fn close(&mut self, at_ns: u64, socket: &Socket, owner: Option<TaskKey>, counters: Counters) {
        let mut record = CloseRecord::new_zeroed();
        record.header = self.header(Sensor::Tcp, tcp::Op::Close as u8, at_ns);
        record.tuple = Tuple { state: tcp::state::FIN_WAIT2, ..socket.tuple };
        if let Some(owner) = owner {
            (record.task, record.tuple.flags) = (owner, tcp::flag::OWNED);
        }
        record.counters = counters;
        record.addresses.words[..2].copy_from_slice(&socket.addresses);
        self.cut(&record);
    }

    /// An IPv4 record ends after the addresses that it uses.
    fn cut<T: IntoBytes + Immutable>(&mut self, record: &T) {
        let bytes = record.as_bytes();
        let unused = tcp::Addresses::V6_BYTES - tcp::Addresses::V4_BYTES;
        self.records.push(&[&bytes[..bytes.len() - unused]], true);
    }
}
