//! Everything an exec record says of a process, captured from its task.

use tarsier_abi::{
    Header, Namespaces, SCRATCH_BYTES, Tail,
    exec::{ARGS_INLINE, Creds, ExecRecord, PATH_MAX, flag},
};

use crate::{
    access::Typed,
    kernel::{Ptr, Window, field, follow, get, get_at, maybe, peek_ptr},
    path::{self, End, Place, Scratch},
    task,
};

const FIXED: u32 = size_of::<ExecRecord>() as u32;
// Executable, working directory and inline arguments fit behind the fixed part, and the second walk
// has its room wherever the first one ended.
const _: () = assert!(FIXED as usize + 2 * PATH_MAX + ARGS_INLINE <= SCRATCH_BYTES);
const _: () = assert!(FIXED as usize + PATH_MAX + path::ROOM + path::LEN_BYTES <= SCRATCH_BYTES);
/// `PF_KTHREAD` (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;
/// Superblock magic numbers (include/uapi/linux/magic.h).
pub const OVERLAYFS_MAGIC: u64 = 0x794c_7630;
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// Fills `out`, which is the start of `scratch`, with an exec record of `task` (typed): fixed part, executable path, working directory.
/// Returns its length, at most `FIXED + 2 * PATH_MAX`. `args` is left empty.
#[inline(always)]
pub fn capture(task: Ptr, header: Header, out: *mut u8, scratch: Scratch) -> u32 {
    let record = out.cast::<ExecRecord>();
    let (vpid, pid_ns) = task::own_pid(Typed(task));
    let kernel_thread = get::<u32>(task, &field::TASK_FLAGS) & PF_KTHREAD != 0;
    // SAFETY (each write): the scratch holds a whole ExecRecord; fields are written one by one so
    // that no temporary of this size is made on the 512-byte stack.
    unsafe {
        (*record).header = header;
        (*record).task = task::key(Typed(task));
        (*record).parent = task::parent_key(Typed(task));
        (*record).cgroup = task::cgroup_id(Typed(task));
        (*record).vpid = vpid;
        (*record).tty = terminal(task);
        (*record).args_bytes = 0;
        (*record).args = Tail { offset: 0, len: 0 };
        (*record).exe = Tail { offset: 0, len: 0 };
        (*record).cwd = Tail { offset: 0, len: 0 };
        (*record).exe_inode = 0;
        (*record).exe_ctime_ns = 0;
        (*record).exe_dev = 0;
        let comm = (&raw mut (*record).comm).cast::<u64>();
        let offset = field::TASK_COMM.load();
        comm.write(get_at(task, offset));
        comm.add(1).write(get_at(task, offset + 8));
    }
    credentials(task, record);
    namespaces(task, record, pid_ns);
    let mut flags = if kernel_thread { flag::KERNEL_THREAD } else { 0 };
    let len = if kernel_thread { FIXED } else { files(task, out, scratch, &mut flags) };
    // SAFETY: as above.
    unsafe { (*record).flags = flags };
    len
}

/// Start of the arguments in the task's memory and their length in bytes.
#[inline(always)]
pub fn arguments(task: Ptr) -> (Ptr, u32) {
    let mm: Ptr = get(task, &field::TASK_MM);
    if mm.is_null() {
        return (core::ptr::null(), 0);
    }
    let start: u64 = get(mm, &field::MM_ARG_START);
    let end: u64 = get(mm, &field::MM_ARG_END);
    // MAX_ARG_STRLEN and the stack limit keep this far below 4 GiB; anything else is not a length.
    let len = end.wrapping_sub(start);
    (start as Ptr, if len > u64::from(u32::MAX) { 0 } else { len as u32 })
}

