//! Reads rule files.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};
use tarsier_core::rules::load::Source;
use tarsier_core::rules::load::yaml::MAX_BYTES;

/// Rule files in the order in which they are loaded.
#[derive(Clone, Debug, Default)]
pub struct Files {
    files: Vec<(String, String)>,
    /// Files that could not be read, and why.
    pub unread: Vec<String>,
}

impl Files {
    /// As the loader takes them.
    pub fn sources(&self) -> Vec<Source<'_>> {
        self.files.iter().map(|(name, text)| Source { name, text }).collect()
    }

    /// Names this set: SHA-256 of the texts in their order, in hexadecimal.
    pub fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for (_, text) in &self.files {
            hash.update(text);
        }
        hexadecimal(&hash.finalize())
    }

    /// The name of each file, without its folder, and the SHA-256 of its text.
    pub(super) fn digests(&self) -> Vec<(String, String)> {
        let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        self.files.iter().map(|(path, text)| (name(path), hexadecimal(&Sha256::digest(text)))).collect()
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Reads files, and of folders all that end in `.yaml` or `.yml` and hold no tests, in the order of their names. A file that cannot be read
/// is told; the others are read. The error is a path that leads nowhere, or a folder without rule files.
pub fn read(paths: &[PathBuf]) -> anyhow::Result<Files> {
    let mut files = Files::default();
    for path in paths {
        let is_folder = fs::metadata(path).with_context(|| format!("{}", path.display()))?.is_dir();
        if !is_folder {
            files.add(path);
            continue;
        }
        let inside = in_folder(path).with_context(|| format!("{}", path.display()))?;
        if inside.is_empty() {
            bail!("{}: no file here ends in .yaml or .yml", path.display());
        }
        inside.iter().for_each(|path| files.add(path));
    }
    Ok(files)
}

impl Files {
    fn add(&mut self, path: &Path) {
        match text_of(path) {
            Ok(text) => self.files.push((path.display().to_string(), text)),
            Err(error) => self.unread.push(format!("{}: {error:#}", path.display())),
        }
    }
}

fn text_of(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::metadata(path)?.len();
    if bytes > MAX_BYTES as u64 {
        bail!("{bytes} bytes are too many: a rule file has {MAX_BYTES} at most");
    }
    String::from_utf8(fs::read(path)?).context("this is no text")
}

/// Whether a file holds tests of rules (`tarsier rules test`), by its name: those lie beside the rules.
pub fn is_tests(path: &Path) -> bool {
    let name = path.file_name().map_or(&b""[..], std::ffi::OsStr::as_encoded_bytes);
    name.ends_with(b".test.yaml") || name.ends_with(b".test.yml")
}

fn in_folder(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let ends_right = path.extension().is_some_and(|end| end == "yaml" || end == "yml");
        // What begins with a dot is Kubernetes' own, in a mounted ConfigMap.
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if ends_right && !is_hidden && !is_tests(&path) && path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_read_in_order_and_what_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in
            [("b.yaml", "- b"), ("a.yml", "- a"), (".c.yaml", "- c"), ("d.txt", "d"), ("a.test.yaml", "t")]
        {
            fs::write(folder.path().join(name), text).unwrap();
        }
        fs::write(folder.path().join("e.yaml"), b"\xff\xfe").unwrap();
        let large = fs::File::create(folder.path().join("f.yaml")).unwrap();
        large.set_len(10 << 20).unwrap();
        let files = read(&[folder.path().to_owned()]).unwrap();
        let digests = files.digests();
        assert_eq!(digests[0].0, "a.yml");
        // printf -- '- a' | sha256sum
        assert_eq!(digests[0].1, "ae030a32f1f546fde1506fba2565cec128360bfa666150b1982fc59d52e7d8be");
        let names: Vec<_> = files.sources().iter().map(|source| source.text.to_owned()).collect();
        assert_eq!(names, ["- a", "- b"]);
        assert!(
            files.unread[0]
                .ends_with("e.yaml: this is no text: invalid utf-8 sequence of 1 bytes from index 0"),
            "{:?}",
            files.unread
        );
        assert!(files.unread[1].contains("f.yaml: 10485760 bytes are too many"), "{:?}", files.unread);
    }

    #[test]
    fn a_path_that_leads_nowhere_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(&[folder.path().join("x.yaml")]).unwrap_err();
        assert!(format!("{error:#}").contains("x.yaml: No such file"), "{error:#}");
        let error = read(&[folder.path().to_owned()]).unwrap_err();
        assert!(format!("{error:#}").ends_with("no file here ends in .yaml or .yml"), "{error:#}");
    }
}
