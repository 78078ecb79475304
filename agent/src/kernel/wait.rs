//! Waiting for rings: a timer that follows the load, a wake-up when a ring fills, a hand-raised flag.
//!
//! Edge-triggered on purpose: records are submitted without a wake-up, and a level-triggered wait would
//! return at once for each of them.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Wakes a [`Waiter`] from another thread or a signal handler.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// Makes the present or next wait return.
    pub fn wake(&self) {
        let one = 1_u64;
        // SAFETY: eight initialised bytes to an eventfd we own.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }
}

/// Waits on any number of ring descriptors.
pub struct Waiter {
    epoll: OwnedFd,
    event: Arc<OwnedFd>,
}

impl Waiter {
    /// A waiter on nothing yet.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a call without pointers.
        let epoll = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: a call without pointers.
        let event = owned(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        let waiter = Self { epoll, event: Arc::new(event) };
        waiter.add(waiter.event.as_fd().as_raw_fd())?;
        Ok(waiter)
    }

    /// Adds a ring's descriptor.
    pub fn watch(&self, ring: impl AsFd) -> io::Result<()> {
        self.add(ring.as_fd().as_raw_fd())
    }

    /// A handle that ends a wait.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.event))
    }

    /// Sleeps until a ring asks for attention, a [`Waker`] is raised, or `timeout` is over.
    /// True if it was woken.
    pub fn wait(&self, timeout: Duration) -> bool {
        // SAFETY: plain data, any bit pattern is valid.
        let mut events: [libc::epoll_event; 8] = unsafe { std::mem::zeroed() };
        let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the array has room for the eight events asked for.
        let ready = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), 8, millis) };
        ready > 0
    }

    fn add(&self, fd: i32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET) as u32, u64: 0 };
        // SAFETY: `event` lives across the call.
        let result =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn owned(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a fresh descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How long to sleep next: short while records flow, doubling while none do.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    min: Duration,
    max: Duration,
    now: Duration,
}

/// Fewer records than this per cycle do not deserve a shorter sleep.
const BUSY_RECORDS: u64 = 64;

impl Pace {
    /// Between `min` (busy) and `max` (idle).
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, now: min }
    }

    /// The sleep after a cycle that drained `records`.
    pub fn after(&mut self, records: u64) -> Duration {
        self.now = match records {
            0 => (self.now * 2).min(self.max),
            1..BUSY_RECORDS => self.now.min(self.max / 4).max(self.min),
            _ => self.min,
        };
        self.now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pace_follows_load() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(ms(5), ms(200));
        let idle: Vec<u64> = (0..7).map(|_| pace.after(0).as_millis() as u64).collect();
        assert_eq!(idle, [10, 20, 40, 80, 160, 200, 200]);
        assert_eq!(pace.after(3), ms(50), "a trickle is looked at every quarter of the idle time");
        assert_eq!(pace.after(3), ms(50));
        assert_eq!(pace.after(1000), ms(5));
        assert_eq!(pace.after(3), ms(5), "and does not slow a busy ring down at once");
    }

    #[test]
    fn a_waker_ends_a_wait() {
        let waiter = Waiter::new().expect("epoll");
        assert!(!waiter.wait(Duration::ZERO));
        waiter.waker().wake();
        assert!(waiter.wait(Duration::from_secs(10)));
    }
}
