//! Every map. None is keyed by process, connection or file: there is nothing here that can fill up
//! but the rings, and nothing that is lost with the agent. What is remembered of requests that run ([`REQUESTS`]) is told at once
//! where it finds no room.

use aya_ebpf::{
    macros::map,
    maps::{Array, HashMap, PerCpuArray, ProgramArray, RingBuf},
};
use tarsier_abi::{
    Ledger, SCRATCH_BYTES,
    io_uring::{PENDING, PENDING_BYTES},
    syscall::{CallTable, PATH_BYTES, PLANS, Plan},
    tcp::SweepBatch,
};

/// Process and cgroup records. The agent sets the size before it loads the object.
#[map]
pub static PRIORITY: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// Bulk records of the CPUs with `cpu & BULK_MASK == 0`, and so on. Rings that the mask leaves out
/// are made as small as the kernel allows.
#[map]
pub static BULK_0: RingBuf = RingBuf::with_byte_size(1 << 20, 0);
/// See [`BULK_0`].
#[map]
pub static BULK_1: RingBuf = RingBuf::with_byte_size(4096, 0);
/// See [`BULK_0`].
#[map]
pub static BULK_2: RingBuf = RingBuf::with_byte_size(4096, 0);
/// See [`BULK_0`].
#[map]
pub static BULK_3: RingBuf = RingBuf::with_byte_size(4096, 0);

/// What was produced and lost, per CPU.
#[map]
pub static LEDGER: PerCpuArray<Ledger> = PerCpuArray::with_max_entries(1, 0);

/// Where the exec and cgroup programs build records. Both run in process context, where the kernel
/// lets no program of ours interrupt itself; each has its own so that neither disturbs the other.
#[map]
pub static EXEC_SCRATCH: PerCpuArray<[u8; SCRATCH_BYTES]> = PerCpuArray::with_max_entries(1, 0);
/// For the cgroup programs.
#[map]
pub static CGROUP_SCRATCH: PerCpuArray<[u8; 2048]> = PerCpuArray::with_max_entries(1, 0);
/// For the task iterator.
#[map]
pub static SEED_SCRATCH: PerCpuArray<[u8; SCRATCH_BYTES]> = PerCpuArray::with_max_entries(1, 0);

/// For the system call program.
#[map]
pub static SYSCALL_SCRATCH: PerCpuArray<[u8; crate::capture::BYTES]> = PerCpuArray::with_max_entries(1, 0);

/// Whether the scratch of the system call program is in use: see `syscall_returned`.
#[map]
pub static SYSCALL_GATE: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Where the system call program looks at a path before it captures anything.
#[map]
pub static PATH_SCRATCH: PerCpuArray<[u8; 8 + PATH_BYTES + 8]> = PerCpuArray::with_max_entries(1, 0);

/// For the programs of requests, which can run inside of those of system calls where tracepoints can be preempted (7.0).
#[map]
pub static REQUEST_SCRATCH: PerCpuArray<[u8; crate::capture::BYTES]> = PerCpuArray::with_max_entries(1, 0);
/// As [`SYSCALL_GATE`], of that.
#[map]
pub static REQUEST_GATE: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);
/// As [`PATH_SCRATCH`], for requests.
#[map]
pub static REQUEST_PATH_SCRATCH: PerCpuArray<[u8; 8 + PATH_BYTES + 8]> = PerCpuArray::with_max_entries(1, 0);

/// What is to be told of a request once it is complete: the beginning of its scratch, by ring and what the program calls it.
#[map]
pub static REQUESTS: HashMap<[u64; 2], [u8; PENDING_BYTES]> = HashMap::with_max_entries(PENDING as u32, 0);

/// What of each system call passes; one of them holds.
#[map]
pub static PLAN: Array<Plan> = Array::with_max_entries(PLANS, 0);

/// Which system calls are wanted.
#[map]
pub static CALL_TABLE: Array<CallTable> = Array::with_max_entries(1, 0);

/// What a program at the return of a system call's function goes on to.
#[map]
pub static ON_RETURN: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// `CLOCK_BOOTTIME` less `CLOCK_MONOTONIC`, ns: user space looks in every drain cycle, and writes it when the machine
/// has slept.
#[map]
pub static ASLEEP: Array<u64> = Array::with_max_entries(1, 0);

/// The sweep's slots, in and out.
#[map]
pub static SWEEP: Array<SweepBatch> = Array::with_max_entries(1, 0);
