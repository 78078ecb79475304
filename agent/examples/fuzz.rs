//! The fuzzer: libFuzzer around one of [`tarsier::fuzz::TARGETS`], which `TARSIER_FUZZ_TARGET` names. Built and
//! run by `cargo xtask fuzz`.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tarsier::fuzz::{Target, target};

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var("TARSIER_FUZZ_TARGET").unwrap_or_default();
    target(&name).unwrap_or_else(|| panic!("TARSIER_FUZZ_TARGET: no target {name:?}"))
});

fuzz_target!(|input: &[u8]| (TARGET.run)(input));
