//! The agent: IO and wiring around `tarsier-core`. Modules in the order a record passes them.
//!
//! [`kernel`], [`host`], [`export`], [`ops`], [`capture`] and [`rules`] never import each other; `pipeline` imports all.

pub mod capture;
pub mod cli;
pub mod config;
pub mod export;
#[cfg(test)]
mod fresh;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod host;
pub mod kernel;
pub mod ops;
pub mod pipeline;
pub mod rules;
pub mod ruletest;
