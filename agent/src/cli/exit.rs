//! Exit codes, after `sysexits.h`.

use std::process::ExitCode;

use crate::config::ConfigError;
use crate::kernel::LoadError;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// All is well.
    Ok = 0,
    /// It failed while running.
    Failure = 1,
    /// The command line or the configuration is wrong.
    Usage = 64,
    /// The kernel lacks something that is needed.
    Unavailable = 69,
    /// A privilege is missing.
    NoPrivilege = 77,
}

/// A failure that knows its exit code. Return it through `anyhow` from anywhere below a command.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The exit code.
    pub exit: Exit,
    /// What is missing and what to do: one line.
    pub message: String,
}

impl Exit {
    /// The error that ends a command with this code and one line.
    pub fn because(self, message: &str) -> anyhow::Error {
        Refusal { exit: self, message: message.to_owned() }.into()
    }

    /// The exit code that an error asks for: the first cause that knows one.
    pub fn of(error: &anyhow::Error) -> Self {
        let known = error.chain().find_map(|cause| {
            let refusal = cause.downcast_ref::<Refusal>().map(|refusal| refusal.exit);
            let load = || cause.downcast_ref::<LoadError>().filter(|error| error.is_of_the_kernel());
            let config = || cause.is::<ConfigError>().then_some(Self::Usage);
            refusal.or_else(|| load().map(|_| Self::Unavailable)).or_else(config)
        });
        known.unwrap_or(Self::Failure)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;
    use crate::kernel::features::BelowFloor;

    #[test]
    fn the_first_cause_that_knows_decides() {
        let refusal = || Refusal { exit: Exit::NoPrivilege, message: "no CAP_BPF".into() };
        let wrapped = Err::<(), _>(refusal()).context("loading").unwrap_err();
        assert_eq!(Exit::of(&wrapped), Exit::NoPrivilege);
        let config = ConfigError { problems: Vec::new() };
        assert_eq!(Exit::of(&config.into()), Exit::Usage);
        let old = LoadError::BelowFloor(BelowFloor { missing: vec!["BPF ring buffers (5.8)"] });
        assert_eq!(Exit::of(&old.into()), Exit::Unavailable);
        assert_eq!(Exit::of(&LoadError::Missing("map").into()), Exit::Failure);
        assert_eq!(Exit::of(&anyhow::anyhow!("other")), Exit::Failure);
    }
}
