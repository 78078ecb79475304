//! `cargo xtask demo [--backend]`: the agent on this kernel, a small real workload in a cgroup of its
//! own, what the agent says about it, an attack that a rule tells of, and a clean end.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::dist::Binaries;
use crate::install::{self, Consent};
use crate::peers::{self, Peers};
use crate::shell::{cargo, is_root, run, say, target_dir, workspace};

/// What the agent writes on standard error once every sensor is attached.
pub(crate) const READY: &str = "tarsier is ready";
/// Longest that anything may take to start.
const START: Duration = Duration::from_secs(60);
/// Longest that the agent may take to flush and end.
pub(crate) const STOP: Duration = Duration::from_secs(10);
/// How often the workload runs.
const ROUNDS: usize = 3;
const COLLECTOR: &str = "127.0.0.1:4317";
const JAEGER_OTLP: &str = "127.0.0.1:14317";
const JAEGER_API: &str = "127.0.0.1:16686";
/// What is to be alerted of: a rule of [`RULES`], as its alert begins.
const ALERT: &str = "Standard input became a connection";
/// Our own rules.
const RULES: &str = "deploy/rules";

/// Runs the demonstration.
pub(crate) fn command(consent: Consent, with_backend: bool) -> Result<()> {
    install::bpf_toolchain(consent)?;
    if !is_root() {
        bail!("loading programs into the kernel needs root: sudo -E env PATH=\"$PATH\" cargo xtask demo");
    }
    let peers = match with_backend.then(|| peers::get(consent)).transpose()? {
        Some(Err(gap)) => bail!(gap),
        Some(Ok(peers)) => Some(peers),
        None => None,
    };
    say("building the agent and the workload (release; some minutes when cold)");
    run(cargo().args(["build", "--locked", "--release", "--bins", "-p", "tarsier", "-p", "tarsier-tests"]))?;
    let built = target_dir().join("release");
    show(&Binaries { agent: built.join("tarsier"), itest: built.join("tarsier-itest") }, peers.as_ref())
}

/// The demonstration with these binaries; an error if one of its promises is not kept.
pub(crate) fn show(binaries: &Binaries, peers: Option<&Peers>) -> Result<()> {
    let folder = target_dir().join("demo");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let cgroup = Cgroup::new("demo")?;
    let scene = Scene { cgroup: &cgroup, itest: &binaries.itest };
    let backend = peers.map(|peers| Backend::start(peers, &folder)).transpose()?;
    let mut agent = Agent::start(&binaries.agent, &cgroup, backend.is_some())?;
    for round in 1..=ROUNDS {
        say(&format!(
            "workload, round {round} of {ROUNDS}: processes, a client and a server, a failing connect"
        ));
        scene.workload(&folder)?;
    }
    say("a shell that somebody else types into, by a connection of its own: what an attacker wants to have");
    let answer = scene.reverse_shell()?;
    println!("    at the other end `id` says: {answer}");
    let alert = agent.alert()?;
    agent.stop()?;
    say("alerted of by a rule of deploy/rules:");
    println!("    {alert}");
    if let Some(backend) = backend {
        backend.show(&folder)?;
    }
    say("stopped: no program is attached any more, the cgroup is gone");
    Ok(())
}

/// A cgroup that lives as long as this value.
pub(crate) struct Cgroup(PathBuf);

impl Cgroup {
    /// `tarsier-NAME-PID`, below the root of the v2 hierarchy.
    pub(crate) fn new(name: &str) -> Result<Self> {
        let mounts =
            std::fs::read_to_string("/proc/self/mountinfo").context("reading /proc/self/mountinfo")?;
        let mount =
            mounts.lines().find(|line| line.contains(" - cgroup2 ")).and_then(|line| line.split(' ').nth(4));
        let mount = mount.context("no cgroup2 is mounted: mount -t cgroup2 none /sys/fs/cgroup")?;
        let path = Path::new(mount).join(format!("tarsier-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self(path))
    }

    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir(&self.0) {
            eprintln!("{} stays behind: {error}", self.0.display());
        }
    }
}

/// A process that does not outlive this one.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Agent {
    running: Running,
    /// What it tells.
    told: Receiver<String>,
}

