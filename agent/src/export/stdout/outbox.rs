//! Lines on their way to a reader that may be slow or stand still: a terminal that was stopped, a pipe that
//! nobody empties, a container runtime whose disk is full.
//!
//! Whoever makes lines never waits: it leaves them here, and a thread writes them. **When the outbox is full,
//! its oldest lines make room**, as in the exporters' queue: the present matters more. Every line is in the
//! ledger, and only whole lines are dropped or begun.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::retry_on_intr;

use crate::export::{Counts, DropCause};

/// Bytes that one chunk gathers before the next one begins.
const CHUNK: usize = 32 * 1024;
/// Chunks that are kept to be filled again.
const SPARE: usize = 4;
/// Into a pipe with room for as much, so much is written at once or not at all (`PIPE_BUF`).
const AT_ONCE: usize = 4096;

/// What is held however short memory is.
const FLOOR: usize = 128 * 1024;

/// Takes whole lines, and gives them to a thread that writes them. Clones are the same outbox.
#[derive(Clone, Debug)]
pub struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    max_bytes: usize,
    /// The bound of now: lower while memory is short.
    bound: usize,
    chunks: VecDeque<Chunk>,
    /// Memory of the chunks, the one that is being written included.
    bytes: usize,
    spare: Vec<Vec<u8>>,
    counts: Counts,
    /// Why nothing more can be written.
    failed: Option<io::ErrorKind>,
    /// Nothing more comes.
    closed: bool,
}

/// Whole lines.
#[derive(Debug)]
struct Chunk {
    text: Vec<u8>,
    lines: u64,
}

impl Outbox {
    /// Writes to `out` on a thread of its own; holds at most `max_bytes`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(out: impl Write + AsFd + Send + 'static, max_bytes: usize) -> io::Result<Self> {
        let state = Mutex::new(State::new(max_bytes));
        let outbox = Self(Arc::new(Shared { state, changed: Condvar::new() }));
        let shared = Arc::clone(&outbox.0);
        std::thread::Builder::new().name("tarsier-lines".into()).spawn(move || shared.write_to(out))?;
        Ok(outbox)
    }

    /// The ledger now, in lines, and the bytes held.
    pub fn counts(&self) -> (Counts, usize) {
        let state = self.0.lock();
        (state.counts, state.bytes)
    }

    /// The bound it was made with.
    pub fn max_bytes(&self) -> usize {
        self.0.lock().max_bytes
    }

    /// Memory is short: from now on holds half of what it holds now at most, and drops its oldest lines beyond.
    /// Whether it dropped any: 128 KiB are always left.
    pub fn shed(&self) -> bool {
        let mut state = self.0.lock();
        state.bound = (state.bytes / 2).max(FLOOR).min(state.bound);
        state.spare = Vec::new();
        state.evict(0)
    }

    /// The bound is again what it was made with.
    pub fn restore(&self) {
        let mut state = self.0.lock();
        state.bound = state.max_bytes;
    }

    /// Takes nothing more, waits until all is written or `deadline` has come, and gives up what is left. What
    /// is being written then counts as dropped: nobody can tell how much of it arrives.
    pub fn close(&self, deadline: Instant) -> Counts {
        let mut state = self.0.lock();
        state.closed = true;
        self.0.changed.notify_all();
        while !state.is_idle() && state.failed.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.0.changed.wait_timeout(state, left);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        // The writer looks at this before it begins to write anything more.
        state.fail(io::ErrorKind::TimedOut);
        state.counts
    }
}

