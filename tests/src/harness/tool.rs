//! Commands of the machine and loopback ports.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;

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
