//! System calls by number: what the kernel side is asked to tell of.

use tarsier_abi::io_uring::{OPERATIONS, REQUESTS};
use tarsier_abi::syscall::{CALL_NUMBERS, Call, CallTable, SOCKET_CALLS, SOCKETCALL};

/// Every call with its numbers: native ones, 32-bit ones. A call has several where old and new, or x86-64 and x32, differ.
///
/// x86: arch/x86/entry/syscalls/syscall_64.tbl and syscall_32.tbl; arm64: include/uapi/asm-generic/unistd.h.
#[cfg(target_arch = "x86_64")]
const NUMBERS: &[(Call, &[u16], &[u16])] = &[
    (Call::open, &[2], &[5]),
    (Call::openat, &[257], &[295]),
    (Call::openat2, &[437], &[437]),
    (Call::creat, &[85], &[8]),
    (Call::open_by_handle_at, &[304], &[342]),
    (Call::mkdir, &[83], &[39]),
    (Call::mkdirat, &[258], &[296]),
    (Call::rmdir, &[84], &[40]),
    (Call::unlink, &[87], &[10]),
    (Call::unlinkat, &[263], &[301]),
    (Call::rename, &[82], &[38]),
    (Call::renameat, &[264], &[302]),
    (Call::renameat2, &[316], &[353]),
    (Call::link, &[86], &[9]),
    (Call::linkat, &[265], &[303]),
    (Call::symlink, &[88], &[83]),
    (Call::symlinkat, &[266], &[304]),
    (Call::chmod, &[90], &[15]),
    (Call::fchmod, &[91], &[94]),
    (Call::fchmodat, &[268], &[306]),
    (Call::fchmodat2, &[452], &[452]),
    (Call::mount, &[165], &[21]),
    (Call::umount2, &[166], &[52]),
    (Call::chroot, &[161], &[61]),
    (Call::dup, &[32], &[41]),
    (Call::dup2, &[33], &[63]),
    (Call::dup3, &[292], &[330]),
    (Call::memfd_create, &[319], &[356]),
    (Call::userfaultfd, &[323], &[374]),
    (Call::socket, &[41], &[359]),
    (Call::bind, &[49], &[361]),
    (Call::connect, &[42], &[362]),
    (Call::listen, &[50], &[363]),
    (Call::accept, &[43], &[]),
    (Call::accept4, &[288], &[364]),
    (Call::sendto, &[44], &[369]),
    (Call::sendmsg, &[46, 518], &[370]),
    (Call::recvfrom, &[45, 517], &[371]),
    (Call::recvmsg, &[47, 519], &[372]),
    (Call::execve, &[59, 520], &[11]),
    (Call::execveat, &[322, 545], &[358]),
    (Call::ptrace, &[101, 521], &[26]),
    (Call::kill, &[62], &[37]),
    (Call::tkill, &[200], &[238]),
    (Call::tgkill, &[234], &[270]),
    (Call::prctl, &[157], &[172]),
    (Call::setuid, &[105], &[23, 213]),
    (Call::setgid, &[106], &[46, 214]),
    (Call::setreuid, &[113], &[70, 203]),
    (Call::setregid, &[114], &[71, 204]),
    (Call::setresuid, &[117], &[164, 208]),
    (Call::setresgid, &[119], &[170, 210]),
    (Call::setns, &[308], &[346]),
    (Call::unshare, &[272], &[310]),
    (Call::init_module, &[175], &[128]),
    (Call::finit_module, &[313], &[350]),
    (Call::delete_module, &[176], &[129]),
    (Call::bpf, &[321], &[357]),
    (Call::sendmmsg, &[307, 538], &[345]),
    (Call::recvmmsg, &[299, 537], &[337, 417]),
    (Call::fork, &[57], &[2]),
    (Call::vfork, &[58], &[190]),
    (Call::clone, &[56], &[120]),
    (Call::clone3, &[435], &[435]),
    (Call::io_uring_setup, &[425], &[425]),
    (Call::io_uring_enter, &[426], &[426]),
    (Call::io_uring_register, &[427], &[427]),
];
#[cfg(target_arch = "aarch64")]
const NUMBERS: &[(Call, &[u16], &[u16])] = &[
    (Call::openat, &[56], &[]),
    (Call::openat2, &[437], &[]),
    (Call::open_by_handle_at, &[265], &[]),
    (Call::mkdirat, &[34], &[]),
    (Call::unlinkat, &[35], &[]),
    (Call::renameat, &[38], &[]),
    (Call::renameat2, &[276], &[]),
    (Call::linkat, &[37], &[]),
    (Call::symlinkat, &[36], &[]),
    (Call::fchmod, &[52], &[]),
    (Call::fchmodat, &[53], &[]),
    (Call::fchmodat2, &[452], &[]),
    (Call::mount, &[40], &[]),
    (Call::umount2, &[39], &[]),
    (Call::chroot, &[51], &[]),
    (Call::dup, &[23], &[]),
    (Call::dup3, &[24], &[]),
    (Call::memfd_create, &[279], &[]),
    (Call::userfaultfd, &[282], &[]),
    (Call::socket, &[198], &[]),
    (Call::bind, &[200], &[]),
    (Call::connect, &[203], &[]),
    (Call::listen, &[201], &[]),
    (Call::accept, &[202], &[]),
    (Call::accept4, &[242], &[]),
    (Call::sendto, &[206], &[]),
    (Call::sendmsg, &[211], &[]),
    (Call::recvfrom, &[207], &[]),
    (Call::recvmsg, &[212], &[]),
    (Call::execve, &[221], &[]),
    (Call::execveat, &[281], &[]),
    (Call::ptrace, &[117], &[]),
    (Call::kill, &[129], &[]),
    (Call::tkill, &[130], &[]),
    (Call::tgkill, &[131], &[]),
    (Call::prctl, &[167], &[]),
    (Call::setuid, &[146], &[]),
    (Call::setgid, &[144], &[]),
    (Call::setreuid, &[145], &[]),
    (Call::setregid, &[143], &[]),
    (Call::setresuid, &[147], &[]),
    (Call::setresgid, &[149], &[]),
    (Call::setns, &[268], &[]),
    (Call::unshare, &[97], &[]),
    (Call::init_module, &[105], &[]),
    (Call::finit_module, &[273], &[]),
    (Call::delete_module, &[106], &[]),
    (Call::bpf, &[280], &[]),
    (Call::sendmmsg, &[269], &[]),
    (Call::recvmmsg, &[243], &[]),
    (Call::clone, &[220], &[]),
    (Call::clone3, &[435], &[]),
    (Call::io_uring_setup, &[425], &[]),
    (Call::io_uring_enter, &[426], &[]),
    (Call::io_uring_register, &[427], &[]),
];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const NUMBERS: &[(Call, &[u16], &[u16])] = &[];

