//! Random lives of a few socket addresses, with records lost, late and out of order, swept at
//! random times, against what was made up: the lives themselves.

use std::collections::BTreeMap;

use proptest::prelude::*;
use tarsier_abi::tcp::{Counters, SweepSlot, role, state, sweep};

use super::*;
use crate::event::{CloseReason, FlowKind, Role};

/// Records are late by less than this.
const JITTER: u64 = 50 * MS;

/// What proptest chooses of a life.
#[derive(Clone, Debug)]
struct Plan {
    kind: u8,
    gaps: [u64; 4],
    sent: u32,
    received: u32,
    /// One bit for each record: lost.
    lost: u8,
    late: [u64; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Client,
    Refused,
    Server,
    ServerReset,
    HalfOpen,
    Seeded,
}

impl Kind {
    fn of(plan: &Plan, first: bool) -> Self {
        match plan.kind {
            0 => Self::Client,
            1 => Self::Refused,
            2 => Self::Server,
            3 => Self::ServerReset,
            4 => Self::HalfOpen,
            _ if first => Self::Seeded,
            _ => Self::Client,
        }
    }

    /// Totals at the seed, and at the end.
    fn counters(self, plan: &Plan) -> (Counters, Counters) {
        let (sent, received) = (u64::from(plan.sent), u64::from(plan.received));
        match self {
            Self::Refused | Self::HalfOpen => (Counters::default(), Counters::default()),
            Self::Seeded => (counters(5_000, 6_000), counters(5_000 + sent, 6_000 + received)),
            _ => (Counters::default(), counters(sent, received)),
        }
    }

    /// The records that the kernel side makes of such a life.
    fn records(
        self,
        socket: &Socket,
        owner: u32,
        [a, b, c, d]: [u64; 4],
        (baseline, total): (Counters, Counters),
    ) -> Vec<(u64, TcpEvent)> {
        let by = task(owner);
        let fin = socket.close(state::FIN_WAIT2, 0, total);
        match self {
            Self::Client => vec![(a, socket.open(by)), (b, socket.established()), (d, fin)],
            Self::Refused => vec![(a, socket.open(by)), (d, socket.fail(111))],
            Self::Server => vec![
                (a, socket.established()),
                (c, socket.owner(by)),
                (d, socket.close(state::LAST_ACK, 0, total)),
            ],
            Self::ServerReset => {
                vec![(a, socket.established()), (d, socket.close(state::ESTABLISHED, 104, total))]
            }
            Self::HalfOpen => vec![(d, socket.close(state::SYN_RECV, 104, total))],
            Self::Seeded => vec![(a, socket.seed(state::ESTABLISHED, baseline)), (d, fin)],
        }
    }
}

/// A life as it was: the truth.
#[derive(Clone, Debug)]
struct Life {
    kind: Kind,
    socket: Socket,
    owner: u32,
    begin_ns: u64,
    close_ns: u64,
    /// Totals at the seed, and at the end.
    baseline: Counters,
    total: Counters,
    /// Every record was delivered.
    whole: bool,
    has_close: bool,
    /// A record with addresses was delivered.
    has_ends: bool,
}

impl Life {
    fn base(&self) -> u32 {
        self.socket.tuple(state::ESTABLISHED).base
    }
}

struct Delivery {
    at_ns: u64,
    arrives_ns: u64,
    event: TcpEvent,
}

#[derive(Clone, Copy, Debug)]
struct Mode {
    /// Records come one by one and late; else by cycles, sorted.
    jitter: bool,
    lossy: bool,
    /// All clients connect to one address and port.
    same_peer: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    (
        0..6_u8,
        prop::array::uniform4(1..30_u64),
        0..10_000_u32,
        0..10_000_u32,
        prop_oneof![3 => Just(0_u8), 1 => any::<u8>()],
        prop::array::uniform4(0..JITTER),
    )
        .prop_map(|(kind, gaps, sent, received, lost, late)| Plan {
            kind,
            gaps,
            sent,
            received,
            lost,
            late,
        })
}

fn addresses() -> impl Strategy<Value = Vec<Vec<Plan>>> {
    prop::collection::vec(prop::collection::vec(plan(), 1..8), 1..4)
}

fn mode() -> impl Strategy<Value = Mode> {
    // Only time tells lives with the same peer apart, and only if none of their records is lost.
    prop_oneof![
        Just(Mode { jitter: false, lossy: false, same_peer: true }),
        Just(Mode { jitter: false, lossy: true, same_peer: false }),
        Just(Mode { jitter: true, lossy: false, same_peer: false }),
        Just(Mode { jitter: true, lossy: true, same_peer: false }),
    ]
}

/// The world: lives by number, and their records in order of arrival.
struct World {
    lives: Vec<Life>,
    deliveries: Vec<Delivery>,
    end_ns: u64,
}

impl World {
    fn new(addresses: &[Vec<Plan>], mode: Mode) -> Self {
        let mut world = Self { lives: Vec::new(), deliveries: Vec::new(), end_ns: 0 };
        for (at, plans) in addresses.iter().enumerate() {
            let sock = 0x1000 + at as u64;
            let mut now_ns = 1_000 * MS + at as u64;
            for (nth, plan) in plans.iter().enumerate() {
                now_ns = world.live(sock, now_ns, plan, nth == 0, mode);
            }
            world.end_ns = world.end_ns.max(now_ns);
        }
        // A last whole life of every address ends whatever was left of the lives before.
        let (end_ns, calm) = (world.end_ns, Mode { lossy: false, ..mode });
        for at in 0..addresses.len() as u64 {
            let last = Plan { kind: 2, gaps: [300; 4], sent: 1, received: 1, lost: 0, late: [0; 4] };
            let done_ns = world.live(0x1000 + at, end_ns + at, &last, false, calm);
            world.end_ns = world.end_ns.max(done_ns);
        }
        world.deliveries.sort_by_key(|delivery| delivery.arrives_ns);
        world
    }

