//! Path of a dentry as seen from a task's root: its components, the last first, each ended by NUL.
//! User space turns them round, so nothing is moved here.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use tarsier_abi::{
    SCRATCH_BYTES,
    exec::{PATH_DEPTH, PATH_MAX},
};

use crate::{
    kernel::{Ptr, field, peek_ptr, peek_two},
    maps::{EXEC_SCRATCH, SEED_SCRATCH},
};

/// Longest name of one component, with its NUL (NAME_MAX + 1).
const NAME_BYTES: u32 = 256;
const MASK: u32 = PATH_MAX as u32 - 1;

/// Room that [`walk`] may write to from its start.
pub const ROOM: usize = PATH_MAX + NAME_BYTES as usize;
/// Where [`walk_to`] counts, at the end of its scratch.
pub const LEN_BYTES: usize = 8;

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

/// Where a record is built that a walk is part of.
#[derive(Clone, Copy)]
pub enum Scratch {
    /// Of an exec.
    Exec,
    /// Of a task that was there before.
    Seed,
}

/// As [`walk`], to byte `at` of a scratch; returns the length too. Global for the verifier's sake, as
/// [`end_passes`](crate::pushed::end_passes) is.
#[inline(always)]
pub fn walk_to(place: Place, root: Place, scratch: Scratch, at: u32) -> (End, u32) {
    let (dentry, mnt) = (place.dentry as u64, place.mnt as u64);
    let (root_dentry, root_mnt) = (root.dentry as u64, root.mnt as u64);
    let walked = match scratch {
        Scratch::Exec => walk_for_exec(dentry, mnt, root_dentry, root_mnt, at.into()),
        Scratch::Seed => walk_for_seed(dentry, mnt, root_dentry, root_mnt, at.into()),
    };
    let end = match walked >> 32 {
        0 => End::Root,
        1 => End::Truncated,
        _ => End::Detached,
    };
    (end, walked as u32 & MASK)
}

macro_rules! define_walks {
    ($($(#[$doc:meta])* $name:ident in $scratch:ident;)+) => {
        $($(#[$doc])*
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $name(dentry: u64, mnt: u64, root_dentry: u64, root_mnt: u64, at: u64) -> u64 {
            let Some(scratch) = $scratch.get_ptr_mut(0) else { return 1 << 32 };
            let scratch = scratch.cast::<u8>();
            if at > (SCRATCH_BYTES - LEN_BYTES - ROOM) as u64 {
                return 1 << 32;
            }
            let place = Place { dentry: dentry as Ptr, mnt: mnt as Ptr };
            let root = Place { dentry: root_dentry as Ptr, mnt: root_mnt as Ptr };
            let len = scratch.wrapping_add(SCRATCH_BYTES - LEN_BYTES).cast::<u16>();
            let end = match walk(place, root, scratch.wrapping_add(at as usize), len) {
                End::Root => 0,
                End::Truncated => 1,
                End::Detached => 2,
            };
            // SAFETY: the last bytes of the scratch.
            end << 32 | u64::from(unsafe { len.read_volatile() })
        })+
    };
}
define_walks! {
    /// See [`walk_to`].
    walk_for_exec in EXEC_SCRATCH;
    /// See [`walk_to`].
    walk_for_seed in SEED_SCRATCH;
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
        let (name, parent) = peek_two::<7>(dentry, &field::DENTRY_NAME, &field::DENTRY_PARENT);
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
pub fn root_of(mnt: Ptr) -> Ptr {
    peek_ptr(mnt, field::VFSMOUNT_ROOT.load())
}
