//! What is told of plans, by table; and that it is what the bits say, by chance.

use proptest::prelude::*;
use tarsier_abi::syscall::{ALTERNATIVES, CLASSES, FILTERS, Known};

use super::*;
use crate::rules::chance::conditions;
use crate::rules::compile::Compiled;
use crate::rules::load::Source;
use crate::rules::need::tests::{leaf, meaning};
use crate::rules::need::{filter, plan};

fn rule(name: &str, condition: &str) -> String {
    format!("- rule: {name}\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n")
}

/// What is told of rules with these conditions, a line for each call; `untested` names their fields.
fn told(conditions: &[&str]) -> String {
    let named = conditions.iter().enumerate().map(|(place, condition)| rule(&format!("r{place}"), condition));
    let text = named.collect::<String>();
    let set = Ruleset::load(&[Source { name: "t", text: &text }]);
    assert!(!set.has_errors(), "{:?}", set.problems);
    let all = explain(&set, &plan(&set));
    let compiled = Compiled::new(&set);
    let asked = Call::ALL.into_iter().filter(|call| kinds(*call).any(|kind| compiled.asks_for(kind)));
    assert!(all.iter().map(|told| told.call).eq(asked), "those that the kernel is asked for");
    let shown = all.into_iter().map(|told| {
        let passes = match &told.passes {
            Passes::Ways(ways) => ways.iter().map(Way::to_string).collect::<Vec<_>>().join(" | "),
            other => format!("{other:?}"),
        };
        let untested = told.untested.iter().map(|untested| {
            let branch = |branch: &Vec<Leaf>| {
                let shown = branch.iter().map(|leaf| {
                    let written = &text[leaf.span.start as usize..leaf.span.end as usize];
                    assert!(written.starts_with(leaf.field));
                    if leaf.is_negated { format!("not {written}") } else { written.to_owned() }
                });
                shown.collect::<Vec<_>>().join(", ")
            };
            let branches: Vec<String> = untested.branches.iter().map(branch).collect();
            format!("\n  r{}: {}", untested.rule, branches.join(" or "))
        });
        format!("{}: {passes}{}\n", told.call.name(), untested.collect::<String>())
    });
    shown.collect()
}

#[test]
fn a_plan_in_words() {
    let table: &[(&[&str], &str)] = &[
        (
            &["evt.type = openat and fd.name = /etc/shadow"],
            "openat: path begins with /etc/sha and ends with c/shadow\n",
        ),
        (
            &[
                "evt.type = openat and evt.is_open_write = true and (fd.name startswith /etc/ or fd.filename = .ssh)",
            ],
            "openat: opened for writing and path begins with /etc/ | opened for writing and path ends with .ssh\n",
        ),
        (
            &["evt.type = openat and evt.is_open_read = true and fd.num >= 0 and fd.name = /a"],
            "openat: opened for reading and succeeded and path begins with /a and ends with /a\n",
        ),
        (
            &["evt.type = openat and evt.res = ENOENT and fd.nameraw contains ../"],
            "openat: failed and path is relative or not clean\n",
        ),
        (
            &[
                "evt.type = openat and fd.name startswith /etc/",
                "evt.type = openat and fd.name = /etc/passwd",
            ],
            "openat: path begins with /etc/\n",
        ),
        (&["evt.type = creat and fd.filename = '?'"], "creat: path ends with \\x3f\n"),
        (
            &["evt.type = dup2 and evt.rawres in (0, 1) and fd.type = ipv6"],
            "dup2: succeeded and IPv6 socket and returned 0 | succeeded and IPv6 socket and returned 1\n",
        ),
        (&["evt.type = mkdir and evt.rawres >= 0 and fd.name = /x"], "mkdir: succeeded\n"),
        // Which rule lets everything pass, and by what.
        (
            &[
                "evt.type = openat and (fd.name = /a or proc.name = cat)",
                "evt.type = openat and fd.name = /b",
            ],
            "openat: ForRules\n  r0: proc.name = cat\n",
        ),
        (
            &["evt.type = openat and proc.name = cat and not user.name = root"],
            "openat: ForRules\n  r0: proc.name = cat, not user.name = root\n",
        ),
        (
            &["evt.type = openat and evt.is_open_write = true and (fd.name = /a or proc.name = cat)"],
            "openat: opened for writing\n  r0: proc.name = cat\n",
        ),
        (
            &[
                "evt.type = connect and (fd.typechar = 4 and (proc.name = a or fd.sip = 1.1.1.1) or fd.sport = 22)",
            ],
            "connect: IP socket\n",
        ),
        (
            &["evt.type = connect and fd.typechar = 4 and fd.sport in (22, 80) and evt.res = EINPROGRESS"],
            "connect: failed and IP socket and peer's port 22 or none and returned EINPROGRESS \
             | failed and IP socket and peer's port 80 or none and returned EINPROGRESS\n",
        ),
        (&["evt.type = socket and evt.arg.domain contains AF_PACKET"], "socket: asked for 17\n"),
        // One that was not made has a kind for Falco all the same.
        (&["evt.type = socket and fd.typechar = '4'"], "socket: ForRules\n  r0: fd.typechar = '4'\n"),
        (
            &["evt.type = ptrace and evt.arg.request in (PTRACE_ATTACH, PTRACE_SEIZE)"],
            "ptrace: asked for 16 | asked for 16902\n",
        ),
        // No number has a word with this in it, and nobody knows the names of peers.
        (&["evt.type = ptrace and evt.arg.request contains x"], "ptrace: \n"),
        (&["evt.type = connect and fd.sip.name = a.b"], "connect: \n"),
        (
            &["evt.type = mkdir and fd.name startswith /etc"],
            "mkdir: ForRules\n  r0: fd.name startswith /etc\n",
        ),
        // Nobody is told of what never matches, or of what is no system call.
        (
            &["evt.type in (openat, setns) and evt.rawres > 0 and evt.type = setns", "evt.type = procexit"],
            "setns: succeeded\n  r0: evt.rawres > 0\n",
        ),
    ];
    for (conditions, expected) in table {
        assert_eq!(told(conditions), *expected, "{conditions:?}");
    }
}

