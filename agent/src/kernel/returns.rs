//! System calls told by the return of their own functions: one program for each function, all of which go on to one.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd as _;

use aya::Ebpf;
use aya::maps::ProgramArray;
use aya::programs::fexit::FExitLink;
use aya::programs::{FExit, Program, ProgramFd};
use rustc_hash::FxHashSet;
use tarsier_abi::syscall::{Call, RETURNED};

use super::calls::{first_function, functions};
use super::info::{ProgramStats, program_stats};
use super::refusal::{chain, refusal};

/// The program at every function.
pub(super) const AT_RETURN: &str = "syscall_fexit";
/// What tells which functions there are.
const SYMBOLS: &str = "/proc/kallsyms";

/// Programs in place.
#[derive(Default)]
pub(super) struct Returns {
    /// By function.
    placed: BTreeMap<String, Return>,
    /// Functions that this kernel has not.
    absent: FxHashSet<String>,
    /// What was counted of programs that are no longer there.
    gone: ProgramStats,
}

/// One of them. It runs while the link is held; its descriptor is for what the kernel counts of it.
struct Return {
    _link: FExitLink,
    program: ProgramFd,
}

impl Returns {
    /// Puts programs in place for what of these calls has none yet.
    ///
    /// # Errors
    /// The kernel refuses one, or does not say which functions it has: what was there before is still in place.
    pub(super) fn add(&mut self, ebpf: &mut Ebpf, calls: &[Call], btf: &aya::Btf) -> Result<(), String> {
        let unknown: Vec<String> = calls
            .iter()
            .flat_map(|&call| functions(call))
            .filter(|function| !self.placed.contains_key(function) && !self.absent.contains(function))
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let symbols =
            File::open(SYMBOLS).and_then(|file| among(BufReader::with_capacity(1 << 16, file), &unknown));
        let present = symbols.map_err(|error| format!("{SYMBOLS}: {error}"))?;
        let (missing, absent): (Vec<_>, Vec<_>) =
            unknown.into_iter().partition(|function| present.contains(function));
        self.absent.extend(absent);
        if missing.is_empty() {
            return Ok(());
        }
        if self.placed.is_empty() {
            go_on(ebpf, btf)?;
        }
        let mut added = BTreeMap::new();
        for function in missing {
            // The kernel lets programs go on to each other only if they are for functions of one type, and has several that
            // are the same but for the names of their arguments. Of those the whole program is loaded.
            let one = place(ebpf, AT_RETURN, &function, btf)
                .or_else(|_| place(ebpf, RETURNED, &function, btf))
                .map_err(|error| format!("{function}: {}", refusal(RETURNED, &error)))?;
            added.insert(function, one);
        }
        self.placed.append(&mut added);
        Ok(())
    }

    /// Takes away what is for none of these calls.
    pub(super) fn keep(&mut self, calls: &[Call]) {
        let wanted: FxHashSet<String> = calls.iter().flat_map(|&call| functions(call)).collect();
        for (_, gone) in self.placed.extract_if(.., |function, _| !wanted.contains(function)) {
            add(&mut self.gone, gone.stats());
        }
    }

    /// What the kernel counts of all of them together, those that were taken away included; the verifier's count is that of one.
    pub(super) fn stats(&self) -> ProgramStats {
        let mut sum = self.gone;
        self.placed.values().for_each(|one| add(&mut sum, one.stats()));
        sum
    }
}

impl Return {
    fn stats(&self) -> ProgramStats {
        program_stats(self.program.as_fd()).unwrap_or_default()
    }
}

fn add(sum: &mut ProgramStats, one: ProgramStats) {
    *sum = ProgramStats {
        id: one.id,
        run_time_ns: sum.run_time_ns + one.run_time_ns,
        run_count: sum.run_count + one.run_count,
        recursion_misses: sum.recursion_misses + one.recursion_misses,
        verified_instructions: one.verified_instructions,
    };
}

