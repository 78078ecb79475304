//! In: everything that talks to the kernel through BPF. `unsafe` in the agent lives here only.

mod access;
mod attach;
pub mod btf;
mod calls;
pub mod features;
mod hooks;
pub mod info;
pub mod load;
mod memlock;
pub mod offsets;
mod programs;
mod refusal;
mod returns;
pub mod ring;
pub mod seed;
pub mod selftest;
pub mod wait;

pub use hooks::SensorState;
pub use load::{Kernel, LoadError, LoadOptions, Wanted};

/// The part of a kernel's BTF that the agent looks at, for tests on other kernels.
pub fn reduced(btf: &btf::Btf) -> Vec<u8> {
    let enums = offsets::ENUMS.map(str::to_owned);
    let cast = offsets::CAST.to_owned();
    let names: Vec<_> =
        features::names().chain(enums).chain([cast]).chain(programs::attach_points()).collect();
    btf.reduced(&names)
}
