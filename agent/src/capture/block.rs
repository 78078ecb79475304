//! Blocks: a header, a checksum, bytes that may be compressed.

use std::io::{self, Read, Write};

/// Bytes of a block's header.
pub const HEADER: usize = 24;
/// Most bytes of a block, before and after compression. A header that says more is damaged.
pub const BLOCK_MAX: usize = 16 << 20;
/// zstd's level: compression must keep up with a full ring.
const LEVEL: i32 = 1;
const COMPRESSED: u8 = 1;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`super::About`], JSON.
    About = 1,
    /// Frames.
    Frames = 2,
    /// [`super::Totals`], JSON.
    End = 3,
}

impl TryFrom<u8> for Kind {
    type Error = Damage;
    fn try_from(kind: u8) -> Result<Self, Damage> {
        match kind {
            1 => Ok(Self::About),
            2 => Ok(Self::Frames),
            3 => Ok(Self::End),
            _ => Err(Damage::Kind),
        }
    }
}

/// Why a block is not whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The file ends within it.
    #[error("it ends early")]
    Short,
    /// Its checksum is another.
    #[error("its checksum does not fit")]
    Checksum,
    /// It is none of the known kinds.
    #[error("it is of an unknown kind")]
    Kind,
    /// It is larger than a block can be.
    #[error("it is larger than a block can be")]
    Size,
    /// It is not the next one.
    #[error("it is not the next one: a block is missing or repeated")]
    Number,
    /// Its bytes cannot be unpacked to the size that it states.
    #[error("it cannot be unpacked")]
    Packing,
}

/// Packs blocks.
pub struct Packer {
    compressor: zstd::bulk::Compressor<'static>,
    number: u64,
    packed: Vec<u8>,
}

impl Packer {
    /// For the blocks of one file.
    ///
    /// # Errors
    /// zstd has no memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self { compressor: zstd::bulk::Compressor::new(LEVEL)?, number: 0, packed: Vec::new() })
    }

    /// The block that holds `bytes`, ready to write.
    ///
    /// # Errors
    /// `bytes` are more than [`BLOCK_MAX`], or zstd has no memory.
    pub fn pack(&mut self, kind: Kind, bytes: &[u8]) -> io::Result<&[u8]> {
        if bytes.len() > BLOCK_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a block of this size"));
        }
        self.packed.clear();
        self.packed.resize(HEADER + zstd::zstd_safe::compress_bound(bytes.len()), 0);
        let body = self.packed.get_mut(HEADER..).unwrap_or_default();
        // People read the JSON of a capture with `head`; and what does not shrink is stored as it is.
        let packed = match kind {
            Kind::Frames => self.compressor.compress_to_buffer(bytes, body)?,
            Kind::About | Kind::End => usize::MAX,
        };
        let (stored, flags) = if packed < bytes.len() {
            (packed, COMPRESSED)
        } else {
            body.get_mut(..bytes.len()).unwrap_or_default().copy_from_slice(bytes);
            (bytes.len(), 0)
        };
        self.packed.truncate(HEADER + stored);
        let mut header = [0; HEADER];
        header[0] = kind as u8;
        header[1] = flags;
        header[4..8].copy_from_slice(&(bytes.len() as u32).to_le_bytes());
        header[8..12].copy_from_slice(&(stored as u32).to_le_bytes());
        header[16..].copy_from_slice(&self.number.to_le_bytes());
        self.packed[..HEADER].copy_from_slice(&header);
        let sum = checksum(&header, &self.packed[HEADER..]);
        self.packed[12..16].copy_from_slice(&sum.to_le_bytes());
        self.number += 1;
        Ok(&self.packed)
    }

    /// The last block will not be written: the next one takes its number.
    pub fn forget_last(&mut self) {
        self.number = self.number.saturating_sub(1);
    }
}

/// Over the header with its checksum as 0, and the stored bytes.
fn checksum(header: &[u8; HEADER], stored: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&header[..12]);
    hasher.update(&[0; 4]);
    hasher.update(&header[16..]);
    hasher.update(stored);
    hasher.finalize()
}

/// Unpacks blocks.
pub struct Unpacker {
    decompressor: zstd::bulk::Decompressor<'static>,
    number: u64,
    stored: Vec<u8>,
}

