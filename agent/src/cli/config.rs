//! `tarsier config`: check a file, print the effective configuration.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::Subcommand;

use super::{Exit, run};
use crate::config::{Loaded, import_falco, print};

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
    /// Print the configuration that a falco.yaml comes to, and what became of each of its keys.
    ///
    /// What is printed can be put into a file and given to `run --config`. Each value has the key that it is from behind it; at
    /// the end stand the keys that say nothing here, with the reason. Rule files are read as they are.
    ImportFalco {
        /// The falco.yaml.
        file: PathBuf,
    },
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
        Command::ImportFalco { file } => {
            let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()));
            let text = text.map_err(|error| Exit::Usage.because(&format!("{error:#}")))?;
            out.write_all(import_falco(&file.display().to_string(), &text)?.yaml.as_bytes())?;
        }
        Command::Schema => writeln!(out, "{:#}", crate::config::schema())?,
    }
    Ok(Exit::Ok)
}
