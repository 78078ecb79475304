//! Paths as the process wrote them, made absolute without a look at the file system: symbolic links are not followed.

use crate::event::exec::{PathForm, PathTail};
use crate::event::syscall::Name;
use crate::rules::facts::Kept;

/// Stands for a directory that is not known.
const UNKNOWN: &[u8] = b"<UNKNOWN>";

/// Gives a path joined with the directory it is relative to, without `.`, `..`, double slashes and one at the end. What
/// is so already is not copied. An empty one is the directory itself. Not at all if it could not be read.
pub(super) fn absolute(name: &Name<'_>, kept: &Kept, with: impl FnOnce(&[u8])) {
    let Some(text) = name.text else { return };
    if !kept.is_needed(|| !is_clean(text)) {
        return with(text);
    }
    kept.get(|out| write_absolute(out, text, name.dir), with);
}

/// Appends a path, made absolute.
pub(super) fn write_absolute(out: &mut Vec<u8>, text: &[u8], dir: Option<PathTail<'_>>) {
    let start = out.len();
    let fixed = if text.starts_with(b"/") { 0 } else { write_directory(out, dir) };
    write_clean(out, start, start + fixed, text);
}

/// Appends a path that is relative to an absolute one, or to one whose first component stands for what is not known.
pub(super) fn write_below(out: &mut Vec<u8>, base: &[u8], text: &[u8]) {
    let start = out.len();
    out.extend_from_slice(base.strip_suffix(b"/").unwrap_or(base));
    let fixed = memchr::memchr(b'/', base).unwrap_or(base.len());
    write_clean(out, start, start + fixed, text);
}

/// Appends a directory without a slash at its end (the root is nothing); returns how much of it no `..` can take away,
/// since what is above is not known.
fn write_directory(out: &mut Vec<u8>, dir: Option<PathTail<'_>>) -> usize {
    let Some(dir) = dir.filter(|dir| dir.form() != PathForm::Absent) else {
        out.extend_from_slice(UNKNOWN);
        return UNKNOWN.len();
    };
    dir.write_into(out);
    if out.last() == Some(&b'/') {
        out.pop();
    }
    match dir.form() {
        PathForm::Truncated => b"...".len(),
        PathForm::Detached => b"(unreachable)".len(),
        _ => 0,
    }
}

/// Appends the components of `text` to the path that begins at `start`; what stands before `floor` stays.
fn write_clean(out: &mut Vec<u8>, start: usize, floor: usize, text: &[u8]) {
    for component in text.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." => {
                let above = memchr::memrchr(b'/', out.get(floor..).unwrap_or_default()).unwrap_or(0);
                out.truncate(floor + above);
            }
            _ => {
                out.push(b'/');
                out.extend_from_slice(component);
            }
        }
    }
    if out.len() == start || out.len() == floor {
        out.push(b'/');
    }
}

/// Whether a path is absolute and has nothing to be cleaned away. Some that have not are told as if they had: names that
/// begin with a dot.
pub(super) fn is_clean(text: &[u8]) -> bool {
    let [b'/', rest @ ..] = text else { return false };
    rest.is_empty()
        || !rest.ends_with(b"/")
            && !follows_slash(text, |next| u8::from(next == b'/') | u8::from(next == b'.'))
}

/// Whether slashes stand together anywhere.
pub(super) fn has_double_slash(text: &[u8]) -> bool {
    follows_slash(text, |next| u8::from(next == b'/'))
}

/// Whether a byte for which `is` gives 1 stands behind a slash.
fn follows_slash(text: &[u8], is: impl Fn(u8) -> u8) -> bool {
    /// Bytes that the processor compares at once.
    const AT_ONCE: usize = 16;
    let behind = text.get(1..).unwrap_or_default();
    let text = text.get(..behind.len()).unwrap_or_default();
    let found = |text: &[u8], behind: &[u8]| {
        let both = text.iter().zip(behind);
        both.fold(0, |found, (byte, next)| found | u8::from(*byte == b'/') & is(*next)) != 0
    };
    let (Some(text_end), Some(behind_end)) = (text.last_chunk::<AT_ONCE>(), behind.last_chunk::<AT_ONCE>())
    else {
        return found(text, behind);
    };
    let mut chunks = text.as_chunks::<AT_ONCE>().0.iter().zip(behind.as_chunks::<AT_ONCE>().0);
    // The last ones are looked at twice, in part.
    chunks.any(|(text, behind)| found(text, behind)) || found(text_end, behind_end)
}

