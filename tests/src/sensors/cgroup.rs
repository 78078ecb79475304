//! Cgroups: the name of a container that is gone before anybody could look.

use anyhow::ensure;

use super::{SCENE, child, event_of};
use crate::harness::cgroup;
use crate::harness::names;
use crate::harness::scene::Scene;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] =
    &[Test { name: "cgroup/a_short_lived_container_has_its_name", needs: SCENE, run: short_lived }];

fn short_lived(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "cgroup")?;
    let mut pids = Vec::new();
    for number in 0..20 {
        let id = format!("{number:064x}");
        let path = scene.cgroup.below(&format!("docker-{id}.scope"))?;
        let mut command = child(context, &["--exit", "0"]);
        cgroup::enter(&mut command, &path)?;
        let mut child = command.spawn()?;
        pids.push((child.id(), id));
        child.wait()?;
        // Gone at once: whoever reads the path later finds nothing.
        std::fs::remove_dir(&path)?;
    }
    for (pid, id) in pids {
        for event in [names::EXEC, names::EXIT] {
            let log = event_of(&scene, event, pid)?;
            let told = log.resource().text(names::CONTAINER_ID);
            ensure!(told == Some(&id), "{event}: the container is {told:?}, not {id}");
        }
    }
    Ok(())
}
