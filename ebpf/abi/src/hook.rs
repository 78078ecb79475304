//! Where the programs of a sensor attach: for each thing that it listens to, the hooks that tell of
//! it, best first, each with the program that enters the sensor's one body from there.

/// A way into the kernel. The order is that of preference where two hooks tell the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HookKind {
    /// The entry of a kernel function, by trampoline: typed arguments, plain loads.
    Fentry,
    /// The return of kernel functions, one for each system call that is asked for, by trampoline: arguments and result,
    /// and nothing at all of other calls.
    Fexit,
    /// A tracepoint with typed arguments: plain loads.
    BtfTracepoint,
    /// A tracepoint whose arguments are numbers: every read is a helper call.
    RawTracepoint,
    /// The entry of a kernel function, by breakpoint or ftrace: registers, and reads by helper. Shares one
    /// guard per CPU with every other kprobe: what fires inside another one is missed.
    Kprobe,
}

impl HookKind {
    /// Every kind, the preferred ones first.
    pub const ALL: [Self; 5] =
        [Self::Fentry, Self::Fexit, Self::BtfTracepoint, Self::RawTracepoint, Self::Kprobe];

    /// The name in configuration, metrics and messages; libbpf's section prefixes.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
            Self::BtfTracepoint => "tp_btf",
            Self::RawTracepoint => "raw_tp",
            Self::Kprobe => "kprobe",
        }
    }
}

/// A hook: its kind and the name of the kernel's function or tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hook {
    /// The way in.
    pub kind: HookKind,
    /// The function or tracepoint.
    pub target: &'static str,
}

impl core::fmt::Display for Hook {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(formatter, "{}/{}", self.kind.name(), self.target)
    }
}

/// A hook and the program for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// The program's symbol in the eBPF object.
    pub program: &'static str,
    /// Where it attaches.
    pub hook: Hook,
}

impl Entry {
    /// `program` at `kind/target`.
    pub const fn new(program: &'static str, kind: HookKind, target: &'static str) -> Self {
        Self { program, hook: Hook { kind, target } }
    }
}

/// One thing that a sensor listens to.
#[derive(Clone, Copy, Debug)]
pub struct Attach {
    /// The hooks that tell of it, best first; the agent uses the first that this kernel gives it.
    pub entries: &'static [Entry],
}
