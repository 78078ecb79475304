//! What a test is, and how a list of them is run: one after the other, each with a deadline, one
//! JSON line each, and one for what it noted of the kernel.

#![expect(clippy::print_stderr, reason = "progress for people goes to stderr")]

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::daemon::Log;
use crate::harness::{cgroup, tool};

/// Longest a test may take, slow guests included. A test waits on events with deadlines of its own;
/// this one only catches a test that hangs.
const TEST_DEADLINE: Duration = Duration::from_secs(180);

/// One test.
#[derive(Clone, Copy)]
pub struct Test {
    /// `group/what_is_proved`.
    pub name: &'static str,
    /// What must be there for it to mean something.
    pub needs: &'static [Need],
    /// The test itself; an error is a failure, unless it is a [`Skip`].
    pub run: fn(&Context) -> anyhow::Result<()>,
}

/// Something that a test cannot do without. Unmet, the test is skipped and says so.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// A writable cgroup v2 hierarchy, mounted anywhere.
    Cgroup2,
    /// A machine of its own: the test captures everything, or changes what is mounted or the kernel.
    Guest,
    /// A machine that is not emulated: the test is about load or timing that an emulated one does not reach.
    Native,
    /// The machine's own kernel: the test is about what comes behind the rings or before the programs are loaded, which
    /// is the same on every kernel and need not be proved on each.
    OwnKernel,
    /// IPv6 on loopback.
    Ipv6,
    /// A command on `PATH`.
    Tool(&'static str),
    /// The Collector's binary (`--collector`).
    Collector,
    /// Jaeger's binary (`--jaeger`).
    Jaeger,
    /// Falco's own rule files (`--rules`).
    Rules,
    /// An agent that is one static file.
    StaticAgent,
}

impl Need {
    /// Why it is not met, if so.
    fn unmet(self, context: &Context) -> Option<String> {
        match self {
            Self::Cgroup2 => cgroup::mount().err().map(|error| error.to_string()),
            Self::Guest => {
                (!context.emulated).then(|| "only in a guest: it takes the machine for itself".to_owned())
            }
            Self::Native => {
                context.emulated.then(|| "not in a guest: an emulated machine is too slow".to_owned())
            }
            Self::OwnKernel => {
                context.emulated.then(|| "not in a guest: it is the same on every kernel".to_owned())
            }
            Self::Ipv6 => std::net::TcpListener::bind("[::1]:0")
                .err()
                .map(|error| format!("no IPv6 on loopback: {error}")),
            Self::Tool(name) => tool::find(name).is_none().then(|| format!("{name} is not installed")),
            Self::Collector => context.collector.is_none().then(|| "no --collector binary".to_owned()),
            Self::Jaeger => context.jaeger.is_none().then(|| "no --jaeger binary".to_owned()),
            Self::Rules => context.rules.is_none().then(|| "no --rules folder".to_owned()),
            Self::StaticAgent => tool::needs_loader(&context.agent).unwrap_or(true).then(|| {
                "the agent needs a dynamic loader: `cargo xtask test` builds a static one".to_owned()
            }),
        }
    }
}

/// Returned by a test that finds out on its way that this machine cannot run it.
#[derive(Debug)]
pub struct Skip(pub String);

impl std::fmt::Display for Skip {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// What every test gets.
#[derive(Clone, Default)]
pub struct Context {
    /// The agent's binary.
    pub agent: PathBuf,
    /// This binary, to be run again as a workload.
    pub itest: PathBuf,
    /// An OpenTelemetry Collector.
    pub collector: Option<PathBuf>,
    /// A Jaeger 2.
    pub jaeger: Option<PathBuf>,
    /// The folder with Falco's own rule files.
    pub rules: Option<PathBuf>,
    /// This machine may be emulated, some thirty times slower: see [`Context::many`].
    pub emulated: bool,
    /// What the agent (and peers) of the current test wrote on stderr; printed when it fails.
    pub log: Arc<Log>,
    /// What the current test found out of this kernel: (subject, JSON object).
    pub notes: Arc<Mutex<Vec<(&'static str, Value)>>>,
}

impl Context {
    /// `count` of something, a tenth of it in a guest: there it is the kernel that is tested, not the load.
    pub fn many(&self, count: usize) -> usize {
        if self.emulated { count / 10 } else { count }
    }

