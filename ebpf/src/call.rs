//! A system call's record, from arguments that lie in the scratch to the ring.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, generated::bpf_probe_read_user};
use tarsier_abi::{
    Sensor,
    syscall::{
        ADDRESS_BYTES, ARGUMENTS, Address, CALLS, CWD, Call, CallerCreds, DATA_BYTES, Fd, Known, NO_ARGUMENT,
        NOT_A_PATH, Name, PartKind, RECIPES, Recipe, Subject, SyscallRecord, WRITES, class, flag,
    },
};

use crate::{
    access::{Access, Untyped},
    capture::Capture,
    descriptor, emit,
    kernel::{Ptr, field, peek_two},
    maps::SYSCALL_SCRATCH,
    path::Place,
    pushed::{self, Alternatives},
    task,
};

/// `AT_FDCWD`.
pub const AT_FDCWD: i32 = -100;
pub const AF_UNIX: u16 = 1;
/// Longest path of a unix socket (`sockaddr_un.sun_path`).
pub const UNIX_PATH_BYTES: u32 = 108;

/// What is kept in the capture: places whose paths are to be walked, dentry and mount of each.
pub mod kept {
    /// What the first path is relative to.
    pub const DIR: usize = 0;
    /// What the second path is relative to.
    pub const DIR2: usize = 1;
    /// The descriptor's file.
    pub const FILE: usize = 2;
    /// How many places there are.
    pub const PLACES: usize = 3;
}

/// Keeps the `index`th place.
#[inline(always)]
pub fn keep_place(capture: Capture, index: usize, place: Place) {
    capture.keep(index * 2, place.dentry as u64);
    capture.keep(index * 2 + 1, place.mnt as u64);
}

/// What of each call is captured. As many as a mask lets through: a comparison with the number of calls is forgotten by
/// some verifiers before it is used.
static RECIPE_OF: [Recipe; 128] = {
    let mut recipes = [Recipe::numbers(0); 128];
    let mut call = 0;
    while call < CALLS {
        recipes[call] = RECIPES[call];
        call += 1;
    }
    recipes
};

/// Whose call it is.
#[inline(always)]
pub fn credentials(task: impl Access) -> CallerCreds {
    let cred = task.follow(&field::TASK_CRED);
    CallerCreds {
        // `kernel_cap_t` is two words or one of eight bytes.
        cap_inheritable: cred.read(&field::CRED_CAP_INHERITABLE),
        cap_permitted: cred.read(&field::CRED_CAP_PERMITTED),
        cap_effective: cred.read(&field::CRED_CAP_EFFECTIVE),
        euid: cred.read(&field::CRED_EUID),
        egid: cred.read(&field::CRED_EGID),
    }
}

/// A call that is wanted and whose arguments lie in the scratch. `what`: the call, whether it is a 32-bit one, the plan that
/// holds. Global for the verifier's sake, as [`pushed::end_passes`] is, and so that it is once in the object.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn tell(ret: u64, what: u64) -> u64 {
    let ret = ret.cast_signed();
    // SAFETY: a helper without preconditions.
    let task = Untyped(unsafe { bpf_get_current_task() } as Ptr);
    let (call, is_compat, plan) = (what as u32 & 0xff, what >> 8 & 1 != 0, (what >> 32) as u32);
    let Some(scratch) = SYSCALL_SCRATCH.get_ptr_mut(0) else { return 0 };
    let capture = Capture::new(scratch.cast(), size_of::<SyscallRecord>());
    let record = capture.record().cast::<SyscallRecord>();
    // What is written now need not be remembered, and tells the verifier nothing later.
    // SAFETY (each write): the record's place in the scratch, aligned, has room for it.
    unsafe {
        (&raw mut (*record).header.op).write_volatile(call as u8);
        (&raw mut (*record).flags).write_volatile(if is_compat { flag::COMPAT } else { 0 });
    }
    if call == Call::openat2 as u32 {
        // Flags, mode and resolve flags of `struct open_how` in place of the pointer to it and its size.
        capture.read_arguments::<3>(2, capture.argument(2));
    } else if call == Call::clone3 as u32 {
        // The flags, which `struct clone_args` begins with.
        capture.read_arguments::<1>(0, capture.argument(0));
    } else if call == Call::io_uring_setup as u32 {
        // `struct io_uring_params` up to its features, as the kernel left it.
        capture.read_arguments::<3>(1, capture.argument(1));
    }
    let passes = passes(capture, task, record, ret, plan);
    // Through memory: the compiler would make two of all that follows, one for calls without a filter.
    capture.keep(0, u64::from(passes));
    if capture.kept(0) == 0 {
        return 0;
    }
    // SAFETY (each write): as above.
    unsafe {
        (&raw mut (*record).task).write(task::key(task));
        (&raw mut (*record).ret).write(ret);
        (&raw mut (*record).tid).write(bpf_get_current_pid_tgid() as u32);
        (&raw mut (*record).creds).write(credentials(task));
    }
    numbers(capture, record);
    about_descriptor(capture, task, record, ret);
    names(capture, task, record);
    for place in 0..kept::PLACES {
        capture_kept(place as u64);
    }
    let Some(len) = capture.len() else { return 0 };
    let Some(header) = emit::header(Sensor::Syscall, op(record)) else { return 0 };
    // SAFETY: as above.
    unsafe { (&raw mut (*record).header).write(header) };
    // SAFETY: all of it was written.
    emit::output(Sensor::Syscall, unsafe { core::slice::from_raw_parts(capture.record(), len) });
    0
}

