//! Words for numbers in arguments of system calls: Falco's, in its order, with its numbers for them (libs,
//! driver/ppm_events_public.h), which are not the kernel's everywhere.

use super::put;

/// The flags of `open(2)` on x86-64 (include/uapi/asm-generic/fcntl.h).
pub(super) const O_ACCMODE: u64 = 0o3;
pub(super) const O_WRONLY: u64 = 0o1;
pub(super) const O_RDWR: u64 = 0o2;
pub(super) const O_CREAT: u64 = 0o100;
pub(super) const O_TRUNC: u64 = 0o1000;
pub(super) const O_DIRECTORY: u64 = 0o200_000;
/// With `O_DIRECTORY`, which is part of it.
pub(super) const O_TMPFILE: u64 = 0o20_200_000;

/// What a number can stand for.
pub(super) struct Words {
    /// Words and their numbers.
    list: &'static [(&'static str, u32)],
    /// A number of the kernel's as Falco counts.
    of_kernel: fn(u64) -> u32,
    /// The number is one of them, and not a set.
    is_one: bool,
}

const fn set(list: &'static [(&'static str, u32)]) -> Words {
    Words { list, of_kernel: same, is_one: false }
}

const fn one(list: &'static [(&'static str, u32)]) -> Words {
    Words { list, of_kernel: same, is_one: true }
}

fn same(number: u64) -> u32 {
    number as u32
}

/// A number of the kernel's, and the word for it.
pub(in crate::rules) type Choice = (u32, String);

impl Words {
    /// A number of the kernel's as Falco counts.
    pub(super) fn number(&self, of_kernel: u64) -> u32 {
        (self.of_kernel)(of_kernel)
    }

    /// The kernel's numbers and the word for each, and the word for every other number, if there is one. None: it is not one
    /// word for one number, or not all of the kernel's numbers are known.
    pub(super) fn choices(&self) -> Option<(Vec<Choice>, Option<String>)> {
        // Of `ptrace(2)` some begin at 0x4200.
        let of_kernel = || (0..0x100_u32).chain(0x4200..0x4300);
        let told = |number: u32| {
            let mut word = Vec::new();
            self.write(&mut word, self.number(number.into()));
            String::from_utf8(word).ok().filter(|word| !word.is_empty())
        };
        let other = told(u32::MAX);
        let of =
            |number: u32| told(number).filter(|word| Some(word) != other.as_ref()).map(|word| (number, word));
        let words: Vec<_> = of_kernel().filter_map(of).collect();
        let is_known = |number: u32| of_kernel().any(|kernel| self.number(kernel.into()) == number);
        // Digits have to be those that the kernel takes.
        let is_same = other.is_some() || self.number(u32::MAX.into()) == u32::MAX;
        let is_whole = self.is_one && is_same && self.list.iter().all(|(_, number)| is_known(*number));
        is_whole.then_some((words, other))
    }

    /// Appends the words for a number of Falco's, with `|` between; nothing if there are none.
    pub(super) fn write(&self, out: &mut Vec<u8>, number: u32) {
        let (mut left, mut between) = (number, "");
        for (word, value) in self.list {
            let is = match value {
                _ if self.is_one => *value == number,
                0 => number == 0,
                _ => left & value == *value,
            };
            if is {
                put!(out, "{between}{word}");
                between = "|";
                // What was said once is not said again: O_RDWR is O_RDONLY and O_WRONLY.
                left &= !value;
            }
        }
    }
}

/// Numbers of the kernel's and Falco's for the same bits.
fn translate(bits: &[(u64, u32)], number: u64) -> u32 {
    bits.iter().filter(|(own, _)| number & own == *own).fold(0, |sum, (_, falcos)| sum | falcos)
}

/// A file was made by opening it.
pub(super) const F_CREATED: u32 = 1 << 14;
/// The file was made or changed in the container.
pub(super) const FD_UPPER_LAYER: u32 = 1 << 15;
/// The file is the image's.
pub(super) const FD_LOWER_LAYER: u32 = 1 << 16;

/// Flags of `open(2)` and of what else makes descriptors. Those of a descriptor alone are told without an access mode.
pub(super) const OPEN: Words = Words { of_kernel: open, ..set(OPEN_LIST) };
pub(super) const DESCRIPTOR: Words = Words { of_kernel: descriptor, ..set(OPEN_LIST) };

