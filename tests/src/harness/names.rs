//! The names that the tests expect on the wire: the contract with users, written down a second time on
//! purpose, so that a renamed attribute is a failed test and not a silently renamed expectation.

/// Log event: a program started.
pub const EXEC: &str = "tarsier.process.exec";
/// Log event: a process was created.
pub const FORK: &str = "tarsier.process.fork";
/// Log event: a process ended.
pub const EXIT: &str = "tarsier.process.exit";

/// int
pub const PID: &str = "process.pid";
/// int
pub const PARENT_PID: &str = "process.parent_pid";
/// string: when the process was created, RFC 3339; told at exec
pub const CREATED: &str = "process.creation.time";
/// string
pub const EXE_PATH: &str = "process.executable.path";
/// array of strings
pub const ARGS: &str = "process.command_args";
/// bool, absent if not so
pub const ARGS_TRUNCATED: &str = "tarsier.process.args.truncated";
/// int: bytes of all arguments, told when they are truncated
pub const ARGS_BYTES: &str = "tarsier.process.args.bytes";
/// string
pub const CWD: &str = "process.working_directory";
/// int, the effective user
pub const USER_ID: &str = "process.user.id";
/// int, the effective group
pub const GROUP_ID: &str = "tarsier.process.group.id";
/// int: the code, absent if a signal ended it
pub const EXIT_CODE: &str = "process.exit.code";
/// int: the signal that ended it, absent if none did
pub const EXIT_SIGNAL: &str = "tarsier.process.exit.signal";
/// bool, absent if not so
pub const EXE_MEMFD: &str = "tarsier.exe.memfd";
/// bool, absent if not so
pub const EXE_UPPER_LAYER: &str = "tarsier.exe.upper_layer";
/// bool, absent if not so
pub const EXE_UNLINKED: &str = "tarsier.exe.unlinked";
/// bool, absent if not so: the leading components are missing
pub const EXE_TRUNCATED: &str = "tarsier.exe.truncated";
/// bool, absent if not so: the leading components are missing
pub const CWD_TRUNCATED: &str = "tarsier.cwd.truncated";
/// string: identity of one execution within a boot
pub const EXEC_ID: &str = "tarsier.exec_id";
/// string, of the resource
pub const CONTAINER_ID: &str = "container.id";
/// string: entry, entry_descendant, joined, joined_descendant, unknown; absent outside of containers
pub const ORIGIN: &str = "tarsier.process.origin";
/// string, absent if the cgroup's path does not tell
pub const RUNTIME: &str = "container.runtime.name";
/// string, absent outside of pods
pub const POD_UID: &str = "k8s.pod.uid";
/// int: the pid in the process's own PID namespace, absent if it is the same
pub const VPID: &str = "process.vpid";
/// int: inode number of the PID namespace
pub const PID_NAMESPACE: &str = "tarsier.process.namespace.pid";
/// string
pub const SERVICE_NAME: &str = "service.name";

/// string
pub const SOURCE_ADDRESS: &str = "source.address";
/// int
pub const SOURCE_PORT: &str = "source.port";
/// string
pub const DESTINATION_ADDRESS: &str = "destination.address";
/// int
pub const DESTINATION_PORT: &str = "destination.port";
/// string
pub const TRANSPORT: &str = "network.transport";
/// int, source to destination
pub const BYTES: &str = "flow.bytes.total";
/// int, destination to source
pub const REVERSE_BYTES: &str = "flow.reverse.bytes.total";
/// Segments, source to destination.
pub const PACKETS: &str = "flow.packets.total";
/// Segments, the other way.
pub const REVERSE_PACKETS: &str = "flow.reverse.packets.total";
/// string: how the connection ended, absent if both ends closed it
pub const CLOSE_REASON: &str = "tarsier.flow.close_reason";
/// string: refused, reset, timeout
pub const ERROR_TYPE: &str = "error.type";
/// int: segments the local socket sent again, absent if none
pub const RETRANSMITS: &str = "tarsier.flow.retransmits";
/// bool, absent if not so: the connection is older than its start
pub const START_OBSERVED: &str = "tarsier.flow.start_observed";
/// Counter of payload bytes by workload, both directions of every reported socket.
pub const BYTES_METRIC: &str = "tarsier.flow.bytes";
