//! `tarsier fields`: the field table of rules, for people, for programs and for `docs/reference/fields.md`.

use std::io::Write;

use serde_json::json;
use tarsier_core::rules::fields::{self, Argument, Feed, Field, Place};

use super::Exit;

/// Options of `tarsier fields`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Only fields whose name has this in it.
    #[arg(value_name = "TEXT")]
    like: Option<String>,
    /// One JSON object per line.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let is_asked = |field: &&Field| args.like.as_deref().is_none_or(|like| field.name.contains(like));
    for field in fields::all().filter(is_asked) {
        if args.json {
            let line = json!({
                "name": field.name, "type": field.kind.name(), "list": field.is_list, "argument": argument(field),
                "printed": field.place != Place::Left, "from": feed(field.feed), "lacks": field.lacks,
                "attribute": field.attribute, "doc": field.doc,
            });
            writeln!(out, "{line}")?;
            continue;
        }
        let list = if field.is_list { "list of " } else { "" };
        writeln!(out, "{}{}", field.name, argument(field).unwrap_or_default())?;
        writeln!(out, "    {list}{}, from {}", field.kind.name(), feed(field.feed))?;
        if let Some(lacks) = field.lacks {
            writeln!(out, "    not given yet, for want of {lacks}")?;
        }
        writeln!(out, "    {}", field.doc)?;
    }
    Ok(Exit::Ok)
}

/// How its argument is written.
fn argument(field: &Field) -> Option<&'static str> {
    match field.argument {
        Argument::None => None,
        Argument::MayBeIndex => Some("[N]?"),
        Argument::Index => Some("[N]"),
        Argument::MayBeIndexOrKey => Some("[N or KEY]?"),
        Argument::IndexOrKey => Some("[N or KEY]"),
        Argument::Key => Some("[KEY]"),
        Argument::Name => Some(".NAME"),
    }
}

fn feed(feed: Feed) -> &'static str {
    match feed {
        Feed::Event => "the event",
        Feed::File => "its file or socket",
        Feed::Process => "the process",
        Feed::Ancestors => "its ancestors",
        Feed::Users => "users and groups",
        Feed::Container => "the container",
        Feed::Runtime => "the container's runtime",
        Feed::Kubernetes => "the runtime, of the pod",
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn the_fields_page_is_fresh() {
        crate::fresh::assert_fresh("docs/reference/fields.md", &reference());
    }

    #[test]
    fn every_field_has_its_line() {
        let mut out = Vec::new();
        run(&Args { like: None, json: true }, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap().lines().count(), fields::all().count());
        let mut out = Vec::new();
        run(&Args { like: Some("aname".to_owned()), json: false }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("proc.aname[N]?\n    text, from its ancestors\n    "), "{text}");
        let mut out = Vec::new();
        run(&Args { like: Some("proc.env".to_owned()), json: false }, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("\n    not given yet, for want of the environment at exec\n"), "{text}");
    }

    /// `docs/reference/fields.md`.
    fn reference() -> String {
        let mut page = String::from(
            "# Fields of rules

<!-- Generated from the code: `TARSIER_BLESS=1 cargo test -p tarsier fresh` rewrites this file. -->

What the condition and the output of a rule can ask of an event (`tarsier fields`). Names and meanings are Falco's. A
field without a value makes every comparison false, and one that is not given yet has none; `?` behind an argument says that it may be left out.

| field | type | from | OpenTelemetry attribute | says |
|---|---|---|---|---|
",
        );
        for field in fields::all() {
            writeln!(
                page,
                "| `{}{}` | {}{} | {} | {} | {}{} |",
                field.name,
                argument(field).unwrap_or_default(),
                if field.is_list { "list of " } else { "" },
                field.kind.name(),
                feed(field.feed),
                field.attribute.map(|key| format!("`{key}`")).unwrap_or_default(),
                field.doc,
                field.lacks.map(|lacks| format!(" Not given yet, for want of {lacks}.")).unwrap_or_default(),
            )
            .expect("a string takes all that is written");
        }
        page
    }
}