const OPEN_LIST: &[(&str, u32)] = &[
    ("O_LARGEFILE", 1 << 11),
    ("O_DIRECTORY", 1 << 10),
    ("O_DIRECT", 1 << 9),
    ("O_TRUNC", 1 << 8),
    ("O_SYNC", 1 << 7),
    ("O_NONBLOCK", 1 << 6),
    ("O_EXCL", 1 << 5),
    ("O_DSYNC", 1 << 4),
    ("O_APPEND", 1 << 3),
    ("O_CREAT", 1 << 2),
    ("O_RDWR", 3),
    ("O_WRONLY", 2),
    ("O_RDONLY", 1),
    ("O_CLOEXEC", 1 << 12),
    ("O_NONE", 0),
    ("O_TMPFILE", 1 << 13),
    ("O_F_CREATED", F_CREATED),
    ("FD_UPPER_LAYER", FD_UPPER_LAYER),
    ("FD_LOWER_LAYER", FD_LOWER_LAYER),
];

fn open(flags: u64) -> u32 {
    let access = match flags & O_ACCMODE {
        O_WRONLY => 2,
        O_RDWR => 3,
        _ => 1,
    };
    access | descriptor(flags)
}

fn descriptor(flags: u64) -> u32 {
    const BITS: &[(u64, u32)] = &[
        (O_CREAT, 1 << 2),
        (0o2_000, 1 << 3),
        (0o10_000, 1 << 4),
        (0o200, 1 << 5),
        (0o4_000, 1 << 6),
        (0o4_010_000, 1 << 7),
        (0o1_000, 1 << 8),
        (0o40_000, 1 << 9),
        (O_DIRECTORY, 1 << 10),
        (0o100_000, 1 << 11),
        (0o2_000_000, 1 << 12),
        (O_TMPFILE, 1 << 13),
    ];
    translate(BITS, flags)
}

/// Flags of `io_uring_setup(2)`: `IORING_SQ_NEED_WAKEUP`, which Falco counts among them, is none.
pub(super) const RING: Words = Words {
    of_kernel: |flags| flags as u32 & 3 | (flags as u32 & 0x7c) << 1,
    ..set(&[
        ("IORING_SETUP_IOPOLL", 1),
        ("IORING_SETUP_SQPOLL", 1 << 1),
        ("IORING_SETUP_SQ_AFF", 1 << 3),
        ("IORING_SETUP_CQSIZE", 1 << 4),
        ("IORING_SETUP_CLAMP", 1 << 5),
        ("IORING_SETUP_ATTACH_WQ", 1 << 6),
        ("IORING_SETUP_R_DISABLED", 1 << 7),
    ])
};

/// What the kernel says it can, in answer to `io_uring_setup(2)`.
pub(super) const RING_FEATURES: Words = set(&[
    ("IORING_FEAT_SINGLE_MMAP", 1),
    ("IORING_FEAT_NODROP", 1 << 1),
    ("IORING_FEAT_SUBMIT_STABLE", 1 << 2),
    ("IORING_FEAT_RW_CUR_POS", 1 << 3),
    ("IORING_FEAT_CUR_PERSONALITY", 1 << 4),
    ("IORING_FEAT_FAST_POLL", 1 << 5),
    ("IORING_FEAT_POLL_32BITS", 1 << 6),
    ("IORING_FEAT_SQPOLL_NONFIXED", 1 << 7),
    ("IORING_FEAT_ENTER_EXT_ARG", 1 << 8),
    ("IORING_FEAT_NATIVE_WORKERS", 1 << 9),
    ("IORING_FEAT_RSRC_TAGS", 1 << 10),
]);

/// Flags of `io_uring_enter(2)`.
pub(super) const RING_ENTER: Words = set(&[
    ("IORING_ENTER_GETEVENTS", 1),
    ("IORING_ENTER_SQ_WAKEUP", 1 << 1),
    ("IORING_ENTER_SQ_WAIT", 1 << 2),
    ("IORING_ENTER_EXT_ARG", 1 << 3),
]);

