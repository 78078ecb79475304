//! Flows: from the socket's own records to connections, and from connections to metric series.
//!
//! [`Table`] joins the records of one socket by its kernel address, in whatever order several rings
//! deliver them, and hands out one [`Flow`](crate::event::Flow) when a connection is over, plus one
//! per sweep in which a living one moved. [`Aggregate`] folds the flows' deltas into capped series.
//!
//! Time is an argument everywhere: `CLOCK_BOOTTIME` of the records, never a clock of ours.

mod aggregate;
mod arena;
mod connection;
mod fit;
mod listeners;
mod room;
mod sweep;
mod table;
mod tombstones;
mod totals;

#[cfg(test)]
mod tests;

pub use aggregate::{
    Aggregate, BOUNDS_US, Counter, Exemplar, Failure, Histogram, Key, OTHER, Series, Values,
};
pub use table::{Counts, Limits, Table};
