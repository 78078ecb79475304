//! What tests and `cargo xtask demo` make the machine do: short-lived processes and TCP connections
//! whose every detail is printed, one JSON line each, to be compared with what the agent says.

pub mod burst;
pub mod calls;
pub mod connections;
pub mod crowd;
pub mod endings;
pub mod fixed;
pub mod held;
pub mod processes;
pub mod puppet;
pub mod races;
pub mod reverse_shell;
mod rings;
pub mod sockets;

use std::ffi::OsString;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// How to call it, for people.
pub const USAGE: &str = "workload processes --count N --marker TEXT
workload connections --count N
workload crowd --first I --count N            (then a line on stdin closes them)
workload burst | exit-and-exec | chain | pid-reuse --count N
workload fork | threads | thread-exec
workload refused | reset | server-reset | half-close | matrix | v6 | v4-mapped | dual-stack
workload large --bytes N
workload hold            (then lines on stdin: `send N`, `reply N`, `close`)
workload puppet          (then lines on stdin: see its source)
workload calls [LINE]…   (without any, lines on stdin: see its source)
workload demo
workload reverse-shell ADDRESS    (who listens there types into a shell)
workload fixed-getppid | fixed-open-close | fixed-connect | fixed-exec | fixed-bulk | fixed-burst | fixed-mix
         --count N
workload fixed-paced --count N     (N a second, for ten seconds)
workload idle-sockets --count N    (until stdin ends)";

/// Runs `workload ARGUMENTS…`.
pub fn main(arguments: &[OsString]) -> anyhow::Result<()> {
    let words: Option<Vec<&str>> = arguments.iter().map(|word| word.to_str()).collect();
    let words = words.context("workload arguments are text")?;
    let (&name, options) = words.split_first().with_context(|| format!("which workload?\n{USAGE}"))?;
    match name {
        "processes" => processes::run(number(options, "--count")?, option(options, "--marker")?, &mut say),
        "connections" => connections::run(number(options, "--count")?, &mut say),
        "crowd" => crowd::run(number(options, "--first")?, number(options, "--count")?, &mut say),
        "burst" => burst::run(number(options, "--count")?, &mut say),
        "exit-and-exec" => races::exit_and_exec(number(options, "--count")?, &mut say),
        "chain" => races::chain(number(options, "--count")?, &mut say),
        "pid-reuse" => races::pid_reuse(number(options, "--count")?, &mut say),
        "fork" => processes::fork(&mut say),
        "threads" => processes::threads(),
        "thread-exec" => processes::thread_exec(),
        "calls" => calls::run(options, &mut say),
        "puppet" => puppet::run(&mut say),
        "hold" => held::run(&mut say),
        "large" => endings::large(number(options, "--bytes")?, &mut say),
        "demo" => demo(),
        "reverse-shell" => reverse_shell::run(options.first().context("reverse-shell needs an address")?),
        "fixed-getppid" => fixed::getppid(number(options, "--count")?, &mut say),
        "fixed-open-close" => fixed::open_close(number(options, "--count")?, &mut say),
        "fixed-connect" => fixed::connect(number(options, "--count")?, &mut say),
        "fixed-exec" => fixed::exec(number(options, "--count")?, &mut say),
        "fixed-bulk" => fixed::bulk(number(options, "--count")?, &mut say),
        "fixed-burst" => fixed::burst(number(options, "--count")?, &mut say),
        "fixed-mix" => fixed::mix(number(options, "--count")?, &mut say),
        "fixed-paced" => fixed::paced(number(options, "--count")?, &mut say),
        "idle-sockets" => fixed::idle_sockets(number(options, "--count")?, &mut say),
        other => match endings::find(other) {
            Some(run) => run(&mut say),
            None => bail!("no workload {other}\n{USAGE}"),
        },
    }
}

/// Something of everything, for people to watch: processes, exchanges, a failing connect.
fn demo() -> anyhow::Result<()> {
    processes::run(5, "demo", &mut say)?;
    connections::run(5, &mut say)?;
    endings::refused(&mut say)?;
    endings::reset(&mut say)
}

/// Where a workload's lines go.
pub type Say<'a> = &'a mut dyn FnMut(&Value) -> anyhow::Result<()>;

fn say(line: &Value) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    // Whoever reads waits for this line before it goes on.
    Ok(out.flush()?)
}

fn option<'a>(options: &[&'a str], name: &str) -> anyhow::Result<&'a str> {
    let at = options.iter().position(|&word| word == name).with_context(|| format!("{name} is missing"))?;
    options.get(at + 1).copied().with_context(|| format!("{name} has no value"))
}

fn number(options: &[&str], name: &str) -> anyhow::Result<usize> {
    option(options, name)?.parse().with_context(|| format!("{name} is a number"))
}
