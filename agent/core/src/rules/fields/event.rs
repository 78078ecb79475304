//! `evt.*` and `syscall.type`: what happened, when, and how it ended.

use super::Argument::Name;
use super::Feed::Event;
use super::Kind::{Bool, Bytes, Duration, Path, Signed, Text, Time, Unsigned};
use super::{Field, field, lacking};
use crate::rules::getters::{arguments, clock, event};

pub(super) const FIELDS: &[Field] = &[
    field("evt.num", Unsigned(64), Event, event::num, "Running number of the event, from 1."),
    field("evt.type", Text, Event, event::kind, "Name of the system call or of the kind of event."),
    field(
        "evt.type.is",
        Unsigned(32),
        Event,
        event::kind_is,
        "1 if the event is of the type that is named, otherwise 0.",
    )
    .with(Name),
    field(
        "syscall.type",
        Text,
        Event,
        event::syscall_kind,
        "Name of the system call; nothing if the event is none.",
    ),
    field(
        "evt.category",
        Text,
        Event,
        event::category,
        "What the system call deals with: file, net, process, memory and so on.",
    ),
    field(
        "evt.dir",
        Text,
        Event,
        event::direction,
        "Always `<`: an event is told when its system call returns.",
    ),
    field("evt.source", Text, Event, event::source, "Where events come from: `syscall`."),
    field(
        "evt.is_async",
        Bool,
        Event,
        event::is_async,
        "Whether the event was made in user space and not by a system call.",
    ),
    lacking(
        "evt.asynctype",
        Text,
        Event,
        "events that are made in user space",
        "Type of an event that was made in user space.",
    ),
    field(
        "evt.hostname",
        Text,
        Event,
        event::host_name,
        "Name of the host, or of the node if the agent was told it.",
    )
    .otel("host.name"),
    field("evt.cpu", Signed, Event, event::cpu, "Number of the processor it happened on.")
        .otel("cpu.logical_number"),
    // When.
    field("evt.time", Text, Event, clock::time, "Time of day in UTC, to the nanosecond."),
    field("evt.time.s", Text, Event, clock::time_s, "Time of day in UTC, to the second."),
    field(
        "evt.time.iso8601",
        Text,
        Event,
        clock::iso8601,
        "Date and time as ISO 8601 writes them, in UTC, to the nanosecond.",
    ),
    field("evt.datetime", Text, Event, clock::datetime, "Date and time of day in UTC, to the nanosecond."),
    field("evt.datetime.s", Text, Event, clock::datetime_s, "Date and time of day in UTC, to the second."),
    field("evt.rawtime", Time, Event, clock::raw, "Nanoseconds since 1970."),
    field("evt.rawtime.s", Time, Event, clock::raw_s, "Whole seconds since 1970."),
    field("evt.rawtime.ns", Time, Event, clock::raw_ns, "Nanoseconds since the last whole second."),
    field("evt.reltime", Duration, Event, clock::relative, "Nanoseconds since the first event."),
    field("evt.reltime.s", Duration, Event, clock::relative_s, "Whole seconds since the first event."),
    field(
        "evt.reltime.ns",
        Duration,
        Event,
        clock::relative_ns,
        "What `evt.reltime.s` leaves out, in nanoseconds.",
    ),
    // Arguments.
    field(
        "evt.arg",
        Text,
        Event,
        arguments::one,
        "One argument of the system call, in words where there are words for it.",
    )
    .with(Name),
    field(
        "evt.args",
        Text,
        Event,
        arguments::all,
        "All arguments of the system call, as `name=value` with blanks between.",
    ),
    field("evt.info", Text, Event, arguments::all, "The same as `evt.args`."),
    field(
        "evt.abspath",
        Path,
        Event,
        event::absolute_path,
        "The path argument of an `…at` call, joined with the directory it starts from.",
    ),
    field(
        "evt.abspath.src",
        Path,
        Event,
        event::absolute_path,
        "As `evt.abspath`, the path that is renamed or linked.",
    ),
    field(
        "evt.abspath.dst",
        Path,
        Event,
        event::absolute_target,
        "As `evt.abspath`, the path that it is renamed or linked to.",
    ),
    field("evt.buffer", Bytes, Event, event::buffer, "First bytes of what was sent or received."),
    field("evt.buflen", Unsigned(64), Event, event::buffer_len, "How many bytes were sent or received."),
    // Outcome.
    field("evt.res", Text, Event, event::result, "`SUCCESS`, or the name of the error."),
    field(
        "evt.rawres",
        Signed,
        Event,
        event::raw_result,
        "What the system call returned: the negative error number if it failed.",
    ),
    field("evt.failed", Bool, Event, event::failed, "Whether the system call failed."),
    // What the call was for.
    field("evt.is_open_read", Bool, Event, event::is_open_read, "Whether a file was opened to be read."),
    field("evt.is_open_write", Bool, Event, event::is_open_write, "Whether a file was opened to be written."),
    field(
        "evt.is_open_exec",
        Bool,
        Event,
        event::is_open_exec,
        "Whether opening made a file that can be executed.",
    ),
    field("evt.is_open_create", Bool, Event, event::is_open_create, "Whether opening made a file."),
    field("evt.is_io", Bool, Event, event::is_io, "Whether bytes were sent, received, read or written."),
    field("evt.is_io_read", Bool, Event, event::is_io_read, "Whether bytes were received or read."),
    field("evt.is_io_write", Bool, Event, event::is_io_write, "Whether bytes were sent or written."),
    field(
        "evt.io_dir",
        Text,
        Event,
        event::io_direction,
        "`read` if bytes were received or read, `write` if sent or written.",
    ),
    field("evt.is_syslog", Bool, Event, event::is_syslog, "Whether bytes were written to `/dev/log`."),
];
