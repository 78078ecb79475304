//! One file per sensor, named by its stem.

mod cgroup;
mod exec;
mod exit;
mod fork;
mod io_uring;
mod syscall;
mod tcp;
