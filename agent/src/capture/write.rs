//! Writing a capture: frames are gathered in a block, scrubbed, packed and written whole.

use std::io::{self, Write};

use tarsier_core::encode::redact::Redactor;

use super::block::{self, Kind, Packer};
use super::scrub::Scrubber;
use super::{About, Frame, Totals};

/// A block is written at the end of the drain cycle that fills it up to here …
const BLOCK_BYTES: usize = 256 * 1024;
/// … or in mid-cycle when it has grown up to here …
const BLOCK_FULL: usize = 4 << 20;
/// … or when it is this old: what a killed recorder loses.
const BLOCK_AGE_NS: u64 = 1_000_000_000;
/// Room kept for the last block.
const END_ROOM: u64 = 1024;

/// Nothing more is taken.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The output refuses: a full disk, a read-only file system. What was written before is a capture.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Why a capture takes no more frames although nothing failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It takes more.
    No,
    /// Its next block would exceed its greatest size.
    SizeLimit,
}

/// Writes a capture to `W`, which gets whole blocks only.
pub struct Recorder<W> {
    output: W,
    packer: Packer,
    scrubber: Scrubber,
    block: Vec<u8>,
    max_bytes: u64,
    written: u64,
    began_ns: u64,
    now_ns: u64,
    /// When the block under construction was begun, boot ns.
    block_ns: u64,
    totals: Totals,
    /// What was gathered since the last block that was written.
    unwritten: Totals,
    cut: Cut,
}

impl<W: Write> Recorder<W> {
    /// Writes the beginning. Secrets that `redactor` hides are overwritten; `max_bytes` is the greatest
    /// size of the whole.
    ///
    /// # Errors
    /// The output refuses.
    pub fn begin(
        mut output: W,
        about: &About,
        redactor: Option<Redactor>,
        max_bytes: Option<u64>,
    ) -> Result<Self, WriteError> {
        block::write_start(&mut output)?;
        let mut packer = Packer::new()?;
        let json = serde_json::to_vec(about).map_err(io::Error::from)?;
        let packed = packer.pack(Kind::About, &json)?;
        output.write_all(packed)?;
        let start = (super::MAGIC.len() + size_of_val(&super::VERSION) + packed.len()) as u64;
        Ok(Self {
            output,
            packer,
            scrubber: Scrubber::new(redactor),
            block: Vec::with_capacity(2 * BLOCK_BYTES),
            max_bytes: max_bytes.unwrap_or(u64::MAX),
            written: start,
            began_ns: about.began.boot_ns,
            now_ns: about.began.boot_ns,
            block_ns: about.began.boot_ns,
            totals: Totals::default(),
            unwritten: Totals::default(),
            cut: Cut::No,
        })
    }

    /// Takes one frame. After the size limit it takes none.
    ///
    /// # Errors
    /// The output refuses a block; the recorder is of no use any more.
    pub fn frame(&mut self, frame: &Frame<'_>) -> Result<Cut, WriteError> {
        if self.cut != Cut::No {
            return Ok(self.cut);
        }
        let start = frame.write_to(&mut self.block);
        self.scrubber.frame(frame, &mut self.block, start);
        self.unwritten.frames += 1;
        let due = match frame {
            Frame::Record(_) => {
                self.unwritten.records += 1;
                false
            }
            Frame::Begin(time) | Frame::Finish(time) => {
                self.now_ns = time.boot_ns;
                false
            }
            Frame::End => {
                self.block.len() >= BLOCK_BYTES || self.now_ns.saturating_sub(self.block_ns) >= BLOCK_AGE_NS
            }
            _ => false,
        };
        if due || self.block.len() >= BLOCK_FULL {
            self.seal()?;
        }
        Ok(self.cut)
    }

    /// What has been written so far.
    pub fn totals(&self) -> Totals {
        Totals { duration_ns: self.now_ns.saturating_sub(self.began_ns), ..self.totals }
    }

    /// Bytes of the file so far.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes what is gathered and the end; `lost` is what the kernel counted as lost meanwhile.
    ///
    /// # Errors
    /// The output refuses.
    pub fn finish(mut self, lost: u64) -> Result<(W, Totals), WriteError> {
        if self.cut == Cut::No {
            self.seal()?;
        }
        let size_limit = self.cut == Cut::SizeLimit;
        let totals = Totals { lost, size_limit, ..self.totals() };
        let json = serde_json::to_vec(&totals).map_err(io::Error::from)?;
        self.output.write_all(self.packer.pack(Kind::End, &json)?)?;
        self.output.flush()?;
        Ok((self.output, totals))
    }

    fn seal(&mut self) -> Result<(), WriteError> {
        if self.block.is_empty() {
            return Ok(());
        }
        let packed = self.packer.pack(Kind::Frames, &self.block)?;
        let size = packed.len() as u64;
        if self.written.saturating_add(size).saturating_add(END_ROOM) > self.max_bytes {
            self.cut = Cut::SizeLimit;
            // Its number goes to the end block instead.
            self.packer.forget_last();
            return Ok(());
        }
        self.output.write_all(packed)?;
        self.written += size;
        let Totals { records, frames, .. } = std::mem::take(&mut self.unwritten);
        self.totals.records += records;
        self.totals.frames += frames;
        self.totals.blocks += 1;
        self.totals.bytes += self.block.len() as u64;
        self.block.clear();
        self.block_ns = self.now_ns;
        self.scrubber.sealed();
        Ok(())
    }
}
