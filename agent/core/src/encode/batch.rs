//! A request under construction, its items grouped by workload.
//!
//! Logs and traces have the same outer shape: `repeated { resource = 1, repeated { scope = 1,
//! repeated item = 2 } = 2 } = 1`. Items are written once, in order of arrival, into one arena;
//! neighbours of the same workload form a run. Finishing copies each workload's runs together behind
//! its resource: one copy at memory speed, and no buffer per workload that could grow large and stay.

use std::ops::Range;

use bytes::Bytes;

use crate::event::Workload;

use super::bodies::Bodies;
use super::record::Record;
use super::resource::{self, Identity, Resources};
use super::wire;

/// Field number of an item in its scope, and of scopes and resources in what holds them.
const ITEM: u8 = 2;
const SCOPES: u32 = 2;
const GROUPS: u32 = 1;
/// Most bytes of a tag and a length.
const HEADER_MAX: usize = 6;
/// Bytes of a new arena.
const ARENA: usize = 64 << 10;
/// No further run.
const END: usize = usize::MAX;

/// An export request, ready to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The protobuf bytes of the `Export…ServiceRequest`.
    pub body: Bytes,
    /// Log records, spans or data points in it: what a loss of the request counts.
    pub items: u32,
}

/// Consecutive items of one workload in the arena.
#[derive(Debug)]
struct Run {
    start: usize,
    end: usize,
    next: usize,
}

/// The runs of one workload.
#[derive(Debug)]
struct Group {
    workload: u32,
    first: usize,
    last: usize,
    bytes: usize,
}

/// See the module's text.
#[derive(Debug)]
pub(super) struct Batch {
    resources: Resources,
    scope: Vec<u8>,
    max_bytes: usize,
    /// The items, up to `sealed`; what follows is room.
    arena: Vec<u8>,
    sealed: usize,
    runs: Vec<Run>,
    groups: Vec<Group>,
    /// By workload index: its position in `groups` + 1, 0 = none.
    slots: Vec<u32>,
    items: u32,
    /// Bytes that finishing adds to the arena's, at most.
    overhead: usize,
    bodies: Bodies,
    /// What stands before a workload's items, while a request is built.
    head: Vec<u8>,
}

impl Batch {
    pub(super) fn new(identity: &Identity, max_bytes: usize) -> Self {
        Self {
            resources: Resources::new(identity),
            scope: resource::scope(identity),
            max_bytes,
            arena: Vec::new(),
            sealed: 0,
            runs: Vec::new(),
            groups: Vec::new(),
            slots: Vec::new(),
            items: 0,
            overhead: 0,
            bodies: Bodies::default(),
            head: Vec::new(),
        }
    }

    /// Bytes of the request if it were finished now, at most a few per workload more.
    pub(super) fn len(&self) -> usize {
        self.sealed + self.overhead
    }

    pub(super) fn items(&self) -> u32 {
        self.items
    }

    /// Adds an item that `write` encodes. If the request would exceed its limit by it, the request
    /// without it comes back and the item begins the next one; alone, an item may exceed the limit.
    ///
    /// `write` is called again where it found too little room. If it panics, the batch is as before.
    #[inline]
    pub(super) fn push<const FIELD: u8>(
        &mut self,
        workload: &Workload,
        mut write: impl FnMut(&mut Record<'_, FIELD>),
    ) -> Option<Encoded> {
        let start = self.sealed;
        let end = loop {
            let room = self.arena.get_mut(start..).unwrap_or_default();
            let len = room.len();
            let mut record = Record::new(room);
            record.message(ITEM, |record| write(record));
            if let Some(left) = record.room_left() {
                break start + len - left;
            }
            // Room is memory that was written to: by a quarter, not twice as much.
            self.arena.resize(self.arena.len() + ARENA.max(self.arena.len() / 4), 0);
        };
        let known = self.slots.get(workload.index as usize).is_some_and(|slot| *slot != 0);
        let around = if known { 0 } else { self.around(workload) };
        if self.items == 0 || end + self.overhead + around <= self.max_bytes {
            self.link(workload.index, start..end, around);
            return None;
        }
        let before = self.build();
        self.arena.copy_within(start..end, 0);
        let around = self.around(workload);
        self.link(workload.index, 0..end - start, around);
        Some(before)
    }

    /// Bytes around the items of a workload that has none yet, at most.
    fn around(&mut self, workload: &Workload) -> usize {
        let index = workload.index as usize;
        if index >= self.slots.len() {
            self.slots.resize(index + 1, 0);
        }
        self.resources.ensure(workload).len() + self.scope.len() + 2 * HEADER_MAX
    }

    /// The request, if it has any item; begins a new one.
    pub(super) fn finish(&mut self) -> Option<Encoded> {
        (self.items > 0).then(|| self.build())
    }

    /// Enters the item at `place` of the arena into its workload's group.
    fn link(&mut self, workload: u32, place: Range<usize>, around: usize) {
        let Range { start, end } = place;
        self.sealed = end;
        self.items += 1;
        let slot = self.slots[workload as usize] as usize;
        if slot == 0 {
            self.groups.push(Group {
                workload,
                first: self.runs.len(),
                last: self.runs.len(),
                bytes: end - start,
            });
            self.slots[workload as usize] = self.groups.len() as u32;
            self.overhead += around;
            self.runs.push(Run { start, end, next: END });
            return;
        }
        let run = self.runs.len();
        let group = &mut self.groups[slot - 1];
        group.bytes += end - start;
        if group.last + 1 == run {
            self.runs[group.last].end = end;
        } else {
            self.runs[group.last].next = run;
            group.last = run;
            self.runs.push(Run { start, end, next: END });
        }
    }

    /// The request of all linked items; forgets them.
    fn build(&mut self) -> Encoded {
        let body = self.bodies.take(self.sealed + self.overhead);
        for group in &self.groups {
            let resource = self.resources.get(group.workload);
            let scope_len = self.scope.len() + group.bytes;
            self.head.clear();
            wire::header(&mut self.head, GROUPS, resource.len() + wire::header_len(scope_len) + scope_len);
            self.head.extend_from_slice(resource);
            wire::header(&mut self.head, SCOPES, scope_len);
            self.head.extend_from_slice(&self.scope);
            body.extend_from_slice(&self.head);
            let mut at = group.first;
            while let Some(run) = self.runs.get(at) {
                body.extend_from_slice(&self.arena[run.start..run.end]);
                at = run.next;
            }
            self.slots[group.workload as usize] = 0;
        }
        let body = body.split().freeze();
        let items = std::mem::take(&mut self.items);
        self.groups.clear();
        self.runs.clear();
        (self.sealed, self.overhead) = (0, 0);
        Encoded { body, items }
    }
}
