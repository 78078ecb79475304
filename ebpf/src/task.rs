//! `struct task_struct`: who a task is.

use aya_ebpf::helpers::{bpf_get_current_task, generated::bpf_get_current_task_btf};
use tarsier_abi::{ABSENT, TaskKey};

use crate::{
    cgroup,
    kernel::{CGROUP_SUBSYS, CURRENT_IS_TYPED, Ptr, field, follow, get, get_at, peek, peek_ptr},
};

/// Identity of the process a task (typed) belongs to.
#[inline(always)]
pub fn key(task: Ptr) -> TaskKey {
    let leader: Ptr = get(task, &field::TASK_LEADER);
    TaskKey {
        start_boottime: get(leader, &field::TASK_START),
        tgid: get(task, &field::TASK_TGID),
        exec: get(task, &field::TASK_SELF_EXEC_ID),
    }
}

/// Identity of a task's parent as `getppid` gives it.
#[inline(always)]
pub fn parent_key(task: Ptr) -> TaskKey {
    let parent: Ptr = get(task, &field::TASK_PARENT);
    if parent.is_null() { TaskKey::NONE } else { key(parent) }
}

/// Identity of the process that is running now.
#[inline(always)]
pub fn current_key() -> TaskKey {
    if CURRENT_IS_TYPED.load() != 0 {
        // SAFETY: a helper without preconditions.
        return key(unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const());
    }
    // SAFETY: a helper without preconditions.
    let task = unsafe { bpf_get_current_task() } as Ptr;
    let leader = peek_ptr(task, field::TASK_LEADER.load());
    TaskKey {
        start_boottime: peek(leader, field::TASK_START.load()),
        tgid: peek(task, field::TASK_TGID.load()),
        exec: peek(task, field::TASK_SELF_EXEC_ID.load()),
    }
}

/// The task's group in the v2 hierarchy: what the scope is tested on.
#[inline(always)]
pub fn default_cgroup(task: Ptr) -> Ptr {
    let set: Ptr = get(task, &field::TASK_CGROUPS);
    get(set, &field::CSS_SET_DFL)
}

/// The id that names the task's container: its v2 group, or that of the v1 controller the agent chose.
#[inline(always)]
pub fn cgroup_id(task: Ptr) -> u64 {
    let subsys = CGROUP_SUBSYS.load();
    let array = field::CSS_SET_SUBSYS.load();
    if subsys == ABSENT || array == ABSENT {
        return cgroup::id(default_cgroup(task));
    }
    let set: Ptr = get(task, &field::TASK_CGROUPS);
    let state: Ptr = get_at(set, array + subsys * 8);
    if state.is_null() {
        return 0;
    }
    follow(state, &field::CSS_CGROUP).map_or(0, cgroup::id)
}

/// Pid in the task's own PID namespace, and that namespace's inode number.
#[inline(always)]
pub fn own_pid(task: Ptr) -> (u32, u32) {
    let pid: Ptr = get(task, &field::TASK_THREAD_PID);
    if pid.is_null() {
        return (0, 0);
    }
    let level: u32 = get(pid, &field::PID_LEVEL);
    // `numbers` is a trailing array of structures: the verifier has no type for an element past its
    // declared length, and the index is not a constant.
    let slot = field::PID_NUMBERS.load() + (level & 31) * field::UPID_SIZE.load();
    let slot = pid.wrapping_add(slot as usize);
    let namespace = peek_ptr(slot, field::UPID_NS.load());
    (peek(slot, field::UPID_NR.load()), peek(namespace, field::PID_NS_INUM.load()))
}
