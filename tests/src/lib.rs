//! The kernel and end-to-end suite. One static binary, `tarsier-itest`, runs natively as root and as
//! init (or init's child) in a QEMU guest.
//!
//! The system under test is the real agent, run as a child process and pointed at a cgroup that the
//! test made; what it says is read by an OTLP server in this process. Reading order: [`runner`] (what
//! a test is), [`harness`] (what a test holds), [`workload`] (what a test causes), then the tests by
//! boundary: [`sensors`], [`flows`], [`pipeline`], [`containers`], [`faults`], [`upstream`],
//! [`backends`]. [`selftest`] proves the first
//! three without an agent.

pub mod backends;
pub mod cli;
pub mod containers;
pub mod corpus;
pub mod faults;
pub mod flows;
pub mod guest;
pub mod harness;
pub mod pipeline;
pub mod runner;
pub mod selftest;
pub mod sensors;
pub mod upstream;
pub mod workload;