impl Agent {
    /// Starts the agent on the cgroup and waits until its sensors are attached.
    fn start(agent: &Path, cgroup: &Cgroup, with_backend: bool) -> Result<Self> {
        let mut command = Command::new(agent);
        command.args([
            "run",
            "--output",
            "human",
            "--listen",
            "none",
            "--admin-socket",
            "",
            "--rules",
            RULES,
        ]);
        command.arg("--scope-cgroup").arg(&cgroup.0).current_dir(workspace());
        if with_backend {
            command.args(["--otlp-endpoint", &format!("http://{COLLECTOR}")]);
        }
        say(&format!("starting: tarsier run --rules {RULES} --scope-cgroup {}", cgroup.0.display()));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = Running(command.spawn().context("starting the agent")?);
        let stdout = running.0.stdout.take().context("the agent has no standard output")?;
        let stderr = running.0.stderr.take().context("the agent has no standard error")?;
        let told = lines_of(stdout, |line| println!("{line}"));
        let log = lines_of(stderr, |line| eprintln!("{line}"));
        let end = Instant::now() + START;
        loop {
            match log.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(READY) => break,
                Ok(_) => {}
                Err(_) => bail!("the agent did not become ready: `{} doctor` says why", agent.display()),
            }
        }
        Ok(Self { running, told })
    }

    /// Waits for the alert of [`ALERT`].
    fn alert(&mut self) -> Result<String> {
        let end = Instant::now() + STOP;
        while let Ok(line) = self.told.recv_timeout(end.saturating_duration_since(Instant::now())) {
            if line.contains(ALERT) {
                return Ok(line);
            }
        }
        bail!("the agent did not alert of the shell: no line says `{ALERT}`")
    }

    /// SIGTERM, as a service manager would; the agent flushes and ends.
    fn stop(mut self) -> Result<()> {
        say("stopping the agent (SIGTERM)");
        let child = &mut self.running.0;
        run(Command::new("kill").args(["-TERM", &child.id().to_string()]))?;
        let status = wait(child, STOP)?.context("the agent did not end after SIGTERM")?;
        if status.success() { Ok(()) } else { bail!("the agent failed: {status}") }
    }
}

/// Shows every line of a stream, and passes it on.
fn lines_of(stream: impl Read + Send + 'static, show: fn(&str)) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(|line| line.ok()) {
            show(&line);
            // Somebody may listen no more; the lines are still shown.
            let _ = sender.send(line);
        }
    });
    receiver
}

/// Where the workload runs.
struct Scene<'a> {
    cgroup: &'a Cgroup,
    itest: &'a Path,
}

impl Scene<'_> {
    /// Runs the workload inside the cgroup; what it did goes to a file, since the agent tells it here.
    fn workload(&self, folder: &Path) -> Result<()> {
        let record = File::options().create(true).append(true).open(folder.join("workload.ndjson"))?;
        run(self.inside(&["demo"]).stdout(record))
    }

    /// A workload inside the cgroup.
    fn inside(&self, words: &[&str]) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo 0 > \"$1/cgroup.procs\" && shift && exec \"$@\"", "demo"]);
        command.arg(&self.cgroup.0).arg(self.itest).arg("workload").args(words);
        command
    }

    /// Has a process of the cgroup connect to here and become a shell that obeys us; returns what `id` says there.
    fn reverse_shell(&self) -> Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").context("listening on the loopback")?;
        let address = listener.local_addr()?.to_string();
        let (sender, answer) = channel();
        std::thread::spawn(move || {
            let talk = || -> Result<String> {
                let (mut stream, _) = listener.accept()?;
                stream.write_all(b"id; exit\n")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer)?;
                Ok(answer.trim().to_owned())
            };
            // Nobody waits for it if the shell did not start.
            let _ = sender.send(talk());
        });
        let child = self.inside(&["reverse-shell", &address]).stdin(Stdio::null()).spawn();
        let mut shell = Running(child.context("starting the shell")?);
        let status = wait(&mut shell.0, STOP)?.context("the shell does not end")?;
        if !status.success() {
            bail!("the shell failed: {status}");
        }
        answer.recv_timeout(STOP).context("nobody connected")?
    }
}

/// A Collector that keeps what it gets in a file and hands traces on to Jaeger.
struct Backend {
    _collector: Running,
    _jaeger: Running,
}

