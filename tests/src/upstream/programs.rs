//! Rules about programs that are started.

use super::row::{Act, But, Place, Row, calls, capable, container, host, privileged};

pub(super) const ROWS: &[Row] = &[
    Row::new(
        "Run shell untrusted",
        host("/as/nginx '/bin/sh -c \"/bin/id -u\"'"),
        // Asking whether a process is there is what servers' scripts do.
        host("/as/nginx '/bin/sh -c \"kill -0 1\"'"),
        &[
            ("proc.name", "sh"),
            ("proc.cmdline", "sh -c /bin/id -u"),
            ("proc.pname", "nginx"),
            ("proc.pexepath", "/bin/busybox"),
            ("proc.pcmdline", "nginx /as/nginx *"),
            ("proc.aname[2]", "sh"),
            ("evt.type", "execve"),
        ],
    )
    .also(&[
        (
            container("/as/nginx '/as/worker \"/bin/sh -c /bin/id\"'"),
            &[
                ("proc.name", "sh"),
                ("proc.pname", "worker"),
                ("proc.aname[2]", "nginx"),
                ("proc.aname[3]", "sh"),
            ],
        ),
        // The server has ended by then.
        (
            host(
                "/bin/mkfifo /tmp/go /tmp/done
                /as/nginx '/as/worker \"read line < /tmp/go; /bin/sh -c /bin/id; : > /tmp/done\" &'
                echo > /tmp/go; read line < /tmp/done; true",
            ),
            &[("proc.name", "sh"), ("proc.pname", "worker"), ("proc.aname[2]", "nginx")],
        ),
    ])
    .nor(&[
        host("/as/worker '/bin/sh -c /bin/id'"),
        host("/as/nginx /bin/id"),
    ]),
    Row::new(
        "System user interactive",
        container("/as/sshd '/bin/su -s /bin/sh daemon -c \"/bin/id -u\"'"),
        container("/as/worker '/bin/su -s /bin/sh daemon -c \"/bin/id -u\"'"),
        &[("proc.name", "id"), ("user.name", "daemon"), ("user.uid", "1"), ("proc.pname", "sshd")],
    ),
    Row::new(
        "Terminal shell in container",
        Act { place: Place::Terminal, what: "/bin/sh -c /bin/true" },
        Act { place: Place::Session, what: "/bin/sh -c /bin/true" },
        &[
            ("proc.name", "sh"),
            ("proc.cmdline", "sh -c /bin/true"),
            ("proc.pname", "null"),
            // Major 136 and minor 0: /dev/pts/0 inside.
            ("proc.tty", "34816"),
        ],
    )
    .nor(&[
        Act { place: Place::Terminal, what: "/bin/true" },
    ]),
    Row::new(
        "Netcat Remote Code Execution in Container",
        container("! /bin/nc -e /bin/sh 127.0.0.1 4444"),
        container("! /bin/nc 127.0.0.1 4444"),
        &[("proc.name", "nc"), ("proc.cmdline", "nc -e /bin/sh 127.0.0.1 4444")],
    )
    .nor(&[
        host("! /bin/nc -e /bin/sh 127.0.0.1 4444"),
    ]),
    Row::new(
        "Search Private Keys or Passwords",
        host("! /bin/grep -r 'BEGIN RSA PRIVATE' /srv"),
        host("! /bin/grep -r 'BEGIN CERTIFICATE' /srv"),
        &[("proc.name", "grep"), ("proc.cmdline", "grep -r BEGIN RSA PRIVATE /srv")],
    )
    .also(&[
        (
            container("/bin/find /root -name id_rsa"),
            &[("proc.name", "find"), ("proc.cmdline", "find /root -name id_rsa")],
        ),
        // Behind more than one record holds of a command line.
        (
            host(
                "! /bin/grep -e $(/bin/head -c 9000 /dev/zero | /bin/tr '\\0' x) -e 'BEGIN RSA PRIVATE' /srv/report",
            ),
            &[("proc.cmdline", "grep -e xxx*xxx -e BEGIN RSA PRIVATE /srv/report")],
        ),
    ])
    .nor(&[
        host("! /bin/cat 'BEGIN RSA PRIVATE'"),
    ]),
    Row::new(
        "Remove Bulk Data from Disk",
        container("/bin/cp /srv/report /tmp/report; /bin/shred -u /tmp/report"),
        container("/bin/cp /srv/report /tmp/report; /bin/rm /tmp/report"),
        &[("proc.name", "shred"), ("proc.cmdline", "shred -u /tmp/report")],
    ),
    Row::new(
        "Debugfs Launched in Privileged Container",
        privileged("/as/debugfs :"),
        capable("/as/debugfs :"),
        &[("proc.name", "debugfs"), ("proc.cmdline", "debugfs /as/debugfs :")],
    ),
    Row::new(
        "Find AWS Credentials",
        host("/bin/grep aws_secret_access_key /root/.aws/credentials"),
        host("/bin/grep region /root/.aws/config"),
        &[
            ("proc.name", "grep"),
            ("proc.pcmdline", "sh"),
            ("proc.cwd", "/"),
            ("group.gid", "0"),
            ("group.name", "root"),
        ],
    )
    .also(&[(host("/bin/find /root/.aws/credentials"), &[("proc.name", "find")])])
    .nor(&[
        host("/bin/find /root/.aws/config"),
    ]),
    Row::new(
        "Execution from /dev/shm",
        container("/bin/mkdir -p /dev/shm; /bin/cp /bin/busybox /dev/shm/true; /dev/shm/true"),
        container("/bin/mkdir -p /dev/sham; /bin/cp /bin/busybox /dev/sham/true; /dev/sham/true"),
        &[
            ("proc.name", "true"),
            ("proc.exepath", "/dev/shm/true"),
            ("proc.cmdline", "true"),
            ("proc.cwd", "/tmp/"),
            ("evt.res", "SUCCESS"),
        ],
    )
    .also(&[
        (container("cd /dev/shm; ./true"), &[("proc.exepath", "/dev/shm/true"), ("proc.cwd", "/dev/shm/")]),
        (
            container("echo : > /dev/shm/script; /bin/sh /dev/shm/script"),
            &[("proc.cmdline", "sh /dev/shm/script")],
        ),
        (container("/bin/sh -c '/dev/shm/true'"), &[("proc.cmdline", "sh -c /dev/shm/true")]),
        (
            container("cd /dev/shm; /bin/sh ./script"),
            &[("proc.cmdline", "sh ./script"), ("proc.cwd", "/dev/shm/")],
        ),
    ]),
    Row::new(
        "Drop and execute new binary in container",
        container("/bin/cp /bin/busybox /tmp/true; /tmp/true"),
        container("/opt/true"),
        &[("proc.exe", "/tmp/true"), ("proc.exepath", "/tmp/true"), ("proc.name", "true")],
    )
    .also(&[
        (
            container("/bin/mv /tmp/true /opt/moved; /bin/ln -s /opt/moved /tmp/false; ! /tmp/false"),
            &[("proc.exe", "/tmp/false"), ("proc.exepath", "/opt/moved")],
        ),
        (capable("echo >> /opt/true; /opt/true"), &[("proc.exe", "/opt/true")]),
    ])
    .nor(&[
        host("/bin/cp /bin/busybox /tmp/true; /tmp/true"),
    ]),
    Row::new(
        "Fileless execution via memfd_create",
        host(concat!(
            calls!(
                tool,
                r#"f=openat -100 "/bin/busybox" 0"#,
                r#"m=memfd_create "payload" 0"#,
                "sendfile @m @f 0 100000000",
                r#"execveat @m "" 0 0 0x1000"#
            ),
            "; true"
        )),
        host(concat!(
            calls!(tool, r#"f=openat -100 "/bin/busybox" 0"#, r#"execveat @f "" 0 0 0x1000"#),
            "; true"
        )),
        &[("proc.exepath", "*payload*"), ("evt.res", "SUCCESS"), ("proc.pname", "sh")],
    )
    .also(&[(
        container(concat!(
            calls!(
                tool,
                r#"f=openat -100 "/bin/busybox" 0"#,
                r#"m=memfd_create "payload" 0"#,
                "sendfile @m @f 0 100000000",
                "dup3 @m 77 0",
                r#"execve "/proc/self/fd/77" 0 0"#
            ),
            "; true"
        )),
        &[("proc.exepath", "*payload*")],
    )]),
    Row::new(
        "DB program spawned process",
        host("/as/mysqld '/bin/id'"),
        host("/as/mysqld '/as/postgres :'"),
        &[("proc.name", "id"), ("proc.pname", "mysqld"), ("proc.cmdline", "id")],
    ),
    Row::new(
        "Launch Privileged Container",
        Act { place: Place::StartPrivileged, what: "/bin/sleep 1001" },
        Act { place: Place::StartCapable, what: "/bin/sleep 1001" },
        &[("proc.cmdline", "sleep 1001"), ("proc.name", "sleep"), ("proc.pname", "null")],
    ),
    Row::new(
        "Launch Excessively Capable Container",
        Act { place: Place::StartCapable, what: "/bin/sleep 1002" },
        Act { place: Place::StartTrusted, what: "/bin/sleep 1002" },
        &[
            ("proc.cmdline", "sleep 1002"),
            ("thread.cap_permitted", "*CAP_SYS_ADMIN*"),
            ("proc.pname", "null"),
        ],
    )
    .nor(&[Act { place: Place::Start, what: "/bin/sleep 1002" }]),
    Row::new(
        "Program run with disallowed http proxy env",
        host("! HTTP_PROXY=http://127.0.0.1:1 /bin/wget http://127.0.0.1:2/"),
        host("! /bin/wget http://127.0.0.1:2/"),
        &[("proc.name", "wget"), ("proc.env", "*HTTP_PROXY=http://127.0.0.1:1*")],
    )
    .but(But::Lacks { field: "proc.env", of: "evt.type = execve and proc.name = wget" }),
    Row::new(
        "User mgmt binaries",
        host("! /bin/passwd nobody-of-this-name"),
        host("! /bin/passwd -S nobody-of-this-name"),
        &[("proc.name", "passwd"), ("proc.cmdline", "passwd nobody-of-this-name"), ("proc.aname[2]", "sh")],
    )
    .nor(&[
        container("! /bin/passwd nobody-of-this-name"),
    ]),
    Row::new(
        "Launch Package Management Process in Container",
        container("/bin/dpkg -l"),
        container("/as/dpkg-query :"),
        &[("proc.name", "dpkg"), ("proc.cmdline", "dpkg -l")],
    )
    .also(&[(container("! /bin/rpm -qp /tmp/none"), &[("proc.name", "rpm")])])
    .nor(&[
        host("/bin/dpkg -l"),
    ]),
    Row::new(
        "Launch Suspicious Network Tool in Container",
        container("! /bin/telnet 127.0.0.1 4444"),
        host("! /bin/telnet 127.0.0.1 4444"),
        &[("proc.name", "telnet"), ("proc.cmdline", "telnet 127.0.0.1 4444")],
    ),
    Row::new(
        "Launch Suspicious Network Tool on Host",
        host("! /bin/telnet 127.0.0.1 4444"),
        container("! /bin/telnet 127.0.0.1 4444"),
        &[("proc.name", "telnet"), ("proc.cmdline", "telnet 127.0.0.1 4444")],
    ),
    Row::new(
        "Launch Remote File Copy Tools in Container",
        container("/as/scp :"),
        host("/as/scp :"),
        &[("proc.name", "scp"), ("proc.cmdline", "scp /as/scp :")],
    ),
    Row::new(
        "Mount Launched in Privileged Container",
        privileged("/bin/mount -t tmpfs none /srv"),
        capable("/bin/mount -t tmpfs none /srv"),
        &[("proc.name", "mount"), ("proc.cmdline", "mount -t tmpfs none /srv")],
    ),
    Row::new(
        "Launch Ingress Remote File Copy Tools in Container",
        container("/as/curl : -o /tmp/file"),
        container("/as/curl :"),
        &[("proc.name", "curl"), ("proc.cmdline", "curl /as/curl : -o /tmp/file")],
    )
    .also(&[(container("! /bin/wget http://127.0.0.1:2/"), &[("proc.name", "wget")])]),
    Row::new(
        "Potential Local Privilege Escalation via Environment Variables Misuse",
        host("GLIBC_TUNABLES=glibc.malloc.mxfast=1 /bin/true"),
        host("GLIBC_VERSION=1 /bin/true"),
        &[("proc.name", "true"), ("proc.env", "*GLIBC_TUNABLES=*")],
    )
    .but(But::Lacks { field: "proc.env", of: "evt.type = execve and proc.name = true" }),
];
