//! A cable between two network namespaces: it sees every segment that the two say to each other, and does
//! with it what the test wants.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use super::netns;
use super::segment::{Segment, flag};
use super::tun::Tun;

/// What becomes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It arrives.
    Arrives,
    /// It does not.
    Lost,
    /// It arrives two times.
    Twice,
    /// It arrives after the next one of its connection and direction that does.
    Late,
}

/// What a fate is made of.
#[derive(Clone, Copy, Debug)]
pub struct Passage<'a> {
    /// The segment.
    pub segment: &'a Segment,
    /// From the end that sent the first SYN.
    pub up: bool,
    /// How many of its connection were sent this way before.
    pub before: u32,
    /// It holds a SYN, a FIN or data that was not sent before.
    pub is_new: bool,
}

/// Says what becomes of a segment; it knows no more than the passage, so that a run can be repeated.
pub type Judge = fn(&Passage<'_>) -> Fate;

/// All that one end of a connection said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Course {
    /// Its initial sequence number; `None` before its SYN.
    pub isn: Option<u32>,
    /// The sequence number after the last that it sent.
    pub end: u32,
    /// How far the other end has acknowledged it.
    pub acknowledged: u32,
    /// How far this end knows of that.
    known: u32,
    /// Payload bytes that came with its first SYN.
    pub with_syn: u32,
    /// It sent a FIN.
    pub fin: bool,
    /// It sent a reset.
    pub reset: bool,
    /// Segments sent.
    pub sent: u32,
    /// Segments that arrived.
    pub arrived: u32,
    /// Segments sent again: with SYN, FIN or data, and nothing new.
    pub again: u32,
    held_back: Vec<Vec<u8>>,
}

impl Course {
    /// Payload bytes, each once, that left this end.
    pub fn payload(&self) -> u32 {
        self.until(self.end)
    }

    /// Payload bytes that the other end has taken, in order: what is lost and sent no more is not among them.
    pub fn taken(&self) -> u32 {
        self.until(self.acknowledged)
    }

    fn until(&self, seq: u32) -> u32 {
        let fin = u32::from(self.fin && seq == self.end);
        self.isn.map_or(0, |isn| seq.wrapping_sub(isn).wrapping_sub(1).wrapping_sub(fin))
    }

    /// Takes in a segment; whether it holds anything new.
    fn take(&mut self, segment: &Segment) -> bool {
        self.sent += 1;
        self.reset |= segment.flags & flag::RST != 0;
        if segment.flags & flag::RST != 0 {
            return true;
        }
        let first = self.isn.is_none() && segment.flags & flag::SYN != 0;
        if first {
            (self.isn, self.end) = (Some(segment.seq), segment.seq);
            self.with_syn = u32::try_from(segment.payload.len()).unwrap_or(u32::MAX);
        }
        let is_new = segment.end().wrapping_sub(self.end).cast_signed() > 0;
        if is_new {
            self.end = segment.end();
            self.fin |= segment.flags & flag::FIN != 0;
        } else if segment.end() != segment.seq {
            self.again += 1;
        }
        is_new
    }
}

/// One connection, as the cable saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who sent the first SYN.
    pub client: SocketAddrV4,
    /// The other end.
    pub server: SocketAddrV4,
    /// What the client said.
    pub up: Course,
    /// What the server said.
    pub down: Course,
}

impl Seen {
    /// Both ends know that everything has arrived.
    pub fn is_acknowledged(&self) -> bool {
        self.up.known == self.up.end && self.down.known == self.down.end
    }

    /// Both ends know that it is over.
    pub fn is_over(&self) -> bool {
        let closed = self.up.fin && self.down.fin && self.is_acknowledged();
        closed || self.up.reset || self.down.reset
    }
}

#[derive(Debug)]
struct State {
    judge: Judge,
    /// By (client, server), in order of the first SYN.
    known: Vec<Seen>,
    places: HashMap<(SocketAddrV4, SocketAddrV4), usize>,
    failed: Option<String>,
}

/// The cable while both ends are up.
#[derive(Debug)]
pub struct Cable {
    /// The device in the one namespace.
    pub near: Tun,
    /// The device in the other.
    pub far: Tun,
    state: Mutex<State>,
    changed: Condvar,
}

