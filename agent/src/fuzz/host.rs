//! What is read of the node beside the kernel: files of container runtimes, and of the roots of containers.

use std::cell::LazyCell;
use std::fs;
use std::path::{Path, PathBuf};

use tarsier_core::event::{Accounts, ContainerFacts};

use crate::capture::Frame;
use crate::host::HostConfig;
use crate::host::accounts::keep_of;
use crate::host::containers::{Unknown, find};
use crate::host::id_map::IdMap;

/// The container that all files are about.
const ID: &str = "c0ffee";

/// The files, each of the runtime whose place it is in; below a root.
const FILES: [&str; 7] = [
    "docker/containers/c0ffee/config.v2.json",
    "docker/containers/c0ffee/hostconfig.json",
    "storage/overlay-containers/c0ffee/userdata/config.json",
    "storage/overlay-containers/containers.json",
    "containerd/default/c0ffee/config.json",
    "runc/c0ffee/state.json",
    "bundle/config.json",
];

/// A root that is removed with its thread.
struct Root(PathBuf);

impl Drop for Root {
    fn drop(&mut self) {
        // It is in the folder for what may go at any time.
        drop(fs::remove_dir_all(&self.0));
    }
}

thread_local! {
    static ROOT: LazyCell<Root> = const {
        LazyCell::new(|| {
            let thread = format!("tarsier-fuzz-{}-{:?}", std::process::id(), std::thread::current().id());
            Root(std::env::temp_dir().join(thread))
        })
    };
}

/// State of runtimes, with NUL between [`FILES`]; an empty one is not there. Each runtime's is a container's facts or a
/// reason, and facts are the same again from a capture.
pub(super) fn containers(input: &[u8]) {
    ROOT.with(|root| {
        let mut contents = input.split(|byte| *byte == 0);
        for name in FILES {
            let path = root.0.join(name);
            match contents.next().unwrap_or_default() {
                [] => drop(fs::remove_file(path)),
                bytes => write(&path, bytes),
            }
        }
        let none = HostConfig {
            root: root.0.clone(),
            containerd: Vec::new(),
            docker: Vec::new(),
            storage: Vec::new(),
            runc: Vec::new(),
        };
        for host in [
            HostConfig { docker: vec!["docker".into()], ..none.clone() },
            HostConfig { storage: vec!["storage".into()], ..none.clone() },
            HostConfig { containerd: vec!["containerd".into()], ..none.clone() },
            HostConfig { runc: vec!["runc".into()], ..none },
        ] {
            match find(&host, ID) {
                Ok(facts) => is_kept(&facts),
                Err(unknown @ Unknown::Malformed { .. }) => assert!(unknown.to_string().contains("json")),
                Err(_) => {}
            }
        }
    });
}

fn write(path: &Path, bytes: &[u8]) {
    fs::create_dir_all(path.parent().expect("below the root")).expect("a folder of ours");
    fs::write(path, bytes).expect("a file of ours");
}

fn is_kept(facts: &ContainerFacts) {
    let json = serde_json::to_vec(facts).expect("no map, no other keys than texts");
    let mut bytes = Vec::new();
    let start = Frame::Container { id: ID.as_bytes(), facts: &json }.write_to(&mut bytes);
    assert!(start <= bytes.len());
    let (mut slots, frame) = (Vec::new(), bytes.as_slice());
    let Ok((Frame::Container { facts: read, .. }, [])) = Frame::read_from(frame, &mut slots) else {
        // Longer than a frame may be: it is left out of captures.
        return assert!(json.len() > usize::from(u16::MAX));
    };
    let again: ContainerFacts = serde_json::from_slice(read).expect("it was written");
    assert_eq!(again, *facts);
}

/// `passwd`, `group` and `uid_map` of a container, with NUL between them: nothing is kept but names, numbers, homes and
/// shells, and who somebody is does not change with what was cut away.
pub(super) fn accounts(input: &[u8]) {
    let mut files = input.split(|byte| *byte == 0);
    let mut file = || files.next().unwrap_or_default();
    let (passwd, group, map) = (file(), file(), String::from_utf8_lossy(file()).into_owned());
    let whole = Accounts::parse(passwd, group);
    let kept = keep_of(passwd, group, &[IdMap::identity(), IdMap::identity()]);
    let cut = Accounts::parse(&kept[0], &kept[1]);
    let ids = |text: &[u8]| -> Vec<u32> {
        let third = |line: &[u8]| line.split(|byte| *byte == b':').nth(2).map(<[u8]>::to_vec);
        let number = |id: Vec<u8>| String::from_utf8(id).ok()?.parse().ok();
        text.split(|byte| *byte == b'\n').filter_map(third).filter_map(number).collect()
    };
    // A line that is no text is left out, but for what is cut away of it.
    let is_text = str::from_utf8(passwd).is_ok() && str::from_utf8(group).is_ok();
    for id in ids(passwd).into_iter().filter(|_| is_text) {
        // The highest number is nobody's: the kernel has it for none.
        assert!(id == u32::MAX || cut.user(id) == whole.user(id), "{id}");
    }
    for id in ids(group).into_iter().filter(|_| is_text) {
        assert!(id == u32::MAX || cut.group(id) == whole.group(id), "{id}");
    }
    for line in kept[0].split(|byte| *byte == b'\n') {
        let parts: Vec<_> = line.splitn(7, |byte| *byte == b':').collect();
        let is_cut = |place: usize| parts.get(place).is_none_or(|part| part.is_empty());
        assert!(is_cut(1) && is_cut(3) && is_cut(4), "{}", String::from_utf8_lossy(line));
    }
    let maps = [(); 2].map(|()| IdMap::parse(&map));
    let mapped = keep_of(passwd, group, &maps);
    for id in ids(&mapped[0]) {
        assert!(ids(passwd).iter().any(|inside| maps[0].outside(*inside) == Some(id)), "{id}");
    }
}
