//! Exec records decoded: a program starts, further arguments of it, or a process found at start.

use std::fmt;

use tarsier_abi::TaskKey;
use tarsier_abi::exec::{ArgsRecord, ExecRecord, Op, flag};
use zerocopy::{FromBytes, Unalign};

use super::{Malformed, tail};

/// What an exec record says.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A program starts, or was found running.
    Exec(Exec<'a>),
    /// A further part of the arguments of an exec.
    Args(Args<'a>),
}

/// A program starts (or, `seed`, was running before the agent).
#[derive(Clone, Copy)]
pub struct Exec<'a> {
    /// Borrowed, not copied: the fixed part is by far the largest of all sensors, and an event is
    /// passed by value.
    fixed: &'a Unalign<ExecRecord>,
    /// Executable path; [`PathForm::Absent`] for kernel threads.
    pub exe: PathTail<'a>,
    /// Working directory; [`PathForm::Absent`] for kernel threads.
    pub cwd: PathTail<'a>,
    /// First part of the arguments, each ended by NUL: see [`split_args`].
    pub args: &'a [u8],
    /// From the task iterator.
    pub seed: bool,
}

impl Exec<'_> {
    /// The fixed part.
    #[inline]
    pub fn record(&self) -> ExecRecord {
        self.fixed.get()
    }

    /// Bytes of both paths, `comm` and the arguments as text, or a few more.
    pub fn text_len(&self) -> usize {
        self.exe.text_len() + self.cwd.text_len() + size_of_val(&self.record().comm) + self.args.len()
    }
}

impl fmt::Debug for Exec<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Exec")
            .field("record", &self.record())
            .field("exe", &self.exe)
            .field("cwd", &self.cwd)
            .field("args", &self.args)
            .field("seed", &self.seed)
            .finish()
    }
}

/// A further part of the arguments of the last exec of `task`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Args<'a> {
    /// The process, after the exec.
    pub task: TaskKey,
    /// Position of `bytes` in the arguments.
    pub position: u32,
    /// The part; it begins and ends anywhere, also inside an argument.
    pub bytes: &'a [u8],
}

/// What is known about where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathForm {
    /// The whole path from the task's root: `/usr/bin/true`; the root itself is `/`.
    Absolute,
    /// Leading components are missing: `.../bin/true`. Whether it is reachable is not known then.
    Truncated,
    /// Not reachable from the task's root: `(unreachable)/bin/true`, the words of getcwd(2).
    Detached,
    /// An anonymous memory file: `memfd:name`.
    Memfd,
    /// There is none: an empty string.
    Absent,
}

/// A path as the kernel side carries it: components, the last first, each ended by NUL.
///
/// As text it begins with `/` if and only if it is the whole path from the task's root, so that a
/// comparison with an absolute path can never be fooled by a cut or a detached one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathTail<'a> {
    components: &'a [u8],
    form: PathForm,
}

impl<'a> PathTail<'a> {
    /// A path of these `components`.
    pub fn new(components: &'a [u8], form: PathForm) -> Self {
        Self { components, form }
    }

    /// Its components, the last first, each ended by NUL.
    pub fn components(&self) -> &'a [u8] {
        self.components
    }

    /// Where it begins.
    pub fn form(&self) -> PathForm {
        self.form
    }

    /// Bytes of the path as text, or a few more.
    pub fn text_len(&self) -> usize {
        self.components.len() + self.prefix().len()
    }

    /// What stands before the components.
    fn prefix(&self) -> &'static [u8] {
        match self.form {
            PathForm::Absent | PathForm::Memfd => b"",
            PathForm::Absolute => b"/",
            PathForm::Truncated => b".../",
            PathForm::Detached => b"(unreachable)/",
        }
    }

    /// Appends the path as text, the first component first.
    pub fn write_into(&self, out: &mut Vec<u8>) {
        if self.form == PathForm::Absent {
            return;
        }
        out.extend_from_slice(self.prefix());
        for (position, component) in split_args(self.components).rev().enumerate() {
            if position > 0 {
                out.push(b'/');
            }
            out.extend_from_slice(component);
        }
    }

    /// The path as text in a buffer of its own.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.components.len() + 1);
        self.write_into(&mut out);
        out
    }
}

