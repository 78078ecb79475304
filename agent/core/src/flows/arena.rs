//! Where connections live: slots that are reused, found by socket address, ordered by last change.
//!
//! One address can hold several lives at once, because the records of a new life may arrive before
//! the last records of the old one: each slot links to the next older life of its address.

use rustc_hash::FxHashMap;

use super::connection::Connection;

/// No slot.
const NIL: u32 = u32::MAX;

struct Slot {
    connection: Connection,
    /// Grows when the slot is freed, so that a remembered (slot, generation) goes stale.
    generation: u32,
    used: bool,
    /// The next older life of this socket address.
    older: u32,
    /// Neighbours in the order of change.
    fresher: u32,
    staler: u32,
}

/// A slot and the life in it, for queues that outlive it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    pub(super) slot: u32,
    generation: u32,
}

/// Where the lives of an arena went: by former slot, [`NIL`] for an empty one.
pub(super) struct Moves(Vec<u32>);

impl Moves {
    fn slot(&self, slot: u32) -> u32 {
        self.0.get(slot as usize).copied().unwrap_or(NIL)
    }

    /// The life's place now; its slot held it before.
    pub(super) fn handle(&self, Handle { slot, generation }: Handle) -> Handle {
        Handle { slot: self.slot(slot), generation }
    }

    /// Where a walk over the slots that had come to `slot` goes on.
    pub(super) fn cursor(&self, slot: u32) -> u32 {
        let before = self.0.iter().take(slot as usize).rev();
        before.copied().find(|slot| *slot != NIL).map_or(0, |slot| slot + 1)
    }
}

/// Connections by socket address.
pub(super) struct Arena {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_sock: FxHashMap<u64, u32>,
    freshest: u32,
    stalest: u32,
}

