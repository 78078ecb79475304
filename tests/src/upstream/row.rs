//! What a row says.

/// A field of an alert and its text, in which `*` stands for any.
pub(super) type Field = (&'static str, &'static str);

/// A rule, what makes it tell, and what nearly does.
pub(super) struct Row {
    /// Its name.
    pub(super) rule: &'static str,
    /// What it is to tell of.
    pub(super) action: Act,
    /// As near to it as can be; the rule must not tell of this.
    pub(super) near: Act,
    /// What some alert of the action says.
    pub(super) fields: &'static [Field],
    /// The same by other ways: other calls, other paths to the same file, other branches of the condition.
    pub(super) also: &'static [(Act, &'static [Field])],
    /// More that is near.
    pub(super) nor: &'static [Act],
    /// Why it does not tell of the action, if it does not.
    pub(super) but: Option<But>,
}

/// Why a rule does not tell of what it is about.
#[derive(Clone, Copy)]
pub(super) enum But {
    /// It asks for a field that the agent does not know the value of yet: of the events that this condition is about,
    /// which are those of the action, none has it.
    Lacks {
        /// The field.
        field: &'static str,
        /// The condition.
        of: &'static str,
    },
    /// It cannot match anything as it stands, and loading it says so.
    Never,
}

/// Something that is done.
#[derive(Clone, Copy)]
pub(super) struct Act {
    pub(super) place: Place,
    /// See [`Place`].
    pub(super) what: &'static str,
}

/// Where something is done, and how `Act::what` is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A shell outside of containers, which runs it. Root directory and network are its own.
    Host,
    /// A shell in a container with a runtime's usual capabilities.
    Container,
    /// A shell in a container with further ones: [`super::stage::MORE`].
    Capable,
    /// A shell in one that is privileged.
    Privileged,
    /// A session of its own in the first container: the words of a command.
    Session,
    /// The same on a terminal.
    Terminal,
    /// The start of a container like the first: the words of its command.
    Start,
    /// The start of one with more capabilities.
    StartCapable,
    /// The start of one with all of them and nothing hidden, as `privileged: true` in a pod's spec.
    StartPrivileged,
    /// As `StartCapable`, of an image that rules take for a trusted one.
    StartTrusted,
    /// A program called `nginx` that has run for six seconds: a system call, as `workload calls` takes it.
    Aged,
}

impl Row {
    /// A rule that tells.
    pub(super) const fn new(rule: &'static str, action: Act, near: Act, fields: &'static [Field]) -> Self {
        Self { rule, action, near, fields, also: &[], nor: &[], but: None }
    }

    /// One that tells of more.
    pub(super) const fn also(self, also: &'static [(Act, &'static [Field])]) -> Self {
        Self { also, ..self }
    }

    /// One that does not tell of more.
    pub(super) const fn nor(self, nor: &'static [Act]) -> Self {
        Self { nor, ..self }
    }

    /// One that does not.
    pub(super) const fn but(self, why: But) -> Self {
        Self { but: Some(why), ..self }
    }
}

pub(super) const fn host(what: &'static str) -> Act {
    Act { place: Place::Host, what }
}

pub(super) const fn container(what: &'static str) -> Act {
    Act { place: Place::Container, what }
}

pub(super) const fn capable(what: &'static str) -> Act {
    Act { place: Place::Capable, what }
}

pub(super) const fn privileged(what: &'static str) -> Act {
    Act { place: Place::Privileged, what }
}

/// The test binary under a name, as it makes system calls: see `workload::calls`.
macro_rules! calls {
    ($name:ident, $($line:expr),+) => {
        concat!("/calls/", stringify!($name), " workload calls", $(" '", $line, "'"),+)
    };
}
pub(super) use calls;

/// Whether `text` is what `pattern` stands for.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, behind)) = text.split_once(part) else { return false };
        text = behind;
    }
    text.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_stand_for_any_text() {
        for (pattern, text) in [("a", "a"), ("*", ""), ("a*", "a"), ("*b*d", "abcd"), ("a*c*", "abcd")] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a*a", "a"), ("*b*b", "ab"), ("b*", "ab")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }
}
