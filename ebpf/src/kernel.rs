//! Reading kernel memory at offsets that the agent resolved from BTF.
//!
//! A base that the verifier knows by type (a tracepoint's argument and what was reached from it by
//! [`get`]) is read by a plain load: the kernel checks offset and size against its own BTF when the
//! program is loaded, and a fault reads as zero. Any other address takes [`peek`]: a plain load too where the kernel
//! lets it be one, a helper call elsewhere.

use core::mem::MaybeUninit;

use aya_ebpf::{Global, helpers::generated::bpf_probe_read_kernel};
use tarsier_abi::{ABSENT, CAST_NUMBER};

macro_rules! define_globals {
    ($(($name:ident, $type:ty, $default:expr, $doc:literal);)+) => {
        $(#[doc = $doc] #[unsafe(no_mangle)] pub static $name: Global<$type> = Global::new($default);)+
    };
}
tarsier_abi::for_each_global!(define_globals);

/// The kernel's field offsets: one read-only global each.
pub mod field {
    use aya_ebpf::Global;

    macro_rules! define_fields {
        ($(($name:ident, $container:literal, [$($path:literal),+], $size:literal, $need:ident $(($sensor:literal))?);)+) => {
            $(#[doc = $container] #[unsafe(no_mangle)] pub static $name: Global<u32> = Global::new(tarsier_abi::ABSENT);)+
        };
    }
    tarsier_abi::for_each_field!(define_fields);
}

/// Any kernel address.
pub type Ptr = *const u8;

/// Loads a field from a typed base. The field must exist (its sensor is not loaded otherwise).
#[inline(always)]
pub fn get<T: Copy>(base: Ptr, field: &Global<u32>) -> T {
    get_at(base, field.load())
}

/// Loads from a typed base at a known offset.
#[inline(always)]
pub fn get_at<T: Copy>(base: Ptr, offset: u32) -> T {
    // SAFETY: `base` is a typed kernel pointer; the verifier proves the access or rejects the program.
    unsafe { core::ptr::read_volatile(base.wrapping_add(offset as usize).cast::<T>()) }
}

/// Loads an optional field from a typed base: `None` if this kernel lacks it. The test comes before
/// the use, so that the verifier prunes the access.
#[inline(always)]
pub fn maybe<T: Copy>(base: Ptr, field: &Global<u32>) -> Option<T> {
    let offset = field.load();
    if offset == ABSENT { None } else { Some(get_at(base, offset)) }
}

/// Follows an optional pointer field; `None` if the field or the pointer is not there.
#[inline(always)]
pub fn follow(base: Ptr, field: &Global<u32>) -> Option<Ptr> {
    let next = maybe::<Ptr>(base, field)?;
    if next.is_null() { None } else { Some(next) }
}

/// Reads any kernel address; a fault reads as zero: the kernel clears what cannot be filled, so there is
/// no error to branch on (and none for the verifier to follow).
#[inline(always)]
pub fn peek<T: Copy>(base: Ptr, offset: u32) -> T {
    let from = base.wrapping_add(offset as usize);
    if size_of::<T>() <= 8 && CAST_IS_FREE.load() != 0 {
        let value = load(from, size_of::<T>());
        // SAFETY: little-endian: the value's bytes are the first ones.
        return unsafe { core::mem::transmute_copy(&value) };
    }
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: the helper checks the source and fills the whole value, with zeros if it must.
    unsafe { bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from.cast()) };
    // SAFETY: as above.
    unsafe { value.assume_init() }
}

/// Loads 1, 2, 4 or 8 bytes from any kernel address. `bpf_rdonly_cast(address, 0)` tells the verifier that it may be read,
/// and is itself no instruction; the load is one that reads as zero when it faults (kernel/bpf/verifier.c).
#[inline(always)]
fn load(from: Ptr, bytes: usize) -> u64 {
    macro_rules! cast_and_load {
        ($load:literal) => {{
            let value: u64;
            // SAFETY: a call takes its arguments in r1 and r2, and leaves nothing in r1 to r5.
            unsafe {
                core::arch::asm!(
                    ".byte 0x85, 0x20, 0, 0", ".long {number}", $load,
                    number = const CAST_NUMBER,
                    inlateout("r1") from => _, inlateout("r2") 0_u64 => _, lateout("r0") value,
                    lateout("r3") _, lateout("r4") _, lateout("r5") _,
                    options(nostack, readonly, pure)
                );
            }
            value
        }};
    }
    match bytes {
        1 => cast_and_load!("r0 = *(u8 *)(r0 + 0)"),
        2 => cast_and_load!("r0 = *(u16 *)(r0 + 0)"),
        4 => cast_and_load!("r0 = *(u32 *)(r0 + 0)"),
        _ => cast_and_load!("r0 = *(u64 *)(r0 + 0)"),
    }
}

/// As [`peek`], for a pointer.
#[inline(always)]
pub fn peek_ptr(base: Ptr, offset: u32) -> Ptr {
    peek::<u64>(base, offset) as Ptr
}

/// A kernel object's first words, copied with one call.
pub struct Window<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Window<WORDS> {
    /// Copies them; a fault reads as zeros.
    #[inline(always)]
    pub fn read(base: Ptr) -> Self {
        Self(peek(base, 0))
    }

    /// A pointer-sized field. The verifier rejects the program if it lies outside the window.
    #[inline(always)]
    pub fn ptr(&self, field: &Global<u32>) -> Ptr {
        let at = self.0.as_ptr().cast::<u8>().wrapping_add(field.load() as usize);
        // SAFETY: a known offset into the array, which the verifier checks.
        unsafe { core::ptr::read_volatile(at.cast::<Ptr>()) }
    }
}

/// Two pointers of a kernel object within its first `WORDS`, read in the cheapest way; a fault reads as null.
#[inline(always)]
pub fn peek_two<const WORDS: usize>(base: Ptr, first: &Global<u32>, second: &Global<u32>) -> (Ptr, Ptr) {
    if CAST_IS_FREE.load() != 0 {
        return (peek_ptr(base, first.load()), peek_ptr(base, second.load()));
    }
    let window = Window::<WORDS>::read(base);
    (window.ptr(first), window.ptr(second))
}
