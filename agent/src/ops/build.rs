//! Facts about this binary, from `build.rs`.

use serde::Serialize;

/// What this binary was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The package's version.
    pub version: &'static str,
    /// The commit, with `-dirty` if the tree had changes; `unknown` outside a repository.
    pub git_revision: &'static str,
    /// How the eBPF object came to be.
    pub ebpf_built_with: &'static str,
    /// SHA-256 of the eBPF object.
    pub ebpf_object: &'static str,
    /// The target triple's architecture and libc, as the compiler saw them.
    pub target: &'static str,
}

/// The facts of this binary.
pub const FACTS: Facts = Facts {
    version: env!("CARGO_PKG_VERSION"),
    git_revision: or_unknown(option_env!("TARSIER_GIT_REV")),
    ebpf_built_with: or_unknown(option_env!("TARSIER_EBPF_BUILT_WITH")),
    ebpf_object: or_unknown(option_env!("TARSIER_EBPF_SHA256")),
    target: TARGET,
};

/// The text behind `tarsier --version`: one fact per line.
pub const LONG_VERSION: &str = match LONG {
    Some(text) => text,
    None => env!("CARGO_PKG_VERSION"),
};

const LONG: Option<&str> = option_env!("TARSIER_LONG_VERSION");

const TARGET: &str = if cfg!(target_env = "musl") {
    if cfg!(target_arch = "aarch64") { "aarch64-linux-musl" } else { "x86_64-linux-musl" }
} else if cfg!(target_arch = "aarch64") {
    "aarch64-linux-gnu"
} else {
    "x86_64-linux-gnu"
};

const fn or_unknown(fact: Option<&'static str>) -> &'static str {
    match fact {
        Some(fact) => fact,
        None => "unknown",
    }
}