/// What `io_uring_register(2)` is asked for.
pub(super) const RING_REGISTER: Words = one(&[
    ("IORING_REGISTER_BUFFERS", 0),
    ("IORING_UNREGISTER_BUFFERS", 1),
    ("IORING_REGISTER_FILES", 2),
    ("IORING_UNREGISTER_FILES", 3),
    ("IORING_REGISTER_EVENTFD", 4),
    ("IORING_UNREGISTER_EVENTFD", 5),
    ("IORING_REGISTER_FILES_UPDATE", 6),
    ("IORING_REGISTER_EVENTFD_ASYNC", 7),
    ("IORING_REGISTER_PROBE", 8),
    ("IORING_REGISTER_PERSONALITY", 9),
    ("IORING_UNREGISTER_PERSONALITY", 10),
    ("IORING_REGISTER_RESTRICTIONS", 11),
    ("IORING_REGISTER_ENABLE_RINGS", 12),
    ("IORING_REGISTER_FILES2", 13),
    ("IORING_REGISTER_FILES_UPDATE2", 14),
    ("IORING_REGISTER_BUFFERS2", 15),
    ("IORING_REGISTER_BUFFERS_UPDATE", 16),
    ("IORING_REGISTER_IOWQ_AFF", 17),
    ("IORING_UNREGISTER_IOWQ_AFF", 18),
    ("IORING_REGISTER_IOWQ_MAX_WORKERS", 19),
    ("IORING_REGISTER_RING_FDS", 20),
    ("IORING_UNREGISTER_RING_FDS", 21),
]);

/// Flags of `openat2(2)` on how a path is looked up.
pub(super) const RESOLVE: Words = Words {
    of_kernel: |flags| {
        translate(
            &[(0x08, 1), (0x10, 1 << 1), (0x02, 1 << 2), (0x04, 1 << 3), (0x01, 1 << 4), (0x20, 1 << 5)],
            flags,
        )
    },
    ..set(&[
        ("RESOLVE_BENEATH", 1),
        ("RESOLVE_IN_ROOT", 1 << 1),
        ("RESOLVE_NO_MAGICLINKS", 1 << 2),
        ("RESOLVE_NO_SYMLINKS", 1 << 3),
        ("RESOLVE_NO_XDEV", 1 << 4),
        ("RESOLVE_CACHED", 1 << 5),
    ])
};

/// Permissions of a file.
pub(super) const MODE: Words = set(&[
    ("S_IXOTH", 0o1),
    ("S_IWOTH", 0o2),
    ("S_IROTH", 0o4),
    ("S_IXGRP", 0o10),
    ("S_IWGRP", 0o20),
    ("S_IRGRP", 0o40),
    ("S_IXUSR", 0o100),
    ("S_IWUSR", 0o200),
    ("S_IRUSR", 0o400),
    ("S_ISVTX", 0o1_000),
    ("S_ISGID", 0o2_000),
    ("S_ISUID", 0o4_000),
]);

pub(super) const UNLINKAT: Words = set(&[("AT_REMOVEDIR", 0x200)]);
pub(super) const LINKAT: Words = set(&[("AT_SYMLINK_FOLLOW", 0x400), ("AT_EMPTY_PATH", 0x1000)]);
pub(super) const RENAMEAT2: Words =
    set(&[("RENAME_NOREPLACE", 1), ("RENAME_EXCHANGE", 2), ("RENAME_WHITEOUT", 4)]);
pub(super) const MEMFD: Words = set(&[("MFD_CLOEXEC", 1), ("MFD_ALLOW_SEALING", 2), ("MFD_HUGETLB", 4)]);
pub(super) const UMOUNT: Words = set(&[("FORCE", 1), ("DETACH", 2), ("EXPIRE", 4), ("NOFOLLOW", 8)]);
pub(super) const DELETE_MODULE: Words = set(&[("O_NONBLOCK", 0o4_000), ("O_TRUNC", 0o1_000)]);

pub(super) const MOUNT: Words = Words {
    // Old programs say in the upper half that these are flags (`MS_MGC_VAL`).
    of_kernel: |flags| {
        if flags & 0xffff_0000 == 0xc0ed_0000 { flags as u32 & 0xffff } else { flags as u32 }
    },
    ..set(&[
        ("RDONLY", 1),
        ("NOSUID", 1 << 1),
        ("NODEV", 1 << 2),
        ("NOEXEC", 1 << 3),
        ("SYNCHRONOUS", 1 << 4),
        ("REMOUNT", 1 << 5),
        ("MANDLOCK", 1 << 6),
        ("DIRSYNC", 1 << 7),
        ("NOATIME", 1 << 10),
        ("NODIRATIME", 1 << 11),
        ("BIND", 1 << 12),
        ("MOVE", 1 << 13),
        ("REC", 1 << 14),
        ("SILENT", 1 << 15),
        ("POSIXACL", 1 << 16),
        ("UNBINDABLE", 1 << 17),
        ("PRIVATE", 1 << 18),
        ("SLAVE", 1 << 19),
        ("SHARED", 1 << 20),
        ("RELATIME", 1 << 21),
        ("KERNMOUNT", 1 << 22),
        ("I_VERSION", 1 << 23),
        ("STRICTATIME", 1 << 24),
        ("LAZYTIME", 1 << 25),
        ("NOSEC", 1 << 28),
        ("BORN", 1 << 29),
        ("ACTIVE", 1 << 30),
        ("NOUSER", 1 << 31),
    ])
};

