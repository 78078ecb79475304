//! Rules about sockets and connections.

use super::row::{But, Row, capable, container, host};

/// Listens at an address and connects to it: all in one process, over a loopback that is the place's own.
macro_rules! connects {
    ($caller:literal, $address:literal) => {
        concat!(
            "/calls/",
            $caller,
            " workload calls 's=socket 2 1 0' 'bind @s inet:",
            $address,
            " 16' 'listen @s 1' \
             'c=socket 2 1 0' 'connect @c inet:",
            $address,
            " 16'"
        )
    };
}

pub(super) const ROWS: &[Row] = &[
    Row::new(
        "Contact K8S API Server From Container",
        capable("/calls/tool workload calls 'c=socket 2 1 0' 'connect @c inet:10.96.0.1:443 16'"),
        host("/calls/tool workload calls 'c=socket 2 1 0' 'connect @c inet:10.96.0.1:443 16'"),
        &[("fd.name", "*->10.96.0.1:443")],
    )
    .but(But::Lacks { field: "fd.sip.name", of: "evt.type = connect and fd.sip = 10.96.0.1" }),
    Row::new(
        "Packet socket created in container",
        container("/calls/tool workload calls 'socket 17 3 0'"),
        container("/calls/tool workload calls 'socket 2 3 1'"),
        &[("evt.type", "socket"), ("evt.args", "*AF_PACKET*"), ("proc.name", "tool")],
    ),
    Row::new(
        "Redirect STDOUT/STDIN to Network Connection in Container",
        capable(concat!(connects!("tool", "127.0.0.1:4444"), " 'dup3 @c 2 0'")),
        capable(concat!(connects!("tool", "127.0.0.1:4445"), " 'dup3 @c 9 0'")),
        &[
            ("evt.type", "dup3"),
            ("fd.sip", "127.0.0.1"),
            ("fd.name", "127.0.0.1:*->127.0.0.1:4444"),
            ("fd.rport", "4444"),
            ("fd.type", "ipv4"),
            ("fd.l4proto", "tcp"),
            ("proc.name", "tool"),
        ],
    ),
    Row::new(
        "Disallowed SSH Connection Non Standard Port",
        host(connects!("ssh", "203.0.113.7:443")),
        host(connects!("ssh", "203.0.113.7:22")),
        &[
            ("fd.name", "203.0.113.7:*->203.0.113.7:443"),
            ("fd.rport", "443"),
            ("fd.l4proto", "tcp"),
            ("evt.type", "connect"),
            ("proc.name", "ssh"),
        ],
    ),
    Row::new(
        "System procs network activity",
        host(connects!("date", "203.0.113.7:80")),
        host(connects!("date", "127.0.0.1:80")),
        &[
            ("fd.name", "203.0.113.7:*->203.0.113.7:80"),
            ("fd.type", "ipv4"),
            ("evt.type", "connect"),
            ("proc.name", "date"),
        ],
    ),
    Row::new(
        "Unexpected UDP Traffic",
        host("/calls/tool workload calls 'u=socket 2 2 0' 'connect @u inet:203.0.113.7:6000 16'"),
        host("/calls/tool workload calls 'u=socket 2 2 0' 'connect @u inet:203.0.113.7:53 16'"),
        &[
            ("fd.name", "203.0.113.7:*->203.0.113.7:6000"),
            ("fd.rport", "6000"),
            ("fd.l4proto", "udp"),
            ("evt.type", "connect"),
        ],
    ),
    Row::new(
        "Contact EC2 Instance Metadata Service From Container",
        capable(connects!("tool", "169.254.169.254:80")),
        capable(connects!("tool", "169.254.169.253:80")),
        &[("fd.name", "169.254.169.254:*->169.254.169.254:80"), ("fd.rport", "80"), ("evt.type", "connect")],
    ),
    Row::new(
        "Contact cloud metadata service from container",
        capable(connects!("tool", "169.254.169.254:81")),
        host(connects!("tool", "169.254.169.254:81")),
        &[("fd.name", "169.254.169.254:*->169.254.169.254:81"), ("fd.rport", "81"), ("evt.type", "connect")],
    ),
    // It asks for a namespace out of an empty list.
    Row::new(
        "Network Connection outside Local Subnet",
        capable(connects!("tool", "203.0.113.7:82")),
        capable(connects!("tool", "127.0.0.1:82")),
        &[],
    )
    .but(But::Never),
];