/// Each write is of whole lines and never waits. An error says why the thread cannot write any more.
impl Write for Outbox {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.lock().push(lines)?;
        self.0.changed.notify_all();
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().failed.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl State {
    fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            bound: max_bytes,
            chunks: VecDeque::new(),
            bytes: 0,
            spare: Vec::new(),
            counts: Counts::default(),
            failed: None,
            closed: false,
        }
    }

    fn is_idle(&self) -> bool {
        self.counts.queued + self.counts.in_flight == 0
    }

    fn push(&mut self, text: &[u8]) -> io::Result<()> {
        let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.counts.enqueued += lines;
        if let Some(kind) = self.failed {
            self.counts.lose(DropCause::Shutdown, lines);
            return Err(kind.into());
        }
        if self.closed {
            self.counts.lose(DropCause::Shutdown, lines);
            return Ok(());
        }
        if let Some(last) = self.chunks.back_mut()
            && last.text.len() + text.len() <= last.text.capacity()
        {
            last.text.extend_from_slice(text);
            last.lines += lines;
        } else {
            let needed = text.len().max(CHUNK);
            self.evict(needed);
            if self.bytes + needed > self.bound {
                self.counts.lose(self.want_of_room(), lines);
                return Ok(());
            }
            let mut fresh = self.spare.pop().unwrap_or_default();
            fresh.reserve_exact(needed);
            fresh.extend_from_slice(text);
            self.bytes += fresh.capacity();
            self.chunks.push_back(Chunk { text: fresh, lines });
        }
        self.counts.queued += lines;
        Ok(())
    }

    /// Drops the oldest chunks until `bytes` more fit or nothing is left; whether it dropped any.
    fn evict(&mut self, bytes: usize) -> bool {
        let cause = self.want_of_room();
        let mut any = false;
        while self.bytes + bytes > self.bound
            && let Some(oldest) = self.chunks.pop_front()
        {
            self.counts.queued -= oldest.lines;
            self.counts.lose(cause, oldest.lines);
            self.release(oldest.text);
            any = true;
        }
        any
    }

    /// Why there is no room.
    fn want_of_room(&self) -> DropCause {
        if self.bound < self.max_bytes { DropCause::Memory } else { DropCause::QueueFull }
    }

    /// Memory of a chunk that is done with.
    fn release(&mut self, mut text: Vec<u8>) {
        self.bytes -= text.capacity();
        if self.spare.len() < SPARE && text.capacity() <= 2 * CHUNK {
            text.clear();
            self.spare.push(text);
        }
    }

    /// Unless they were given up meanwhile.
    fn wrote(&mut self, text: &[u8]) {
        if self.failed.is_none() {
            let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
            self.counts.in_flight -= lines;
            self.counts.sent += lines;
            self.counts.bytes_sent += text.len() as u64;
        }
    }

    /// Nothing more can be written: all that is here is lost. Only the first reason counts.
    fn fail(&mut self, kind: io::ErrorKind) {
        let counts = &mut self.counts;
        let left = std::mem::take(&mut counts.queued) + std::mem::take(&mut counts.in_flight);
        counts.lose(DropCause::Shutdown, left);
        self.chunks.clear();
        self.failed.get_or_insert(kind);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread: ends when all is written after the outbox was closed, or nothing can be.
    fn write_to(&self, mut out: impl Write + AsFd) {
        while let Some(chunk) = self.take() {
            let written = self.write_chunk(&mut out, &chunk.text);
            let mut state = self.lock();
            state.release(chunk.text);
            if let Err(error) = written {
                state.fail(error.kind());
            }
            drop(state);
            self.changed.notify_all();
        }
    }

    /// The oldest chunk, as soon as there is one.
    fn take(&self) -> Option<Chunk> {
        let mut state = self.lock();
        loop {
            if state.failed.is_some() {
                return None;
            }
            if let Some(chunk) = state.chunks.pop_front() {
                state.counts.queued -= chunk.lines;
                state.counts.in_flight += chunk.lines;
                return Some(chunk);
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Writes a few lines at a time, each only once there is room for them. Of a line longer than
    /// [`AT_ONCE`], the end may be missing if the process ends while its reader stands still.
    fn write_chunk(&self, out: &mut (impl Write + AsFd), mut text: &[u8]) -> io::Result<()> {
        while !text.is_empty() {
            let (lines, rest) = text.split_at(few_lines(text));
            wait_for_room(out)?;
            if let Some(kind) = self.lock().failed {
                return Err(kind.into());
            }
            write_all(out, lines)?;
            self.lock().wrote(lines);
            text = rest;
        }
        Ok(())
    }
}

/// Waits until something can be written, or never will: then the next write says why.
fn wait_for_room(out: &impl AsFd) -> io::Result<()> {
    retry_on_intr(|| poll(&mut [PollFd::new(out, PollFlags::OUT)], None))?;
    Ok(())
}

/// As [`Write::write_all`], also where somebody has made the output non-blocking.
fn write_all(out: &mut (impl Write + AsFd), mut text: &[u8]) -> io::Result<()> {
    while !text.is_empty() {
        match out.write(text) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => text = text.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_room(out)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

/// Length of the first lines of `text` that together are at most [`AT_ONCE`] long, or of the first one.
fn few_lines(text: &[u8]) -> usize {
    let is_end = |byte: &u8| *byte == b'\n';
    let head = text.get(..AT_ONCE).unwrap_or(text);
    let end = head.iter().rposition(is_end).or_else(|| text.iter().position(is_end));
    end.map_or(text.len(), |at| at + 1)
}

#[cfg(test)]
mod tests;
