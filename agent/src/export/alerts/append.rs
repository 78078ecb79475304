//! What is added to the output of rules: Falco's `append_output`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use tarsier_core::rules::format::{self, Format, Part};
use tarsier_core::rules::render::Output;
use tarsier_core::rules::rule::Rule;
use tarsier_core::rules::text::Traced;
use tarsier_core::rules::typed::{FieldRef, Operand};

use super::ConfigError;

/// One addition, to the rules that it is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AppendOutput {
    /// Which rules; all that it names must fit. Left out: every rule.
    #[serde(rename = "match")]
    pub matching: Matching,
    /// Added to the output, behind a blank: text with fields in it, as in a rule.
    #[schemars(extend("format" = "output"))]
    pub extra_output: Option<String>,
    /// Added to `output_fields` only: the name of a field, or a name of one's own and what it stands for.
    pub extra_fields: Vec<ExtraField>,
    /// Adds the container and the pod: `container_id=… container_name=… container_image_repository=…
    /// container_image_tag=… k8s_pod_name=… k8s_ns_name=…`.
    pub suggested_output: bool,
}

/// Which rules an addition is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Matching {
    /// Rules for this source of events (`syscall`).
    pub source: Option<String>,
    /// Rules that have all of these tags.
    pub tags: Vec<String>,
    /// The rule of this name.
    pub rule: Option<String>,
}

impl Matching {
    /// Whether a rule is meant.
    pub fn fits(&self, source: &str, tags: &[String], rule: &str) -> bool {
        self.source.as_deref().is_none_or(|wanted| wanted == source)
            && self.rule.as_deref().is_none_or(|wanted| wanted == rule)
            && self.tags.iter().all(|tag| tags.contains(tag))
    }
}

/// An addition to the fields of alerts.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(untagged)]
pub enum ExtraField {
    /// The value of a field, under its own name.
    Field(String),
    /// Texts with fields in them, by name.
    Texts(BTreeMap<String, String>),
}

impl JsonSchema for ExtraField {
    fn schema_name() -> Cow<'static, str> {
        "ExtraField".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "output-field" })
    }
}

/// What Falco's container plugin suggests that every output says.
const SUGGESTED: &str = "container_id=%container.id container_name=%container.name \
                         container_image_repository=%container.image.repository \
                         container_image_tag=%container.image.tag \
                         k8s_pod_name=%k8s.pod.name k8s_ns_name=%k8s.ns.name";

/// An addition, parsed.
#[derive(Clone, Debug)]
pub struct Addition {
    matching: Matching,
    outputs: Vec<Format>,
    fields: Vec<(FieldRef, String)>,
    texts: Vec<(String, Format)>,
}

impl AppendOutput {
    /// Parses what it adds. `path` is that of the entry within the section.
    ///
    /// # Errors
    /// All formats and fields that are none.
    pub fn parse(&self, path: &str) -> Result<Addition, Vec<ConfigError>> {
        let mut parser = Parser { errors: Vec::new() };
        let suggested = self.suggested_output.then_some(SUGGESTED);
        let outputs = self.extra_output.as_deref().into_iter().chain(suggested);
        let output_key = format!("{path}.extra_output");
        let outputs = outputs.filter_map(|text| parser.format(&output_key, text)).collect();
        let (mut fields, mut texts) = (Vec::new(), Vec::new());
        for (place, extra) in self.extra_fields.iter().enumerate() {
            let key = format!("{path}.extra_fields[{place}]");
            match extra {
                ExtraField::Field(name) => {
                    fields.extend(parser.field(&key, name).map(|field| (field, name.clone())));
                }
                ExtraField::Texts(all) => {
                    for (name, text) in all {
                        let format = parser.format(&format!("{key}.{name}"), text);
                        texts.extend(format.map(|format| (name.clone(), format)));
                    }
                }
            }
        }
        if parser.errors.is_empty() {
            Ok(Addition { matching: self.matching.clone(), outputs, fields, texts })
        } else {
            Err(parser.errors)
        }
    }
}

struct Parser {
    errors: Vec<ConfigError>,
}

impl Parser {
    fn format(&mut self, key: &str, text: &str) -> Option<Format> {
        match format::parse(&Traced::whole(text)) {
            Ok((format, _)) => Some(format),
            Err(problems) => {
                self.errors.extend(problems.into_iter().map(|problem| ConfigError {
                    key: key.to_owned(),
                    problem: problem.message,
                    fix: problem.help.unwrap_or_default(),
                }));
                None
            }
        }
    }

    /// A field alone is a format of one part.
    fn field(&mut self, key: &str, name: &str) -> Option<FieldRef> {
        let format = self.format(key, &format!("%{name}"))?;
        if let [Part::Value { operand: Operand::Field(field), .. }] = format.parts.as_slice() {
            return Some(field.clone());
        }
        self.errors.push(ConfigError {
            key: key.to_owned(),
            problem: format!("`{name}` is not the name of a field"),
            fix: "for a text of your own write `name: text`".to_owned(),
        });
        None
    }
}

impl Addition {
    /// Adds to the output of a rule, if it is for that rule.
    pub fn add_to(&self, output: &mut Output, source: &str, rule: &Rule) {
        if !self.matching.fits(source, &rule.tags, &rule.name) {
            return;
        }
        self.outputs.iter().for_each(|format| output.append(format));
        self.fields.iter().for_each(|(field, name)| output.tell(field, name));
        self.texts.iter().for_each(|(name, format)| output.tell_text(name, format.clone()));
    }
}
