//! What the operators mean: a value of an event against the right side of a comparison.
//!
//! These functions are the definition. The compiled rules are held against them.

use std::cmp::Ordering;
use std::net::IpAddr;

use super::condition::{Operator, Quantifier};
use super::glob;
use super::typed::Network;

/// A value that an event gives. What is not there has none, and makes every comparison false.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Text, a path or bytes.
    Text(&'a [u8]),
    /// A number, port, duration or time.
    Number(i128),
    /// True or false.
    Bool(bool),
    /// An address.
    Address(IpAddr),
}

/// The right side of a comparison, ready to be compared with.
#[derive(Clone, Debug)]
pub enum Pattern {
    /// Text and bytes for all operators but the two below.
    Texts(Vec<Vec<u8>>),
    /// Regular expressions, each for a whole text.
    Regexes(Vec<regex::Regex>),
    /// Paths for `pmatch`.
    Paths(Paths),
    /// Numbers.
    Numbers(Vec<i128>),
    /// Truths.
    Bools(Vec<bool>),
    /// Addresses.
    Addresses(Vec<IpAddr>),
    /// Networks.
    Networks(Vec<Network>),
}

/// Whether a comparison of one value holds. With a quantifier: for that many of the values on the right side.
pub fn holds(
    value: Value<'_>,
    operator: Operator,
    quantifier: Option<Quantifier>,
    pattern: &Pattern,
) -> bool {
    let count = || (0..pattern.len()).filter(|place| holds_at(value, operator, pattern, *place)).count();
    match quantifier {
        Some(Quantifier::OneOf) => count() == 1,
        Some(Quantifier::AllOf) => count() == pattern.len(),
        Some(Quantifier::AnyOf) => count() > 0,
        None => match (operator, pattern) {
            (Operator::Exists, _) => true,
            (Operator::PathMatch, Pattern::Paths(paths)) => {
                matches!(value, Value::Text(text) if paths.contain(text))
            }
            // One value on the right, or membership of a single value on the left.
            _ => (0..pattern.len()).any(|place| holds_at(value, operator, pattern, place)),
        },
    }
}

/// Whether a comparison of a list holds: `in` all of it, `intersects` any of it.
pub fn holds_list(values: &[Value<'_>], operator: Operator, pattern: &Pattern) -> bool {
    let is_in = |value: &Value<'_>| holds(*value, Operator::In, None, pattern);
    match operator {
        Operator::Exists => true,
        Operator::In => values.iter().all(is_in),
        Operator::Intersects => values.iter().any(is_in),
        _ => false,
    }
}

/// A regular expression for a whole text, as `regex` compares it.
pub fn regex(text: &str) -> Result<regex::Regex, regex::Error> {
    regex::Regex::new(&format!("^(?:{text})$"))
}

impl Pattern {
    /// How many values it has.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(values) => values.len(),
            Self::Regexes(values) => values.len(),
            Self::Paths(paths) => paths.patterns.len(),
            Self::Numbers(values) => values.len(),
            Self::Bools(values) => values.len(),
            Self::Addresses(values) => values.len(),
            Self::Networks(values) => values.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One value on the right side.
fn holds_at(value: Value<'_>, operator: Operator, pattern: &Pattern, place: usize) -> bool {
    match (value, pattern) {
        (Value::Text(left), Pattern::Texts(values)) => text(left, operator, &values[place]),
        (Value::Text(left), Pattern::Regexes(values)) => {
            values[place].is_match(&String::from_utf8_lossy(left))
        }
        (Value::Text(left), Pattern::Paths(paths)) => paths.patterns[place].contains(left),
        (Value::Number(left), Pattern::Numbers(values)) => ordered(left.cmp(&values[place]), operator),
        (Value::Bool(left), Pattern::Bools(values)) => ordered(left.cmp(&values[place]), operator),
        (Value::Address(left), Pattern::Addresses(values)) => ordered(left.cmp(&values[place]), operator),
        (Value::Address(left), Pattern::Networks(values)) => {
            values[place].contains(left) != (operator == Operator::NotEqual)
        }
        _ => false,
    }
}

/// Whether an order of two values is what an operator asks for.
pub(super) fn ordered(order: Ordering, operator: Operator) -> bool {
    match operator {
        Operator::Equal | Operator::In | Operator::Intersects => order.is_eq(),
        Operator::NotEqual => order.is_ne(),
        Operator::Less => order.is_lt(),
        Operator::LessOrEqual => order.is_le(),
        Operator::Greater => order.is_gt(),
        Operator::GreaterOrEqual => order.is_ge(),
        _ => false,
    }
}

fn text(left: &[u8], operator: Operator, right: &[u8]) -> bool {
    match operator {
        Operator::Contains | Operator::BContains => memchr::memmem::find(left, right).is_some(),
        Operator::IContains => {
            right.is_empty() || left.windows(right.len()).any(|part| part.eq_ignore_ascii_case(right))
        }
        Operator::StartsWith | Operator::BStartsWith => left.starts_with(right),
        Operator::EndsWith => left.ends_with(right),
        Operator::Glob => glob::matches(right, left, false),
        Operator::IGlob => glob::matches(right, left, true),
        _ => ordered(left.cmp(right), operator),
    }
}

/// Paths that `pmatch` looks for.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    patterns: Vec<PathPattern>,
}

/// One of them: what stands between its slashes.
#[derive(Clone, Debug)]
struct PathPattern(Vec<Vec<u8>>);

impl Paths {
    /// These paths, whose components may be patterns.
    pub fn new<'a>(paths: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self {
            patterns: paths
                .into_iter()
                .map(|path| PathPattern(components(path).map(<[u8]>::to_vec).collect()))
                .collect(),
        }
    }

    /// Whether a path is one of them or below one.
    pub fn contain(&self, path: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| pattern.contains(path))
    }
}