    /// Makes up one life from `now_ns` on; returns when it is over.
    fn live(&mut self, sock: u64, now_ns: u64, plan: &Plan, first: bool, mode: Mode) -> u64 {
        let kind = Kind::of(plan, first);
        let number = self.lives.len() as u16 + 1_000;
        let isn = (u32::from(number) * 7, u32::from(number) * 13);
        let connects = matches!(kind, Kind::Client | Kind::Refused | Kind::Seeded);
        let peer_port = if connects && mode.same_peer { 443 } else { number };
        let socket = Socket {
            sock,
            local: (address(1), if connects { number } else { 80 }),
            peer: (address(2), peer_port),
            role: if connects { role::CLIENT } else { role::SERVER },
            isn,
        };
        let owner = u32::from(number);
        let mut times = [0; 4];
        let mut at_ns = now_ns;
        for (time, gap) in times.iter_mut().zip(plan.gaps) {
            at_ns += gap * MS;
            *time = at_ns;
        }
        let (baseline, total) = kind.counters(plan);
        let records = kind.records(&socket, owner, times, (baseline, total));
        let [a, _, _, d] = times;
        let mut life = Life {
            kind,
            socket,
            owner: if matches!(kind, Kind::ServerReset | Kind::Seeded) { 0 } else { owner },
            begin_ns: a,
            close_ns: d,
            baseline,
            total,
            whole: true,
            has_close: false,
            has_ends: false,
        };
        for (nth, (at_ns, event)) in records.into_iter().enumerate() {
            let seed = kind == Kind::Seeded && nth == 0;
            if mode.lossy && !seed && plan.lost & (1 << nth) != 0 {
                life.whole = false;
                continue;
            }
            life.has_close |= at_ns == d;
            life.has_ends |= matches!(event, TcpEvent::Socket { .. });
            // The iterator's file is read while it is written.
            let late_ns = if mode.jitter && !seed { plan.late[nth] } else { 0 };
            self.deliveries.push(Delivery { at_ns, arrives_ns: at_ns + late_ns, event });
        }
        self.lives.push(life);
        d
    }

