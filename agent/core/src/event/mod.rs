//! Events: what decoding makes of records, and the entities that events are about.
//!
//! One file per sensor, of the sensor's stem: its typed body and its decoder. [`Body`] is generated
//! from the sensor registry; adding a sensor edits nothing here.

mod accounts;
pub mod alert;
pub mod cgroup;
mod container;
mod entity;
pub mod exec;
pub mod exit;
pub mod fork;
mod image;
pub mod io_uring;
mod origin;
pub mod syscall;
pub mod tcp;

pub use accounts::{Accounts, User};
pub use container::{ContainerFacts, ImageFacts, Label, Mount, PodFacts};
pub use entity::{CloseReason, Flow, FlowKind, Process, Report, Role, What, Workload, WorkloadKind};
pub use image::{Argv, Image, Strings};
pub use origin::Origin;
pub use tarsier_abi::{Header, Namespaces, Sensor, TaskKey};

/// Why bytes are not a record. Each is counted by [`crate::decode::Decoder`]; none is fatal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// Shorter than its fixed part, or than a tail says.
    #[error("record is too short")]
    Short,
    /// No such sensor number.
    #[error("unknown sensor")]
    Sensor,
    /// No such record of that sensor.
    #[error("unknown record")]
    Op,
    /// A field holds a value that it cannot hold (an address family, a tail outside the record).
    #[error("impossible value")]
    Value,
}

impl Malformed {
    /// Every kind; `ALL[n] as usize == n`.
    pub const ALL: [Self; 4] = [Self::Short, Self::Sensor, Self::Op, Self::Value];

    /// The kind's name in metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Sensor => "sensor",
            Self::Op => "op",
            Self::Value => "value",
        }
    }
}

macro_rules! define_body {
    ($(($stem:ident, $variant:ident, $number:literal, $ring:ident, $doc:literal);)+) => {
        /// A decoded record, by sensor. Borrows its strings from the record's bytes.
        #[derive(Clone, Debug)]
        pub enum Body<'a> { $(#[doc = $doc] $variant($stem::Event<'a>),)+ }

        impl<'a> Event<'a> {
            /// Decodes what follows the header; total on arbitrary bytes.
            ///
            /// # Errors
            /// If the bytes are no record of that sensor.
            // Inlined, the event is written where the caller has it, and not copied there: it is as large as the largest.
            #[inline]
            pub fn decode(sensor: Sensor, header: Header, record: &'a [u8]) -> Result<Self, Malformed> {
                let op = header.op;
                match sensor {
                    $(Sensor::$variant => {
                        let body = Body::$variant($stem::decode(op, record)?);
                        Ok(Self { sensor, header, body })
                    })+
                }
            }
        }
    };
}
tarsier_abi::for_each_sensor!(define_body);

/// A header and what it heads.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// The sensor that wrote it.
    pub sensor: Sensor,
    /// CPU, sequence number, time.
    pub header: Header,
    /// The typed rest.
    pub body: Body<'a>,
}

/// A tail's bytes, checked. An absent one is empty wherever it points.
pub(crate) fn tail(record: &[u8], tail: tarsier_abi::Tail) -> Result<&[u8], Malformed> {
    if tail.len == 0 {
        return Ok(&[]);
    }
    let start = usize::from(tail.offset);
    record.get(start..start + usize::from(tail.len)).ok_or(Malformed::Value)
}
