//! `tarsier doctor`: the report of every check, and an exit code that a script can use.

use std::io::{self, Write};
use std::path::PathBuf;

use super::style::Style;
use tarsier_abi::Sensor;
use tarsier_abi::syscall::Call;

use super::{Exit, Refusal};
use crate::host::{HostConfig, containers};
use crate::kernel::btf::Btf;
use crate::kernel::load::BTF_PATH;
use crate::kernel::{Kernel, LoadOptions, SensorState, Wanted, features};
use crate::ops::admin::DEFAULT_SOCKET;
use crate::ops::doctor::{Check, Status, checks, sensor};

/// Options of `tarsier doctor`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Form of the report.
    #[arg(long, short, value_enum, default_value = "human", value_name = "FORM")]
    output: Form,
    /// Where the agent is to make its admin socket.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_SOCKET)]
    admin_socket: String,
    /// Where the host's root directory is mounted (`host.root`).
    #[arg(long, value_name = "PATH", default_value = "/")]
    host_root: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Form {
    /// For people.
    Human,
    /// One JSON object.
    Json,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut checks = checks(&args.admin_socket);
    checks.push(runtimes(&HostConfig { root: args.host_root.clone(), ..HostConfig::default() }));
    // After the check of BTF, which it is read from.
    let place = checks.iter().position(|check| check.name == "btf").map_or(0, |index| index + 1);
    checks.splice(place..place, floor());
    // With a blocker every sensor fails, and its own message would hide the cause.
    if verdict(&checks) == Exit::Ok {
        checks.extend(sensors());
    }
    let exit = verdict(&checks);
    match args.output {
        Form::Human => out.write_all(human(&checks, Style::of(&io::stdout())).as_bytes())?,
        Form::Json => {
            let report = serde_json::json!({ "exit_code": exit as u8, "checks": checks });
            writeln!(out, "{report:#}")?;
        }
    }
    Ok(exit)
}

/// What runtimes have on disk of their containers, where they have it unless told otherwise.
fn runtimes(host: &HostConfig) -> Check {
    const NAME: &str = "container runtimes";
    let found: Vec<_> = containers::places(host)
        .into_iter()
        .map(|(runtime, place)| format!("{runtime} in {}", place.display()))
        .collect();
    if found.is_empty() {
        let missing = format!(
            "nothing of any below {}: rules do not know images, mounts and pods",
            host.root.display()
        );
        return Check::new(NAME, Status::Info, missing)
            .fix("if containers run here, mount the host's root and name it (host.root), or the runtimes' own places (host.*)");
    }
    Check::new(NAME, Status::Ok, found.join(", "))
}

/// The kernel's features, if its types can be read at all; if not, the check of BTF says so.
fn floor() -> Option<Check> {
    const NAME: &str = "kernel features";
    let btf = Btf::parse(std::fs::read(BTF_PATH).ok()?);
    Some(match btf.map(|btf| features::require(&btf)) {
        Ok(Ok(())) => Check::new(NAME, Status::Ok, features::floor().collect::<Vec<_>>().join(", ")),
        Ok(Err(below)) => Check::new(NAME, Status::Unavailable, below.to_string()).fix("boot a newer kernel"),
        Err(error) => Check::new(NAME, Status::Unavailable, format!("{BTF_PATH}: {error}"))
            .fix("boot a kernel whose BTF this version reads, or a newer version of Tarsier"),
    })
}

/// Loads and attaches every sensor for a moment: which hook a kernel gives, only doing it tells.
fn sensors() -> Vec<Check> {
    let options = LoadOptions {
        sensors: Sensor::ALL.to_vec(),
        avoid: Vec::new(),
        scope: None,
        v1_controller: None,
        priority_bytes: 64 << 10,
        bulk_bytes: 64 << 10,
        // Without any they would not be attached. Those that hardly anybody makes, one of which is a request of io_uring too.
        wanted: Wanted { calls: vec![Call::userfaultfd, Call::linkat], ..Wanted::default() },
        self_port: 0,
    };
    match Kernel::load(&options) {
        Ok(mut kernel) => {
            kernel.attach();
            kernel.sensors.iter().map(check).collect()
        }
        Err(error) => vec![Check::new("ebpf object", Status::Unavailable, error.to_string())],
    }
}

