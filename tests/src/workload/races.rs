//! Processes whose records race each other: threads that run a program while the leader ends, programs that
//! replace each other at once, pids that are given again and again.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Barrier;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, WaitOptions, waitpid};
use serde_json::json;

use super::Say;

/// Exit codes: of the programs that the threads start, and of a process that ends before they can.
const PROGRAMS: [&str; 2] = ["5", "6"];
const NO_PROGRAM: i32 = 9;

/// What the leader does while threads start programs.
#[derive(Clone, Copy)]
enum Leader {
    /// It ends alone; the other thread's program takes its place.
    Exits,
    /// It ends the process.
    ExitsGroup,
    /// It lets two threads race for the place.
    Waits,
}

/// `itest child --exit CODE …`, ready to be run without allocating.
struct Program {
    path: CString,
    arguments: Vec<CString>,
}

impl Program {
    fn child(code: &str, marker: &str) -> anyhow::Result<Self> {
        let path = CString::new(std::env::current_exe()?.as_os_str().as_bytes())?;
        let words = ["child", "--exit", code, "--marker", marker];
        let words: Result<Vec<_>, _> = words.into_iter().map(CString::new).collect();
        Ok(Self { arguments: [vec![path.clone()], words?].concat(), path })
    }

    /// Runs it in place of this process; returns only if it cannot.
    fn exec(&self) {
        let mut pointers: Vec<_> = self.arguments.iter().map(|text| text.as_ptr()).collect();
        pointers.push(std::ptr::null());
        // SAFETY: NUL-ended strings and a NULL-ended array of them, alive across the call.
        unsafe { libc::execv(self.path.as_ptr(), pointers.as_ptr()) };
    }
}

/// The exit code of a child that ended by itself.
fn reap(pid: i32) -> anyhow::Result<i32> {
    let pid = Pid::from_raw(pid).context("a child has a pid")?;
    let (_, status) = waitpid(Some(pid), WaitOptions::empty())?.context("a child that was waited for")?;
    status.exit_status().with_context(|| format!("a child ended with {status:?}"))
}

/// `count` processes in each of which threads start programs while the leader does one of three things. Says
/// `{pid, program}` of each: whether a program was started.
pub fn exit_and_exec(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    let programs = [Program::child(PROGRAMS[0], "race")?, Program::child(PROGRAMS[1], "race")?];
    for index in 0..count {
        let leader = [Leader::Exits, Leader::ExitsGroup, Leader::Waits][index % 3];
        // SAFETY: this process has one thread, so the child is a whole copy and may do what it likes.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            race(leader, &programs);
        }
        ensure!(pid > 0, "fork: {}", std::io::Error::last_os_error());
        let code = reap(pid)?;
        let program = PROGRAMS.iter().any(|known| known.parse() == Ok(code));
        if !program && (code != NO_PROGRAM || !matches!(leader, Leader::ExitsGroup)) {
            bail!("child {index} ended with code {code}");
        }
        say(&json!({ "pid": pid, "program": program, "exit": code }))?;
    }
    Ok(())
}

/// In the child: all of it at once.
fn race(leader: Leader, programs: &[Program; 2]) -> ! {
    let runners = if matches!(leader, Leader::Waits) { 2 } else { 1 };
    let start = Barrier::new(runners + 1);
    std::thread::scope(|scope| {
        for program in &programs[..runners] {
            scope.spawn(|| {
                start.wait();
                program.exec();
            });
        }
        start.wait();
        match leader {
            // SAFETY: ends this thread alone; its stack, which the other one uses, stays.
            Leader::Exits => drop(unsafe { libc::syscall(libc::SYS_exit, 0) }),
            // SAFETY: _exit ends the process at once.
            Leader::ExitsGroup => unsafe { libc::_exit(NO_PROGRAM) },
            Leader::Waits => {}
        }
    });
    // SAFETY: as above; no program could be started.
    unsafe { libc::_exit(1) }
}

/// A program that replaces itself `count` times. The last says `{pid}`.
pub fn chain(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt as _;
    let Some(rest) = count.checked_sub(1) else {
        return say(&json!({ "pid": std::process::id() }));
    };
    let mut command = std::process::Command::new(std::env::current_exe()?);
    let error = command.args(["workload", "chain", "--count", &rest.to_string()]).exec();
    Err(error).context("replacing the program")
}

/// The head of `struct clone_args` (include/uapi/linux/sched.h), as of 5.5.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
}

/// A process that runs `program` under a pid of our choice: the kernel gives a free one on demand (5.5).
fn spawn_as(pid: i32, program: &Program) -> std::io::Result<()> {
    let arguments = CloneArgs {
        exit_signal: libc::SIGCHLD.unsigned_abs().into(),
        set_tid: std::ptr::from_ref(&pid).addr() as u64,
        set_tid_size: 1,
        ..CloneArgs::default()
    };
    let size = size_of::<CloneArgs>();
    // SAFETY: without CLONE_VM the child is a copy, as of fork; the kernel reads the arguments during the call.
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size) } {
        0 => {
            program.exec();
            // SAFETY: _exit ends the child at once, without the parent's exit handlers.
            unsafe { libc::_exit(1) }
        }
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// `count` processes one after the other, all of the same pid. Says `{pid, exit}` of each.
pub fn pid_reuse(count: usize, say: Say<'_>) -> anyhow::Result<()> {
    // A pid that is free: of a process that is over.
    // SAFETY: this process has one thread; the child ends at once.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        // SAFETY: _exit ends the child at once, without the parent's exit handlers.
        unsafe { libc::_exit(0) };
    }
    ensure!(pid > 0, "fork: {}", std::io::Error::last_os_error());
    reap(pid)?;
    for index in 0..count {
        let code = index % 251;
        let program = Program::child(&code.to_string(), "reuse")?;
        spawn_as(pid, &program).with_context(|| format!("process {index} as {pid}"))?;
        ensure!(reap(pid)? == i32::try_from(code)?, "process {index} ended with another code");
        say(&json!({ "pid": pid, "exit": code }))?;
    }
    Ok(())
}
