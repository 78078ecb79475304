//! Every kernel structure field the programs read, declared once. The programs see a read-only
//! global of the field's name; the agent resolves it from the running kernel's BTF at start. A
//! field that is not there is [`ABSENT`], which the verifier prunes, and the sensors that need it
//! are switched off by name.

/// Value of the global of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// What a missing field switches off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Every sensor: task identity.
    Core,
    /// The sensor of this stem.
    Sensor(&'static str),
    /// Nothing: the programs do without.
    Optional,
}

/// One field: where it is and what becomes of the agent without it.
#[derive(Clone, Copy, Debug)]
pub struct FieldSpec {
    /// Symbol of the global in the object.
    pub symbol: &'static str,
    /// `struct` name in BTF.
    pub container: &'static str,
    /// Member paths, dots between nested members, anonymous ones left out; the first that exists
    /// wins. `"sizeof"` is the size of the container itself. `x[0]` indexes an array.
    pub paths: &'static [&'static str],
    /// Expected size of the member in bytes; 0 = any.
    pub size: u32,
    /// What needs it.
    pub need: Need,
}

/// The table: name, struct, member paths, size in bytes (0 = any), need.
#[macro_export]
macro_rules! for_each_field {
    ($callback:ident) => {
        $callback! {
            // Tasks.
            (TASK_TGID, "task_struct", ["tgid"], 4, Core);
            (TASK_PID, "task_struct", ["pid"], 4, Core);
            (TASK_LEADER, "task_struct", ["group_leader"], 8, Core);
            (TASK_PARENT, "task_struct", ["real_parent"], 8, Core);
            (TASK_START, "task_struct", ["start_boottime", "real_start_time"], 8, Core);
            (TASK_SELF_EXEC_ID, "task_struct", ["self_exec_id"], 0, Core);
            (TASK_CGROUPS, "task_struct", ["cgroups"], 8, Core);
            (TASK_FLAGS, "task_struct", ["flags"], 4, Core);
            (TASK_COMM, "task_struct", ["comm"], 16, Sensor("exec"));
            (TASK_MM, "task_struct", ["mm"], 8, Sensor("exec"));
            (TASK_FS, "task_struct", ["fs"], 8, Sensor("exec"));
            (TASK_SIGNAL, "task_struct", ["signal"], 8, Sensor("exit"));
            (TASK_EXIT_CODE, "task_struct", ["exit_code"], 4, Sensor("exit"));
            (TASK_NSPROXY, "task_struct", ["nsproxy"], 8, Sensor("exec"));
            (TASK_CRED, "task_struct", ["cred"], 8, Sensor("exec"));
            (TASK_THREAD_PID, "task_struct", ["thread_pid"], 8, Core);
            (TASK_LOGINUID, "task_struct", ["loginuid"], 4, Optional);
            (TASK_SESSIONID, "task_struct", ["sessionid"], 4, Optional);
            (SIGNAL_LIVE, "signal_struct", ["live"], 4, Sensor("exit"));
            (SIGNAL_FLAGS, "signal_struct", ["flags"], 4, Sensor("exit"));
            (SIGNAL_GROUP_EXIT_CODE, "signal_struct", ["group_exit_code"], 4, Sensor("exit"));
            (SIGNAL_TTY, "signal_struct", ["tty"], 8, Optional);
            (TTY_DRIVER, "tty_struct", ["driver"], 8, Optional);
            (TTY_INDEX, "tty_struct", ["index"], 4, Optional);
            (TTY_DRIVER_MAJOR, "tty_driver", ["major"], 4, Optional);
            (TTY_DRIVER_MINOR_START, "tty_driver", ["minor_start"], 4, Optional);
            // Registers at the entry of a function: its first two arguments, x86-64 and arm64.
            (REGS_FIRST, "pt_regs", ["di", "regs[0]"], 8, Optional);
            (REGS_SECOND, "pt_regs", ["si", "regs[1]"], 8, Optional);
            // Registers of a system call that returns: its number and arguments, of a 32-bit call too.
            (REGS_CALL, "pt_regs", ["orig_ax", "syscallno"], 0, Sensor("syscall"));
            (REGS_ARG1, "pt_regs", ["di", "orig_x0"], 8, Sensor("syscall"));
            (REGS_ARG2, "pt_regs", ["si", "regs[1]"], 8, Sensor("syscall"));
            (REGS_ARG3, "pt_regs", ["dx", "regs[2]"], 8, Sensor("syscall"));
            (REGS_ARG4, "pt_regs", ["r10", "regs[3]"], 8, Sensor("syscall"));
            (REGS_ARG5, "pt_regs", ["r8", "regs[4]"], 8, Sensor("syscall"));
            (REGS_ARG6, "pt_regs", ["r9", "regs[5]"], 8, Sensor("syscall"));
            (REGS_COMPAT1, "pt_regs", ["bx"], 8, Optional);
            (REGS_COMPAT2, "pt_regs", ["cx"], 8, Optional);
            (REGS_COMPAT3, "pt_regs", ["dx"], 8, Optional);
            (REGS_COMPAT4, "pt_regs", ["si"], 8, Optional);
            (REGS_COMPAT5, "pt_regs", ["di"], 8, Optional);
            (REGS_COMPAT6, "pt_regs", ["bp"], 8, Optional);
            // Of x86: says whether a call is a 32-bit one.
            (TASK_STATUS, "task_struct", ["thread_info.status"], 4, Optional);
            // Pids and namespaces.
            (PID_LEVEL, "pid", ["level"], 4, Core);
            (PID_NUMBERS, "pid", ["numbers"], 0, Core);
            (UPID_SIZE, "upid", ["sizeof"], 0, Core);
            (UPID_NR, "upid", ["nr"], 4, Core);
            (UPID_NS, "upid", ["ns"], 8, Core);
            (PID_NS_INUM, "pid_namespace", ["ns.inum"], 4, Core);
            (NSPROXY_MNT, "nsproxy", ["mnt_ns"], 8, Optional);
            (NSPROXY_NET, "nsproxy", ["net_ns"], 8, Optional);
            (NSPROXY_UTS, "nsproxy", ["uts_ns"], 8, Optional);
            (NSPROXY_IPC, "nsproxy", ["ipc_ns"], 8, Optional);
            (NSPROXY_CGROUP, "nsproxy", ["cgroup_ns"], 8, Optional);
            (NSPROXY_TIME, "nsproxy", ["time_ns"], 8, Optional);
            (MNT_NS_INUM, "mnt_namespace", ["ns.inum"], 4, Optional);
            (NET_INUM, "net", ["ns.inum"], 4, Sensor("tcp"));
            (UTS_NS_INUM, "uts_namespace", ["ns.inum"], 4, Optional);
            (IPC_NS_INUM, "ipc_namespace", ["ns.inum"], 4, Optional);
            (CGROUP_NS_INUM, "cgroup_namespace", ["ns.inum"], 4, Optional);
            (TIME_NS_INUM, "time_namespace", ["ns.inum"], 4, Optional);
            (USER_NS_INUM, "user_namespace", ["ns.inum"], 4, Optional);
            // Credentials.
            (CRED_UID, "cred", ["uid"], 4, Sensor("exec"));
            (CRED_GID, "cred", ["gid"], 4, Sensor("exec"));
            (CRED_SUID, "cred", ["suid"], 4, Sensor("exec"));
            (CRED_SGID, "cred", ["sgid"], 4, Sensor("exec"));
            (CRED_EUID, "cred", ["euid"], 4, Sensor("exec"));
            (CRED_EGID, "cred", ["egid"], 4, Sensor("exec"));
            (CRED_CAP_INHERITABLE, "cred", ["cap_inheritable"], 8, Sensor("exec"));
            (CRED_CAP_PERMITTED, "cred", ["cap_permitted"], 8, Sensor("exec"));
            (CRED_CAP_EFFECTIVE, "cred", ["cap_effective"], 8, Sensor("exec"));
            (CRED_CAP_BSET, "cred", ["cap_bset"], 8, Sensor("exec"));
            (CRED_CAP_AMBIENT, "cred", ["cap_ambient"], 8, Sensor("exec"));
            (CRED_USER_NS, "cred", ["user_ns"], 8, Optional);
            // Memory, files and paths.
            (MM_ARG_START, "mm_struct", ["arg_start"], 8, Sensor("exec"));
            (MM_ARG_END, "mm_struct", ["arg_end"], 8, Sensor("exec"));
            (MM_EXE_FILE, "mm_struct", ["exe_file"], 8, Sensor("exec"));
            (FILE_DENTRY, "file", ["f_path.dentry"], 8, Sensor("exec"));
            (FILE_MNT, "file", ["f_path.mnt"], 8, Sensor("exec"));
            (FILE_INODE, "file", ["f_inode"], 8, Sensor("exec"));
            (FS_ROOT_DENTRY, "fs_struct", ["root.dentry"], 8, Sensor("exec"));
            (FS_ROOT_MNT, "fs_struct", ["root.mnt"], 8, Sensor("exec"));
            (FS_PWD_DENTRY, "fs_struct", ["pwd.dentry"], 8, Sensor("exec"));
            (FS_PWD_MNT, "fs_struct", ["pwd.mnt"], 8, Sensor("exec"));
            (DENTRY_PARENT, "dentry", ["d_parent"], 8, Sensor("exec"));
            (DENTRY_NAME, "dentry", ["d_name.name"], 8, Sensor("exec"));
            (DENTRY_LEN, "dentry", ["d_name.len"], 4, Sensor("syscall"));
            (MOUNT_MNT, "mount", ["mnt"], 0, Sensor("exec"));
            (MOUNT_PARENT, "mount", ["mnt_parent"], 8, Sensor("exec"));
            (MOUNT_MOUNTPOINT, "mount", ["mnt_mountpoint"], 8, Sensor("exec"));
            (VFSMOUNT_ROOT, "vfsmount", ["mnt_root"], 8, Sensor("exec"));
            (INODE_INO, "inode", ["i_ino"], 8, Sensor("exec"));
            (INODE_SB, "inode", ["i_sb"], 8, Sensor("exec"));
            (INODE_NLINK, "inode", ["i_nlink"], 4, Sensor("exec"));
            (INODE_CTIME_SEC, "inode", ["i_ctime_sec", "__i_ctime.tv_sec", "i_ctime.tv_sec"], 8, Sensor("exec"));
            (INODE_CTIME_NSEC, "inode", ["i_ctime_nsec", "__i_ctime.tv_nsec", "i_ctime.tv_nsec"], 0, Sensor("exec"));
            (INODE_SIZE_OF, "inode", ["sizeof"], 0, Sensor("exec"));
            (SB_DEV, "super_block", ["s_dev"], 4, Sensor("exec"));
            (SB_MAGIC, "super_block", ["s_magic"], 8, Sensor("exec"));
            (INODE_MODE, "inode", ["i_mode"], 2, Sensor("syscall"));
            (FILE_FLAGS, "file", ["f_flags"], 4, Sensor("syscall"));
            (FILE_MODE, "file", ["f_mode"], 4, Sensor("syscall"));
            (FILE_PRIVATE, "file", ["private_data"], 8, Sensor("syscall"));
            (TASK_FILES, "task_struct", ["files"], 8, Sensor("syscall"));
            (FILES_TABLE, "files_struct", ["fdt"], 8, Sensor("syscall"));
            (TABLE_MAX, "fdtable", ["max_fds"], 4, Sensor("syscall"));
            (TABLE_FILES, "fdtable", ["fd"], 8, Sensor("syscall"));
            // Requests of io_uring (io_uring/): the request, and what it keeps of each operation.
            (REQ_OPCODE, "io_kiocb", ["opcode"], 1, Sensor("io_uring"));
            (REQ_FLAGS, "io_kiocb", ["flags"], 0, Sensor("io_uring"));
            (REQ_FILE, "io_kiocb", ["file"], 8, Sensor("io_uring"));
            (REQ_CMD, "io_kiocb", ["cmd"], 0, Sensor("io_uring"));
            (REQ_RING, "io_kiocb", ["ctx"], 8, Sensor("io_uring"));
            (REQ_USER_DATA, "io_kiocb", ["cqe.user_data"], 8, Sensor("io_uring"));
            (REQ_RES, "io_kiocb", ["cqe.res"], 4, Sensor("io_uring"));
            (REQ_FD, "io_kiocb", ["cqe.fd"], 4, Sensor("io_uring"));
            (REQ_ASYNC_DATA, "io_kiocb", ["async_data"], 8, Optional);
            (REQ_OPEN_DFD, "io_open", ["dfd"], 4, Sensor("io_uring"));
            (REQ_OPEN_SLOT, "io_open", ["file_slot"], 4, Sensor("io_uring"));
            (REQ_OPEN_NAME, "io_open", ["filename"], 8, Sensor("io_uring"));
            (REQ_OPEN_FLAGS, "io_open", ["how.flags"], 8, Sensor("io_uring"));
            (REQ_OPEN_MODE, "io_open", ["how.mode"], 8, Sensor("io_uring"));
            (REQ_OPEN_RESOLVE, "io_open", ["how.resolve"], 8, Sensor("io_uring"));
            (REQ_RENAME_OLD_DFD, "io_rename", ["old_dfd"], 4, Sensor("io_uring"));
            (REQ_RENAME_NEW_DFD, "io_rename", ["new_dfd"], 4, Sensor("io_uring"));
            (REQ_RENAME_OLD, "io_rename", ["oldpath"], 8, Sensor("io_uring"));
            (REQ_RENAME_NEW, "io_rename", ["newpath"], 8, Sensor("io_uring"));
            (REQ_RENAME_FLAGS, "io_rename", ["flags"], 4, Sensor("io_uring"));
            (REQ_UNLINK_DFD, "io_unlink", ["dfd"], 4, Sensor("io_uring"));
            (REQ_UNLINK_FLAGS, "io_unlink", ["flags"], 4, Sensor("io_uring"));
            (REQ_UNLINK_NAME, "io_unlink", ["filename"], 8, Sensor("io_uring"));
            (REQ_MKDIR_DFD, "io_mkdir", ["dfd"], 4, Sensor("io_uring"));
            (REQ_MKDIR_MODE, "io_mkdir", ["mode"], 2, Sensor("io_uring"));
            (REQ_MKDIR_NAME, "io_mkdir", ["filename"], 8, Sensor("io_uring"));
            (REQ_LINK_OLD_DFD, "io_link", ["old_dfd"], 4, Sensor("io_uring"));
            (REQ_LINK_NEW_DFD, "io_link", ["new_dfd"], 4, Sensor("io_uring"));
            (REQ_LINK_OLD, "io_link", ["oldpath"], 8, Sensor("io_uring"));
            (REQ_LINK_NEW, "io_link", ["newpath"], 8, Sensor("io_uring"));
            (REQ_LINK_FLAGS, "io_link", ["flags"], 4, Sensor("io_uring"));
            (REQ_CONNECT_ADDR, "io_connect", ["addr"], 8, Sensor("io_uring"));
            (REQ_CONNECT_LEN, "io_connect", ["addr_len"], 4, Sensor("io_uring"));
            (REQ_ACCEPT_FLAGS, "io_accept", ["flags"], 4, Sensor("io_uring"));
            (REQ_ACCEPT_SLOT, "io_accept", ["file_slot"], 4, Sensor("io_uring"));
            (REQ_SOCKET_DOMAIN, "io_socket", ["domain"], 4, Sensor("io_uring"));
            (REQ_SOCKET_TYPE, "io_socket", ["type"], 4, Sensor("io_uring"));
            (REQ_SOCKET_PROTOCOL, "io_socket", ["protocol"], 4, Sensor("io_uring"));
            (REQ_SOCKET_SLOT, "io_socket", ["file_slot"], 4, Sensor("io_uring"));
            (REQ_MESSAGE_AT, "io_sr_msg", ["buf"], 8, Sensor("io_uring"));
            (REQ_MESSAGE_LEN, "io_sr_msg", ["len"], 0, Sensor("io_uring"));
            (REQ_MESSAGE_FLAGS, "io_sr_msg", ["msg_flags"], 4, Sensor("io_uring"));
            // 6.11.
            (REQ_BIND_LEN, "io_bind", ["addr_len"], 4, Optional);
            (REQ_BIND_ADDR, "io_async_msghdr", ["addr"], 0, Optional);
            (REQ_LISTEN_BACKLOG, "io_listen", ["backlog"], 4, Optional);
            (FILENAME_NAME, "filename", ["name"], 8, Sensor("io_uring"));
            // cgroups.
            (CSS_SET_DFL, "css_set", ["dfl_cgrp"], 8, Core);
            (CSS_SET_SUBSYS, "css_set", ["subsys"], 0, Optional);
            (CSS_CGROUP, "cgroup_subsys_state", ["cgroup"], 8, Optional);
            (CSS_PARENT, "cgroup_subsys_state", ["parent"], 8, Sensor("cgroup"));
            (CGROUP_SELF, "cgroup", ["self"], 0, Sensor("cgroup"));
            (CGROUP_KN, "cgroup", ["kn"], 8, Core);
            (CGROUP_LEVEL, "cgroup", ["level"], 4, Core);
            (CGROUP_ROOT, "cgroup", ["root"], 8, Sensor("cgroup"));
            (CGROUP_ANCESTORS, "cgroup", ["ancestors"], 0, Optional);
            (CGROUP_ANCESTOR_IDS, "cgroup", ["ancestor_ids"], 0, Optional);
            (CGROUP_ROOT_ID, "cgroup_root", ["hierarchy_id"], 4, Sensor("cgroup"));
            (KERNFS_ID, "kernfs_node", ["id"], 8, Core);
            // Sockets.
            (SOCK_FAMILY, "sock", ["__sk_common.skc_family"], 2, Sensor("tcp"));
            (SOCK_STATE, "sock", ["__sk_common.skc_state"], 1, Sensor("tcp"));
            (SOCK_DPORT, "sock", ["__sk_common.skc_dport"], 2, Sensor("tcp"));
            (SOCK_NUM, "sock", ["__sk_common.skc_num"], 2, Sensor("tcp"));
            (SOCK_DADDR, "sock", ["__sk_common.skc_daddr"], 4, Sensor("tcp"));
            (SOCK_RCV_SADDR, "sock", ["__sk_common.skc_rcv_saddr"], 4, Sensor("tcp"));
            (SOCK_V6_DADDR, "sock", ["__sk_common.skc_v6_daddr"], 16, Sensor("tcp"));
            (SOCK_V6_RCV_SADDR, "sock", ["__sk_common.skc_v6_rcv_saddr"], 16, Sensor("tcp"));
            (SOCK_NET, "sock", ["__sk_common.skc_net.net"], 8, Sensor("tcp"));
            (SOCK_ERR, "sock", ["sk_err"], 4, Sensor("tcp"));
            (SOCK_FLAGS, "sock", ["__sk_common.skc_flags"], 8, Sensor("tcp"));
            (SOCK_CGROUP, "sock", ["sk_cgrp_data.cgroup", "sk_cgrp_data.val"], 8, Optional);
            (SOCK_OWNED, "sock", ["sk_lock.owned"], 4, Sensor("tcp"));
            (SOCK_LOCK, "sock", ["sk_lock.slock"], 0, Optional);
            (SOCK_MAX_BACKLOG, "sock", ["sk_max_ack_backlog"], 4, Sensor("tcp"));
            (SOCK_SOCKET, "sock", ["sk_socket"], 8, Sensor("tcp"));
            (SOCKET_ALLOC_INODE, "socket_alloc", ["vfs_inode"], 0, Optional);
            (SOCKET_SOCK, "socket", ["sk"], 8, Sensor("syscall"));
            (SOCK_TYPE, "sock", ["sk_type"], 2, Sensor("syscall"));
            (SOCK_PROTOCOL, "sock", ["sk_protocol"], 2, Sensor("syscall"));
            (UNIX_ADDRESS, "unix_sock", ["addr"], 8, Sensor("syscall"));
            (UNIX_PEER, "unix_sock", ["peer"], 8, Sensor("syscall"));
            (UNIX_ADDRESS_LEN, "unix_address", ["len"], 4, Sensor("syscall"));
            (UNIX_ADDRESS_NAME, "unix_address", ["name"], 0, Sensor("syscall"));
            (INET_SPORT, "inet_sock", ["inet_sport"], 2, Sensor("tcp"));
            (TCP_BYTES_SENT, "tcp_sock", ["bytes_sent"], 8, Sensor("tcp"));
            (TCP_BYTES_RETRANS, "tcp_sock", ["bytes_retrans"], 8, Sensor("tcp"));
            (TCP_BYTES_RECEIVED, "tcp_sock", ["bytes_received"], 8, Sensor("tcp"));
            (TCP_BYTES_ACKED, "tcp_sock", ["bytes_acked"], 8, Sensor("tcp"));
            (TCP_CLOCK_CACHE, "tcp_sock", ["tcp_clock_cache"], 8, Optional);
            (TCP_SEGS_IN, "tcp_sock", ["segs_in"], 4, Sensor("tcp"));
            (TCP_SEGS_OUT, "tcp_sock", ["segs_out"], 4, Sensor("tcp"));
            (TCP_TOTAL_RETRANS, "tcp_sock", ["total_retrans"], 4, Sensor("tcp"));
            (TCP_SRTT, "tcp_sock", ["srtt_us"], 4, Sensor("tcp"));
            (TCP_RTT_MIN, "tcp_sock", ["rtt_min.s[0].v"], 4, Sensor("tcp"));
            (TCP_SND_NXT, "tcp_sock", ["snd_nxt"], 4, Sensor("tcp"));
            (TCP_SND_UNA, "tcp_sock", ["snd_una"], 4, Sensor("tcp"));
            (TCP_RCV_NXT, "tcp_sock", ["rcv_nxt"], 4, Sensor("tcp"));
            (TCP_WRITE_SEQ, "tcp_sock", ["write_seq"], 4, Sensor("tcp"));
        }
    };
}

macro_rules! field_specs {
    ($(($name:ident, $container:literal, [$($path:literal),+], $size:literal, $need:ident $(($sensor:literal))?);)+) => {
        /// The table as data, for the resolver.
        pub const FIELDS: &[FieldSpec] = &[$(FieldSpec {
            symbol: stringify!($name),
            container: $container,
            paths: &[$($path),+],
            size: $size,
            need: Need::$need $(($sensor))?,
        }),+];
    };
}
for_each_field!(field_specs);
