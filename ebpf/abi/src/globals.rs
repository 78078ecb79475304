//! The read-only globals that the agent fills in before the programs are loaded. The kernel freezes
//! them, so the verifier knows their values and never looks at a branch that they switch off.

/// Most bulk rings (one per group of CPUs).
pub const BULK_RINGS: usize = 4;
/// Deepest cgroup that can be a scope.
pub const MAX_SCOPE_DEPTH: u32 = 64;
/// Bytes of one CPU's scratch buffer: an exec record with its three tails, and room that keeps every
/// bounded write provably inside.
pub const SCRATCH_BYTES: usize = 20 * 1024;

/// The call of `bpf_rdonly_cast` in the object's code, as its eight bytes: a call of a kernel function (`BPF_PSEUDO_KFUNC_CALL`,
/// include/uapi/linux/bpf.h) whose number is none. The agent puts the kernel's number there, or an instruction that the
/// verifier never comes to.
pub const CAST_TO_READABLE: [u8; 8] = {
    let number = CAST_NUMBER.to_le_bytes();
    [0x85, 0x20, 0, 0, number[0], number[1], number[2], number[3]]
};
/// What stands for the function's number in [`CAST_TO_READABLE`].
pub const CAST_NUMBER: u32 = 0x7a51_e4ca;

/// The globals: name, type, value in the object, meaning.
#[macro_export]
macro_rules! for_each_global {
    ($callback:ident) => {
        $callback! {
            (SCOPE_CGROUP, u64, 0, "capture only this cgroup and its descendants; 0 = everything");
            (SCOPE_LEVEL, u32, 0, "depth of that cgroup (`cgroup.level`)");
            (CGROUP_SUBSYS, u32, u32::MAX, "take a task's cgroup from this v1 controller (`enum cgroup_subsys_id`); MAX = from v2");
            (CGROUP_HIERARCHY, u32, 0, "`hierarchy_id` whose cgroups are recorded; 0 = v2");
            (BULK_MASK, u32, 0, "bulk ring of a CPU = CPU & mask; number of rings in use − 1, a power of two less one");
            (WAKE_PRIORITY, u32, 65536, "user space is woken when the bytes in the priority ring cross a multiple of it: a power of two");
            (WAKE_BULK, u32, 65536, "every how many bytes of a bulk ring user space is woken: a power of two");
            (EXIT_HAS_GROUP_DEAD, u32, 0, "1 if `sched_process_exit` passes `group_dead` (6.18)");
            (CURRENT_IS_TYPED, u32, 0, "1 if `bpf_get_current_task_btf` exists (5.11)");
            (CAST_IS_FREE, u32, 0, "1 if `bpf_rdonly_cast` makes any address readable by plain loads (6.17): see [`CAST_TO_READABLE`](crate::CAST_TO_READABLE)");
            (COMPLETE_HAS_CQE, u32, 0, "1 if `io_uring_complete` passes the completion by pointer (6.14), 0 if its parts");
            (SOCK_CGROUP_IS_POINTER, u32, 0, "1 if `sock_cgroup_data` holds a typed pointer (5.15), 0 if a tagged word");
            (SELF_PORT, u32, 0, "the tcp iterator shows sockets of this port in any scope: the agent's self-test; 0 = none");
            (SOCK_BOUND_BIT, u32, u32::MAX, "where `struct sock` says that the port was chosen by bind, in bits from its start; MAX = nowhere");
            (SOCK_DONE_BIT, u32, 1, "`enum sock_flags`.SOCK_DONE");
        }
    };
}

macro_rules! define_globals {
    ($(($name:ident, $type:ty, $default:expr, $doc:literal);)+) => {
        /// A value for every global, as the agent writes them.
        #[derive(Clone, Debug)]
        #[expect(non_snake_case, reason = "fields are the symbols of the object")]
        pub struct Globals { $(#[doc = $doc] pub $name: $type,)+ }

        impl Default for Globals {
            fn default() -> Self { Self { $($name: $default,)+ } }
        }

        impl Globals {
            /// Calls `set(symbol, value in native byte order)` for each.
            pub fn for_each(&self, mut set: impl FnMut(&'static str, &[u8])) {
                $(set(stringify!($name), &self.$name.to_ne_bytes());)+
            }
        }
    };
}
for_each_global!(define_globals);
