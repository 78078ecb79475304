//! The option types that people write with a unit: durations (`10s`) and sizes (`32MiB`), and the
//! address that may be `none`.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time: a whole number and one of `ms`, `s`, `m`, `h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(std::time::Duration);

/// A number of bytes: a whole number and one of `B`, `KiB`, `MiB`, `GiB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

/// Where to listen: `IP:PORT`, or `none`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Listen(pub Option<SocketAddr>);

/// Why a text is not a value with a unit: what is wrong, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}; {fix}")]
pub struct UnitError {
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub fix: String,
}

const TIME_UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const SIZE_UNITS: [(&str, u64); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Duration {
    /// From milliseconds, the finest unit that can be written.
    pub const fn from_millis(millis: u64) -> Self {
        Self(std::time::Duration::from_millis(millis))
    }

    /// From seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(std::time::Duration::from_secs(secs))
    }

    /// As the standard type.
    pub const fn get(self) -> std::time::Duration {
        self.0
    }
}

impl From<Duration> for std::time::Duration {
    fn from(duration: Duration) -> Self {
        duration.0
    }
}

impl ByteSize {
    /// From a number of bytes.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// From mebibytes.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// In bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl FromStr for Duration {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, &TIME_UNITS, "duration", "10s").map(Self::from_millis)
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        parse(text, &SIZE_UNITS, "size", "8MiB").map(Self)
    }
}

impl FromStr for Listen {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text == "none" {
            return Ok(Self(None));
        }
        text.parse().map(|address| Self(Some(address))).map_err(|_| UnitError {
            what: format!("`{text}` is not an address to listen on"),
            fix: "write IP:PORT, such as `127.0.0.1:8765`, or `none`".into(),
        })
    }
}

/// A whole number followed by one of `units`, in the smallest of them.
fn parse(text: &str, units: &[(&str, u64)], kind: &str, example: &str) -> Result<u64, UnitError> {
    let text = text.trim();
    let error = |what: String, fix: String| UnitError { what, fix };
    let names = || units.iter().rev().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    if number.is_empty() {
        return Err(error(
            format!("`{text}` is not a {kind}"),
            format!("write a whole number and a unit ({}), such as `{example}`", names()),
        ));
    }
    if unit.is_empty() {
        let suffix = example.trim_start_matches(|letter: char| letter.is_ascii_digit());
        return Err(error(
            format!("the {kind} `{text}` has no unit"),
            format!("add one of {}, such as `{number}{suffix}`", names()),
        ));
    }
    let Some((_, factor)) = units.iter().find(|(name, _)| *name == unit) else {
        return Err(error(format!("`{unit}` is not a unit of a {kind}"), format!("use one of {}", names())));
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*factor))
        .ok_or_else(|| error(format!("the {kind} `{text}` is too large"), "write a smaller one".into()))
}

/// Writes `value` in the largest unit that divides it.
fn write(value: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| value != 0 && value.is_multiple_of(*factor);
    let (name, factor) = units.iter().find(fits).or(units.last()).copied().unwrap_or(("", 1));
    write!(f, "{}{name}", value / factor)
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        // "0s" reads better than "0ms".
        if millis == 0 { f.write_str("0s") } else { write(millis, &TIME_UNITS, f) }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, &SIZE_UNITS, f)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => address.fmt(f),
            None => f.write_str("none"),
        }
    }
}

/// Serde as text, and a schema whose `format` lets `config check` call the same parser.
macro_rules! as_text {
    ($($type:ident $format:literal;)+) => {$(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> { stringify!($type).into() }
            fn inline_schema() -> bool { true }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format })
            }
        }
    )+};
}
as_text! { Duration "duration"; ByteSize "size"; Listen "listen"; }

/// A text that is never shown: neither in logs nor by `config print`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What stands for it: empty if it is.
    fn mask(&self) -> &'static str {
        if self.0.is_empty() { "" } else { "(hidden)" }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.mask())
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.mask())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis, shown) in
            [("10s", 10_000, "10s"), ("500ms", 500, "500ms"), ("90s", 90_000, "90s"), ("2 m", 120_000, "2m")]
        {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration, Duration::from_millis(millis));
            assert_eq!(duration.to_string(), shown);
        }
        assert_eq!(Duration::default().to_string(), "0s");
        for (text, fix) in
            [("10", "`10s`"), ("ten", "such as `10s`"), ("10 sec", "ms, s, m, h"), ("", "`10s`")]
        {
            let error = text.parse::<Duration>().unwrap_err();
            assert!(error.fix.contains(fix), "{text}: {error}");
        }
        assert!("99999999999999999999h".parse::<Duration>().is_err());
        assert!("18446744073709551615h".parse::<Duration>().is_err());
    }

    #[test]
    fn sizes() {
        for (text, bytes, shown) in [
            ("32MiB", 32 << 20, "32MiB"),
            ("4096B", 4096, "4KiB"),
            ("1GiB", 1 << 30, "1GiB"),
            ("0B", 0, "0B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.get(), size.to_string().as_str()), (bytes, shown));
        }
        assert!("32MB".parse::<ByteSize>().unwrap_err().fix.contains("B, KiB, MiB, GiB"));
    }

    #[test]
    fn listen_addresses() {
        assert_eq!("none".parse::<Listen>().unwrap(), Listen(None));
        assert_eq!("[::1]:80".parse::<Listen>().unwrap().to_string(), "[::1]:80");
        assert!("localhost".parse::<Listen>().unwrap_err().fix.contains("IP:PORT"));
    }
}
