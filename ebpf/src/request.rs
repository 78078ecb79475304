//! A request of io_uring: what is known of it when it has been prepared, kept until it is complete, and told as the call that does
//! the same.
//!
//! Paths are the kernel's own copies: whatever the program writes to its memory afterwards, this is what was opened. How a request
//! ended is known when its completion is put into the ring; what no completion comes of is told without that, as if it had worked.

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::{
        bpf_get_current_pid_tgid, bpf_get_current_task,
        generated::{bpf_probe_read_kernel, bpf_probe_read_kernel_str},
    },
};
use tarsier_abi::{
    ABSENT, Sensor,
    io_uring::PENDING_BYTES,
    syscall::{
        ADDRESS_BYTES, CWD, Call, DATA_BYTES, Fd, FileFacts, Known, NO_ARGUMENT, NOT_A_PATH, Name,
        PATH_BYTES, PartKind, SocketFacts, Subject, SyscallRecord, class, flag,
    },
};

use crate::{
    access::{Access, Untyped},
    call::{
        AF_UNIX, AT_FDCWD, UNIX_PATH_BYTES, credentials, keep_place, kept, numbers, op, peek_user, recipe,
    },
    capture::Capture,
    descriptor, emit,
    kernel::{Ptr, field, peek, peek_ptr},
    maps::{REQUEST_PATH_SCRATCH, REQUEST_SCRATCH, REQUESTS},
    path::Place,
    pushed::{self, Alternatives},
    task,
};

/// What is kept in the capture beside places: the request, and whether what it returns is no descriptor.
const REQUEST: usize = 6;
const SLOT: usize = 7;

/// `REQ_F_FIXED_FILE` and `REQ_F_CQE_SKIP` (include/linux/io_uring_types.h), as the program passes them: its descriptor is one
/// of the ring's own table; there is no completion unless it fails.
const FIXED_FILE: u32 = 1;
const SKIPS_COMPLETION: u32 = 1 << 6;

/// Said to [`conclude`]: how it ended is not known.
pub const OPEN_ENDED: u64 = 1 << 32;

/// Takes down which request is looked at: from here on it is known by its address.
#[inline(always)]
pub fn begin(scratch: *mut u8, request: u64) {
    Capture::resumed(scratch).keep(REQUEST, request);
}

/// Takes up what was kept of a request. Returns which one it was.
#[inline(always)]
pub fn resume(scratch: *mut u8, pending: *const u8) -> u64 {
    // SAFETY: both have that many bytes.
    unsafe { bpf_probe_read_kernel(scratch.cast(), PENDING_BYTES as u32, pending.cast()) };
    Capture::resumed(scratch).kept(REQUEST)
}

/// The call that is told of what was taken up.
#[inline(always)]
pub fn call_of(scratch: *mut u8) -> u8 {
    op(Capture::resumed(scratch).record().cast())
}

