//! Reading OTLP attributes by name.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};

/// Attributes as they arrived.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(pub &'a [KeyValue]);

impl<'a> Attributes<'a> {
    /// The value of `key`, of whatever type. A key that came twice is no value: it is not valid OTLP.
    pub fn get(self, key: &str) -> Option<&'a Value> {
        let mut found = self.0.iter().filter(|attribute| attribute.key == key);
        match (found.next(), found.next()) {
            (Some(attribute), None) => attribute.value.as_ref()?.value.as_ref(),
            _ => None,
        }
    }

    /// A string.
    pub fn text(self, key: &str) -> Option<&'a str> {
        text(self.get(key)?)
    }

    /// An integer.
    pub fn int(self, key: &str) -> Option<i64> {
        match self.get(key)? {
            Value::IntValue(value) => Some(*value),
            _ => None,
        }
    }

    /// A boolean.
    pub fn flag(self, key: &str) -> Option<bool> {
        match self.get(key)? {
            Value::BoolValue(value) => Some(*value),
            _ => None,
        }
    }

    /// An array of strings.
    pub fn texts(self, key: &str) -> Option<Vec<&'a str>> {
        match self.get(key)? {
            Value::ArrayValue(array) => array.values.iter().map(element).collect(),
            _ => None,
        }
    }
}

fn element(value: &AnyValue) -> Option<&str> {
    text(value.value.as_ref()?)
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::StringValue(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(key: &str, value: &str) -> KeyValue {
        let value = AnyValue { value: Some(Value::StringValue(value.to_owned())) };
        KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
    }

    #[test]
    fn a_key_that_came_twice_is_no_value() {
        let attributes = [string("a", "1"), string("b", "2"), string("a", "3")];
        assert_eq!(Attributes(&attributes).text("b"), Some("2"));
        assert_eq!(Attributes(&attributes).text("a"), None);
        assert_eq!(Attributes(&attributes).int("b"), None);
    }
}
