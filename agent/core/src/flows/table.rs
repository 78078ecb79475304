//! The table of connections: joins records by socket address and reports what is over.
//!
//! Records of one socket come in any order within a short time, because each group of CPUs has a
//! ring of its own. So a record is given to the life of its address that its time fits, and a life
//! whose records contradict nothing but are not all there waits ([`Limits::hold_ns`], record time):
//! a close record without the open record that must precede it, a life whose address is already
//! used by the next one, a socket that a sweep found gone. What is complete is reported at once.
//!
//! What a lost record costs. Open: the start time and the owner ([`Flow::start_observed`]).
//! Established: the handshake's times; a sweep only sees that it is over. Owner: the owner. Close: the
//! counters since the last sweep; the reason is [`CloseReason::Lost`](crate::event::CloseReason).
//! Counters of a connection without any record of its beginning are the kernel's totals: sockets
//! are seeded after the hook is attached, so a socket that was neither seeded nor opened under our
//! eyes does not exist, and only its records were lost.

use std::collections::VecDeque;

use tarsier_abi::TaskKey;
use tarsier_abi::tcp::{Counters, Tuple, flag, role, state};

use super::arena::{Arena, Handle};
use super::connection::{Connection, OwnerSource};
use super::listeners::Listeners;
use super::tombstones::Tombstones;
use crate::event::Flow;
use crate::event::tcp::{Ends, TcpEvent, What};

/// Bounds of a [`Table`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections held at most; beyond, the one that changed longest ago is given up. One takes
    /// some 350 bytes.
    pub connections: usize,
    /// How long records of one socket may trail each other, ns of record time.
    pub hold_ns: u64,
    /// Connections reported before all their records were in that are remembered, so that a late
    /// record does not report them again.
    pub tombstones: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 262_144, hold_ns: 100_000_000, tombstones: 16_384 }
    }
}

/// What became of records and connections, since the start of the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lives of socket addresses begun: each ends as one of closed, half-open or orphan, or is held.
    pub begun: u64,
    /// Flows of closed connections handed out.
    pub closed: u64,
    /// Of these: without a close record.
    pub lost_close: u64,
    /// Of these: no open, established or seed record.
    pub unknown_start: u64,
    /// Of these: seen to connect, yet accepted by their sequence numbers; role unknown.
    pub contradictions: u64,
    /// Given up because the table was full; counted among the closed, the half open or the orphans as well.
    pub evicted: u64,
    /// Given up because memory was short; counted likewise.
    pub shed: u64,
    /// Incoming handshakes that never finished; not reported.
    pub half_open: u64,
    /// Records that told of a connection already reported as over; dropped.
    pub late: u64,
    /// Owner records for which no connection came; dropped.
    pub orphan_owners: u64,
    /// Listeners not kept for want of room.
    pub listeners_dropped: u64,
}

/// Joins TCP records into connections. One per agent; not shared between threads.
pub struct Table {
    pub(super) arena: Arena,
    listeners: Listeners,
    pub(super) tombstones: Tombstones,
    /// Lives on hold, by the record time at which they are given up waiting for.
    pub(super) held: VecDeque<(u64, Handle)>,
    /// Most connections held since [`Table::tidy`] last looked.
    pub(super) most: usize,
    /// The latest time told by a record or by the caller.
    pub(super) now_ns: u64,
    limits: Limits,
    pub(super) counts: Counts,
    /// Where the sweep is, and when its round began.
    pub(super) cursor: u32,
    pub(super) round_ns: u64,
    /// The connections of the batch that is out.
    pub(super) sweeping: Vec<Handle>,
    /// Times and places of a cycle's events, while they are applied.
    order: Vec<(u64, usize)>,
}

impl Table {
    /// An empty table. Its memory grows with the connections held, is reused, and shrinks by [`Table::tidy`].
    pub fn new(limits: Limits) -> Self {
        Self {
            arena: Arena::new(),
            listeners: Listeners::new(),
            tombstones: Tombstones::new(limits.tombstones),
            held: VecDeque::new(),
            most: 0,
            now_ns: 0,
            limits: Limits { connections: limits.connections.max(1), ..limits },
            counts: Counts::default(),
            cursor: 0,
            round_ns: 0,
            sweeping: Vec::new(),
            order: Vec::new(),
        }
    }

