//! Many processes at once that start no program.

use anyhow::{Context as _, bail};
use rustix::process::{Pid, WaitOptions, waitpid};
use serde_json::json;

use super::Say;

/// Forks `count` processes that live until all of them are there, then end, each with an exit code of its own
/// modulo 251. Says `{pid, children}`.
pub fn run(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    let (wait, go) = rustix::pipe::pipe()?;
    let mut children = Vec::with_capacity(count);
    for index in 0..count {
        let code = i32::try_from(index % 251)?;
        // SAFETY: this process has one thread, so the child is a whole copy; it makes system calls only.
        match unsafe { libc::fork() } {
            0 => {
                drop(go);
                // Nobody writes: this returns when the parent has closed its end, or is gone.
                let mut byte = [0];
                let _ = rustix::io::read(&wait, &mut byte);
                // SAFETY: _exit ends the child at once, without the parent's exit handlers.
                unsafe { libc::_exit(code) }
            }
            -1 => {
                return Err(std::io::Error::last_os_error()).with_context(|| format!("fork {index}"));
            }
            pid => children.push((Pid::from_raw(pid).context("a child has a pid")?, code)),
        }
    }
    drop(go);
    for (pid, code) in &children {
        let status = waitpid(Some(*pid), WaitOptions::empty())?.context("a child that was waited for")?.1;
        if status.exit_status() != Some(*code) {
            bail!("a child ended with {status:?}, not with code {code}");
        }
    }
    say(&json!({ "pid": std::process::id(), "children": count }))
}
