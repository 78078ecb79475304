//! `reduce_btf FROM TO`: keeps of a kernel's BTF what the agent looks at. For `cargo xtask btf`.

use tarsier::kernel::{btf::Btf, reduced};

fn main() -> anyhow::Result<()> {
    let paths: Vec<_> = std::env::args_os().skip(1).collect();
    let [from, to] = paths.as_slice() else { anyhow::bail!("reduce_btf FROM TO") };
    Ok(std::fs::write(to, reduced(&Btf::parse(std::fs::read(from)?)?))?)
}
