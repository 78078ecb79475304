//! The only writer of a ring. Counts what is produced before it asks for room, so that a lost record
//! leaves a gap in the sequence and a reason in the ledger.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
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
    // SAFETY: helpers without preconditions.
    let (cpu, boot_ns) = unsafe { (bpf_get_smp_processor_id() as u16, bpf_ktime_get_boot_ns()) };
    Some(Header { sensor: sensor as u8, op, cpu, seq, boot_ns })
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
    let done = match sensor.ring() {
        Ring::Priority => write(&PRIORITY, record, WAKE_PRIORITY.load()),
        Ring::Bulk => {
            let wake = WAKE_BULK.load();
            // SAFETY: a helper without preconditions.
            let cpu = unsafe { bpf_get_smp_processor_id() } as u32;
            match cpu & BULK_MASK.load() {
                0 => write(&BULK_0, record, wake),
                1 => write(&BULK_1, record, wake),
                2 => write(&BULK_2, record, wake),
                _ => write(&BULK_3, record, wake),
            }
        }
    };
    if !done {
        lose(sensor, Loss::RingFull);
    }
}

/// Wakes user space only when this record carries the fill level across a multiple of `wake` (a power
/// of two): a wake-up costs the traced task more than the whole record.
#[inline(always)]
fn write(ring: &RingBuf, record: &[u8], wake: u32) -> bool {
    let before = ring.query(u64::from(BPF_RB_AVAIL_DATA));
    let after = before + record.len() as u64 + 8;
    let crossed = (before ^ after) & !(u64::from(wake) - 1) != 0;
    let flags = if crossed { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    ring.output::<[u8]>(record, u64::from(flags)).is_ok()
}
