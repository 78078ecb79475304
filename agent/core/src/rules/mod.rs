//! Falco's rules.
//!
//! Modules in the order a rule file passes them: [`load`] puts together what files say, in [`text`] that knows where
//! it was written; a condition passes the [`grammar`] and is a tree ([`condition`]); the outcome are
//! [`rule`]s and [`problem`]s.

pub mod condition;
pub mod grammar;
pub mod load;
pub mod problem;
pub mod rule;
pub mod text;

/// The known name that `written` may have meant, if one is near enough.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_ascii_lowercase();
    let near = known.into_iter().map(|name| (strsim::osa_distance(&lower, name), name)).min()?;
    let allowed = near.1.len().max(written.len()) / 3 + 1;
    (near.0 <= allowed).then_some(near.1)
}
