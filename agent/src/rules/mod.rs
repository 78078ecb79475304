//! Rule files: where they are, what is said of them, and the set that runs.
//!
//! What they mean is `tarsier_core::rules`; here is the IO around it.

mod active;
mod config;
mod files;
mod report;
mod watch;

pub use active::Active;
pub use config::{CompatName, Matching, Named, Paths, RulesConfig, Selection};
pub use files::{Files, is_tests, read};
pub use report::{Report, line_and_column, place, to_json, written};
pub use watch::Watch;
