//! A kernel's BTF, less all that the agent never looks up: small enough to be kept for every kernel of the
//! matrix, so that a test on any machine can resolve what a program will read on each of them.
//!
//! Kept are the structures of the offset table with all of their members, embedded ones as far as paths
//! go into them; enums; and the functions and tracepoints that are looked for by name.

use rustc_hash::{FxHashMap, FxHashSet};
use tarsier_abi::FIELDS;

use super::{Btf, DEPTH, Type, kind, read_u32};

/// Words of a type before its variable part: name, kind and count, size or type.
const FIXED: usize = 3;
/// Set in a structure's kind where members say their width in bits.
const BITFIELDS: u32 = 1 << 31;

impl Btf {
    /// The reduction: the same answers for every field of the offset table and for `names`, of enums,
    /// functions, typedefs and structures of which only the size counts.
    pub fn reduced(&self, names: &[String]) -> Vec<u8> {
        let mut made = Reduction {
            whole: self,
            types: Vec::new(),
            strings: vec![0],
            known: FxHashMap::default(),
            made: FxHashMap::default(),
        };
        let mut containers: Vec<&str> = FIELDS.iter().map(|field| field.container).collect();
        containers.sort_unstable();
        containers.dedup();
        for container in containers {
            let of_it = FIELDS.iter().filter(|field| field.container == container);
            let paths: Vec<&str> = of_it.flat_map(|field| field.paths).copied().collect();
            if let Some(&id) = self.names.get(container.as_bytes()) {
                made.structure(id, container.as_bytes(), &paths, DEPTH);
            }
        }
        let names: FxHashSet<&[u8]> = names.iter().map(String::as_bytes).collect();
        for id in 1..self.types.len() as u32 {
            let Some(found) = self.type_of(id) else { continue };
            let name = self.string(found.name);
            if !name.is_empty() && names.contains(name) {
                made.named(id, &found, name);
            }
        }
        made.finish()
    }
}

/// BTF in the making.
struct Reduction<'a> {
    whole: &'a Btf,
    types: Vec<u8>,
    strings: Vec<u8>,
    /// Where a string was put.
    known: FxHashMap<Vec<u8>, u32>,
    /// The types made by [`Reduction::add`], so that equal ones are made once.
    made: FxHashMap<Vec<u32>, u32>,
}