impl Backend {
    fn start(peers: &Peers, folder: &Path) -> Result<Self> {
        for (name, address) in [("Collector", COLLECTOR), ("Jaeger", JAEGER_OTLP), ("Jaeger", JAEGER_API)] {
            if TcpStream::connect(address).is_ok() {
                bail!("{address} is taken, and the demonstration's {name} needs it: stop what listens there");
            }
        }
        say("starting Jaeger and an OpenTelemetry Collector");
        let jaeger = start(&peers.jaeger, folder, "jaeger", &jaeger_config(), JAEGER_API)?;
        let collector = start(&peers.collector, folder, "collector", &collector_config(folder), COLLECTOR)?;
        Ok(Self { _collector: collector, _jaeger: jaeger })
    }

    /// Says where the spans are; on a terminal, leaves time to look.
    fn show(&self, folder: &Path) -> Result<()> {
        let services = http_get(JAEGER_API, "/api/services")?;
        let body = services.split("\r\n\r\n").nth(1).unwrap_or(&services).trim();
        let names = body.split_once("\"data\":[").and_then(|(_, rest)| rest.split_once(']'));
        say("Jaeger has the spans, the Collector wrote all three signals:");
        for name in names.map_or("", |(names, _)| names).split(',').map(|name| name.trim_matches('"')) {
            println!("    spans of {name}    http://{JAEGER_API}/api/traces?service={name}");
        }
        println!(
            "    all three signals, one JSON line per batch    {}",
            folder.join("otlp.ndjson").display()
        );
        if std::io::stdin().is_terminal() {
            println!("both run until you press Enter");
            std::io::stdin().lock().read_line(&mut String::new())?;
        }
        Ok(())
    }
}

fn jaeger_config() -> String {
    format!(
        "service:
  extensions: [jaeger_storage, jaeger_query]
  pipelines: {{traces: {{receivers: [otlp], exporters: [jaeger_storage_exporter]}}}}
  telemetry: {{metrics: {{level: none}}}}
extensions:
  jaeger_query: {{storage: {{traces: memory}}, http: {{endpoint: \"{JAEGER_API}\"}}, grpc: {{endpoint: \"127.0.0.1:16685\"}}}}
  jaeger_storage: {{backends: {{memory: {{memory: {{max_traces: 100000}}}}}}}}
receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"{JAEGER_OTLP}\"}}}}}}}}
exporters: {{jaeger_storage_exporter: {{trace_storage: memory}}}}
"
    )
}

fn collector_config(folder: &Path) -> String {
    let file = folder.join("otlp.ndjson");
    format!(
        "receivers: {{otlp: {{protocols: {{grpc: {{endpoint: \"{COLLECTOR}\"}}}}}}}}
exporters:
  file: {{path: \"{}\"}}
  otlp: {{endpoint: \"{JAEGER_OTLP}\", tls: {{insecure: true}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines:
    traces: {{receivers: [otlp], exporters: [file, otlp]}}
    logs: {{receivers: [otlp], exporters: [file]}}
    metrics: {{receivers: [otlp], exporters: [file]}}
",
        file.display()
    )
}

/// Starts a backend and waits until it listens.
fn start(program: &Path, folder: &Path, name: &str, config: &str, address: &str) -> Result<Running> {
    let path = folder.join(format!("{name}.yaml"));
    std::fs::write(&path, config).with_context(|| format!("writing {}", path.display()))?;
    let log = folder.join(format!("{name}.log"));
    let mut command = Command::new(program);
    // Jaeger would trace itself into the Collector.
    command.arg("--config").arg(&path).env("OTEL_TRACES_SAMPLER", "always_off");
    let output = File::create(&log)?;
    command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
    let mut running = Running(command.spawn().with_context(|| format!("starting {}", program.display()))?);
    let end = Instant::now() + START;
    while TcpStream::connect(address).is_err() {
        if running.0.try_wait()?.is_some() || Instant::now() > end {
            bail!("{name} does not listen on {address}; see {}", log.display());
        }
        // Nothing announces that a server listens.
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(running)
}

/// The whole answer to one GET.
pub(crate) fn http_get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(STOP))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Waits for a child's end, at most `limit`.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<Option<std::process::ExitStatus>> {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > end {
            return Ok(None);
        }
        // The standard library has no wait with a deadline.
        std::thread::sleep(Duration::from_millis(20));
    }
}
