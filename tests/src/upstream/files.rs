//! Rules about files that are read, written, linked and removed.

use super::row::{Act, Place, Row, capable, container, host};

pub(super) const ROWS: &[Row] = &[
    Row::new(
        "Directory traversal monitored file read",
        host("/as/worker 'cd /srv/www; /bin/cat ../../etc/passwd'"),
        host("/as/worker 'cd /srv; /bin/cat ../etc/passwd'"),
        &[
            ("fd.name", "/etc/passwd"),
            ("fd.nameraw", "../../etc/passwd"),
            ("proc.name", "cat"),
            ("proc.exepath", "/bin/busybox"),
            ("proc.pname", "worker"),
            ("proc.aname[2]", "sh"),
            ("proc.cmdline", "cat ../../etc/passwd"),
        ],
    ),
    Row::new(
        "Read sensitive file trusted after startup",
        Act { place: Place::Aged, what: "openat -100 \"/etc/shadow\" 0" },
        host("/calls/nginx workload calls 'openat -100 \"/etc/shadow\" 0'"),
        &[
            ("fd.name", "/etc/shadow"),
            ("evt.type", "openat"),
            ("proc.name", "nginx"),
            ("proc.cmdline", "nginx workload calls"),
        ],
    ),
    Row::new(
        "Read sensitive file untrusted",
        container("/bin/cat /etc/shadow"),
        container("/bin/cat /etc/shadow.old"),
        &[
            ("fd.name", "/etc/shadow"),
            ("proc.name", "cat"),
            ("proc.cmdline", "cat /etc/shadow"),
            ("proc.pname", "sh"),
            ("user.name", "root"),
            ("user.uid", "0"),
        ],
    ),
    Row::new(
        "Clear Log Activities",
        container(": > /var/log/syslog"),
        container(": >> /var/log/syslog"),
        &[("fd.name", "/var/log/syslog"), ("proc.name", "sh")],
    ),
    Row::new(
        "Create Symlink Over Sensitive Files",
        host("/bin/ln -s /etc/shadow /tmp/symbolic"),
        host("/bin/ln -s /etc/shadow.old /tmp/symbolic.old"),
        &[
            ("evt.arg.target", "/etc/shadow"),
            ("evt.arg.linkpath", "/tmp/symbolic"),
            ("evt.type", "symlink*"),
            ("proc.cmdline", "ln -s /etc/shadow /tmp/symbolic"),
        ],
    ),
    Row::new(
        "Create Hardlink Over Sensitive Files",
        host("/bin/ln /etc/shadow /tmp/hard"),
        host("/bin/ln /etc/shadow.old /tmp/hard.old"),
        &[
            ("evt.arg.oldpath", "/etc/shadow"),
            ("evt.arg.newpath", "/tmp/hard"),
            ("evt.type", "link*"),
            ("proc.cmdline", "ln /etc/shadow /tmp/hard"),
        ],
    ),
    Row::new(
        "Detect release_agent File Container Escapes",
        capable("echo /bin/true > /tmp/release_agent"),
        capable("echo 1 > /tmp/notify_on_release"),
        &[
            ("fd.name", "/tmp/release_agent"),
            ("thread.cap_effective", "*CAP_SYS_ADMIN*"),
            ("proc.name", "sh"),
        ],
    ),
    Row::new(
        "Modify Shell Configuration File",
        host("/bin/cp /tmp/nothing /root/.bashrc"),
        host("/bin/cp /tmp/nothing /root/.bashrc.old"),
        &[
            ("fd.name", "/root/.bashrc"),
            ("proc.name", "cp"),
            ("proc.pcmdline", "sh"),
            ("proc.cmdline", "cp /tmp/nothing /root/.bashrc"),
        ],
    ),
    Row::new(
        "Schedule Cron Jobs",
        container("/bin/cp /tmp/nothing /etc/cron.d/job"),
        container("/bin/cp /tmp/nothing /etc/anacrontab"),
        &[("fd.name", "/etc/cron.d/job"), ("proc.cmdline", "cp /tmp/nothing /etc/cron.d/job")],
    ),
    Row::new(
        "Read ssh information",
        container("/bin/cat /root/.ssh/id_rsa"),
        container("/bin/cat /root/keys/id_rsa"),
        &[("fd.name", "/root/.ssh/id_rsa"), ("proc.name", "cat"), ("proc.pcmdline", "sh")],
    ),
    Row::new(
        "Create files below dev",
        container("/bin/cp /tmp/nothing /dev/hidden"),
        container("/bin/mkdir /dev/a; /bin/cp /tmp/nothing /dev/a/hidden"),
        &[("fd.name", "/dev/hidden"), ("proc.name", "cp")],
    ),
    Row::new(
        "Delete or rename shell history",
        host("/bin/rm /root/.bash_history"),
        host("/bin/rm /root/.bash_history.old"),
        &[
            ("evt.type", "unlink*"),
            ("proc.name", "rm"),
            ("proc.cmdline", "rm /root/.bash_history"),
            // `unlink` has `path`, `unlinkat` has `name`.
            ("evt.arg.path", "/root/.bash_history"),
        ],
    ),
    Row::new(
        "Set Setuid or Setgid bit",
        host("/bin/cp /bin/true /tmp/own; /bin/chmod u+s /tmp/own"),
        host("/bin/cp /bin/true /tmp/other; /bin/chmod u+x /tmp/other"),
        &[
            ("evt.type", "*chmod*"),
            ("evt.arg.filename", "/tmp/own"),
            ("evt.arg.mode", "*S_ISUID"),
            ("proc.name", "chmod"),
        ],
    ),
    Row::new(
        "Read environment variable from /proc files",
        container("/bin/cat /proc/1/environ"),
        container("/bin/cat /proc/1/cmdline"),
        &[("fd.name", "/proc/1/environ"), ("proc.name", "cat"), ("proc.cmdline", "cat /proc/1/environ")],
    ),
    Row::new(
        "Exfiltrating Artifacts via Kubernetes Control Plane",
        Act { place: Place::Session, what: "/bin/tar cf /tmp/out.tar /srv/report" },
        container("/bin/tar cf /tmp/out.tar /srv/report"),
        &[
            ("fd.name", "/srv/report"),
            ("proc.name", "tar"),
            ("proc.pname", "null"),
            ("proc.tty", "0"),
            ("proc.cmdline", "tar cf /tmp/out.tar /srv/report"),
        ],
    ),
    Row::new(
        "Adding ssh keys to authorized_keys",
        host("/bin/cp /tmp/nothing /root/.ssh/authorized_keys"),
        host("/bin/cp /tmp/nothing /root/.ssh/authorized_keys.old"),
        &[("fd.name", "/root/.ssh/authorized_keys"), ("proc.name", "cp")],
    ),
    Row::new(
        "Backdoored library loaded into SSHD (CVE-2024-3094)",
        host("/as/sshd 'read line < /lib/liblzma.so.5.6.0'"),
        host("/as/sshd 'read line < /lib/liblzma.so.5.4.1'"),
        &[("fd.name", "/lib/liblzma.so.5.6.0"), ("proc.name", "sshd")],
    ),
];