impl Arena {
    pub(super) fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_sock: FxHashMap::default(),
            freshest: NIL,
            stalest: NIL,
        }
    }

    /// Lives held.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Slots ever made: the range a sweep's cursor walks.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The life in a slot, if there is one.
    pub(super) fn get(&self, slot: u32) -> Option<&Connection> {
        self.slots.get(slot as usize).filter(|held| held.used).map(|held| &held.connection)
    }

    /// The life in a slot, if there is one.
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Connection> {
        self.slots.get_mut(slot as usize).filter(|held| held.used).map(|held| &mut held.connection)
    }

    pub(super) fn handle(&self, slot: u32) -> Handle {
        Handle { slot, generation: self.slots.get(slot as usize).map_or(0, |held| held.generation) }
    }

    /// Whether the same life is still in the slot.
    pub(super) fn holds(&self, handle: Handle) -> bool {
        self.slots
            .get(handle.slot as usize)
            .is_some_and(|held| held.used && held.generation == handle.generation)
    }

    /// The oldest life of an address for which `wanted` holds: of two lives that a record could
    /// belong to, it belongs to the one that ends first after it.
    pub(super) fn find(&self, sock: u64, wanted: impl Fn(&Connection) -> bool) -> Option<u32> {
        let mut found = None;
        let mut at = self.by_sock.get(&sock).copied().unwrap_or(NIL);
        while let Some(held) = self.slots.get(at as usize) {
            if wanted(&held.connection) {
                found = Some(at);
            }
            at = held.older;
        }
        found
    }

    /// The life before this one at the same address.
    pub(super) fn older(&self, slot: u32) -> Option<u32> {
        self.slots.get(slot as usize).map(|held| held.older).filter(|&older| older != NIL)
    }

    /// Adds a life of an address that begins at `at_ns`. Returns its slot and the next newer life of its address.
    pub(super) fn insert(&mut self, sock: u64, at_ns: u64) -> (u32, Option<u32>) {
        let mut newer = NIL;
        let mut older = self.by_sock.get(&sock).copied().unwrap_or(NIL);
        while let Some(held) = self.slots.get(older as usize) {
            if held.connection.first_ns() <= at_ns {
                break;
            }
            newer = older;
            older = held.older;
        }
        let slot = self.place(sock, older);
        match self.slots.get_mut(newer as usize) {
            Some(held) => held.older = slot,
            None => {
                self.by_sock.insert(sock, slot);
            }
        }
        self.push_freshest(slot);
        (slot, (newer != NIL).then_some(newer))
    }

    fn place(&mut self, sock: u64, older: u32) -> u32 {
        if let Some(slot) = self.free.pop()
            && let Some(held) = self.slots.get_mut(slot as usize)
        {
            // Written where it is: a life is some 350 bytes.
            held.connection.begin(sock);
            held.used = true;
            held.older = older;
            return slot;
        }
        let slot = self.slots.len() as u32;
        let connection = Connection::new(sock);
        self.slots.push(Slot { connection, generation: 0, used: true, older, fresher: NIL, staler: NIL });
        slot
    }

    /// Takes a life out. What is returned stays as it was until the next one is added.
    pub(super) fn remove(&mut self, slot: u32) -> Option<&mut Connection> {
        let held = self.slots.get(slot as usize).filter(|held| held.used)?;
        let (sock, older) = (held.connection.tuple.sock, held.older);
        let mut at = self.by_sock.get(&sock).copied().unwrap_or(NIL);
        if at == slot {
            match older {
                NIL => self.by_sock.remove(&sock),
                _ => self.by_sock.insert(sock, older),
            };
        }
        while let Some(held) = self.slots.get_mut(at as usize) {
            at = held.older;
            if at == slot {
                held.older = older;
                break;
            }
        }
        self.unlink(slot);
        self.free.push(slot);
        let held = self.slots.get_mut(slot as usize)?;
        held.used = false;
        held.generation = held.generation.wrapping_add(1);
        Some(&mut held.connection)
    }

    /// Gives the memory of empty slots back. Lives move, in their order, to the first slots; returns where
    /// each went.
    pub(super) fn compact(&mut self) -> Moves {
        let mut next = 0;
        let place = |held: &Slot| {
            let place = if held.used { next } else { NIL };
            next += u32::from(held.used);
            place
        };
        let moves = Moves(self.slots.iter().map(place).collect());
        self.slots.retain(|held| held.used);
        self.slots.shrink_to_fit();
        self.free = Vec::new();
        for held in &mut self.slots {
            for slot in [&mut held.older, &mut held.fresher, &mut held.staler] {
                *slot = moves.slot(*slot);
            }
        }
        self.by_sock.values_mut().for_each(|slot| *slot = moves.slot(*slot));
        self.by_sock.shrink_to_fit();
        self.freshest = moves.slot(self.freshest);
        self.stalest = moves.slot(self.stalest);
        moves
    }

    /// Marks a life as just changed.
    pub(super) fn touch(&mut self, slot: u32) {
        if self.freshest != slot {
            self.unlink(slot);
            self.push_freshest(slot);
        }
    }

    /// The life that changed longest ago.
    pub(super) fn stalest(&self) -> Option<u32> {
        (self.stalest != NIL).then_some(self.stalest)
    }

    fn unlink(&mut self, slot: u32) {
        let Some(held) = self.slots.get(slot as usize) else { return };
        let (fresher, staler) = (held.fresher, held.staler);
        match self.slots.get_mut(fresher as usize) {
            Some(held) => held.staler = staler,
            None => self.freshest = staler,
        }
        match self.slots.get_mut(staler as usize) {
            Some(held) => held.fresher = fresher,
            None => self.stalest = fresher,
        }
    }

    fn push_freshest(&mut self, slot: u32) {
        let staler = self.freshest;
        if let Some(held) = self.slots.get_mut(slot as usize) {
            (held.fresher, held.staler) = (NIL, staler);
        }
        match self.slots.get_mut(staler as usize) {
            Some(held) => held.fresher = slot,
            None => self.stalest = slot,
        }
        self.freshest = slot;
    }
}
