//! What rules cannot be about is dropped here, before it is captured.
//!
//! A path is tested twice and passes if either passes: as the task wrote it, which is what rules compare, and as the file
//! that was opened has it, since the task's memory can have been changed since the kernel read it.

use aya_ebpf::helpers::generated::bpf_probe_read_user_str;
use tarsier_abi::syscall::{
    ALTERNATIVES, Alternative, CLASSES, FILTERS, Filter, Known, PATH_BYTES, PLANS, Plan,
};

use crate::{
    kernel::{Ptr, field, peek, peek_ptr},
    maps::{PATH_SCRATCH, PLAN},
    path::{self, Place},
};

/// The filter of a call, if there is one. `plan`: which plan holds.
#[inline(always)]
fn filter_of(call: u32, plan: u32) -> Option<*const Filter> {
    let plan: *const Plan = PLAN.get_ptr(plan & (PLANS - 1))?;
    // SAFETY: a mask keeps it within the table.
    let number = unsafe { (&raw const (*plan).of_call).cast::<u8>().add((call & 127) as usize).read() };
    if number == 0 {
        return None;
    }
    let place = usize::from(number - 1) & (FILTERS - 1);
    // SAFETY: as above.
    Some(unsafe { (&raw const (*plan).filters).cast::<Filter>().add(place) })
}

/// A class, masked where it is used and not where it was made: verifiers before 5.16 or so forget the bounds of a number that had
/// to be put aside, or was put together of others.
#[inline(always)]
fn class(mut class: u64) -> usize {
    // SAFETY: a move of a register to itself, behind which the compiler knows nothing of the number.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) class, options(pure, nomem, nostack)) };
    class as usize & (CLASSES - 1)
}

/// Alternatives of a call's filter, in one word, so that a function can be asked about them: from the lowest byte, which call, which
/// plan and which class; in the upper half one bit for each alternative.
#[derive(Clone, Copy)]
pub struct Alternatives(u64);

const _: () = assert!(ALTERNATIVES <= 32 && PLANS <= 1 << 8 && CLASSES <= 1 << 8);

impl Alternatives {
    /// Those for a class of calls. None: the call has no filter, everything passes.
    #[inline(always)]
    pub fn of(call: u32, plan: u32, class: usize) -> Option<Self> {
        let filter = filter_of(call, plan)?;
        // SAFETY: a mask keeps it within the table.
        let bits =
            unsafe { (&raw const (*filter).by_class).cast::<u32>().add(self::class(class as u64)).read() };
        let which = (class as u64 & 0xff) << 16 | u64::from(plan & 0xff) << 8 | u64::from(call & 0xff);
        Some(Self(u64::from(bits) << 32 | which))
    }

    /// Passed from one function to another.
    #[inline(always)]
    pub fn from_word(word: u64) -> Self {
        Self(word)
    }

    /// See [`Alternatives::from_word`].
    #[inline(always)]
    pub fn word(self) -> u64 {
        self.0
    }

    /// Whether there are none.
    #[inline(always)]
    pub fn is_empty(self) -> bool {
        self.0 >> 32 == 0
    }

    /// Whether one of them holds.
    #[inline(always)]
    pub fn hold(self, head: Known, tail: Known) -> bool {
        let Some(filter) = self.filter() else { return true };
        // SAFETY: a mask keeps it within the table.
        let in_common =
            unsafe { &*(&raw const (*filter).in_common).cast::<Alternative>().add(class(self.0 >> 16)) };
        if !in_common.holds(head, tail) {
            return false;
        }
        let bits = self.bits();
        for index in 0..ALTERNATIVES {
            if bits >> index == 0 {
                break;
            }
            if bits >> index & 1 != 0 {
                // SAFETY: within the table.
                let alternative = unsafe { &*(&raw const (*filter).alternatives[index]) };
                if alternative.holds(head, tail) {
                    return true;
                }
            }
        }
        false
    }

    /// Whether one of them holds of some path with any end.
    #[inline(always)]
    fn ask_of_no_end(self) -> bool {
        // SAFETY: a field of a live map value.
        self.filter()
            .is_none_or(|filter| unsafe { (&raw const (*filter).of_any_end).read() } & self.bits() != 0)
    }

    #[inline(always)]
    fn filter(self) -> Option<*const Filter> {
        filter_of(self.0 as u32 & 0xff, (self.0 >> 8) as u32 & 0xff)
    }

