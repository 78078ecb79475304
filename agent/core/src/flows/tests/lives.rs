//! One case for each way a connection can live, end and lose records.

use tarsier_abi::TaskKey;
use tarsier_abi::tcp::{Counters, SweepSlot, Tuple, role, state, sweep};

use super::*;
use crate::event::{CloseReason, FlowKind, Role};

#[test]
fn client_from_connect_to_close() {
    let socket = client();
    let bench = Bench::of(&[
        (10, socket.open(task(7))),
        (12, socket.established()),
        (20, socket.close(state::FIN_WAIT2, 0, counters(500, 900))),
    ]);
    let flow = bench.only();
    assert_eq!(
        (flow.kind, flow.role, flow.reason, flow.errno),
        (FlowKind::Closed, Role::Client, CloseReason::Closed, 0)
    );
    assert_eq!((flow.local, flow.peer, flow.net_ns, flow.cgroup), (socket.local, socket.peer, 5, 77));
    assert_eq!((flow.start_ns, flow.established_ns, flow.end_ns), (10 * MS, 12 * MS, 20 * MS));
    assert_eq!((flow.owner, flow.owner_from_listener, flow.start_observed), (task(7), false, false));
    assert_eq!((flow.isn, flow.handshake_rtt_us, flow.state), ((111, 222), 250, state::FIN_WAIT2));
    assert_eq!((flow.counters, flow.delta), (counters(500, 900), counters(500, 900)));
    assert!(bench.table.is_empty());
}

#[test]
fn server_is_reported_in_the_clients_order_of_sequence_numbers() {
    let socket = server();
    let bench = Bench::of(&[
        (12, socket.established()),
        (19, socket.owner(task(8))),
        (20, socket.close(state::LAST_ACK, 0, counters(900, 500))),
    ]);
    let flow = bench.only();
    assert_eq!(
        (flow.role, flow.isn, flow.start_ns, flow.start_observed),
        (Role::Server, (111, 222), 12 * MS, false)
    );
    assert_eq!((flow.owner, flow.owner_from_listener), (task(8), false));
}