#[test]
fn what_is_too_much_is_named() {
    let letters = |letters: &str| {
        let names: Vec<String> = letters.chars().map(String::from).collect();
        format!("evt.type = openat and fd.name in ({})", names.join(", "))
    };
    let (some, more) = ("abcdefghijklmnopqrstuvwxyz", "ABCDEFG");
    let (one, other) = (letters(some), letters(more));
    assert_eq!(told(&[&one, &other]), "openat: Together\n", "each is filtered alone");
    let all = letters(&format!("{some}{more}"));
    assert_eq!(
        told(&[&all]),
        format!("openat: ForRules\n  r0: {}\n", &all["evt.type = openat and ".len()..])
    );
    // As many filters as there is room for, and one more.
    let calls = Call::ALL.into_iter().filter(|call| {
        matches!(RECIPES[*call as usize].subject(), Subject::Descriptor | Subject::Choice)
            && kinds(*call).count() == 1
    });
    let conditions: Vec<String> = calls
        .take(FILTERS + 1)
        .enumerate()
        .map(|(place, call)| format!("evt.type = {} and evt.rawres = {place}", call.name()))
        .collect();
    let conditions: Vec<&str> = conditions.iter().map(String::as_str).collect();
    let told = told(&conditions);
    assert_eq!(told.lines().filter(|line| line.ends_with(": NoRoom")).count(), 1, "{told}");
    assert_eq!(told.lines().filter(|line| line.contains("returned")).count(), FILTERS, "{told}");
}

/// Whether a path with these ends agrees with what is told of them.
fn agrees(about: &About, path: &[u8]) -> bool {
    let same = |told: &str, bytes: &[u8]| {
        told.len() <= bytes.len() && told.bytes().zip(bytes).all(|(a, b)| a == b'?' || a == *b)
    };
    match about {
        About::Anything => true,
        About::UncleanPath | About::Descriptor { .. } | About::Choice { .. } => false,
        About::Path { begins, ends } => {
            let tail = path.len().saturating_sub(ends.len());
            same(begins, path) && ends.len() <= path.len() && same(ends, &path[tail..])
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn what_is_told_is_what_the_bits_say(
        written in conditions(leaf()),
        path in "/(etc|root|tmp|dev)/(shadow|x|\\.ssh|null|passwd)(\\.pem)?",
        class in 0..CLASSES,
    ) {
        let Some(filter) = filter(Call::openat, &[meaning(&written)]) else { return Ok(()) };
        let bytes = path.as_bytes();
        let (mut head, mut tail) = ([0; 8], [0; 8]);
        let len = bytes.len().min(8);
        head[..len].copy_from_slice(&bytes[..len]);
        tail[8 - len..].copy_from_slice(&bytes[bytes.len() - len..]);
        let known = |word: [u8; 8]| Known { bits: u64::from_le_bytes(word), known: u64::MAX };
        let bits = filter.by_class[class];
        let holds = |alternative: &Alternative| alternative.holds(known(head), known(tail));
        let passes = holds(&filter.in_common[class])
            && (0..ALTERNATIVES).any(|at| bits >> at & 1 != 0 && holds(&filter.alternatives[at]));
        let told = ways(Call::openat, &filter).into_iter().any(|way| {
            way.access.is_none_or(|access| access[class / 2])
                && way.failed.is_none_or(|failed| failed == (class % 2 == 1))
                && agrees(&way.about, bytes)
        });
        prop_assert_eq!(passes, told, "{} {} {}", written, path, class);
    }
}
