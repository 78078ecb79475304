//! `cargo xtask …`: the repository's own commands, one file each. Depends on none of our packages,
//! so that it compiles in seconds on a machine where nothing else is built yet.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "these are commands for people")]

mod archive;
mod bench;
mod btf;
mod budget;
#[path = "../../ebpf/build_object.rs"]
mod build_object;
mod corpus;
mod cpio;
mod demo;
mod dist;
mod ebpf;
mod fuzz;
mod guests;
mod image;
mod install;
mod kernels;
mod listing;
mod peers;
mod results;
mod shell;
mod support;
mod tidy;
mod tiers;
mod vm;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
cargo xtask COMMAND [--yes]

  demo [--backend]    the agent on this kernel, a small workload, what it looks like (root);
                      --backend: also a real OpenTelemetry Collector and Jaeger
  test [--quick] [--all-kernels]
                      every tier this machine can run; --quick: without guests and built backends;
                      --all-kernels: also the kernels that are not in every run
  tidy                the house rules: arrows, sensor stems, file lengths, names
  ebpf [--check]      rebuild the checked-in eBPF object and its budget table; --check: prove them current
  bench [NAME]… [--pairs N] [--against REV] [--write]
                      what the agent costs this machine (root): getppid, open-close, connect, exec, bulk in
                      pairs; idle, programs, burst, sustained, sweeps; replay, encoder without a kernel;
                      --against: pairs with another revision's agent; --write: all, into docs/benchmarks.md
  fuzz [TARGET]… [--for 60s] [--seed N] [--keep]
                      libFuzzer on the targets of agent/src/fuzz (default: all); --keep: inputs that reach
                      new code go to tests/fuzz
  dist                the release binary, target/dist/tarsier: one static file; our own rules beside it
  vm [--kernel NAME] [--filter TEXT]
                      the kernel tests in a QEMU guest (default: 6.1); names: tests/kernels.toml
  corpus [NAME]…      record tests/captures/ anew, on this kernel and in a guest of each other one
  kernels [NAME]… [--write]
                      the suite on every kernel of the list, what attaches there and what its verifier
                      counts; --write: into docs/kernel-support.md and ebpf/budget.txt
  btf                 what is looked at of each kernel's types, into tests/btf/
  peers               build the Collector and Jaeger that the tests use
  help                this

  --yes     install what is missing without asking (the default where CI is set)

Built tools and peers stay in $TARSIER_CACHE, else ~/.cache/tarsier. $TARSIER_FALCO_RULES is a folder with the
rule files that Falco publishes; without it, and without ../shared/falco-rules, one tier of `test` does not run.";

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
    if options.take("--help") || options.take("-h") {
        println!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
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
        "tidy" => {
            options.finish()?;
            tidy::command()?;
        }
        "dist" => {
            options.finish()?;
            dist::dist(consent)?;
        }
        "peers" => {
            options.finish()?;
            peers::command(consent)?;
        }
        "bench" => {
            let pairs = options.value("--pairs")?.map(|pairs| pairs.parse()).transpose()?;
            let against = options.value("--against")?;
            let write = options.take("--write");
            let (flags, names) = options.flags.drain(..).partition(|word| word.starts_with('-'));
            options.flags = flags;
            options.finish()?;
            bench::command(consent, &bench::Choice { names, pairs, against, write })?;
        }
        "fuzz" => {
            let time = options.value("--for")?.map_or(Ok(fuzz::DEFAULT_TIME), |time| fuzz::time(&time))?;
            let seed = options.value("--seed")?.map(|seed| seed.parse()).transpose()?;
            let keep = options.take("--keep");
            let (flags, names) = options.flags.drain(..).partition(|word| word.starts_with('-'));
            options.flags = flags;
            options.finish()?;
            fuzz::command(&fuzz::Choice { names, time, seed, keep })?;
        }
        "vm" => {
            let kernel = options.value("--kernel")?.unwrap_or_else(|| "6.1".into());
            let filter = options.value("--filter")?.unwrap_or_default();
            options.finish()?;
            vm::command(consent, &kernel, &filter)?;
        }
        "corpus" => {
            let (flags, names) = options.flags.drain(..).partition(|word| word.starts_with('-'));
            options.flags = flags;
            options.finish()?;
            corpus::command(consent, &names)?;
        }
        "btf" => {
            options.finish()?;
            btf::command(consent)?;
        }
        "kernels" => {
            let write = options.take("--write");
            let (flags, names) = options.flags.drain(..).partition(|word| word.starts_with('-'));
            options.flags = flags;
            options.finish()?;
            support::command(consent, &support::Choice { names, write })?;
        }
        "demo" => {
            let backend = options.take("--backend");
            options.finish()?;
            demo::command(consent, backend)?;
        }
        "test" => {
            let reach = match (options.take("--quick"), options.take("--all-kernels")) {
                (true, true) => bail!("--quick runs no guests, --all-kernels all of them: choose one"),
                (true, false) => tiers::Reach::Quick,
                (false, true) => tiers::Reach::AllKernels,
                (false, false) => tiers::Reach::Usual,
            };
            options.finish()?;
            if !tiers::run_all(consent, reach)? {
                return Ok(ExitCode::FAILURE);
            }
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

    fn value(&mut self, flag: &str) -> Result<Option<String>> {
        let Some(at) = self.flags.iter().position(|known| known == flag) else { return Ok(None) };
        if at + 1 >= self.flags.len() {
            bail!("{flag} needs a value");
        }
        self.flags.remove(at);
        Ok(Some(self.flags.remove(at)))
    }

    fn finish(&self) -> Result<()> {
        match self.flags.first() {
            Some(flag) => bail!("unknown option `{flag}`\n\n{HELP}"),
            None => Ok(()),
        }
    }
}
