//! A kernel that lets no program read its memory. Lockdown cannot be taken back, so this is for a
//! guest, and the last test there.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::refusals::{UNAVAILABLE, one_line, refuse};
use crate::harness::jail::Jail;
use crate::runner::{Context, Need, Skip, Test};

pub(super) const TESTS: &[Test] =
    &[Test { name: "refusals/lockdown_is_one_line", needs: &[Need::Guest], run: lockdown }];

const SECURITYFS: &str = "/sys/kernel/security";

fn lockdown(context: &Context) -> anyhow::Result<()> {
    lock()?;
    let command = || {
        let mut command = Command::new(&context.agent);
        command.args(["run", "--output", "none", "--listen", "none"]);
        command
    };
    let mut seeing = command();
    Jail::default().mount(c"securityfs", Path::new(SECURITYFS), MountFlags::empty()).hold(&mut seeing);
    // In a container securityfs is rarely there, and the kernel itself does not say why it refuses.
    for (case, command) in [("securityfs mounted", seeing), ("no securityfs", command())] {
        let (code, text) = refuse(command).context(case)?;
        ensure!(code == Some(UNAVAILABLE), "{case}: the exit code is {code:?}, not {UNAVAILABLE}:\n{text}");
        one_line(&text, &["lockdown", "confidentiality"]).context(case)?;
    }
    Ok(())
}

/// Raises the mode of the kernel to confidentiality.
fn lock() -> anyhow::Result<()> {
    mount("securityfs", SECURITYFS, "securityfs", MountFlags::empty(), None)
        .context("mounting securityfs")?;
    let file = Path::new(SECURITYFS).join("lockdown");
    let result = if file.exists() {
        fs::write(&file, "confidentiality").context("raising lockdown")
    } else {
        Err(Skip("this kernel has no lockdown".to_owned()).into())
    };
    unmount(SECURITYFS, UnmountFlags::empty()).context("unmounting securityfs")?;
    result
}
