//! What threads meet at: a lock and a bell. The queue's algorithm is written over these two, so that a
//! model checker can stand in for the scheduler.

use std::ops::DerefMut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Mutual exclusion around a value.
pub(in crate::export) trait Lock<T> {
    /// Access, as long as it lives.
    type Guard<'a>: DerefMut<Target = T>
    where
        Self: 'a;

    /// A lock around `value`, which nobody holds.
    fn new(value: T) -> Self;

    /// Waits for its turn.
    fn lock(&self) -> Self::Guard<'_>;
}

/// Wakes the one task that listens. A ring that nobody listens to is heard by the next that does.
pub(in crate::export) trait Bell: Default {
    /// Rings; several rings before one hearing are one.
    fn ring(&self);

    /// Ready once it has rung since the last hearing.
    fn rung(&self) -> impl Future<Output = ()> + Send;
}

impl<T> Lock<T> for Mutex<T> {
    type Guard<'a>
        = MutexGuard<'a, T>
    where
        Self: 'a;

    fn new(value: T) -> Self {
        Self::new(value)
    }

    fn lock(&self) -> MutexGuard<'_, T> {
        // Nothing panics between two related updates, so a poisoned state is still consistent.
        self.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bell for Notify {
    fn ring(&self) {
        self.notify_one();
    }

    fn rung(&self) -> impl Future<Output = ()> + Send {
        self.notified()
    }
}
