//! The calls that can be told of, and what of each is captured.

use super::filter::Subject;

/// What of a call is captured. Arguments are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Recipe {
    /// How many of the arguments are carried as numbers, from the first.
    pub numbers: u8,
    /// The first path or name.
    pub path: Name,
    /// The second one.
    pub path2: Name,
    /// The descriptor.
    pub fd: Fd,
    /// The address.
    pub address: Address,
    /// The data: the argument that points to it, else [`NO_ARGUMENT`]. As long as the call returned.
    pub data: u8,
    /// The argument with the flags that a file is opened with; [`WRITES`]; else [`NO_ARGUMENT`].
    pub flags: u8,
    /// The argument that says which of several things is asked for, a number of a list; else [`NO_ARGUMENT`].
    pub choice: u8,
}

/// In place of flags: the file is opened to be written.
pub const WRITES: u8 = 0xfe;

/// Stands for an argument that a call does not have.
pub const NO_ARGUMENT: u8 = u8::MAX;

/// A path or name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Name {
    /// The argument that points to it, else [`NO_ARGUMENT`].
    pub at: u8,
    /// The argument with the descriptor of the directory it is relative to; [`CWD`] or [`NOT_A_PATH`].
    pub from: u8,
}

/// Relative to the working directory.
pub const CWD: u8 = 0xfe;
/// A name, not a path.
pub const NOT_A_PATH: u8 = 0xff;

impl Name {
    /// There is none.
    pub const NONE: Self = Self { at: NO_ARGUMENT, from: NOT_A_PATH };

    /// A path relative to the working directory.
    pub const fn path(at: u8) -> Self {
        Self { at, from: CWD }
    }
    /// A path relative to a descriptor.
    pub const fn path_at(from: u8, at: u8) -> Self {
        Self { at, from }
    }
    /// Text that is no path.
    pub const fn text(at: u8) -> Self {
        Self { at, from: NOT_A_PATH }
    }
}

/// Which descriptor a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fd {
    /// None.
    None = 0,
    /// The first argument.
    First = 1,
    /// What it returned.
    Returned = 2,
}

/// Where a call has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Address {
    /// Nowhere.
    None = 0,
    /// The second argument, its length in the third.
    Second = 1,
    /// The fifth argument, its length in the sixth.
    Fifth = 2,
    /// The fifth argument, a pointer to its length in the sixth.
    FifthIn = 3,
    /// In the `struct msghdr` that the second argument points to.
    Message = 4,
}

impl Recipe {
    /// A call with so many numbers.
    pub const fn numbers(numbers: u8) -> Self {
        Self {
            numbers,
            path: Name::NONE,
            path2: Name::NONE,
            fd: Fd::None,
            address: Address::None,
            data: NO_ARGUMENT,
            flags: NO_ARGUMENT,
            choice: NO_ARGUMENT,
        }
    }
    /// And a path or name.
    pub const fn name(self, path: Name) -> Self {
        Self { path, ..self }
    }
    /// And a second one.
    pub const fn name2(self, path2: Name) -> Self {
        Self { path2, ..self }
    }
    /// And a descriptor.
    pub const fn of(self, fd: Fd) -> Self {
        Self { fd, ..self }
    }
    /// And an address.
    pub const fn address(self, address: Address) -> Self {
        Self { address, ..self }
    }
    /// And data.
    pub const fn data(self, data: u8) -> Self {
        Self { data, ..self }
    }
    /// And flags of opening.
    pub const fn opens(self, flags: u8) -> Self {
        Self { flags, ..self }
    }
    /// And an argument that says which of several things is asked for.
    pub const fn choice(self, choice: u8) -> Self {
        Self { choice, ..self }
    }
    /// What its filter is about.
    pub const fn subject(&self) -> Subject {
        if self.choice != NO_ARGUMENT {
            return Subject::Choice;
        }
        match (self.path.at, self.flags, self.fd) {
            // A path that nothing was opened by is text in the task's memory and nothing else.
            (NO_ARGUMENT, NO_ARGUMENT, Fd::First | Fd::Returned) => Subject::Descriptor,
            (NO_ARGUMENT, ..) | (_, NO_ARGUMENT, _) => Subject::Outcome,
            _ => Subject::Path,
        }
    }
}