/// Flags of `clone(2)`, for `unshare` and `setns` too.
pub(super) const CLONE: Words = Words {
    of_kernel: |flags| {
        const BITS: &[(u64, u32)] = &[
            (0x400, 1),
            (0x200, 1 << 1),
            (0x8000_0000, 1 << 2),
            (0x0800_0000, 1 << 3),
            (0x4000_0000, 1 << 4),
            (0x0002_0000, 1 << 5),
            (0x2000_0000, 1 << 6),
            (0x0400_0000, 1 << 7),
            (0x8000, 1 << 8),
            (0x0010_0000, 1 << 9),
            (0x2000, 1 << 10),
            (0x800, 1 << 11),
            (0x0004_0000, 1 << 12),
            (0x0001_0000, 1 << 13),
            (0x0080_0000, 1 << 14),
            (0x100, 1 << 15),
            (0x1000_0000, 1 << 20),
            (0x0020_0000, 1 << 23),
            (0x0100_0000, 1 << 24),
            (0x0008_0000, 1 << 25),
            (0x4000, 1 << 27),
            (0x0200_0000, 1 << 28),
        ];
        translate(BITS, flags)
    },
    ..set(&[
        ("CLONE_FILES", 1),
        ("CLONE_FS", 1 << 1),
        ("CLONE_IO", 1 << 2),
        ("CLONE_NEWIPC", 1 << 3),
        ("CLONE_NEWNET", 1 << 4),
        ("CLONE_NEWNS", 1 << 5),
        ("CLONE_NEWPID", 1 << 6),
        ("CLONE_NEWUTS", 1 << 7),
        ("CLONE_PARENT", 1 << 8),
        ("CLONE_PARENT_SETTID", 1 << 9),
        ("CLONE_PTRACE", 1 << 10),
        ("CLONE_SIGHAND", 1 << 11),
        ("CLONE_SYSVSEM", 1 << 12),
        ("CLONE_THREAD", 1 << 13),
        ("CLONE_UNTRACED", 1 << 14),
        ("CLONE_VM", 1 << 15),
        ("CLONE_NEWUSER", 1 << 20),
        ("CLONE_CHILD_CLEARTID", 1 << 23),
        ("CLONE_CHILD_SETTID", 1 << 24),
        ("CLONE_SETTLS", 1 << 25),
        ("CLONE_VFORK", 1 << 27),
        ("CLONE_NEWCGROUP", 1 << 28),
    ])
};

/// Families of sockets; the last name of two is the older.
pub(super) const FAMILY: Words = one(&[
    ("AF_NFC", 39),
    ("AF_ALG", 38),
    ("AF_CAIF", 37),
    ("AF_IEEE802154", 36),
    ("AF_PHONET", 35),
    ("AF_ISDN", 34),
    ("AF_RXRPC", 33),
    ("AF_IUCV", 32),
    ("AF_BLUETOOTH", 31),
    ("AF_TIPC", 30),
    ("AF_CAN", 29),
    ("AF_LLC", 26),
    ("AF_WANPIPE", 25),
    ("AF_PPPOX", 24),
    ("AF_IRDA", 23),
    ("AF_SNA", 22),
    ("AF_RDS", 21),
    ("AF_ATMSVC", 20),
    ("AF_ECONET", 19),
    ("AF_ASH", 18),
    ("AF_PACKET", 17),
    ("AF_ROUTE", 16),
    ("AF_NETLINK", 16),
    ("AF_KEY", 15),
    ("AF_SECURITY", 14),
    ("AF_NETBEUI", 13),
    ("AF_DECnet", 12),
    ("AF_ROSE", 11),
    ("AF_INET6", 10),
    ("AF_X25", 9),
    ("AF_ATMPVC", 8),
    ("AF_BRIDGE", 7),
    ("AF_NETROM", 6),
    ("AF_APPLETALK", 5),
    ("AF_IPX", 4),
    ("AF_AX25", 3),
    ("AF_INET", 2),
    ("AF_LOCAL", 1),
    ("AF_UNIX", 1),
    ("AF_UNSPEC", 0),
]);

