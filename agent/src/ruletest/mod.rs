//! Tests of rules: files of cases are found and read, their events pass the rules as the agent runs them, and what comes of
//! it is held against what was expected.
//!
//! What the files mean is `tarsier_core::rules::suite`; what runs the rules, [`crate::pipeline::Trial`].

mod account;
mod find;
mod human;
mod judge;
mod junit;
mod run;

pub use account::{Account, OpenLeaf, RuleAccount};
pub use find::find;
pub use human::write as write_human;
pub use judge::Fault;
pub use junit::write as write_junit;
pub use run::{CaseResult, Outcome, SuiteResult, run};

#[cfg(test)]
mod tests;
