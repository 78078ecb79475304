//! The same rules without any shortcut: every pattern on every argument, every argument before it looked
//! at anew.

use super::super::programs::naive::{is_command_line, secret_start};
use super::*;

pub(super) fn hide(rules: &Rules, argv: &[String], cover: Cover) -> Vec<Vec<u8>> {
    let argv: Vec<&[u8]> = argv.iter().map(String::as_bytes).collect();
    (0..argv.len()).map(|index| argument(rules, &argv, index, cover)).collect()
}

fn argument(rules: &Rules, argv: &[&[u8]], index: usize, cover: Cover) -> Vec<u8> {
    let argument = argv[index];
    let mut out = Vec::new();
    let named = index > 0 && rules.flag.is_match(argv[index - 1]);
    if named && !argument.starts_with(b"-") {
        cover.hide(argument, &mut out);
        return out;
    }
    let assigned = (!is_command_line(argv, index) && rules.assignment.is_match(argument))
        .then(|| argument.iter().position(|byte| *byte == b'=').unwrap() + 1);
    if let Some(start) = secret_start(argv, index).or(assigned) {
        out.extend_from_slice(&argument[..start]);
        cover.hide(&argument[start..], &mut out);
        return out;
    }
    rules.texts.iter().fold(argument.to_vec(), |text, (regex, keep)| {
        regex.replace_all(&text, |captures: &Captures<'_>| replace(captures, *keep, cover)).into_owned()
    })
}
