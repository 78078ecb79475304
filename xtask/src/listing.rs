//! Reads a disassembly of the eBPF object: size and stack of every program, and what must not be there.

use std::collections::BTreeMap;

/// Stack that one function may use, in bytes. The kernel gives a chain of calls 512 in all.
const STACK_LIMIT: u32 = 400;

/// Functions whose call means a byte-by-byte loop, or a way that cannot be verified.
const BANNED: [&str; 5] = ["memset", "memcpy", "memmove", "memcmp", "__multi3"];

/// One function of the object.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) section: String,
    /// In instruction slots of 8 bytes, as the kernel counts them.
    pub(crate) instructions: u64,
    /// Deepest stack offset used, in bytes.
    pub(crate) stack: u32,
    pub(crate) calls: Vec<String>,
}

/// Every function of `llvm-objdump -dr`'s output, by symbol.
pub(crate) fn parse(text: &str) -> BTreeMap<String, Function> {
    let mut functions: BTreeMap<String, Function> = BTreeMap::new();
    let (mut section, mut name) = (String::new(), String::new());
    let mut starts: BTreeMap<(String, u64), String> = BTreeMap::new();
    let mut local_calls: Vec<(String, String, u64)> = Vec::new();
    let mut frame_copy = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("Disassembly of section ") {
            section = rest.trim_end_matches(':').to_owned();
        } else if let Some((address, symbol)) = symbol_line(line) {
            name = symbol.to_owned();
            starts.insert((section.clone(), address / 8), name.clone());
            functions.insert(name.clone(), Function { section: section.clone(), ..Function::default() });
        } else if let (Some(function), Some(line)) = (functions.get_mut(&name), Line::parse(line)) {
            match line {
                Line::Relocation(symbol) => function.calls.push(symbol.to_owned()),
                Line::Instruction { index, raw, text } => {
                    function.instructions += if raw.starts_with("18 ") { 2 } else { 1 };
                    function.stack = function.stack.max(stack_offset(text, &mut frame_copy));
                    // 85 with source register 1: a call inside the object, relative to the next slot.
                    if let Some(by) = raw.strip_prefix("85 10 00 00 ").and_then(immediate) {
                        let target = index.wrapping_add(1).wrapping_add_signed(i64::from(by));
                        local_calls.push((name.clone(), section.clone(), target));
                    }
                }
            }
        }
    }
    for (caller, section, target) in local_calls {
        // A call across sections has a relocation, which was noted by name.
        if let (Some(callee), Some(function)) = (starts.get(&(section, target)), functions.get_mut(&caller)) {
            function.calls.push(callee.clone());
        }
    }
    functions.retain(|symbol, _| !BANNED.contains(&symbol.as_str()));
    functions
}

/// What must not be in an object, one sentence each.
pub(crate) fn faults(functions: &BTreeMap<String, Function>) -> Vec<String> {
    let mut faults = Vec::new();
    for (name, function) in functions {
        if name.contains("panicking") {
            faults.push(format!("a panic can be reached ({name}): use get() or a mask instead of an index"));
        }
        for callee in function.calls.iter().filter(|callee| BANNED.contains(&callee.as_str())) {
            faults.push(format!("{name} calls {callee}: copy or clear fewer than 1024 bytes, in u64 words"));
        }
        if function.stack > STACK_LIMIT {
            faults.push(format!(
                "{name} uses {} bytes of stack, limit {STACK_LIMIT}: use the scratch map",
                function.stack
            ));
        }
    }
    faults
}

enum Line<'a> {
    Instruction { index: u64, raw: &'a str, text: &'a str },
    Relocation(&'a str),
}

