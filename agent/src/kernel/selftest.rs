//! The proof, at every start, that the resolved offsets read what they are meant to: what the
//! iterators say of the agent's own process and of a connection it holds to itself is compared with
//! what it knows from elsewhere. A disagreement switches off the sensor that would repeat it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;

use tarsier_abi::Sensor;
use tarsier_abi::tcp::{Tuple, role};
use tarsier_core::event::exec::Exec;
use tarsier_core::event::tcp::{TcpEvent, What};

use super::Kernel;

/// What each side of the connection has sent: two numbers that nothing else would yield.
const CLIENT_BYTES: u64 = 1_234;
const SERVER_BYTES: u64 = 77;

/// A connection to oneself on loopback, held until the comparison is over.
pub struct SelfTest {
    listener: SocketAddr,
    client: TcpStream,
    _server: TcpStream,
}

/// What the comparison found.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    /// The own process was seen.
    process: bool,
    /// How many ends of the connection were seen.
    sockets: u32,
    /// Values that disagree.
    mismatches: Vec<Mismatch>,
}

/// A value that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mismatch {
    sensor: Sensor,
    field: &'static str,
    kernel: String,
    expected: String,
}

/// The layout that BTF promises is not the one in memory.
#[derive(Debug, thiserror::Error)]
#[error(
    "self-test: {0}: the kernel's type information does not fit this kernel; report it with `tarsier doctor`"
)]
pub struct SelfTestError(String);

impl SelfTest {
    /// Opens the connection and sends over it, both ways.
    ///
    /// # Errors
    /// Loopback does not work.
    pub fn prepare() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let mut client = TcpStream::connect(address)?;
        let (mut server, _) = listener.accept()?;
        let mut buffer = [0_u8; CLIENT_BYTES as usize];
        client.write_all(&buffer)?;
        server.read_exact(&mut buffer)?;
        let mut answer = [0_u8; SERVER_BYTES as usize];
        server.write_all(&answer)?;
        client.read_exact(&mut answer)?;
        Ok(Self { listener: address, client, _server: server })
    }

    /// The port that marks the connection: the kernel side lets it pass any scope.
    pub fn port(&self) -> u16 {
        self.listener.port()
    }

    /// Whether a socket is one of the connection's two ends (or its listener).
    pub fn is_own(&self, tuple: &Tuple) -> bool {
        tuple.local_port == self.port() || tuple.peer_port == self.port()
    }

    /// Compares the record of the own process with `/proc/self` and the C library.
    pub fn compare_process(&self, exec: &Exec<'_>, findings: &mut Findings) {
        findings.process = true;
        let record = exec.record();
        let mut check = |field, kernel: String, expected: Option<String>| {
            if let Some(expected) = expected.filter(|expected| *expected != kernel) {
                findings.mismatches.push(Mismatch { sensor: Sensor::Exec, field, kernel, expected });
            }
        };
        check("vpid", record.vpid.to_string(), Some(std::process::id().to_string()));
        let ticks = record.task.start_boottime / 10_000_000;
        let expected = start_ticks();
        // The kernel rounds down; suspended time is in both.
        let near = expected.is_none_or(|expected| expected.abs_diff(ticks) <= 1);
        check("start_boottime", near.to_string(), Some(true.to_string()));
        let creds = record.creds;
        check(
            "ids",
            format!("{} {} {} {}", creds.uid, creds.euid, creds.gid, creds.egid),
            own_ids().filter(|_| in_initial_user_namespace()),
        );
        check("comm", name(&record.comm), read("comm"));
        check("cap_effective", format!("{:016x}", creds.cap_effective), status("CapEff"));
        for (field, kernel) in [
            ("mnt", record.ns.mnt),
            ("pid", record.ns.pid),
            ("net", record.ns.net),
            ("uts", record.ns.uts),
            ("ipc", record.ns.ipc),
            ("user", record.ns.user),
        ] {
            let inode = std::fs::metadata(format!("/proc/self/ns/{field}")).ok().map(|data| data.ino());
            check(field, kernel.to_string(), inode.map(|inode| inode.to_string()));
        }
        let exe = std::fs::read_link("/proc/self/exe").ok().map(|path| path.display().to_string());
        let mut path = Vec::new();
        exec.exe.write_into(&mut path);
        check(
            "exe",
            String::from_utf8_lossy(&path).into_owned(),
            exe.filter(|exe| !exe.ends_with(" (deleted)")),
        );
        let inode = std::fs::metadata("/proc/self/exe").ok().map(|data| data.ino().to_string());
        check("exe_inode", record.exe_inode.to_string(), inode);
    }

    /// Compares the record of one end of the connection with what was sent over it.
    pub fn compare_socket(&self, event: &TcpEvent, findings: &mut Findings) {
        let TcpEvent::Socket { tuple, ends, what: What::Seed { counters, .. } } = event else { return };
        let client_port = self.client.local_addr().map_or(0, |address| address.port());
        let (local, peer, sent, received, expected_role) = match (tuple.local_port, tuple.peer_port) {
            (local, peer) if local == client_port && peer == self.port() => {
                (local, peer, CLIENT_BYTES, SERVER_BYTES, role::CLIENT)
            }
            (local, peer) if local == self.port() && peer == client_port => {
                (local, peer, SERVER_BYTES, CLIENT_BYTES, role::SERVER)
            }
            _ => return,
        };
        findings.sockets += 1;
        let loopback = self.listener.ip();
        let kernel = format!(
            "{:?} {:?} {} {} {}",
            ends.local, ends.peer, counters.bytes_sent, counters.bytes_received, tuple.role
        );
        let expected =
            format!("{:?} {:?} {sent} {received} {expected_role}", (loopback, local), (loopback, peer));
        if kernel != expected {
            let field = "socket";
            findings.mismatches.push(Mismatch { sensor: Sensor::Tcp, field, kernel, expected });
        }
    }
}

