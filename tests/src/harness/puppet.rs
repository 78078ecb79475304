//! A process that holds sockets and does with them what it is told: see
//! [`workload::puppet`](crate::workload::puppet).

use std::cell::RefCell;
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::scene::Dialogue;

/// It runs in the network namespace of the thread that started it; dropping it kills it.
#[derive(Debug)]
pub struct Puppet(RefCell<Dialogue>);

impl Puppet {
    /// Starts `command`, which is `workload puppet`.
    pub fn start(command: Command) -> anyhow::Result<Self> {
        Ok(Self(RefCell::new(Dialogue::start(command)?)))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.0.borrow().pid()
    }

    /// Has it do something; how many bytes that moved.
    pub fn tell(&self, line: &str) -> anyhow::Result<u64> {
        self.begin(line)?;
        self.end(line)
    }

    /// The same; what it fails with, and how many bytes it moved.
    pub fn ask(&self, line: &str) -> anyhow::Result<(i32, u64)> {
        self.begin(line)?;
        answer(&self.0.borrow_mut().hear()?)
    }

    /// Has it begin with something that [`Puppet::end`] waits for.
    pub fn begin(&self, line: &str) -> anyhow::Result<()> {
        self.0.borrow_mut().send(line)
    }

    /// Waits until it has done what it began with; how many bytes that moved.
    pub fn end(&self, line: &str) -> anyhow::Result<u64> {
        match answer(&self.0.borrow_mut().hear()?)? {
            (0, count) => Ok(count),
            (errno, _) => bail!("{line}: {}", std::io::Error::from_raw_os_error(errno)),
        }
    }
}

fn answer(answer: &Value) -> anyhow::Result<(i32, u64)> {
    let errno = answer["errno"].as_i64().with_context(|| format!("no errno in {answer}"))?;
    Ok((i32::try_from(errno)?, answer["count"].as_u64().context("no count")?))
}