/// The directory of an absolute path, and its last component, as `fd.directory` and `fd.filename` have them.
pub(in crate::rules) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memrchr(b'/', path) {
        Some(slash) if slash + 1 == path.len() => (path, path),
        Some(0) => (b"/", &path[1..]),
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"/", b"/"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(text: &str, dir: Option<PathTail<'_>>) -> String {
        let (kept, mut found) = (Kept::default(), None);
        let name = Name { text: Some(text.as_bytes()), is_truncated: false, dir };
        absolute(&name, &kept, |path| found = Some(path.to_vec()));
        String::from_utf8(found.expect("it could be read")).expect("text")
    }

    #[test]
    fn paths_are_joined_and_cleaned() {
        let etc = Some(PathTail::new(b"ssl\0etc\0", PathForm::Absolute));
        let root = Some(PathTail::new(b"", PathForm::Absolute));
        let cut = Some(PathTail::new(b"b\0a\0", PathForm::Truncated));
        let away = Some(PathTail::new(b"gone\0", PathForm::Detached));
        let table = [
            ("/etc/shadow", None, "/etc/shadow"),
            ("/", None, "/"),
            ("//", None, "/"),
            ("/.", None, "/"),
            ("/..", None, "/"),
            ("/etc/", None, "/etc"),
            ("/etc//shadow", None, "/etc/shadow"),
            ("/etc/./shadow/.", None, "/etc/shadow"),
            ("/a/b/../../c", None, "/c"),
            ("/a/../../../c/..", None, "/"),
            ("/home/x/.ssh/id", None, "/home/x/.ssh/id"),
            ("/a/...", None, "/a/..."),
            ("/proc/self/exe", None, "/proc/self/exe"),
            ("certs", etc, "/etc/ssl/certs"),
            ("../shadow", etc, "/etc/shadow"),
            ("../../../x", etc, "/x"),
            ("..", etc, "/etc"),
            ("", etc, "/etc/ssl"),
            (".", root, "/"),
            ("x/", root, "/x"),
            ("c", cut, ".../a/b/c"),
            ("../../../c", cut, ".../c"),
            ("../..", cut, ".../"),
            ("x", away, "(unreachable)/gone/x"),
            ("../../x", away, "(unreachable)/x"),
            ("x/../y", None, "<UNKNOWN>/y"),
            ("..", None, "<UNKNOWN>/"),
            ("/x", etc, "/x"),
        ];
        for (text, dir, expected) in table {
            assert_eq!(joined(text, dir), expected, "{text:?} in {dir:?}");
        }
    }

    #[test]
    fn paths_are_split_at_the_last_slash() {
        let table = [
            ("/etc/passwd", "/etc", "passwd"),
            ("/vmlinuz", "/", "vmlinuz"),
            ("/", "/", "/"),
            ("memfd", "/", "/"),
            (".../a", "...", "a"),
        ];
        for (path, directory, name) in table {
            assert_eq!(split(path.as_bytes()), (directory.as_bytes(), name.as_bytes()), "{path}");
        }
    }

    proptest! {
        /// Whether or not it was copied, a clean path is what cleaning leaves as it is.
        #[test]
        fn what_is_clean_stays_as_it_is(path in "/?([a.]{0,2}/?){0,6}") {
            let mut cleaned = Vec::new();
            write_absolute(&mut cleaned, path.as_bytes(), None);
            prop_assert_eq!(joined(&path, None).into_bytes(), cleaned.clone());
            let mut twice = Vec::new();
            write_absolute(&mut twice, &cleaned, None);
            if path.starts_with('/') {
                prop_assert!(!is_clean(path.as_bytes()) || cleaned == path.as_bytes());
                prop_assert_eq!(twice, cleaned);
            }
        }
    }
}