impl Reduction<'_> {
    fn string(&mut self, text: &[u8]) -> u32 {
        if text.is_empty() {
            return 0;
        }
        if let Some(&at) = self.known.get(text) {
            return at;
        }
        let at = self.strings.len() as u32;
        self.strings.extend_from_slice(text);
        self.strings.push(0);
        self.known.insert(text.to_vec(), at);
        at
    }

    /// Adds a type, unless there is one like it; returns its id.
    fn add(&mut self, fixed: [u32; FIXED], rest: &[u32]) -> u32 {
        let words = [&fixed, rest].concat();
        if let Some(&id) = self.made.get(&words) {
            return id;
        }
        for word in &words {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        let id = self.made.len() as u32 + 1;
        self.made.insert(words, id);
        id
    }

    /// A structure or union with all of its members; the types of those on `paths` are followed, the
    /// others are as large as they were. Returns its id, or that of `void` if it is neither.
    fn structure(&mut self, id: u32, name: &[u8], paths: &[&str], depth: u32) -> u32 {
        let found = match self.whole.resolve(id) {
            Some(found) if depth > 0 && matches!(found.kind, kind::STRUCT | kind::UNION) => found,
            _ => return 0,
        };
        let mut members = Vec::with_capacity(found.len as usize * FIXED);
        for index in 0..found.len as usize {
            let at = found.rest + index * FIXED * 4;
            let word = |place: usize| read_u32(&self.whole.data, at + place * 4);
            let (Some(name), Some(of), Some(offset)) = (word(0), word(1), word(2)) else { break };
            let name = self.whole.string(name);
            let rests: Vec<&str> = paths.iter().filter_map(|path| below(path, name)).collect();
            let kept = if name.is_empty() {
                self.structure(of, b"", paths, depth - 1)
            } else if rests.is_empty() {
                self.leaf(of, depth - 1)
            } else {
                self.followed(of, &rests, depth - 1)
            };
            members.extend([self.string(name), kept, offset]);
        }
        let bitfields = if found.bitfields { BITFIELDS } else { 0 };
        let count = (members.len() / FIXED) as u32;
        let name = self.string(name);
        self.add([name, bitfields | found.kind << 24 | count, found.size_or_type], &members)
    }

    /// What a path goes on into: a structure, or an array of them.
    fn followed(&mut self, id: u32, paths: &[&str], depth: u32) -> u32 {
        match self.whole.resolve(id) {
            Some(found) if found.kind == kind::ARRAY && depth > 0 => {
                let element = read_u32(&self.whole.data, found.rest).unwrap_or(0);
                let element = self.followed(element, paths, depth - 1);
                self.array(&found, element)
            }
            _ => self.structure(id, b"", paths, depth),
        }
    }

    /// A type of the same size, nameless where a name could be taken for another's.
    fn leaf(&mut self, id: u32, depth: u32) -> u32 {
        let Some(found) = self.whole.resolve(id).filter(|_| depth > 0) else { return 0 };
        match found.kind {
            kind::PTR => self.add([0, kind::PTR << 24, 0], &[]),
            kind::INT => {
                let encoding = read_u32(&self.whole.data, found.rest).unwrap_or(0);
                let name = self.string(self.whole.string(found.name));
                self.add([name, kind::INT << 24, found.size_or_type], &[encoding])
            }
            kind::ARRAY => {
                let element = self.leaf(read_u32(&self.whole.data, found.rest).unwrap_or(0), depth - 1);
                self.array(&found, element)
            }
            kind::STRUCT | kind::UNION | kind::ENUM | kind::ENUM64 | kind::FLOAT => {
                self.add([0, found.kind << 24, found.size_or_type], &[])
            }
            _ => 0,
        }
    }

    /// As many of `element` as there are in `found`, an array. Nothing asks for the type of its index.
    fn array(&mut self, found: &Type, element: u32) -> u32 {
        let count = read_u32(&self.whole.data, found.rest + 8).unwrap_or(0);
        self.add([0, kind::ARRAY << 24, 0], &[element, 0, count])
    }

    /// An enum with its members; a function, or a typedef of a pointer to one, with the number of its
    /// parameters; a structure without members.
    fn named(&mut self, id: u32, found: &Type, name: &[u8]) {
        let name = self.string(name);
        match found.kind {
            kind::ENUM | kind::ENUM64 => {
                let words = if found.kind == kind::ENUM { 2 } else { 3 };
                let mut members = Vec::with_capacity(found.len as usize * words);
                for index in 0..found.len as usize {
                    for place in 0..words {
                        let word = read_u32(&self.whole.data, found.rest + (index * words + place) * 4);
                        let word = word.unwrap_or(0);
                        members.push(if place == 0 { self.string(self.whole.string(word)) } else { word });
                    }
                }
                self.add([name, found.kind << 24 | found.len, found.size_or_type], &members);
            }
            kind::FUNC => {
                let prototype = self.prototype(found.size_or_type);
                self.add([name, kind::FUNC << 24, prototype], &[]);
            }
            kind::TYPEDEF => {
                let Some(pointer) = self.whole.resolve(id).filter(|found| found.kind == kind::PTR) else {
                    return;
                };
                let prototype = self.prototype(pointer.size_or_type);
                let pointer = self.add([0, kind::PTR << 24, prototype], &[]);
                self.add([name, kind::TYPEDEF << 24, pointer], &[]);
            }
            kind::STRUCT => {
                self.add([name, kind::STRUCT << 24, found.size_or_type], &[]);
            }
            _ => {}
        }
    }

    fn prototype(&mut self, id: u32) -> u32 {
        match self.whole.type_of(id) {
            Some(found) if found.kind == kind::FUNC_PROTO => {
                let parameters = vec![0; found.len as usize * 2];
                self.add([0, kind::FUNC_PROTO << 24 | found.len, 0], &parameters)
            }
            _ => 0,
        }
    }

    fn finish(self) -> Vec<u8> {
        super::file(&self.types, &self.strings)
    }
}

/// What is left of a path below a member: of `a.b` below `a` it is `b`, of `a[1].b` too. `None` if the path
/// does not go on from there.
fn below<'a>(path: &'a str, member: &[u8]) -> Option<&'a str> {
    let (step, rest) = path.split_once('.')?;
    let step = step.split_once('[').map_or(step, |(name, _)| name);
    (step.as_bytes() == member).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::below;

    #[test]
    fn paths_go_on_below_their_first_step() {
        assert_eq!(below("a.b.c", b"a"), Some("b.c"));
        assert_eq!(below("s[0].v", b"s"), Some("v"));
        assert_eq!(below("a.b", b"b"), None);
        assert_eq!(below("a", b"a"), None, "nothing is left of it");
    }
}