/// What reading one block came to.
pub enum Unpacked {
    /// A whole block; its bytes are in the caller's vector.
    Block(Kind),
    /// The file ends where a block could begin.
    NoMore,
    /// A block that is not whole.
    Damaged(Damage),
}

impl Unpacker {
    /// For the blocks of one file.
    ///
    /// # Errors
    /// zstd has no memory.
    pub fn new() -> io::Result<Self> {
        Ok(Self { decompressor: zstd::bulk::Decompressor::new()?, number: 0, stored: Vec::new() })
    }

    /// How many blocks have been read whole.
    pub fn blocks(&self) -> u64 {
        self.number
    }

    /// Reads the next block into `bytes`.
    ///
    /// # Errors
    /// Reading failed; damage is no error of reading.
    pub fn next(&mut self, input: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<Unpacked> {
        let mut header = [0; HEADER];
        match fill(input, &mut header)? {
            0 => return Ok(Unpacked::NoMore),
            HEADER => {}
            _ => return Ok(Unpacked::Damaged(Damage::Short)),
        }
        Ok(match self.rest(input, &header, bytes)? {
            Ok(kind) => Unpacked::Block(kind),
            Err(damage) => Unpacked::Damaged(damage),
        })
    }

    fn rest(
        &mut self,
        input: &mut impl Read,
        header: &[u8; HEADER],
        bytes: &mut Vec<u8>,
    ) -> io::Result<Result<Kind, Damage>> {
        let word =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (raw, stored) = (word(4) as usize, word(8) as usize);
        if raw > BLOCK_MAX || stored > raw {
            return Ok(Err(Damage::Size));
        }
        self.stored.clear();
        // Grows with what is there, so that a header alone cannot ask for memory.
        let got = input.take(stored as u64).read_to_end(&mut self.stored)?;
        if got < stored {
            return Ok(Err(Damage::Short));
        }
        if checksum(header, &self.stored) != word(12) {
            return Ok(Err(Damage::Checksum));
        }
        let kind = match Kind::try_from(header[0]) {
            Ok(kind) => kind,
            Err(damage) => return Ok(Err(damage)),
        };
        if header[16..] != self.number.to_le_bytes() {
            return Ok(Err(Damage::Number));
        }
        bytes.clear();
        if header[1] & COMPRESSED == 0 {
            bytes.extend_from_slice(&self.stored);
        } else {
            bytes.reserve(raw);
            if self.decompressor.decompress_to_buffer(&self.stored, bytes).is_err() || bytes.len() != raw {
                return Ok(Err(Damage::Packing));
            }
        }
        self.number += 1;
        Ok(Ok(kind))
    }
}

/// Puts right the checksums and numbers of the blocks of a file, so that a fuzzer gets past them.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn mend(file: &mut [u8]) {
    let mut rest = file.get_mut(super::MAGIC.len() + size_of_val(&super::VERSION)..).unwrap_or_default();
    let mut number = 0_u64;
    while let Some((header, after)) = rest.split_first_chunk_mut::<HEADER>() {
        let stored = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
        let Some((stored, after)) = after.split_at_mut_checked(stored) else { return };
        header[16..].copy_from_slice(&number.to_le_bytes());
        let sum = checksum(header, stored);
        header[12..16].copy_from_slice(&sum.to_le_bytes());
        rest = after;
        number += 1;
    }
}

/// Reads until `buffer` is full or the input ends; how much.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match input.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Writes a file's first bytes.
///
/// # Errors
/// The output cannot be written.
pub fn write_start(output: &mut impl Write) -> io::Result<()> {
    output.write_all(&super::MAGIC)?;
    output.write_all(&super::VERSION.to_le_bytes())
}

/// Reads a file's first bytes: its version, or `None` if it is no capture.
///
/// # Errors
/// The input cannot be read.
pub fn read_start(input: &mut impl Read) -> io::Result<Option<u32>> {
    let mut start = [0; 12];
    let whole = fill(input, &mut start)? == start.len() && start[..8] == super::MAGIC;
    Ok(whole.then(|| u32::from_le_bytes([start[8], start[9], start[10], start[11]])))
}
