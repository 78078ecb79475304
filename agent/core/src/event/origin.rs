//! How a process came into its container.

/// What is known of how a process came into the PID namespace that it is in, from what the kernel tells:
/// its pid there, its parent, its cgroup. Outside of containers it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The first process of the namespace: the container's own program.
    Entry,
    /// Forked by the first process or by one of its descendants.
    EntryDescendant,
    /// Its parent is outside of the namespace: the first process of an exec session.
    Joined,
    /// Forked by such a process or by one of its descendants.
    JoinedDescendant,
    /// Not told by what was seen: its beginning, or that of its line, was not, or the container has no PID
    /// namespace of its own.
    #[default]
    Unknown,
}

impl Origin {
    /// The value of `tarsier.process.origin`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::EntryDescendant => "entry_descendant",
            Self::Joined => "joined",
            Self::JoinedDescendant => "joined_descendant",
            Self::Unknown => "unknown",
        }
    }

    /// That of a child.
    #[must_use]
    pub const fn descendant(self) -> Self {
        match self {
            Self::Entry | Self::EntryDescendant => Self::EntryDescendant,
            Self::Joined | Self::JoinedDescendant => Self::JoinedDescendant,
            Self::Unknown => Self::Unknown,
        }
    }
}
