//! Captures: what the kernel told the agent, in a file, so that the same pipeline can be run on it
//! again: on any machine, without a kernel's help, with the same output byte for byte.
//!
//! ```text
//! file   = MAGIC version:u32 block*
//! block  = kind:u8 flags:u8 0:u16 raw:u32 stored:u32 crc:u32 number:u64 bytes[stored]     (little endian)
//! blocks = About (JSON: where it is from)  Frames* (what happened, zstd)  End (JSON: totals)
//! frame  = tag:u8 …                                                    (see [`frame`])
//! ```
//! A block counts only whole: its checksum covers its header and its bytes, and blocks are numbered. A
//! writer that is killed leaves a file that ends early, never one that says something else.
//!
//! What leaves the machine with a capture: kernel addresses of sockets are replaced by a keyed hash whose
//! key is forgotten, and what the redactor hides in arguments is overwritten (`scrub.rs`). Paths, command
//! lines, user ids, addresses and ports stay: they are what a capture is for.

pub mod about;
pub mod block;
pub mod frame;
pub mod read;
mod scrub;
#[cfg(test)]
mod tests;
pub mod write;

pub use about::{About, SensorAtStart, Totals};
pub use frame::{Frame, Time};
pub use read::{Ending, ReadError, Reader};
pub use write::{Cut, Recorder, WriteError};

/// First bytes of a capture: not text, and damaged visibly by a transfer that rewrites line ends.
pub const MAGIC: [u8; 8] = *b"\x89TSR\r\n\x1a\n";
/// Version of blocks and frames: a new kind of frame is a new one. The records inside have their own: [`tarsier_abi::ABI`].
pub const VERSION: u32 = 2;
/// The oldest version of which all is read as it was written: the second has kinds of frames that the first does not have.
pub const OLDEST_VERSION: u32 = 1;
