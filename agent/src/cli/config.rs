//! `tarsier config`: check a file, print the effective configuration.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;

use super::{Exit, run};
use crate::config::{Loaded, print};

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Report every mistake of a file at once; exit code 64 if there is one.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Print the effective configuration as YAML, with the origin of each value.
    ///
    /// Takes the options of `tarsier run`, and shows what `run` would use.
    Print(run::Args),
    /// Print the JSON schema of the configuration file, for editors.
    Schema,
}

pub(super) fn run(command: &Command, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match command {
        Command::Check { file } => {
            Loaded::load(Some(file))?;
            writeln!(out, "{}: ok", file.display())?;
        }
        Command::Print(args) => out.write_all(print(&args.load()?).as_bytes())?,
        Command::Schema => writeln!(out, "{:#}", crate::config::schema())?,
    }
    Ok(Exit::Ok)
}