    /// Takes in one event; `boot_ns` is its header's. What is over is appended to `out`.
    pub fn apply(&mut self, event: &TcpEvent, boot_ns: u64, out: &mut Vec<Flow>) {
        self.now_ns = self.now_ns.max(boot_ns);
        match event {
            TcpEvent::Owner { sock, task } => self.owner(*sock, boot_ns, *task, out),
            TcpEvent::Unlisten { sock } => self.listeners.unlisten(*sock, boot_ns),
            TcpEvent::Socket { tuple, ends, what } => match what {
                What::Open { task } => self.open(boot_ns, tuple, ends, *task, out),
                What::Established { srtt_us } => self.established(boot_ns, tuple, ends, *srtt_us, out),
                What::Close { task, counters } => self.close(boot_ns, tuple, ends, *task, counters, out),
                What::Listen { task } => self.listen(boot_ns, tuple, ends, *task),
                What::Seed { counters, task, .. } => self.seed(boot_ns, tuple, ends, *task, counters, out),
            },
        }
    }

    /// Takes in all events of one drain cycle, sorted by time here first. Events of one socket from
    /// several rings are best given this way: where an address was reused within the cycle towards
    /// the same peer, only the order of time tells which open record belongs to which close record.
    pub fn apply_cycle(&mut self, events: &mut Vec<(u64, TcpEvent)>, out: &mut Vec<Flow>) {
        // Their places are sorted instead of the events, which are ten times as large; of the same time, the
        // first comes first.
        let mut order = std::mem::take(&mut self.order);
        order.clear();
        order.extend(events.iter().enumerate().map(|(place, &(boot_ns, _))| (boot_ns, place)));
        if !order.is_sorted() {
            order.sort_unstable();
        }
        for (boot_ns, event) in order.iter().filter_map(|&(_, place)| events.get(place)) {
            self.apply(event, *boot_ns, out);
        }
        events.clear();
        self.order = order;
    }

    /// Tells that all records up to `now_ns` (boot ns) were applied: reports what waited for
    /// records that did not come. `u64::MAX` at the end of the agent waits no longer.
    pub fn advance(&mut self, now_ns: u64, out: &mut Vec<Flow>) {
        self.now_ns = self.now_ns.max(now_ns);
        while let Some(&(deadline_ns, handle)) = self.held.front() {
            if deadline_ns > self.now_ns {
                break;
            }
            self.held.pop_front();
            if !self.arena.holds(handle) {
                continue;
            }
            match self.arena.get_mut(handle.slot) {
                Some(life) if life.held_until_ns > deadline_ns => {}
                Some(life) if !life.is_over() => life.held_until_ns = 0,
                _ => self.finish(handle.slot, out),
            }
        }
    }

    /// Connections held, those that wait to be reported included.
    pub fn len(&self) -> usize {
        self.arena.len()
    }

    /// Whether no connection is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The connections held, as of the last record or sweep of each; reports nothing.
    pub fn live(&self, now_ns: u64) -> impl Iterator<Item = Flow> {
        let slots = 0..u32::try_from(self.arena.slots()).unwrap_or(u32::MAX);
        slots.filter_map(move |slot| self.arena.get(slot)?.peek(now_ns))
    }

