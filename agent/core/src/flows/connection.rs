//! One life of one socket address: what its records told, and the flow that comes of it.

use tarsier_abi::TaskKey;
use tarsier_abi::tcp::{Counters, Tuple, flag, role, state};

use super::totals::{self, NOTHING, Syn};
use crate::event::tcp::Ends;
use crate::event::{CloseReason, Flow, FlowKind, Role};

/// How the owner is known; a later one in this list is not replaced by an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum OwnerSource {
    Nobody,
    Listener,
    /// Had it open when the agent started.
    Holder,
    Closer,
    Opener,
}

/// A connection under construction. Times are boot ns; 0 = that record was not seen.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    /// Identity. `role` is the best told so far, `state` and `error` the last.
    pub(super) tuple: Tuple,
    /// `base` and the peer's initial sequence number, which are the same in all records that tell them.
    pub(super) numbers: Option<(u32, u32)>,
    /// The handshake told the role: sums told later do not change it.
    role_is_final: bool,
    /// Its port was chosen before it connected, so that a peer may know where to connect to.
    is_bound: bool,
    /// `None`: only an owner record so far.
    pub(super) ends: Option<Ends>,
    pub(super) open_ns: u64,
    pub(super) established_ns: u64,
    pub(super) seed_ns: u64,
    pub(super) owner_ns: u64,
    pub(super) close_ns: u64,
    /// The next life of the address begins here; `u64::MAX` = none known.
    pub(super) until_ns: u64,
    /// A sweep found the socket gone at this time.
    pub(super) gone_ns: u64,
    /// Last looked at by a sweep, or changed by a record.
    pub(super) checked_ns: u64,
    /// Until when it waits for records that are under way, or for the proof that they are not;
    /// 0 = it does not.
    pub(super) held_until_ns: u64,
    /// Sweeps in a row that read it in the midst of a change.
    pub(super) torn_rounds: u8,
    /// State at the time of the seed.
    pub(super) seed_state: u8,
    pub(super) owner: TaskKey,
    pub(super) owner_source: OwnerSource,
    /// The task of the owner record.
    closer: TaskKey,
    handshake_rtt_us: u32,
    /// The kernel's totals, last told.
    last: Counters,
    /// The kernel's totals when the agent first saw an older connection.
    baseline: Counters,
    /// Sum of the deltas reported.
    reported: Counters,
}

impl Connection {
    /// Nothing known but the socket's address.
    #[inline]
    pub(super) fn new(sock: u64) -> Self {
        Self {
            tuple: Tuple { sock, ..Tuple::default() },
            numbers: None,
            role_is_final: false,
            is_bound: false,
            ends: None,
            open_ns: 0,
            established_ns: 0,
            seed_ns: 0,
            owner_ns: 0,
            close_ns: 0,
            until_ns: u64::MAX,
            gone_ns: 0,
            checked_ns: 0,
            held_until_ns: 0,
            torn_rounds: 0,
            seed_state: 0,
            owner: TaskKey::NONE,
            owner_source: OwnerSource::Nobody,
            closer: TaskKey::NONE,
            handshake_rtt_us: 0,
            last: NOTHING,
            baseline: NOTHING,
            reported: NOTHING,
        }
    }

    /// Forgets the life before: another one of this address.
    pub(super) fn begin(&mut self, sock: u64) {
        *self = Self::new(sock);
    }

    /// The first time known of this life. An owner record carries no addresses and may yet turn out
    /// to belong to another life, so it counts only if there is nothing else.
    pub(super) fn first_ns(&self) -> u64 {
        [self.open_ns, self.established_ns, self.seed_ns, self.close_ns]
            .into_iter()
            .filter(|&at_ns| at_ns != 0)
            .min()
            .unwrap_or(if self.owner_ns == 0 { u64::MAX } else { self.owner_ns })
    }

    /// The last time known at which it began or had begun.
    pub(super) fn begun_ns(&self) -> u64 {
        self.open_ns.max(self.established_ns).max(self.seed_ns)
    }

    /// Whether its beginning is known by a record or by the seed.
    pub(super) fn has_start(&self) -> bool {
        self.open_ns != 0 || self.established_ns != 0 || self.seed_ns != 0
    }

