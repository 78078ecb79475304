//! Facts about this binary, from `build.rs`.

use std::sync::LazyLock;

use serde::Serialize;

/// What this binary was built from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// The package's version.
    pub version: &'static str,
    /// The commit; `unknown` outside a repository.
    pub git_revision: &'static str,
    /// How the eBPF object came to be: compiled by what, or the checked-in one.
    pub ebpf_build: &'static str,
    /// SHA-256 of the eBPF object.
    pub ebpf_object: &'static str,
    /// The compiler of the agent.
    pub rustc: &'static str,
    /// The target triple.
    pub target: &'static str,
    /// `release` or `debug`.
    pub profile: &'static str,
}

/// The facts of this binary.
pub const FACTS: Facts = Facts {
    version: env!("CARGO_PKG_VERSION"),
    git_revision: or_unknown(option_env!("TARSIER_GIT_REV")),
    ebpf_build: or_unknown(option_env!("TARSIER_EBPF_BUILD")),
    ebpf_object: or_unknown(option_env!("TARSIER_EBPF_SHA256")),
    rustc: or_unknown(option_env!("TARSIER_RUSTC")),
    target: or_unknown(option_env!("TARSIER_TARGET")),
    profile: if cfg!(debug_assertions) { "debug" } else { "release" },
};

/// What `tarsier --version` prints behind the name: the version, then one fact per line.
pub fn long_version() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let Facts { version, git_revision, ebpf_build, ebpf_object, rustc, target, profile } = FACTS;
        format!(
            "{version}\ncommit:      {git_revision}\ntarget:      {target} ({profile})\ncompiler:    {rustc}\n\
             ebpf object: {ebpf_object}\nebpf build:  {ebpf_build}"
        )
    });
    &TEXT
}

const fn or_unknown(fact: Option<&'static str>) -> &'static str {
    match fact {
        Some(fact) => fact,
        None => "unknown",
    }
}