fn check(entry: &SensorState) -> Check {
    let hooks: Vec<_> = entry.hooks().map(|hook| hook.to_string()).collect();
    let refused: Vec<_> = entry.refused().map(|(hook, reason)| format!("{hook}: {reason}")).collect();
    sensor(entry.sensor, &entry.state, &hooks.join(", "), &refused.join("; "))
}

/// A missing privilege goes first: giving it may change what else is found.
fn verdict(checks: &[Check]) -> Exit {
    let any = |status| checks.iter().any(|check| check.status == status);
    match (any(Status::NoPrivilege), any(Status::Unavailable)) {
        (true, _) => Exit::NoPrivilege,
        (false, true) => Exit::Unavailable,
        (false, false) => Exit::Ok,
    }
}

/// Refuses what cannot work, before anything is tried: one line per blocker, with what to do.
pub(super) fn refuse(blockers: &[Check]) -> Result<(), Refusal> {
    let exit = verdict(blockers);
    if exit == Exit::Ok {
        return Ok(());
    }
    let lines = blockers.iter().map(|Check { name, detail, fix, .. }| match fix.as_str() {
        "" => format!("{name}: {detail}"),
        fix => format!("{name}: {detail}; {fix}"),
    });
    Err(Refusal { exit, message: lines.collect::<Vec<_>>().join("\n") })
}

fn human(checks: &[Check], style: Style) -> String {
    let width = checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for Check { name, status, detail, fix } in checks {
        let mark = match status {
            Status::Ok => style.good("ok  "),
            Status::Info => style.faint("info"),
            Status::Degraded => style.warning("less"),
            Status::NoPrivilege | Status::Unavailable => style.bad("FAIL"),
        };
        text.push_str(&format!("{mark}  {name:width$}  {detail}\n"));
        if !fix.is_empty() {
            text.push_str(&format!("{:width$}        {} {fix}\n", "", style.faint("do:")));
        }
    }
    let names = |wanted: fn(Status) -> bool| {
        let names = checks.iter().filter(|check| wanted(check.status)).map(|check| check.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    let failed = names(|status| matches!(status, Status::NoPrivilege | Status::Unavailable));
    let less = names(|status| status == Status::Degraded);
    text.push('\n');
    text.push_str(&match (failed.as_str(), less.as_str()) {
        ("", "") => style.good("The agent can run here."),
        ("", less) => format!("{} With less: {less}.", style.good("The agent can run here.")),
        (failed, _) => format!("{} Missing: {failed}.", style.bad("The agent cannot run here.")),
    });
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_found_below_the_hosts_root() {
        let root = tempfile::tempdir().unwrap();
        let host = HostConfig { root: root.path().to_owned(), ..HostConfig::default() };
        let none = runtimes(&host);
        assert_eq!(none.status, Status::Info);
        assert!(none.fix.contains("host.root"), "{none:?}");
        for place in ["var/lib/docker", "run/containerd/io.containerd.runtime.v2.task"] {
            std::fs::create_dir_all(root.path().join(place)).unwrap();
        }
        let found = "Docker in /var/lib/docker, containerd in /run/containerd/io.containerd.runtime.v2.task";
        assert_eq!(runtimes(&host), Check::new("container runtimes", Status::Ok, found));
    }

    #[test]
    fn exit_codes_and_words() {
        let check = |name, status| Check::new(name, status, "found").fix("mend it");
        for (checks, exit, last) in [
            (vec![check("a", Status::Ok)], Exit::Ok, "The agent can run here."),
            (vec![check("a", Status::Degraded)], Exit::Ok, "The agent can run here. With less: a."),
            (
                vec![check("a", Status::Unavailable)],
                Exit::Unavailable,
                "The agent cannot run here. Missing: a.",
            ),
            (
                vec![check("a", Status::Unavailable), check("CAP_BPF", Status::NoPrivilege)],
                Exit::NoPrivilege,
                "The agent cannot run here. Missing: a, CAP_BPF.",
            ),
        ] {
            assert_eq!(verdict(&checks), exit);
            let text = human(&checks, Style::of(&std::fs::File::open("/dev/null").unwrap()));
            assert_eq!(text.lines().last(), Some(last));
            assert!(text.contains("do: mend it") && !text.contains('\x1b'), "{text}");
        }
    }
}
