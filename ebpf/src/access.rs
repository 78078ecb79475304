//! How a program reaches kernel memory: from a base that the verifier knows by type, or from an address.
//! What reads a kernel structure is written once, for both.

use aya_ebpf::Global;
use tarsier_abi::ABSENT;

use crate::kernel::{Ptr, get_at, peek};

/// A kernel object, and the way to read it.
pub trait Access: Copy {
    /// The same way, from another address.
    fn to(self, base: Ptr) -> Self;

    /// Where the object is.
    fn address(self) -> Ptr;

    /// Reads at a known offset.
    fn read_at<T: Copy>(self, offset: u32) -> T;

    /// Reads a field. It must exist (its sensor is not loaded otherwise).
    #[inline(always)]
    fn read<T: Copy>(self, field: &Global<u32>) -> T {
        self.read_at(field.load())
    }

    /// The object that a pointer field points to.
    #[inline(always)]
    fn follow(self, field: &Global<u32>) -> Self {
        self.to(self.read(field))
    }

    /// As [`Access::follow`] for an optional field; `None` if the field or the pointer is not there.
    #[inline(always)]
    fn follow_optional(self, field: &Global<u32>) -> Option<Self> {
        if field.load() == ABSENT {
            return None;
        }
        let next = self.follow(field);
        if next.is_null() { None } else { Some(next) }
    }

    /// Whether there is no object.
    #[inline(always)]
    fn is_null(self) -> bool {
        self.address().is_null()
    }
}

/// An object that the verifier knows by type: an argument of a typed hook, and what was reached from it.
#[derive(Clone, Copy)]
pub struct Typed(pub Ptr);

/// An object known by its address only.
#[derive(Clone, Copy)]
pub struct Untyped(pub Ptr);

impl Access for Typed {
    #[inline(always)]
    fn to(self, base: Ptr) -> Self {
        Self(base)
    }

    #[inline(always)]
    fn address(self) -> Ptr {
        self.0
    }

    #[inline(always)]
    fn read_at<T: Copy>(self, offset: u32) -> T {
        get_at(self.0, offset)
    }
}

impl Access for Untyped {
    #[inline(always)]
    fn to(self, base: Ptr) -> Self {
        Self(base)
    }

    #[inline(always)]
    fn address(self) -> Ptr {
        self.0
    }

    #[inline(always)]
    fn read_at<T: Copy>(self, offset: u32) -> T {
        peek(self.0, offset)
    }
}