/// Acts on the findings: the sensor that reads wrong values is switched off by name.
///
/// # Errors
/// The process core reads wrong values: nothing can be attributed then.
pub fn judge(kernel: &mut Kernel, findings: &Findings) -> Result<(), SelfTestError> {
    for Mismatch { sensor, field, kernel: read, expected } in &findings.mismatches {
        let text = format!("{field} reads as {read}, expected {expected}");
        tracing::error!(sensor = sensor.name(), field, read, expected, "self-test: offsets are wrong");
        if *sensor == Sensor::Exec {
            return Err(SelfTestError(text));
        }
        kernel.switch_off(*sensor, &format!("self-test: {text}"));
    }
    if !findings.process {
        tracing::warn!("self-test: the task iterator did not show the agent itself");
    }
    if findings.sockets != 2 {
        tracing::warn!(ends = findings.sockets, "self-test: the tcp iterator did not show both ends");
    }
    Ok(())
}

/// A task's name. Behind the NUL older kernels leave what a longer name had there (seen on 5.10).
fn name(comm: &[u8; 16]) -> String {
    let end = comm.iter().position(|&byte| byte == 0).unwrap_or(comm.len());
    String::from_utf8_lossy(&comm[..end]).into_owned()
}

fn read(name: &str) -> Option<String> {
    Some(std::fs::read_to_string(format!("/proc/self/{name}")).ok()?.trim_end().to_owned())
}

fn status(key: &str) -> Option<String> {
    let text = read("status")?;
    text.lines().find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(':')?.trim().to_owned()))
}

/// Field 22 of `/proc/self/stat`, clock ticks (100 per second on every supported architecture).
fn start_ticks() -> Option<u64> {
    // Nothing here may use `host`: the fields count from the closing parenthesis of the name.
    read("stat")?.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Real and effective user, real and effective group.
fn own_ids() -> Option<String> {
    let (users, groups) = (status("Uid")?, status("Gid")?);
    let (mut users, mut groups) = (users.split_whitespace(), groups.split_whitespace());
    Some(format!("{} {} {} {}", users.next()?, users.next()?, groups.next()?, groups.next()?))
}

fn in_initial_user_namespace() -> bool {
    read("uid_map").is_some_and(|map| map.split_whitespace().eq(["0", "0", "4294967295"]))
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn a_name_ends_at_its_first_nul() {
        assert_eq!(name(b"tarsier\0uments_a"), "tarsier");
        assert_eq!(name(b"sixteen letters!"), "sixteen letters!");
    }
}