    /// What the sweep program would find: of another connection than the one asked for, its state and ports.
    fn look(&self, slot: &SweepSlot, now_ns: u64, torn: bool) -> SweepSlot {
        let living = self.lives.iter().find(|life| {
            life.socket.sock == slot.tuple.sock && (life.begin_ns..life.close_ns).contains(&now_ns)
        });
        let Some(life) = living else {
            return SweepSlot { status: sweep::GONE, ..*slot };
        };
        if (life.base(), life.socket.isn.1) != (slot.tuple.base, slot.tuple.isn_peer) {
            let mut found = SweepSlot { status: sweep::GONE, ..*slot };
            found.tuple.state = state::ESTABLISHED;
            (found.tuple.local_port, found.tuple.peer_port) = (life.socket.local.1, life.socket.peer.1);
            return found;
        }
        if torn {
            return SweepSlot { status: sweep::TORN, ..*slot };
        }
        let share = |from: u64, to: u64| {
            from + (to - from) * (now_ns - life.begin_ns) / (life.close_ns - life.begin_ns)
        };
        let present = Counters {
            bytes_sent: share(life.baseline.bytes_sent, life.total.bytes_sent),
            bytes_received: share(life.baseline.bytes_received, life.total.bytes_received),
            ..life.baseline
        };
        SweepSlot { status: sweep::LIVE, counters: life.socket.counted(present), ..*slot }
    }

