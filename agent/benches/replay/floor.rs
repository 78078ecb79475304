//! What the machine takes for the steps that no code can leave out: copying a request, handing it to the kernel,
//! finding an entry in a table. CPU time of this process; a receiver that reads and throws away is another.

use std::hint::black_box;
use std::io::{BufRead, BufReader, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use rustc_hash::FxHashMap;

use crate::cpu_ns;

/// As large as our requests, and as h2's frames.
const REQUEST: usize = 1 << 20;
const FRAME: usize = 16 << 10;
const FRAME_HEADER: usize = 9;
/// Bytes copied or written in each measurement, several times over; the least counts.
const BYTES: usize = 256 << 20;
const ROUNDS: usize = 7;
/// Entries of a table that is larger than the caches next to a core.
const ENTRIES: u64 = 1 << 17;
/// Bytes of an entry with its key.
const ENTRY: u64 = 136;

pub(crate) fn report() {
    let request = vec![7; REQUEST];
    let mut copy = vec![0; REQUEST];
    let copied = least(BYTES, || {
        for _ in 0..BYTES / REQUEST {
            copy.copy_from_slice(black_box(&request));
            black_box(&mut copy);
        }
    });
    println!("copy of a request                 {copied:>8.3} ns per byte");

    let (mut socket, mut reader) = drained();
    for (size, header, name) in [
        (FRAME, FRAME_HEADER, "write of a frame of HTTP/2       "),
        (REQUEST, 0, "write of a request in one call   "),
    ] {
        let header = vec![0; header];
        let written = least(BYTES, || {
            for part in request.chunks(size).cycle().take(BYTES / size) {
                frame(&mut socket, &header, part);
            }
        });
        println!("{name} {written:>8.3} ns per byte, {:.0} ns each", written * size as f64);
    }

    drop(socket);
    reader.wait().unwrap();

    let key = |number: u64| number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let table: FxHashMap<u64, [u64; 16]> = (0..ENTRIES).map(|number| (key(number), [number; 16])).collect();
    let lookups = 1 << 22;
    let found = least(lookups, || {
        let mut at = 1_u64;
        for _ in 0..lookups {
            // Each needs the one before, as a record's process is needed before what is told of it.
            let entry = table.get(&key(at % ENTRIES)).unwrap();
            at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(entry[15] | 1) >> 1;
        }
        black_box(at);
    });
    println!("entry of a table of {} MiB        {found:>8.1} ns", (ENTRIES * ENTRY) >> 20);
}

/// CPU time of `run` divided by `units`, the least of all rounds, ns.
fn least(units: usize, mut run: impl FnMut()) -> f64 {
    let mut least = f64::MAX;
    for _ in 0..ROUNDS {
        let before = cpu_ns();
        run();
        least = least.min((cpu_ns() - before) as f64 / units as f64);
    }
    least
}

/// Header and payload by one call, as h2 writes them.
fn frame(socket: &mut TcpStream, header: &[u8], part: &[u8]) {
    let whole = header.len() + part.len();
    let written = socket.write_vectored(&[IoSlice::new(header), IoSlice::new(part)]).unwrap();
    if written < whole {
        socket.write_all(&part[written.saturating_sub(header.len())..]).unwrap();
    }
}

/// A connection over loopback to a process that reads all of it.
fn drained() -> (TcpStream, Child) {
    let mut child =
        Command::new(std::env::current_exe().unwrap()).arg("--drain").stdout(Stdio::piped()).spawn().unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let socket = TcpStream::connect(address.trim()).unwrap();
    socket.set_nodelay(true).unwrap();
    (socket, child)
}

/// The other side of [`drained`]: ends with the connection.
pub(crate) fn drain() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    std::io::stdout().flush().unwrap();
    let (mut socket, _) = listener.accept().unwrap();
    let mut room = vec![0; 256 << 10];
    while socket.read(&mut room).unwrap() > 0 {}
}
