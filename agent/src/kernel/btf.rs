//! A reader of the kernel's BTF: just what resolving field offsets takes.
//!
//! Total on arbitrary bytes: a claim like any other. Format: Documentation/bpf/btf.rst.

mod reduce;

use rustc_hash::{FxHashMap, FxHashSet};

/// Why BTF could not be read or a name not be found in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BtfError {
    /// The header is not BTF's, or a section lies outside the data.
    #[error("not BTF data")]
    Header,
    /// A type runs past the end, or is of a kind this reader does not know.
    #[error("BTF type {0} is cut short or of an unknown kind")]
    Type(u32),
}

mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const FLOAT: u32 = 16;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// Deepest chain of typedefs or nested anonymous members followed: a guard against loops in bad data.
const DEPTH: u32 = 32;

/// Most members looked at to find one, those of anonymous members included. Real structures have hundreds;
/// one that holds itself twice would take 2^32.
const MEMBERS: u32 = 65_536;

/// One type's fixed part and where its variable part starts.
#[derive(Clone, Copy, Debug)]
struct Type {
    name: u32,
    kind: u32,
    len: u32,
    bitfields: bool,
    size_or_type: u32,
    /// Byte offset of the variable part.
    rest: usize,
}

/// A member that was found: where, and of what type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Bytes from the start of the outermost container.
    pub offset: u32,
    /// Size in bytes.
    pub size: u32,
    /// It is a pointer.
    pub is_pointer: bool,
}

/// A named member of one structure.
struct Found {
    /// Bits from the start of the structure.
    bits: u32,
    /// Width of a bit field; 0 = it is none.
    width: u32,
    /// Its type.
    id: u32,
}

/// Parsed BTF: an index over the kernel's bytes.
pub struct Btf {
    data: Vec<u8>,
    strings: usize,
    strings_len: usize,
    /// Byte offset of each type; index 0 is `void`.
    types: Vec<u32>,
    /// Structures, unions, typedefs and enums by name.
    names: FxHashMap<Box<[u8]>, u32>,
}