    /// Notes facts about this kernel, an object, for docs/kernel-support.md. They go out with the test's
    /// result, however it ends.
    pub fn note(&self, subject: &'static str, facts: Value) {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner).push((subject, facts));
    }

    fn take_notes(&self) -> Vec<(&'static str, Value)> {
        std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How a test ended.
#[derive(Clone, Debug)]
enum Outcome {
    Pass,
    Fail(String),
    Skip(String),
    /// Nothing can be run after it: its threads are still at work.
    Hung,
}

/// Runs `tests` in order; writes one JSON line each to `results`. Returns whether none failed.
pub fn run(tests: &[Test], context: &Context, mut results: Option<File>) -> anyhow::Result<bool> {
    cgroup::remove_leftovers();
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    context.note("kernel", json!({ "release": release }));
    let mut counts = [0_usize; 3];
    let mut hung = None;
    for test in tests {
        let start = Instant::now();
        let outcome = match hung {
            Some(name) => Outcome::Fail(format!("not run: {name} hung")),
            None => run_one(*test, context),
        };
        if matches!(outcome, Outcome::Hung) {
            hung = Some(test.name);
        }
        let millis = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (index, word, reason) = match outcome {
            Outcome::Pass => (0, "pass", String::new()),
            Outcome::Fail(reason) => (1, "fail", reason),
            Outcome::Skip(reason) => (2, "skip", reason),
            Outcome::Hung => (1, "fail", format!("still running after {} s", TEST_DEADLINE.as_secs())),
        };
        counts[index] += 1;
        report(test.name, word, &reason, millis, context);
        let notes = context.take_notes();
        if let Some(file) = &mut results {
            for (subject, facts) in notes {
                writeln!(file, "{}", json!({"note": subject, "facts": facts}))?;
            }
            let line = json!({"name": test.name, "result": word, "reason": reason, "millis": millis});
            writeln!(file, "{line}")?;
        }
    }
    let [passed, failed, skipped] = counts;
    let summary = format!("{passed} passed, {failed} failed, {skipped} skipped");
    eprintln!("{summary}");
    if let Some(file) = &mut results {
        writeln!(
            file,
            "{}",
            json!({"summary": summary, "passed": passed, "failed": failed, "skipped": skipped})
        )?;
        file.flush()?;
    }
    Ok(failed == 0)
}

/// A line for people, and for a failure all that helps to understand it.
fn report(name: &str, word: &str, reason: &str, millis: u64, context: &Context) {
    let separator = if reason.is_empty() { "" } else { ": " };
    eprintln!("{word:4} {name} ({millis} ms){separator}{reason}");
    if word == "fail" {
        for line in context.log.tail(60) {
            eprintln!("     | {line}");
        }
    }
}

fn run_one(test: Test, context: &Context) -> Outcome {
    if let Some(reason) = test.needs.iter().find_map(|need| need.unmet(context)) {
        return Outcome::Skip(reason);
    }
    context.log.clear();
    let (sender, receiver) = channel();
    let owned = context.clone();
    let thread = std::thread::Builder::new().name(test.name.to_owned()).spawn(move || {
        let result = (test.run)(&owned);
        // The runner may have given up on this test; then nobody listens.
        drop(sender.send(result));
    });
    let thread = match thread {
        Ok(thread) => thread,
        Err(error) => return Outcome::Fail(format!("no thread for the test: {error}")),
    };
    match receiver.recv_timeout(TEST_DEADLINE) {
        Ok(result) => {
            // Guards are dropped with the thread, so the next test finds a clean machine.
            drop(thread.join());
            judge(result)
        }
        Err(RecvTimeoutError::Timeout) => Outcome::Hung,
        Err(RecvTimeoutError::Disconnected) => Outcome::Fail(panic_text(thread)),
    }
}

fn judge(result: anyhow::Result<()>) -> Outcome {
    match result {
        Ok(()) => Outcome::Pass,
        Err(error) => match error.downcast_ref::<Skip>() {
            Some(skip) => Outcome::Skip(skip.0.clone()),
            None => Outcome::Fail(format!("{error:#}")),
        },
    }
}

fn panic_text(thread: std::thread::JoinHandle<()>) -> String {
    match thread.join() {
        Ok(()) => "the test ended without a result".to_owned(),
        Err(payload) => match payload.downcast_ref::<String>() {
            Some(text) => format!("panicked: {text}"),
            None => format!("panicked: {}", payload.downcast_ref::<&str>().unwrap_or(&"no message")),
        },
    }
}
