//! The only writer of a ring. Counts what is produced before it asks for room, so that a lost record
//! leaves a gap in the sequence and a reason in the ledger.

use core::ffi::c_void;

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_get_smp_processor_id, bpf_ktime_get_boot_ns,
        generated::{bpf_ringbuf_reserve, bpf_ringbuf_submit},
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

/// Counts a record of now as produced and makes its header.
#[inline(always)]
pub fn header(sensor: Sensor, op: u8) -> Option<Header> {
    header_of(sensor, op, now)
}

/// Counts a record as produced and makes its header, with the boot time that `time` tells.
#[inline(always)]
fn header_of(sensor: Sensor, op: u8, time: impl FnOnce() -> u64) -> Option<Header> {
    let row = row(sensor)?;
    // SAFETY: a field of a live map value.
    let produced = unsafe { &raw mut (*row).produced };
    // SAFETY: as above; a stale value only repeats a sequence number.
    let seq = unsafe { core::ptr::read_volatile(produced) } as u32;
    add_one(produced);
    // SAFETY: a helper without preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() } as u16;
    Some(Header { sensor: sensor as u8, op, cpu, seq, boot_ns: time() })
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

/// Writes a record to its sensor's ring. All records of a ring come this way or all by [`reserve`], since the two
/// measure differently when to wake.
#[inline(always)]
pub fn output(sensor: Sensor, record: &[u8]) {
    // SAFETY: a helper without preconditions.
    let (ring, wake) = ring(sensor, unsafe { bpf_get_smp_processor_id() } as u16);
    let before = ring.query(u64::from(BPF_RB_AVAIL_DATA));
    if ring.output::<[u8]>(record, wake_up(before, record.len() as u64, wake)).is_err() {
        lose(sensor, Loss::RingFull);
    }
}

/// Room for one record in its sensor's ring; it must be submitted.
pub struct Room {
    wake: u32,
    len: usize,
    /// `len` bytes, aligned to 8; the header is written.
    pub record: *mut u8,
}

/// Counts a record of `time` as produced and asks for room, `len` bytes: a constant wherever the verifier comes
/// from. Written in place, a record is not copied.
#[inline(always)]
pub fn reserve(sensor: Sensor, op: u8, len: usize, time: impl FnOnce() -> u64) -> Option<Room> {
    let header = header_of(sensor, op, time)?;
    let (ring, wake) = ring(sensor, header.cpu);
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
    Some(Room { wake, len, record })
}

impl Room {
    /// Hands the record over, and wakes by where it lies: to ask the ring how full it is costs more than writing
    /// the record.
    ///
    /// The ring's memory is mapped twice in a row and its size is a multiple of `wake`, so that addresses modulo
    /// `wake` go on from one lap to the next, and rooms follow each other without a gap. Of any `wake` bytes,
    /// whoever wrote them, exactly one room wakes. A ring that is full since it was last read has had all
    /// its multiples but the one in the room that was refused: three of four wake-ups, the first after
    /// at most a quarter.
    #[inline(always)]
    pub fn submit(self) {
        let at = low_half(self.record).wrapping_sub(HEAD);
        let flags = wake_up(u64::from(at), self.len as u64, self.wake);
        // SAFETY: the room was reserved and is given back once.
        unsafe { bpf_ringbuf_submit(self.record.cast(), flags) };
    }
}

/// The low half of an address as a number: of pointers themselves the verifier allows no bit operations.
#[inline(always)]
fn low_half(address: *mut u8) -> u32 {
    let low: u32;
    // SAFETY: a move between registers; it keeps the compiler from using the pointer instead.
    unsafe {
        core::arch::asm!("{0} = {1}", out(wreg) low, in(wreg) address as u32, options(pure, nomem, nostack));
    }
    low
}

/// Bytes of the ring's own before each record (`BPF_RINGBUF_HDR_SZ`).
const HEAD: u32 = 8;

/// The ring of a sensor on a CPU, and every how many bytes user space is woken.
#[inline(always)]
fn ring(sensor: Sensor, cpu: u16) -> (&'static RingBuf, u32) {
    match sensor.ring() {
        Ring::Priority => (&PRIORITY, WAKE_PRIORITY.load()),
        Ring::Bulk => {
            let ring = match u32::from(cpu) & BULK_MASK.load() {
                0 => &BULK_0,
                1 => &BULK_1,
                2 => &BULK_2,
                _ => &BULK_3,
            };
            (ring, WAKE_BULK.load())
        }
    }
}

/// Flags of a record of `len` bytes in a room that begins at `at`: wakes user space only when the room goes
/// across a multiple of `wake` (a power of two), since a wake-up costs the traced task more than the
/// whole record.
#[inline(always)]
fn wake_up(at: u64, len: u64, wake: u32) -> u64 {
    let crossed = (at ^ (at + len + u64::from(HEAD))) & !(u64::from(wake) - 1) != 0;
    u64::from(if crossed { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}
