//! Role and payload from what the kernel's numbers can and cannot prove.

use tarsier_abi::tcp::{Counters, SweepSlot, Tuple, flag, role, state, sweep};

use super::*;
use crate::event::{CloseReason, Role};

fn established(socket: &Socket, told: u8, flags: u8) -> TcpEvent {
    let tuple = Tuple { role: told, flags, ..socket.tuple(state::ESTABLISHED) };
    socket.event(tuple, What::Established { srtt_us: 0 })
}

fn close(socket: &Socket, told: u8, left: u8, counters: Counters) -> TcpEvent {
    let tuple = Tuple { role: told, ..socket.tuple(left) };
    socket.event(tuple, What::Close { task: None, counters })
}

/// Ten bytes that the device refused three times, then took.
#[test]
fn what_is_counted_more_than_once_is_one_payload() {
    for (socket, syn) in [(client(), 1), (server(), 0)] {
        let refused = Counters { bytes_sent: 30, extra: syn - 30, ..counters(0, 0) };
        let taken = Counters { bytes_sent: 40, extra: syn - 30, ..counters(0, 3) };
        let mut bench = Bench::of(&[(11, established(&socket, socket.role, 0))]);
        let mut slots = [SweepSlot::default(); 1];
        assert_eq!(bench.table.sweep_batch(&mut slots), 1);
        slots[0] = SweepSlot { status: sweep::LIVE, counters: refused, ..slots[0] };
        bench.table.apply_sweep(&slots, 12 * MS, &mut bench.flows);
        bench.apply(20, &close(&socket, role::UNKNOWN, state::FIN_WAIT2, taken));
        bench.advance(200);
        let sent: Vec<_> = bench.flows.iter().map(|flow| flow.delta.bytes_sent).collect();
        assert_eq!(sent, [0, 10]);
        assert_eq!((bench.flows[1].counters.bytes_sent, bench.flows[1].counters.extra), (10, 0));
    }
}

/// One byte counted twice makes the numbers of a client those of a server. The handshake told better.
#[test]
fn the_handshake_tells_the_role_and_later_sums_do_not_change_it() {
    let socket = client();
    let records = [
        (10, socket.open(task(7))),
        (11, established(&socket, role::CLIENT, 0)),
        (20, close(&socket, role::SERVER, state::FIN_WAIT2, Counters { extra: 0, ..counters(2, 0) })),
    ];
    for order in [[0, 1, 2], [2, 1, 0], [0, 2, 1]] {
        let bench = Bench::of(&order.map(|at| records[at]));
        let flow = bench.only();
        assert_eq!(
            (flow.role, flow.isn, flow.counters.bytes_sent),
            (Role::Client, (111, 222), 1),
            "{order:?}"
        );
        assert_eq!(bench.table.counts().contradictions, 0);
    }
}

#[test]
fn where_both_connected_nobody_is_the_client() {
    let socket = client();
    let records = [
        (10, socket.open(task(7))),
        (11, established(&socket, role::UNKNOWN, flag::CROSSED)),
        (20, close(&socket, role::CLIENT, state::FIN_WAIT2, socket.counted(counters(5, 6)))),
    ];
    for order in [[0, 1, 2], [2, 1, 0]] {
        let bench = Bench::of(&order.map(|at| records[at]));
        let flow = bench.only();
        assert_eq!((flow.role, flow.owner, flow.start_observed), (Role::Unknown, task(7), false));
        assert_eq!((flow.counters, flow.start_ns), (counters(5, 6), 10 * MS));
    }
    // A socket may even connect to itself: its addresses tell, if nothing else does.
    let itself = Socket { peer: socket.local, ..socket };
    let mut bench =
        Bench::of(&[(10, itself.open(task(7))), (20, itself.close(state::FIN_WAIT2, 0, counters(5, 5)))]);
    bench.advance(200);
    assert_eq!((bench.only().role, bench.only().counters), (Role::Unknown, counters(5, 5)));
}

/// Without the record of the handshake, the sums of a connection whose SYNs crossed are a client's.
#[test]
fn a_lost_handshake_leaves_the_role_open_where_syns_may_have_crossed() {
    let socket = client();
    let TcpEvent::Socket { tuple, ends, what } = socket.open(task(7)) else {
        unreachable!("it has addresses")
    };
    let bound = Tuple { local_port: socket.local.1, ..tuple };
    let close = socket.close(state::FIN_WAIT2, 0, counters(5, 6));
    for (tuple, role) in [(tuple, Role::Client), (bound, Role::Unknown)] {
        let mut bench = Bench::of(&[(10, TcpEvent::Socket { tuple, ends, what }), (20, close)]);
        bench.advance(200);
        assert_eq!((bench.only().role, bench.only().counters), (role, counters(5, 6)));
    }
    // Nothing of its beginning was told: nobody knows whether it was bound.
    let mut bench = Bench::of(&[(20, close)]);
    bench.advance(200);
    assert_eq!((bench.only().role, bench.only().counters), (Role::Unknown, counters(5, 6)));
}

