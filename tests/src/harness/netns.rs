//! Network namespaces of the test's own. A namespace lives as long as the thread that made it and the
//! processes started from it: nothing has a name, so nothing is left behind.

use std::process::Command;

use anyhow::{Context as _, bail};
use rustix::thread::UnshareFlags;

/// Runs `body` on a thread of its own in a new network namespace with loopback up. Commands started
/// by `body` run in that namespace too.
pub fn within<T: Send>(body: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: a new network namespace changes what sockets of this thread see, not its memory
            // or descriptors; no code relies on all threads being in the same one.
            unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.context("cannot unshare")?;
            loopback_up()?;
            body()
        });
        match thread.join() {
            Ok(result) => result,
            Err(payload) => std::panic::resume_unwind(payload),
        }
    })
}

/// `ip link set lo up`, without `ip`.
pub fn loopback_up() -> anyhow::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").context("a socket to configure lo with")?;
    // SAFETY: ifreq is plain integers and a union of them; all zero is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo\0") {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which `request` is, during the call only.
    let result = unsafe { libc::ioctl(fd, libc::SIOCSIFFLAGS, &raw const request) };
    if result != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot bring lo up");
    }
    Ok(())
}

/// Writes settings `net.ipv4.NAME` of the calling thread's namespace. One that this kernel does not have
/// is an error.
pub fn set(settings: &[(&str, &str)]) -> anyhow::Result<()> {
    settings.iter().try_for_each(|(name, value)| {
        let path = format!("/proc/sys/net/ipv4/{name}");
        std::fs::write(&path, value).with_context(|| format!("cannot write {value} to {path}"))
    })
}

/// Runs a configuration command (`ip`, `iptables`) and returns an error with its words if it fails.
pub fn configure(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let path = super::tool::find(program).with_context(|| format!("{program} is not installed"))?;
    let output =
        Command::new(path).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    if !output.status.success() {
        bail!("{program} {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
