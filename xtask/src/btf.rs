//! `cargo xtask btf`: what the agent looks at of each kernel's type information, into `tests/btf/`. Tests on
//! any machine resolve every field on every kernel of the matrix by it, and fuzzers start from it.
//!
//! Nothing is booted: the types are a section of the kernel that is compressed in its bootable image.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::install::{self, Consent};
use crate::shell::{cargo, run, say, target_dir, workspace};
use crate::{kernels, vm};

/// Where the running kernel shows its types.
const NATIVE: &str = "/sys/kernel/btf/vmlinux";
/// The section of an ELF file that holds them.
const SECTION: &[u8] = b".BTF";

/// Writes every kernel's file anew, then the table of offsets that follows from them.
pub(crate) fn command(consent: Consent) -> Result<()> {
    let folder = workspace().join("tests/btf");
    let whole = target_dir().join("btf");
    for folder in [&folder, &whole] {
        std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    if !install::packages(&install::IMAGES, consent)? {
        bail!("this distribution does not package what unpacks a kernel");
    }
    for kernel in kernels::list()? {
        let types = if kernel.is_guest() {
            match vm::get(consent, &kernel)? {
                Ok(unpacked) => of_image(&unpacked.image, &whole)
                    .with_context(|| format!("the types in {}", unpacked.image.display()))?,
                Err(gap) => bail!("{}: {gap}", kernel.name),
            }
        } else {
            NATIVE.into()
        };
        let path = folder.join(format!("{}.btf", kernel.name));
        let mut reduce = cargo();
        reduce.args(["run", "--locked", "--quiet", "--package", "tarsier", "--example", "reduce_btf", "--"]);
        run(reduce.arg(types).arg(&path))?;
        say(&format!("{}: {} bytes", path.display(), std::fs::metadata(&path)?.len()));
    }
    let mut bless = cargo();
    bless.args([
        "test",
        "--locked",
        "--quiet",
        "--package",
        "tarsier",
        "--lib",
        "the_table_of_layouts_is_fresh",
    ]);
    run(bless.env("TARSIER_BLESS", "1"))
}

/// A file in `folder` with the types of a bootable image.
fn of_image(image: &Path, folder: &Path) -> Result<PathBuf> {
    let bytes = std::fs::read(image)?;
    let payload = payload(&bytes).context("not a bootable image")?;
    let packed = folder.join("payload");
    std::fs::write(&packed, payload)?;
    let program = match payload {
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "zstd",
        [0x02, 0x21, 0x4c, 0x18, ..] => "lz4",
        _ => bail!("compressed in a way that is not known here: {:x?}", &payload[..payload.len().min(6)]),
    };
    // Behind the stream stands the size of what is in it; both programs say that it is no part of it, after
    // they have written the rest.
    let output = Command::new(program).arg("-dcq").arg(&packed).output();
    let kernel = output.with_context(|| format!("starting {program}"))?.stdout;
    let types = section(&kernel, SECTION).context("the kernel holds no types")?;
    ensure!(types.starts_with(&[0x9f, 0xeb]), "its section of types is none");
    let path = folder.join("vmlinux.btf");
    std::fs::write(&path, types)?;
    Ok(path)
}

/// The compressed kernel in a bzImage (Documentation/arch/x86/boot.rst: `setup_sects`, `payload_offset`,
/// `payload_length`).
fn payload(image: &[u8]) -> Option<&[u8]> {
    let word = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    (image.get(0x202..0x206)? == b"HdrS").then_some(())?;
    let sectors = match *image.get(0x1f1)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (sectors + 1) * 512 + word(0x248)?;
    image.get(start..start.checked_add(word(0x24c)?)?)
}

/// The content of a section of a 64-bit little-endian ELF file.
fn section<'a>(elf: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    let long = |at: usize| usize::try_from(u64::from_le_bytes(elf.get(at..at + 8)?.try_into().ok()?)).ok();
    let short = |at: usize| Some(usize::from(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?)));
    let (table, size, count, names) = (long(40)?, short(58)?, short(60)?, short(62)?);
    let content = |index: usize| {
        let header = table + index * size;
        elf.get(long(header + 24)?..)?.get(..long(header + 32)?)
    };
    let names = content(names)?;
    (0..count).find_map(|index| {
        let at = table + index * size;
        let name = u32::from_le_bytes(elf.get(at..at + 4)?.try_into().ok()?) as usize;
        let name = names.get(name..)?.split(|byte| *byte == 0).next()?;
        if name == wanted { content(index) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::{payload, section};

    #[test]
    fn sections_are_found_by_name() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert!(section(&own, b".text").is_some_and(|text| text.len() > 1_000));
        assert_eq!(section(&own, b".tex"), None);
        assert_eq!(section(b"short", b".text"), None);
    }

    #[test]
    fn the_payload_lies_where_the_header_says() {
        let mut image = vec![0_u8; 3_000];
        image[0x1f1] = 1;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x248..0x24c].copy_from_slice(&100_u32.to_le_bytes());
        image[0x24c..0x250].copy_from_slice(&3_u32.to_le_bytes());
        image[1124..1127].copy_from_slice(b"xyz");
        assert_eq!(payload(&image), Some(&b"xyz"[..]));
        image.truncate(1126);
        assert_eq!(payload(&image), None);
    }
}