    /// Listening sockets known.
    pub fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// What became of records and connections so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn open(&mut self, at_ns: u64, tuple: &Tuple, ends: &Ends, task: TaskKey, out: &mut Vec<Flow>) {
        let known = self.arena.find(tuple.sock, |life| life.takes_open(at_ns, ends));
        if known.is_none() && self.tombstones.outdates(tuple.sock, at_ns) {
            self.counts.late += 1;
            return;
        }
        self.update(known, tuple.sock, at_ns, out, |life| life.open(at_ns, tuple, ends, task));
    }

    fn established(&mut self, at_ns: u64, tuple: &Tuple, ends: &Ends, srtt_us: u32, out: &mut Vec<Flow>) {
        let known = self.life_of(tuple.sock, |life| life.takes_established(at_ns, tuple, ends));
        if self.is_reported(known, tuple, ends, at_ns) {
            return;
        }
        let listener = listener_of(&self.listeners, tuple, ends, at_ns);
        self.update(known, tuple.sock, at_ns, out, |life| {
            life.establish(at_ns, tuple, ends, srtt_us);
            life.set_owner(listener, OwnerSource::Listener);
        });
    }

    fn owner(&mut self, sock: u64, at_ns: u64, task: TaskKey, out: &mut Vec<Flow>) {
        let known = self.arena.find(sock, |life| life.takes_owner(at_ns));
        if known.is_none() && self.tombstones.outdates(sock, at_ns) {
            self.counts.late += 1;
            return;
        }
        let later = known.and_then(|slot| self.arena.get_mut(slot)).and_then(Connection::take_owner);
        let slot = self.update(known, sock, at_ns, out, |life| life.own(at_ns, task));
        if let Some((later_ns, task)) = later {
            self.owner(sock, later_ns, task, out);
        }
        if let (None, Some(slot)) = (known, slot) {
            self.hold(slot);
        }
    }

    fn close(
        &mut self,
        at_ns: u64,
        tuple: &Tuple,
        ends: &Ends,
        task: Option<TaskKey>,
        counters: &Counters,
        out: &mut Vec<Flow>,
    ) {
        let known = self.life_of(tuple.sock, |life| life.takes_close(at_ns, tuple, ends));
        if self.is_reported(known, tuple, ends, at_ns) {
            return;
        }
        let slot =
            self.update(known, tuple.sock, at_ns, out, |life| life.close(at_ns, tuple, ends, task, counters));
        if let Some(slot) = slot {
            self.hold(slot);
        }
    }

    /// The life that a record fits, one that knows its ends before one that is no more than an owner record: that
    /// fits many.
    fn life_of(&self, sock: u64, fits: impl Fn(&Connection) -> bool) -> Option<u32> {
        let first = self.arena.find(sock, &fits)?;
        let is_vague = self.arena.get(first).is_none_or(|life| life.ends.is_none());
        let better = || self.arena.find(sock, |life| life.ends.is_some() && fits(life));
        if is_vague { better().or(Some(first)) } else { Some(first) }
    }

    /// Whether a record tells of a connection that was reported as over: then it is dropped. The
    /// life it fits may be no more than an owner record, which came late itself.
    fn is_reported(&mut self, known: Option<u32>, tuple: &Tuple, ends: &Ends, at_ns: u64) -> bool {
        let vague = known.and_then(|slot| self.arena.get(slot)).is_none_or(|life| life.ends.is_none());
        let reported = vague && self.tombstones.covers(tuple, ends.peer, at_ns);
        self.counts.late += u64::from(reported);
        reported
    }

    /// A socket found at start. One whose beginning was seen is not older than the agent.
    fn seed(
        &mut self,
        at_ns: u64,
        tuple: &Tuple,
        ends: &Ends,
        task: TaskKey,
        counters: &Counters,
        out: &mut Vec<Flow>,
    ) {
        match tuple.state {
            state::LISTEN => return self.listen(0, tuple, ends, task),
            state::CLOSE | state::TIME_WAIT | state::NEW_SYN_RECV => return,
            _ => {}
        }
        let known = self.arena.find(tuple.sock, |life| life.spans_seed(at_ns, tuple.state, ends));
        if known.and_then(|slot| self.arena.get(slot)).is_some_and(Connection::has_start) {
            return;
        }
        if known.is_none() && self.tombstones.outdates(tuple.sock, at_ns) {
            self.counts.late += 1;
            return;
        }
        // An accepted socket of a listener without a backlog: that it listens is the second witness.
        let is_open = matches!(tuple.state, state::ESTABLISHED | state::CLOSE_WAIT);
        let nobody_says = tuple.role == role::UNKNOWN && counters.extra == 0 && is_open;
        let is_mapped = tuple.flags & flag::MAPPED != 0;
        let accepted = nobody_says && self.listeners.is_any(tuple.net_ns, ends.local, is_mapped, at_ns);
        let tuple = Tuple { role: if accepted { role::SERVER } else { tuple.role }, ..*tuple };
        self.update(known, tuple.sock, at_ns, out, |life| life.seed(at_ns, &tuple, ends, task, counters));
    }

    fn listen(&mut self, since_ns: u64, tuple: &Tuple, ends: &Ends, task: TaskKey) {
        let place = (tuple.net_ns, ends.local.1, ends.local.0);
        if !self.listeners.listen(tuple.sock, place, task, since_ns) {
            self.counts.listeners_dropped += 1;
        }
    }

    /// Changes a known life, or begins one at `at_ns`; reports it if that completes it. Returns its
    /// slot if it is still in the table.
    fn update(
        &mut self,
        known: Option<u32>,
        sock: u64,
        at_ns: u64,
        out: &mut Vec<Flow>,
        change: impl FnOnce(&mut Connection),
    ) -> Option<u32> {
        let slot = match known {
            Some(slot) => {
                self.arena.touch(slot);
                slot
            }
            None => self.begin(sock, at_ns, out),
        };
        let handle = self.arena.handle(slot);
        let life = self.arena.get_mut(slot)?;
        let began = (life.ends.is_some(), life.first_ns());
        change(life);
        life.checked_ns = life.checked_ns.max(at_ns);
        let begins_ns = life.first_ns();
        let earlier = life.ends.is_some() && (!began.0 || begins_ns < began.1);
        let released = life.release_owner();
        if earlier && let Some(older) = self.arena.older(slot) {
            self.supersede(older, begins_ns, out);
        }
        // The life before may have given an owner record to this one, which completed it.
        if self.arena.holds(handle) && self.arena.get(slot).is_some_and(Connection::is_complete) {
            self.finish(slot, out);
        }
        if let Some((owner_ns, task)) = released {
            self.owner(sock, owner_ns, task, out);
        }
        self.arena.holds(handle).then_some(slot)
    }

    /// A new life of an address, in its place among the others.
    fn begin(&mut self, sock: u64, at_ns: u64, out: &mut Vec<Flow>) -> u32 {
        if self.arena.len() >= self.limits.connections
            && let Some(stalest) = self.arena.stalest()
        {
            self.counts.evicted += 1;
            self.finish(stalest, out);
        }
        self.counts.begun += 1;
        self.listeners.forget(sock, at_ns);
        let (slot, newer) = self.arena.insert(sock, at_ns);
        self.most = self.most.max(self.arena.len());
        // An owner record alone proves no other life: it may belong to this one.
        let newer = newer.and_then(|newer| self.arena.get(newer)).filter(|newer| newer.ends.is_some());
        if let Some(newer_ns) = newer.map(Connection::first_ns) {
            self.supersede(slot, newer_ns, out);
        }
        slot
    }

    /// The address belongs to another life from `next_ns` on: this one is over, though its close
    /// record may still be on its way.
    fn supersede(&mut self, slot: u32, next_ns: u64, out: &mut Vec<Flow>) {
        let Some(life) = self.arena.get_mut(slot) else { return };
        life.until_ns = life.until_ns.min(next_ns);
        let sock = life.tuple.sock;
        let released = life.release_owner();
        if life.close_ns == 0 {
            self.hold(slot);
        }
        if let Some((owner_ns, task)) = released {
            self.owner(sock, owner_ns, task, out);
        }
    }

    /// Waits for records that are under way.
    pub(super) fn hold(&mut self, slot: u32) {
        let deadline_ns = self.now_ns.saturating_add(self.limits.hold_ns);
        let handle = self.arena.handle(slot);
        if let Some(life) = self.arena.get_mut(slot)
            && life.held_until_ns < deadline_ns
        {
            life.held_until_ns = deadline_ns;
            self.held.push_back((deadline_ns, handle));
        }
    }

    /// Takes a life out of the table and reports it.
    pub(super) fn finish(&mut self, slot: u32, out: &mut Vec<Flow>) {
        let Self { arena, listeners, tombstones, counts, now_ns, .. } = self;
        let Some(life) = arena.remove(slot) else { return };
        if life.is_half_open() {
            counts.half_open += 1;
            return;
        }
        if let (OwnerSource::Nobody, Some(ends)) = (life.owner_source, life.ends) {
            let since_ns = life.established_ns.max(life.seed_ns);
            let listener = listener_of(listeners, &life.tuple, &ends, since_ns);
            if !listener.is_none() {
                life.set_owner(listener, OwnerSource::Listener);
            }
        }
        // Without a close record it ended before the next life, before the sweep, or before now.
        let lost_ns = match (life.until_ns, life.gone_ns) {
            (u64::MAX, 0) => *now_ns,
            (u64::MAX, gone_ns) => gone_ns,
            (until_ns, _) => until_ns.saturating_sub(1),
        };
        if !life.is_complete() {
            tombstones.bury(life, if life.close_ns != 0 { life.close_ns } else { lost_ns });
        }
        let Some(ends) = life.ends else {
            counts.orphan_owners += 1;
            return;
        };
        out.push(life.closed(&ends, lost_ns));
        counts.closed += 1;
        counts.lost_close += u64::from(life.close_ns == 0);
        counts.unknown_start += u64::from(!life.has_start());
        counts.contradictions += u64::from(life.contradicts_itself());
    }
}

/// The listener that accepted a socket, [`TaskKey::NONE`] if it was not accepted or is not known.
fn listener_of(listeners: &Listeners, tuple: &Tuple, ends: &Ends, at_ns: u64) -> TaskKey {
    if tuple.role != role::SERVER {
        return TaskKey::NONE;
    }
    listeners.owner(tuple.net_ns, ends.local, tuple.flags & flag::MAPPED != 0, at_ns)
}
