//! The loss ledger's kernel half: per CPU, per sensor, what was produced and what was lost, by reason.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::SENSORS;

/// Why a record that a program set out to write did not reach its ring whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Loss {
    /// The ring had no room.
    RingFull = 0,
    /// A kernel object could not be read (a NULL where none should be).
    Unreadable = 1,
    /// Another record of the sensor was being made on this CPU: its task was interrupted by this one.
    Nested = 2,
}

/// How many reasons there are.
pub const LOSS_REASONS: usize = 3;

impl Loss {
    /// Every reason, in index order.
    pub const ALL: [Self; LOSS_REASONS] = [Self::RingFull, Self::Unreadable, Self::Nested];

    /// The reason's name in metrics and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RingFull => "ring_full",
            Self::Unreadable => "unreadable",
            Self::Nested => "nested",
        }
    }
}

/// One sensor's row on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SensorLedger {
    /// Records a program set out to write; also the next sequence number.
    pub produced: u64,
    /// Records lost, indexed by [`Loss`].
    pub lost: [u64; LOSS_REASONS],
}

/// One CPU's ledger: the value of the per-CPU array `LEDGER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Ledger {
    /// Indexed by [`crate::Sensor`] number.
    pub sensors: [SensorLedger; SENSORS],
}
