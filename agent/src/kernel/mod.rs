//! In: everything that talks to the kernel through BPF. `unsafe` in the agent lives here only.

mod access;
mod attach;
pub mod btf;
pub mod features;
mod hooks;
pub mod info;
pub mod load;
mod memlock;
pub mod offsets;
mod programs;
mod refusal;
pub mod ring;
pub mod seed;
pub mod selftest;
pub mod wait;

pub use hooks::SensorState;
pub use load::{Kernel, LoadError, LoadOptions};
