//! Commands of the machine and loopback ports.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// `PT_INTERP` of elf.h.
const INTERPRETER: u32 = 3;

/// Where `name` is on `PATH`, or in the system directories that a root shell may leave out of it.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(system).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// A loopback address that was free a moment ago: for servers that cannot choose and tell their own.
pub fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Whether the 64-bit little-endian ELF file at `path` names a dynamic loader; `None` if it is none.
pub fn needs_loader(path: &Path) -> Option<bool> {
    let bytes = std::fs::read(path).ok()?;
    let at = |offset: usize, length: usize| bytes.get(offset..offset.checked_add(length)?);
    let half = |offset| Some(usize::from(u16::from_le_bytes(at(offset, 2)?.try_into().ok()?)));
    let start = usize::try_from(u64::from_le_bytes(at(32, 8)?.try_into().ok()?)).ok()?;
    let (size, count) = (half(54)?, half(56)?);
    let kinds =
        (0..count).map(|index| Some(u32::from_le_bytes(at(start + index * size, 4)?.try_into().ok()?)));
    Some(kinds.collect::<Option<Vec<_>>>()?.contains(&INTERPRETER))
}