    #[inline(always)]
    fn bits(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Whether one of these alternatives holds of some path that ends with this component. A function that is global is looked at by
/// the verifier once, by itself, and not as often as there are ways to come to it.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn end_passes(dentry: u64, alternatives: u64) -> u64 {
    let root = Known { bits: b'/'.into(), known: 0xff };
    Alternatives(alternatives).hold(root, tail(dentry as Ptr)).into()
}

/// What lies before a path in a scratch, so that eight bytes end wherever it does.
pub const BEFORE: usize = 8;

/// Whether a path that the task wrote passes. One that cannot be read passes, and one that is not absolute and clean: what it
/// leads to is not its own text.
#[inline(always)]
pub fn written_path(alternatives: Alternatives, from: u64) -> bool {
    let Some(scratch) = PATH_SCRATCH.get_ptr_mut(0) else { return true };
    let text = scratch.cast::<u8>().wrapping_add(BEFORE);
    // SAFETY: the scratch has PATH_BYTES from there; the helper bounds and ends the copy.
    let read = unsafe { bpf_probe_read_user_str(text.cast(), PATH_BYTES as u32, from as *const _) };
    path_passes(alternatives, scratch.cast(), read)
}

/// Whether a path passes that was read behind the first eight bytes of a scratch, as [`PATH_SCRATCH`] is one; `read`: with how many
/// bytes, its NUL among them.
#[inline(always)]
pub fn path_passes(alternatives: Alternatives, scratch: *mut u8, read: i64) -> bool {
    if read <= 1 || read >= PATH_BYTES as i64 {
        return true;
    }
    let text = scratch.wrapping_add(BEFORE);
    let len = (read as usize - 1) & (PATH_BYTES - 1);
    // SAFETY (both): within the scratch.
    let (head, tail) = unsafe { (word(text), word(scratch.wrapping_add(len))) };
    let last = (tail >> 56) as u8;
    if head as u8 != b'/' || last == b'/' || last == b'.' {
        return true;
    }
    let all = u64::MAX;
    if alternatives.hold(Known { bits: head, known: all }, Known { bits: tail, known: all }) {
        return true;
    }
    !is_clean(text, len)
}

/// Whether a path has neither `//` nor `./` in it, and so no component that is empty, `.` or `..`.
#[inline(always)]
fn is_clean(text: *const u8, len: usize) -> bool {
    const SLASHES: u64 = 0x2f2f_2f2f_2f2f_2f2f;
    const DOTS: u64 = 0x2e2e_2e2e_2e2e_2e2e;
    // Of longer ones nobody asks often.
    const LONGEST: usize = 448;
    let mut at = 0;
    // Seven pairs a step.
    for _ in 0..LONGEST / 7 {
        if at >= len {
            return true;
        }
        // SAFETY: below PATH_BYTES, with eight bytes of the scratch behind.
        let word = unsafe { word(text.wrapping_add(at & (PATH_BYTES - 1))) };
        let slash_or_dot = zeros(word ^ SLASHES) | zeros(word ^ DOTS);
        // A byte, and the one behind it.
        if slash_or_dot & (zeros(word ^ SLASHES) >> 8) != 0 {
            return false;
        }
        at += 7;
    }
    false
}

/// Eight bytes, wherever they begin. BPF machines that we run on read them so; the compiler would take them one by one.
///
/// # Safety
/// They are part of a live map value.
#[inline(always)]
unsafe fn word(at: *const u8) -> u64 {
    let word: u64;
    // SAFETY: the caller's.
    unsafe {
        core::arch::asm!("{0} = *(u64 *)({1} + 0)", out(reg) word, in(reg) at, options(readonly, nostack))
    };
    word
}

/// The high bit of every byte that is zero, and of no other.
#[inline(always)]
fn zeros(word: u64) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    !(((word & LOW) + LOW) | word | LOW)
}

/// Whether the path that a file has passes.
#[inline(always)]
pub fn own_path(alternatives: Alternatives, place: Place, root: Place) -> bool {
    // What is mounted has another name there than its own.
    if place.dentry == path::root_of(place.mnt) {
        return true;
    }
    // The walk costs most: often the end alone tells.
    if !alternatives.ask_of_no_end() && end_passes(place.dentry as u64, alternatives.word()) == 0 {
        return false;
    }
    let Some((first, second)) = path::top(place, root) else { return true };
    alternatives.hold(head(first, second), tail(place.dentry))
}

/// The first bytes of a path that begins with these two components; the second may be missing.
#[inline(always)]
fn head(first: Ptr, second: Ptr) -> Known {
    let (name, len) = name(first);
    let mut known = Known { bits: u64::from(b'/'), known: 0xff };
    let bytes = if len < 7 { len } else { 7 };
    known.bits |= low(name, bytes) << 8;
    known.known |= ones(bytes) << 8;
    if len < 7 {
        let at = 8 + 8 * len;
        // What ends here has no slash: nothing is known then but that no name goes on.
        if second.is_null() {
            return known;
        }
        known.bits |= u64::from(b'/') << (at & 63);
        known.known |= 0xff << (at & 63);
        if len < 6 {
            let (name, more) = self::name(second);
            let room = 6 - len;
            let bytes = if more < room { more } else { room };
            known.bits |= low(name, bytes) << ((at + 8) & 63);
            known.known |= ones(bytes) << ((at + 8) & 63);
        }
    }
    known
}

/// The last bytes of a path that ends with this component.
#[inline(always)]
fn tail(dentry: Ptr) -> Known {
    let at = peek_ptr(dentry, field::DENTRY_NAME.load());
    let len = u64::from(peek::<u32>(dentry, field::DENTRY_LEN.load()));
    if len >= 8 {
        return Known { bits: peek(at.wrapping_add(len as usize - 8), 0), known: u64::MAX };
    }
    // Before the name there is a slash.
    let name: u64 = peek(at, 0);
    let free = 64 - 8 * len;
    let bits = (name << (free & 63)) | u64::from(b'/') << ((free - 8) & 63);
    Known { bits, known: u64::MAX << ((free - 8) & 63) }
}

/// The first bytes of a component's name, and its length.
#[inline(always)]
fn name(dentry: Ptr) -> (u64, u64) {
    let at = peek_ptr(dentry, field::DENTRY_NAME.load());
    (peek(at, 0), u64::from(peek::<u32>(dentry, field::DENTRY_LEN.load())))
}

/// The lowest bytes of a word.
#[inline(always)]
fn low(word: u64, bytes: u64) -> u64 {
    word & ones(bytes)
}

/// As many bytes of ones, at most seven.
#[inline(always)]
fn ones(bytes: u64) -> u64 {
    (1 << (8 * bytes & 63)) - 1
}
