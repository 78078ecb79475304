//! `tarsier completions SHELL`.

use std::io::Write;

use clap::CommandFactory;
use clap_complete::{Shell, generate};

use super::{Cli, Exit};

/// Options of `tarsier completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    // `generate` panics if it cannot write, so it writes to memory: a closed pipe is no panic.
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "tarsier", &mut script);
    out.write_all(&script)?;
    Ok(Exit::Ok)
}