/// Appends the path of a place that was kept. Global for the verifier's sake, as [`pushed::end_passes`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn capture_kept(place: u64) -> u64 {
    let Some(scratch) = SYSCALL_SCRATCH.get_ptr_mut(0) else { return 0 };
    let capture = Capture::resumed(scratch.cast());
    let kind = match place as usize {
        kept::DIR => PartKind::Dir,
        kept::DIR2 => PartKind::Dir2,
        _ => PartKind::FilePath,
    };
    // Of four places one is never used: a mask is a bound that every verifier keeps.
    let place = place as usize & 3;
    let (dentry, mnt) = (capture.kept(place * 2) as Ptr, capture.kept(place * 2 + 1) as Ptr);
    if !dentry.is_null() {
        capture.path(kind, Place { dentry, mnt }, capture.root());
    }
    0
}

/// Whether a call may be what a rule is about.
#[inline(always)]
fn passes(capture: Capture, task: Untyped, record: *mut SyscallRecord, ret: i64, plan: u32) -> bool {
    let recipe = recipe(record);
    let access = match recipe.flags {
        NO_ARGUMENT => 0,
        WRITES => 1,
        at => capture.argument(at) as u32,
    };
    let class = class(access, ret < 0);
    let Some(alternatives) = Alternatives::of(op(record).into(), plan, class) else { return true };
    if alternatives.is_empty() {
        return false;
    }
    let fd = if let Fd::First = recipe.fd { capture.argument(0) as i64 } else { ret };
    let returned = Known { bits: ret as u64, known: u64::MAX };
    match recipe.subject() {
        Subject::Outcome => true,
        Subject::Descriptor => {
            let file = descriptor::file(task, fd as u32);
            // Where there is no file, arguments may say what would have been.
            let head = if file.is_null() { Known { bits: 0, known: 0 } } else { descriptor::head(file) };
            alternatives.hold(head, returned)
        }
        Subject::Choice => {
            let chosen = capture.argument(recipe.choice) as u32;
            alternatives.hold(Known { bits: chosen.into(), known: u64::MAX }, returned)
        }
        Subject::Path => {
            if pushed::written_path(alternatives, capture.argument(recipe.path.at)) {
                return true;
            }
            // What was not opened has no path but the written one.
            let file = match recipe.fd {
                Fd::Returned if ret >= 0 => descriptor::file(task, fd as u32),
                _ => return false,
            };
            let fs = task.follow(&field::TASK_FS).address();
            own_path_passes(file as u64, fs as u64, alternatives.word()) != 0
        }
    }
}

/// The call under construction.
#[inline(always)]
pub fn op(record: *mut SyscallRecord) -> u8 {
    // SAFETY: the caller's record, of which this much is written.
    unsafe { (&raw const (*record).header.op).read_volatile() }
}

/// What of the call under construction is captured.
#[inline(always)]
pub fn recipe(record: *mut SyscallRecord) -> &'static Recipe {
    // SAFETY: within the table.
    unsafe { &*RECIPE_OF.as_ptr().add(usize::from(op(record) & 127)) }
}

/// Whether the path that a file has passes one of these alternatives of a call's filter. Global as
/// [`capture_kept`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn own_path_passes(file: u64, fs: u64, alternatives: u64) -> u64 {
    let (dentry, mnt) = peek_two::<8>(fs as Ptr, &field::FS_ROOT_DENTRY, &field::FS_ROOT_MNT);
    let place = descriptor::place(file as Ptr);
    pushed::own_path(Alternatives::from_word(alternatives), place, Place { dentry, mnt }).into()
}

/// The arguments that are carried as numbers.
#[inline(always)]
pub fn numbers(capture: Capture, record: *mut SyscallRecord) {
    let count = recipe(record).numbers;
    // SAFETY: a field of the caller's record.
    unsafe { (&raw mut (*record).numbers).write(u16::from(count)) };
    for index in 0..ARGUMENTS as u8 {
        if index < count {
            capture.number(capture.argument(index));
        }
    }
}

