//! The only types both sides of the ring see: records, the sensor registry, the ledger, the
//! kernel offset table and the agent's read-only globals. Fixed-width integers, explicit padding,
//! little surprise: every record type derives zerocopy's `IntoBytes`, so padding that would leak
//! kernel memory does not compile.
//!
//! A record is a fixed part that starts with a [`Header`], followed by tails (strings, addresses)
//! that the fixed part points at by ([`Tail`]) offset and length, or whose size its type states.
//!
//! The registry is [`for_each_sensor`]: one line per sensor. The stem of that line names four
//! files: `ebpf/abi/src/<stem>.rs`, `ebpf/src/sensors/<stem>.rs`,
//! `agent/core/src/event/<stem>.rs` and `tests/src/sensors/<stem>.rs`.
#![no_std]

pub mod cgroup;
pub mod exec;
pub mod exit;
pub mod fork;
mod globals;
mod header;
mod hook;
pub mod io_uring;
mod ledger;
mod offsets;
pub mod syscall;
pub mod tcp;

pub use globals::{BULK_RINGS, CAST_NUMBER, CAST_TO_READABLE, Globals, MAX_SCOPE_DEPTH, SCRATCH_BYTES};
pub use header::{Header, Namespaces, Tail, TaskKey};
pub use hook::{Attach, Entry, Hook, HookKind};
pub use ledger::{LOSS_REASONS, Ledger, Loss, SensorLedger};
pub use offsets::{ABSENT, FIELDS, FieldSpec, Need};

/// Version of the records, as captures state it. A change of any record's layout or meaning is a new one; a
/// test of the agent holds the two together.
pub const ABI: u32 = 2;

/// The ring a sensor writes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ring {
    /// Process and cgroup lifecycle: few, small, drained first, sized never to fill.
    Priority,
    /// Everything whose rate follows the workload.
    Bulk,
}

/// The sensor registry: stem, variant, number, ring, one line of documentation.
///
/// Adding a sensor is adding one line here and the four files of its stem.
#[macro_export]
macro_rules! for_each_sensor {
    ($callback:ident) => {
        $callback! {
            (cgroup, Cgroup, 0, Priority, "cgroups made and removed: what names a container");
            (exec,   Exec,   1, Priority, "a process starts a program (execve, execveat)");
            (fork,   Fork,   2, Priority, "a process is created (fork, vfork, clone)");
            (exit,   Exit,   3, Priority, "a process ends: exit code or signal");
            (tcp,    Tcp,    4, Bulk,     "TCP connections: opened, established, closed, with the kernel's own counters");
            (syscall, Syscall, 5, Bulk, "system calls that rules are about, as they return");
            (io_uring, IoUring, 6, Bulk, "the same done by requests of io_uring, as they complete");
        }
    };
}

macro_rules! define_sensors {
    ($(($stem:ident, $variant:ident, $number:literal, $ring:ident, $doc:literal);)+) => {
        /// A sensor: the unit a user turns on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Sensor { $(#[doc = $doc] $variant = $number,)+ }

        /// How many sensors there are; ledger rows are indexed by sensor number.
        pub const SENSORS: usize = [$($number),+].len();

        impl Sensor {
            /// Every sensor, in registry order; `ALL[n] as usize == n`.
            pub const ALL: [Self; SENSORS] = [$(Self::$variant),+];

            /// The stem: the name in configuration, files and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($stem),)+ }
            }
            /// One line for people.
            pub const fn doc(self) -> &'static str {
                match self { $(Self::$variant => $doc,)+ }
            }
            /// The ring its records travel in.
            pub const fn ring(self) -> Ring {
                match self { $(Self::$variant => Ring::$ring,)+ }
            }
            /// Whether nothing can be named without it: identity, parents and ends of processes.
            pub const fn is_core(self) -> bool {
                matches!(self, Self::Exec | Self::Fork | Self::Exit)
            }
            /// Whether what it tells is for rules alone.
            pub const fn is_for_rules(self) -> bool {
                matches!(self, Self::Syscall | Self::IoUring)
            }
            /// What it listens to, and by which hooks it can.
            pub const fn attach(self) -> &'static [Attach] {
                match self { $(Self::$variant => $stem::ATTACH,)+ }
            }
        }

        impl TryFrom<u8> for Sensor {
            type Error = u8;
            fn try_from(number: u8) -> Result<Self, u8> {
                match number { $($number => Ok(Self::$variant),)+ other => Err(other) }
            }
        }
    };
}
for_each_sensor!(define_sensors);

const _: () = {
    let mut index = 0;
    while index < SENSORS {
        assert!(Sensor::ALL[index] as usize == index, "sensor numbers are dense and in order");
        index += 1;
    }
};
