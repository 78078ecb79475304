//! Records of the rings: the decoder, and the tables that take what it makes of them.

use std::sync::LazyLock;

use tarsier_abi::tcp::{SweepSlot, sweep};
use tarsier_abi::{Header, Sensor};
use tarsier_core::decode::Decoder;
use tarsier_core::encode::redact::{RedactConfig, Redactor, Scratch};
use tarsier_core::event::exec::{self, PathForm, PathTail};
use tarsier_core::event::{Argv, Body, Event, FlowKind, Malformed, cgroup, tcp};
use tarsier_core::flows::{Limits, Table};
use tarsier_core::process::{self, ProcessTable};
use zerocopy::FromBytes;

use super::{frames, rules};

/// Possible CPUs of the machine that the records claim to come from.
const CPUS: usize = 4;

/// A ring's records, of all sensors: each is decoded or counted, and processes keep their table within
/// its bounds.
pub(super) fn decode(input: &[u8]) {
    let mut decoder = Decoder::new(CPUS);
    let limits = process::Limits { processes: 8, ..process::Limits::default() };
    let mut processes = ProcessTable::new(limits);
    let (mut changes, mut given) = (Vec::new(), 0);
    for record in frames(input) {
        given += 1;
        if let Ok(event) = decoder.decode(record) {
            assert!(usize::from(event.header.cpu) < CPUS);
            look_at(&event);
            processes.apply(&event, &mut changes);
        }
    }
    processes.flush_all(&mut changes);
    for change in &changes {
        processes.what(change);
        processes.ancestors(&change.key).count();
    }
    assert!(processes.len() <= 8 && processes.live().count() <= processes.len());
    let counters = decoder.counters();
    let received: u64 = Sensor::ALL.into_iter().map(|sensor| counters.sensor(sensor).received).sum();
    let malformed: u64 = Malformed::ALL.into_iter().map(|kind| counters.malformed(kind)).sum();
    assert_eq!(received + malformed, given, "every record is decoded or counted");
}

fn look_at(event: &Event<'_>) {
    match &event.body {
        Body::Exec(exec::Event::Exec(exec)) => look_at_exec(exec),
        Body::Cgroup(cgroup::Event { path, .. }) => assert!(path.len() <= usize::from(u16::MAX)),
        Body::Syscall(call) | Body::IoUring(call) => rules::ask(call),
        _ => {}
    }
}

/// One exec record, as it is in a ring.
pub(super) fn exec(record: &[u8]) {
    let op = record.get(1).copied().unwrap_or_default();
    if let Ok(exec::Event::Exec(exec)) = exec::decode(op, record) {
        look_at_exec(&exec);
    }
}

fn look_at_exec(exec: &exec::Exec<'_>) {
    static REDACTOR: LazyLock<Redactor> =
        LazyLock::new(|| Redactor::new(&RedactConfig::default()).expect("the default patterns"));
    for path in [exec.exe, exec.cwd] {
        look_at_path(path);
    }
    let argv = Argv::new(exec.args);
    let boundaries = exec.args.iter().filter(|byte| **byte == 0).count();
    let count = argv.iter().count();
    assert!((boundaries..=boundaries + 1).contains(&count), "no argument is lost or made up");
    let mut scratch = Scratch::default();
    assert_eq!(REDACTOR.redact(argv, &mut scratch).iter().count(), count);
    let masked = REDACTOR.mask(argv, &mut scratch);
    assert!(masked.iter().map(<[u8]>::len).eq(argv.iter().map(<[u8]>::len)), "a mask keeps lengths");
}

fn look_at_path(path: PathTail<'_>) {
    let text = path.to_bytes();
    let absolute = path.form() == PathForm::Absolute;
    assert!(!absolute || text.starts_with(b"/"));
    // A memfd's name is the process's own choice.
    assert!(absolute || path.form() == PathForm::Memfd || !text.starts_with(b"/"));
}

/// Records of sockets in a small table that is swept now and then: no flow is longer than the time told, and
/// no more connections are held than may be.
pub(super) fn tcp(input: &[u8]) {
    const CONNECTIONS: usize = 4;
    let mut table = Table::new(Limits { connections: CONNECTIONS, tombstones: 4, ..Limits::default() });
    let mut slots = [SweepSlot::default(); 2];
    let (mut flows, mut latest) = (Vec::new(), 0);
    for record in frames(input) {
        if let Ok((header, _)) = Header::read_from_prefix(record) {
            if let Ok(event) = tcp::decode(header.op, record) {
                latest = latest.max(header.boot_ns);
                table.apply(&event, header.boot_ns, &mut flows);
            }
            continue;
        }
        // What is too short for a record stands for a sweep, and says what it finds.
        let filled = table.sweep_batch(&mut slots);
        for (slot, byte) in slots[..filled].iter_mut().zip(record.iter().cycle()) {
            slot.status = if byte & 1 == 0 { sweep::LIVE } else { sweep::GONE };
            slot.counters.bytes_sent = u64::from(*byte) << 8;
        }
        table.apply_sweep(&slots[..filled], latest, &mut flows);
        table.advance(latest, &mut flows);
        assert!(table.len() <= CONNECTIONS);
    }
    table.advance(u64::MAX, &mut flows);
    let counts = table.counts();
    assert_eq!(counts.closed, flows.iter().filter(|flow| flow.kind == FlowKind::Closed).count() as u64);
    assert!(counts.lost_close <= counts.closed);
    assert!(counts.evicted <= counts.closed + counts.half_open + counts.orphan_owners);
}
