//! Rules about sockets and connections.

use super::row::{But, Row, calls, capable, container, host};

/// Listens at an address and connects to it: all in one process, over a loopback that is the place's own.
macro_rules! connects {
    ($caller:ident, $address:literal $(, $further:literal)*) => {
        calls!(
            $caller,
            "s=socket 2 1 0",
            concat!("bind @s inet:", $address, " 16"),
            "listen @s 1",
            "c=socket 2 1 0",
            concat!("connect @c inet:", $address, " 16")
            $(, $further)*
        )
    };
}
pub(super) use connects;

pub(super) const ROWS: &[Row] = &[
    Row::new(
        "Contact K8S API Server From Container",
        capable(calls!(tool, "c=socket 2 1 0", "connect @c inet:10.96.0.1:443 16")),
        host(calls!(tool, "c=socket 2 1 0", "connect @c inet:10.96.0.1:443 16")),
        &[("fd.name", "*->10.96.0.1:443")],
    )
    .but(But::Lacks { field: "fd.sip.name", of: "evt.type = connect and fd.sip = 10.96.0.1" }),
    Row::new(
        "Packet socket created in container",
        container(calls!(tool, "socket 17 3 0")),
        container(calls!(tool, "socket 2 3 1")),
        &[("evt.type", "socket"), ("evt.args", "*AF_PACKET*"), ("proc.name", "tool")],
    )
    .also(&[(container(calls!(tool, "socket 17 2 0x0300")), &[("evt.args", "*AF_PACKET*")])])
    .nor(&[host(calls!(tool, "socket 17 3 0"))]),
    Row::new(
        "Redirect STDOUT/STDIN to Network Connection in Container",
        capable(connects!(tool, "127.0.0.1:4444", "dup3 @c 2 0")),
        capable(connects!(tool, "127.0.0.1:4445", "dup3 @c 9 0")),
        &[
            ("evt.type", "dup3"),
            ("fd.sip", "127.0.0.1"),
            ("fd.name", "127.0.0.1:*->127.0.0.1:4444"),
            ("fd.rport", "4444"),
            ("fd.type", "ipv4"),
            ("fd.l4proto", "tcp"),
            ("proc.name", "tool"),
        ],
    )
    .also(&[
        (
            capable(connects!(tool, "127.0.0.1:4446", "dup2 @c 2")),
            &[("evt.type", "dup2"), ("fd.name", "127.0.0.1:*->127.0.0.1:4446")],
        ),
        (
            capable(connects!(tool, "127.0.0.1:4447", "close 2", "dup @c")),
            &[("evt.type", "dup"), ("fd.name", "127.0.0.1:*->127.0.0.1:4447")],
        ),
        (capable(calls!(tool, "s=socket 10 1 0", "dup2 @s 2")), &[("evt.type", "dup2"), ("fd.type", "ipv6")]),
    ])
    .nor(&[
        host(connects!(tool, "127.0.0.1:4446", "dup2 @c 2")),
        capable(calls!(tool, "f=openat -100 \"/tmp/nothing\" 0", "dup2 @f 2")),
    ]),
    Row::new(
        "Disallowed SSH Connection Non Standard Port",
        host(connects!(ssh, "203.0.113.7:443")),
        host(connects!(ssh, "203.0.113.7:22")),
        &[
            ("fd.name", "203.0.113.7:*->203.0.113.7:443"),
            ("fd.rport", "443"),
            ("fd.l4proto", "tcp"),
            ("evt.type", "connect"),
            ("proc.name", "ssh"),
        ],
    )
    .also(&[(
        host(calls!(ssh, "c=socket 2 0x801 0", "connect @c inet:198.51.100.1:8443 16")),
        &[("fd.name", "*->198.51.100.1:8443"), ("fd.l4proto", "tcp")],
    )])
    .nor(&[
        host(connects!(date, "203.0.113.7:444")),
        host(connects!(ssh, "127.0.0.1:443")),
        host(calls!(ssh, "u=socket 2 2 0", "connect @u inet:203.0.113.7:443 16")),
    ]),
    Row::new(
        "System procs network activity",
        host(connects!(date, "203.0.113.7:80")),
        host(connects!(date, "127.0.0.1:80")),
        &[
            ("fd.name", "203.0.113.7:*->203.0.113.7:80"),
            ("fd.type", "ipv4"),
            ("evt.type", "connect"),
            ("proc.name", "date"),
        ],
    )
    .also(&[(
        host(connects!(date, "203.0.113.7:83", "accept4 @s 0 0 0")),
        &[("evt.type", "accept4"), ("fd.name", "203.0.113.7:*->203.0.113.7:83")],
    )])
    .nor(&[host(connects!(tool, "203.0.113.7:85"))]),
    Row::new(
        "Unexpected UDP Traffic",
        host(calls!(tool, "u=socket 2 2 0", "connect @u inet:203.0.113.7:6000 16")),
        host(calls!(tool, "u=socket 2 2 0", "connect @u inet:203.0.113.7:53 16")),
        &[
            ("fd.name", "203.0.113.7:*->203.0.113.7:6000"),
            ("fd.rport", "6000"),
            ("fd.l4proto", "udp"),
            ("evt.type", "connect"),
        ],
    )
    .nor(&[
        host(calls!(tool, "u=socket 2 2 0", "connect @u inet:127.0.0.1:6000 16")),
        host(connects!(tool, "203.0.113.7:6001")),
    ]),
    Row::new(
        "Contact EC2 Instance Metadata Service From Container",
        capable(connects!(tool, "169.254.169.254:80")),
        capable(connects!(tool, "169.254.169.253:80")),
        &[("fd.name", "169.254.169.254:*->169.254.169.254:80"), ("fd.rport", "80"), ("evt.type", "connect")],
    )
    .also(&[(
        capable(calls!(
            tool,
            "u=socket 2 2 0",
            "bind @u inet:169.254.169.253:0 16",
            r#"sendto @u "name" 4 0 inet:169.254.169.254:53 16"#
        )),
        &[("evt.type", "sendto"), ("fd.name", "*->169.254.169.254:53"), ("fd.l4proto", "udp")],
    )]),
    Row::new(
        "Contact cloud metadata service from container",
        capable(connects!(tool, "169.254.169.254:81")),
        host(connects!(tool, "169.254.169.254:81")),
        &[("fd.name", "169.254.169.254:*->169.254.169.254:81"), ("fd.rport", "81"), ("evt.type", "connect")],
    ),
    // It asks for a namespace out of an empty list.
    Row::new(
        "Network Connection outside Local Subnet",
        capable(connects!(tool, "203.0.113.7:82")),
        capable(connects!(tool, "127.0.0.1:82")),
        &[],
    )
    .but(But::Never),
];
