//! Images: what an exec record makes of a process.

use std::collections::hash_map::Entry::Occupied;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use tarsier_abi::exec::ExecRecord;

use crate::event::Image;
use crate::event::exec::{Exec, split_args};

/// The image an exec or seed record describes, with the arguments `args` (the inline part, or all
/// that was put together).
pub(super) fn of_exec(exec: &Exec<'_>, args: &[u8]) -> Image {
    let ExecRecord { creds, ns, comm, exe_inode, exe_ctime_ns, exe_dev, flags, tty, args_bytes, .. } =
        exec.record();
    let named = comm.iter().position(|&byte| byte == 0).unwrap_or(comm.len());
    Image {
        exe: exec.exe.to_bytes().into(),
        args: args_of(args),
        cwd: exec.cwd.to_bytes().into(),
        comm: comm[..named].into(),
        args_bytes,
        args_truncated: is_cut(args, args_bytes),
        flags,
        creds,
        ns,
        tty,
        exe_inode,
        exe_dev,
        exe_ctime_ns,
    }
}

/// The arguments one by one.
pub(super) fn args_of(bytes: &[u8]) -> Vec<Box<[u8]>> {
    split_args(bytes).map(Box::from).collect()
}

/// Whether `args` are fewer bytes than there were.
pub(super) fn is_cut(args: &[u8], args_bytes: u32) -> bool {
    args.len() < usize::try_from(args_bytes).unwrap_or(usize::MAX)
}

/// The image of a child: its parent's, in the child's own PID namespace.
pub(super) fn inherit(parent: &Arc<Image>, pid_ns: u32) -> Arc<Image> {
    if pid_ns == 0 || pid_ns == parent.ns.pid {
        return Arc::clone(parent);
    }
    let mut image = Image::clone(parent);
    image.ns.pid = pid_ns;
    Arc::new(image)
}

/// The images that entries hold, each counted once however many share it.
#[derive(Debug, Default)]
pub(super) struct Images {
    /// By address, which is an image's own as long as an entry holds it.
    uses: FxHashMap<usize, Use>,
    bytes: usize,
}

#[derive(Debug)]
struct Use {
    entries: u32,
    bytes: usize,
}

impl Images {
    /// One more entry holds it.
    pub(super) fn hold(&mut self, image: &Arc<Image>) {
        let held = self.uses.entry(Arc::as_ptr(image).addr()).or_insert_with(|| {
            let bytes = heap_bytes(image);
            self.bytes += bytes;
            Use { entries: 0, bytes }
        });
        held.entries += 1;
    }

    /// One entry less holds it.
    pub(super) fn release(&mut self, image: &Arc<Image>) {
        if let Occupied(mut held) = self.uses.entry(Arc::as_ptr(image).addr()) {
            held.get_mut().entries -= 1;
            if held.get().entries == 0 {
                self.bytes -= held.remove().bytes;
            }
        }
    }

    /// Where they are, for checking the count.
    #[cfg(test)]
    pub(super) fn addresses(&self) -> impl Iterator<Item = usize> {
        self.uses.keys().copied()
    }

    /// Heap bytes of all, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

/// About how many bytes an image holds on the heap.
fn heap_bytes(image: &Image) -> usize {
    let args: usize = image.args.iter().map(|arg| arg.len() + size_of::<Box<[u8]>>()).sum();
    size_of::<Image>() + image.exe.len() + image.cwd.len() + image.comm.len() + args
}
