//! The only writer of a ring. Counts what is produced before it asks for room, so that a lost record
//! leaves a gap in the sequence and a reason in the ledger.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
        generated::{bpf_ringbuf_query, bpf_ringbuf_reserve, bpf_ringbuf_submit},
    },
    maps::RingBuf,
};
use tarsier_abi::{Header, Ledger, Loss, Ring, Sensor, SensorLedger};

use crate::{
    kernel::{BULK_MASK, WAKE_BULK, WAKE_PRIORITY},
    maps::{BULK_0, BULK_1, BULK_2, BULK_3, LEDGER, PRIORITY},
};

/// This CPU's row of a sensor.
#[inline(always)]
fn row(sensor: Sensor) -> Option<*mut SensorLedger> {
    let ledger: *mut Ledger = LEDGER.get_ptr_mut(0)?;
    Some(ledger.cast::<SensorLedger>().wrapping_add(sensor as usize))
}

/// Adds one without a fetch: the instruction exists on every supported kernel.
#[inline(always)]
fn add_one(counter: *mut u64) {
    // `AtomicU64::fetch_add` does not exist for this target.
    // SAFETY: `counter` points into the per-CPU ledger, aligned and alive; other writers are atomic too.
    unsafe { core::arch::asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) 1_u64) }
}

/// Counts a record as produced and makes its header.
#[inline(always)]
pub fn header(sensor: Sensor, op: u8) -> Option<Header> {
    let row = row(sensor)?;
    // SAFETY: a field of a live map value.
    let produced = unsafe { &raw mut (*row).produced };
    // SAFETY: as above; a stale value only repeats a sequence number.
    let seq = unsafe { core::ptr::read_volatile(produced) } as u32;
    add_one(produced);
    // SAFETY: a helper without preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u16;
    Some(Header { sensor: sensor as u8, op, cpu, seq, boot_ns: now() })
}

/// `CLOCK_BOOTTIME`, ns.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: a helper without preconditions.
    unsafe { bpf_ktime_get_boot_ns() }
}

/// Counts the loss of a record whose header was made.
#[inline(always)]
pub fn lose(sensor: Sensor, loss: Loss) {
    if let Some(row) = row(sensor) {
        // SAFETY: a field of a live map value; the index is a constant of the enum.
        let counter = unsafe { &raw mut (*row).lost[loss as usize] };
        add_one(counter);
    }
}

/// Writes a record to its sensor's ring.
#[inline(always)]
pub fn output(sensor: Sensor, record: &[u8]) {
    let (ring, wake) = ring(sensor);
    let before = ring.query(u64::from(BPF_RB_AVAIL_DATA));
    if ring.output::<[u8]>(record, wake_up(before, record.len() as u64, wake)).is_err() {
        lose(sensor, Loss::RingFull);
    }
}

/// Room for one record in its sensor's ring; it must be submitted.
pub struct Room {
    ring: *mut c_void,
    wake: u32,
    len: usize,
    /// `len` bytes, aligned to 8; the header is written.
    pub record: *mut u8,
}

/// Counts a record as produced and asks for room, `len` bytes: a constant wherever the verifier comes from.
/// Written in place, a record is not copied.
#[inline(always)]
pub fn reserve(sensor: Sensor, op: u8, len: usize) -> Option<Room> {
    let header = header(sensor, op)?;
    let (ring, wake) = ring(sensor);
    // The map's definition is all that the type holds, and its address is how helpers know it.
    let ring = core::ptr::from_ref(ring).cast_mut().cast::<c_void>();
    // SAFETY: a ring of ours.
    let record = unsafe { bpf_ringbuf_reserve(ring, len as u64, 0) }.cast::<u8>();
    if record.is_null() {
        lose(sensor, Loss::RingFull);
        return None;
    }
    // SAFETY: every record starts with its header, and the ring aligns it.
    unsafe { record.cast::<Header>().write(header) };
    Some(Room { ring, wake, len, record })
}

impl Room {
    /// Hands the record over.
    #[inline(always)]
    pub fn submit(self) {
        let len = self.len as u64;
        // SAFETY: a ring of ours; the room was reserved in it and is given back once.
        unsafe {
            let after = bpf_ringbuf_query(self.ring, u64::from(BPF_RB_AVAIL_DATA));
            bpf_ringbuf_submit(self.record.cast(), wake_up(after.wrapping_sub(len + 8), len, self.wake));
        }
    }
}

/// The ring of a sensor on this CPU, and the fill level at which user space is woken.
#[inline(always)]
fn ring(sensor: Sensor) -> (&'static RingBuf, u32) {
    match sensor.ring() {
        Ring::Priority => (&PRIORITY, WAKE_PRIORITY.load()),
        Ring::Bulk => {
            // SAFETY: a helper without preconditions.
            let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
            let ring = match cpu & BULK_MASK.load() {
                0 => &BULK_0,
                1 => &BULK_1,
                2 => &BULK_2,
                _ => &BULK_3,
            };
            (ring, WAKE_BULK.load())
        }
    }
}

/// Flags of a record of `len` bytes written when `before` bytes wait: wakes user space only when it
/// carries the fill level across a multiple of `wake` (a power of two), since a wake-up costs the traced
/// task more than the whole record.
#[inline(always)]
fn wake_up(before: u64, len: u64, wake: u32) -> u64 {
    let crossed = (before ^ (before + len + 8)) & !(u64::from(wake) - 1) != 0;
    u64::from(if crossed { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}