/// Every order of a life's records gives the same flow, at once when the last one is in.
#[test]
fn order_of_records_does_not_matter() {
    let (connecting, accepted) = (client(), server());
    let lives = [
        vec![
            (10, connecting.open(task(7))),
            (12, connecting.established()),
            (20, connecting.close(state::FIN_WAIT2, 0, counters(5, 9))),
        ],
        vec![
            (12, accepted.established()),
            (19, accepted.owner(task(8))),
            (20, accepted.close(state::LAST_ACK, 0, counters(9, 5))),
        ],
    ];
    for life in lives {
        let wanted = Bench::of(&life);
        for [a, b, c] in [[0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let bench = Bench::of(&[life[a], life[b], life[c]]);
            assert_eq!(bench.only(), wanted.only(), "order {a} {b} {c}");
            assert!(bench.table.is_empty());
        }
    }
}

#[test]
fn failed_connects_by_errno() {
    let cases = [
        (111, CloseReason::Refused),
        (110, CloseReason::Timeout),
        (104, CloseReason::Reset),
        (113, CloseReason::Error),
        (0, CloseReason::Closed),
    ];
    for (errno, reason) in cases {
        let socket = client();
        let bench = Bench::of(&[(10, socket.open(task(7))), (11, socket.fail(errno))]);
        let flow = bench.only();
        assert_eq!((flow.role, flow.reason, flow.errno), (Role::Client, reason, errno));
        assert_eq!((flow.start_ns, flow.established_ns, flow.owner), (10 * MS, 0, task(7)));
    }
}

#[test]
fn ends_of_established_connections() {
    let cases = [
        (state::ESTABLISHED, 0, CloseReason::Reset),
        (state::CLOSE_WAIT, 0, CloseReason::Reset),
        (state::ESTABLISHED, 104, CloseReason::Reset),
        (state::CLOSE_WAIT, 32, CloseReason::Reset),
        (state::ESTABLISHED, 110, CloseReason::Timeout),
        (state::FIN_WAIT1, 110, CloseReason::Timeout),
        (state::CLOSING, 0, CloseReason::Closed),
        (state::LAST_ACK, 0, CloseReason::Closed),
    ];
    for (left, errno, reason) in cases {
        let socket = client();
        let bench = Bench::of(&[
            (10, socket.open(task(7))),
            (11, socket.established()),
            (12, socket.close(left, errno, counters(1, 1))),
        ]);
        assert_eq!(bench.only().reason, reason, "state {left} errno {errno}");
    }
}

#[test]
fn handshakes_that_never_finish_are_counted_not_reported() {
    let socket = server();
    let mut bench = Bench::of(&[(10, socket.close(state::SYN_RECV, 104, Counters::default()))]);
    bench.advance(500);
    assert_eq!((bench.flows.len(), bench.table.counts().half_open), (0, 1));
    // Fast open: data came with the SYN.
    let mut bench = Bench::of(&[(10, socket.close(state::SYN_RECV, 104, counters(0, 12)))]);
    bench.advance(500);
    assert_eq!(bench.only().counters.bytes_received, 12);
}

#[test]
fn a_lost_open_costs_start_and_owner_but_no_byte() {
    let socket = client();
    let mut bench =
        Bench::of(&[(12, socket.established()), (20, socket.close(state::FIN_WAIT2, 0, counters(5, 9)))]);
    assert!(bench.flows.is_empty(), "the open record may be under way");
    bench.advance(119);
    assert!(bench.flows.is_empty());
    bench.advance(120);
    let flow = bench.only();
    assert_eq!((flow.role, flow.start_ns, flow.start_observed), (Role::Client, 12 * MS, true));
    assert_eq!((flow.owner, flow.counters), (TaskKey::NONE, counters(5, 9)));
    // The open record comes after all: it does not begin another connection.
    bench.apply(10, &socket.open(task(7)));
    assert!(bench.table.is_empty());
    assert_eq!(bench.table.counts().late, 1);
}

#[test]
fn close_of_an_unknown_socket_reports_the_kernels_totals() {
    let mut bench = Bench::of(&[(20, client().close(state::FIN_WAIT2, 0, counters(5, 9)))]);
    bench.advance(120);
    let flow = bench.only();
    assert_eq!((flow.start_ns, flow.end_ns, flow.start_observed), (20 * MS, 20 * MS, true));
    assert_eq!((flow.counters, bench.table.counts().unknown_start), (counters(5, 9), 1));
}

#[test]
fn reuse_of_an_address_reports_the_lost_close() {
    let (old, new) = (server(), Socket { peer: (address(9), 50_000), isn: (5, 6), ..server() });
    let mut bench = Bench::of(&[(10, old.established()), (30, new.established())]);
    bench.advance(129);
    assert!(bench.flows.is_empty(), "the close record may be under way");
    bench.advance(130);
    let flow = bench.only();
    assert_eq!((flow.reason, flow.peer, flow.start_ns), (CloseReason::Lost, old.peer, 10 * MS));
    assert!(flow.end_ns < 30 * MS);
    assert_eq!((bench.table.len(), bench.table.counts().lost_close), (1, 1));
    bench.apply(20, &old.close(state::ESTABLISHED, 104, counters(1, 1)));
    assert_eq!((bench.flows.len(), bench.table.counts().late), (1, 1));
}

#[test]
fn a_close_that_trails_the_next_life_is_no_loss() {
    let (old, new) = (server(), Socket { peer: (address(9), 50_000), isn: (5, 6), ..server() });
    let mut bench = Bench::of(&[
        (10, old.established()),
        (30, new.established()),
        (20, old.close(state::ESTABLISHED, 104, counters(1, 2))),
    ]);
    assert_eq!((bench.only().reason, bench.only().end_ns), (CloseReason::Reset, 20 * MS));
    bench.advance(1_000);
    assert_eq!((bench.flows.len(), bench.table.len()), (1, 1));
}

#[test]
fn failed_connects_to_one_peer_find_their_own_open_records() {
    let socket = client();
    let bench = Bench::of(&[
        (20, socket.fail(111)),
        (40, socket.fail(110)),
        (10, socket.open(task(7))),
        (30, socket.open(task(8))),
    ]);
    let ends: Vec<_> =
        bench.flows.iter().map(|flow| (flow.owner.tgid, flow.end_ns / MS, flow.errno)).collect();
    assert_eq!(ends, [(7, 20, 111), (8, 40, 110)]);
    assert!(bench.table.is_empty());
}

#[test]
fn sequence_numbers_tell_lives_with_one_peer_apart() {
    let (first, second) = (server(), Socket { isn: (5, 6), ..server() });
    let records = [
        (10, first.established()),
        (20, first.close(state::ESTABLISHED, 104, counters(1, 2))),
        (30, second.established()),
        (40, second.close(state::ESTABLISHED, 104, counters(3, 4))),
    ];
    for order in [[0, 3, 2, 1], [3, 0, 2, 1], [3, 0, 1, 2]] {
        let bench = Bench::of(&order.map(|at| records[at]));
        let mut lives: Vec<_> =
            bench.flows.iter().map(|flow| (flow.start_ns / MS, flow.end_ns / MS)).collect();
        lives.sort_unstable();
        assert_eq!(lives, [(10, 20), (30, 40)], "{order:?}");
    }
}

#[test]
fn each_reason_to_wait_waits_in_full() {
    let (old, new) = (server(), Socket { peer: (address(9), 50_000), isn: (5, 6), ..server() });
    let mut bench = Bench::of(&[
        // Waits for its connection until 110.
        (10, old.owner(task(8))),
        (9, old.established()),
        // From here on, waits for its close record until 205.
        (105, new.established()),
    ]);
    bench.advance(150);
    bench.apply(104, &old.close(state::LAST_ACK, 0, counters(1, 2)));
    assert_eq!((bench.only().reason, bench.only().owner), (CloseReason::Closed, task(8)));
}

#[test]
fn a_cycle_is_sorted_before_it_is_joined() {
    let first = client();
    let second = Socket { isn: (333, 444), local: (address(1), 40_001), ..first };
    let mut cycle: Vec<_> = [
        (10, first.open(task(7))),
        (35, second.established()),
        (40, second.close(state::FIN_WAIT2, 0, counters(3, 4))),
        (15, first.established()),
        (20, first.close(state::FIN_WAIT2, 0, counters(1, 2))),
        (30, second.open(task(8))),
    ]
    .map(|(at_ms, event)| (at_ms * MS, event))
    .into();
    let mut bench = Bench::new(Limits::default());
    bench.table.apply_cycle(&mut cycle, &mut bench.flows);
    let starts: Vec<_> =
        bench.flows.iter().map(|flow| (flow.start_ns / MS, flow.owner.tgid, flow.end_ns / MS)).collect();
    assert_eq!(starts, [(10, 7, 20), (30, 8, 40)]);
    assert!(cycle.is_empty() && bench.table.is_empty());
}

#[test]
fn seeds_subtract_what_was_counted_before() {
    let socket = client();
    let mut bench = Bench::of(&[
        (10, socket.seed(state::ESTABLISHED, counters(1_000, 2_000))),
        (20, socket.close(state::FIN_WAIT2, 0, counters(1_500, 2_001))),
    ]);
    bench.advance(120);
    let flow = bench.only();
    assert_eq!((flow.counters.bytes_sent, flow.counters.bytes_received), (500, 1));
    assert_eq!((flow.start_ns, flow.start_observed, flow.counters), (10 * MS, true, flow.delta));
}

#[test]
fn a_seed_after_the_close_still_subtracts() {
    let socket = client();
    let bench = Bench::of(&[
        (20, socket.close(state::FIN_WAIT2, 0, counters(1_500, 2_001))),
        (10, socket.seed(state::ESTABLISHED, counters(1_000, 2_000))),
    ]);
    assert_eq!(bench.only().counters.bytes_sent, 500);
}

#[test]
fn a_seed_of_a_socket_whose_start_was_seen_is_ignored() {
    let socket = client();
    let life = [
        (10, socket.open(task(7))),
        (11, socket.established()),
        (12, socket.seed(state::ESTABLISHED, counters(100, 100))),
        (20, socket.close(state::FIN_WAIT2, 0, counters(500, 900))),
    ];
    // Also when the seed was read first.
    for order in [[0, 1, 2, 3], [2, 0, 1, 3], [2, 1, 0, 3]] {
        let bench = Bench::of(&order.map(|at| life[at]));
        assert_eq!(
            (bench.only().counters, bench.only().start_observed),
            (counters(500, 900), false),
            "{order:?}"
        );
    }
}

#[test]
fn accepted_sockets_take_the_listeners_owner_until_a_definite_one() {
    let socket = server();
    let any = "0.0.0.0".parse().expect("an address");
    let listen = (5, socket.listener(1, any, task(9)));
    let close = (20, socket.close(state::ESTABLISHED, 104, counters(1, 1)));
    let bench = Bench::of(&[listen, (10, socket.established()), close]);
    assert_eq!((bench.only().owner, bench.only().owner_from_listener), (task(9), true));
    // The listen record comes late.
    let bench = Bench::of(&[(10, socket.established()), listen, close]);
    assert_eq!((bench.only().owner, bench.only().owner_from_listener), (task(9), true));
    let definite = (20, socket.close_by(task(8), state::ESTABLISHED, counters(1, 1)));
    let bench = Bench::of(&[listen, (10, socket.established()), definite]);
    assert_eq!((bench.only().owner, bench.only().owner_from_listener), (task(8), false));
    // Two processes share the port: neither is picked. One of them leaves: no doubt is left.
    let other = (6, socket.listener(2, any, task(10)));
    let bench = Bench::of(&[listen, other, (10, socket.established()), close]);
    assert_eq!(bench.only().owner, TaskKey::NONE);
    let gone = (7, TcpEvent::Unlisten { sock: 1 });
    let bench = Bench::of(&[listen, other, gone, (10, socket.established()), close]);
    assert_eq!((bench.only().owner, bench.table.listeners()), (task(10), 1));
    // An exact address goes before the wildcard.
    let exact = (6, socket.listener(3, socket.local.0, task(11)));
    let bench = Bench::of(&[listen, exact, (10, socket.established()), close]);
    assert_eq!(bench.only().owner, task(11));
}

/// MPTCP opens and closes subflows on threads of the kernel, which belong to nobody.
#[test]
fn a_thread_of_the_kernel_owns_nothing() {
    let kworker = TaskKey { exec: 0, ..task(9) };
    let (connecting, accepted) = (client(), server());
    let bench = Bench::of(&[
        (10, connecting.open(kworker)),
        (11, connecting.established()),
        (20, connecting.close_by(kworker, state::FIN_WAIT2, counters(1, 1))),
    ]);
    assert_eq!(bench.only().owner, TaskKey::NONE);
    let life = [
        (10, accepted.established()),
        (19, accepted.owner(kworker)),
        (20, accepted.close(state::LAST_ACK, 0, counters(1, 1))),
    ];
    assert_eq!(Bench::of(&life).only().owner, TaskKey::NONE);
    // Who listens is known all the same, unless that is such a thread too.
    let any = "0.0.0.0".parse().expect("an address");
    for (listening, owner) in [(task(8), task(8)), (kworker, TaskKey::NONE)] {
        let listen = (5, accepted.listener(1, any, listening));
        let bench = Bench::of(&[listen, life[0], life[1], life[2]]);
        assert_eq!((bench.only().owner, bench.only().owner_from_listener), (owner, !owner.is_none()));
    }
}

#[test]
fn listeners_that_cannot_have_accepted_are_not_owners() {
    let socket = server();
    let any = "0.0.0.0".parse().expect("an address");
    let established = (10, socket.established());
    let close = (20, socket.close(state::ESTABLISHED, 104, counters(1, 1)));
    // It began to listen later.
    let late = (15, socket.listener(1, any, task(9)));
    assert_eq!(Bench::of(&[late, established, close]).only().owner, TaskKey::NONE);
    // It stopped before, though the record of that came first.
    let gone = (7, TcpEvent::Unlisten { sock: 1 });
    let listen = (5, socket.listener(1, any, task(9)));
    assert_eq!(Bench::of(&[gone, listen, established, close]).only().owner, TaskKey::NONE);
    // It must have stopped: its address is a connection's now.
    let reused = (8, Socket { sock: 1, peer: (address(9), 9), ..server() }.established());
    let bench = Bench::of(&[listen, reused, established, close]);
    assert_eq!((bench.only().owner, bench.table.listeners()), (TaskKey::NONE, 0));
    // Found at start, owner not known: with another on the same port, neither is picked.
    let TcpEvent::Socket { tuple, ends, .. } = listen.1 else { unreachable!("a listener has addresses") };
    let seeded = TcpEvent::Socket {
        tuple,
        ends,
        what: What::Seed { counters: Counters::default(), inode: 0, task: TaskKey::NONE },
    };
    let other = (6, socket.listener(2, any, task(10)));
    let bench = Bench::of(&[(1, seeded), other, established, close]);
    assert_eq!((bench.only().owner, bench.table.listeners()), (TaskKey::NONE, 2));
}

#[test]
fn listeners_of_the_right_family() {
    let (any4, any6) = ("0.0.0.0".parse().expect("v4"), "::".parse().expect("v6"));
    let socket = server();
    let close = (20, socket.close(state::ESTABLISHED, 104, counters(1, 1)));
    let both = [(4, socket.listener(1, any4, task(4))), (5, socket.listener(2, any6, task(6)))];
    let TcpEvent::Socket { tuple, ends, what } = socket.established() else { unreachable!("it has") };
    for (flags, owner) in [(0, task(4)), (flag::MAPPED, task(6))] {
        let event = TcpEvent::Socket { tuple: Tuple { flags, ..tuple }, ends, what };
        assert_eq!(Bench::of(&[both[0], both[1], (10, event), close]).only().owner, owner);
    }
}

#[test]
fn a_contradiction_makes_the_role_unknown() {
    let socket = Socket { role: role::SERVER, ..client() };
    let bench = Bench::of(&[
        (10, client().open(task(7))),
        (11, socket.established()),
        (12, socket.close(state::FIN_WAIT2, 0, counters(1, 1))),
    ]);
    assert_eq!((bench.only().role, bench.table.counts().contradictions), (Role::Unknown, 1));
}

#[test]
fn an_owner_record_alone_is_dropped() {
    let mut bench = Bench::of(&[(10, server().owner(task(8)))]);
    bench.advance(110);
    assert_eq!((bench.flows.len(), bench.table.len(), bench.table.counts().orphan_owners), (0, 0, 1));
}

#[test]
fn sweeps_report_what_moved_and_the_sum_is_the_total() {
    let socket = client();
    let mut bench = Bench::of(&[(10, socket.open(task(7))), (11, socket.established())]);
    let mut slots = [SweepSlot::default(); 4];
    for (at_ms, total) in [(20, 100), (30, 100), (40, 350)] {
        assert_eq!(bench.table.sweep_batch(&mut slots), 1);
        let asked = slots[0].tuple;
        assert_eq!((asked.sock, asked.base, asked.isn_peer), (socket.sock, 111, 222));
        assert_eq!((asked.local_port, asked.peer_port), (40_000, 80));
        slots[0] =
            SweepSlot { status: sweep::LIVE, counters: socket.counted(counters(total, 0)), ..slots[0] };
        bench.table.apply_sweep(&slots[..1], at_ms * MS, &mut bench.flows);
    }
    bench.apply(50, &socket.close(state::FIN_WAIT2, 0, counters(400, 7)));
    let sent: Vec<_> = bench.flows.iter().map(|flow| (flow.kind, flow.delta.bytes_sent)).collect();
    assert_eq!(sent, [(FlowKind::Live, 100), (FlowKind::Live, 250), (FlowKind::Closed, 50)]);
    assert_eq!(bench.flows[2].counters, counters(400, 7));
}

#[test]
fn a_socket_found_gone_waits_for_its_close_record() {
    let socket = client();
    let mut slots = [SweepSlot::default(); 4];
    let mut bench = Bench::of(&[(10, socket.open(task(7))), (11, socket.established())]);
    assert_eq!(bench.table.sweep_batch(&mut slots), 1);
    // The program writes the identity that it found into the slot.
    slots[0] =
        SweepSlot { status: sweep::GONE, tuple: Tuple { sock: socket.sock, ..Tuple::default() }, ..slots[0] };
    bench.table.apply_sweep(&slots[..1], 20 * MS, &mut bench.flows);
    assert!(bench.flows.is_empty());
    bench.advance(120);
    assert_eq!((bench.only().reason, bench.only().end_ns), (CloseReason::Lost, 20 * MS));
    bench.apply(19, &socket.close(state::FIN_WAIT2, 0, counters(1, 1)));
    bench.advance(1_000);
    assert_eq!((bench.flows.len(), bench.table.counts().late), (1, 1));
}

/// Open seen, established and close lost: its numbers are not known, and a sweep must not wait for ever.
#[test]
fn a_connection_without_numbers_is_over_when_no_connection_is_at_its_address() {
    let socket = client();
    let mut slots = [SweepSlot::default(); 4];
    let mut bench = Bench::of(&[(10, socket.open(task(7)))]);
    // Another connection may have come to the same address.
    let seen = [(state::SYN_SENT, 80), (state::ESTABLISHED, 80), (state::ESTABLISHED, 81)];
    for (round, (state, port)) in seen.into_iter().enumerate() {
        assert!(bench.flows.is_empty() && bench.table.len() == 1, "round {round}");
        assert_eq!(bench.table.sweep_batch(&mut slots), 1, "round {round}");
        // What is there has other numbers than none.
        slots[0].status = sweep::GONE;
        (slots[0].tuple.state, slots[0].tuple.peer_port) = (state, port);
        bench.table.apply_sweep(&slots[..1], (20 + round as u64) * MS, &mut bench.flows);
        bench.advance(21 + round as u64);
    }
    bench.advance(200);
    assert_eq!((bench.only().reason, bench.only().end_ns), (CloseReason::Lost, 22 * MS));
    assert_eq!(bench.table.len(), 0);
}

/// A capture of an agent that did not look at those.
#[test]
fn a_sweep_that_holds_fewer_is_matched_by_address() {
    let (anonymous, known) = (Socket { sock: 0xffff_8880_0000_9000, ..client() }, server());
    let mut slots = [SweepSlot::default(); 4];
    let mut bench = Bench::of(&[(10, anonymous.open(task(7))), (11, known.established())]);
    assert_eq!(bench.table.sweep_batch(&mut slots), 2);
    let recorded = SweepSlot { status: sweep::LIVE, counters: counters(100, 0), ..slots[1] };
    bench.table.apply_sweep(&[recorded], 20 * MS, &mut bench.flows);
    assert_eq!((bench.only().kind, bench.only().local), (FlowKind::Live, known.local));
}

#[test]
fn a_torn_read_proves_nothing() {
    let socket = client();
    let mut slots = [SweepSlot::default(); 4];
    let mut bench = Bench::of(&[(10, socket.open(task(7))), (11, socket.established())]);
    // Torn now and then for a hundred rounds, never reported as over.
    for round in 0..100 {
        assert_eq!(bench.table.sweep_batch(&mut slots), 1, "round {round}");
        let torn = round % 4 != 3;
        slots[0].status = if torn { sweep::TORN } else { sweep::LIVE };
        bench.table.apply_sweep(&slots[..1], (20 + round) * MS, &mut bench.flows);
    }
    bench.advance(1_000);
    assert!(bench.flows.is_empty());
    bench.apply(1_001, &socket.close(state::FIN_WAIT2, 0, counters(4, 7)));
    assert_eq!((bench.only().reason, bench.only().counters), (CloseReason::Closed, counters(4, 7)));
}

#[test]
fn a_connection_that_is_always_at_work_is_not_given_up() {
    let socket = client();
    let mut slots = [SweepSlot::default(); 4];
    let mut bench = Bench::of(&[(10, socket.open(task(7))), (11, socket.established())]);
    for round in 0..20 {
        assert_eq!(bench.table.sweep_batch(&mut slots), 1, "round {round}");
        // The program says what it found: a connection with these ports.
        (slots[0].status, slots[0].tuple.state) = (sweep::TORN, state::ESTABLISHED);
        bench.table.apply_sweep(&slots[..1], (20 + round) * MS, &mut bench.flows);
        bench.table.sweep_batch(&mut slots[..0]);
    }
    bench.advance(1_000);
    assert!(bench.flows.is_empty());
}

#[test]
fn memory_that_is_no_socket_any_more_is_given_up() {
    let socket = client();
    let mut slots = [SweepSlot::default(); 4];
    let mut bench = Bench::of(&[(10, socket.open(task(7))), (11, socket.established())]);
    let mut rounds = 0;
    while bench.table.sweep_batch(&mut slots) == 1 {
        slots[0].status = sweep::TORN;
        rounds += 1;
        bench.table.apply_sweep(&slots[..1], (20 + rounds) * MS, &mut bench.flows);
        bench.table.sweep_batch(&mut slots[..0]);
    }
    bench.advance(1_000);
    assert_eq!((rounds, bench.only().reason, bench.table.counts().lost_close), (4, CloseReason::Lost, 1));
}

#[test]
fn rounds_cover_every_connection_once() {
    let mut bench = Bench::new(Limits::default());
    for at in 0..10_u32 {
        let socket = Socket { sock: 0x1000 + u64::from(at), isn: (at + 1, at + 2), ..server() };
        bench.apply(10 + u64::from(at), &socket.established());
    }
    bench.apply(9, &client().open(task(7)));
    let mut slots = [SweepSlot::default(); 4];
    for _round in 0..3 {
        let mut seen = Vec::new();
        loop {
            let filled = bench.table.sweep_batch(&mut slots);
            seen.extend(slots[..filled].iter().map(|slot| slot.tuple.sock));
            if filled < slots.len() {
                break;
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, (0x1000..0x100a).chain([client().sock]).collect::<Vec<_>>());
    }
}

#[test]
fn a_full_table_gives_up_the_connection_that_changed_longest_ago() {
    let mut bench = Bench::new(Limits { connections: 2, tombstones: 8, ..Limits::default() });
    let sockets = [1_u32, 2, 3].map(|at| Socket { sock: u64::from(at), isn: (at, at + 10), ..server() });
    for (at, socket) in sockets.iter().enumerate() {
        bench.apply(10 + at as u64, &socket.established());
    }
    assert_eq!(bench.only().reason, CloseReason::Lost);
    assert_eq!((bench.table.len(), bench.table.counts().evicted), (2, 1));
    // It was still alive: its close record does not report it twice.
    bench.apply(500, &sockets[0].close(state::ESTABLISHED, 104, counters(1, 1)));
    bench.advance(1_000);
    assert_eq!((bench.flows.len(), bench.table.counts().late), (1, 1));
}

#[test]
fn memory_of_a_burst_is_given_back_once_it_is_over() {
    let mut bench = Bench::new(Limits::default());
    let socket = |at: u64| Socket { sock: 0x1000 + at, ..client() };
    for at in 0..10_000 {
        bench.table.apply(&socket(at).open(task(7)), 10 + at, &mut bench.flows);
    }
    for at in 1..10_000 {
        bench.table.apply(&socket(at).fail(111), 20_000 + at, &mut bench.flows);
    }
    assert!(!bench.table.tidy(), "it was all needed a moment ago");
    assert!(bench.table.tidy());
    assert_eq!((bench.table.len(), bench.table.arena.slots()), (1, 1));
    bench.table.apply(&socket(0).fail(111), 40_000, &mut bench.flows);
    assert_eq!((bench.table.len(), bench.flows.len()), (0, 10_000));
}

#[test]
fn the_stalest_are_shed_reported_and_counted() {
    let mut bench = Bench::new(Limits::default());
    for at in 0..80 {
        let socket = Socket { sock: 0x1000 + at, ..client() };
        bench.table.apply(&socket.open(task(7)), 10 + at, &mut bench.flows);
    }
    bench.table.shed(&mut bench.flows);
    assert_eq!((bench.table.len(), bench.flows.len(), bench.table.counts().shed), (70, 10, 10));
    assert!(bench.flows.iter().all(|flow| flow.start_ns < 20 && flow.reason == CloseReason::Lost));
}
