//! Versions that rule files ask for.

use std::fmt;

/// The version of Falco's engine whose language this is.
pub const ENGINE: Version = Version([0, 63, 0]);
/// The version of Falco's container plugin whose fields are built in.
pub const CONTAINER: Version = Version([0, 6, 0]);

/// Major, minor, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(pub [u32; 3]);

impl Version {
    /// `1.2.3`; what follows the third number after `-` or `+` does not count.
    pub fn of(text: &str) -> Option<Self> {
        let core = text.split(['-', '+']).next()?;
        let mut numbers = core.split('.').map(|part| {
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if is_number { part.parse().ok() } else { None }
        });
        let version = [numbers.next()??, numbers.next()??, numbers.next()??];
        if numbers.next().is_some() { None } else { Some(Self(version)) }
    }

    /// The same, or one number as it was before there were three: 11 is 0.11.0.
    pub fn of_engine(text: &str) -> Option<Self> {
        Self::of(text).or_else(|| text.parse().ok().map(|minor| Self([0, minor, 0])))
    }

    /// Whether this one is what somebody who asks for `required` can work with.
    pub fn serves(self, required: Self) -> bool {
        self.0[0] == required.0[0] && self >= required
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_three_numbers() {
        let table = [
            ("0.57.0", Some([0, 57, 0])),
            ("1.2.3-rc1", Some([1, 2, 3])),
            ("11", None),
            ("1.2", None),
            ("1.2.3.4", None),
            ("1..3", None),
            ("+1.2.3", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(Version::of(text).map(|version| version.0), expected, "{text}");
        }
        assert_eq!(Version::of_engine("11"), Some(Version([0, 11, 0])));
        assert_eq!(Version::of_engine("0.57.0"), Some(Version([0, 57, 0])));
    }

    #[test]
    fn the_same_major_and_no_older() {
        for (required, serves) in
            [([0, 57, 0], true), ([0, 63, 0], true), ([0, 63, 1], false), ([1, 0, 0], false)]
        {
            assert_eq!(ENGINE.serves(Version(required)), serves, "{required:?}");
        }
    }
}
