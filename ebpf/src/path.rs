//! Path of a dentry as seen from a task's root: its components, the last first, each ended by NUL.
//! User space turns them round, so nothing is moved here.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use tarsier_abi::exec::{PATH_DEPTH, PATH_MAX};

use crate::kernel::{Ptr, Window, field};

/// Longest name of one component, with its NUL (NAME_MAX + 1).
const NAME_BYTES: u32 = 256;
const MASK: u32 = PATH_MAX as u32 - 1;

/// Room that [`walk`] may write to from its start.
pub const ROOM: usize = PATH_MAX + NAME_BYTES as usize;

/// A place in the mount tree: `struct path`.
#[derive(Clone, Copy)]
pub struct Place {
    /// `struct dentry`.
    pub dentry: Ptr,
    /// `struct vfsmount`.
    pub mnt: Ptr,
}

/// What a walk found.
pub struct Walk {
    /// Bytes written, at most `PATH_MAX` − 1.
    pub len: u32,
    /// The leading components are missing.
    pub truncated: bool,
    /// The walk ended somewhere else than at the task's root.
    pub detached: bool,
}

/// `struct mount` around a `struct vfsmount`.
#[inline(always)]
fn mount_of(mnt: Ptr) -> Ptr {
    mnt.wrapping_sub(field::MOUNT_MNT.load() as usize)
}

/// Writes the components of `place` up to `root` at `out`, which must have [`ROOM`] bytes.
#[inline(always)]
pub fn walk(place: Place, root: Place, out: *mut u8) -> Walk {
    let mut len = 0_u32;
    let Place { mut dentry, mut mnt } = place;
    let mut mount = Window::<8>::read(mount_of(mnt));
    for _ in 0..PATH_DEPTH {
        if dentry == root.dentry && mnt == root.mnt {
            return Walk { len, truncated: false, detached: false };
        }
        let Some(here) = &mount else {
            return Walk { len, truncated: true, detached: false };
        };
        if dentry == mount_root(here) {
            let above = here.ptr(&field::MOUNT_PARENT);
            if above == mount_of(mnt) {
                return Walk { len, truncated: false, detached: true };
            }
            dentry = here.ptr(&field::MOUNT_MOUNTPOINT);
            mnt = above.wrapping_add(field::MOUNT_MNT.load() as usize);
            mount = Window::<8>::read(above);
            continue;
        }
        let Some(entry) = Window::<12>::read(dentry) else {
            return Walk { len, truncated: true, detached: false };
        };
        let name = entry.ptr(&field::DENTRY_NAME);
        let at = out.wrapping_add((len & MASK) as usize);
        // SAFETY: `at` has NAME_BYTES of room; the helper bounds and ends the copy.
        let written = unsafe { bpf_probe_read_kernel_str(at.cast(), NAME_BYTES, name.cast()) };
        if written <= 0 || len + NAME_BYTES > MASK {
            return Walk { len, truncated: true, detached: false };
        }
        len = (len + written as u32) & MASK;
        let parent = entry.ptr(&field::DENTRY_PARENT);
        if parent == dentry {
            return Walk { len, truncated: false, detached: true };
        }
        dentry = parent;
    }
    Walk { len, truncated: true, detached: false }
}

#[inline(always)]
fn mount_root(mount: &Window<8>) -> Ptr {
    // `mnt` is embedded in `struct mount`; `mnt_root` in `mnt`.
    let at = field::MOUNT_MNT.load() + field::VFSMOUNT_ROOT.load();
    mount.ptr_at(at)
}