/// Executable and working directory; returns the record's length so far.
#[inline(always)]
fn files(task: Ptr, out: *mut u8, scratch: Scratch, flags: &mut u32) -> u32 {
    let record = out.cast::<ExecRecord>();
    let mm: Ptr = get(task, &field::TASK_MM);
    let fs: Ptr = get(task, &field::TASK_FS);
    if mm.is_null() || fs.is_null() {
        return FIXED;
    }
    // Copied rather than followed: the walk leaves typed pointers at its first step anyway, and a loop
    // that begins with other types than it goes on with is verified twice over.
    let places = Window::<8>::read(fs);
    let root = Place { dentry: places.ptr(&field::FS_ROOT_DENTRY), mnt: places.ptr(&field::FS_ROOT_MNT) };
    let cwd = Place { dentry: places.ptr(&field::FS_PWD_DENTRY), mnt: places.ptr(&field::FS_PWD_MNT) };
    let mut end = FIXED;
    let file: Ptr = get(mm, &field::MM_EXE_FILE);
    if !file.is_null() {
        let place = Place {
            dentry: peek_ptr(file, field::FILE_DENTRY.load()),
            mnt: peek_ptr(file, field::FILE_MNT.load()),
        };
        let (walked, len) = path::walk_to(place, root, scratch, FIXED);
        *flags |= walk_flags(walked, flag::EXE_TRUNCATED, flag::EXE_DETACHED);
        // SAFETY: a field of the record in the scratch.
        unsafe { (*record).exe = Tail { offset: FIXED as u16, len: len as u16 } };
        end += len;
        inode(get(file, &field::FILE_INODE), walked == End::Detached, record, flags);
    }
    let (walked, len) = path::walk_to(cwd, root, scratch, end);
    *flags |= walk_flags(walked, flag::CWD_TRUNCATED, flag::CWD_DETACHED);
    // SAFETY: a field of the record in the scratch.
    unsafe { (*record).cwd = Tail { offset: end as u16, len: len as u16 } };
    end + len
}

#[inline(always)]
fn walk_flags(end: End, truncated: u32, detached: u32) -> u32 {
    match end {
        End::Root => 0,
        End::Truncated => truncated,
        End::Detached => detached,
    }
}

/// What the executable's inode says: identity, time of change, whether it has a name, where it lies.
#[inline(always)]
fn inode(inode: Ptr, detached: bool, record: *mut ExecRecord, flags: &mut u32) {
    if inode.is_null() {
        return;
    }
    let sb: Ptr = get(inode, &field::INODE_SB);
    let seconds: u64 = get(inode, &field::INODE_CTIME_SEC);
    // Kernels from 6.13 keep a flag in the top bit of the nanoseconds (I_CTIME_QUERIED).
    let nanoseconds = u64::from(get::<u32>(inode, &field::INODE_CTIME_NSEC) & 0x3fff_ffff);
    // SAFETY: the scratch holds a whole ExecRecord.
    unsafe {
        (*record).exe_inode = get(inode, &field::INODE_INO);
        (*record).exe_dev = get(sb, &field::SB_DEV);
        (*record).exe_ctime_ns = seconds * 1_000_000_000 + nanoseconds;
    }
    let magic: u64 = get(sb, &field::SB_MAGIC);
    if get::<u32>(inode, &field::INODE_NLINK) == 0 {
        *flags |= flag::EXE_UNLINKED;
        // A memfd's dentry is its own parent on the kernel's private tmpfs mount (mm/memfd.c).
        if detached && magic == TMPFS_MAGIC {
            *flags |= flag::EXE_MEMFD;
        }
    }
    if magic == OVERLAYFS_MAGIC {
        *flags |= flag::EXE_OVERLAY;
        if is_upper_layer(inode) {
            *flags |= flag::EXE_UPPER_LAYER;
        }
    }
}

/// Whether an inode of an overlay lies in its upper layer. `struct ovl_inode` is the inode followed by the upper dentry
/// (fs/overlayfs/ovl_entry.h).
#[inline(always)]
pub fn is_upper_layer(inode: Ptr) -> bool {
    !peek_ptr(inode, field::INODE_SIZE_OF.load()).is_null()
}

