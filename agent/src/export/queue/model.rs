//! The queue under loom: every order in which its threads can take their steps. At the end of each execution
//! nothing waits for a ring that came, the byte bound held in every snapshot, and every item that was
//! pushed was taken or dropped for a named cause. The last tests break a lock and a bell and demand that the
//! checker notices.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::ops::{Deref, DerefMut};
use std::pin::pin;
use std::sync::{Arc, Mutex as StdMutex};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use loom::sync::{Mutex, MutexGuard};
use loom::thread;

use super::*;
use crate::export::Counts;

/// A lock that looks at the state whenever it is released.
struct Checked(Mutex<State>);

struct CheckedGuard<'a>(MutexGuard<'a, State>);

impl Lock<State> for Checked {
    type Guard<'a> = CheckedGuard<'a>;

    fn new(state: State) -> Self {
        Self(Mutex::new(state))
    }

    fn lock(&self) -> CheckedGuard<'_> {
        CheckedGuard(self.0.lock().expect("not poisoned"))
    }
}

impl Deref for CheckedGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.0
    }
}

impl DerefMut for CheckedGuard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.0
    }
}

impl Drop for CheckedGuard<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.bytes() <= self.max_bytes, "above the bound: {:?}", *self.0);
            assert!(self.ledger.signals.iter().all(Counts::balanced), "out of balance: {:?}", *self.0);
        }
    }
}

/// A fault: hands out a copy and writes it back at the end, instead of keeping others away.
struct Torn(Mutex<State>);

struct TornGuard<'a> {
    lock: &'a Torn,
    copy: State,
}

impl Lock<State> for Torn {
    type Guard<'a> = TornGuard<'a>;

    fn new(state: State) -> Self {
        Self(Mutex::new(state))
    }

    fn lock(&self) -> TornGuard<'_> {
        TornGuard { lock: self, copy: self.0.lock().expect("not poisoned").clone() }
    }
}

impl Deref for TornGuard<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        &self.copy
    }
}

impl DerefMut for TornGuard<'_> {
    fn deref_mut(&mut self) -> &mut State {
        &mut self.copy
    }
}

impl Drop for TornGuard<'_> {
    fn drop(&mut self) {
        *self.lock.0.lock().expect("not poisoned") = self.copy.clone();
    }
}

/// What tokio's `Notify` promises for one waiter: a ring is kept until it is heard. With `KEEPS` false
/// it is heard only by who listens already: the fault.
#[derive(Default)]
struct ModelBell<const KEEPS: bool>(Mutex<Rung>);

#[derive(Default)]
struct Rung {
    rung: bool,
    listener: Option<Waker>,
}

impl<const KEEPS: bool> Bell for ModelBell<KEEPS> {
    fn ring(&self) {
        let mut bell = self.0.lock().expect("not poisoned");
        bell.rung |= KEEPS || bell.listener.is_some();
        if let Some(listener) = bell.listener.take() {
            listener.wake();
        }
    }

    fn rung(&self) -> impl Future<Output = ()> + Send {
        poll_fn(|context: &mut Context<'_>| {
            let mut bell = self.0.lock().expect("not poisoned");
            if std::mem::take(&mut bell.rung) {
                return Poll::Ready(());
            }
            bell.listener = Some(context.waker().clone());
            Poll::Pending
        })
    }
}

/// Unparks the thread that runs a task.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a task on this thread. Loom's own holds one of loom's `Arc` meanwhile, whose drop panics once more
/// when a deadlock, which one test is after, unwinds the thread.
fn block_on<T>(task: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut task = pin!(task);
    loop {
        if let Poll::Ready(value) = task.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park();
    }
}

type Sound = Queue<Checked, ModelBell<true>>;

const BODY: usize = 10;
const COST: usize = BODY + BATCH_OVERHEAD;

fn batch(signal: Signal, items: u32) -> Batch {
    Batch { signal, body: Bytes::from_static(&[0; BODY]), items }
}

/// Every order of the steps; with `Some(n)`, those with at most n switches away from a thread that could go
/// on. What `run` returned, in any order.
fn explore(switches: Option<usize>, run: impl Fn() -> u64 + Send + Sync + 'static) -> BTreeSet<u64> {
    let outcomes = Arc::new(StdMutex::new(BTreeSet::new()));
    let inner = Arc::clone(&outcomes);
    let mut model = loom::model::Builder::new();
    model.preemption_bound = switches;
    model.check(move || {
        let outcome = run();
        inner.lock().expect("nobody panics under the lock").insert(outcome);
    });
    std::mem::take(&mut outcomes.lock().expect("nobody panics under the lock"))
}

/// A worker: takes and settles until there is no more; returns the items it took.
fn work<L: Lock<State>, B: Bell>(queue: &Queue<L, B>, signal: Signal) -> u64 {
    let mut taken = 0;
    while let Some(batch) = block_on(queue.pop(signal)) {
        taken += u64::from(batch.items);
        queue.settle(&batch, Outcome::Sent { rejected: 0 });
    }
    taken
}

