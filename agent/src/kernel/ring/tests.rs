//! The consumer on a file of a ring's layout: what it reads, wherever a record starts.

use std::fs::File;
use std::os::fd::{AsFd, FromRawFd};
use std::os::unix::fs::FileExt;

use super::Ring;
use super::consumer::{BUSY, DISCARD};

/// The kernel's side of a ring, as a file of the same layout.
struct Producer {
    file: File,
    page: u64,
    size: u64,
    position: u64,
}

impl Producer {
    fn new(size: u32) -> Self {
        // SAFETY: a constant name that ends with NUL.
        let fd = unsafe { libc::memfd_create(c"ring".as_ptr(), 0) };
        assert!(fd >= 0, "memfd");
        // SAFETY: a fresh descriptor that nothing else owns.
        let file = unsafe { File::from_raw_fd(fd) };
        // SAFETY: a query without preconditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
        file.set_len(2 * page + u64::from(size)).expect("room");
        Self { file, page, size: u64::from(size), position: 0 }
    }

    fn put(&mut self, bytes: &[u8], flags: u32) {
        let mut record = (bytes.len() as u32 | flags).to_ne_bytes().to_vec();
        record.extend_from_slice(&[0; 4]);
        record.extend_from_slice(bytes);
        record.resize(record.len().next_multiple_of(8), 0);
        for (index, byte) in record.iter().enumerate() {
            let at = 2 * self.page + (self.position + index as u64) % self.size;
            self.file.write_at(&[*byte], at).expect("inside the ring");
        }
        self.position += record.len() as u64;
        self.file.write_at(&self.position.to_ne_bytes(), self.page).expect("the producer's position");
    }

    fn consumed(&self) -> u64 {
        let mut bytes = [0; 8];
        self.file.read_exact_at(&mut bytes, 0).expect("the consumer's position");
        u64::from_ne_bytes(bytes)
    }
}

fn drain(ring: &mut Ring) -> Vec<Vec<u8>> {
    let mut records = Vec::new();
    let drained = ring.drain_to(ring.snapshot(), |record| records.push(record.to_vec()));
    assert_eq!(drained.whole, ring.waiting() == 0);
    records
}

#[test]
fn records_are_whole_wherever_they_start() {
    let mut producer = Producer::new(4096);
    let mut ring = Ring::map(producer.file.as_fd(), 4096).expect("a ring");
    // Lengths vary, so that records run over the end at many places, and some end exactly there.
    for turn in 0..1_000_u32 {
        let len = 1_000 + turn as usize % 900;
        let bytes: Vec<u8> = (0..len).map(|index| (index as u32 * 7 + turn) as u8).collect();
        producer.put(&bytes, 0);
        producer.put(&bytes[..9], DISCARD);
        assert_eq!(drain(&mut ring), [bytes], "turn {turn}");
        assert_eq!(producer.consumed(), producer.position);
    }
}

#[test]
fn stops_at_a_record_that_is_being_written() {
    let mut producer = Producer::new(4096);
    let mut ring = Ring::map(producer.file.as_fd(), 4096).expect("a ring");
    producer.put(b"done", 0);
    producer.put(b"half", BUSY);
    producer.put(b"late", 0);
    assert_eq!(drain(&mut ring), [b"done"]);
    assert_eq!((producer.consumed(), ring.waiting()), (16, 32));
}