/// Loads what they go on to; it runs at no function, the map holds it. The map has its type from the first program that was loaded
/// with it: the one that was to tell whether the kernel gives such hooks.
fn go_on(ebpf: &mut Ebpf, btf: &aya::Btf) -> Result<(), String> {
    let program = program(ebpf, RETURNED)?;
    // It fails only for a program that is not loaded.
    drop(program.unload());
    program.load(&first_function(), btf).map_err(|error| refusal(RETURNED, &chain(&error)))?;
    let fd = program.fd().and_then(|fd| Ok(fd.try_clone()?)).map_err(|error| chain(&error))?;
    let map = ebpf.map_mut("ON_RETURN").ok_or("the object has no map ON_RETURN")?;
    let set = ProgramArray::try_from(map).and_then(|mut map| map.set(0, &fd, 0));
    set.map_err(|error| chain(&error))
}

/// Gives back what they would have gone on to: another hook is taken.
pub(super) fn give_back(ebpf: &mut Ebpf) {
    if let Some(Ok(mut map)) = ebpf.map_mut("ON_RETURN").map(ProgramArray::try_from) {
        // It fails only if nothing is there.
        drop(map.clear_index(&0));
    }
    for name in [AT_RETURN, RETURNED] {
        if let Ok(program) = program(ebpf, name) {
            // As above.
            drop(program.unload());
        }
    }
}

/// Loads a program for a function and attaches it. The object has one, which is free again for the next: the link holds what
/// was loaded.
fn place(ebpf: &mut Ebpf, name: &str, function: &str, btf: &aya::Btf) -> Result<Return, String> {
    let program = program(ebpf, name)?;
    let mut place = || {
        // As above.
        drop(program.unload());
        program.load(function, btf)?;
        let link = program.attach()?;
        Ok::<_, aya::programs::ProgramError>(Return {
            _link: program.take_link(link)?,
            program: program.fd()?.try_clone()?,
        })
    };
    place().map_err(|error| chain(&error))
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut FExit, String> {
    match ebpf.program_mut(name) {
        Some(Program::FExit(program)) => Ok(program),
        _ => Err(format!("the object has no program {name}")),
    }
}

/// Which of these functions a list of symbols has. That a function has no types does not mean that there is none, so types are
/// not asked.
fn among(mut symbols: impl BufRead, functions: &[String]) -> std::io::Result<FxHashSet<String>> {
    let wanted: FxHashSet<&[u8]> = functions.iter().map(String::as_bytes).collect();
    let mut found = FxHashSet::default();
    let mut line = Vec::new();
    while symbols.read_until(b'\n', &mut line)? != 0 {
        // Address, kind, name.
        let name = line.trim_ascii().split(|byte| *byte == b' ').nth(2).unwrap_or_default();
        if wanted.contains(name) {
            found.insert(String::from_utf8_lossy(name).into_owned());
        }
        line.clear();
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_functions_that_the_kernel_has_get_a_program() {
        let symbols = b"0 T __x64_sys_openat\n0 t __x64_sys_openat2\tx\nffff W __x64_sys_setuid\n\n0 T\n";
        let wanted: Vec<String> =
            [Call::openat, Call::openat2, Call::setuid].into_iter().flat_map(functions).collect();
        let found = among(&symbols[..], &wanted).unwrap();
        assert_eq!(found, ["__x64_sys_openat", "__x64_sys_setuid"].map(str::to_owned).into_iter().collect());
    }

    #[test]
    fn a_call_has_the_names_that_kernels_give_it() {
        let of = |call| functions(call).collect::<Vec<_>>();
        assert_eq!(of(Call::umount2)[0], "__x64_sys_umount");
        assert_eq!(of(Call::vfork), ["__do_sys_vfork"]);
        assert!(of(Call::setuid).contains(&"__ia32_sys_setuid16".to_owned()));
        assert!(of(Call::openat).contains(&"__ia32_compat_sys_openat".to_owned()));
    }
}
