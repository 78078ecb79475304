//! Series of flows: sums, failures, the cap.

use tarsier_abi::tcp::state;

use super::*;
use crate::event::Role;
use crate::flows::{Aggregate, BOUNDS_US, Exemplar, Failure, Key, OTHER, Values};

fn closed(peer_port: u16, errno: u16) -> Flow {
    let socket = Socket { peer: (address(2), peer_port), ..client() };
    let mut events = vec![(10, socket.open(task(7)))];
    if errno == 0 {
        events.push((12, socket.established()));
        events.push((20, socket.close(state::FIN_WAIT2, 0, counters(500, 900))));
    } else {
        events.push((12, socket.fail(errno)));
    }
    Bench::of(&events).only().clone()
}

#[test]
fn sums_latencies_and_exemplars() {
    let mut aggregate = Aggregate::new(10);
    aggregate.record(&closed(80, 0), 3);
    aggregate.record(&closed(80, 0), 3);
    let series: Vec<_> = aggregate.series().collect();
    assert_eq!(series.len(), 1);
    assert_eq!(series[0].key, Key { workload: 3, role: Role::Client, server_port: 80 });
    let values = series[0].values;
    assert_eq!(
        (values.bytes_sent.total, values.bytes_received.total, values.connections.total),
        (1_000, 1_800, 2)
    );
    assert_eq!((values.segments_sent.total, values.retransmits.total, values.active), (18, 2, 0));
    assert_eq!(values.bytes_sent.exemplar, Some(Exemplar { value: 500, boot_ns: 20 * MS, isn: (111, 222) }));
    // 2,000 µs lies in the bucket up to 2,500; 300 µs in the one up to 500.
    assert_eq!((values.connect.count(), values.connect.sum_us, values.connect.buckets[4]), (2, 4_000, 2));
    assert_eq!((values.rtt.count(), values.rtt.sum_us, values.rtt.buckets[2]), (2, 600, 2));
    assert!(BOUNDS_US.is_sorted());
}

#[test]
fn live_reports_and_the_last_one_add_up() {
    let mut aggregate = Aggregate::new(10);
    let whole = closed(80, 0);
    let live = Flow {
        kind: crate::event::FlowKind::Live,
        counters: counters(100, 0),
        delta: counters(100, 0),
        ..closed(80, 0)
    };
    aggregate.record(&live, 3);
    let values = |aggregate: &Aggregate| aggregate.series().next().expect("a series").values;
    assert_eq!((values(&aggregate).active, values(&aggregate).connections.total), (1, 0));
    let mut rest = whole;
    rest.delta.bytes_sent -= 100;
    rest.delta.segments_sent -= live.delta.segments_sent;
    aggregate.record(&rest, 3);
    let values = values(&aggregate);
    assert_eq!((values.active, values.connections.total, values.bytes_sent.total), (0, 1, 500));
    assert_eq!(values.connect.count(), 1, "the handshake is observed once");
}

#[test]
fn failures_by_kind() {
    let mut aggregate = Aggregate::new(10);
    for errno in [111, 110, 104, 113] {
        aggregate.record(&closed(80, errno), 3);
    }
    let abandoned = Bench::of(&[(10, client().open(task(7))), (12, client().fail(0))]).only().clone();
    aggregate.record(&abandoned, 3);
    let values = aggregate.series().next().expect("a series").values;
    assert_eq!(values.failures.map(|failure| failure.total), [1; 5]);
    assert_eq!((values.connections.total, values.connect.count()), (5, 0));
    assert_eq!(Failure::of(&abandoned).map(Failure::name), Some("aborted"));
}

#[test]
fn what_exceeds_the_cap_is_folded_and_no_byte_is_lost() {
    let mut aggregate = Aggregate::new(2);
    for port in [80, 81, 82, 83, 80] {
        aggregate.record(&closed(port, 0), 3);
    }
    assert_eq!((aggregate.series().len(), aggregate.folded()), (3, 2));
    let sum: u64 = aggregate.series().map(|series| series.values.bytes_sent.total).sum();
    assert_eq!(sum, 5 * 500);
    let other = aggregate.series().find(|series| series.key.workload == OTHER).expect("the rest");
    assert_eq!((other.values.connections.total, other.key.server_port), (2, 0));
}

#[test]
fn what_was_told_before_a_restart_is_not_told_again() {
    let mut aggregate = Aggregate::new(10);
    let live = Flow { kind: crate::event::FlowKind::Live, ..closed(80, 0) };
    aggregate.record(&live, 3);
    aggregate.record(&closed(80, 111), 3);
    aggregate.restart();
    let values = |aggregate: &Aggregate| aggregate.series().next().expect("a series").values;
    assert_eq!(values(&aggregate), Values { active: 1, ..Values::default() });
    aggregate.record(&closed(80, 0), 3);
    assert_eq!(values(&aggregate).bytes_sent.total, 500);
    assert_eq!(aggregate.series().len(), 1);
}
