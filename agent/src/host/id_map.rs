//! User and group ids of a user namespace, and what the kernel takes them for (user_namespaces(7)).

use std::path::Path;

use tarsier_abi::TaskKey;

/// How the ids of one user namespace are mapped to those of the agent's, which on a node is the initial one: ids in records are
/// of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap {
    /// First id inside, first id outside, how many.
    ranges: Vec<[u32; 3]>,
}

impl IdMap {
    /// Every id is itself.
    pub fn identity() -> Self {
        Self { ranges: vec![[0, 0, u32::MAX]] }
    }

    /// Those of a process: users, and groups. By the `proc` of its PID namespace; what cannot be read is mapped to nothing.
    pub fn of(proc: &Path, task: &TaskKey) -> [Self; 2] {
        ["uid_map", "gid_map"].map(|name| {
            let text = std::fs::read_to_string(proc.join(format!("{}/{name}", task.tgid)));
            Self::parse(&text.unwrap_or_default())
        })
    }

    /// Reads `uid_map` or `gid_map`; a line that is none is left out.
    pub(crate) fn parse(text: &str) -> Self {
        let range = |line: &str| {
            let mut numbers = line.split_whitespace().map(str::parse);
            let mut next = || numbers.next()?.ok();
            Some([next()?, next()?, next()?])
        };
        Self { ranges: text.lines().filter_map(range).collect() }
    }

    /// What an id inside is outside.
    pub fn outside(&self, id: u32) -> Option<u32> {
        self.ranges.iter().find_map(|[inside, outside, count]| {
            let offset = id.checked_sub(*inside).filter(|offset| offset < count)?;
            outside.checked_add(offset)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_mapped_by_ranges() {
        let map = IdMap::parse("         0     100000      65536\n     65536       7   1\nodd\n");
        let ids = [0, 1234, 65_535, 65_536, 65_537, u32::MAX];
        assert_eq!(
            ids.map(|id| map.outside(id)),
            [Some(100_000), Some(101_234), Some(165_535), Some(7), None, None]
        );
        assert_eq!(IdMap::parse("         0          0 4294967295\n"), IdMap::identity());
        assert_eq!(IdMap::identity().outside(1234), Some(1234));
        assert_eq!(IdMap::parse("5 4294967295 9").outside(6), None, "there is no such number");
    }
}
