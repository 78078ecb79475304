//! The hot core: pure functions and tables between the ring's bytes and the exporter's bytes.
//!
//! Nothing here does IO, reads a clock, spawns or awaits: time is an argument, tables are written
//! by the agent and read here. Modules in the order a record passes them.
//!
//! `decode`, `process`, `enrich`, `flows` and `encode` know [`event`] and never each other; the
//! agent's `pipeline.rs` calls them in turn.
#![forbid(unsafe_code)]

pub mod event;

pub mod decode;

pub mod process;

pub mod enrich;

pub mod flows;

pub mod rules;

pub mod encode;
