//! Memory: what a burst of connections took is given back, and more when memory is short.

use super::table::Table;
use crate::event::Flow;

/// Slots that are never given back: some 400 kB.
const ROOM: usize = 1024;

impl Table {
    /// Gives memory back if most of it was not needed since the last call: so a burst is paid for once, and a
    /// table that fills again and again keeps its room. To be called every few seconds; whether it did.
    pub fn tidy(&mut self) -> bool {
        let needed = std::mem::replace(&mut self.most, self.arena.len());
        let wasteful = self.arena.slots() > ROOM && needed < self.arena.slots() / 4;
        if wasteful {
            self.compact();
        }
        wasteful
    }

    /// Gives up an eighth of the connections, those that changed longest ago, and all memory that is not
    /// needed. Each is reported as it was last seen.
    pub fn shed(&mut self, out: &mut Vec<Flow>) {
        for _ in 0..self.arena.len().div_ceil(8) {
            let Some(stalest) = self.arena.stalest() else { break };
            self.counts.shed += 1;
            self.finish(stalest, out);
        }
        self.compact();
    }

    pub(super) fn compact(&mut self) {
        let Self { arena, held, sweeping, .. } = self;
        held.retain(|(_, handle)| arena.holds(*handle));
        sweeping.retain(|handle| arena.holds(*handle));
        let moves = arena.compact();
        for (_, handle) in held.iter_mut() {
            *handle = moves.handle(*handle);
        }
        for handle in sweeping.iter_mut() {
            *handle = moves.handle(*handle);
        }
        held.shrink_to_fit();
        self.cursor = moves.cursor(self.cursor);
        self.most = self.arena.len();
    }
}
