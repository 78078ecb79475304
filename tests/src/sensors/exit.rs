//! Exit: the code, or the signal and no code.

use anyhow::ensure;

use super::{SCENE, child, event_of};
use crate::harness::names;
use crate::harness::scene::Scene;
use crate::runner::{Context, Test};

pub(super) const TESTS: &[Test] = &[
    Test { name: "exit/code_is_told", needs: SCENE, run: code_is_told },
    Test { name: "exit/signal_is_told_and_no_code", needs: SCENE, run: signal_is_told },
];

fn code_is_told(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exit")?;
    for code in [0, 1, 127, 255] {
        let (pid, _) = scene.run(child(context, &["--exit", &code.to_string()]))?;
        let log = event_of(&scene, names::EXIT, pid)?;
        let told = log.attributes().int(names::EXIT_CODE);
        ensure!(told == Some(code), "the code is {told:?}, not {code}");
        ensure!(log.attributes().int(names::EXIT_SIGNAL).is_none(), "no signal ended it");
        let path = log.attributes().text(names::EXE_PATH);
        ensure!(path == context.itest.to_str(), "the executable is {path:?}");
    }
    Ok(())
}

fn signal_is_told(context: &Context) -> anyhow::Result<()> {
    let scene = Scene::new(context, "exit")?;
    for signal in [libc::SIGKILL, libc::SIGSEGV, libc::SIGTERM] {
        let (pid, _) = scene.run(child(context, &["--signal", &signal.to_string()]))?;
        let log = event_of(&scene, names::EXIT, pid)?;
        let told = log.attributes().int(names::EXIT_SIGNAL);
        ensure!(told == Some(i64::from(signal)), "the signal is {told:?}, not {signal}");
        ensure!(log.attributes().int(names::EXIT_CODE).is_none(), "a killed process has no exit code");
    }
    Ok(())
}