/// File or socket, address, data.
#[inline(always)]
fn about_descriptor(capture: Capture, task: Untyped, record: *mut SyscallRecord, ret: i64) {
    for place in 0..kept::PLACES {
        capture.keep(place * 2, 0);
    }
    let recipe = recipe(record);
    let fd = match recipe.fd {
        Fd::None => -1,
        Fd::First => capture.argument(0) as i32,
        Fd::Returned => ret as i32,
    };
    if fd >= 0 {
        let file = descriptor::file(task, fd as u32);
        if !file.is_null() && of_descriptor(capture, file, fd) {
            keep_place(capture, kept::FILE, descriptor::place(file));
        }
    }
    address(capture, recipe.address, record);
    if recipe.data != NO_ARGUMENT && ret > 0 {
        let from = capture.argument(recipe.data);
        capture.user_bytes::<{ DATA_BYTES as u32 }>(PartKind::Data, from, ret as u64);
    }
}

/// Paths and names, and what they are relative to.
#[inline(always)]
fn names(capture: Capture, task: Untyped, record: *mut SyscallRecord) {
    capture.set_places(task.follow(&field::TASK_FS).address());
    let recipe = recipe(record);
    name(capture, task, recipe.path, PartKind::Path, kept::DIR);
    name(capture, task, recipe.path2, PartKind::Path2, kept::DIR2);
}

/// What a descriptor stands for; returns whether it has a path.
#[inline(always)]
fn of_descriptor(capture: Capture, file: Ptr, fd: i32) -> bool {
    if !descriptor::is_socket(file) {
        if let Some(out) = capture.fixed(PartKind::File) {
            descriptor::facts(file, fd, out);
        }
        return true;
    }
    let sock = descriptor::sock(file);
    if let Some(out) = capture.fixed(PartKind::Socket) {
        descriptor::socket_facts(sock, fd, out);
    }
    if descriptor::is_connected(sock)
        && let Some(out) = capture.fixed(PartKind::Connection)
    {
        descriptor::connection_facts(sock, out);
    }
    if descriptor::family(sock) == AF_UNIX {
        let (name, len) = descriptor::unix_name(sock);
        if len != 0 {
            capture.kernel_bytes::<UNIX_PATH_BYTES>(PartKind::UnixPath, name, len);
        }
    }
    false
}

/// The address that was passed or filled in.
#[inline(always)]
fn address(capture: Capture, wanted: Address, record: *mut SyscallRecord) {
    // SAFETY: a field of the caller's record.
    let is_compat = || unsafe { (&raw const (*record).flags).read_volatile() } & flag::COMPAT != 0;
    let (from, len) = match wanted {
        Address::None => return,
        Address::Second => (capture.argument(1), capture.argument(2)),
        Address::Fifth => (capture.argument(4), capture.argument(5)),
        Address::FifthIn => (capture.argument(4), u64::from(peek_user::<u32>(capture.argument(5)))),
        Address::Message if is_compat() => {
            let [name, len] = peek_user::<[u32; 2]>(capture.argument(1));
            (u64::from(name), u64::from(len))
        }
        // `struct user_msghdr { void *msg_name; int msg_namelen; … }`.
        Address::Message => {
            let [name, len] = peek_user::<[u64; 2]>(capture.argument(1));
            (name, len)
        }
    };
    // A length is an `int`.
    let len = u64::from(len as u32);
    if from != 0 && len != 0 {
        capture.user_bytes::<{ ADDRESS_BYTES as u32 }>(PartKind::Address, from, len);
    }
}

/// Reads the task's memory; what cannot be read is zero.
#[inline(always)]
pub fn peek_user<T: Copy>(from: u64) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the source and fills the whole value, with zeros if it must.
    unsafe { bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, from as *const _) };
    // SAFETY: as above.
    unsafe { value.assume_init() }
}

/// A path or name that was passed, and what it is relative to.
#[inline(always)]
fn name(capture: Capture, task: Untyped, name: Name, kind: PartKind, dir: usize) {
    if name.at == NO_ARGUMENT {
        return;
    }
    let is_relative = capture.string(kind, capture.argument(name.at));
    if !is_relative || name.from == NOT_A_PATH {
        return;
    }
    let from = if name.from == CWD { AT_FDCWD } else { capture.argument(name.from) as i32 };
    let place = if from == AT_FDCWD {
        capture.cwd()
    } else {
        let file = descriptor::file(task, from as u32);
        if file.is_null() {
            return;
        }
        descriptor::place(file)
    };
    keep_place(capture, dir, place);
}
