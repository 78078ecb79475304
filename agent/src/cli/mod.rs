//! The command line: parse, set up the log, dispatch, exit code. One file per subcommand.

mod completions;
mod config;
mod doctor;
mod exit;
mod fields;
mod log;
mod record;
mod replay;
mod rules;
mod run;
mod sensors;
mod style;
mod top;

use std::ffi::OsString;
use std::io::{self, Write};

use clap::{Parser, Subcommand};

use crate::config::ConfigError;
pub use exit::{Exit, Refusal};
use style::Style;

const EXAMPLES: &str = "\
Examples:
  tarsier doctor                                    what works on this machine, and what to do
  sudo tarsier run                                  show processes and connections, until Ctrl-C
  sudo tarsier run --output json --for 10s | jq     ten seconds of it, as JSON lines
  sudo tarsier run --scope-cgroup /sys/fs/cgroup/system.slice
                                                    only what runs in that cgroup
  sudo tarsier run --config /etc/tarsier.yaml       as a service
  sudo tarsier record now.tarsier --for 30s         what the kernel says, into a file
  tarsier replay now.tarsier                        and out of it, on any machine
  sudo tarsier top                                  live view of the running agent
  tarsier rules check /etc/falco                    what is wrong with rule files
  tarsier rules test rules/                         whether rules do what is expected of them
  tarsier rules explain-plan /etc/falco             what they have the kernel tell, and which one is expensive
  tarsier config check /etc/tarsier.yaml            every mistake at once

Exit codes:
  0   all is well
  1   failed while running
  64  bad usage or configuration
  69  the kernel lacks something that is needed
  77  a privilege is missing";

/// Captures processes and TCP connections from the kernel, names them, streams them over OTLP.
#[derive(Debug, Parser)]
#[command(name = "tarsier", version, long_version = crate::ops::build::long_version(), after_help = EXAMPLES)]
#[command(arg_required_else_help = true, propagate_version = false)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Capture and export, until SIGINT or SIGTERM.
    #[command(after_help = run::SIGNALS)]
    Run(run::Args),
    /// Write what the kernel says to a file, to be replayed.
    Record(record::Args),
    /// Show or export a capture again, on any machine, without privileges.
    Replay(replay::Args),
    /// Check the kernel, privileges and host: what works, what does not, what to do.
    Doctor(doctor::Args),
    /// Watch a running agent: busiest connections, newest processes, losses.
    Top(top::Args),
    /// List the sensors: what each captures and where it attaches.
    Sensors(sensors::Args),
    /// Check, list, show or explain Falco rules.
    #[command(subcommand)]
    Rules(rules::Command),
    /// List the fields that rules can ask for.
    Fields(fields::Args),
    /// Check, print or import the configuration.
    #[command(subcommand)]
    Config(config::Command),
    /// Print the completion script of a shell.
    Completions(completions::Args),
}

/// Runs the command line `args` (the program's name first) and says how it went.
pub fn main(args: impl IntoIterator<Item = OsString>) -> Exit {
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // There is nobody left to tell if the terminal is gone.
            let _ = error.print();
            return exit;
        }
    };
    // Not locked: `run` writes to standard output from other threads.
    let mut out = io::stdout();
    let result = dispatch(cli.command, &mut out).and_then(|exit| {
        out.flush()?;
        Ok(exit)
    });
    log::close();
    result.unwrap_or_else(|error| report(&error))
}

fn dispatch(command: Command, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match command {
        Command::Run(args) => run::run(&args),
        Command::Record(args) => record::run(&args),
        Command::Replay(args) => replay::run(&args, out),
        Command::Doctor(args) => doctor::run(&args, out),
        Command::Top(args) => top::run(&args, out),
        Command::Sensors(args) => sensors::run(&args, out),
        Command::Rules(command) => rules::run(&command, out),
        Command::Fields(args) => fields::run(&args, out),
        Command::Config(command) => config::run(&command, out),
        Command::Completions(args) => completions::run(&args, out),
    }
}

/// Says on standard error why a command failed. A reader that closed our pipe (`| head`) is no failure.
fn report(error: &anyhow::Error) -> Exit {
    let is_closed_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    if error.chain().filter_map(|cause| cause.downcast_ref()).any(is_closed_pipe) {
        return Exit::Ok;
    }
    let style = Style::of(&io::stderr());
    // A configuration error is many lines that each start with their place; they stand as they are.
    let name = if error.is::<ConfigError>() { String::new() } else { style.bad("tarsier:") + " " };
    // There is nobody left to tell if standard error is gone.
    let _ = writeln!(io::stderr(), "{name}{error:#}");
    Exit::of(error)
}
