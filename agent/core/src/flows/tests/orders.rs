//! Every order in which what happens to a socket, its records and a sweep's questions and answers can come:
//! however they fall, the connection is told once and right. No chance, no timing: all orders are played.

use tarsier_abi::tcp::{Counters, SweepSlot, state, sweep};

use super::*;
use crate::event::{CloseReason, FlowKind, Role};

/// What happens, in the kernel or to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The kernel's own, in this order: each leaves a record.
    Opened,
    Established,
    Closed,
    /// The record of one of them is read from its ring.
    Told(usize),
    /// A sweep, in this order: the table asks, the program looks, the table hears.
    Ask,
    Look,
    Hear,
    /// Longer than any record is under way.
    Pause,
}

const KERNEL: [Step; 3] = [Step::Opened, Step::Established, Step::Closed];
const SWEEP: [Step; 3] = [Step::Ask, Step::Look, Step::Hear];
/// Sweeps of a life.
const SWEEPS: usize = 2;

/// How far an order has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    kernel: usize,
    told: [bool; 3],
    /// Steps of sweeps done.
    swept: usize,
    paused: bool,
}

impl Progress {
    /// What can come next.
    fn possible(&self) -> Vec<Step> {
        let mut steps: Vec<_> = KERNEL.get(self.kernel).copied().into_iter().collect();
        steps.extend((0..self.kernel).filter(|&at| !self.told[at]).map(Step::Told));
        if self.swept < SWEEPS * SWEEP.len() {
            steps.push(SWEEP[self.swept % SWEEP.len()]);
        }
        if !self.paused && (0..self.kernel).all(|at| self.told[at]) {
            steps.push(Step::Pause);
        }
        steps
    }

    fn after(mut self, step: Step) -> Self {
        match step {
            Step::Opened | Step::Established | Step::Closed => self.kernel += 1,
            Step::Told(at) => self.told[at] = true,
            Step::Ask | Step::Look | Step::Hear => self.swept += 1,
            Step::Pause => self.paused = true,
        }
        self
    }
}

/// Calls `play` with every order of all steps.
fn every_order(order: &mut Vec<Step>, progress: Progress, play: &mut impl FnMut(&[Step])) {
    let steps = progress.possible();
    if steps.is_empty() {
        play(order);
    }
    for step in steps {
        order.push(step);
        every_order(order, progress.after(step), play);
        order.pop();
    }
}

/// What the program finds where it looks. Bit `nth` of `torn`: that look falls into the midst of a change.
fn look(slot: &mut SweepSlot, socket: &Socket, kernel: usize, counted: u64, torn: bool) {
    // The program says what is there instead.
    (slot.tuple.local_port, slot.tuple.peer_port) = (socket.local.1, socket.peer.1);
    // 1 = SYN_SENT, 2 = ESTABLISHED; before and after, the address is nobody's.
    (slot.tuple.state, slot.status) = match kernel {
        1 => (state::SYN_SENT, if torn { sweep::TORN } else { sweep::GONE }),
        2 if torn => (state::ESTABLISHED, sweep::TORN),
        2 if slot.tuple.isn_peer == socket.isn.1 => (state::ESTABLISHED, sweep::LIVE),
        // The table did not know the numbers yet.
        2 => (state::ESTABLISHED, sweep::GONE),
        _ => (state::CLOSE, sweep::GONE),
    };
    if slot.status == sweep::LIVE {
        slot.counters = socket.counted(counters(counted, counted));
    }
}

