//! The admin socket: whoever connects gets the agent's state as one JSON line at once and then one
//! every second. `tarsier top` is its client.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

/// Where the socket is by default.
pub const DEFAULT_SOCKET: &str = "/run/tarsier.sock";

/// Most clients served at once; one more waits for its turn.
const CLIENTS: usize = 8;
const PERIOD: Duration = Duration::from_secs(1);
/// A client that reads nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(5);

/// What `tarsier top` shows: the agent's state at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopState {
    /// Host name.
    pub node: String,
    /// The agent's version.
    pub version: String,
    /// Seconds since the agent started.
    pub uptime_s: u64,
    /// Rates over the last second or so.
    pub rates: Rates,
    /// The busiest connections; the agent bounds how many.
    pub connections: Vec<Connection>,
    /// The newest processes; the agent bounds how many.
    pub processes: Vec<Process>,
    /// Every loss that is not zero.
    pub losses: Vec<Loss>,
    /// Every sensor.
    pub sensors: Vec<SensorState>,
}

/// Rates, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rates {
    /// Records read from the rings.
    pub records: f64,
    /// Programs started.
    pub execs: f64,
    /// Connections opened.
    pub connections: f64,
    /// Payload bytes of all connections, both ways.
    pub bytes: f64,
    /// Items sent by the exporters.
    pub exported: f64,
    /// The agent's own CPU time, share of one core (1.0 = a whole core).
    pub cpu: f64,
    /// Resident memory of the agent, bytes.
    pub resident_bytes: u64,
}

/// One connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Connection {
    /// `client`, `server` or `unknown`.
    pub role: String,
    /// Local address and port.
    pub local: String,
    /// Far address and port.
    pub peer: String,
    /// Name of the owning process; empty = not known.
    pub process: String,
    /// Its pid; 0 = not known.
    pub pid: u32,
    /// Name of the workload.
    pub workload: String,
    /// Payload bytes sent since the start, from the local end.
    pub sent: u64,
    /// Payload bytes received since the start.
    pub received: u64,
    /// Bytes per second, both ways, now.
    pub bytes_per_s: f64,
    /// Smoothed round-trip time, µs; 0 = not known.
    pub rtt_us: u32,
    /// Segments sent again.
    pub retransmits: u64,
    /// Age, ms.
    pub age_ms: u64,
    /// TCP state, as `ss` spells it.
    pub state: String,
}

/// One process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Pid in the host's namespace.
    pub pid: u32,
    /// Parent's pid; 0 = not known.
    pub parent: u32,
    /// Real user id.
    pub uid: u32,
    /// Command line, redacted.
    pub command: String,
    /// Name of the workload.
    pub workload: String,
    /// Age, ms.
    pub age_ms: u64,
    /// Exit code, or 128 + signal, if it has ended.
    pub exit: Option<i32>,
}

/// One kind of loss.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Loss {
    /// Where: a sensor or an exporter.
    pub place: String,
    /// Why.
    pub cause: String,
    /// How many since the agent started.
    pub count: u64,
}

/// One sensor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SensorState {
    /// Its name.
    pub name: String,
    /// Whether it is attached.
    pub on: bool,
    /// Why not; empty if it is.
    pub reason: String,
}

/// A running admin socket. Dropping it closes every client and removes the socket's file.
#[derive(Debug)]
pub struct AdminServer {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Listens at `path` on the current runtime; `state` is called once per second and client.
    ///
    /// # Errors
    /// `AddrInUse` if another agent listens there; what binding said otherwise (a read-only file
    /// system, a missing directory, no permission).
    pub fn start(path: &Path, state: Arc<dyn Fn() -> TopState + Send + Sync>) -> io::Result<Self> {
        remove_stale(path)?;
        let listener = UnixListener::bind(path)?;
        // The file belongs to the user that the agent runs as.
        let owner = std::fs::symlink_metadata(path)?.uid();
        let task = tokio::spawn(accept(listener, owner, state));
        let server = Self { path: path.into(), task };
        // Until here the umask and the check of the peer's uid in `accept` guard the socket.
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(server)
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.task.abort();
        // Another process may have removed it already; there is nobody to tell.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Removes a socket that a killed agent left behind. One that answers is in use.
fn remove_stale(path: &Path) -> io::Result<()> {
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another agent listens there")),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            let is_socket = std::fs::symlink_metadata(path)?.file_type().is_socket();
            if is_socket { std::fs::remove_file(path) } else { Ok(()) }
        }
        // Not there, or not reachable: binding will say so.
        Err(_) => Ok(()),
    }
}

async fn accept(listener: UnixListener, owner: u32, state: Arc<dyn Fn() -> TopState + Send + Sync>) {
    let places = Arc::new(Semaphore::new(CLIENTS));
    // Clients live in a set so that dropping this task drops them.
    let mut clients = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) if is_allowed(&stream, owner) => {
                let state = Arc::clone(&state);
                clients.spawn(async move {
                    let _place = place;
                    // An error is a client that went away, which is how every client ends.
                    let _ = feed(stream, &*state).await;
                });
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "admin socket: cannot accept");
                tokio::time::sleep(PERIOD).await;
            }
        }
        while clients.try_join_next().is_some() {}
    }
}

/// Root, or the user that the agent runs as.
fn is_allowed(stream: &UnixStream, owner: u32) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == owner)
}

async fn feed(mut stream: UnixStream, state: &(dyn Fn() -> TopState + Send + Sync)) -> io::Result<()> {
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let mut line = serde_json::to_vec(&state())?;
        line.push(b'\n');
        tokio::time::timeout(PATIENCE, stream.write_all(&line)).await??;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::io::{AsyncBufReadExt, BufReader};

    use super::*;

    fn counting() -> Arc<dyn Fn() -> TopState + Send + Sync> {
        let calls = AtomicU64::new(0);
        Arc::new(move || TopState {
            uptime_s: calls.fetch_add(1, Ordering::Relaxed),
            node: "n".into(),
            ..TopState::default()
        })
    }

    #[tokio::test]
    async fn a_client_gets_a_fresh_state_every_second() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let server = AdminServer::start(&path, counting()).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let mut lines = BufReader::new(UnixStream::connect(&path).await.unwrap()).lines();
        let mut next = async || {
            let line = tokio::time::timeout(Duration::from_secs(10), lines.next_line()).await;
            line.unwrap().unwrap().map(|line| serde_json::from_str::<TopState>(&line).unwrap())
        };
        assert_eq!(next().await.unwrap().uptime_s, 0);
        assert_eq!(next().await.unwrap().uptime_s, 1);
        drop(server);
        assert!(!path.exists(), "the file goes with the server");
        assert_eq!(next().await, None, "clients are closed with the server");
    }

    #[tokio::test]
    async fn a_second_agent_is_refused_and_a_stale_socket_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let _server = AdminServer::start(&path, counting()).expect("nobody listens at the stale socket");
        let error = AdminServer::start(&path, counting()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let error = AdminServer::start(Path::new("/nowhere/x.sock"), counting()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
