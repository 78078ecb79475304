//! Short-lived processes with known arguments and ends.

use std::ffi::OsString;
use std::process::Command;
use std::sync::{Arc, Barrier};

use anyhow::{Context as _, bail};
use serde_json::json;

use super::Say;

/// Starts `count` processes one after the other. Each has its own arguments (an empty one among
/// them) and exit code. Says `{index, pid, parent, arguments, exit}` of each.
pub fn run(count: usize, marker: &str, say: Say<'_>) -> anyhow::Result<()> {
    let itest = std::env::current_exe()?;
    let itest = itest.to_str().context("the test binary's path is text")?;
    for index in 0..count {
        let code = index % 251;
        let arguments = ["child", "--exit", &code.to_string(), "--marker", marker, "", &index.to_string()]
            .map(str::to_owned);
        let mut child = Command::new(itest).args(&arguments).spawn()?;
        let pid = child.id();
        let status = child.wait()?;
        if status.code() != i32::try_from(code).ok() {
            bail!("child {index} ended with {status}, not with code {code}");
        }
        let argv: Vec<&str> = std::iter::once(itest).chain(arguments.iter().map(String::as_str)).collect();
        say(&json!({
            "index": index, "pid": pid, "parent": std::process::id(), "arguments": argv, "exit": code,
        }))?;
    }
    Ok(())
}

/// Creates a process that runs no program and ends with code 7. Says `{pid, parent, exit}`.
pub fn fork(say: Say<'_>) -> anyhow::Result<()> {
    // SAFETY: this process has one thread, so the child is a whole copy; it only calls _exit.
    let pid = unsafe { libc::fork() };
    match pid {
        // SAFETY: _exit ends the child at once, without the parent's exit handlers.
        0 => unsafe { libc::_exit(7) },
        -1 => Err(std::io::Error::last_os_error()).context("fork"),
        pid => {
            let waited = rustix::process::Pid::from_raw(pid).context("a child has a pid")?;
            rustix::process::waitpid(Some(waited), rustix::process::WaitOptions::empty())?;
            say(&json!({ "pid": pid, "parent": std::process::id(), "exit": 7 }))
        }
    }
}

/// Ten threads come and go: no process is created.
pub fn threads() -> anyhow::Result<()> {
    for _ in 0..10 {
        let thread = std::thread::Builder::new().spawn(|| ())?;
        if thread.join().is_err() {
            bail!("a thread panicked");
        }
    }
    Ok(())
}

/// A thread that is not the leader starts `child --exit 5 --marker by-thread`: the new program has the
/// leader's pid.
pub fn thread_exec() -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    let itest = std::env::current_exe()?;
    let thread = std::thread::Builder::new()
        .spawn(move || Command::new(itest).args(["child", "--exit", "5", "--marker", "by-thread"]).exec())?;
    match thread.join() {
        Ok(error) => Err(error).context("exec by a thread"),
        Err(_) => bail!("the thread panicked"),
    }
}

/// `child --exit N …`: ends with that code; `--threads N`: with that many threads more, all at once.
/// `child --signal N …`: ends by that signal. Whatever else is among the arguments is only there to be seen.
pub fn child(arguments: &[OsString]) -> anyhow::Result<std::process::ExitCode> {
    let value = |name: &str| -> Option<&str> {
        let at = arguments.iter().position(|word| word == name)?;
        arguments.get(at + 1)?.to_str()
    };
    if let Some(signal) = value("--signal") {
        die_by(signal.parse().context("--signal is a number")?)?;
    }
    let code = value("--exit").context("child needs --exit or --signal")?;
    let code = code.parse::<u8>().context("--exit is 0 to 255")?;
    if let Some(threads) = value("--threads") {
        end_at_once(threads.parse().context("--threads is a number")?, code)?;
    }
    Ok(code.into())
}

/// Every thread ends by itself, the leader with `code`, the others with 0: which one is the last, none
/// of them knows.
fn end_at_once(threads: usize, code: u8) -> anyhow::Result<()> {
    let barrier = Arc::new(Barrier::new(threads + 1));
    for _ in 0..threads {
        let barrier = Arc::clone(&barrier);
        std::thread::Builder::new().spawn(move || {
            barrier.wait();
            end_thread(0)
        })?;
    }
    barrier.wait();
    end_thread(code)
}

/// Ends this thread, and the process only if it is the last one.
fn end_thread(code: u8) -> ! {
    loop {
        // SAFETY: the thread ends in the call; nothing of its stack is used by another one.
        unsafe { libc::syscall(libc::SYS_exit, libc::c_int::from(code)) };
    }
}

fn die_by(signal: i32) -> anyhow::Result<()> {
    // No core file: what is tested is the signal, and a core would only fill the disk.
    rustix::process::setrlimit(
        rustix::process::Resource::Core,
        rustix::process::Rlimit { current: Some(0), maximum: Some(0) },
    )?;
    // SAFETY: SIG_DFL is always a valid disposition; the runtime's own handlers are not needed any more.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    let signal = rustix::process::Signal::from_named_raw(signal).context("no such signal")?;
    rustix::process::kill_process(rustix::process::getpid(), signal)?;
    // A signal to oneself is delivered before kill returns.
    bail!("still here after the signal")
}
