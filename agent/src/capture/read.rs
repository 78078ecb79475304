//! Reading a capture, a frame at a time.

use std::io::Read;

use tarsier_abi::Sensor;
use tarsier_abi::syscall::{CALLS, PartKind};
use tarsier_abi::tcp::SweepSlot;

use super::block::{self, Damage, Kind, Unpacked, Unpacker};
use super::{About, Frame, OLDEST_VERSION, SensorAtStart, Totals, VERSION};

/// A capture that cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It does not begin as captures do.
    #[error("this is not a capture: `tarsier record` makes one")]
    NotACapture,
    /// Made by a later version, or by one that is too old.
    #[error(
        "the capture has format {found}, this version reads {OLDEST_VERSION} to {VERSION}: use the version of tarsier that made it{}",
        or_later(.found, VERSION)
    )]
    Format {
        /// Its version.
        found: u32,
    },
    /// Its records are other than ours.
    #[error(
        "the capture's records are of version {found} (made by tarsier {by}), this version reads {ours}: use the version that made it",
        ours = tarsier_abi::ABI
    )]
    Records {
        /// Their version.
        found: u32,
        /// Which agent wrote them.
        by: String,
    },
    /// It may hold records of a sensor or of system calls that we do not know, or more of a call.
    #[error(
        "the capture may hold records that this version does not know (made by tarsier {by}): use the version that made it, or a later one"
    )]
    Later {
        /// Which agent wrote it.
        by: String,
    },
    /// Its first block is not whole or not what it should be.
    #[error("the capture says nothing of where it is from: it was cut at its very start, or damaged")]
    NoAbout,
    /// A block in its midst is damaged; everything before it has been read.
    #[error("block {block} of the capture is damaged: {damage}; what came before it has been read")]
    Damaged {
        /// Which.
        block: u64,
        /// How.
        damage: Damage,
    },
    /// A whole block that does not hold what it should.
    #[error("block {block} of the capture holds what this version cannot read")]
    Contents {
        /// Which.
        block: u64,
    },
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What reads a capture of version `found`, beside the agent that made it.
fn or_later(found: &u32, ours: u32) -> &'static str {
    if *found > ours { ", or a later one" } else { "" }
}

/// How a capture ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As it should.
    Whole(Totals),
    /// Early: its writer was killed, or its disk was full. All that was read is right.
    Cut,
}

/// Reads a capture from `R`; buffers by the block.
pub struct Reader<R> {
    input: R,
    unpacker: Unpacker,
    about: About,
    block: Vec<u8>,
    position: usize,
    slots: Vec<SweepSlot>,
    ending: Option<Ending>,
}

impl<R: Read> Reader<R> {
    /// Reads where it is from.
    ///
    /// # Errors
    /// It is no capture, or not one for this version.
    pub fn new(mut input: R) -> Result<Self, ReadError> {
        let found = block::read_start(&mut input)?.ok_or(ReadError::NotACapture)?;
        if !(OLDEST_VERSION..=VERSION).contains(&found) {
            return Err(ReadError::Format { found });
        }
        let mut unpacker = Unpacker::new()?;
        let mut block = Vec::new();
        let Unpacked::Block(Kind::About) = unpacker.next(&mut input, &mut block)? else {
            return Err(ReadError::NoAbout);
        };
        let about: About = serde_json::from_slice(&block).map_err(|_| ReadError::NoAbout)?;
        if about.abi != tarsier_abi::ABI {
            return Err(ReadError::Records { found: about.abi, by: about.tarsier });
        }
        let is_known = |sensor: &SensorAtStart| Sensor::ALL.iter().any(|known| known.name() == sensor.name);
        let knows_all = about.sensors.iter().all(is_known);
        if !knows_all || about.calls > CALLS || about.call_parts > PartKind::LAST {
            return Err(ReadError::Later { by: about.tarsier });
        }
        block.clear();
        Ok(Self { input, unpacker, about, block, position: 0, slots: Vec::new(), ending: None })
    }

    /// Where it is from.
    pub fn about(&self) -> &About {
        &self.about
    }

    /// The next frame; `None` at the end, whole or cut (see [`Self::ending`]).
    ///
    /// # Errors
    /// The file is damaged, or cannot be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, ReadError> {
        while self.position >= self.block.len() {
            if self.ending.is_some() || !self.next_block()? {
                return Ok(None);
            }
        }
        let block = self.unpacker.blocks() - 1;
        let bytes = self.block.get(self.position..).unwrap_or_default();
        let (frame, rest) =
            Frame::read_from(bytes, &mut self.slots).map_err(|_| ReadError::Contents { block })?;
        self.position = self.block.len() - rest.len();
        Ok(Some(frame))
    }

    /// How it ended, once [`Self::next_frame`] has given `None`.
    pub fn ending(&self) -> Option<Ending> {
        self.ending
    }

    /// The next block of frames; false at the end.
    fn next_block(&mut self) -> Result<bool, ReadError> {
        self.position = 0;
        let block = self.unpacker.blocks();
        let unpacked = self.unpacker.next(&mut self.input, &mut self.block)?;
        let kind = match unpacked {
            Unpacked::Block(kind) => kind,
            Unpacked::NoMore | Unpacked::Damaged(Damage::Short) => {
                self.block.clear();
                self.ending = Some(Ending::Cut);
                return Ok(false);
            }
            Unpacked::Damaged(damage) => {
                self.block.clear();
                return Err(ReadError::Damaged { block, damage });
            }
        };
        match kind {
            Kind::Frames => Ok(true),
            Kind::End => {
                let totals = serde_json::from_slice(&self.block);
                self.block.clear();
                self.ending = Some(Ending::Whole(totals.map_err(|_| ReadError::Contents { block })?));
                Ok(false)
            }
            Kind::About => Err(ReadError::Contents { block }),
        }
    }
}
