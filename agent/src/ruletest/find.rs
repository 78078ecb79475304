//! Where tests are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::rules::is_tests;

/// Deepest folder below a named one that is looked into.
const DEPTH: usize = 16;

/// The files of tests: those named, and of folders all in them and below that end in `.test.yaml` or `.test.yml`, by name.
///
/// # Errors
/// A path leads nowhere, or there is no such file.
pub fn find(paths: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        if fs::metadata(path).with_context(|| path.display().to_string())?.is_dir() {
            in_folder(path, DEPTH, &mut found).with_context(|| path.display().to_string())?;
            if found.len() == before {
                bail!("{}: no file here or below ends in .test.yaml or .test.yml", path.display());
            }
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

fn in_folder(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut paths =
        fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        // What begins with a dot is somebody else's: .git, or Kubernetes' in a mounted ConfigMap.
        if path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b".")) {
            continue;
        }
        if path.is_dir() {
            if depth > 0 {
                in_folder(&path, depth - 1, found)?;
            }
        } else if is_tests(&path) {
            found.push(path);
        }
    }
    Ok(())
}
