//! Images: what an exec record makes of a process, and how many processes hold each.

use std::sync::Arc;

use tarsier_abi::exec::ExecRecord;

use crate::event::Image;
use crate::event::exec::Exec;

/// Sizes of text buffers: one of a size that fits is used again.
const SIZES: [usize; 4] = [256, 512, 1024, 2048];
/// Most memory of images that wait to be used again, in bytes: many end at once, and others begin later.
const SPARE_BYTES: usize = 2 << 20;

/// An image and its number among those that entries hold. To be given back by [`Images::release`].
#[derive(Debug)]
pub(super) struct Held {
    pub(super) image: Arc<Image>,
    pub(super) number: u32,
}

/// The images that entries hold, each counted once however many share it.
#[derive(Debug, Default)]
pub(super) struct Images {
    /// By number; those without entries are in `free`.
    uses: Vec<Use>,
    free: Vec<u32>,
    bytes: usize,
    /// Images of nobody, by size of their text, ready to be filled.
    spares: [Vec<Arc<Image>>; SIZES.len()],
    spare_bytes: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Use {
    entries: u32,
    bytes: usize,
}

impl Images {
    /// The image that an exec or seed record describes.
    pub(super) fn of_exec(&mut self, exec: &Exec<'_>) -> Held {
        self.fill(exec.text_len(), |image| {
            let ExecRecord {
                creds, ns, comm, exe_inode, exe_ctime_ns, exe_dev, flags, tty, args_bytes, ..
            } = exec.record();
            let named = comm.iter().position(|&byte| byte == 0).unwrap_or(comm.len());
            image.strings.write(
                |text| exec.exe.write_into(text),
                |text| exec.cwd.write_into(text),
                &comm[..named],
                exec.args,
            );
            image.args_truncated = is_cut(exec.args.len(), args_bytes);
            image.args_bytes = args_bytes;
            (image.flags, image.tty, image.creds, image.ns) = (flags, tty, creds, ns);
            (image.exe_inode, image.exe_dev, image.exe_ctime_ns) = (exe_inode, exe_dev, exe_ctime_ns);
        })
    }

    /// The image of processes of which nothing is known. It costs nothing.
    pub(super) fn unknown(&mut self) -> Held {
        self.hold(Arc::default(), 0)
    }

    /// The image of a child: its parent's, in the child's own PID namespace.
    pub(super) fn inherit(&mut self, parent: &Arc<Image>, number: u32, pid_ns: u32) -> Held {
        if pid_ns == 0 || pid_ns == parent.ns.pid {
            return self.share(parent, number);
        }
        let mut image = Image::clone(parent);
        image.ns.pid = pid_ns;
        let bytes = heap_bytes(&image);
        self.hold(Arc::new(image), bytes)
    }

    /// One more entry holds it.
    pub(super) fn share(&mut self, image: &Arc<Image>, number: u32) -> Held {
        if let Some(held) = self.uses.get_mut(number as usize) {
            held.entries += 1;
        }
        Held { image: Arc::clone(image), number }
    }

    /// One entry less holds it. The last one's memory is used again.
    pub(super) fn release(&mut self, Held { image, number }: Held) {
        let Some(held) = self.uses.get_mut(number as usize) else { return };
        held.entries -= 1;
        if held.entries > 0 {
            return;
        }
        self.bytes -= held.bytes;
        self.free.push(number);
        let bytes = heap_bytes(&image);
        let size = SIZES.iter().position(|size| *size == image.strings.capacity());
        if let Some(spares) = size.map(|at| &mut self.spares[at])
            && self.spare_bytes + bytes <= SPARE_BYTES
            && Arc::strong_count(&image) == 1
        {
            self.spare_bytes += bytes;
            spares.push(image);
        }
    }

    /// Changes the image of one entry: its arguments come later. Others that share it keep it as it is.
    pub(super) fn change(
        &mut self,
        image: &mut Arc<Image>,
        number: &mut u32,
        change: impl FnOnce(&mut Image),
    ) {
        let shared = self.uses.get(*number as usize).is_some_and(|held| held.entries > 1);
        if shared {
            let copy = self.hold(Arc::new(Image::clone(image)), heap_bytes(image));
            let before = Held { image: std::mem::replace(image, copy.image), number: *number };
            *number = copy.number;
            self.release(before);
        }
        let image = Arc::make_mut(image);
        change(image);
        if let Some(held) = self.uses.get_mut(*number as usize) {
            let bytes = heap_bytes(image);
            self.bytes = self.bytes - held.bytes + bytes;
            held.bytes = bytes;
        }
    }

    /// Heap bytes of all, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Gives back the memory that waits to be used again.
    pub(super) fn shrink(&mut self) {
        self.spares = Default::default();
        self.spare_bytes = 0;
    }

    /// An image with room for `text` bytes of strings, filled by `fill`.
    fn fill(&mut self, text: usize, fill: impl FnOnce(&mut Image)) -> Held {
        let class = SIZES.iter().position(|size| *size >= text);
        let spare = class.and_then(|class| self.spares.get_mut(class)?.pop());
        self.spare_bytes -= spare.as_ref().map_or(0, |image| heap_bytes(image));
        let mut image = spare.unwrap_or_default();
        // Who else holds a spare one keeps it as it is.
        let content = Arc::make_mut(&mut image);
        content.strings.reserve(class.and_then(|class| SIZES.get(class).copied()).unwrap_or(text));
        fill(content);
        let bytes = heap_bytes(content);
        self.hold(image, bytes)
    }

    fn hold(&mut self, image: Arc<Image>, bytes: usize) -> Held {
        self.bytes += bytes;
        let held = Use { entries: 1, bytes };
        let Some(number) = self.free.pop() else {
            self.uses.push(held);
            return Held { image, number: (self.uses.len() - 1) as u32 };
        };
        if let Some(place) = self.uses.get_mut(number as usize) {
            *place = held;
        }
        Held { image, number }
    }

    /// How many entries hold each number, for checking the count.
    #[cfg(test)]
    pub(super) fn held(&self) -> impl Iterator<Item = (u32, u32)> {
        (0..)
            .zip(&self.uses)
            .filter(|(_, held)| held.entries > 0)
            .map(|(number, held)| (number, held.entries))
    }
}

/// Whether `carried` argument bytes are fewer than there were.
pub(super) fn is_cut(carried: usize, args_bytes: u32) -> bool {
    carried < usize::try_from(args_bytes).unwrap_or(usize::MAX)
}

/// About how many bytes an image holds on the heap, its own room included.
fn heap_bytes(image: &Image) -> usize {
    size_of::<Image>() + image.strings.capacity()
}
