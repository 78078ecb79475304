//! A name server that knows one name: enough for a resolver to be a real one.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context as _;

/// How soon the server notices that it is to end.
const STEP: Duration = Duration::from_millis(100);
/// Header of a message, bytes (RFC 1035 §4.1.1).
const HEADER: usize = 12;
/// Question types.
const A: [u8; 2] = [0, 1];

/// The server; dropping it ends it.
#[derive(Debug)]
pub struct NameServer {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    answered: AtomicUsize,
}

impl NameServer {
    /// Serves at `address`: `name` is 127.0.0.1 and has no IPv6 address; no other name exists.
    pub fn start(address: SocketAddr, name: &str) -> anyhow::Result<Self> {
        let socket = UdpSocket::bind(address).with_context(|| format!("cannot serve names at {address}"))?;
        socket.set_read_timeout(Some(STEP))?;
        let shared = Arc::new(Shared::default());
        let (for_thread, name) = (Arc::clone(&shared), wire_name(name));
        let thread = std::thread::spawn(move || serve(&socket, &name, &for_thread));
        Ok(Self { shared, thread: Some(thread) })
    }

    /// How often it has told the address so far.
    pub fn answered(&self) -> usize {
        self.shared.answered.load(Ordering::Relaxed)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        // It fails only if the thread panicked, and then the test has seen no answer.
        drop(self.thread.take().map(std::thread::JoinHandle::join));
    }
}

fn serve(socket: &UdpSocket, name: &[u8], shared: &Shared) {
    let mut packet = [0; 512];
    while !shared.is_over.load(Ordering::Relaxed) {
        // A timeout looks at the flag again; any other error is the resolver's to notice.
        let Ok((length, client)) = socket.recv_from(&mut packet) else { continue };
        let Some(reply) = answer(&packet[..length], name) else { continue };
        // A told address is the answer count of the header.
        shared.answered.fetch_add(usize::from(reply[7]), Ordering::Relaxed);
        drop(socket.send_to(&reply, client));
    }
}

/// The reply to a query; `None` for what is no query.
fn answer(query: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let question = query.get(HEADER..)?;
    let length = question.iter().position(|byte| *byte == 0)? + 1;
    let asked = question.get(..length)?;
    let kind = question.get(length..length + 2)?;
    let is_known = asked.eq_ignore_ascii_case(name);
    let has_address = is_known && kind == A;
    // Response, recursion desired and available; NXDOMAIN (3) for any other name.
    let flags = [0x81, if is_known { 0x80 } else { 0x83 }];
    let mut reply = query.get(..2)?.to_vec();
    reply.extend(flags);
    reply.extend([0, 1, 0, u8::from(has_address), 0, 0, 0, 0]);
    reply.extend(question.get(..length + 4)?);
    if has_address {
        // The name by reference, A, IN, 1 s, four bytes.
        reply.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1]);
    }
    Some(reply)
}

/// `a.b` as `\x01a\x01b\0`.
fn wire_name(name: &str) -> Vec<u8> {
    let labels = name.split('.').flat_map(|label| [label.len() as u8].into_iter().chain(label.bytes()));
    labels.chain([0]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_has_one_address() {
        let query = |name: &str, kind: u8| -> Vec<u8> {
            let head = [7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            head.into_iter().chain(wire_name(name)).chain([0, kind, 0, 1]).collect()
        };
        let known = wire_name("collector.test");
        let reply = answer(&query("Collector.test", 1), &known).expect("a query");
        assert_eq!((&reply[..4], reply[7]), (&[7, 9, 0x81, 0x80][..], 1));
        assert!(reply.ends_with(&[127, 0, 0, 1]));
        assert_eq!(
            answer(&query("collector.test", 28), &known).map(|reply| (reply[3], reply[7])),
            Some((0x80, 0))
        );
        assert_eq!(
            answer(&query("other.test", 1), &known).map(|reply| (reply[3], reply[7])),
            Some((0x83, 0))
        );
        assert_eq!(answer(&[0; 12], &known), None);
    }
}
