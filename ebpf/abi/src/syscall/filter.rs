//! What is wanted of system calls: which, and what rules can be about.

use crate::io_uring::OPERATIONS;

/// Numbers of system calls are smaller: those of x86-64 itself up to 470 (6.17), those of x32 alone from 512 to 547.
pub const CALL_NUMBERS: usize = 576;
/// Set in the number of an x32 call (`__X32_SYSCALL_BIT`), which is else that of x86-64.
pub const X32_BIT: u32 = 0x4000_0000;

/// Numbers that `socketcall(2)` is passed are smaller: up to 20 (include/uapi/linux/net.h), a power of two for a mask.
pub const SOCKET_CALLS: usize = 32;
/// Stands in the table for whatever call of a socket `socketcall(2)` makes.
pub const SOCKETCALL: u8 = u8::MAX;

/// Which system calls are wanted: by number, the [`Call`](super::Call) that it is plus one, 0 = not wanted. The low byte is that of
/// native calls, the high byte that of 32-bit ones.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct CallTable {
    /// By number.
    pub calls: [u16; CALL_NUMBERS],
    /// By the number that `socketcall(2)` is passed, likewise: the entry of a 32-bit call that stands for many is [`SOCKETCALL`].
    pub socket_calls: [u8; SOCKET_CALLS],
    /// By operation of io_uring, likewise.
    pub requests: [u8; OPERATIONS],
    /// Which of the [`PLANS`] holds.
    pub plan: u32,
}

/// Plans are written in turns: one holds while the other is made.
pub const PLANS: u32 = 2;
/// Most filters of a plan.
pub const FILTERS: usize = 16;
/// Most alternatives of a filter.
pub const ALTERNATIVES: usize = 32;

/// What rules can be about, by call: what it lets pass is never less than what a rule can match.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Plan {
    /// By [`Call`](super::Call): the filter's position plus one, 0 = everything passes.
    pub of_call: [u8; 128],
    /// The filters.
    pub filters: [Filter; FILTERS],
}

impl Plan {
    /// A plan by which everything passes.
    pub const EVERYTHING: Self = Self { of_call: [0; 128], filters: [Filter::NOTHING; FILTERS] };
}

impl Filter {
    /// A filter that nothing passes.
    pub const NOTHING: Self = Self {
        by_class: [0; CLASSES],
        of_any_end: 0,
        in_common: [Alternative::ANYTHING; CLASSES],
        alternatives: [Alternative::ANYTHING; ALTERNATIVES],
    };
}

impl Alternative {
    /// It always holds.
    pub const ANYTHING: Self = Self { head: 0, head_mask: 0, tail: 0, tail_mask: 0 };
}

/// What of a call passes: what all of its class have in common has to hold, and one of its alternatives.
///
/// An alternative is about a head and a tail, of eight bytes each. Of a call with one path: the path's first and last
/// ones, of the path as it was passed and of the file's own. Of a call with a descriptor and no path:
/// what [`socket_head`] says of its socket, and what was returned. Of a call with a choice: that argument's lower half, and what was
/// returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Filter {
    /// By [`class`]: the alternatives that are for it, one bit each.
    pub by_class: [u32; CLASSES],
    /// Alternatives that hold of some paths of files whatever these end with, one bit each.
    pub of_any_end: u32,
    /// By [`class`]: what all of its alternatives have in common. Most calls end here, at the cost of one.
    pub in_common: [Alternative; CLASSES],
    /// The alternatives.
    pub alternatives: [Alternative; ALTERNATIVES],
}

/// Bits that have to be, where the masks are set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Alternative {
    /// Of the head.
    pub head: u64,
    /// Which bits of it count.
    pub head_mask: u64,
    /// Of the tail.
    pub tail: u64,
    /// Which bits of it count.
    pub tail_mask: u64,
}

impl Alternative {
    /// Whether it holds of what is known of a head and a tail: bits that are not known agree with anything.
    #[inline(always)]
    pub const fn holds(&self, head: Known, tail: Known) -> bool {
        (head.bits ^ self.head) & self.head_mask & head.known == 0
            && (tail.bits ^ self.tail) & self.tail_mask & tail.known == 0
    }
}

/// Eight bytes, the first one lowest, and which of their bits are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The bytes.
    pub bits: u64,
    /// Which bits count.
    pub known: u64,
}

/// What the filter of a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Its path.
    Path,
    /// Its socket, and what it returned.
    Descriptor,
    /// The argument that says what is asked for, and what it returned.
    Choice,
    /// Only its class.
    Outcome,
}

/// How many classes there are.
pub const CLASSES: usize = 8;

/// The class of a call: the access mode that a file is opened with (`O_ACCMODE`; 0 of other calls), and whether
/// the call failed.
#[inline(always)]
pub const fn class(access: u32, failed: bool) -> usize {
    ((access & 3) * 2 + failed as u32) as usize
}

/// What a filter looks at of a socket: its family and, of one that knows its peer, the peer's port in host order. 0 of what is
/// no socket.
#[inline(always)]
pub const fn socket_head(family: u16, peer_port: u16) -> Known {
    let known = if peer_port == 0 { !PEER_PORT } else { u64::MAX };
    Known { bits: family as u64 | (peer_port as u64) << PEER_PORT.trailing_zeros(), known }
}

/// The bits of [`socket_head`] that are the family.
pub const FAMILY: u64 = 0xffff;
/// The bits of [`socket_head`] that are the peer's port.
pub const PEER_PORT: u64 = 0xffff << 16;