/// What holds when the workers have gone home: the queue is empty, and `taken` of `pushed` items were
/// taken, the others dropped for a cause.
fn check_end<L: Lock<State>, B: Bell>(queue: &Queue<L, B>, signal: Signal, pushed: u64, taken: u64) {
    let snapshot = queue.snapshot();
    let counts = snapshot.of(signal);
    assert_eq!((snapshot.queue_bytes, counts.queued, counts.in_flight), (0, 0, 0));
    assert_eq!((counts.enqueued, counts.sent), (pushed, taken));
    assert_eq!(taken + counts.dropped_total(), pushed);
}

/// A worker against a producer that pushes one item, then two, and closes. Returns what the worker took.
fn push_twice_and_close<L, B>(max_bytes: usize) -> u64
where
    L: Lock<State> + Send + Sync + 'static,
    B: Bell + Send + Sync + 'static,
{
    let queue = Arc::new(Queue::<L, B>::meeting_at(max_bytes));
    let worker = {
        let queue = Arc::clone(&queue);
        thread::spawn(move || work(&queue, Signal::Logs))
    };
    for items in [1, 2] {
        // Refused if the first fills the queue while it is in flight: in the ledger, like all else.
        let _ = queue.push(batch(Signal::Logs, items), BODY);
    }
    queue.close();
    let taken = worker.join().expect("the worker");
    check_end(&queue, Signal::Logs, 3, taken);
    taken
}

#[test]
fn what_is_pushed_is_taken_before_the_worker_goes_home() {
    let taken = explore(None, || push_twice_and_close::<Checked, ModelBell<true>>(2 * COST));
    assert_eq!(taken, [3].into(), "nothing is dropped where there is room");
}

#[test]
fn a_full_queue_drops_by_cause_and_keeps_its_bound() {
    let taken = explore(None, || push_twice_and_close::<Checked, ModelBell<true>>(COST));
    assert_eq!(
        taken,
        [1, 2, 3].into(),
        "the second was refused; the first was evicted; there was time for both"
    );
}

/// All 271,149 executions were explored once without a fault (27 s); most orders show with fewer switches.
#[test]
fn two_producers_and_a_close_between_them() {
    let taken = explore(Some(4), || {
        let queue = Arc::new(Sound::meeting_at(10 * COST));
        let other = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.push(batch(Signal::Traces, 4), BODY).is_err())
        };
        let worker = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || work(&queue, Signal::Traces))
        };
        queue.push(batch(Signal::Traces, 1), BODY).expect("open");
        queue.close();
        let refused = other.join().expect("the producer");
        let taken = worker.join().expect("the worker");
        assert_eq!(refused, taken == 1, "what was accepted is taken");
        check_end(&queue, Signal::Traces, 5, taken);
        taken
    });
    assert_eq!(taken, [1, 5].into());
}

/// The worker sits out a pause, which ends by the clock (the future is dropped) or by the close.
#[test]
fn a_worker_that_sits_out_a_pause_misses_neither_batch_nor_close() {
    for by_clock in [false, true] {
        let taken = explore(None, move || {
            let queue = Arc::new(Sound::meeting_at(10 * COST));
            let worker = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || {
                    if by_clock {
                        let mut closed = pin!(queue.closed(Signal::Logs));
                        let _ = closed.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    } else {
                        block_on(queue.closed(Signal::Logs));
                    }
                    work(&queue, Signal::Logs)
                })
            };
            queue.push(batch(Signal::Logs, 1), BODY).expect("open");
            queue.close();
            let taken = worker.join().expect("the worker");
            check_end(&queue, Signal::Logs, 1, taken);
            taken
        });
        assert_eq!(taken, [1].into());
    }
}

/// A producer that waits for room, as a replay does, has nothing dropped. Every execution was explored once
/// without a fault (13 s).
#[test]
fn a_patient_producer_loses_nothing() {
    let taken = explore(Some(4), || {
        let queue = Arc::new(Sound::meeting_at(COST));
        let worker = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || work(&queue, Signal::Logs))
        };
        for items in [1, 2] {
            block_on(queue.room(BODY));
            queue.push(batch(Signal::Logs, items), BODY).expect("room");
        }
        queue.close();
        let taken = worker.join().expect("the worker");
        check_end(&queue, Signal::Logs, 3, taken);
        taken
    });
    assert_eq!(taken, [3].into());
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_bell_that_forgets_leaves_the_worker_waiting() {
    explore(None, || push_twice_and_close::<Checked, ModelBell<false>>(2 * COST));
}

#[test]
#[should_panic(expected = "assertion")]
fn a_lock_that_does_not_lock_breaks_the_ledger() {
    explore(None, || push_twice_and_close::<Torn, ModelBell<true>>(2 * COST));
}
