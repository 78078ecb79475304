//! `cargo xtask …`: the repository's own commands, one file each. Depends on none of our packages,
//! so that it compiles in seconds on a machine where nothing else is built yet.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "these are commands for people")]

#[path = "../../ebpf/build_object.rs"]
mod build_object;
mod ebpf;
mod install;
mod listing;
mod shell;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask COMMAND [--yes]

  ebpf [--check]      rebuild the checked-in eBPF object and its budget table; --check: prove them current

  --yes     install what is missing without asking (the default where CI is set)

Built tools and peers stay in $TARSIER_CACHE, else ~/.cache/tarsier.";

fn main() -> ExitCode {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let command = if arguments.is_empty() { "help".to_owned() } else { arguments.remove(0) };
    match run(&command, Options { flags: arguments }) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, mut options: Options) -> Result<ExitCode> {
    let consent = if options.take("--yes") || std::env::var_os("CI").is_some() {
        install::Consent::Given
    } else {
        install::Consent::Ask
    };
    match command {
        "help" | "--help" | "-h" => println!("{HELP}"),
        "ebpf" => {
            let check = options.take("--check");
            options.finish()?;
            ebpf::run(consent, check)?;
        }
        other => bail!("no such command `{other}`\n\n{HELP}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The flags that a command has not taken yet.
struct Options {
    flags: Vec<String>,
}

impl Options {
    fn take(&mut self, flag: &str) -> bool {
        let before = self.flags.len();
        self.flags.retain(|known| known != flag);
        self.flags.len() < before
    }

    fn finish(&self) -> Result<()> {
        match self.flags.first() {
            Some(flag) => bail!("unknown option `{flag}`\n\n{HELP}"),
            None => Ok(()),
        }
    }
}
