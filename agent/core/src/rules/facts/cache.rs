//! Memory for what has to be put together before it can be compared.

use std::cell::{Cell, RefCell};

/// Texts of one event that stand nowhere as a whole: each is put together when a rule first asks for it. The
/// memory is kept from event to event; the owner clears it in between.
#[derive(Debug, Default)]
pub struct Cache {
    /// `fd.name`.
    pub(in crate::rules) name: Kept,
    /// The kernel's own path of the file.
    pub(in crate::rules) own_name: Kept,
    /// The second path of a call that has two, made absolute.
    pub(in crate::rules) second_path: Kept,
    /// `proc.args`.
    pub(in crate::rules) arguments: Kept,
    /// `proc.cmdline`.
    pub(in crate::rules) command_line: Kept,
    /// For what is used at once.
    scratch: RefCell<Vec<u8>>,
}

impl Cache {
    /// Forgets the event.
    pub fn clear(&self) {
        let Self { name, own_name, second_path, arguments, command_line, .. } = self;
        for kept in [name, own_name, second_path, arguments, command_line] {
            kept.is_written.set(false);
            kept.is_needed.set(None);
        }
    }

    /// Puts together a text that is used at once.
    pub(in crate::rules) fn once(&self, write: impl FnOnce(&mut Vec<u8>), with: impl FnOnce(&[u8])) {
        let Ok(mut text) = self.scratch.try_borrow_mut() else {
            // Asked for while another one is looked at.
            let mut text = Vec::new();
            write(&mut text);
            return with(&text);
        };
        text.clear();
        write(&mut text);
        with(&text);
    }
}

/// A text that is put together at most once for an event.
#[derive(Debug, Default)]
pub(in crate::rules) struct Kept {
    /// Whether it has to be put together at all, if somebody has looked.
    is_needed: Cell<Option<bool>>,
    is_written: Cell<bool>,
    text: RefCell<Vec<u8>>,
}

impl Kept {
    /// Whether the text has to be put together; `look` says so once.
    pub(in crate::rules) fn is_needed(&self, look: impl FnOnce() -> bool) -> bool {
        if let Some(is) = self.is_needed.get() {
            return is;
        }
        let is = look();
        self.is_needed.set(Some(is));
        is
    }

    /// The text; `write` appends it where it is not there yet.
    pub(in crate::rules) fn get(&self, write: impl FnOnce(&mut Vec<u8>), with: impl FnOnce(&[u8])) {
        if !self.is_written.get() {
            // Nobody looks at what is not written.
            let mut text = self.text.borrow_mut();
            text.clear();
            write(&mut text);
            self.is_written.set(true);
        }
        with(&self.text.borrow());
    }
}
