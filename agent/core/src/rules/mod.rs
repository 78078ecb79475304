//! Falco's rules.
//!
//! Modules in the order a rule file passes them: [`load`] puts together what files say, in [`text`] that knows where
//! it was written; a condition passes the [`grammar`] and is a tree ([`condition`]); [`check`] gives it meaning by
//! the tables of [`fields`] and [`event_types`] ([`typed`]), as [`format`](mod@format) does for outputs; [`simplify`] takes
//! out what cannot be, and [`event_set`] says which events are left. The outcome is a [`ruleset`] of
//! [`rule`]s, and [`problem`]s. What one that matched has to say, [`render`] makes, and how
//! often, [`throttle`] and [`groups`] limit. What it all means is
//! in [`evaluate`], which [`compile`] makes fast, [`compare`], [`glob`](mod@glob) and [`getopt`].

#[cfg(test)]
mod chance;
pub mod check;
pub mod compare;
pub mod compat;
pub mod compile;
pub mod condition;
pub mod coverage;
pub mod evaluate;
pub mod event_set;
pub mod event_types;
pub mod facts;
pub mod feeds;
pub mod fields;
pub mod format;
pub mod getopt;
pub mod getters;
pub mod glob;
pub mod grammar;
pub mod groups;
pub mod load;
pub mod need;
pub mod problem;
pub mod readings;
pub mod render;
pub mod rule;
pub mod ruleset;
pub mod select;
pub mod simplify;
pub mod stated;
pub mod suite;
pub mod text;
pub mod throttle;
pub mod typed;

/// The known name that `written` may have meant, if one is near enough: one slip in three letters, and swapped neighbours
/// are one.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = written.to_ascii_lowercase();
    let near = known.into_iter().map(|name| (strsim::osa_distance(&lower, name), name)).min()?;
    let allowed = near.1.len().max(written.len()) / 3 + 1;
    (near.0 <= allowed).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn names_are_near_or_not() {
        let known = ["proc.name", "proc.pname", "fd.name"];
        for (written, expected) in [
            ("proc.nmae", Some("proc.name")),
            ("Proc.Name", Some("proc.name")),
            ("fd.nam", Some("fd.name")),
            ("container", None),
        ] {
            assert_eq!(nearest(written, known), expected, "{written}");
        }
        assert_eq!(nearest("x", []), None);
    }
}
