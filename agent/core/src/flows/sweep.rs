//! Sweeps: connections that outlive the interval are looked at by address, a batch per call.

use tarsier_abi::tcp::{SweepSlot, Tuple, state, sweep};

use super::arena::Handle;
use super::connection::Connection;
use super::table::Table;
use crate::event::Flow;

/// A socket is read torn only in the midst of a change. So often in a row, and never with the ports of the
/// connection, it is no socket: the memory has gone to something else, which changes all the time.
const TORN_ROUNDS: u8 = 4;

/// Whether what is at the address of a life, as far as a sweep tells, may be this life: a connection between
/// the same ports, or one in the making or just over.
fn may_be(life: &Connection, found: &Tuple) -> bool {
    let known = life.ends.map_or((0, 0), |ends| (ends.local.1, ends.peer.1));
    let same = |known: u16, found: u16| known == 0 || known == found;
    let is_connection = matches!(
        found.state,
        state::SYN_SENT
            | state::SYN_RECV
            | state::ESTABLISHED
            | state::FIN_WAIT1
            | state::FIN_WAIT2
            | state::CLOSE_WAIT
            | state::CLOSING
            | state::LAST_ACK
    );
    is_connection && same(known.0, found.local_port) && same(known.1, found.peer_port)
}

impl Table {
    /// Fills `slots` with connections that no record and no sweep has touched in this
    /// round, and returns how many. Fewer than `slots.len()` (also 0) ends the round: the next call
    /// begins another. To spread a round over an interval, call it ⌈[`Table::len`] / batch⌉ times
    /// in the interval.
    pub fn sweep_batch(&mut self, slots: &mut [SweepSlot]) -> usize {
        if self.cursor == 0 {
            self.round_ns = self.now_ns;
        }
        let mut filled = 0;
        self.sweeping.clear();
        while filled < slots.len() {
            if self.cursor as usize >= self.arena.slots() {
                self.cursor = 0;
                break;
            }
            let life = self.arena.get(self.cursor);
            self.cursor += 1;
            let Some(life) = life else { continue };
            let wanted = life.can_be_swept() || life.is_anonymous();
            if !wanted || life.checked_ns > self.round_ns {
                continue;
            }
            let (Some(ends), Some(slot)) = (life.ends, slots.get_mut(filled)) else { continue };
            let (base, isn_peer) = life.numbers.unwrap_or_default();
            *slot = SweepSlot {
                tuple: Tuple {
                    sock: life.tuple.sock,
                    base,
                    isn_peer,
                    local_port: ends.local.1,
                    peer_port: ends.peer.1,
                    ..Tuple::default()
                },
                status: sweep::PENDING,
                ..SweepSlot::default()
            };
            let at = self.cursor - 1;
            self.sweeping.push(self.arena.handle(at));
            filled += 1;
        }
        filled
    }

    /// Takes in what the sweep program made of the last batch, in the same order; `now_ns` is the
    /// boot time after it ran. Connections that sent or received since their last report are
    /// appended to `out` as [`FlowKind::Live`](crate::event::FlowKind). One whose socket is gone is
    /// not reported yet: its close record may still be in a ring, and [`Table::advance`] reports
    /// it if not. Torn reads are left to the next round, but not for ever: see `TORN_ROUNDS`.
    ///
    /// A connection whose numbers are not known is found gone, whatever is at its address, unless a
    /// connection to the same port is there: that may be this one.
    pub fn apply_sweep(&mut self, slots: &[SweepSlot], now_ns: u64, out: &mut Vec<Flow>) {
        self.now_ns = self.now_ns.max(now_ns);
        let batch = std::mem::take(&mut self.sweeping);
        let mut chosen = batch.iter();
        for slot in slots {
            // A capture may be of an agent that chose fewer.
            let is_meant = |handle: &&Handle| {
                let life = self.arena.get(handle.slot).filter(|_| self.arena.holds(**handle));
                life.is_none_or(|life| life.tuple.sock == slot.tuple.sock)
            };
            let Some(&handle) = chosen.find(is_meant) else { break };
            if !self.arena.holds(handle) {
                continue;
            }
            let Some(life) = self.arena.get_mut(handle.slot) else { continue };
            // Since the batch was filled, a record may have ended it, or told its numbers.
            if !life.can_be_swept() && !life.is_anonymous() {
                continue;
            }
            let anonymous = life.numbers != Some((slot.tuple.base, slot.tuple.isn_peer));
            match slot.status {
                sweep::GONE | sweep::TORN if anonymous && may_be(life, &slot.tuple) => {}
                // As busy as this one may be: it has the ports.
                sweep::TORN if may_be(life, &slot.tuple) => life.torn_rounds = 0,
                sweep::TORN if life.torn_rounds + 1 < TORN_ROUNDS => life.torn_rounds += 1,
                sweep::GONE | sweep::TORN => {
                    life.gone_ns = now_ns;
                    self.hold(handle.slot);
                }
                sweep::LIVE => {
                    life.torn_rounds = 0;
                    life.checked_ns = life.checked_ns.max(now_ns);
                    life.tuple.state =
                        if slot.tuple.state == 0 { life.tuple.state } else { slot.tuple.state };
                    if life.advance_to(&slot.counters) {
                        out.extend(life.live(now_ns));
                        self.arena.touch(handle.slot);
                    }
                }
                _ => {}
            }
        }
        self.sweeping = batch;
        self.sweeping.clear();
    }
}