/// Plays an order; `lost` is a record that never comes.
fn play(order: &[Step], torn: u8, lost: Option<usize>) -> (Bench, u64) {
    let socket = client();
    let mut bench = Bench::new(Limits::default());
    let mut records: [Option<(u64, TcpEvent)>; 3] = [None; 3];
    let (mut at_ms, mut kernel, mut nth, mut filled, mut seen) = (1, 0, 0, 0, 0);
    let mut slots = [SweepSlot::default(); 2];
    for &step in order {
        at_ms += 1;
        // Traffic goes on all the time.
        let counted = at_ms * 10;
        match step {
            Step::Opened | Step::Established | Step::Closed => {
                let event = match step {
                    Step::Opened => socket.open(task(7)),
                    Step::Established => socket.established(),
                    _ => socket.close(state::FIN_WAIT2, 0, counters(counted, counted)),
                };
                records[kernel] = Some((at_ms, event));
                kernel += 1;
            }
            Step::Told(at) if lost == Some(at) => {}
            Step::Told(at) => {
                let (made_ms, event) = records[at].expect("it has happened");
                bench.apply(made_ms, &event);
            }
            Step::Ask => filled = bench.table.sweep_batch(&mut slots),
            Step::Look => {
                for slot in &mut slots[..filled] {
                    look(slot, &socket, kernel, counted, torn >> nth & 1 != 0);
                    seen = if slot.status == sweep::LIVE { counted } else { seen };
                }
                nth += 1;
            }
            Step::Hear => {
                bench.table.apply_sweep(&slots[..filled], at_ms * MS, &mut bench.flows);
                // The end of the round.
                bench.table.sweep_batch(&mut []);
            }
            Step::Pause => {
                at_ms += 1_000;
                bench.advance(at_ms);
            }
        }
    }
    (bench, seen)
}

/// All orders, each with no look, the first, the second, or both torn.
fn play_all(lost: Option<usize>, check: impl Fn(&mut Bench, u64, &[Step], u8)) -> usize {
    let mut played = 0;
    every_order(&mut Vec::new(), Progress::default(), &mut |order| {
        for torn in 0..4 {
            let (mut bench, seen) = play(order, torn, lost);
            check(&mut bench, seen, order, torn);
            played += 1;
        }
    });
    played
}

/// The sum of what was told of it, and its last report.
fn told(bench: &Bench, order: &[Step]) -> (Counters, Flow) {
    let (last, before) = bench.flows.split_last().unwrap_or_else(|| panic!("nothing told: {order:?}"));
    assert!(before.iter().all(|flow| flow.kind == FlowKind::Live), "told after its end: {order:?}");
    let sum = |of: fn(&Counters) -> u64| bench.flows.iter().map(|flow| of(&flow.delta)).sum();
    let counters = Counters {
        bytes_sent: sum(|delta| delta.bytes_sent),
        bytes_received: sum(|delta| delta.bytes_received),
        ..last.counters
    };
    (counters, last.clone())
}

#[test]
fn a_connection_is_told_once_and_right_in_every_order() {
    let played = play_all(None, |bench, _, order, torn| {
        bench.table.advance(u64::MAX, &mut bench.flows);
        let (sum, last) = told(bench, order);
        let closed = (last.kind, last.reason, last.role, last.owner);
        assert_eq!(
            closed,
            (FlowKind::Closed, CloseReason::Closed, Role::Client, task(7)),
            "{order:?}, torn {torn}"
        );
        assert_eq!(sum, last.counters, "{order:?}, torn {torn}");
        assert_eq!(last.counters.bytes_sent, last.end_ns / MS * 10, "{order:?}, torn {torn}");
        let counts = bench.table.counts();
        assert_eq!((counts.closed, counts.late, counts.lost_close), (1, 0, 0), "{order:?}, torn {torn}");
        assert!(bench.table.is_empty());
    });
    assert!(played > 10_000, "{played} orders");
}

/// Without its close record it is over when a sweep says so or the agent ends, with what was seen last.
#[test]
fn a_connection_whose_close_is_lost_is_told_once_in_every_order() {
    play_all(Some(2), |bench, seen, order, torn| {
        // Whatever the two sweeps missed, a third one finds.
        let mut slots = [SweepSlot::default(); 2];
        let filled = bench.table.sweep_batch(&mut slots);
        for slot in &mut slots[..filled] {
            look(slot, &client(), 3, 0, false);
        }
        bench.table.apply_sweep(&slots[..filled], 3_000 * MS, &mut bench.flows);
        bench.advance(4_000);
        let (sum, last) = told(bench, order);
        let closed = (last.kind, last.reason, last.role);
        assert_eq!(closed, (FlowKind::Closed, CloseReason::Lost, Role::Client), "{order:?}, torn {torn}");
        assert_eq!((sum, last.counters.bytes_sent), (last.counters, seen), "{order:?}, torn {torn}");
        assert!(bench.table.is_empty(), "{order:?}, torn {torn}");
    });
}
