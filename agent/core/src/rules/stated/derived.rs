//! Fields that are another name for what is stated: the same value, or a part of it.
//!
//! Only what follows with certainty; held against the getters by a test.

use super::super::compare::Value;
use super::super::evaluate::Scalar;
use super::super::getters::{errors, path};
use super::super::typed::{Argument, FieldRef};
use super::Stated;

/// Calls `with` for what a field that is not stated has nevertheless.
pub(super) fn visit(event: &Stated, field: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
    let name = field.field.name;
    match (name, &field.argument) {
        ("evt.type.is", Some(Argument::Key(asked))) => {
            let is = one(event, "evt.type").is_some_and(|kind| kind.to_text() == asked.as_bytes());
            with(Value::Number(is.into()));
        }
        ("evt.res", None) => match one(event, "evt.rawres") {
            Some(Scalar::Number(0..)) => with(Value::Text(b"SUCCESS")),
            Some(Scalar::Number(ret)) => {
                let name = i64::try_from(*ret).ok().and_then(errors::error);
                name.into_iter().for_each(|name| with(Value::Text(name.as_bytes())));
            }
            _ => {}
        },
        ("evt.failed", None) => {
            if let Some(Scalar::Number(ret)) = one(event, "evt.rawres") {
                with(Value::Bool(*ret < 0));
            }
        }
        ("fd.directory" | "fd.filename", None) => {
            // Of a socket it is no path.
            if let Some(Scalar::Text(text)) = one(event, "fd.name")
                && text.starts_with(b"/")
                && one(event, "fd.type").is_none_or(|kind| *kind == Scalar::Text(b"file".to_vec()))
            {
                let (directory, file) = path::split(text);
                with(Value::Text(if name == "fd.directory" { directory } else { file }));
            }
        }
        ("fd.ip" | "fd.net", None) => both(event, ["fd.cip", "fd.sip"], ["fd.lip", "fd.rip"], with),
        ("fd.port", None) => both(event, ["fd.cport", "fd.sport"], ["fd.lport", "fd.rport"], with),
        ("fd.cnet", None) => same(event, "fd.cip", with),
        ("fd.snet", None) => same(event, "fd.sip", with),
        ("fd.lnet", None) => same(event, "fd.lip", with),
        ("fd.rnet", None) => same(event, "fd.rip", with),
        // Of what has a name for every ancestor, one of them: the parent is the first.
        (_, Some(Argument::Index(index))) if name.starts_with("proc.a") => {
            let place = (*index as usize).checked_sub(1);
            let value = place.and_then(|place| event.of(name)?.get(place));
            value.into_iter().for_each(|value| with(value.value()));
        }
        _ => {}
    }
}

fn one<'a>(event: &'a Stated, name: &str) -> Option<&'a Scalar> {
    event.of(name)?.first()
}

fn same(event: &Stated, name: &str, with: &mut dyn FnMut(Value<'_>)) {
    one(event, name).into_iter().for_each(|value| with(value.value()));
}

/// The two ends of a connection, however they are named.
fn both(event: &Stated, roles: [&str; 2], sides: [&str; 2], with: &mut dyn FnMut(Value<'_>)) {
    let names = if roles.iter().any(|name| one(event, name).is_some()) { roles } else { sides };
    names.into_iter().for_each(|name| same(event, name, with));
}
