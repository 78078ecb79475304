//! Colour: only on terminals, never if `NO_COLOR` is set.

use std::io::IsTerminal;

/// Whether and how text is coloured on one stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    on: bool,
}

impl Style {
    /// For a stream.
    pub(super) fn of(stream: &impl IsTerminal) -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        Self { on: stream.is_terminal() && !is_set("NO_COLOR") && !is_dumb }
    }

    /// Whether there is colour at all.
    pub(super) fn is_on(self) -> bool {
        self.on
    }

    /// For what is well.
    pub(super) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For what is less than it could be.
    pub(super) fn warning(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// For what is broken.
    pub(super) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// For what may be skipped.
    pub(super) fn faint(self, text: &str) -> String {
        self.paint("2", text)
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