    /// Whether a sweep can recognise it.
    pub(super) fn can_be_swept(&self) -> bool {
        let established = self.established_ns != 0
            || (self.seed_ns != 0 && !matches!(self.seed_state, state::SYN_SENT | state::SYN_RECV));
        established && self.close_ns == 0 && self.held_until_ns == 0 && self.numbers.is_some()
    }

    /// Whether a sweep has to look at it although it cannot recognise it: it began, and the record that
    /// tells its numbers has not come (yet).
    pub(super) fn is_anonymous(&self) -> bool {
        self.has_start() && self.close_ns == 0 && self.held_until_ns == 0 && !self.can_be_swept()
    }

    /// Whether waiting any longer is of no use: it is over, or it never was a connection.
    pub(super) fn is_over(&self) -> bool {
        self.close_ns != 0 || self.until_ns != u64::MAX || self.gone_ns != 0 || self.ends.is_none()
    }

    // -- What a record adds.

    pub(super) fn open(&mut self, at_ns: u64, tuple: &Tuple, ends: &Ends, task: TaskKey) {
        self.forget_baseline();
        self.identify(tuple, ends, false);
        self.open_ns = at_ns;
        self.is_bound = tuple.local_port != 0;
        self.set_owner(task, OwnerSource::Opener);
    }

    pub(super) fn establish(&mut self, at_ns: u64, tuple: &Tuple, ends: &Ends, srtt_us: u32) {
        if at_ns <= self.seed_ns {
            self.forget_baseline();
        }
        self.identify(tuple, ends, self.close_ns == 0);
        if tuple.role != role::UNKNOWN {
            (self.tuple.role, self.role_is_final) = (tuple.role, true);
        }
        self.established_ns = at_ns;
        self.handshake_rtt_us = srtt_us;
    }

    /// Found by the iterator: what was counted before is not ours to report.
    pub(super) fn seed(
        &mut self,
        at_ns: u64,
        tuple: &Tuple,
        ends: &Ends,
        task: TaskKey,
        counters: &Counters,
    ) {
        self.identify(tuple, ends, self.close_ns == 0);
        self.set_owner(task, OwnerSource::Holder);
        self.is_bound = tuple.flags & flag::BOUND != 0;
        self.seed_ns = at_ns;
        self.seed_state = tuple.state;
        self.baseline = *counters;
        if self.close_ns == 0 {
            self.last = *counters;
        }
    }

    pub(super) fn close(
        &mut self,
        at_ns: u64,
        tuple: &Tuple,
        ends: &Ends,
        task: Option<TaskKey>,
        counters: &Counters,
    ) {
        self.identify(tuple, ends, true);
        (self.tuple.state, self.tuple.error) = (tuple.state, tuple.error);
        self.close_ns = at_ns;
        self.advance_to(counters);
        if let Some(task) = task {
            self.set_owner(task, OwnerSource::Closer);
        }
    }

    pub(super) fn own(&mut self, at_ns: u64, task: TaskKey) {
        self.owner_ns = at_ns;
        self.closer = task;
        self.set_owner(task, OwnerSource::Closer);
    }

    /// Gives back an owner record that does not fit what is known of this life by now.
    pub(super) fn release_owner(&mut self) -> Option<(u64, TaskKey)> {
        let end_ns = match (self.close_ns, self.until_ns) {
            (0, u64::MAX) => u64::MAX,
            (0, until_ns) => until_ns.saturating_sub(1),
            (close_ns, _) => close_ns,
        };
        let fits = (self.begun_ns()..=end_ns).contains(&self.owner_ns) && self.can_have_owner();
        if self.owner_ns == 0 || fits { None } else { self.take_owner() }
    }

    /// Gives back the owner record, if there was one.
    pub(super) fn take_owner(&mut self) -> Option<(u64, TaskKey)> {
        if self.owner_ns == 0 {
            return None;
        }
        if self.owner_source == OwnerSource::Closer && self.owner == self.closer {
            (self.owner, self.owner_source) = (TaskKey::NONE, OwnerSource::Nobody);
        }
        Some((std::mem::take(&mut self.owner_ns), std::mem::take(&mut self.closer)))
    }

    /// Sets the owner unless a better source named one. A thread of the kernel works for others, on whatever
    /// comes up: MPTCP opens and closes subflows on such.
    pub(super) fn set_owner(&mut self, task: TaskKey, source: OwnerSource) {
        if task.runs_a_program() && source > self.owner_source {
            (self.owner, self.owner_source) = (task, source);
        }
    }

