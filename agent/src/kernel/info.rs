//! What the kernel counts of a program by itself: `BPF_OBJ_GET_INFO_BY_FD`.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The counters of one program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProgramStats {
    /// The kernel's id.
    pub id: u32,
    /// Time spent, ns; 0 unless `kernel.bpf_stats_enabled`.
    pub run_time_ns: u64,
    /// Runs; 0 unless `kernel.bpf_stats_enabled`.
    pub run_count: u64,
    /// Runs that the kernel skipped because the program was running on this CPU already (5.12).
    pub recursion_misses: u64,
    /// Instructions the verifier looked at (5.16).
    pub verified_instructions: u32,
}

/// `BPF_OBJ_GET_INFO_BY_FD` of `enum bpf_cmd`.
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;

/// `struct bpf_prog_info` (include/uapi/linux/bpf.h) as words; the kernel fills in what it knows.
const INFO_BYTES: usize = 232;

/// `union bpf_attr`, the `info` member.
#[repr(C)]
struct Attr {
    fd: u32,
    len: u32,
    info: u64,
    rest: [u64; 14],
}

/// Asks the kernel about a loaded program.
pub fn program_stats(program: BorrowedFd<'_>) -> io::Result<ProgramStats> {
    let mut info = [0_u8; INFO_BYTES];
    let mut attr = Attr {
        fd: program.as_raw_fd() as u32,
        len: INFO_BYTES as u32,
        info: info.as_mut_ptr() as u64,
        rest: [0; 14],
    };
    // SAFETY: `attr` and the buffer it points at live across the call and have the sizes stated.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw mut attr, size_of::<Attr>() as libc::c_uint)
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let long = |at: usize| {
        info.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_ne_bytes)
    };
    Ok(ProgramStats {
        id: (long(0) >> 32) as u32,
        run_time_ns: long(192),
        run_count: long(200),
        recursion_misses: long(208),
        verified_instructions: long(216) as u32,
    })
}
