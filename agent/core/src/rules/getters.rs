//! What each field of the table gives for an event.
//!
//! A getter is part of its field's row and is reached by it alone: no name is compared when a rule runs. It calls `with` for
//! each value, and not at all where there is none. Names, order and spelling are Falco's (libs: userspace/libsinsp); where it
//! shadows descriptors and processes in user space, these read what the record tells of them.
//!
//! One file per namespace or part of one; `path.rs` joins and cleans paths, `parameters.rs` lists the arguments of each
//! call and `arguments.rs` prints them with the tables of `words.rs` and `errors.rs`.

use super::compare::Value;
use super::facts::Facts;
use super::typed::Argument;

pub(super) mod ancestors;
pub(super) mod arguments;
pub(super) mod clock;
pub(super) mod container;
mod descriptor;
pub(super) mod errors;
pub(super) mod event;
pub(super) mod file;
mod parameters;
pub(super) mod path;
pub(super) mod process;
pub(super) mod socket;
#[cfg(test)]
pub(in crate::rules) mod tests;
pub(super) mod user;
mod words;

pub use arguments::shown_arguments;
pub(super) use file::has_own_path;

/// Takes the values of a field, one by one.
pub type With<'w> = &'w mut dyn FnMut(Value<'_>);

/// Gives the values of a field, which may have an argument.
pub type Getter = fn(&Facts<'_>, Option<&Argument>, With<'_>);

/// Of a field that nothing is known of.
pub(super) fn nothing(_: &Facts<'_>, _: Option<&Argument>, _: With<'_>) {}

fn text(value: impl AsRef<[u8]>, with: With<'_>) {
    with(Value::Text(value.as_ref()));
}

fn number(value: impl Into<i128>, with: With<'_>) {
    with(Value::Number(value.into()));
}

fn truth(value: bool, with: With<'_>) {
    with(Value::Bool(value));
}

/// Appends `write!`'s arguments.
macro_rules! put {
    ($out:expr, $($arguments:tt)*) => {
        std::io::Write::write_fmt($out, format_args!($($arguments)*)).expect("memory takes all that is written")
    };
}
use put;
