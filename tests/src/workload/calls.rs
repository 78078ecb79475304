//! System calls just as they are written, one line each, with one JSON line in answer: what a rule sees of a call
//! depends on the very call and its very arguments, which libraries choose as they please.

use std::collections::HashMap;
use std::ffi::CString;
use std::net::SocketAddrV4;

use anyhow::{Context as _, bail};
use serde_json::json;

use super::Say;
use super::rings::{Request, Ring};

/// Numbers by name, of this machine.
macro_rules! numbers {
    ($($name:ident $constant:ident)+) => { &[$((stringify!($name), libc::$constant)),+] };
}
const NUMBERS: &[(&str, libc::c_long)] = numbers! {
    openat SYS_openat openat2 SYS_openat2 open_by_handle_at SYS_open_by_handle_at
    name_to_handle_at SYS_name_to_handle_at mkdirat SYS_mkdirat unlinkat SYS_unlinkat renameat2 SYS_renameat2
    linkat SYS_linkat symlinkat SYS_symlinkat fchmod SYS_fchmod fchmodat SYS_fchmodat mount SYS_mount umount2 SYS_umount2
    chroot SYS_chroot chdir SYS_chdir dup SYS_dup dup3 SYS_dup3 close SYS_close memfd_create SYS_memfd_create
    userfaultfd SYS_userfaultfd socket SYS_socket bind SYS_bind connect SYS_connect listen SYS_listen accept SYS_accept
    accept4 SYS_accept4 sendto SYS_sendto sendmsg SYS_sendmsg recvfrom SYS_recvfrom recvmsg SYS_recvmsg
    socketpair SYS_socketpair pipe2 SYS_pipe2 eventfd2 SYS_eventfd2 sendfile SYS_sendfile
    execve SYS_execve execveat SYS_execveat ptrace SYS_ptrace kill SYS_kill tkill SYS_tkill tgkill SYS_tgkill
    getpid SYS_getpid gettid SYS_gettid getppid SYS_getppid prctl SYS_prctl setuid SYS_setuid setgid SYS_setgid
    setreuid SYS_setreuid setregid SYS_setregid setresuid SYS_setresuid setresgid SYS_setresgid setns SYS_setns capset SYS_capset
    unshare SYS_unshare init_module SYS_init_module finit_module SYS_finit_module delete_module SYS_delete_module
    bpf SYS_bpf sendmmsg SYS_sendmmsg recvmmsg SYS_recvmmsg clone SYS_clone clone3 SYS_clone3
    io_uring_setup SYS_io_uring_setup io_uring_enter SYS_io_uring_enter io_uring_register SYS_io_uring_register
};
/// Those that newer machines do without.
#[cfg(target_arch = "x86_64")]
const OLD: &[(&str, libc::c_long)] = numbers! {
    open SYS_open creat SYS_creat mkdir SYS_mkdir rmdir SYS_rmdir unlink SYS_unlink rename SYS_rename renameat SYS_renameat
    link SYS_link symlink SYS_symlink chmod SYS_chmod dup2 SYS_dup2 fork SYS_fork vfork SYS_vfork
};
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[(&str, libc::c_long)] = &[];
/// Newer than the library.
const NEW: &[(&str, libc::c_long)] = &[("fchmodat2", 452)];

/// Runs the calls of `lines`; without any, those of stdin until it ends.
///
/// ```text
/// NAME ARGUMENT…     the system call of this name (or number)
/// 32 NUMBER ARGUMENT…  the same by the 32-bit entry (x86), by number
/// ring FLAGS           makes a ring of io_uring with these `IORING_SETUP_*`, in place of the one before
/// request OPERATION FLAGS FD ADDRESS LENGTH OFFSET OPERATION-FLAGS
///                      has that ring do something (`struct io_uring_sqe`); what it came to
/// ```
/// An argument is a number (`-100`, `0x241`, `0o644`), `"text"` (its address, ended by NUL; no blanks in it), `hex:0a00…` (the
/// address of these bytes), `zero:N` (the address of N zeros), `inet:ADDRESS:PORT` (that of a `sockaddr_in`, 16 bytes),
/// `how:FLAGS:MODE` (that of a `struct open_how`, 24 bytes), `words:A,B,…` (that of numbers of 32 bits, each an argument), `@LABEL` (what the line with that label returned), or `&LABEL`
/// (the address of that label's bytes). A line `LABEL=NAME …` keeps what it returned; `LABEL=hex:…` its bytes.
///
/// Every answer is `{ret}`: what the kernel returned, negative error numbers included.
pub fn run(lines: &[&str], say: Say<'_>) -> anyhow::Result<()> {
    let mut caller = Caller::default();
    let mut obey = |line: &str| {
        let ret = caller.obey(line).with_context(|| line.to_owned())?;
        say(&json!({ "ret": ret }))
    };
    if lines.is_empty() {
        return std::io::stdin().lines().try_for_each(|line| obey(&line?));
    }
    lines.iter().try_for_each(|line| obey(line))
}

