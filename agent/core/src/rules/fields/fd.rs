//! `fd.*` and `fs.path.*`: the file or socket that the event is about.

use super::Argument::MayBeIndex;
use super::Feed::{File, Process};
use super::Kind::{Address, Bool, Network, Path, Port, Signed, Text};
use super::{Field, Place, field};

pub(super) const FIELDS: &[Field] = &[
    field("fd.num", Signed, File, "Number of the descriptor, negative if opening failed."),
    field(
        "fd.type",
        Text,
        File,
        "Type of the descriptor: file, directory, ipv4, ipv6, unix, pipe and so on.",
    ),
    field(
        "fd.typechar",
        Text,
        File,
        "Type in one letter: `f` file, `4` IPv4, `6` IPv6, `u` unix, `p` pipe and so on.",
    ),
    field(
        "fd.types",
        Text,
        Process,
        "Types of all descriptors of the process, or of the one with this number.",
    )
    .with(MayBeIndex)
    .list()
    .at(Place::LeftOrOutput),
    field("fd.name", Text, File, "Path of a file, or both ends of a connection: `ip:port->ip:port`."),
    field("fd.nameraw", Path, File, "Path of a file as the process wrote it, neither joined nor cleaned."),
    field(
        "fd.name_changed",
        Bool,
        File,
        "Whether this call gave the socket another peer than the call before.",
    ),
    field("fd.uid", Text, File, "Thread id and number of the descriptor, joined."),
    field("fd.containername", Text, File, "`container.id` and `fd.name` with a colon between."),
    field("fd.containerdirectory", Text, File, "`container.id` and `fd.directory` with a colon between."),
    // A file.
    field("fd.directory", Path, File, "Directory of the file.").otel("file.directory"),
    field("fd.filename", Text, File, "Name of the file without its directory.").otel("file.name"),
    field("fd.dev", Signed, File, "Device that the file is on, major and minor number in one."),
    field("fd.dev.major", Signed, File, "Major number of the device that the file is on."),
    field("fd.dev.minor", Signed, File, "Minor number of the device that the file is on."),
    field("fd.ino", Signed, File, "Inode number of the file.").otel("file.inode"),
    field("fd.is_upper_layer", Bool, File, "Whether the file was made or changed in the container."),
    field("fd.is_lower_layer", Bool, File, "Whether the file is the image's, unchanged."),
    // A path that a call works on, opened or not.
    field("fs.path.name", Path, File, "Path that the call worked on, made absolute.").otel("file.path"),
    field("fs.path.nameraw", Path, File, "Path that the call worked on, as the process wrote it."),
    field(
        "fs.path.source",
        Path,
        File,
        "Path that was renamed, or of the link that was made, made absolute.",
    ),
    field("fs.path.sourceraw", Path, File, "As `fs.path.source`, as the process wrote it."),
    field(
        "fs.path.target",
        Path,
        File,
        "Path that it was renamed to, or that the link leads to, made absolute.",
    ),
    field("fs.path.targetraw", Path, File, "As `fs.path.target`, as the process wrote it."),
    // A socket.
    field("fd.sockfamily", Text, File, "`ip` or `unix`."),
    field("fd.l4proto", Text, File, "Protocol: tcp, udp, icmp or raw.").otel("network.transport"),
    field("fd.connected", Bool, File, "Whether the socket is connected."),
    field("fd.is_server", Bool, File, "Whether the process is the server of the connection."),
    // Addresses.
    field("fd.ip", Address, File, "Address of either end.").at(Place::Left),
    field("fd.cip", Address, File, "Address of the client.").otel("client.address"),
    field("fd.sip", Address, File, "Address of the server.").otel("server.address"),
    field("fd.lip", Address, File, "Address of this end.").otel("network.local.address"),
    field("fd.rip", Address, File, "Address of the other end.").otel("network.peer.address"),
    field("fd.net", Network, File, "Whether either end's address is in the network.").at(Place::Left),
    field("fd.cnet", Network, File, "Whether the client's address is in the network.").at(Place::Left),
    field("fd.snet", Network, File, "Whether the server's address is in the network.").at(Place::Left),
    field("fd.lnet", Network, File, "Whether this end's address is in the network.").at(Place::Left),
    field("fd.rnet", Network, File, "Whether the other end's address is in the network.").at(Place::Left),
    field("fd.cip.name", Text, File, "Domain name of the client.").at(Place::LeftOrOutput),
    field("fd.sip.name", Text, File, "Domain name of the server.").at(Place::LeftOrOutput),
    field("fd.lip.name", Text, File, "Domain name of this end.").at(Place::LeftOrOutput),
    field("fd.rip.name", Text, File, "Domain name of the other end.").at(Place::LeftOrOutput),
    // Ports.
    field("fd.port", Port, File, "Port of either end.").at(Place::Left),
    field("fd.cport", Port, File, "Port of the client.").otel("client.port"),
    field("fd.sport", Port, File, "Port of the server.").otel("server.port"),
    field("fd.lport", Port, File, "Port of this end.").otel("network.local.port"),
    field("fd.rport", Port, File, "Port of the other end.").otel("network.peer.port"),
    field("fd.proto", Port, File, "Port of either end, by the name of its service.").at(Place::Left),
    field("fd.cproto", Text, File, "Name of the service that the client's port is known for."),
    field("fd.sproto", Text, File, "Name of the service that the server's port is known for."),
    field("fd.lproto", Text, File, "Name of the service that this end's port is known for."),
    field("fd.rproto", Text, File, "Name of the service that the other end's port is known for."),
];
