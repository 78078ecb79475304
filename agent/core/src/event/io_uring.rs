//! Requests of io_uring decoded: the same records as those of calls, by another sensor.

pub use super::syscall::{Event, decode};
