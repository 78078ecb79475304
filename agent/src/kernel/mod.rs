//! In: everything that talks to the kernel. `unsafe` in the agent lives here only.

pub mod btf;
pub mod offsets;