    fn of(&self, flow: &Flow) -> &Life {
        let port = if flow.peer.1 == 443 { flow.local.1 } else { flow.peer.1 };
        &self.lives[usize::from(port) - 1_000]
    }
}

/// Plays the world's records to a table, sweeping now and then.
fn play(world: &World, mode: Mode, limits: Limits, cycle_ms: u64) -> Bench {
    let mut bench = Bench::new(limits);
    let mut cycle = Vec::new();
    let (mut due_ns, mut sweeps) = (0, 0);
    for delivery in &world.deliveries {
        if delivery.arrives_ns > due_ns {
            let now_ns = delivery.arrives_ns - 1;
            // Shuffled, as if from several rings: newest first is the worst order.
            cycle.reverse();
            bench.table.apply_cycle(&mut cycle, &mut bench.flows);
            let sure_ns = if mode.jitter { now_ns - JITTER } else { now_ns };
            bench.table.advance(sure_ns, &mut bench.flows);
            sweep_all(world, &mut bench, now_ns, sweeps);
            sweeps += 1;
            bench.table.compact();
            assert_eq!(bench.table.arena.slots(), bench.table.len());
            due_ns = delivery.arrives_ns + cycle_ms * MS;
        }
        if mode.jitter {
            bench.table.apply(&delivery.event, delivery.at_ns, &mut bench.flows);
        } else {
            cycle.push((delivery.at_ns, delivery.event));
        }
        assert!(bench.table.len() <= limits.connections);
    }
    bench.table.apply_cycle(&mut cycle, &mut bench.flows);
    bench.table.advance(world.end_ns + 1_000 * MS, &mut bench.flows);
    bench
}

/// The `nth` sweep; each connection is read torn by one in three.
fn sweep_all(world: &World, bench: &mut Bench, now_ns: u64, nth: u32) {
    let mut slots = [SweepSlot::default(); 2];
    loop {
        let filled = bench.table.sweep_batch(&mut slots);
        for slot in &mut slots[..filled] {
            *slot = world.look(slot, now_ns, (slot.tuple.base + nth).is_multiple_of(3));
        }
        bench.table.apply_sweep(&slots[..filled], now_ns, &mut bench.flows);
        if filled < slots.len() {
            return;
        }
    }
}

/// (reports of the end, sum of sent deltas, of received ones, of sent segments) by life.
fn sums(world: &World, flows: &[Flow]) -> BTreeMap<u16, (u32, u64, u64, u32)> {
    let mut sums = BTreeMap::new();
    for flow in flows {
        let life = world.of(flow);
        let number = life.socket.isn.0 / 7;
        let sum: &mut (u32, u64, u64, u32) = sums.entry(number as u16).or_default();
        assert_eq!(sum.0, 0, "a report after the last one: {flow:#?}");
        sum.0 += u32::from(flow.kind == FlowKind::Closed);
        sum.1 += flow.delta.bytes_sent;
        sum.2 += flow.delta.bytes_received;
        sum.3 += flow.delta.segments_sent;
        let counted = (flow.counters.bytes_sent, flow.counters.bytes_received, flow.counters.segments_sent);
        assert_eq!(counted, (sum.1, sum.2, sum.3), "deltas add up: {flow:#?}");
    }
    sums
}

fn check_closed(life: &Life, flow: &Flow) {
    assert_eq!((flow.end_ns, flow.peer), (life.close_ns, life.socket.peer));
    let reason = match life.kind {
        Kind::Refused => CloseReason::Refused,
        Kind::ServerReset => CloseReason::Reset,
        _ => CloseReason::Closed,
    };
    assert_eq!(flow.reason, reason);
    let total = (life.total.bytes_sent, life.total.bytes_received);
    let before = (life.baseline.bytes_sent, life.baseline.bytes_received);
    assert_eq!((flow.counters.bytes_sent + before.0, flow.counters.bytes_received + before.1), total);
    if life.whole {
        assert_eq!((flow.start_ns, flow.start_observed), (life.begin_ns, life.kind == Kind::Seeded));
        let server = matches!(life.kind, Kind::Server | Kind::ServerReset);
        assert_eq!(flow.role, if server { Role::Server } else { Role::Client });
    }
}

/// The property below found it: of one life only the owner record arrived, of the next one the close record first,
/// then its owner's; the established record went to the latter alone, and the life was told twice.
#[test]
fn an_established_record_goes_to_the_life_that_knows_its_ends() {
    let plan = |lost, late| Plan { kind: 2, gaps: [1; 4], sent: 0, received: 0, lost, late };
    let addresses = [vec![plan(0b101, [0; 4]), plan(0, [18_278_718, 10_158_355, 0, 0])]];
    let mode = Mode { jitter: true, lossy: true, same_peer: false };
    let world = World::new(&addresses, mode);
    let bench = play(&world, mode, Limits::default(), 1);
    // Asserts that nothing is reported after a life's end.
    let sums = sums(&world, &bench.flows);
    assert_eq!(sums.keys().copied().collect::<Vec<_>>(), [1_001, 1_002]);
    assert!(bench.flows.iter().all(|flow| flow.reason == CloseReason::Closed));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Every connection is reported as over exactly once, with the right sums, start, reason and
    /// owner; nothing is left in the table.
    #[test]
    fn lives_are_reported_once_and_right(addresses in addresses(), mode in mode(), cycle_ms in 1..40_u64) {
        let world = World::new(&addresses, mode);
        let bench = play(&world, mode, Limits::default(), cycle_ms);
        let sums = sums(&world, &bench.flows);
        let closed: BTreeMap<u16, &Flow> = bench
            .flows
            .iter()
            .filter(|flow| flow.kind == FlowKind::Closed)
            .map(|flow| ((world.of(flow).socket.isn.0 / 7) as u16, flow))
            .collect();
        for (at, life) in world.lives.iter().enumerate() {
            let number = at as u16 + 1_000;
            let expected = u32::from(life.has_ends && life.kind != Kind::HalfOpen);
            prop_assert_eq!(sums.get(&number).map_or(0, |sum| sum.0), expected, "{:#?}", life);
            let Some(flow) = closed.get(&number) else { continue };
            if !life.has_close {
                prop_assert_eq!(flow.reason, CloseReason::Lost);
                continue;
            }
            check_closed(life, flow);
            // Owner records carry no addresses: one that precedes a lost record may go astray.
            if !mode.lossy {
                prop_assert_eq!(flow.owner.tgid, life.owner);
            }
        }
        prop_assert!(bench.table.is_empty(), "{} left", bench.table.len());
        prop_assert_eq!(bench.table.counts().closed, closed.len() as u64);
    }

    /// A table that is much too small reports no connection twice and keeps its bound. (Records in
    /// order: one memory for each address is not enough for lives evicted out of order.)
    #[test]
    fn a_small_table_stays_small(addresses in addresses(), lossy: bool, cycle_ms in 1..40_u64) {
        let mode = Mode { jitter: false, lossy, same_peer: false };
        let world = World::new(&addresses, mode);
        let bench = play(&world, mode, Limits { connections: 2, ..Limits::default() }, cycle_ms);
        sums(&world, &bench.flows);
        prop_assert!(bench.table.len() <= 2);
    }
}