impl Btf {
    /// Parses and indexes.
    pub fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        let word = |at: usize| read_u32(&data, at).ok_or(BtfError::Header);
        if data.get(..2) != Some(&[0x9f, 0xeb]) {
            return Err(BtfError::Header);
        }
        let header = word(4)? as usize;
        let types_at = header + word(8)? as usize;
        let types_end = types_at + word(12)? as usize;
        let strings = header + word(16)? as usize;
        let strings_len = word(20)? as usize;
        if types_end > data.len() || strings + strings_len > data.len() {
            return Err(BtfError::Header);
        }
        let mut btf = Self { data, strings, strings_len, types: vec![0], names: FxHashMap::default() };
        let mut at = types_at;
        while at < types_end {
            let id = btf.types.len() as u32;
            let found = btf.type_at(at).ok_or(BtfError::Type(id))?;
            btf.types.push(at as u32);
            let named =
                matches!(found.kind, kind::STRUCT | kind::UNION | kind::TYPEDEF | kind::ENUM | kind::ENUM64);
            if named && found.name != 0 {
                let name: Box<[u8]> = btf.string(found.name).into();
                // The first wins but for empty forward-like structures of the same name.
                btf.names.entry(name).or_insert(id);
            }
            at = found.rest + variable_len(&found).ok_or(BtfError::Type(id))?;
        }
        Ok(btf)
    }

    /// How many types there are, `void` included.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) fn types(&self) -> usize {
        self.types.len()
    }

    /// Finds `path` ("a.b", "a.s\[0\].v") in `struct container`, through anonymous members. `None` if
    /// the structure or the member does not exist, or is a bit field.
    pub fn member(&self, container: &str, path: &str) -> Option<Member> {
        let mut id = *self.names.get(container.as_bytes())?;
        let mut offset = 0_u32;
        for step in path.split('.') {
            let (name, index) = match step.split_once('[') {
                Some((name, index)) => (name, Some(index.strip_suffix(']')?.parse::<u32>().ok()?)),
                None => (step, None),
            };
            let found = self.find(id, name.as_bytes(), DEPTH, &mut { MEMBERS })?;
            if found.bits % 8 != 0 || found.width != 0 {
                return None;
            }
            offset = offset.checked_add(found.bits / 8)?;
            id = found.id;
            if let Some(index) = index {
                let array = self.resolve(id)?;
                if array.kind != kind::ARRAY {
                    return None;
                }
                id = read_u32(&self.data, array.rest)?;
                offset = offset.checked_add(index.checked_mul(self.size(id, DEPTH)?)?)?;
            }
        }
        let is_pointer = self.resolve(id)?.kind == kind::PTR;
        Some(Member { offset, size: self.size(id, DEPTH)?, is_pointer })
    }

    /// First bit of a member of `struct container`, be it a bit field or none, counted from the structure's
    /// first byte as a little-endian machine does.
    pub fn first_bit(&self, container: &str, name: &str) -> Option<u32> {
        let id = *self.names.get(container.as_bytes())?;
        Some(self.find(id, name.as_bytes(), DEPTH, &mut { MEMBERS })?.bits)
    }

    /// Size of `struct name` in bytes.
    pub fn size_of(&self, name: &str) -> Option<u32> {
        self.size(*self.names.get(name.as_bytes())?, DEPTH)
    }

    /// Value of an enumerator, by the enum's name and its own.
    pub fn enumerator(&self, name: &str, value: &str) -> Option<u64> {
        let found = self.type_of(*self.names.get(name.as_bytes())?)?;
        let width = match found.kind {
            kind::ENUM => 8,
            kind::ENUM64 => 12,
            _ => return None,
        };
        (0..found.len as usize).find_map(|index| {
            let at = found.rest + index * width;
            (self.string(read_u32(&self.data, at)?) == value.as_bytes()).then_some(())?;
            let low = u64::from(read_u32(&self.data, at + 4)?);
            let high = if width == 12 { u64::from(read_u32(&self.data, at + 8)?) } else { 0 };
            Some(high << 32 | low)
        })
    }

    /// How many arguments the BTF raw tracepoint `name` passes to a program; `None` if there is none
    /// of that name.
    pub fn tracepoint_arity(&self, name: &str) -> Option<u32> {
        let id = *self.names.get(format!("btf_trace_{name}").as_bytes())?;
        let pointer = self.resolve(id)?;
        let proto = self.type_of(pointer.size_or_type)?;
        // The first parameter is the tracepoint's private data.
        (pointer.kind == kind::PTR && proto.kind == kind::FUNC_PROTO).then(|| proto.len.saturating_sub(1))
    }

    /// BTF with the same type ids in which every type is a nameless pointer, but for the functions and
    /// typedefs called one of `names`: all that a loader needs that looks attach points up by name.
    /// It has no members to read, so reading it takes a fraction of the time and memory.
    pub fn outline(&self, names: &[String]) -> Vec<u8> {
        let names: FxHashSet<&[u8]> = names.iter().map(String::as_bytes).collect();
        let mut types = Vec::with_capacity(self.types.len() * 12);
        let mut strings = vec![0_u8];
        for &at in self.types.iter().skip(1) {
            let found = self.type_at(at as usize);
            let attach_point = found.filter(|found| matches!(found.kind, kind::TYPEDEF | kind::FUNC));
            let name = attach_point.map(|found| (found.kind, self.string(found.name)));
            let wanted = name.filter(|(_, name)| !name.is_empty() && names.contains(*name));
            let (offset, kind) = match wanted {
                Some((kind, name)) => {
                    let offset = strings.len() as u32;
                    strings.extend_from_slice(name);
                    strings.push(0);
                    (offset, kind)
                }
                None => (0, kind::PTR),
            };
            for word in [offset, kind << 24, 0] {
                types.extend_from_slice(&word.to_le_bytes());
            }
        }
        file(&types, &strings)
    }

    /// The number of a function that the kernel tells the types of. Functions are not in the index: they
    /// are most of all names and are asked for a few times at start.
    pub fn function(&self, name: &str) -> Option<u32> {
        let is_it = |at: &u32| {
            self.type_at(*at as usize)
                .is_some_and(|found| found.kind == kind::FUNC && self.string(found.name) == name.as_bytes())
        };
        let after_void = self.types.iter().skip(1).position(is_it)?;
        u32::try_from(after_void + 1).ok()
    }

    /// A digest of a list of numbers, for naming a layout in a log line.
    pub fn fingerprint(values: impl Iterator<Item = u32>) -> u64 {
        // FNV-1a: stable between releases, unlike the standard hasher.
        values.flat_map(u32::to_le_bytes).fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }

    /// Finds a named member in a structure, descending into anonymous ones. `left` is how many members may
    /// still be looked at.
    fn find(&self, id: u32, name: &[u8], depth: u32, left: &mut u32) -> Option<Found> {
        let found = self.resolve(id)?;
        if depth == 0 || !matches!(found.kind, kind::STRUCT | kind::UNION) {
            return None;
        }
        for index in 0..found.len as usize {
            *left = left.checked_sub(1)?;
            let at = found.rest + index * 12;
            let (member_name, member_type) = (read_u32(&self.data, at)?, read_u32(&self.data, at + 4)?);
            let raw = read_u32(&self.data, at + 8)?;
            let (bits, width) = if found.bitfields { (raw & 0x00ff_ffff, raw >> 24) } else { (raw, 0) };
            if member_name == 0 {
                if let Some(inner) = self.find(member_type, name, depth - 1, left) {
                    return Some(Found { bits: bits.checked_add(inner.bits)?, ..inner });
                }
            } else if self.string(member_name) == name {
                return Some(Found { bits, width, id: member_type });
            }
        }
        None
    }

    /// The type behind typedefs and qualifiers.
    fn resolve(&self, mut id: u32) -> Option<Type> {
        for _ in 0..DEPTH {
            let found = self.type_of(id)?;
            match found.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = found.size_or_type;
                }
                _ => return Some(found),
            }
        }
        None
    }

    fn size(&self, id: u32, depth: u32) -> Option<u32> {
        let found = self.resolve(id)?;
        match found.kind {
            kind::PTR => Some(8),
            kind::ARRAY if depth > 0 => {
                let element = self.size(read_u32(&self.data, found.rest)?, depth - 1)?;
                element.checked_mul(read_u32(&self.data, found.rest + 8)?)
            }
            kind::INT | kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                Some(found.size_or_type)
            }
            _ => None,
        }
    }

    fn type_of(&self, id: u32) -> Option<Type> {
        if id == 0 {
            return None;
        }
        self.type_at(*self.types.get(id as usize)? as usize)
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let info = read_u32(&self.data, at + 4)?;
        Some(Type {
            name: read_u32(&self.data, at)?,
            kind: info >> 24 & 0x1f,
            len: info & 0xffff,
            bitfields: info >> 31 != 0,
            size_or_type: read_u32(&self.data, at + 8)?,
            rest: at + 12,
        })
    }

    fn string(&self, offset: u32) -> &[u8] {
        let section = self.data.get(self.strings..self.strings + self.strings_len).unwrap_or_default();
        let tail = section.get(offset as usize..).unwrap_or_default();
        tail.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// A BTF file of these two sections.
fn file(types: &[u8], strings: &[u8]) -> Vec<u8> {
    let (types_len, strings_len) = (types.len() as u32, strings.len() as u32);
    let mut out = vec![0x9f, 0xeb, 1, 0];
    for word in [24, 0, types_len, types_len, strings_len] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(types);
    out.extend_from_slice(strings);
    out
}

fn read_u32(data: &[u8], at: usize) -> Option<u32> {
    let bytes = data.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

/// Bytes after a type's fixed part.
fn variable_len(found: &Type) -> Option<usize> {
    let len = found.len as usize;
    Some(match found.kind {
        kind::INT | kind::VAR | kind::DECL_TAG => 4,
        kind::ARRAY => 12,
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => len * 12,
        kind::ENUM | kind::FUNC_PROTO => len * 8,
        // PTR, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FLOAT, TYPE_TAG
        2 | 7..=12 | kind::FLOAT | kind::TYPE_TAG => 0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