/// Splits NUL-ended strings. Empty ones count, also the last: `a\0\0` is `["a", ""]`; a last string
/// without its NUL (it was cut) counts too.
pub fn split_args(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let ended = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    (!bytes.is_empty()).then(|| ended.split(|&byte| byte == 0)).into_iter().flatten()
}

/// Decodes a whole record (header included). An exec of nobody is impossible.
pub fn decode(op: u8, record: &[u8]) -> Result<Event<'_>, Malformed> {
    let op = Op::try_from(op).map_err(|_| Malformed::Op)?;
    match op {
        Op::Exec | Op::Seed => exec(record, op == Op::Seed).map(Event::Exec),
        Op::Args => args(record).map(Event::Args),
    }
}

fn exec(record: &[u8], seed: bool) -> Result<Exec<'_>, Malformed> {
    let (fixed, _) = Unalign::<ExecRecord>::ref_from_prefix(record).map_err(|_| Malformed::Short)?;
    let ExecRecord { task, flags, exe, cwd, args, .. } = fixed.get();
    if task.is_none() {
        return Err(Malformed::Value);
    }
    let (exe, cwd, args) = (tail(record, exe)?, tail(record, cwd)?, tail(record, args)?);
    let set = |bit: u32| flags & bit != 0;
    let exe_form = if exe.is_empty() {
        // No program is a directory, so no program is the root: an empty list means none.
        PathForm::Absent
    } else if set(flag::EXE_MEMFD) {
        PathForm::Memfd
    } else {
        form(set(flag::EXE_TRUNCATED), set(flag::EXE_DETACHED))
    };
    let cwd_form = if set(flag::KERNEL_THREAD) {
        PathForm::Absent
    } else {
        form(set(flag::CWD_TRUNCATED), set(flag::CWD_DETACHED))
    };
    Ok(Exec { fixed, exe: PathTail::new(exe, exe_form), cwd: PathTail::new(cwd, cwd_form), args, seed })
}

fn form(truncated: bool, detached: bool) -> PathForm {
    match (truncated, detached) {
        (true, _) => PathForm::Truncated,
        (false, true) => PathForm::Detached,
        (false, false) => PathForm::Absolute,
    }
}

fn args(record: &[u8]) -> Result<Args<'_>, Malformed> {
    let (fixed, rest) = ArgsRecord::read_from_prefix(record).map_err(|_| Malformed::Short)?;
    if fixed.task.is_none() {
        return Err(Malformed::Value);
    }
    let len = usize::try_from(fixed.len).map_err(|_| Malformed::Value)?;
    let bytes = rest.get(..len).ok_or(Malformed::Short)?;
    Ok(Args { task: fixed.task, position: fixed.position, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(components: &[u8], form: PathForm) -> String {
        String::from_utf8(PathTail::new(components, form).to_bytes()).unwrap()
    }

    #[test]
    fn paths_are_turned_round_and_say_where_they_begin() {
        assert_eq!(text(b"true\0bin\0usr\0", PathForm::Absolute), "/usr/bin/true");
        assert_eq!(text(b"", PathForm::Absolute), "/");
        assert_eq!(text(b"true\0bin\0", PathForm::Truncated), ".../bin/true");
        assert_eq!(text(b"tool\0bin\0", PathForm::Detached), "(unreachable)/bin/tool");
        assert_eq!(text(b"", PathForm::Detached), "(unreachable)/");
        assert_eq!(text(b"memfd:payload\0", PathForm::Memfd), "memfd:payload");
        assert_eq!(text(b"x\0", PathForm::Absent), "");
        assert_eq!(text(b"cut", PathForm::Absolute), "/cut", "a missing NUL loses nothing");
    }

    #[test]
    fn argument_boundaries_are_kept() {
        let split = |bytes: &'static [u8]| split_args(bytes).collect::<Vec<_>>();
        assert_eq!(split(b""), Vec::<&[u8]>::new());
        assert_eq!(split(b"\0"), [b""]);
        assert_eq!(split(b"a\0\0"), [&b"a"[..], b""]);
        assert_eq!(split(b"\0a b\0"), [&b""[..], b"a b"]);
        assert_eq!(split(b"a\0cut"), [&b"a"[..], b"cut"]);
    }
}
