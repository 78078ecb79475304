//! Sensor `exec`: a program starts. The only record that carries a process's strings.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Attach, Entry, Header, HookKind, Namespaces, Tail, TaskKey};

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`.
pub const ATTACH: &[Attach] =
    &[Attach { entries: &[Entry::new("exec", HookKind::BtfTracepoint, "sched_process_exec")] }];

/// The records of this sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Op {
    /// [`ExecRecord`]: the program starts now.
    Exec = 0,
    /// [`ArgsRecord`]: arguments beyond the inline part of the exec record just before, same task.
    Args = 1,
    /// [`ExecRecord`] from the task iterator: the process was there before the agent. `args` is
    /// empty (another task's memory cannot be read there); user space reads `/proc/PID/cmdline`.
    Seed = 2,
}

impl TryFrom<u8> for Op {
    type Error = u8;
    fn try_from(op: u8) -> Result<Self, u8> {
        match op {
            0 => Ok(Self::Exec),
            1 => Ok(Self::Args),
            2 => Ok(Self::Seed),
            other => Err(other),
        }
    }
}

/// Longest path carried, bytes.
pub const PATH_MAX: usize = 4096;
/// Most path components walked.
pub const PATH_DEPTH: usize = 96;
/// Argument bytes in the exec record itself.
pub const ARGS_INLINE: usize = 4096;
/// Argument bytes of one side record.
pub const ARGS_CHUNK: usize = 4096;
/// Most side records after one exec: 32 KiB of arguments in all.
pub const ARGS_CHUNKS: usize = 7;

/// Bits of [`ExecRecord::flags`].
pub mod flag {
    /// The executable's path was cut: its leading components are missing.
    pub const EXE_TRUNCATED: u32 = 1 << 0;
    /// The working directory's path was cut.
    pub const CWD_TRUNCATED: u32 = 1 << 1;
    /// The executable is not reachable from the task's root (memfd, lazily unmounted, outside).
    pub const EXE_DETACHED: u32 = 1 << 2;
    /// The working directory is not reachable from the task's root.
    pub const CWD_DETACHED: u32 = 1 << 3;
    /// The executable has no name left (`i_nlink == 0`).
    pub const EXE_UNLINKED: u32 = 1 << 4;
    /// The executable is an anonymous memory file (memfd_create).
    pub const EXE_MEMFD: u32 = 1 << 5;
    /// The executable lies in the upper layer of an overlay: not part of the image.
    pub const EXE_UPPER_LAYER: u32 = 1 << 6;
    /// The arguments could not be read (page not present).
    pub const ARGS_UNREADABLE: u32 = 1 << 7;
    /// A kernel thread: no executable.
    pub const KERNEL_THREAD: u32 = 1 << 8;
    /// The executable lies on an overlay file system.
    pub const EXE_OVERLAY: u32 = 1 << 9;
}

/// Credentials (`struct cred`), ids in the initial user namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are the kernel's own")]
pub struct Creds {
    pub cap_inheritable: u64,
    pub cap_permitted: u64,
    pub cap_effective: u64,
    pub cap_bounding: u64,
    pub cap_ambient: u64,
    pub uid: u32,
    pub gid: u32,
    pub suid: u32,
    pub sgid: u32,
    pub euid: u32,
    pub egid: u32,
    /// Audit login uid; `u32::MAX` = unset.
    pub loginuid: u32,
    /// Audit session; `u32::MAX` = unset.
    pub session: u32,
}

/// A program started (or was found running). Paths are lists of components, the last first, each
/// ended by NUL, as seen from the task's root; an empty list is the root itself.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ExecRecord {
    /// `op` is [`Op::Exec`] or [`Op::Seed`].
    pub header: Header,
    /// The process, after the exec.
    pub task: TaskKey,
    /// Its parent (`real_parent`).
    pub parent: TaskKey,
    /// cgroup id.
    pub cgroup: u64,
    /// Inode of the executable.
    pub exe_inode: u64,
    /// ctime of the executable, ns since the epoch.
    pub exe_ctime_ns: u64,
    /// Credentials after the exec.
    pub creds: Creds,
    /// Namespaces.
    pub ns: Namespaces,
    /// `comm`, up to the first NUL: older kernels leave what a longer name had there behind it.
    pub comm: [u8; 16],
    /// Device of the executable as the kernel encodes it (major << 20 | minor).
    pub exe_dev: u32,
    /// See [`flag`].
    pub flags: u32,
    /// Pid in the task's own PID namespace.
    pub vpid: u32,
    /// Controlling terminal as in `/proc/PID/stat` before encoding: major << 20 | minor. 0 = none.
    pub tty: u32,
    /// Bytes of all arguments, each with its NUL, however many are carried.
    pub args_bytes: u32,
    /// Executable path.
    pub exe: Tail,
    /// Working directory.
    pub cwd: Tail,
    /// First [`ARGS_INLINE`] bytes of the arguments, NUL boundaries kept.
    pub args: Tail,
}

/// A further part of the arguments; the bytes follow to the record's end.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ArgsRecord {
    /// `op` is [`Op::Args`].
    pub header: Header,
    /// The process.
    pub task: TaskKey,
    /// Position of these bytes in the arguments.
    pub position: u32,
    /// How many bytes follow.
    pub len: u32,
}

const _: () =
    assert!(size_of::<Creds>() == 72 && size_of::<ExecRecord>() == 224 && size_of::<ArgsRecord>() == 40);
