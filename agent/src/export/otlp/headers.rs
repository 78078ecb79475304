//! Request headers: from the configuration, and from a file that is read again when it changes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};

/// Header names and values as the user wrote them. Values are secrets as a rule (tokens, API keys), so
/// neither `Debug` nor serialization shows them.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Headers(pub BTreeMap<String, String>);

/// What stands for a value that is not shown.
const MASK: &str = "***";

impl fmt::Debug for Headers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_map().entries(self.0.keys().map(|name| (name, MASK))).finish()
    }
}

impl Serialize for Headers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.keys().map(|name| (name, MASK)))
    }
}

impl Headers {
    /// Adds what `other` has and this has not.
    pub(super) fn fill_from(&mut self, other: Self) {
        for (name, value) in other.0 {
            self.0.entry(name).or_insert(value);
        }
    }
}

/// A header that cannot be sent. The value is not part of the message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    #[error(
        "header {0:?} is not a name: use lower-case letters, digits, '-', '_' and '.', not ending in -bin"
    )]
    Name(String),
    #[error("header {0:?} belongs to gRPC itself: remove it")]
    Reserved(String),
    #[error("the value of header {0:?} has characters outside printable ASCII")]
    Value(String),
    #[error("line {0} is not `name: value`")]
    Line(usize),
}

/// Adds one header to `map`, in place of one of the same name.
pub(super) fn insert(map: &mut MetadataMap, name: &str, value: &str) -> Result<(), HeaderError> {
    let lower = name.to_ascii_lowercase();
    let key = MetadataKey::<Ascii>::from_str(&lower)
        .map_err(|_| HeaderError::Name(name.escape_debug().to_string()))?;
    let reserved = ["content-type", "te", "user-agent", "host", "connection", "content-length"];
    if reserved.contains(&lower.as_str()) || lower.starts_with("grpc-") {
        return Err(HeaderError::Reserved(lower));
    }
    let mut value = MetadataValue::<Ascii>::from_str(value).map_err(|_| HeaderError::Value(lower.clone()))?;
    value.set_sensitive(true);
    map.insert(key, value);
    Ok(())
}

/// Adds the headers of a file: a line each, `name: value` or `name=value`; empty lines and lines that start
/// with `#` are skipped.
pub(super) fn insert_lines(map: &mut MetadataMap, text: &str) -> Result<(), HeaderError> {
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once([':', '=']).ok_or(HeaderError::Line(number + 1))?;
        insert(map, name.trim(), value.trim())?;
    }
    Ok(())
}

/// `base` with the headers of `file` added.
pub(super) fn read(base: &MetadataMap, file: Option<&Path>) -> Result<MetadataMap, super::ConnectError> {
    let mut map = base.clone();
    if let Some(path) = file {
        let text = std::fs::read_to_string(path)
            .map_err(|source| super::ConnectError::Read { path: path.into(), source })?;
        insert_lines(&mut map, &text).map_err(|error| super::ConnectError::Headers {
            path: path.into(),
            problem: error.to_string(),
        })?;
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_headers() {
        let mut map = MetadataMap::new();
        insert_lines(&mut map, "# token\n\nX-Scope-OrgID: tenant-1\nauthorization=Bearer a=b:c\r\n").unwrap();
        assert_eq!(map.get("x-scope-orgid").unwrap(), "tenant-1");
        assert_eq!(map.get("authorization").unwrap(), "Bearer a=b:c");
        assert_eq!(insert_lines(&mut map, "ok: 1\nnonsense"), Err(HeaderError::Line(2)));
    }

    #[test]
    fn headers_that_cannot_be_sent() {
        let mut map = MetadataMap::new();
        assert!(matches!(insert(&mut map, "a b", "c"), Err(HeaderError::Name(_))));
        assert!(matches!(insert(&mut map, "key-bin", "c"), Err(HeaderError::Name(_))));
        assert!(matches!(insert(&mut map, "grpc-timeout", "1S"), Err(HeaderError::Reserved(_))));
        assert!(matches!(insert(&mut map, "a", "line\nbreak"), Err(HeaderError::Value(_))));
        assert!(map.is_empty());
    }

    #[test]
    fn values_are_never_shown() {
        let headers = Headers(BTreeMap::from([("api-key".into(), "s3cret".into())]));
        assert!(!format!("{headers:?}").contains("s3cret"));
        assert_eq!(serde_json::to_string(&headers).unwrap(), r#"{"api-key":"***"}"#);
    }
}
