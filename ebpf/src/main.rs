//! The kernel side. One file per sensor in `sensors/`, each a thin entry; what they share is one
//! file per kernel object. No program keeps state but those of io_uring, of requests that run: what a record says was read
//! from the task or the socket at that moment.
#![no_std]
#![no_main]
#![allow(unstable_features, reason = "inline assembly is not stable for this target")]
#![feature(asm_experimental_arch)]

mod access;
mod call;
mod capture;
mod cgroup;
mod descriptor;
mod emit;
mod filter;
mod kernel;
mod maps;
mod path;
mod process;
mod pushed;
mod request;
mod sensors;
mod sequence;
mod sock;
mod task;

/// Licence of the programs, read by the kernel: GPL-only helpers are used.
#[unsafe(no_mangle)]
#[unsafe(link_section = "license")]
pub static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: the build fails if the object holds a panic path (`cargo xtask ebpf`).
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
