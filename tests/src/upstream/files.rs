//! Rules about files that are read, written, linked and removed.

use super::row::{Act, Place, Row, calls, capable, container, host};

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
    )
    .also(&[
        (
            host("/as/worker 'cd /srv/www; ! /bin/cat ../../etc/nothing'"),
            &[("fd.name", "/etc/nothing"), ("fd.nameraw", "../../etc/nothing")],
        ),
        (
            container("/as/worker 'cd /srv/www; /bin/cat ../../home/anna/.ssh/config'"),
            &[("fd.name", "/home/anna/.ssh/config")],
        ),
        (
            host("/as/worker '! /bin/cat /srv/www/../../srv/www/../id_rsa'"),
            &[("fd.name", "/srv/id_rsa"), ("fd.nameraw", "/srv/www/../../srv/www/../id_rsa")],
        ),
    ])
    .nor(&[
        host("cd /srv/www; /bin/cat ../../etc/passwd"),
        host("/as/worker 'cd /srv/www; /bin/cat ../../srv/report'"),
    ]),
    Row::new(
        "Read sensitive file trusted after startup",
        Act { place: Place::Aged, what: "openat -100 \"/etc/shadow\" 0" },
        host(calls!(nginx, r#"openat -100 "/etc/shadow" 0"#)),
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
    )
    .also(&[
        (
            host(calls!(tool, r#"open "/etc/shadow" 0"#)),
            &[("fd.name", "/etc/shadow"), ("evt.type", "open"), ("proc.name", "tool")],
        ),
        (
            host(calls!(tool, r#"openat2 -100 "/etc/shadow" how:0:0 24"#)),
            &[("fd.name", "/etc/shadow"), ("evt.type", "openat2")],
        ),
        (
            host(calls!(tool, r#"openat -100 "/etc/shadow" 2"#)),
            &[("fd.name", "/etc/shadow"), ("evt.type", "openat")],
        ),
        (
            host(calls!(tool, r#"d=openat -100 "/etc" 0x10000"#, r#"openat @d "shadow" 0"#)),
            &[("fd.name", "/etc/shadow")],
        ),
        (host(calls!(tool, r#"chdir "/etc""#, r#"openat -100 "shadow" 0"#)), &[("fd.name", "/etc/shadow")]),
        (
            host(calls!(tool, r#"chdir "/srv/www""#, r#"openat -100 "../../etc/shadow" 0"#)),
            &[("fd.name", "/etc/shadow")],
        ),
        (host(calls!(tool, r#"openat -100 "/etc//./shadow" 0"#)), &[("fd.name", "/etc/shadow")]),
        (host(calls!(tool, r#"openat -100 "//etc/../etc/shadow" 0"#)), &[("fd.name", "/etc/shadow")]),
        // By what was root when its program started.
        (
            container(calls!(tool, "setresgid 1 1 1", "setresuid 1 1 1", r#"openat -100 "/etc/shadow" 0"#)),
            &[("fd.name", "/etc/shadow"), ("user.uid", "1"), ("user.name", "daemon")],
        ),
        // open(2) by the 32-bit entry.
        (host(calls!(tool, r#"32 5 "/etc/shadow" 0"#)), &[("fd.name", "/etc/shadow"), ("evt.type", "open")]),
        (host(calls!(tool, r#"openat -100 "/etc/pam.d/login" 0"#)), &[("fd.name", "/etc/pam.d/login")]),
        (
            host("exec 3< /etc/sudoers; /as/worker '/bin/cat /etc/sudoers'"),
            &[
                ("fd.name", "/etc/sudoers"),
                ("proc.name", "cat"),
                ("proc.pname", "worker"),
                ("proc.aname[2]", "sh"),
            ],
        ),
    ])
    .nor(&[
        host("read line < /etc/shadow; true"),
        host("/as/sshd 'exec 3< /etc/shadow'"),
        host(calls!(tool, r#"openat -100 "/etc/shadow" 1"#)),
        host(calls!(tool, r#"openat -100 "/tmp/shadow" 0"#)),
    ]),
    Row::new(
        "Clear Log Activities",
        container(": > /var/log/syslog"),
        container(": >> /var/log/syslog"),
        &[("fd.name", "/var/log/syslog"), ("proc.name", "sh")],
    )
    .also(&[
        (
            host(calls!(tool, r#"creat "/srv/auth.log" 0o644"#)),
            &[("fd.name", "/srv/auth.log"), ("evt.type", "creat")],
        ),
        (
            host(calls!(tool, r#"openat2 -100 "/var/log/lastlog" how:0x241:0o644 24"#)),
            &[("fd.name", "/var/log/lastlog"), ("evt.type", "openat2")],
        ),
        (
            host(calls!(tool, r#"chdir "/var""#, r#"openat -100 "log/kern.log" 0x241 0o644"#)),
            &[("fd.name", "/var/log/kern.log")],
        ),
    ])
    .nor(&[host(": > /srv/figures"), host(calls!(tool, r#"openat -100 "/var/log/none/kern" 0x201"#))]),
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
    )
    .also(&[
        (
            host(calls!(tool, r#"symlinkat "/etc" -100 "/tmp/settings""#)),
            &[("evt.arg.target", "/etc"), ("evt.type", "symlinkat"), ("evt.arg.linkpath", "/tmp/settings")],
        ),
        (
            host(calls!(tool, r#"chdir "/tmp""#, r#"symlink "/root/" "home""#)),
            &[("evt.arg.target", "/root/"), ("evt.type", "symlink")],
        ),
    ])
    .nor(&[host("/bin/ln -s /tmp/nothing /etc/shadow.link")]),
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
    )
    .also(&[
        (
            host(calls!(tool, r#"linkat -100 "/etc/shadow" -100 "/tmp/hard2" 0"#)),
            &[("evt.arg.oldpath", "/etc/shadow"), ("evt.type", "linkat")],
        ),
        (
            host("cd /etc; /bin/ln shadow /tmp/hard3"),
            &[("evt.arg.oldpath", "/etc/shadow"), ("evt.type", "link*")],
        ),
        (
            host(calls!(
                tool,
                r#"d=openat -100 "/etc" 0x10000"#,
                r#"linkat @d "shadow" -100 "/tmp/hard4" 0"#
            )),
            &[("evt.arg.oldpath", "/etc/shadow"), ("evt.type", "linkat")],
        ),
    ]),
    Row::new(
        "Detect release_agent File Container Escapes",
        capable("echo /bin/true > /tmp/release_agent"),
        capable("echo 1 > /tmp/notify_on_release"),
        &[
            ("fd.name", "/tmp/release_agent"),
            ("thread.cap_effective", "*CAP_SYS_ADMIN*"),
            ("proc.name", "sh"),
        ],
    )
    .nor(&[container("echo /bin/true > /tmp/release_agent"), host("echo /bin/true > /tmp/release_agent")]),
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
    )
    .also(&[
        (host("/bin/cp /tmp/nothing /etc/profile"), &[("fd.name", "/etc/profile")]),
        (container("/bin/mkdir /etc/zsh; /bin/cp /tmp/nothing /etc/zsh/any"), &[("fd.name", "/etc/zsh/any")]),
        (
            host(calls!(tool, r#"chdir "/root""#, r#"openat -100 ".profile" 0x441 0o644"#)),
            &[("fd.name", "/root/.profile")],
        ),
        (
            host(calls!(tool, r#"creat "/root/.zlogin" 0o644"#)),
            &[("fd.name", "/root/.zlogin"), ("evt.type", "creat")],
        ),
    ]),
    Row::new(
        "Schedule Cron Jobs",
        container("/bin/cp /tmp/nothing /etc/cron.d/job"),
        container("/bin/cp /tmp/nothing /etc/anacrontab"),
        &[("fd.name", "/etc/cron.d/job"), ("proc.cmdline", "cp /tmp/nothing /etc/cron.d/job")],
    )
    .also(&[
        (host("! /bin/crontab -l"), &[("proc.name", "crontab"), ("evt.type", "execve")]),
        (
            host(calls!(tool, r#"chdir "/etc/cron.d""#, r#"openat -100 "relative" 0x41 0o644"#)),
            &[("fd.name", "/etc/cron.d/relative")],
        ),
    ]),
    Row::new(
        "Read ssh information",
        container("/bin/cat /root/.ssh/id_rsa"),
        container("/bin/cat /root/keys/id_rsa"),
        &[("fd.name", "/root/.ssh/id_rsa"), ("proc.name", "cat"), ("proc.pcmdline", "sh")],
    )
    .also(&[
        (host("/bin/ls /root/.ssh"), &[("fd.name", "/root/.ssh"), ("proc.name", "ls")]),
        (
            host("cd /home/anna; /bin/cat .ssh/config"),
            &[("fd.name", "/home/anna/.ssh/config"), ("proc.name", "cat")],
        ),
    ])
    .nor(&[
        host(calls!(ssh, r#"openat -100 "/root/.ssh/id_rsa" 0"#)),
        host(calls!(tool, r#"openat -100 "/root/.ssh/id_rsa" 1"#)),
    ]),
    Row::new(
        "Create files below dev",
        container("/bin/cp /tmp/nothing /dev/hidden"),
        container("/bin/mkdir /dev/a; /bin/cp /tmp/nothing /dev/a/hidden"),
        &[("fd.name", "/dev/hidden"), ("proc.name", "cp")],
    )
    .also(&[
        (
            container(calls!(tool, r#"creat "/dev/made" 0o644"#)),
            &[("fd.name", "/dev/made"), ("evt.type", "creat")],
        ),
        (
            container(calls!(tool, r#"openat2 -100 "/dev/made2" how:0x41:0o644 24"#)),
            &[("fd.name", "/dev/made2"), ("evt.type", "openat2")],
        ),
        (container("cd /dev; /bin/cp /tmp/nothing relative"), &[("fd.name", "/dev/relative")]),
    ])
    .nor(&[
        container(calls!(tool, r#"openat -100 "/dev/null" 0x41 0o644"#)),
        container(calls!(tool, r#"openat -100 "/dev/none" 1"#)),
    ]),
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
    )
    .also(&[
        (
            host(": > /root/.ash_history; /bin/mv /root/.ash_history /tmp/away"),
            &[("evt.type", "rename*"), ("evt.arg.oldpath", "/root/.ash_history")],
        ),
        (
            container("cd /root; /bin/rm .bash_history"),
            &[("evt.type", "unlink*"), ("evt.arg.path", "/root/.bash_history")],
        ),
        (host(": > /root/.zsh_history"), &[("fd.name", "/root/.zsh_history"), ("proc.name", "sh")]),
        (
            host(calls!(tool, r#"d=openat -100 "/root" 0x10000"#, r#"unlinkat @d ".zsh_history" 0"#)),
            &[("evt.type", "unlinkat"), ("evt.arg.name", "/root/.zsh_history")],
        ),
        (
            host(calls!(tool, r#"renameat2 -100 "/root/.fish_history" -100 "/tmp/none" 0"#)),
            &[("evt.type", "renameat2"), ("evt.arg.oldpath", "/root/.fish_history")],
        ),
    ]),
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
    )
    .also(&[
        (
            host("/bin/cp /bin/true /tmp/own2; /bin/chmod g+s /tmp/own2"),
            &[("evt.arg.mode", "*S_ISGID*"), ("evt.arg.filename", "/tmp/own2")],
        ),
        (
            host(calls!(tool, r#"f=openat -100 "/tmp/own2" 0"#, "fchmod @f 0o4755")),
            &[("evt.type", "fchmod"), ("evt.arg.mode", "*S_ISUID*"), ("evt.arg.fd", "*own2*")],
        ),
        (
            host(calls!(tool, r#"fchmodat -100 "/tmp/own2" 0o4755"#)),
            &[("evt.type", "fchmodat"), ("evt.arg.filename", "/tmp/own2")],
        ),
        (
            host(calls!(tool, r#"fchmodat2 -100 "/tmp/own2" 0o4755 0"#)),
            &[("evt.type", "fchmodat2"), ("evt.arg.mode", "*S_ISUID*")],
        ),
    ])
    .nor(&[host("/bin/mkdir /tmp/shared; /bin/chmod 1777 /tmp/shared")]),
    Row::new(
        "Read environment variable from /proc files",
        container("/bin/cat /proc/1/environ"),
        container("/bin/cat /proc/1/cmdline"),
        &[("fd.name", "/proc/1/environ"), ("proc.name", "cat"), ("proc.cmdline", "cat /proc/1/environ")],
    )
    .also(&[
        (container("/bin/cat /proc/self/environ"), &[("fd.name", "/proc/self/environ")]),
        (container("cd /proc/1; /bin/cat environ"), &[("fd.name", "/proc/*/environ")]),
    ])
    .nor(&[host("/bin/cat /proc/self/environ")]),
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
    )
    .nor(&[Act { place: Place::Session, what: "/bin/tar cf /tmp/out.tar /etc/passwd" }]),
    Row::new(
        "Adding ssh keys to authorized_keys",
        host("/bin/cp /tmp/nothing /root/.ssh/authorized_keys"),
        host("/bin/cp /tmp/nothing /root/.ssh/authorized_keys.old"),
        &[("fd.name", "/root/.ssh/authorized_keys"), ("proc.name", "cp")],
    )
    .also(&[(
        container("echo key >> /home/anna/.ssh/authorized_keys"),
        &[("fd.name", "/home/anna/.ssh/authorized_keys"), ("proc.name", "sh")],
    )]),
    Row::new(
        "Backdoored library loaded into SSHD (CVE-2024-3094)",
        host("/as/sshd 'read line < /lib/liblzma.so.5.6.0'"),
        host("/as/sshd 'read line < /lib/liblzma.so.5.4.1'"),
        &[("fd.name", "/lib/liblzma.so.5.6.0"), ("proc.name", "sshd")],
    ),
];
