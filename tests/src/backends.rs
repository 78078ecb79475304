//! Tests against real backends; those of this group follow.

use crate::runner::Test;

/// Every test with a real backend.
pub fn tests() -> Vec<Test> {
    Vec::new()
}