/// Captures what is known of a request before it runs, and keeps it. `what`: the call that does the same, the plan that holds.
/// Returns 1 if it is to be told at once. Global for the verifier's sake, as [`pushed::end_passes`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn prepare(what: u64) -> u64 {
    let Some(scratch) = REQUEST_SCRATCH.get_ptr_mut(0) else { return 0 };
    let capture = Capture::new(scratch.cast(), size_of::<SyscallRecord>());
    let record = capture.record().cast::<SyscallRecord>();
    let request = capture.kept(REQUEST) as Ptr;
    let (call, plan) = (what as u32 & 0xff, (what >> 32) as u32);
    // SAFETY (each write): the record's place in the scratch, aligned, has room for it.
    unsafe {
        (&raw mut (*record).header.op).write_volatile(call as u8);
        (&raw mut (*record).flags).write_volatile(flag::REQUEST);
    }
    capture.keep(0, 0);
    capture.keep(1, 0);
    capture.keep(SLOT, 0);
    arguments(capture, request, call);
    let (first, second) = (capture.kept(0) as Ptr, capture.kept(1) as Ptr);
    let passes = may_pass(capture, record, first, plan);
    // Through memory: the compiler would make two of all that follows.
    capture.keep(0, u64::from(passes));
    if capture.kept(0) == 0 {
        return 0;
    }
    // SAFETY: a helper without preconditions.
    let task = Untyped(unsafe { bpf_get_current_task() } as Ptr);
    // SAFETY (each write): as above.
    unsafe {
        (&raw mut (*record).task).write(task::key(task));
        (&raw mut (*record).tid).write(bpf_get_current_pid_tgid() as u32);
        (&raw mut (*record).creds).write(credentials(task));
    }
    numbers(capture, record);
    let recipe = recipe(record);
    if !matches!(recipe.fd, Fd::None) {
        // Room for what the descriptor stands for, which is known later.
        if recipe.flags == NO_ARGUMENT {
            capture.fixed::<SocketFacts>(PartKind::Nothing);
        } else {
            capture.fixed::<FileFacts>(PartKind::Nothing);
        }
    }
    address(capture, request, call);
    for place in 0..kept::PLACES {
        capture.keep(place * 2, 0);
        capture.keep(place * 2 + 1, 0);
    }
    capture.set_places(task.follow(&field::TASK_FS).address());
    name(capture, task, recipe.path, first, PartKind::Path, kept::DIR);
    name(capture, task, recipe.path2, second, PartKind::Path2, kept::DIR2);
    walk_for_request(kept::DIR as u64);
    walk_for_request(kept::DIR2 as u64);
    capture.keep(REQUEST, request as u64);
    let skips = peek::<u32>(request, field::REQ_FLAGS.load()) & SKIPS_COMPLETION != 0;
    if skips || !capture.lies_within(PENDING_BYTES) {
        return 1;
    }
    let key = [peek(request, field::REQ_RING.load()), peek(request, field::REQ_USER_DATA.load())];
    // SAFETY: the scratch is longer.
    let pending = unsafe { &*scratch.cast::<[u8; PENDING_BYTES]>().cast_const() };
    // One of the same name that is not complete yet, or no room.
    u64::from(REQUESTS.insert(&key, pending, u64::from(BPF_NOEXIST)).is_err())
}

/// Tells of a request that was prepared or taken up. `how`: the plan that holds, [`OPEN_ENDED`]. Global as [`prepare`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn conclude(ret: u64, how: u64) -> u64 {
    let Some(scratch) = REQUEST_SCRATCH.get_ptr_mut(0) else { return 0 };
    let capture = Capture::resumed(scratch.cast());
    let record = capture.record().cast::<SyscallRecord>();
    let (ret, plan, is_open_ended) = (ret.cast_signed(), how as u32, how & OPEN_ENDED != 0);
    // SAFETY: a helper without preconditions.
    let task = Untyped(unsafe { bpf_get_current_task() } as Ptr);
    let fd = fd(capture, record, ret);
    let file = file(capture, task, record, fd);
    let passes = is_open_ended || passes(capture, record, ret, file, plan);
    // As above.
    capture.keep(0, u64::from(passes));
    if capture.kept(0) == 0 {
        return 0;
    }
    // SAFETY (each write): the record's place in the scratch, aligned, has room for it.
    unsafe {
        (&raw mut (*record).ret).write(ret);
        if is_open_ended {
            (&raw mut (*record).flags).write(flag::REQUEST | flag::OPEN_ENDED);
        }
    }
    if !file.is_null() {
        about_file(capture, record, file, fd);
    }
    walk_for_request(kept::FILE as u64);
    let data = recipe(record).data;
    if data != NO_ARGUMENT && ret > 0 && is_own(record) {
        capture.user_bytes::<{ DATA_BYTES as u32 }>(PartKind::Data, capture.argument(data), ret as u64);
    }
    let Some(len) = capture.len() else { return 0 };
    let Some(header) = emit::header(Sensor::IoUring, op(record)) else { return 0 };
    // SAFETY: as above.
    unsafe { (&raw mut (*record).header).write(header) };
    // SAFETY: all of it was written.
    emit::output(Sensor::IoUring, unsafe { core::slice::from_raw_parts(capture.record(), len) });
    0
}