#[derive(Default)]
struct Caller {
    returned: HashMap<String, i64>,
    /// What arguments point to, until the end, by label if it has one.
    memory: HashMap<String, Box<[u8]>>,
    pages: Vec<Low>,
    ring: Option<Ring>,
}

impl Caller {
    fn obey(&mut self, line: &str) -> anyhow::Result<i64> {
        let mut words = line.split_whitespace();
        let mut name = words.next().context("an empty line")?;
        let mut label = None;
        if let Some((before, after)) = name.split_once('=') {
            (label, name) = (Some(before), after);
        }
        if let (Some(label), Some(bytes)) = (label, name.strip_prefix("hex:")) {
            self.memory.insert(label.to_owned(), of_hex(bytes)?);
            return Ok(0);
        }
        if name == "ring" {
            let flags = self.argument(words.next().context("which flags?")?, false)?;
            self.ring = Some(Ring::new(flags as u32)?);
            return Ok(0);
        }
        if name == "request" {
            let ret = self.request(words)?;
            if let Some(label) = label {
                self.returned.insert(label.to_owned(), ret);
            }
            return Ok(ret);
        }
        let is_32 = name == "32";
        if is_32 {
            name = words.next().context("which call?")?;
        }
        let number = number_of(name).with_context(|| format!("no call {name}"))?;
        let mut arguments = [0_i64; 6];
        for (place, word) in words.enumerate() {
            *arguments.get_mut(place).context("too many arguments")? = self.argument(word, is_32)?;
        }
        let ret = match name {
            "fork" | "vfork" => make(number)?,
            _ if is_32 => call_32(number, &arguments)?,
            _ => call(number, &arguments),
        };
        if let Some(label) = label {
            self.returned.insert(label.to_owned(), ret);
        }
        Ok(ret)
    }

    fn request<'a>(&mut self, words: impl Iterator<Item = &'a str>) -> anyhow::Result<i64> {
        let fields = words.map(|word| self.argument(word, false)).collect::<anyhow::Result<Vec<_>>>()?;
        let [operation, flags, fd, address, len, offset, operation_flags] = fields[..] else {
            bail!("a request has seven fields");
        };
        let request = Request {
            operation: operation as u8,
            flags: flags as u8,
            fd: fd as i32,
            address: address.cast_unsigned(),
            len: len as u32,
            offset: offset.cast_unsigned(),
            operation_flags: operation_flags as u32,
        };
        self.ring.as_ref().context("no ring was made")?.run(request)
    }

    fn argument(&mut self, word: &str, is_low: bool) -> anyhow::Result<i64> {
        let bytes: Box<[u8]> = if let Some(label) = word.strip_prefix('@') {
            return self.returned.get(label).copied().with_context(|| format!("nothing is called {label}"));
        } else if let Some(label) = word.strip_prefix('&') {
            let bytes = self.memory.get(label).with_context(|| format!("nothing is called {label}"))?;
            return Ok(bytes.as_ptr() as i64);
        } else if let Some(text) = word.strip_prefix('"') {
            let text = text.strip_suffix('"').context("a text has an end")?;
            CString::new(text)?.into_bytes_with_nul().into()
        } else if let Some(bytes) = word.strip_prefix("hex:") {
            of_hex(bytes)?
        } else if let Some(count) = word.strip_prefix("zero:") {
            vec![0; count.parse()?].into()
        } else if let Some(address) = word.strip_prefix("inet:") {
            internet(address.parse().with_context(|| format!("{address} is no address"))?)
        } else if let Some(words) = word.strip_prefix("words:") {
            let words = words.split(',').map(|word| self.argument(word, is_low));
            words
                .collect::<anyhow::Result<Vec<_>>>()?
                .iter()
                .flat_map(|word| (*word as u32).to_ne_bytes())
                .collect()
        } else if let Some((flags, mode)) = word.strip_prefix("how:").and_then(|how| how.split_once(':')) {
            let numbers = [number(flags).context("flags")?, number(mode).context("a mode")?, 0];
            numbers.map(i64::to_ne_bytes).concat().into()
        } else {
            return number(word).with_context(|| format!("{word} is no argument"));
        };
        if is_low {
            let page = Low::holding(&bytes)?;
            let address = page.0 as i64;
            self.pages.push(page);
            return Ok(address);
        }
        let address = bytes.as_ptr() as i64;
        self.memory.insert(format!("{}", self.memory.len()), bytes);
        Ok(address)
    }
}

