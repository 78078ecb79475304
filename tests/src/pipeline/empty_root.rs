//! One static file: it resolves names and speaks TLS where there is nothing but itself, its
//! configuration, and what the kernel shows.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use super::SCENE_OF_STATIC_AGENT;
use crate::harness::agent::{READY, READY_DEADLINE};
use crate::harness::cgroup::Cgroup;
use crate::harness::daemon::Daemon;
use crate::harness::dns::NameServer;
use crate::harness::jail::Jail;
use crate::harness::receiver::Receiver;
use crate::harness::scene::{self, ARRIVAL};
use crate::harness::{exit, names, netns};
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[Test {
    name: "empty_root/names_and_tls_work_with_one_file",
    needs: SCENE_OF_STATIC_AGENT,
    run: names_and_tls,
}];

/// In the certificate and with the name server, nowhere else.
const NAME: &str = "collector.test";

fn names_and_tls(context: &Context) -> anyhow::Result<()> {
    // Where no file names a resolver, 127.0.0.1:53 is asked: the namespace gives the test that port.
    netns::within(|| {
        let name_server = NameServer::start("127.0.0.1:53".parse()?, NAME)?;
        let (receiver, certificate) = Receiver::start_tls(NAME)?;
        let cgroup = Cgroup::new("root")?;
        let root = tempfile::tempdir()?;
        let agent = furnish(root.path(), context, &certificate)?;
        let mut command = agent;
        command.arg("--scope-cgroup").arg(cgroup.path());
        command.args(["--otlp-endpoint", &format!("https://{NAME}:{}", receiver.address().port())]);
        let _agent = Daemon::start(command, READY, READY_DEADLINE, &context.log).context("the agent")?;

        let mut workload = scene::itest(&context.itest, cgroup.path(), &["child", "--exit", "0"])?.spawn()?;
        let pid = workload.id();
        exit::wait(&mut workload, ARRIVAL)?;
        receiver.wait("exec over TLS", ARRIVAL, |seen| seen.event(names::EXEC, pid).map(drop))?;
        ensure!(name_server.answered() > 0, "the agent found the collector without asking for its name");
        Ok(())
    })
}

/// The root directory and the agent in it: its file, its configuration, and the kernel's two trees.
fn furnish(root: &Path, context: &Context, certificate: &str) -> anyhow::Result<Command> {
    fs::copy(&context.agent, root.join("tarsier")).context("cannot copy the agent")?;
    fs::write(root.join("ca.pem"), certificate)?;
    fs::write(root.join("tarsier.yaml"), "otlp: {tls: {ca_file: /ca.pem}}\nops: {listen: none}\n")?;
    let mut jail = Jail::default();
    for tree in ["/proc", "/sys"] {
        let target = root.join(&tree[1..]);
        fs::create_dir(&target)?;
        jail = jail.bind(Path::new(tree), &target);
    }
    let mut command = Command::new("/tarsier");
    command.env_clear().args(["run", "--config", "/tarsier.yaml", "--output", "none"]);
    jail.root(root).hold(&mut command);
    Ok(command)
}