/// `socketcall(2)`, by which old 32-bit programs of x86 make all calls of sockets: by the number they pass first
/// (include/uapi/linux/net.h).
const OF_SOCKETCALL: Option<u16> = if cfg!(target_arch = "x86_64") { Some(102) } else { None };
const BY_SOCKETCALL: &[(u8, Call)] = &[
    (1, Call::socket),
    (2, Call::bind),
    (3, Call::connect),
    (4, Call::listen),
    (5, Call::accept),
    // `send` and `recv`, which are those without an address.
    (9, Call::sendto),
    (10, Call::recvfrom),
    (11, Call::sendto),
    (12, Call::recvfrom),
    (16, Call::sendmsg),
    (17, Call::recvmsg),
    (18, Call::accept4),
    (19, Call::recvmmsg),
    (20, Call::sendmmsg),
];

/// The table in which exactly these calls are wanted, and what of them by this plan.
pub(super) fn table(wanted: &[Call], plan: u32) -> CallTable {
    let mut table = CallTable {
        calls: [0; CALL_NUMBERS],
        socket_calls: [0; SOCKET_CALLS],
        requests: [0; OPERATIONS],
        plan,
    };
    for (number, call) in BY_SOCKETCALL.iter().filter(|(_, call)| wanted.contains(call)) {
        let Some(entry) = OF_SOCKETCALL else { break };
        table.socket_calls[usize::from(*number)] = *call as u8 + 1;
        table.calls[usize::from(entry)] |= u16::from(SOCKETCALL) << 8;
    }
    for (operation, call) in REQUESTS.iter().filter(|(_, call)| wanted.contains(call)) {
        table.requests[usize::from(*operation)] = *call as u8 + 1;
    }
    for (call, native, compat) in NUMBERS.iter().filter(|(call, ..)| wanted.contains(call)) {
        let mark = *call as u16 + 1;
        native.iter().for_each(|number| table.calls[usize::from(*number)] |= mark);
        compat.iter().for_each(|number| table.calls[usize::from(*number)] |= mark << 8);
    }
    table
}

