//! `passwd` and `group` of a root directory.

use std::path::Path;

use super::id_map::IdMap;
use super::root::{Root, Stamp, Unread};

/// Most bytes of either file: some 15,000 users.
const FILE: u64 = 1 << 20;

/// The state of both files; none: it is not there.
pub type Stamps = [Option<Stamp>; 2];

/// Both files, cut down to what is asked for: names, numbers as the kernel has them, home directories and shells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountFiles {
    /// Lines of `passwd(5)`.
    pub passwd: Vec<u8>,
    /// Lines of `group(5)`.
    pub group: Vec<u8>,
    /// Their state when they were read.
    pub stamps: Stamps,
}

/// Reads both files below `root`. One that is not there is empty: images often have none. `None`: they are still those of
/// `known`. Their ids are mapped by `maps`, of users and of groups; a line without an id outside is left out.
///
/// # Errors
/// One is too large, no file, or not ours to read.
pub fn read(root: &Root, maps: &[IdMap; 2], known: Option<Stamps>) -> Result<Option<AccountFiles>, Unread> {
    let paths = ["/etc/passwd", "/etc/group"].map(Path::new);
    if let Some(known) = known {
        let [passwd, group] = paths.map(|path| present(root.stamp(path)));
        if [passwd?, group?] == known {
            return Ok(None);
        }
    }
    let [passwd, group] = paths.map(|path| present(root.read(path, FILE)));
    let ((passwd, passwd_stamp), (group, group_stamp)) = (passwd?.unzip(), group?.unzip());
    let [passwd, group] = keep_of(&passwd.unwrap_or_default(), &group.unwrap_or_default(), maps);
    Ok(Some(AccountFiles { passwd, group, stamps: [passwd_stamp, group_stamp] }))
}

fn present<T>(found: Result<T, Unread>) -> Result<Option<T>, Unread> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Unread::Absent) => Ok(None),
        Err(other) => Err(other),
    }
}

/// What is kept of the text of both files.
pub(crate) fn keep_of(passwd: &[u8], group: &[u8], maps: &[IdMap; 2]) -> [Vec<u8>; 2] {
    [keep(passwd, &maps[0], &[0, 5, 6], 7), keep(group, &maps[1], &[0], 4)]
}

/// Where both files have the id.
const ID: usize = 2;

/// The lines with their id mapped and only these of their `count` fields beside it: what people write beside their names is
/// nobody's business.
fn keep(text: &[u8], map: &IdMap, fields: &[usize], count: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for line in text.split(|byte| *byte == b'\n') {
        let parts: Vec<_> = line.splitn(count, |byte| *byte == b':').collect();
        let id = parts.get(ID).and_then(|id| str::from_utf8(id).ok()?.parse().ok());
        let Some(id) = id.and_then(|id| map.outside(id)) else { continue };
        for (place, part) in parts.iter().enumerate() {
            if place > 0 {
                out.push(b':');
            }
            if place == ID {
                out.extend_from_slice(id.to_string().as_bytes());
            } else if fields.contains(&place) {
                out.extend_from_slice(part);
            }
        }
        out.push(b'\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn they_are_read_and_read_anew_when_another_takes_their_place() {
        let same = [IdMap::identity(), IdMap::identity()];
        let directory = tempfile::tempdir().unwrap();
        let root = Root::open(directory.path()).unwrap();
        let none = read(&root, &same, None).unwrap().unwrap();
        assert_eq!(none, AccountFiles::default(), "an image without any");
        assert_eq!(read(&root, &same, Some(none.stamps)).unwrap(), None);
        fs::create_dir(directory.path().join("etc")).unwrap();
        let passwd = directory.path().join("etc/passwd");
        fs::write(&passwd, "a:secret:1:2:Ada L., 555:/home/a:/bin/sh\n\nodd\nn:x:no:2:::\n").unwrap();
        fs::write(directory.path().join("etc/group"), "g:x:3:a,b\n").unwrap();
        let first = read(&root, &same, Some(none.stamps)).unwrap().unwrap();
        assert_eq!(first.passwd, b"a::1:::/home/a:/bin/sh\n");
        assert_eq!(first.group, b"g::3:\n");
        assert_eq!(read(&root, &same, Some(first.stamps)).unwrap(), None);
        let next = directory.path().join("etc/passwd+");
        fs::write(&next, "b:x:1:2:::\n").unwrap();
        fs::rename(next, passwd).unwrap();
        let second = read(&root, &same, Some(first.stamps)).unwrap().unwrap();
        let moved = IdMap::of(Path::new("/no/such/proc"), &tarsier_abi::TaskKey::NONE);
        assert!(read(&root, &moved, None).unwrap().unwrap().passwd.is_empty(), "nobody is anybody");
        assert_eq!((second.passwd.as_slice(), second.stamps[1]), (&b"b::1::::\n"[..], first.stamps[1]));
    }
}