/// The same of a connection older than the agent, until a record of its handshake comes after all.
#[test]
fn an_older_connection_from_a_bound_port_has_no_role_until_it_is_told() {
    let socket = client();
    let close = socket.close(state::FIN_WAIT2, 0, counters(15, 30));
    let told = established(&socket, role::CLIENT, 0);
    for (flags, in_state, established, role) in [
        (0, state::ESTABLISHED, None, Role::Client),
        (flag::BOUND, state::ESTABLISHED, None, Role::Unknown),
        (flag::BOUND, state::SYN_SENT, None, Role::Unknown),
        (flag::BOUND, state::SYN_SENT, Some((11, told)), Role::Client),
    ] {
        let TcpEvent::Socket { tuple, ends, what } = socket.seed(in_state, counters(10, 20)) else {
            unreachable!("it has addresses")
        };
        let seed = TcpEvent::Socket { tuple: Tuple { flags, ..tuple }, ends, what };
        let events: Vec<_> = [(10, seed)].into_iter().chain(established).chain([(20, close)]).collect();
        let mut bench = Bench::of(&events);
        bench.advance(200);
        assert_eq!(bench.only().role, role, "{flags} {in_state}");
        assert_eq!(bench.only().counters.bytes_sent, 5);
    }
}

/// `listen(…, 0)`: an accepted socket has no backlog of its listener's to show, but there is the listener.
#[test]
fn a_socket_found_where_somebody_listens_was_accepted() {
    let socket = Socket { role: role::UNKNOWN, isn: (223, 111), ..server() };
    let seed = socket.seed(state::ESTABLISHED, counters(10, 20));
    let close = socket.close(state::LAST_ACK, 0, counters(15, 30));
    let listen = socket.listener(1, socket.local.0, task(9));
    for (listens, role) in [(true, Role::Server), (false, Role::Unknown)] {
        let first = listens.then_some((1, listen));
        let events: Vec<_> = first.into_iter().chain([(10, seed), (20, close)]).collect();
        let mut bench = Bench::of(&events);
        bench.advance(200);
        assert_eq!((bench.only().role, bench.only().counters.bytes_sent), (role, 5), "{listens}");
    }
    // One more than was sent: it connected, whoever listens there as well.
    let extra = Counters { extra: 1, ..counters(10, 20) };
    let TcpEvent::Socket { tuple, ends, .. } = seed else { unreachable!("it has addresses") };
    let what = What::Seed { counters: extra, inode: 0, task: TaskKey::NONE };
    let mut bench = Bench::of(&[(1, listen), (10, TcpEvent::Socket { tuple, ends, what }), (20, close)]);
    bench.advance(200);
    assert_eq!(bench.only().role, Role::Unknown);
}

/// Ten bytes were in its send queue when it was put back: its sequence numbers hold them, its counters not.
#[test]
fn a_restored_socket_has_no_role_and_counts_what_it_was_given() {
    let socket = client();
    let totals = Counters { bytes_sent: 25, extra: 10, ..counters(0, 15) };
    let bench = Bench::of(&[
        (10, socket.open(task(7))),
        (10, established(&socket, role::UNKNOWN, flag::RESTORED)),
        (20, close(&socket, role::UNKNOWN, state::FIN_WAIT2, totals)),
    ]);
    let flow = bench.only();
    assert_eq!((flow.role, flow.reason, flow.counters.bytes_sent), (Role::Unknown, CloseReason::Closed, 35));
}

/// Without a record of the handshake, the counters stand as long as they can be right.
#[test]
fn an_unknown_role_takes_no_byte_off() {
    for (extra, sent) in [(0, 100), (1, 100), (-40, 60), (41, 140)] {
        let totals = Counters { extra, ..counters(100, 0) };
        let mut bench = Bench::of(&[(20, close(&server(), role::UNKNOWN, state::ESTABLISHED, totals))]);
        bench.advance(200);
        assert_eq!((bench.only().role, bench.only().counters.bytes_sent), (Role::Unknown, sent), "{extra}");
    }
}

/// The sweep recognises a connection by numbers that need no role.
#[test]
fn a_connection_without_a_role_is_swept() {
    let socket = client();
    let mut bench = Bench::of(&[(11, established(&socket, role::UNKNOWN, flag::CROSSED))]);
    let mut slots = [SweepSlot::default(); 1];
    assert_eq!(bench.table.sweep_batch(&mut slots), 1);
    assert_eq!((slots[0].tuple.base, slots[0].tuple.isn_peer), (111, 222));
}

/// The kernel's port at connect is not chosen yet, and two connections of one socket have one address.
#[test]
fn a_socket_that_connects_again_has_two_lives() {
    let first = client();
    let second = Socket { local: (address(1), 40_001), peer: (address(3), 81), isn: (5, 6), ..first };
    let bench = Bench::of(&[
        (10, first.open(task(7))),
        (11, first.established()),
        (20, first.close(state::ESTABLISHED, 0, counters(7, 8))),
        (21, second.open(task(7))),
        (22, second.established()),
        (30, second.close(state::FIN_WAIT2, 0, counters(1, 2))),
    ]);
    let told: Vec<_> = bench.flows.iter().map(|flow| (flow.peer.1, flow.counters, flow.reason)).collect();
    assert_eq!(told, [(80, counters(7, 8), CloseReason::Reset), (81, counters(1, 2), CloseReason::Closed)]);
}