    /// The kernel's totals of now. Returns whether anything was sent or received since.
    pub(super) fn advance_to(&mut self, counters: &Counters) -> bool {
        let before = self.last;
        self.last = totals::later(&before, counters);
        totals::differ(&before, &self.last)
    }

    /// Its beginning was seen after all: every byte is ours to report.
    fn forget_baseline(&mut self) {
        self.baseline = NOTHING;
        self.seed_ns = 0;
    }

    /// Takes over what a record says of identity; `later` = it is the latest one so far.
    fn identify(&mut self, tuple: &Tuple, ends: &Ends, later: bool) {
        let own = &mut self.tuple;
        own.net_ns = if tuple.net_ns != 0 { tuple.net_ns } else { own.net_ns };
        own.cgroup = if tuple.cgroup != 0 && (later || own.cgroup == 0) { tuple.cgroup } else { own.cgroup };
        own.flags |= tuple.flags;
        own.family = tuple.family;
        if tuple.role != role::UNKNOWN && !self.role_is_final && (later || own.role == role::UNKNOWN) {
            own.role = tuple.role;
        }
        self.numbers = self.numbers.or(numbers(tuple));
        if later || self.close_ns == 0 {
            own.state = tuple.state;
        }
        // The local port is not chosen when connect begins.
        if self.ends.is_none_or(|known| known.local.1 == 0 || (later && ends.local.1 != 0)) {
            self.ends = Some(*ends);
        }
    }

    // -- What it amounts to.

    /// Whether no record of a closed connection can still be under way.
    pub(super) fn is_complete(&self) -> bool {
        if self.close_ns == 0 {
            return false;
        }
        let left = self.tuple.state;
        let seeded = self.seed_ns != 0;
        let connected = self.open_ns != 0;
        let awaits_open =
            !connected && !seeded && (self.tuple.role == role::CLIENT || left == state::SYN_SENT);
        let awaits_established =
            self.established_ns == 0 && !seeded && !matches!(left, state::SYN_SENT | state::SYN_RECV);
        let sent_fin = matches!(left, state::FIN_WAIT1 | state::FIN_WAIT2 | state::CLOSING | state::LAST_ACK);
        // Only a socket that did not connect has an owner record, made when it sends its FIN.
        let awaits_owner = sent_fin
            && !connected
            && self.tuple.role != role::CLIENT
            && self.owner_ns == 0
            && self.owner_source < OwnerSource::Closer;
        !(awaits_open || awaits_established || awaits_owner)
    }

    /// An incoming handshake that never finished: no connection. Fast open may have carried data.
    pub(super) fn is_half_open(&self) -> bool {
        let silent = self.last.bytes_sent == 0 && self.last.bytes_received == 0;
        self.close_ns != 0
            && self.tuple.state == state::SYN_RECV
            && self.open_ns == 0
            && self.established_ns == 0
            && self.tuple.role != role::CLIENT
            && silent
    }

    /// Open seen, but the arithmetic says it was accepted.
    pub(super) fn contradicts_itself(&self) -> bool {
        self.open_ns != 0 && self.tuple.role == role::SERVER
    }

    /// Who connected, as far as the kernel told. Where both ends did, or neither, nobody is the client.
    pub(super) fn role(&self) -> Role {
        let with_itself = self.ends.is_some_and(|ends| ends.local == ends.peer);
        if with_itself || self.tuple.flags & (flag::CROSSED | flag::RESTORED) != 0 {
            return Role::Unknown;
        }
        let connecting = self.close_ns != 0 && self.tuple.state == state::SYN_SENT;
        // The handshake was before the agent, or its record is lost: its SYN may have crossed one of a peer
        // that knew its port.
        let older = self.seed_ns != 0;
        let untold = (older || self.is_over()) && !self.role_is_final && !connecting;
        let cannot_cross = (older || self.open_ns != 0) && !self.is_bound;
        if untold && self.tuple.role != role::SERVER && !cannot_cross {
            return Role::Unknown;
        }
        match (self.tuple.role, self.open_ns != 0 || connecting) {
            (role::SERVER, true) => Role::Unknown,
            (_, true) | (role::CLIENT, _) => Role::Client,
            (role::SERVER, false) => Role::Server,
            _ => Role::Unknown,
        }
    }

