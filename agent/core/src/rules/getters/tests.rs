//! Tables of what fields give.

mod calls;
mod files;
mod processes;
mod properties;
pub(in crate::rules) mod sample;
mod sockets;

use crate::rules::fields;

/// A field has a getter or says what it lacks; that it gives something is shown by the tables.
#[test]
fn what_lacks_something_gives_nothing() {
    let mut given = 0;
    for field in fields::all() {
        let is_nothing = std::ptr::fn_addr_eq(field.getter, super::nothing as super::Getter);
        assert_eq!(is_nothing, field.lacks.is_some(), "{}", field.name);
        given += usize::from(!is_nothing);
    }
    assert!(given > 150, "{given}");
}
