//! `/proc/PID/cgroup`: one line per hierarchy a process is in.

/// One line: `hierarchy:controllers:path`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupLine<'a> {
    /// Number of the hierarchy; 0 is v2.
    pub hierarchy: u32,
    /// v1 controllers, separated by commas (`cpu,cpuacct`, `name=systemd`); empty for v2.
    pub controllers: &'a str,
    /// Path from the root of the reader's cgroup namespace; it may hold colons.
    pub path: &'a str,
}

/// Which hierarchy to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy<'a> {
    /// The v2 (unified) one.
    V2,
    /// The v1 one that has this controller (`memory`, `name=systemd`).
    V1(&'a str),
}

/// The lines of such a file; what is no such line is left out.
pub fn lines(file: &str) -> impl Iterator<Item = CgroupLine<'_>> {
    file.lines().filter_map(|line| {
        let (hierarchy, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        // The kernel says so of a zombie whose group was removed; no group can be looked up by it.
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        Some(CgroupLine { hierarchy: hierarchy.parse().ok()?, controllers, path })
    })
}

/// The path in one hierarchy, if the process is in it.
pub fn path_in<'a>(file: &'a str, hierarchy: Hierarchy<'_>) -> Option<&'a str> {
    let wanted = |line: &CgroupLine<'_>| match hierarchy {
        Hierarchy::V2 => line.hierarchy == 0 && line.controllers.is_empty(),
        Hierarchy::V1(controller) => line.controllers.split(',').any(|name| name == controller),
    };
    lines(file).find(wanted).map(|line| line.path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HYBRID: &str = "\
12:memory:/docker/aa
4:cpu,cpuacct:/docker/bb
1:name=systemd:/system.slice/containerd.service/kubepods-podx.slice:cri-containerd:cc
nonsense
0::/unified (deleted)
";

    #[test]
    fn every_hierarchy_is_found_by_name() {
        assert_eq!(path_in(HYBRID, Hierarchy::V2), Some("/unified"));
        assert_eq!(path_in(HYBRID, Hierarchy::V1("memory")), Some("/docker/aa"));
        assert_eq!(path_in(HYBRID, Hierarchy::V1("cpuacct")), Some("/docker/bb"));
        let colons = "/system.slice/containerd.service/kubepods-podx.slice:cri-containerd:cc";
        assert_eq!(path_in(HYBRID, Hierarchy::V1("name=systemd")), Some(colons));
        assert_eq!(path_in(HYBRID, Hierarchy::V1("cpu,cpuacct")), None);
        assert_eq!(path_in("4:memory:/", Hierarchy::V2), None, "v1 only");
        assert_eq!(lines(HYBRID).count(), 4);
    }

    proptest! {
        #[test]
        fn any_text_is_read(file in "(\\PC|[0-9:\n]){0,200}") {
            for line in lines(&file) {
                prop_assert!(file.contains(line.path));
            }
        }
    }
}