impl PathPattern {
    fn contains(&self, path: &[u8]) -> bool {
        let mut left = components(path);
        self.0
            .iter()
            .all(|pattern| left.next().is_some_and(|component| glob::matches(pattern, component, false)))
    }
}

/// What stands between slashes; several are one, and those at the ends are none.
fn components(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|component| !component.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(values: &[&str]) -> Pattern {
        Pattern::Texts(values.iter().map(|value| value.as_bytes().to_vec()).collect())
    }

    #[test]
    fn texts_are_compared_by_bytes() {
        use Operator as O;
        let table = [
            ("cat", O::Equal, "cat", true),
            ("cat", O::Equal, "Cat", false),
            ("cat", O::NotEqual, "dog", true),
            ("", O::Equal, "", true),
            ("b", O::Less, "c", true),
            ("b", O::GreaterOrEqual, "b", true),
            ("10", O::Less, "9", true),
            ("a cat b", O::Contains, "cat", true),
            ("a CAT b", O::Contains, "cat", false),
            ("a CAT b", O::IContains, "cAt", true),
            ("x", O::IContains, "", true),
            ("", O::IContains, "x", false),
            ("catalog", O::StartsWith, "cat", true),
            ("bobcat", O::EndsWith, "cat", true),
            ("/etc/passwd", O::Glob, "/etc/*", true),
            ("/ETC/passwd", O::Glob, "/etc/*", false),
            ("/ETC/passwd", O::IGlob, "/etc/*", true),
        ];
        for (left, operator, right, expected) in table {
            let found = holds(Value::Text(left.as_bytes()), operator, None, &texts(&[right]));
            assert_eq!(found, expected, "{left} {operator:?} {right}");
        }
    }

    #[test]
    fn sets_and_quantifiers() {
        let cat = Value::Text(b"cat /etc/shadow");
        let contains =
            |quantifier, values: &[&str]| holds(cat, Operator::Contains, Some(quantifier), &texts(values));
        for (values, one, any, all) in [
            (&["cat", "dog"][..], true, true, false),
            (&["cat", "etc"], false, true, true),
            (&["dog"], false, false, false),
            (&[], false, false, true),
        ] {
            let found = (
                contains(Quantifier::OneOf, values),
                contains(Quantifier::AnyOf, values),
                contains(Quantifier::AllOf, values),
            );
            assert_eq!(found, (one, any, all), "{values:?}");
        }
        let name = Value::Text(b"cat");
        assert!(holds(name, Operator::In, None, &texts(&["dog", "cat"])));
        assert!(!holds(name, Operator::In, None, &texts(&[])));
        let list = [Value::Text(b"a"), Value::Text(b"b")];
        for (values, is_in, intersects) in
            [(&["a", "b", "c"][..], true, true), (&["a"], false, true), (&["c"], false, false)]
        {
            let pattern = texts(values);
            assert_eq!(
                (
                    holds_list(&list, Operator::In, &pattern),
                    holds_list(&list, Operator::Intersects, &pattern)
                ),
                (is_in, intersects),
                "{values:?}"
            );
        }
        assert!(
            holds_list(&[], Operator::In, &texts(&[]))
                && !holds_list(&[], Operator::Intersects, &texts(&["a"]))
        );
    }

    #[test]
    fn numbers_addresses_and_networks() {
        let number = |left, operator, right: &[i128]| {
            holds(Value::Number(left), operator, None, &Pattern::Numbers(right.to_vec()))
        };
        assert!(
            number(-1, Operator::Less, &[0])
                && number(3, Operator::In, &[1, 3])
                && !number(3, Operator::NotEqual, &[3])
        );
        let address: IpAddr = "10.1.2.3".parse().unwrap();
        let net = Pattern::Networks(vec![Network::of("10.0.0.0/8").unwrap()]);
        let v6 = Value::Address("fd00::1".parse().unwrap());
        assert!(holds(Value::Address(address), Operator::Equal, None, &net));
        assert!(!holds(Value::Address(address), Operator::NotEqual, None, &net));
        // Of another family: not the same, and so another.
        assert!(!holds(v6, Operator::Equal, None, &net) && holds(v6, Operator::NotEqual, None, &net));
        assert!(holds(v6, Operator::NotEqual, None, &Pattern::Addresses(vec![address])));
    }

    #[test]
    fn paths_are_matched_by_components() {
        let table = [
            ("/etc", "/etc", true),
            ("/etc", "/etc/passwd", true),
            ("/etc/", "/etc", true),
            ("/etc", "/etcetera", false),
            ("/etc/passwd", "/etc", false),
            ("/var/*/run", "/var/x/run/y", true),
            ("/var/*/run", "/var/x/y/run", false),
            ("/usr/l*b", "/usr/lib/x", true),
            ("/", "/anything", true),
            ("/etc", "//etc//passwd", true),
        ];
        for (pattern, path, expected) in table {
            let paths = Paths::new([pattern.as_bytes()]);
            assert_eq!(paths.contain(path.as_bytes()), expected, "{pattern} {path}");
        }
        let several = Pattern::Paths(Paths::new([&b"/bin"[..], b"/usr/bin"]));
        assert!(holds(Value::Text(b"/usr/bin/cat"), Operator::PathMatch, None, &several));
        assert!(!holds(Value::Text(b"/usr/sbin/x"), Operator::PathMatch, None, &several));
    }
}