impl<'a> Line<'a> {
    /// `      11:<TAB>bf 14 …<TAB>r4 = r1`, or `<TAB><TAB>0048:  R_BPF_64_32<TAB>memset`.
    fn parse(line: &'a str) -> Option<Self> {
        let (index, rest) = line.split_once(':')?;
        if let Some((_, relocation)) = rest.split_once("R_BPF_64_") {
            return Some(Self::Relocation(relocation.split_once('\t')?.1.trim()));
        }
        let (raw, text) = rest.trim_start().split_once('\t')?;
        Some(Self::Instruction { index: index.trim().parse().ok()?, raw, text })
    }
}

/// `0000000000000138 <memcpy>:`
fn symbol_line(line: &str) -> Option<(u64, &str)> {
    let (address, rest) = line.split_once(" <")?;
    Some((u64::from_str_radix(address, 16).ok()?, rest.strip_suffix(">:")?))
}

/// The four little-endian bytes of an instruction's immediate.
fn immediate(raw: &str) -> Option<i32> {
    let mut bytes = [0u8; 4];
    for (byte, text) in bytes.iter_mut().zip(raw.split_whitespace()) {
        *byte = u8::from_str_radix(text, 16).ok()?;
    }
    Some(i32::from_le_bytes(bytes))
}

/// How far below the frame this instruction reaches: `*(u64 *)(r10 - 0x28) = r2`, or `r3 += -0x28`
/// right after `r3 = r10`; `frame_copy` remembers that register between the two.
fn stack_offset(text: &str, frame_copy: &mut String) -> u32 {
    let hex = |digits: &str| {
        let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
        u32::from_str_radix(&digits[..end], 16).unwrap_or(0)
    };
    if let Some((_, offset)) = text.split_once("(r10 - 0x") {
        return hex(offset);
    }
    if let Some(register) = text.strip_suffix(" = r10") {
        register.clone_into(frame_copy);
    } else if let Some((register, offset)) = text.split_once(" += -0x")
        && register == frame_copy
    {
        return hex(offset);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::{faults, parse};

    /// From `llvm-objdump -dr` of a program that clears 3,200 bytes, indexes an array unchecked and
    /// calls a function of its own.
    const LISTING: &str = "
Disassembly of section .text:

0000000000000000 <sub>:
       0:\tb7 02 00 00 00 00 00 00\tr2 = 0x0
       1:\t7b 2a b0 fe 00 00 00 00\t*(u64 *)(r10 - 0x1b0) = r2
       2:\t85 10 00 00 01 00 00 00\tcall 0x1
       3:\t95 00 00 00 00 00 00 00\texit

0000000000000020 <memset>:
       4:\t95 00 00 00 00 00 00 00\texit

Disassembly of section tp_btf/x:

0000000000000000 <leave>:
       0:\t18 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00\tr1 = 0x0 ll
\t\t0000000000000000:  R_BPF_64_64\tEVENTS
       2:\tbf a2 00 00 00 00 00 00\tr2 = r10
       3:\t07 02 00 00 d8 ff ff ff\tr2 += -0x28
       4:\t85 10 00 00 ff ff ff ff\tcall -0x1
\t\t0000000000000020:  R_BPF_64_32\tmemset
       5:\t95 00 00 00 00 00 00 00\texit

Disassembly of section .text.unlikely.:

0000000000000000 <_RN4core9panicking18panic_bounds_check>:
       0:\t85 10 00 00 00 00 00 00\tcall 0x0
";

    #[test]
    fn sizes_and_stack_are_counted_in_the_kernels_units() {
        let functions = parse(LISTING);
        assert_eq!((functions["leave"].instructions, functions["leave"].stack), (6, 0x28));
        assert_eq!((functions["sub"].instructions, functions["sub"].stack), (4, 0x1b0));
        assert!(!functions.contains_key("memset"), "compiler-builtins are no programs of ours");
    }

    #[test]
    fn every_kind_of_fault_is_found() {
        let faults = faults(&parse(LISTING)).join("\n");
        for part in ["leave calls memset", "sub calls memset", "a panic can be reached", "432 bytes of stack"]
        {
            assert!(faults.contains(part), "{part} not in:\n{faults}");
        }
    }
}