#[inline(always)]
fn credentials(task: Ptr, record: *mut ExecRecord) {
    let cred: Ptr = get(task, &field::TASK_CRED);
    // `kernel_cap_t` is two words or one of eight bytes; two loads of four bytes fit both.
    let caps = |offset: u32| -> u64 {
        u64::from(get_at::<u32>(cred, offset)) | u64::from(get_at::<u32>(cred, offset + 4)) << 32
    };
    // SAFETY (each write): the scratch holds a whole ExecRecord.
    unsafe {
        let creds: *mut Creds = &raw mut (*record).creds;
        (*creds).cap_inheritable = caps(field::CRED_CAP_INHERITABLE.load());
        (*creds).cap_permitted = caps(field::CRED_CAP_PERMITTED.load());
        (*creds).cap_effective = caps(field::CRED_CAP_EFFECTIVE.load());
        (*creds).cap_bounding = caps(field::CRED_CAP_BSET.load());
        (*creds).cap_ambient = caps(field::CRED_CAP_AMBIENT.load());
        (*creds).uid = get(cred, &field::CRED_UID);
        (*creds).gid = get(cred, &field::CRED_GID);
        (*creds).suid = get(cred, &field::CRED_SUID);
        (*creds).sgid = get(cred, &field::CRED_SGID);
        (*creds).euid = get(cred, &field::CRED_EUID);
        (*creds).egid = get(cred, &field::CRED_EGID);
        (*creds).loginuid = maybe(task, &field::TASK_LOGINUID).unwrap_or(u32::MAX);
        (*creds).session = maybe(task, &field::TASK_SESSIONID).unwrap_or(u32::MAX);
        (*record).ns.user =
            follow(cred, &field::CRED_USER_NS).and_then(|ns| maybe(ns, &field::USER_NS_INUM)).unwrap_or(0);
    }
}

#[inline(always)]
fn namespaces(task: Ptr, record: *mut ExecRecord, pid_ns: u32) {
    let proxy: Ptr = get(task, &field::TASK_NSPROXY);
    // SAFETY (each write): the scratch holds a whole ExecRecord.
    unsafe {
        let ns: *mut Namespaces = &raw mut (*record).ns;
        (*ns).pid = pid_ns;
        if proxy.is_null() {
            // An exiting task found by the iterator has left its namespaces.
            ((*ns).mnt, (*ns).net, (*ns).uts) = (0, 0, 0);
            ((*ns).ipc, (*ns).cgroup, (*ns).time) = (0, 0, 0);
            return;
        }
        (*ns).mnt = inum(proxy, &field::NSPROXY_MNT, &field::MNT_NS_INUM);
        (*ns).net = inum(proxy, &field::NSPROXY_NET, &field::NET_INUM);
        (*ns).uts = inum(proxy, &field::NSPROXY_UTS, &field::UTS_NS_INUM);
        (*ns).ipc = inum(proxy, &field::NSPROXY_IPC, &field::IPC_NS_INUM);
        (*ns).cgroup = inum(proxy, &field::NSPROXY_CGROUP, &field::CGROUP_NS_INUM);
        (*ns).time = inum(proxy, &field::NSPROXY_TIME, &field::TIME_NS_INUM);
    }
}

#[inline(always)]
fn inum(proxy: Ptr, namespace: &aya_ebpf::Global<u32>, number: &aya_ebpf::Global<u32>) -> u32 {
    follow(proxy, namespace).and_then(|ns| maybe(ns, number)).unwrap_or(0)
}

/// Controlling terminal, major << 20 | minor; 0 = none or not known to this kernel.
#[inline(always)]
fn terminal(task: Ptr) -> u32 {
    let signal: Ptr = get(task, &field::TASK_SIGNAL);
    let Some(tty) = follow(signal, &field::SIGNAL_TTY) else { return 0 };
    let Some(driver) = follow(tty, &field::TTY_DRIVER) else { return 0 };
    let number = || -> Option<u32> {
        let major: u32 = maybe(driver, &field::TTY_DRIVER_MAJOR)?;
        let start: u32 = maybe(driver, &field::TTY_DRIVER_MINOR_START)?;
        let index: u32 = maybe(tty, &field::TTY_INDEX)?;
        Some(major << 20 | (start + index))
    };
    number().unwrap_or(0)
}
