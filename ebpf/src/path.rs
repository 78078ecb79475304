//! Path of a dentry as seen from a task's root: its components, the last first, each ended by NUL.
//! User space turns them round, so nothing is moved here.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use tarsier_abi::exec::{PATH_DEPTH, PATH_MAX};

use crate::kernel::{Ptr, Window, field, peek_ptr};

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

/// How a walk ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the task's root: the path is whole.
    Root,
    /// Early: the leading components are missing.
    Truncated,
    /// Somewhere else than at the task's root.
    Detached,
}

/// `struct mount` around a `struct vfsmount`.
#[inline(always)]
fn mount_of(mnt: Ptr) -> Ptr {
    mnt.wrapping_sub(field::MOUNT_MNT.load() as usize)
}

/// Writes the components of `place` up to `root` at `out`, which must have [`ROOM`] bytes, and their
/// length, at most `PATH_MAX` − 1, to `len`.
///
/// `len` lies in a map's value: what the verifier reads from there it knows nothing of, so it finds
/// every iteration to be like the one before however many components were written, and looks at it once.
#[inline(always)]
pub fn walk(place: Place, root: Place, out: *mut u8, len: *mut u16) -> End {
    let Place { mut dentry, mut mnt } = place;
    let mut mnt_root = root_of(mnt);
    // SAFETY: the caller's map value.
    unsafe { len.write_volatile(0) };
    for _ in 0..PATH_DEPTH {
        if dentry == root.dentry && mnt == root.mnt {
            return End::Root;
        }
        if dentry == mnt_root {
            let mount = mount_of(mnt);
            let above = peek_ptr(mount, field::MOUNT_PARENT.load());
            if above == mount {
                return End::Detached;
            }
            dentry = peek_ptr(mount, field::MOUNT_MOUNTPOINT.load());
            mnt = above.wrapping_add(field::MOUNT_MNT.load() as usize);
            mnt_root = root_of(mnt);
            continue;
        }
        let entry = Window::<7>::read(dentry);
        let name = entry.ptr(&field::DENTRY_NAME);
        // SAFETY: the caller's map value.
        let written = u32::from(unsafe { len.read_volatile() }) & MASK;
        let at = out.wrapping_add(written as usize);
        // An entry that could not be read has no name, and this fails.
        // SAFETY: `at` has NAME_BYTES of room; the helper bounds and ends the copy.
        let more = unsafe { bpf_probe_read_kernel_str(at.cast(), NAME_BYTES, name.cast()) };
        if more <= 0 || written + NAME_BYTES > MASK {
            return End::Truncated;
        }
        // SAFETY: the caller's map value.
        unsafe { len.write_volatile((written + more as u32) as u16) };
        let parent = entry.ptr(&field::DENTRY_PARENT);
        if parent == dentry {
            return End::Detached;
        }
        dentry = parent;
    }
    End::Truncated
}

/// The first two components of a place as seen from `root`: their dentries; null where there are fewer. None: it is not
/// reached from there within [`PATH_DEPTH`] steps.
#[inline(always)]
pub fn top(place: Place, root: Place) -> Option<(Ptr, Ptr)> {
    let Place { mut dentry, mut mnt } = place;
    let mut mnt_root = root_of(mnt);
    let (mut first, mut second) = (core::ptr::null(), core::ptr::null());
    for _ in 0..PATH_DEPTH {
        if dentry == root.dentry && mnt == root.mnt {
            return Some((first, second));
        }
        if dentry == mnt_root {
            let mount = mount_of(mnt);
            let above = peek_ptr(mount, field::MOUNT_PARENT.load());
            if above == mount {
                return None;
            }
            dentry = peek_ptr(mount, field::MOUNT_MOUNTPOINT.load());
            mnt = above.wrapping_add(field::MOUNT_MNT.load() as usize);
            mnt_root = root_of(mnt);
            continue;
        }
        let parent = peek_ptr(dentry, field::DENTRY_PARENT.load());
        if parent == dentry {
            return None;
        }
        (first, second) = (dentry, first);
        dentry = parent;
    }
    None
}

/// The root dentry of a mount.
#[inline(always)]
fn root_of(mnt: Ptr) -> Ptr {
    peek_ptr(mnt, field::VFSMOUNT_ROOT.load())
}
