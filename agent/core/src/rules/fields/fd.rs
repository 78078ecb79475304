//! `fd.*` and `fs.path.*`: the file or socket that the event is about.

use super::Argument::MayBeIndex;
use super::Feed::{File, Process};
use super::Kind::{Address, Bool, Network, Path, Port, Signed, Text};
use super::{Field, Place, field, lacking};
use crate::rules::getters::{file, socket};

pub(super) const FIELDS: &[Field] = &[
    field(
        "fd.num",
        Signed,
        File,
        file::num,
        "Number of the descriptor, -1 if there was to be one and is not.",
    ),
    field(
        "fd.type",
        Text,
        File,
        file::kind,
        "Type of the descriptor: file, directory, ipv4, ipv6, unix, pipe and so on.",
    ),
    field(
        "fd.typechar",
        Text,
        File,
        file::letter,
        "Type in one letter: `f` file, `4` IPv4, `6` IPv6, `u` unix, `p` pipe and so on.",
    ),
    lacking(
        "fd.types",
        Text,
        Process,
        "the process's descriptors",
        "Types of all descriptors of the process, or of the one with this number.",
    )
    .with(MayBeIndex)
    .list()
    .at(Place::LeftOrOutput),
    field(
        "fd.name",
        Text,
        File,
        file::name,
        "Path that a file was opened by, made absolute without following links, else the kernel's path of it; of a socket `client:port->server:port`, or its path.",
    ),
    field(
        "fd.nameraw",
        Path,
        File,
        file::raw_name,
        "Path of a file as the process wrote it, neither joined nor cleaned.",
    ),
    field(
        "fd.name_changed",
        Bool,
        File,
        socket::is_name_changed,
        "Whether this call named the socket's peer or port; that it was another one before is not looked at.",
    ),
    field("fd.uid", Text, File, file::uid, "Thread id and number of the descriptor, joined."),
    field(
        "fd.containername",
        Text,
        File,
        file::container_name,
        "`container.id` and `fd.name` with a colon between.",
    ),
    field(
        "fd.containerdirectory",
        Text,
        File,
        file::container_directory,
        "`container.id` and `fd.directory` with a colon between.",
    ),
    // A file.
    field("fd.directory", Path, File, file::directory, "Directory of the file.").otel("file.directory"),
    field("fd.filename", Text, File, file::file_name, "Name of the file without its directory.")
        .otel("file.name"),
    field("fd.dev", Signed, File, file::device, "Device that the file is on, major and minor number in one."),
    field(
        "fd.dev.major",
        Signed,
        File,
        file::device_major,
        "Major number of the device that the file is on.",
    ),
    field(
        "fd.dev.minor",
        Signed,
        File,
        file::device_minor,
        "Minor number of the device that the file is on.",
    ),
    field("fd.ino", Signed, File, file::inode, "Inode number of the file.").otel("file.inode"),
    field(
        "fd.is_upper_layer",
        Bool,
        File,
        file::is_upper_layer,
        "Whether the file was made or changed in the container.",
    ),
    field(
        "fd.is_lower_layer",
        Bool,
        File,
        file::is_lower_layer,
        "Whether the file is the image's, unchanged.",
    ),
    // A path that a call works on, opened or not.
    field("fs.path.name", Path, File, file::path_name, "Path that the call worked on, made absolute.")
        .otel("file.path"),
    field(
        "fs.path.nameraw",
        Path,
        File,
        file::path_raw_name,
        "Path that the call worked on, as the process wrote it.",
    ),
    field(
        "fs.path.source",
        Path,
        File,
        file::path_source,
        "Path that was renamed, or of the link that was made, made absolute.",
    ),
    field(
        "fs.path.sourceraw",
        Path,
        File,
        file::path_raw_source,
        "As `fs.path.source`, as the process wrote it.",
    ),
    field(
        "fs.path.target",
        Path,
        File,
        file::path_target,
        "Path that it was renamed to, or that the link leads to, made absolute.",
    ),
    field(
        "fs.path.targetraw",
        Path,
        File,
        file::path_raw_target,
        "As `fs.path.target`, as the process wrote it.",
    ),
    // A socket.
    field("fd.sockfamily", Text, File, socket::family, "`ip` or `unix`."),
    field("fd.l4proto", Text, File, socket::l4_protocol, "Protocol: tcp, udp, icmp or raw.")
        .otel("network.transport"),
    field("fd.connected", Bool, File, socket::is_connected, "Whether the socket is connected."),
    field(
        "fd.is_server",
        Bool,
        File,
        socket::is_server,
        "Whether the process is the server of the connection.",
    ),
    // Addresses.
    field("fd.ip", Address, File, socket::any_ip, "Address of either end.").at(Place::Left),
    field("fd.cip", Address, File, socket::client_ip, "Address of the client.").otel("client.address"),
    field("fd.sip", Address, File, socket::server_ip, "Address of the server.").otel("server.address"),
    field("fd.lip", Address, File, socket::local_ip, "Address of this end.").otel("network.local.address"),
    field("fd.rip", Address, File, socket::remote_ip, "Address of the other end.")
        .otel("network.peer.address"),
    field("fd.net", Network, File, socket::any_ip, "Whether either end's address is in the network.")
        .at(Place::Left),
    field("fd.cnet", Network, File, socket::client_ip, "Whether the client's address is in the network.")
        .at(Place::Left),
    field("fd.snet", Network, File, socket::server_ip, "Whether the server's address is in the network.")
        .at(Place::Left),
    field("fd.lnet", Network, File, socket::local_ip, "Whether this end's address is in the network.")
        .at(Place::Left),
    field("fd.rnet", Network, File, socket::remote_ip, "Whether the other end's address is in the network.")
        .at(Place::Left),
    lacking("fd.cip.name", Text, File, "the node's DNS answers", "Domain name of the client.")
        .at(Place::LeftOrOutput),
    lacking("fd.sip.name", Text, File, "the node's DNS answers", "Domain name of the server.")
        .at(Place::LeftOrOutput),
    lacking("fd.lip.name", Text, File, "the node's DNS answers", "Domain name of this end.")
        .at(Place::LeftOrOutput),
    lacking("fd.rip.name", Text, File, "the node's DNS answers", "Domain name of the other end.")
        .at(Place::LeftOrOutput),
    // Ports.
    field("fd.port", Port, File, socket::any_port, "Port of either end.").at(Place::Left),
    field("fd.cport", Port, File, socket::client_port, "Port of the client.").otel("client.port"),
    field("fd.sport", Port, File, socket::server_port, "Port of the server.").otel("server.port"),
    field("fd.lport", Port, File, socket::local_port, "Port of this end.").otel("network.local.port"),
    field("fd.rport", Port, File, socket::remote_port, "Port of the other end.").otel("network.peer.port"),
    field("fd.proto", Port, File, socket::any_port, "Port of either end, by the name of its service.")
        .at(Place::Left),
    field(
        "fd.cproto",
        Text,
        File,
        socket::client_service,
        "Name of the service that the client's port is known for, else its number.",
    ),
    field(
        "fd.sproto",
        Text,
        File,
        socket::server_service,
        "Name of the service that the server's port is known for, else its number.",
    ),
    field(
        "fd.lproto",
        Text,
        File,
        socket::local_service,
        "Name of the service that this end's port is known for, else its number.",
    ),
    field(
        "fd.rproto",
        Text,
        File,
        socket::remote_service,
        "Name of the service that the other end's port is known for, else its number.",
    ),
];
