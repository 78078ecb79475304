//! What there is where the actions are done: a small system of busybox, with files that rules are about (none of them the
//! machine's), and programs under the names that rules look for.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::harness::rootfs::Image;
use crate::harness::{runc, tool};

/// `/as/NAME` is a program of that name that has a shell's children: `/as/nginx COMMAND`.
const PARENTS: &[&str] =
    &["curl", "debugfs", "dpkg-query", "mysqld", "nginx", "postgres", "scp", "sshd", "worker"];
/// `/calls/NAME` is the test binary: `/calls/ssh workload calls LINE…`.
const CALLERS: &[&str] = &["bpftool", "curl", "date", "nginx", "ssh", "tool"];
/// Files with their content.
const FILES: &[(&str, &str)] = &[
    // The machine's are mounted on them, outside of containers.
    ("dev/null", ""),
    ("dev/zero", ""),
    ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/:/bin/sh\n"),
    ("etc/group", "root:x:0:\ndaemon:x:1:\n"),
    ("etc/shadow", "root:*:1::::::\n"),
    ("etc/shadow.old", "root:*:1::::::\n"),
    ("etc/module.ko", "this is no module\n"),
    ("etc/pam.d/login", "auth required pam_deny.so\n"),
    ("etc/sudoers", "root ALL=(ALL) ALL\n"),
    ("home/anna/.ssh/config", "Host *\n"),
    ("lib/liblzma.so.5.4.1", "this is no library\n"),
    ("lib/liblzma.so.5.6.0", "this is no library\n"),
    ("root/.aws/config", "region = nowhere\n"),
    ("root/.aws/credentials", "aws_secret_access_key = none\n"),
    ("root/.bash_history", "true\n"),
    ("root/.bash_history.old", "true\n"),
    ("root/.ssh/id_rsa", "this is no key\n"),
    ("root/keys/id_rsa", "this is no key\n"),
    ("srv/report", "figures\n"),
    ("srv/www/index", "a page\n"),
    ("tmp/nothing", ""),
    ("var/log/syslog", "a line\n"),
    ("var/lib/dpkg/status", "Package: none\nStatus: install ok installed\nVersion: 1\n"),
    // The test binary is mounted on it.
    (runc::ITEST.split_at(1).1, ""),
];

/// The image.
pub(super) fn image() -> anyhow::Result<Image> {
    let image = Image::new()?;
    let root = image.root();
    for applet in applets()? {
        let link = root.join("bin").join(&applet);
        if !link.exists() {
            symlink("busybox", &link).with_context(|| applet)?;
        }
    }
    for (path, content) in FILES {
        write(&root.join(path), content)?;
    }
    for directory in ["as", "calls", "etc/cron.d"] {
        fs::create_dir_all(root.join(directory))?;
    }
    for name in PARENTS {
        let path = root.join("as").join(name);
        write(&path, "#!/bin/sh\neval \"$*\"\n")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    for name in CALLERS {
        symlink(runc::ITEST, root.join("calls").join(name))?;
    }
    Ok(image)
}

fn write(path: &Path, content: &str) -> anyhow::Result<()> {
    fs::create_dir_all(path.parent().context("a folder")?)?;
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// All that this machine's busybox can do.
fn applets() -> anyhow::Result<Vec<String>> {
    let busybox = tool::find("busybox").context("busybox is not installed")?;
    let listed = Command::new(busybox).arg("--list").output()?;
    ensure!(listed.status.success(), "busybox does not list its applets: {}", listed.status);
    let listed = String::from_utf8(listed.stdout)?;
    Ok(listed.lines().map(str::to_owned).collect())
}
