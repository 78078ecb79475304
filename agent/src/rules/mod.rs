//! Rule files: where they are, and what is said of them.
//!
//! What they mean is `tarsier_core::rules`; here is the IO around it.

mod files;
mod report;

pub use files::{Files, read};
pub use report::{Report, to_json};