    /// The report of its end. `lost_ns` tells when a connection without close record was over at
    /// the latest. `ends` are its own: without them there is nothing to report.
    #[inline]
    pub(super) fn closed(&self, ends: &Ends, lost_ns: u64) -> Flow {
        match self.close_ns {
            0 => self.view(ends, FlowKind::Closed, lost_ns, CloseReason::Lost),
            close_ns => self.view(ends, FlowKind::Closed, close_ns, self.reason()),
        }
    }

    /// The report of a living connection.
    pub(super) fn live(&mut self, now_ns: u64) -> Option<Flow> {
        let flow = self.peek(now_ns)?;
        self.reported = flow.counters;
        Some(flow)
    }

    /// Kernel facts: `sk_err` is ECONNRESET or, for a reset received after the peer's FIN, EPIPE.
    /// A socket that goes to CLOSE with no error from a state in which it has sent no FIN has sent
    /// a reset itself (`SO_LINGER` 0, unread data), as `tcp_close` and `tcp_disconnect` do.
    fn reason(&self) -> CloseReason {
        match (self.tuple.error, self.tuple.state) {
            (0, state::ESTABLISHED | state::CLOSE_WAIT) | (ECONNRESET | EPIPE, _) => CloseReason::Reset,
            (0, _) => CloseReason::Closed,
            (ECONNREFUSED, _) => CloseReason::Refused,
            (ETIMEDOUT, _) => CloseReason::Timeout,
            _ => CloseReason::Error,
        }
    }

    /// What of [`Counters::extra`] is a SYN.
    fn syn(&self) -> Syn {
        let has = |bit: u8| self.tuple.flags & bit != 0;
        match self.role() {
            Role::Client => Syn::Sent,
            Role::Server => Syn::NotSent,
            Role::Unknown if has(flag::CROSSED) => Syn::Sent,
            Role::Unknown if has(flag::RESTORED) => Syn::NotSent,
            Role::Unknown => Syn::Unknown,
        }
    }

    /// As a report would say, without being one: `delta` stays due.
    pub(super) fn peek(&self, now_ns: u64) -> Option<Flow> {
        let ends = self.ends?;
        Some(self.view(&ends, FlowKind::Live, now_ns, CloseReason::Closed))
    }

    #[inline]
    fn view(&self, ends: &Ends, kind: FlowKind, end_ns: u64, reason: CloseReason) -> Flow {
        let role = self.role();
        let start_seen = match role {
            Role::Server => self.established_ns != 0,
            Role::Client | Role::Unknown => self.open_ns != 0 && !self.contradicts_itself(),
        };
        let syn = self.syn();
        let counters = totals::since(&totals::exact(&self.last, syn), &totals::exact(&self.baseline, syn));
        let delta = totals::since(&counters, &self.reported);
        let own = &self.tuple;
        Flow {
            kind,
            role,
            local: ends.local,
            peer: ends.peer,
            net_ns: own.net_ns,
            cgroup: own.cgroup,
            owner: self.owner,
            owner_from_listener: self.owner_source == OwnerSource::Listener,
            isn: match (role, self.numbers) {
                (_, None) => (own.base, own.isn_peer),
                (Role::Server, Some((base, peer))) => (peer, base.wrapping_sub(1)),
                (_, Some(numbers)) => numbers,
            },
            start_ns: self.first_ns().min(end_ns),
            start_observed: !start_seen || self.seed_ns != 0,
            established_ns: self.established_ns,
            end_ns,
            counters,
            delta,
            handshake_rtt_us: self.handshake_rtt_us,
            reason,
            errno: own.error,
            state: own.state,
        }
    }
}

/// `base` and the peer's initial sequence number, if the record's state is one in which both are known.
pub(super) fn numbers(tuple: &Tuple) -> Option<(u32, u32)> {
    let known = !matches!(tuple.state, 0 | state::SYN_SENT | state::LISTEN);
    known.then_some((tuple.base, tuple.isn_peer))
}

const EPIPE: u16 = 32;
const ECONNRESET: u16 = 104;
const ETIMEDOUT: u16 = 110;
const ECONNREFUSED: u16 = 111;