/// Requests of `ptrace(2)`. Falco counts them by their places here, from 1; what is none of them is 0.
pub(super) const PTRACE: Words = Words {
    of_kernel: |request| {
        const REQUESTS: &[u64] = &[
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 17, 24, 0x4200, 0x4201, 0x4202, 0x4203, 0x4204, 0x4205, 0x4206,
            0x4207, 0x4208, 0x4209, 0x420a, 0x420b, 12, 13, 14, 15, 18, 19, 21, 25, 26, 30, 31, 32, 33,
        ];
        REQUESTS.iter().position(|known| *known == request).map_or(0, |place| place as u32 + 1)
    },
    ..one(&[
        ("PTRACE_SINGLEBLOCK", 38),
        ("PTRACE_SYSEMU_SINGLESTEP", 37),
        ("PTRACE_SYSEMU", 36),
        ("PTRACE_ARCH_PRCTL", 35),
        ("PTRACE_SET_THREAD_AREA", 34),
        ("PTRACE_GET_THREAD_AREA", 33),
        ("PTRACE_OLDSETOPTIONS", 32),
        ("PTRACE_SETFPXREGS", 31),
        ("PTRACE_GETFPXREGS", 30),
        ("PTRACE_SETFPREGS", 29),
        ("PTRACE_GETFPREGS", 28),
        ("PTRACE_SETREGS", 27),
        ("PTRACE_GETREGS", 26),
        ("PTRACE_SETSIGMASK", 25),
        ("PTRACE_GETSIGMASK", 24),
        ("PTRACE_PEEKSIGINFO", 23),
        ("PTRACE_LISTEN", 22),
        ("PTRACE_INTERRUPT", 21),
        ("PTRACE_SEIZE", 20),
        ("PTRACE_SETREGSET", 19),
        ("PTRACE_GETREGSET", 18),
        ("PTRACE_SETSIGINFO", 17),
        ("PTRACE_GETSIGINFO", 16),
        ("PTRACE_GETEVENTMSG", 15),
        ("PTRACE_SETOPTIONS", 14),
        ("PTRACE_SYSCALL", 13),
        ("PTRACE_DETACH", 12),
        ("PTRACE_ATTACH", 11),
        ("PTRACE_SINGLESTEP", 10),
        ("PTRACE_KILL", 9),
        ("PTRACE_CONT", 8),
        ("PTRACE_POKEUSR", 7),
        ("PTRACE_POKEDATA", 6),
        ("PTRACE_POKETEXT", 5),
        ("PTRACE_PEEKUSR", 4),
        ("PTRACE_PEEKDATA", 3),
        ("PTRACE_PEEKTEXT", 2),
        ("PTRACE_TRACEME", 1),
        ("PTRACE_UNKNOWN", 0),
    ])
};

/// Options of `prctl(2)`.
pub(super) const PRCTL: Words = one(&[
    ("PR_GET_DUMPABLE", 3),
    ("PR_SET_DUMPABLE", 4),
    ("PR_GET_KEEPCAPS", 7),
    ("PR_SET_KEEPCAPS", 8),
    ("PR_SET_NAME", 15),
    ("PR_GET_NAME", 16),
    ("PR_GET_SECCOMP", 21),
    ("PR_SET_SECCOMP", 22),
    ("PR_CAPBSET_READ", 23),
    ("PR_CAPBSET_DROP", 24),
    ("PR_GET_SECUREBITS", 27),
    ("PR_SET_SECUREBITS", 28),
    ("PR_MCE_KILL", 33),
    ("PR_SET_MM", 35),
    ("PR_SET_CHILD_SUBREAPER", 36),
    ("PR_GET_CHILD_SUBREAPER", 37),
    ("PR_SET_NO_NEW_PRIVS", 38),
    ("PR_GET_NO_NEW_PRIVS", 39),
    ("PR_GET_TID_ADDRESS", 40),
    ("PR_SET_THP_DISABLE", 41),
    ("PR_GET_THP_DISABLE", 42),
    ("PR_CAP_AMBIENT", 47),
]);

