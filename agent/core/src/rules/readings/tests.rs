//! Both readings of one event, by table; and that filters pass what matches in either, by chance.

use proptest::prelude::*;
use tarsier_abi::syscall::{ALTERNATIVES, Call, Known, Plan, class};

use super::*;
use crate::event::exec::{PathForm, PathTail};
use crate::event::syscall;
use crate::rules::chance::conditions;
use crate::rules::evaluate::evaluate;
use crate::rules::facts::{Facts, Reading, What};
use crate::rules::getters::tests::sample::{Record, World, record};
use crate::rules::load::Source;
use crate::rules::need::plan;

fn set(condition: &str) -> Ruleset {
    let text = format!(
        "- rule: r\n  desc: d\n  condition: evt.type = openat and ({condition})\n  output: o\n  priority: INFO\n"
    );
    let set = Ruleset::load(&[Source { name: "r.yaml", text: &text }]);
    assert_eq!(set.rules.len(), 1, "{condition}: {:?}", set.problems);
    set
}

/// `written` was opened, which is the file whose components are `own`, the last first.
fn opened(written: &str, own: &str) -> Record {
    record(Call::openat, 3, &[-100, 0, 0, 0]).path(written).file(0o100_644, own.as_bytes())
}

/// Whether the condition is true with the path that was written, and with the kernel's own; none: they are the same.
fn readings(condition: &str, written: &str, own: &str) -> (bool, Option<bool>) {
    let (set, bytes) = (set(condition), opened(written, own).bytes());
    let event = syscall::decode(Call::openat as u8, &bytes).expect("a record");
    let world = World::new();
    let facts = Facts { what: What::Syscall(&event), ..world.facts() };
    let of = |reading| evaluate(&set.rules[0].expr, &Facts { reading, ..facts });
    (of(Reading::Written), facts.has_own_path().then(|| of(Reading::Own)))
}

#[test]
fn a_rule_is_tried_with_one_path_at_a_time() {
    const SHADOW: &str = "shadow\0etc\0";
    let table = [
        ("fd.name = /etc/shadow", "/etc/shadow", SHADOW, (true, None)),
        ("fd.name = /etc/shadow", "/etc/./shadow", SHADOW, (true, None)),
        ("fd.name = /etc/shadow", "/tmp/link", SHADOW, (false, Some(true))),
        ("fd.directory = /etc and fd.filename = shadow", "/tmp/link", SHADOW, (false, Some(true))),
        // One half of it is so of the one path, the other of the other.
        ("fd.directory = /tmp and fd.filename = shadow", "/tmp/link", SHADOW, (false, Some(false))),
        // What an exception lets through under its own name is told under the other, and no name excuses both.
        (
            "fd.name startswith /etc and not fd.name startswith /etc/ssl",
            "/etc/ssl/link",
            SHADOW,
            (false, Some(true)),
        ),
        (
            "fd.name startswith /etc and not fd.name startswith /etc/ssl",
            "/tmp/link",
            "x\0ssl\0etc\0",
            (false, Some(false)),
        ),
        ("not fd.name startswith /usr", "/tmp/link", "x\0usr\0", (true, Some(false))),
        (
            "fd.nameraw contains ../ and fd.name = /etc/shadow",
            "/tmp/link/../shadow",
            SHADOW,
            (false, Some(true)),
        ),
    ];
    for (condition, written, own, expected) in table {
        assert_eq!(readings(condition, written, own), expected, "{condition}: {written} is {own:?}");
    }
}

/// What the kernel side does with an opened file: it passes by the written path or by its own.
fn passes(plan: &Plan, written: &str, own: &[u8]) -> bool {
    let Some(filter) = usize::from(plan.of_call[Call::openat as usize]).checked_sub(1) else { return true };
    let filter = &plan.filters[filter];
    let bits = filter.by_class[class(0, false)];
    let known = |bytes: [u8; 8]| Known { bits: u64::from_le_bytes(bytes), known: u64::MAX };
    let holds = |path: &[u8]| {
        let (mut head, mut tail) = ([0; 8], [0; 8]);
        let len = path.len().min(8);
        head[..len].copy_from_slice(&path[..len]);
        tail[8 - len..].copy_from_slice(&path[path.len() - len..]);
        (0..ALTERNATIVES)
            .any(|place| bits >> place & 1 != 0 && filter.alternatives[place].holds(known(head), known(tail)))
    };
    let is_clean = written.starts_with('/')
        && !written.ends_with(['/', '.'])
        && !written.contains("//")
        && !written.contains("./");
    bits != 0 && (!is_clean || holds(written.as_bytes()) || holds(own))
}

fn leaf() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        "fd.name",
        "fd.nameraw",
        "fs.path.name",
        "fs.path.nameraw",
        "fd.directory",
        "fd.filename",
    ]);
    let operator =
        prop::sample::select(vec!["=", "!=", "startswith", "endswith", "contains", "glob", "pmatch", "in"]);
    let text = prop::sample::select(vec![
        "/etc",
        "/etc/shadow",
        "shadow",
        "/tmp/link",
        "/tmp",
        "link",
        "./",
        "//",
        "x./y",
        "/x./y",
    ]);
    prop_oneof![
        6 => (field, operator, text).prop_map(|(field, operator, text)| match operator {
            "in" | "pmatch" => format!("{field} {operator} ({text}, /a)"),
            _ => format!("{field} {operator} {text}"),
        }),
        1 => prop::sample::select(vec!["evt.is_open_read = true", "proc.name = cat", "fd.num >= 0"]).prop_map(str::to_owned),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    /// What matches in either reading is never dropped in the kernel.
    #[test]
    fn what_matches_in_either_reading_passes(
        condition in conditions(leaf()),
        written in "(/etc|/tmp|/x\\.)?/(shadow|link|y|\\.\\./shadow|x\\./y)",
        own in "((shadow|link|y)\0)((etc|tmp|x\\.)\0)?",
    ) {
        let set = set(&condition);
        let bytes = opened(&written, &own).bytes();
        let event = syscall::decode(Call::openat as u8, &bytes).expect("a record");
        let world = World::new();
        let facts = Facts { what: What::Syscall(&event), ..world.facts() };
        let matches = [Reading::Written, Reading::Own]
            .map(|reading| evaluate(&set.rules[0].expr, &Facts { reading, ..facts }));
        if matches.contains(&true) {
            let path = PathTail::new(own.as_bytes(), PathForm::Absolute).to_bytes();
            prop_assert!(passes(&plan(&of_either(&set)), &written, &path), "{condition}: {written} is {path:?}");
        }
    }
}
