//! `struct task_struct`: who a task is.

use aya_ebpf::helpers::{bpf_get_current_task, generated::bpf_get_current_task_btf};
use tarsier_abi::{ABSENT, TaskKey};

use crate::{
    access::{Access, Typed, Untyped},
    cgroup,
    kernel::{CGROUP_SUBSYS, CURRENT_IS_TYPED, Ptr, field},
};

/// Identity of the process a task belongs to.
#[inline(always)]
pub fn key(task: impl Access) -> TaskKey {
    let leader = task.follow(&field::TASK_LEADER);
    TaskKey {
        start_boottime: leader.read(&field::TASK_START),
        tgid: task.read(&field::TASK_TGID),
        exec: task.read(&field::TASK_SELF_EXEC_ID),
    }
}

/// Identity of a task's parent as `getppid` gives it.
#[inline(always)]
pub fn parent_key(task: impl Access) -> TaskKey {
    let parent = task.follow(&field::TASK_PARENT);
    if parent.is_null() { TaskKey::NONE } else { key(parent) }
}

/// Identity of the process that is running now.
#[inline(always)]
pub fn current_key() -> TaskKey {
    if CURRENT_IS_TYPED.load() != 0 {
        // SAFETY: a helper without preconditions.
        return key(Typed(unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const()));
    }
    // SAFETY: a helper without preconditions.
    key(Untyped(unsafe { bpf_get_current_task() } as Ptr))
}

/// The task's group in the v2 hierarchy: what the scope is tested on.
#[inline(always)]
pub fn default_cgroup<A: Access>(task: A) -> A {
    task.follow(&field::TASK_CGROUPS).follow(&field::CSS_SET_DFL)
}

/// The id that names the task's container: its v2 group, or that of the v1 controller the agent chose.
#[inline(always)]
pub fn cgroup_id(task: impl Access) -> u64 {
    let subsys = CGROUP_SUBSYS.load();
    let array = field::CSS_SET_SUBSYS.load();
    if subsys == ABSENT || array == ABSENT {
        return cgroup::id(default_cgroup(task));
    }
    let set = task.follow(&field::TASK_CGROUPS);
    let state = set.to(set.read_at(array + subsys * 8));
    if state.is_null() {
        return 0;
    }
    state.follow_optional(&field::CSS_CGROUP).map_or(0, cgroup::id)
}

/// Pid in the task's own PID namespace, and that namespace's inode number.
#[inline(always)]
pub fn own_pid(task: impl Access) -> (u32, u32) {
    let pid = task.follow(&field::TASK_THREAD_PID);
    if pid.is_null() {
        return (0, 0);
    }
    let level: u32 = pid.read(&field::PID_LEVEL);
    // `numbers` is a trailing array of structures: the verifier has no type for an element past its
    // declared length, and the index is not a constant.
    let slot = field::PID_NUMBERS.load() + (level & 31) * field::UPID_SIZE.load();
    let slot = Untyped(pid.address().wrapping_add(slot as usize));
    let namespace = slot.follow(&field::UPID_NS);
    (slot.read(&field::UPID_NR), namespace.read(&field::PID_NS_INUM))
}
