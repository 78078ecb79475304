//! The queue against a naive model, and its policy by example.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::export::Counts;

fn batch(signal: Signal, bytes: usize, items: u32) -> Batch {
    Batch { signal, body: Bytes::from(vec![0; bytes]), items }
}

/// A future that is ready at once, or `None`.
fn now<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}

#[test]
fn the_fullest_signal_pays_with_its_oldest_batch() {
    let queue = Queue::new(4 * (100 + BATCH_OVERHEAD));
    for items in 1..=3 {
        queue.push(batch(Signal::Metrics, 100, items), 1000).unwrap();
    }
    queue.push(batch(Signal::Logs, 100, 10), 1000).unwrap();
    queue.push(batch(Signal::Logs, 100, 20), 1000).unwrap();
    let snapshot = queue.snapshot();
    assert_eq!(snapshot.of(Signal::Metrics).dropped(DropCause::QueueFull), 1);
    assert_eq!(snapshot.of(Signal::Metrics).queued, 5);
    assert_eq!(snapshot.of(Signal::Logs).queued, 30);
    assert_eq!(now(queue.pop(Signal::Metrics)).unwrap().unwrap().items, 2);
}

#[test]
fn what_is_in_flight_is_neither_evicted_nor_forgotten() {
    let queue = Queue::new(100 + BATCH_OVERHEAD);
    queue.push(batch(Signal::Logs, 100, 1), 1000).unwrap();
    let taken = now(queue.pop(Signal::Logs)).unwrap().unwrap();
    assert_eq!(queue.push(batch(Signal::Logs, 100, 2), 1000), Err(DropCause::QueueFull));
    assert_eq!(queue.snapshot().queue_bytes, 100 + BATCH_OVERHEAD);
    queue.settle(&taken, Outcome::Sent { rejected: 0 });
    assert_eq!(queue.snapshot().queue_bytes, 0);
    queue.push(batch(Signal::Logs, 100, 2), 1000).unwrap();
    assert!(queue.snapshot().of(Signal::Logs).balanced());
}

#[test]
fn what_is_given_up_for_memory_has_its_own_cause_until_there_is_enough() {
    let queue = Queue::new(64 << 20);
    for _ in 0..32 {
        queue.push(batch(Signal::Logs, 1 << 20, 1), 1 << 20).unwrap();
    }
    let taken = now(queue.pop(Signal::Logs)).unwrap().unwrap();
    assert!(queue.shed());
    let held = queue.snapshot();
    assert!(held.queue_bytes <= 17 << 20, "{held:?}");
    let dropped = held.of(Signal::Logs).dropped(DropCause::Memory);
    assert!(dropped >= 16 && held.of(Signal::Logs).balanced(), "{held:?}");
    while queue.shed() {}
    assert!(queue.snapshot().queue_bytes <= FLOOR);
    let beside = queue.push(batch(Signal::Logs, 1 << 20, 1), 1 << 20);
    assert_eq!(beside, Err(DropCause::Memory), "there is no room beside what is in flight");
    assert!(queue.snapshot().of(Signal::Logs).dropped(DropCause::Memory) > dropped);
    queue.settle(&taken, Outcome::Sent { rejected: 0 });
    queue.restore();
    for _ in 0..40 {
        queue.push(batch(Signal::Logs, 1 << 20, 1), 1 << 20).unwrap();
    }
    let counts = *queue.snapshot().of(Signal::Logs);
    assert!(counts.balanced() && counts.dropped(DropCause::QueueFull) == 0 && counts.queued >= 40);
}

#[test]
fn a_closed_queue_gives_what_it_has_and_takes_nothing() {
    let queue = Queue::new(10_000);
    queue.push(batch(Signal::Traces, 10, 7), 1000).unwrap();
    assert!(now(queue.closed(Signal::Traces)).is_none());
    queue.close();
    assert!(now(queue.closed(Signal::Traces)).is_some());
    assert_eq!(queue.push(batch(Signal::Traces, 10, 3), 1000), Err(DropCause::Shutdown));
    assert!(now(queue.pop(Signal::Traces)).unwrap().is_some());
    assert!(now(queue.pop(Signal::Traces)).unwrap().is_none());
    queue.abandon();
    let counts = queue.snapshot().signals[Signal::Traces.index()];
    assert_eq!(counts.dropped(DropCause::Shutdown), 10);
    assert!(counts.balanced());
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize, usize, u32),
    Pop(usize),
    Settle(Outcome),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize, 0..900_usize, 0..50_u32).prop_map(|(s, b, i)| Step::Push(s, b, i)),
        1 => (0..3_usize).prop_map(Step::Pop),
        1 => (0..99_u64).prop_map(|rejected| Step::Settle(Outcome::Sent { rejected })),
        1 => Just(Step::Settle(Outcome::Dropped(DropCause::Refused))),
    ]
}

proptest! {
    /// Whatever the order of calls: never above the bound, every item accounted for, order kept.
    #[test]
    fn bounded_balanced_and_in_order(steps in proptest::collection::vec(step(), 0..200)) {
        let max_bytes = 3000;
        let queue = Queue::new(max_bytes);
        let mut taken: Vec<Batch> = Vec::new();
        let mut pushed = [0_u64; 3];
        let mut last_taken = [0_u64; 3];
        for step in steps {
            match step {
                Step::Push(signal, bytes, items) => {
                    // The batch's number is its first bytes; shorter bodies stay anonymous.
                    let mut body = vec![0; bytes];
                    pushed[signal] += 1;
                    if let Some(head) = body.get_mut(..8) {
                        head.copy_from_slice(&pushed[signal].to_be_bytes());
                    }
                    let batch = Batch { signal: Signal::ALL[signal], body: body.into(), items };
                    let refused = queue.push(batch, 800).err();
                    prop_assert_eq!(refused == Some(DropCause::TooLarge), bytes > 800);
                }
                Step::Pop(signal) => {
                    if let Some(Some(batch)) = now(queue.pop(Signal::ALL[signal])) {
                        let number = batch.body.get(..8).map(|n| u64::from_be_bytes(n.try_into().unwrap()));
                        if let Some(number) = number {
                            prop_assert!(number > last_taken[signal]);
                            last_taken[signal] = number;
                        }
                        taken.push(batch);
                    }
                }
                Step::Settle(outcome) => {
                    if let Some(batch) = taken.pop() {
                        queue.settle(&batch, outcome);
                    }
                }
            }
            let snapshot = queue.snapshot();
            prop_assert!(snapshot.queue_bytes <= max_bytes);
            prop_assert!(snapshot.signals.iter().all(Counts::balanced), "{:?}", snapshot);
        }
    }
}
