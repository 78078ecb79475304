//! Generated pages under `docs/reference` are compared with the code by tests.

use std::path::Path;

/// Fails if the file at `path` (from the repository's root) is not `expected`; with
/// `TARSIER_BLESS=1` in the environment, rewrites it instead.
#[track_caller]
pub(crate) fn assert_fresh(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("TARSIER_BLESS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    let line = found.lines().zip(expected.lines()).take_while(|(a, b)| a == b).count() + 1;
    assert!(
        found == expected,
        "{path} is stale, first in line {line}; run TARSIER_BLESS=1 cargo test -p tarsier fresh"
    );
}