/// Appends the path of a place that was kept. Global as [`prepare`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn walk_for_request(place: u64) -> u64 {
    let Some(scratch) = REQUEST_SCRATCH.get_ptr_mut(0) else { return 0 };
    let capture = Capture::resumed(scratch.cast());
    let kind = match place as usize {
        kept::DIR => PartKind::Dir,
        kept::DIR2 => PartKind::Dir2,
        _ => PartKind::FilePath,
    };
    // A mask is a bound that every verifier keeps.
    let place = place as usize & 3;
    let (dentry, mnt) = (capture.kept(place * 2) as Ptr, capture.kept(place * 2 + 1) as Ptr);
    if !dentry.is_null() {
        capture.path(kind, Place { dentry, mnt }, capture.root());
    }
    0
}

/// Puts what the request is to do where the arguments of the call would lie, and its names (`struct filename`) where the first two
/// places will.
#[inline(always)]
fn arguments(capture: Capture, request: Ptr, call: u32) {
    let command = request.wrapping_add(field::REQ_CMD.load() as usize);
    macro_rules! take {
        ($($place:literal: $type:ty = $field:ident),+ $(; names $($name:ident),+)? $(; slot $slot:ident)?) => {{
            $(capture.set_argument($place, u64::from(peek::<$type>(command, field::$field.load())));)+
            $(let mut place = 0; $(
                capture.keep(place, peek(command, field::$name.load()));
                place += 1;
            )+ let _ = place;)?
            $(capture.keep(SLOT, u64::from(peek::<u32>(command, field::$slot.load())));)?
        }};
    }
    for index in 0..6 {
        capture.set_argument(index, 0);
    }
    if call == Call::openat as u32 || call == Call::openat2 as u32 {
        take!(0: u32 = REQ_OPEN_DFD, 2: u64 = REQ_OPEN_FLAGS, 3: u64 = REQ_OPEN_MODE, 4: u64 = REQ_OPEN_RESOLVE;
            names REQ_OPEN_NAME; slot REQ_OPEN_SLOT);
    } else if call == Call::unlinkat as u32 {
        take!(0: u32 = REQ_UNLINK_DFD, 2: u32 = REQ_UNLINK_FLAGS; names REQ_UNLINK_NAME);
    } else if call == Call::mkdirat as u32 {
        take!(0: u32 = REQ_MKDIR_DFD, 2: u16 = REQ_MKDIR_MODE; names REQ_MKDIR_NAME);
    } else if call == Call::renameat2 as u32 {
        take!(0: u32 = REQ_RENAME_OLD_DFD, 2: u32 = REQ_RENAME_NEW_DFD, 4: u32 = REQ_RENAME_FLAGS;
            names REQ_RENAME_OLD, REQ_RENAME_NEW);
    } else if call == Call::linkat as u32 {
        take!(0: u32 = REQ_LINK_OLD_DFD, 2: u32 = REQ_LINK_NEW_DFD, 4: u32 = REQ_LINK_FLAGS;
            names REQ_LINK_OLD, REQ_LINK_NEW);
    } else if call == Call::symlinkat as u32 {
        take!(1: u32 = REQ_LINK_NEW_DFD; names REQ_LINK_OLD, REQ_LINK_NEW);
    } else if call == Call::socket as u32 {
        take!(0: u32 = REQ_SOCKET_DOMAIN, 1: u32 = REQ_SOCKET_TYPE, 2: u32 = REQ_SOCKET_PROTOCOL; slot REQ_SOCKET_SLOT);
    } else {
        // All others are about a descriptor.
        capture.set_argument(0, u64::from(peek::<u32>(request, field::REQ_FD.load())));
        if call == Call::connect as u32 {
            take!(1: u64 = REQ_CONNECT_ADDR, 2: u32 = REQ_CONNECT_LEN);
        } else if call == Call::accept4 as u32 {
            take!(3: u32 = REQ_ACCEPT_FLAGS; slot REQ_ACCEPT_SLOT);
        } else if call == Call::bind as u32 && field::REQ_BIND_LEN.load() != ABSENT {
            take!(2: u32 = REQ_BIND_LEN);
        } else if call == Call::listen as u32 && field::REQ_LISTEN_BACKLOG.load() != ABSENT {
            take!(1: u32 = REQ_LISTEN_BACKLOG);
        } else if call == Call::sendto as u32 || call == Call::recvfrom as u32 {
            take!(1: u64 = REQ_MESSAGE_AT, 2: u32 = REQ_MESSAGE_LEN, 3: u32 = REQ_MESSAGE_FLAGS);
        } else if call == Call::sendmsg as u32 || call == Call::recvmsg as u32 {
            take!(1: u64 = REQ_MESSAGE_AT, 2: u32 = REQ_MESSAGE_FLAGS);
        }
    }
}