/// Whether requests of io_uring do what one of these calls does.
pub(super) fn have_requests(calls: &[Call]) -> bool {
    REQUESTS.iter().any(|(_, call)| calls.contains(call))
}

/// Names that the functions of a call have, on some kernel and architecture: native and 32-bit ones, those of x32
/// (arch/x86/include/asm/syscall_wrapper.h, arch/arm64/include/asm/syscall_wrapper.h).
pub(super) fn functions(call: Call) -> impl Iterator<Item = String> {
    #[cfg(not(target_arch = "aarch64"))]
    const PREFIXES: &[&str] =
        &["__x64_sys_", "__ia32_sys_", "__ia32_compat_sys_", "__x64_compat_sys_", "__x32_compat_sys_"];
    #[cfg(target_arch = "aarch64")]
    const PREFIXES: &[&str] = &["__arm64_sys_", "__arm64_compat_sys_"];
    let name = if call == Call::umount2 { "umount" } else { call.name() };
    // Without arguments they are other names of one function, the only one that the kernel tells the types of.
    let prefixes = if matches!(call, Call::fork | Call::vfork) { &["__do_sys_"][..] } else { PREFIXES };
    // Old calls of 32-bit programs have ids of 16 bits (kernel/uid16.c).
    let old = call.name().starts_with("set").then(|| format!("{name}16"));
    let is_of_sockets = BY_SOCKETCALL.iter().any(|(_, of_sockets)| *of_sockets == call);
    let by_number = is_of_sockets.then(|| "socketcall".to_owned());
    let names = [Some(name.to_owned()), old, by_number].into_iter().flatten();
    names.flat_map(|name| prefixes.iter().map(move |prefix| format!("{prefix}{name}")))
}

/// A function that every kernel has: the first one that programs are loaded for. What they go on to has to be for one of its type.
pub(super) fn first_function() -> String {
    functions(Call::openat).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_number_is_that_of_two_calls() {
        let mut seen = BTreeSet::new();
        for (call, native, compat) in NUMBERS {
            let native = native.iter().map(|number| (false, *number));
            for of in native.chain(compat.iter().map(|number| (true, *number))) {
                assert!(seen.insert(of), "{}: {of:?}", call.name());
                assert!(usize::from(of.1) < CALL_NUMBERS);
            }
        }
        let calls: BTreeSet<_> = NUMBERS.iter().map(|(call, ..)| *call).collect();
        assert_eq!(calls.len(), NUMBERS.len(), "each has one row");
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_does_the_same_is_wanted_with_a_call() {
        let wanted = table(&[Call::connect], 0);
        let mark = Call::connect as u8 + 1;
        assert_eq!((wanted.socket_calls[3], wanted.requests[16]), (mark, mark));
        assert_eq!(wanted.calls[102], u16::from(SOCKETCALL) << 8, "as a 32-bit call alone");
        assert_eq!(wanted.socket_calls.iter().chain(&wanted.requests).filter(|mark| **mark != 0).count(), 2);
        assert_eq!(table(&[Call::unlinkat], 0).calls[102], 0);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn every_call_has_the_number_that_the_library_knows() {
        let known = [
            (Call::open, libc::SYS_open),
            (Call::openat2, libc::SYS_openat2),
            (Call::connect, libc::SYS_connect),
            (Call::finit_module, libc::SYS_finit_module),
            (Call::userfaultfd, libc::SYS_userfaultfd),
        ];
        for (call, number) in known {
            let table = table(&[call], 0);
            let entry = table.calls[usize::try_from(number).unwrap()];
            assert_eq!(entry & 0xff, call as u16 + 1, "{}", call.name());
            assert_eq!(table.calls.iter().filter(|entry| **entry & 0xff != 0).count(), 1);
        }
        assert_eq!(NUMBERS.len(), tarsier_abi::syscall::CALLS);
        assert!(table(&[], 0).calls.iter().all(|entry| *entry == 0));
    }
}
