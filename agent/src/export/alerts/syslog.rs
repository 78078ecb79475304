//! Alerts to the system's log, as syslog(3) sends them: one datagram each to `/dev/log`, RFC 3164 (the C library's
//! form of it, without a host name).

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tarsier_core::event::alert::Priority;
use tokio::net::UnixDatagram;

use super::channel::SIGNAL;
use crate::export::worker::{Accepted, Destination, Failure, Verdict};
use crate::export::{Signal, put};

/// Alerts to the system's log, with the rule's priority and facility `user`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SyslogOutput {
    /// Whether alerts go there.
    pub enabled: bool,
    /// Name of the program that logs.
    pub ident: String,
    /// Socket of the log daemon.
    pub socket: PathBuf,
    /// JSON or text here, whatever `alerts.json_output` says.
    pub json_output: Option<bool>,
}

impl Default for SyslogOutput {
    fn default() -> Self {
        Self { enabled: false, ident: "tarsier".into(), socket: "/dev/log".into(), json_output: None }
    }
}

/// `LOG_USER`, what Falco's alerts have.
const FACILITY: usize = 1;

/// What stands before a message.
#[derive(Clone, Debug)]
pub(super) struct Header {
    ident: String,
    zone: TimeZone,
}

impl Header {
    pub(super) fn new(config: &SyslogOutput, zone: TimeZone) -> Self {
        Self { ident: config.ident.clone(), zone }
    }

    /// `<12>Nov 27 10:11:12 tarsier: `, of now.
    pub(super) fn write(&self, out: &mut Vec<u8>, priority: Priority) {
        self.write_at(out, priority, Timestamp::now());
    }

    fn write_at(&self, out: &mut Vec<u8>, priority: Priority, now: Timestamp) {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let now = now.to_zoned(self.zone.clone());
        let month = usize::try_from(now.month() - 1).ok().and_then(|month| MONTHS.get(month)).unwrap_or(&"");
        let (day, hour, minute, second) = (now.day(), now.hour(), now.minute(), now.second());
        let number = FACILITY << 3 | priority as usize;
        put!(out, "<{number}>{month} {day:2} {hour:02}:{minute:02}:{second:02} {}: ", self.ident);
    }
}

/// The channel's end.
pub(super) struct SyslogChannel {
    path: PathBuf,
    timeout: Duration,
    socket: Option<UnixDatagram>,
}

impl SyslogChannel {
    pub(super) fn new(config: &SyslogOutput, timeout: Duration) -> Self {
        Self { path: config.socket.clone(), timeout, socket: None }
    }

    async fn attempt(&mut self, message: &[u8]) -> std::io::Result<()> {
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(&self.path)?;
                socket
            }
        };
        socket.send(message).await?;
        // Kept only while it works: a log daemon that was started anew has another socket.
        self.socket = Some(socket);
        Ok(())
    }
}

impl Destination for SyslogChannel {
    fn name(&self) -> &'static str {
        "alerts_syslog"
    }

    fn signal(&self) -> Signal {
        SIGNAL
    }

    async fn send(&mut self, message: Bytes) -> Result<Accepted, Failure> {
        let (path, timeout) = (self.path.display().to_string(), self.timeout);
        match tokio::time::timeout(timeout, self.attempt(&message)).await {
            Ok(Ok(())) => Ok(Accepted::default()),
            // As large it will never be taken.
            Ok(Err(error)) if error.raw_os_error() == Some(libc::EMSGSIZE) => {
                Err(Failure { verdict: Verdict::Permanent, text: format!("{path}: {error}") })
            }
            Ok(Err(error)) => Err(Failure::again(format!("{path}: {error}"))),
            Err(_) => Err(Failure::again(format!("{path}: not taken within {timeout:?}"))),
        }
    }

    async fn close(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_the_c_librarys() {
        let header = Header { ident: "tarsier".into(), zone: TimeZone::UTC };
        let at = |second: i64, priority| {
            let mut out = Vec::new();
            header.write_at(&mut out, priority, Timestamp::from_second(second).unwrap());
            String::from_utf8(out).unwrap()
        };
        assert_eq!(at(1_795_774_272, Priority::Warning), "<12>Nov 27 10:11:12 tarsier: ");
        assert_eq!(at(1_796_083_200, Priority::Emergency), "<8>Dec  1 00:00:00 tarsier: ");
        assert_eq!(at(1_796_083_200, Priority::Debug), "<15>Dec  1 00:00:00 tarsier: ");
    }
}