fn number_of(name: &str) -> Option<libc::c_long> {
    let known = NUMBERS.iter().chain(OLD).chain(NEW).find(|(known, _)| *known == name);
    known.map(|(_, number)| *number).or_else(|| name.parse().ok())
}

fn number(word: &str) -> Option<i64> {
    if let Some(hex) = word.strip_prefix("0x") {
        return i64::from_str_radix(hex, 16).ok();
    }
    match word.strip_prefix("0o") {
        Some(octal) => i64::from_str_radix(octal, 8).ok(),
        None => word.parse().ok(),
    }
}

fn of_hex(text: &str) -> anyhow::Result<Box<[u8]>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        bail!("two digits a byte");
    }
    (0..text.len()).step_by(2).map(|at| Ok(u8::from_str_radix(&text[at..at + 2], 16)?)).collect()
}

/// `struct sockaddr_in` (include/uapi/linux/in.h): the family in the machine's order, port and address in the network's.
fn internet(address: SocketAddrV4) -> Box<[u8]> {
    let family = (libc::AF_INET as u16).to_ne_bytes();
    [&family[..], &address.port().to_be_bytes(), &address.ip().octets(), &[0; 8]].concat().into()
}

fn call(number: libc::c_long, [a, b, c, d, e, f]: &[i64; 6]) -> i64 {
    // SAFETY: whoever writes the line says what is called with what; memory that is pointed to lives on.
    let ret = unsafe { libc::syscall(number, *a, *b, *c, *d, *e, *f) };
    if ret == -1 { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)) } else { ret }
}

/// A call that returns twice. The child, which may be using this very stack, ends before anything else.
#[cfg(target_arch = "x86_64")]
#[expect(clippy::unnecessary_wraps, reason = "other machines have no such call")]
fn make(number: libc::c_long) -> anyhow::Result<i64> {
    let ret: i64;
    // SAFETY: the kernel keeps all registers but rcx, r11 and the result; what is behind the jump is the child's alone.
    unsafe {
        std::arch::asm!(
            "syscall", "test rax, rax", "jnz 2f", "mov eax, {exit}", "xor edi, edi", "syscall", "2:",
            exit = const libc::SYS_exit_group,
            inlateout("rax") number => ret, out("rdi") _, out("rcx") _, out("r11") _,
        );
    }
    Ok(ret)
}

#[cfg(not(target_arch = "x86_64"))]
fn make(_: libc::c_long) -> anyhow::Result<i64> {
    bail!("this machine has no such call")
}

/// A call as a 32-bit program makes it.
#[cfg(target_arch = "x86_64")]
#[expect(clippy::unnecessary_wraps, reason = "other machines have no such entry")]
fn call_32(number: libc::c_long, [a, b, c, d, e, _]: &[i64; 6]) -> anyhow::Result<i64> {
    let ret: i64;
    // SAFETY: as above; the kernel keeps all registers but r8 to r11 and the result (arch/x86/entry/entry_64_compat.S).
    // rbx is the compiler's own and is put back.
    unsafe {
        std::arch::asm!(
            "xchg {b}, rbx", "int 0x80", "xchg {b}, rbx",
            b = inout(reg) *a => _,
            inlateout("rax") i64::from(number as i32) => ret,
            in("rcx") *b, in("rdx") *c, in("rsi") *d, in("rdi") *e,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    Ok(i64::from(ret as i32))
}

#[cfg(not(target_arch = "x86_64"))]
fn call_32(_: libc::c_long, _: &[i64; 6]) -> anyhow::Result<i64> {
    bail!("this machine has no 32-bit entry")
}

/// Memory that a 32-bit call can point to.
struct Low(*mut libc::c_void);

/// Enough for any path.
const LOW_BYTES: usize = 8192;

impl Low {
    fn holding(bytes: &[u8]) -> anyhow::Result<Self> {
        #[cfg(target_arch = "x86_64")]
        const LOW: libc::c_int = libc::MAP_32BIT;
        #[cfg(not(target_arch = "x86_64"))]
        const LOW: libc::c_int = 0;
        if bytes.len() > LOW_BYTES {
            bail!("too long");
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | LOW;
        // SAFETY: a new mapping.
        let page = unsafe {
            libc::mmap(std::ptr::null_mut(), LOW_BYTES, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)
        };
        if page == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error()).context("mmap");
        }
        // SAFETY: the mapping is that long.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), page.cast(), bytes.len()) };
        Ok(Self(page))
    }
}

impl Drop for Low {
    fn drop(&mut self) {
        // SAFETY: mapped by `holding`, with this length.
        unsafe { libc::munmap(self.0, LOW_BYTES) };
    }
}