/// The calls: name (that of the type of event too), number as [`Call`], recipe.
#[macro_export]
macro_rules! for_each_call {
    ($callback:ident) => {
        $callback! {
            // Files.
            (open, 0, Recipe::numbers(3).name(Name::path(0)).of(Fd::Returned).opens(1));
            (openat, 1, Recipe::numbers(4).name(Name::path_at(0, 1)).of(Fd::Returned).opens(2));
            (openat2, 2, Recipe::numbers(5).name(Name::path_at(0, 1)).of(Fd::Returned).opens(2));
            (creat, 3, Recipe::numbers(2).name(Name::path(0)).of(Fd::Returned).opens(WRITES));
            (open_by_handle_at, 4, Recipe::numbers(3).of(Fd::Returned).opens(2));
            (mkdir, 5, Recipe::numbers(2).name(Name::path(0)));
            (mkdirat, 6, Recipe::numbers(3).name(Name::path_at(0, 1)));
            (rmdir, 7, Recipe::numbers(1).name(Name::path(0)));
            (unlink, 8, Recipe::numbers(1).name(Name::path(0)));
            (unlinkat, 9, Recipe::numbers(3).name(Name::path_at(0, 1)));
            (rename, 10, Recipe::numbers(2).name(Name::path(0)).name2(Name::path(1)));
            (renameat, 11, Recipe::numbers(4).name(Name::path_at(0, 1)).name2(Name::path_at(2, 3)));
            (renameat2, 12, Recipe::numbers(5).name(Name::path_at(0, 1)).name2(Name::path_at(2, 3)));
            (link, 13, Recipe::numbers(2).name(Name::path(0)).name2(Name::path(1)));
            (linkat, 14, Recipe::numbers(5).name(Name::path_at(0, 1)).name2(Name::path_at(2, 3)));
            (symlink, 15, Recipe::numbers(2).name(Name::text(0)).name2(Name::path(1)));
            (symlinkat, 16, Recipe::numbers(3).name(Name::text(0)).name2(Name::path_at(1, 2)));
            (chmod, 17, Recipe::numbers(2).name(Name::path(0)));
            (fchmod, 18, Recipe::numbers(2).of(Fd::First));
            (fchmodat, 19, Recipe::numbers(3).name(Name::path_at(0, 1)));
            (fchmodat2, 20, Recipe::numbers(4).name(Name::path_at(0, 1)));
            (mount, 21, Recipe::numbers(4).name(Name::text(0)).name2(Name::path(1)));
            (umount2, 22, Recipe::numbers(2).name(Name::path(0)));
            (chroot, 23, Recipe::numbers(1).name(Name::path(0)));
            // Descriptors.
            (dup, 24, Recipe::numbers(1).of(Fd::Returned));
            (dup2, 25, Recipe::numbers(2).of(Fd::Returned));
            (dup3, 26, Recipe::numbers(3).of(Fd::Returned));
            (memfd_create, 27, Recipe::numbers(2).name(Name::text(0)).of(Fd::Returned));
            (userfaultfd, 28, Recipe::numbers(1).of(Fd::Returned));
            // Sockets.
            (socket, 29, Recipe::numbers(3).of(Fd::Returned).choice(0));
            (bind, 30, Recipe::numbers(3).of(Fd::First).address(Address::Second));
            (connect, 31, Recipe::numbers(3).of(Fd::First).address(Address::Second));
            (listen, 32, Recipe::numbers(2).of(Fd::First));
            (accept, 33, Recipe::numbers(3).of(Fd::Returned));
            (accept4, 34, Recipe::numbers(4).of(Fd::Returned));
            (sendto, 35, Recipe::numbers(6).of(Fd::First).address(Address::Fifth).data(1));
            (sendmsg, 36, Recipe::numbers(3).of(Fd::First).address(Address::Message));
            (recvfrom, 37, Recipe::numbers(6).of(Fd::First).address(Address::FifthIn).data(1));
            (recvmsg, 38, Recipe::numbers(3).of(Fd::First).address(Address::Message));
            // Processes and what they may do.
            (execve, 39, Recipe::numbers(0).name(Name::path(0)));
            (execveat, 40, Recipe::numbers(1).name(Name::path_at(0, 1)));
            (ptrace, 41, Recipe::numbers(4).choice(0));
            (kill, 42, Recipe::numbers(2));
            (tkill, 43, Recipe::numbers(2));
            (tgkill, 44, Recipe::numbers(3));
            (prctl, 45, Recipe::numbers(5).choice(0));
            (setuid, 46, Recipe::numbers(1));
            (setgid, 47, Recipe::numbers(1));
            (setreuid, 48, Recipe::numbers(2));
            (setregid, 49, Recipe::numbers(2));
            (setresuid, 50, Recipe::numbers(3));
            (setresgid, 51, Recipe::numbers(3));
            (setns, 52, Recipe::numbers(2).of(Fd::First));
            (unshare, 53, Recipe::numbers(1));
            // The kernel itself.
            (init_module, 54, Recipe::numbers(2));
            (finit_module, 55, Recipe::numbers(3).of(Fd::First));
            (delete_module, 56, Recipe::numbers(2).name(Name::text(0)));
            (bpf, 57, Recipe::numbers(3).choice(0));
            // Messages by the dozen: the address is the first one's.
            (sendmmsg, 58, Recipe::numbers(4).of(Fd::First).address(Address::Message));
            (recvmmsg, 59, Recipe::numbers(4).of(Fd::First).address(Address::Message));
            // Processes made, as whoever makes them sees it.
            (fork, 60, Recipe::numbers(0));
            (vfork, 61, Recipe::numbers(0));
            (clone, 62, Recipe::numbers(1));
            (clone3, 63, Recipe::numbers(1));
            // Rings that requests are passed in without a call. The numbers behind `entries` are those of `struct io_uring_params`,
            // two in each.
            (io_uring_setup, 64, Recipe::numbers(4).of(Fd::Returned));
            (io_uring_enter, 65, Recipe::numbers(4).of(Fd::First));
            (io_uring_register, 66, Recipe::numbers(4).of(Fd::First));
        }
    };
}

macro_rules! define_calls {
    ($(($name:ident, $number:literal, $recipe:expr);)+) => {
        /// A system call that can be told of.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        #[expect(non_camel_case_types, missing_docs, reason = "the kernel's own names")]
        pub enum Call { $($name = $number,)+ }

        /// How many there are.
        pub const CALLS: usize = [$($number),+].len();

        impl Call {
            /// Every call; `ALL[n] as usize == n`.
            pub const ALL: [Self; CALLS] = [$(Self::$name),+];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }

        /// What of each call is captured, by [`Call`].
        pub const RECIPES: [Recipe; CALLS] = [$($recipe),+];

        impl TryFrom<u8> for Call {
            type Error = u8;
            fn try_from(number: u8) -> Result<Self, u8> {
                match number { $($number => Ok(Self::$name),)+ other => Err(other) }
            }
        }
    };
}
for_each_call!(define_calls);

const _: () = {
    let mut index = 0;
    while index < CALLS {
        assert!(Call::ALL[index] as usize == index, "numbers of calls are dense and in order");
        index += 1;
    }
};
