//! In: everything that talks to the kernel through BPF. `unsafe` in the agent lives here only.

pub mod btf;
pub mod info;
pub mod load;
pub mod offsets;
pub mod ring;
pub mod seed;
pub mod wait;

pub use load::{Kernel, LoadError, LoadOptions, SensorState};
