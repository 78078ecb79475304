//! A kernel's unpacked packages: the bootable image, and modules with what they depend on.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A kernel on disk.
pub(crate) struct Unpacked {
    /// The package it came in.
    pub(crate) package: String,
    /// The bootable image.
    pub(crate) image: PathBuf,
    /// Modules in loading order, dependencies first.
    pub(crate) modules: Vec<Module>,
}

/// A kernel module.
pub(crate) struct Module {
    /// Its file's name, without folder and compression.
    pub(crate) file: String,
    /// What the kernel loads.
    pub(crate) bytes: Vec<u8>,
}

impl Unpacked {
    /// Finds the image below `folder`, and `modules` with what they depend on.
    pub(crate) fn open(folder: &Path, modules: &[String]) -> Result<Self> {
        let package = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (mut found, mut image) = (BTreeMap::new(), None);
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = std::fs::read_dir(&folder);
            for entry in entries.with_context(|| format!("reading {}", folder.display()))? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.is_dir() && !path.is_symlink() {
                    folders.push(path);
                } else if name == "vmlinuz" || name.starts_with("vmlinuz-") {
                    image = Some(path);
                } else if let Some(stem) = name.strip_suffix(".xz").unwrap_or(&name).strip_suffix(".ko") {
                    found.insert(stem.replace('-', "_"), path);
                }
            }
        }
        let image = image.with_context(|| format!("no vmlinuz in {package}"))?;
        let mut unpacked = Self { package, image, modules: Vec::new() };
        for name in modules {
            unpacked.add(name, &found).with_context(|| format!("module {name} of {}", unpacked.package))?;
        }
        Ok(unpacked)
    }

    /// Appends a module after the modules it depends on. One that is not a file is built in.
    fn add(&mut self, name: &str, found: &BTreeMap<String, PathBuf>) -> Result<()> {
        let Some(path) = found.get(name) else { return Ok(()) };
        let file = format!("{name}.ko");
        if self.modules.iter().any(|module| module.file == file) {
            return Ok(());
        }
        let bytes = read(path).with_context(|| format!("reading {}", path.display()))?;
        for need in dependencies(&bytes).with_context(|| path.display().to_string())? {
            self.add(&need, found)?;
        }
        self.modules.push(Module { file, bytes });
        Ok(())
    }
}

/// The names in a module's `.modinfo`, a list of NUL-terminated `key=value`s.
fn dependencies(module: &[u8]) -> Result<Vec<String>> {
    let marker = b"\0depends=";
    let start = module.windows(marker.len()).position(|window| window == marker);
    let rest = &module[start.context("no `depends=` in it")? + marker.len()..];
    let end = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
    let names = String::from_utf8_lossy(&rest[..end]).replace('-', "_");
    Ok(names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// A module's file, decompressed.
fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return Ok(std::fs::read(path)?);
    }
    let output = Command::new("xz").arg("-dc").arg(path).output().context("starting xz")?;
    if !output.status.success() {
        bail!("xz: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::Unpacked;

    #[test]
    fn modules_come_after_what_they_depend_on() {
        let folder = std::env::temp_dir().join(format!("tarsier-image-{}", std::process::id()));
        let below = folder.join("lib/modules/9/kernel");
        std::fs::create_dir_all(&below).unwrap();
        std::fs::write(folder.join("vmlinuz-9"), "").unwrap();
        std::fs::write(below.join("top-one.ko"), b"\0depends=mid,base\0").unwrap();
        std::fs::write(below.join("mid.ko"), b"x\0depends=base\0").unwrap();
        std::fs::write(below.join("base.ko"), b"x\0depends=\0").unwrap();
        let names = ["top_one".to_owned(), "base".to_owned(), "built_in".to_owned()];
        let unpacked = Unpacked::open(&folder, &names).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(unpacked.image.ends_with("vmlinuz-9"));
        let order: Vec<_> = unpacked.modules.iter().map(|module| module.file.as_str()).collect();
        assert_eq!(order, ["base.ko", "mid.ko", "top_one.ko"]);
    }
}