/// Commands of `bpf(2)` (include/uapi/linux/bpf.h).
pub(super) const BPF: Words = one(&[
    ("BPF_MAP_CREATE", 0),
    ("BPF_MAP_LOOKUP_ELEM", 1),
    ("BPF_MAP_UPDATE_ELEM", 2),
    ("BPF_MAP_DELETE_ELEM", 3),
    ("BPF_MAP_GET_NEXT_KEY", 4),
    ("BPF_PROG_LOAD", 5),
    ("BPF_OBJ_PIN", 6),
    ("BPF_OBJ_GET", 7),
    ("BPF_PROG_ATTACH", 8),
    ("BPF_PROG_DETACH", 9),
    ("BPF_PROG_TEST_RUN", 10),
    ("BPF_PROG_GET_NEXT_ID", 11),
    ("BPF_MAP_GET_NEXT_ID", 12),
    ("BPF_PROG_GET_FD_BY_ID", 13),
    ("BPF_MAP_GET_FD_BY_ID", 14),
    ("BPF_OBJ_GET_INFO_BY_FD", 15),
    ("BPF_PROG_QUERY", 16),
    ("BPF_RAW_TRACEPOINT_OPEN", 17),
    ("BPF_BTF_LOAD", 18),
    ("BPF_BTF_GET_FD_BY_ID", 19),
    ("BPF_TASK_FD_QUERY", 20),
    ("BPF_MAP_LOOKUP_AND_DELETE_ELEM", 21),
    ("BPF_MAP_FREEZE", 22),
    ("BPF_BTF_GET_NEXT_ID", 23),
    ("BPF_MAP_LOOKUP_BATCH", 24),
    ("BPF_MAP_LOOKUP_AND_DELETE_BATCH", 25),
    ("BPF_MAP_UPDATE_BATCH", 26),
    ("BPF_MAP_DELETE_BATCH", 27),
    ("BPF_LINK_CREATE", 28),
    ("BPF_LINK_UPDATE", 29),
    ("BPF_LINK_GET_FD_BY_ID", 30),
    ("BPF_LINK_GET_NEXT_ID", 31),
    ("BPF_ENABLE_STATS", 32),
    ("BPF_ITER_CREATE", 33),
    ("BPF_LINK_DETACH", 34),
    ("BPF_PROG_BIND_MAP", 35),
    ("BPF_TOKEN_CREATE", 36),
]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_in_words() {
        let told = |words: &Words, kernel: u64| {
            let mut out = Vec::new();
            let number = words.number(kernel);
            words.write(&mut out, number);
            (number, String::from_utf8(out).unwrap())
        };
        let table = [
            (&OPEN, 0, 1, "O_RDONLY"),
            (&OPEN, 0o2_000_000, 4097, "O_RDONLY|O_CLOEXEC"),
            (&OPEN, 0o1101, 262, "O_TRUNC|O_CREAT|O_WRONLY"),
            (&OPEN, 0o102, 7, "O_CREAT|O_RDWR"),
            (&OPEN, O_TMPFILE | 2, 0x2403, "O_DIRECTORY|O_RDWR|O_TMPFILE"),
            (&DESCRIPTOR, 0, 0, "O_NONE"),
            (&DESCRIPTOR, 0o2_000_000, 4096, "O_CLOEXEC"),
            (&RESOLVE, 0x0c, 0b1001, "RESOLVE_BENEATH|RESOLVE_NO_SYMLINKS"),
            (&MODE, 0o4755, 0o4755, "S_IXOTH|S_IROTH|S_IXGRP|S_IRGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID"),
            (&UNLINKAT, 0x200, 0x200, "AT_REMOVEDIR"),
            (&UNLINKAT, 0, 0, ""),
            (&MOUNT, 0xc0ed_1000, 0x1000, "BIND"),
            (&CLONE, 0x1000_0000 | 0x0002_0000, 1 << 20 | 1 << 5, "CLONE_NEWNS|CLONE_NEWUSER"),
            (&FAMILY, 2, 2, "AF_INET"),
            (&FAMILY, 1, 1, "AF_LOCAL|AF_UNIX"),
            (&FAMILY, 99, 99, ""),
            (&PTRACE, 16, 11, "PTRACE_ATTACH"),
            (&PTRACE, 0x4206, 20, "PTRACE_SEIZE"),
            (&PTRACE, 5, 6, "PTRACE_POKEDATA"),
            (&PTRACE, 33, 38, "PTRACE_SINGLEBLOCK"),
            (&PTRACE, 0x9999, 0, "PTRACE_UNKNOWN"),
            (&BPF, 5, 5, "BPF_PROG_LOAD"),
            (&PRCTL, 22, 22, "PR_SET_SECCOMP"),
        ];
        for (words, kernel, number, expected) in table {
            assert_eq!(told(words, kernel), (number, expected.to_owned()), "{kernel:#x}");
        }
    }
}