/// Whether a rule may be about a request, however it will end.
#[inline(always)]
fn may_pass(capture: Capture, record: *mut SyscallRecord, name: Ptr, plan: u32) -> bool {
    let recipe = recipe(record);
    let is_path = matches!(recipe.subject(), Subject::Path);
    let Some(scratch) = REQUEST_PATH_SCRATCH.get_ptr_mut(0) else { return true };
    let scratch = scratch.cast::<u8>();
    let mut read = 0;
    if is_path {
        let from = peek_ptr(name, field::FILENAME_NAME.load());
        // SAFETY: the scratch has PATH_BYTES from there; the helper bounds and ends the copy.
        read = unsafe {
            bpf_probe_read_kernel_str(
                scratch.wrapping_add(pushed::BEFORE).cast(),
                PATH_BYTES as u32,
                from.cast(),
            )
        };
    }
    let access = if recipe.flags == NO_ARGUMENT { 0 } else { capture.argument(recipe.flags) as u32 };
    for failed in 0..2 {
        let passes = match Alternatives::of(op(record).into(), plan, class(access, failed != 0)) {
            None => true,
            Some(alternatives) if alternatives.is_empty() => false,
            Some(alternatives) => !is_path || requested_path_passes(alternatives.word(), read as u64) != 0,
        };
        if passes {
            return true;
        }
    }
    false
}

/// Whether the path that was read passes one of these alternatives. Global as [`prepare`] is.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn requested_path_passes(alternatives: u64, read: u64) -> u64 {
    let Some(scratch) = REQUEST_PATH_SCRATCH.get_ptr_mut(0) else { return 1 };
    pushed::path_passes(Alternatives::from_word(alternatives), scratch.cast(), read.cast_signed()).into()
}

/// Whether one may be about it, now that it has ended.
#[inline(always)]
fn passes(capture: Capture, record: *mut SyscallRecord, ret: i64, file: Ptr, plan: u32) -> bool {
    let recipe = recipe(record);
    let access = if recipe.flags == NO_ARGUMENT { 0 } else { capture.argument(recipe.flags) as u32 };
    let Some(alternatives) = Alternatives::of(op(record).into(), plan, class(access, ret < 0)) else {
        return true;
    };
    if alternatives.is_empty() {
        return false;
    }
    let head = match recipe.subject() {
        Subject::Descriptor if file.is_null() => Known { bits: 0, known: 0 },
        Subject::Descriptor => descriptor::head(file),
        Subject::Choice => Known { bits: (capture.argument(recipe.choice) as u32).into(), known: u64::MAX },
        Subject::Outcome | Subject::Path => return true,
    };
    alternatives.hold(head, Known { bits: ret as u64, known: u64::MAX })
}

/// The number of the descriptor that it is about; -1: there is none.
#[inline(always)]
fn fd(capture: Capture, record: *mut SyscallRecord, ret: i64) -> i32 {
    match recipe(record).fd {
        Fd::None => -1,
        Fd::First => capture.argument(0) as i32,
        // What was put into the ring's own table has none.
        Fd::Returned if capture.kept(SLOT) != 0 => -1,
        Fd::Returned => ret as i32,
    }
}