/// The address in the namespace of the calling thread.
pub const NEAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
/// The address in the other.
pub const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// For what a test waits for to be seen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs `body` in a new network namespace that a cable joins with another new one, in which `far` is called
/// first: what it starts keeps that namespace alive. Both have `settings` (see [`netns::set`]).
pub fn between<F: Send, T: Send>(
    settings: &[(&str, &str)],
    far: impl FnOnce() -> anyhow::Result<F> + Send,
    body: impl FnOnce(&Cable, F) -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    netns::within(|| {
        netns::set(settings)?;
        let (far_end, started) = netns::within(|| {
            netns::set(settings)?;
            Ok((Tun::new(FAR)?, far()?))
        })?;
        let judge: Judge = |_| Fate::Arrives;
        let state = State { judge, known: Vec::new(), places: HashMap::new(), failed: None };
        let cable =
            Cable { near: Tun::new(NEAR)?, far: far_end, state: Mutex::new(state), changed: Condvar::new() };
        let stop = eventfd(0, EventfdFlags::empty())?;
        std::thread::scope(|scope| {
            scope.spawn(|| cable.fail_with(cable.carry(&stop)));
            let result = body(&cable, started);
            let stopped = rustix::io::write(&stop, &1_u64.to_ne_bytes()).context("stopping the cable");
            stopped.and(result)
        })
    })
}

impl Cable {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What becomes of segments from now on.
    pub fn judge(&self, judge: Judge) {
        self.lock().judge = judge;
    }

    /// Every connection to `port`, in order of their first SYNs.
    pub fn seen(&self, port: u16) -> Vec<Seen> {
        self.lock().known.iter().filter(|seen| seen.server.port() == port).cloned().collect()
    }

    /// Waits until the connections to `port` are as `is` wants them.
    pub fn wait(&self, what: &str, port: u16, is: impl Fn(&[Seen]) -> bool) -> anyhow::Result<()> {
        let not_yet = |state: &mut State| {
            let those: Vec<_> =
                state.known.iter().filter(|seen| seen.server.port() == port).cloned().collect();
            state.failed.is_none() && !is(&those)
        };
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, not_yet);
        let (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        match &state.failed {
            Some(error) => bail!("the cable broke: {error}"),
            None if timeout.timed_out() => bail!("no {what} within {PATIENCE:?}: {:#?}", state.known),
            None => Ok(()),
        }
    }

    fn fail_with(&self, result: anyhow::Result<()>) {
        if let Err(error) = result {
            self.lock().failed = Some(format!("{error:#}"));
            self.changed.notify_all();
        }
    }

    fn carry(&self, stop: &impl std::os::fd::AsFd) -> anyhow::Result<()> {
        loop {
            let mut fds = [
                PollFd::new(stop, PollFlags::IN),
                PollFd::from_borrowed_fd(self.near.descriptor(), PollFlags::IN),
                PollFd::from_borrowed_fd(self.far.descriptor(), PollFlags::IN),
            ];
            poll(&mut fds, None).context("waiting for segments")?;
            if !fds[0].revents().is_empty() {
                return Ok(());
            }
            self.pass(&self.near, &self.far)?;
            self.pass(&self.far, &self.near)?;
        }
    }

    /// Passes on what is there.
    fn pass(&self, from: &Tun, to: &Tun) -> anyhow::Result<()> {
        let mut seen_any = false;
        while let Some(packet) = from.take()? {
            let Some(segment) = Segment::parse(&packet)? else { continue };
            seen_any = true;
            for packet in self.lock().fate(&segment, packet) {
                to.put(&packet)?;
            }
        }
        if seen_any {
            self.changed.notify_all();
        }
        Ok(())
    }
}

impl State {
    /// What arrives now that this segment was sent.
    fn fate(&mut self, segment: &Segment, packet: Vec<u8>) -> Vec<Vec<u8>> {
        let ends = (segment.source, segment.destination);
        let (place, upwards) = match (self.places.get(&ends), self.places.get(&(ends.1, ends.0))) {
            (Some(&place), _) => (place, true),
            (_, Some(&place)) => (place, false),
            (None, None) => {
                let (up, down) = Default::default();
                self.known.push(Seen { client: ends.0, server: ends.1, up, down });
                self.places.insert(ends, self.known.len() - 1);
                (self.known.len() - 1, true)
            }
        };
        let seen = &mut self.known[place];
        let (course, other) =
            if upwards { (&mut seen.up, &mut seen.down) } else { (&mut seen.down, &mut seen.up) };
        let before = course.sent;
        let is_new = course.take(segment);
        let has_ack = segment.flags & flag::ACK != 0;
        if has_ack && (other.known == 0 || segment.ack.wrapping_sub(other.acknowledged).cast_signed() > 0) {
            other.acknowledged = segment.ack;
        }
        let mut arriving = match (self.judge)(&Passage { segment, up: upwards, before, is_new }) {
            Fate::Lost => return Vec::new(),
            Fate::Late => {
                course.held_back.push(packet);
                return Vec::new();
            }
            Fate::Arrives => vec![packet],
            Fate::Twice => vec![packet.clone(), packet],
        };
        if has_ack {
            other.known = segment.ack;
        }
        arriving.append(&mut course.held_back);
        course.arrived += u32::try_from(arriving.len()).unwrap_or(u32::MAX);
        arriving
    }
}
