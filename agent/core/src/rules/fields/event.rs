//! `evt.*` and `syscall.type`: what happened, when, and how it ended.

use super::Argument::Name;
use super::Feed::Event;
use super::Kind::{Bool, Bytes, Duration, Path, Signed, Text, Time, Unsigned};
use super::{Field, field};

pub(super) const FIELDS: &[Field] = &[
    field("evt.num", Unsigned(64), Event, "Running number of the event, from 1."),
    field("evt.type", Text, Event, "Name of the system call or of the kind of event."),
    field("evt.type.is", Unsigned(32), Event, "1 if the event is of the type that is named, otherwise 0.")
        .with(Name),
    field("syscall.type", Text, Event, "Name of the system call; nothing if the event is none."),
    field(
        "evt.category",
        Text,
        Event,
        "What the system call deals with: file, net, process, memory and so on.",
    ),
    field("evt.dir", Text, Event, "Always `<`: an event is told when its system call returns."),
    field("evt.source", Text, Event, "Where events come from: `syscall`."),
    field("evt.is_async", Bool, Event, "Whether the event was made in user space and not by a system call."),
    field("evt.asynctype", Text, Event, "Type of an event that was made in user space."),
    field("evt.hostname", Text, Event, "Name of the host, or of the node if the agent was told it.")
        .otel("host.name"),
    field("evt.cpu", Signed, Event, "Number of the processor it happened on.").otel("cpu.logical_number"),
    // When.
    field("evt.time", Text, Event, "Time of day, to the nanosecond."),
    field("evt.time.s", Text, Event, "Time of day, to the second."),
    field(
        "evt.time.iso8601",
        Text,
        Event,
        "Date and time as ISO 8601 writes them, in UTC, to the nanosecond.",
    ),
    field("evt.datetime", Text, Event, "Date and time of day, to the nanosecond."),
    field("evt.datetime.s", Text, Event, "Date and time of day, to the second."),
    field("evt.rawtime", Time, Event, "Nanoseconds since 1970."),
    field("evt.rawtime.s", Time, Event, "Whole seconds since 1970."),
    field("evt.rawtime.ns", Time, Event, "Nanoseconds since the last whole second."),
    field("evt.reltime", Duration, Event, "Nanoseconds since the first event."),
    field("evt.reltime.s", Duration, Event, "Whole seconds since the first event."),
    field("evt.reltime.ns", Duration, Event, "What `evt.reltime.s` leaves out, in nanoseconds."),
    // Arguments.
    field("evt.arg", Text, Event, "One argument of the system call, in words where there are words for it.")
        .with(Name),
    field("evt.args", Text, Event, "All arguments of the system call, as `name=value` with blanks between."),
    field("evt.info", Text, Event, "The same as `evt.args`."),
    field(
        "evt.abspath",
        Path,
        Event,
        "The path argument of an `…at` call, joined with the directory it starts from.",
    ),
    field("evt.abspath.src", Path, Event, "As `evt.abspath`, the path that is renamed or linked."),
    field("evt.abspath.dst", Path, Event, "As `evt.abspath`, the path that it is renamed or linked to."),
    field("evt.buffer", Bytes, Event, "First bytes of what was sent or received."),
    field("evt.buflen", Unsigned(64), Event, "How many bytes were sent or received."),
    // Outcome.
    field("evt.res", Text, Event, "`SUCCESS`, or the name of the error."),
    field(
        "evt.rawres",
        Signed,
        Event,
        "What the system call returned: the negative error number if it failed.",
    ),
    field("evt.failed", Bool, Event, "Whether the system call failed."),
    // What the call was for.
    field("evt.is_open_read", Bool, Event, "Whether a file was opened to be read."),
    field("evt.is_open_write", Bool, Event, "Whether a file was opened to be written."),
    field("evt.is_open_exec", Bool, Event, "Whether opening made a file that can be executed."),
    field("evt.is_open_create", Bool, Event, "Whether opening made a file."),
    field("evt.is_io", Bool, Event, "Whether bytes were sent, received, read or written."),
    field("evt.is_io_read", Bool, Event, "Whether bytes were received or read."),
    field("evt.is_io_write", Bool, Event, "Whether bytes were sent or written."),
    field("evt.io_dir", Text, Event, "`r` if bytes were received or read, `w` if sent or written."),
    field("evt.is_syslog", Bool, Event, "Whether bytes were written to `/dev/log`."),
];