/// What it stands for; null: it is not known.
#[inline(always)]
fn file(capture: Capture, task: Untyped, record: *mut SyscallRecord, fd: i32) -> Ptr {
    if let Fd::First = recipe(record).fd {
        let request = capture.kept(REQUEST) as Ptr;
        // What runs has it; before, it is in the table that the number is of.
        let file: Ptr = peek(request, field::REQ_FILE.load());
        let is_fixed = peek::<u32>(request, field::REQ_FLAGS.load()) & FIXED_FILE != 0;
        if !file.is_null() || is_fixed {
            return file;
        }
    }
    // Threads of the kernel that complete requests can be of somebody else.
    if fd < 0 || !is_own(record) { core::ptr::null() } else { descriptor::file(task, fd as u32) }
}

/// Whether the present task is one of the process that the record is of: it has the same descriptors and memory.
#[inline(always)]
fn is_own(record: *mut SyscallRecord) -> bool {
    // SAFETY: a field of the caller's record.
    let tgid = unsafe { (&raw const (*record).task.tgid).read() };
    (bpf_get_current_pid_tgid() >> 32) as u32 == tgid
}

/// File or socket, in the room that was left for it.
#[inline(always)]
fn about_file(capture: Capture, record: *mut SyscallRecord, file: Ptr, fd: i32) {
    let recipe = recipe(record);
    let room = size_of::<SyscallRecord>() + usize::from(recipe.numbers & 7) * 8;
    match (descriptor::is_socket(file), recipe.flags == NO_ARGUMENT) {
        (true, true) => {
            let sock = descriptor::sock(file);
            descriptor::socket_facts(sock, fd, capture.at(PartKind::Socket, room));
            if descriptor::family(sock) == AF_UNIX {
                let (name, len) = descriptor::unix_name(sock);
                if len != 0 {
                    capture.kernel_bytes::<UNIX_PATH_BYTES>(PartKind::UnixPath, name, len);
                }
            }
        }
        (false, false) => {
            descriptor::facts(file, fd, capture.at(PartKind::File, room));
            keep_place(capture, kept::FILE, descriptor::place(file));
        }
        // There is no room for what cannot be.
        _ => {}
    }
}

/// The address that was passed.
#[inline(always)]
fn address(capture: Capture, request: Ptr, call: u32) {
    const LONGEST: u32 = ADDRESS_BYTES as u32;
    if call == Call::connect as u32 {
        let (from, len) = (capture.argument(1), capture.argument(2));
        capture.user_bytes::<LONGEST>(PartKind::Address, from, u64::from(len as u32));
    } else if call == Call::bind as u32
        && field::REQ_ASYNC_DATA.load() != ABSENT
        && field::REQ_BIND_ADDR.load() != ABSENT
    {
        let copied = peek_ptr(request, field::REQ_ASYNC_DATA.load());
        let from = copied.wrapping_add(field::REQ_BIND_ADDR.load() as usize);
        capture.kernel_bytes::<LONGEST>(PartKind::Address, from, u64::from(capture.argument(2) as u32));
    } else if call == Call::sendmsg as u32 {
        // `struct user_msghdr { void *msg_name; int msg_namelen; … }`.
        let [from, len] = peek_user::<[u64; 2]>(capture.argument(1));
        if from != 0 && len as u32 != 0 {
            capture.user_bytes::<LONGEST>(PartKind::Address, from, u64::from(len as u32));
        }
    }
}

/// A path or name, and what it is relative to.
#[inline(always)]
fn name(capture: Capture, task: Untyped, name: Name, filename: Ptr, kind: PartKind, dir: usize) {
    if name.at == NO_ARGUMENT {
        return;
    }
    let is_relative = capture.kernel_string(kind, peek_ptr(filename, field::FILENAME_NAME.load()));
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
