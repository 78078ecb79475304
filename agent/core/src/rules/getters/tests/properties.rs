//! What holds for any record.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tarsier_abi::syscall::{Call, FileFacts, PartKind, SocketFacts};
use zerocopy::FromBytes;

use super::sample::{Record, World, record};
use crate::event::syscall;
use crate::rules::compare::Value;
use crate::rules::compile::{Compiled, Scratch};
use crate::rules::evaluate::{Event, evaluate};
use crate::rules::event_types;
use crate::rules::facts::{Facts, What};
use crate::rules::fields::{self, Argument as Takes, Kind};
use crate::rules::load::Source;
use crate::rules::ruleset::Ruleset;
use crate::rules::typed::{Argument, FieldRef, Shape};

/// Text as programs pass it, and what no program should.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "(/?(etc|\\.\\.|\\.|tmp|shadow|memfd:x|))(/(shadow|\\.\\.|\\.|x|))?{0,3}"
            .prop_map(String::into_bytes),
        vec(any::<u8>(), 0..12),
    ]
}

fn components() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof!["[a-z]{1,3}\0".prop_map(String::into_bytes), vec(any::<u8>(), 0..4)], 0..4)
        .prop_map(|parts| parts.concat())
}

prop_compose! {
    fn records()(
        call in (0..Call::ALL.len()).prop_map(|place| Call::ALL[place]),
        ret in prop_oneof![-140_i64..8, any::<i64>()],
        numbers in vec(prop_oneof![-101_i64..0o2_000_000, any::<i64>()], 0..7),
        path in option::of((any::<u8>(), text(), option::of((any::<u8>(), components())))),
        path2 in option::of((any::<u8>(), text(), option::of((any::<u8>(), components())))),
        file in option::of((vec(any::<u8>(), size_of::<FileFacts>()), any::<u8>(), components())),
        socket in option::of((vec(any::<u8>(), size_of::<SocketFacts>()), 0..4_u16, 0..4_u16, text())),
        address in option::of((0..12_u8, vec(any::<u8>(), 0..30))),
        data in option::of(text()),
    ) -> (Call, Record) {
        let mut record = record(call, ret, &numbers);
        for (kind, of, part) in [(PartKind::Path, PartKind::Dir, path), (PartKind::Path2, PartKind::Dir2, path2)] {
            if let Some((flags, text, dir)) = part {
                record = record.flagged(kind, flags, &text);
                if let Some((flags, dir)) = dir {
                    record = record.flagged(of, flags, &dir);
                }
            }
        }
        if let Some((facts, flags, path)) = file {
            record = record.part(PartKind::File, &facts).flagged(PartKind::FilePath, flags, &path);
        }
        if let Some((facts, family, kind, name)) = socket {
            let mut facts = SocketFacts::read_from_bytes(&facts).expect("as long as it is");
            facts.family = [0, 1, 2, 10][usize::from(family)];
            facts.kind = kind;
            record = record.socket(facts).part(PartKind::UnixPath, &name);
        }
        if let Some((family, bytes)) = address {
            record = record.part(PartKind::Address, &[&[family, 0], &bytes[..]].concat());
        }
        if let Some(data) = data {
            record = record.part(PartKind::Data, &data);
        }
        (call, record)
    }
}

/// Arguments of all kinds that are taken.
fn arguments() -> impl Iterator<Item = Option<Argument>> {
    let keys = ["flags", "path", "fd", "execve", "/proc", ""].map(|key| Argument::Key(key.to_owned()));
    (0..8).chain([u32::MAX]).map(Argument::Index).chain(keys).map(Some).chain([None])
}

fn values(facts: &Facts<'_>, reference: &FieldRef) -> Vec<String> {
    let mut values = Vec::new();
    facts.visit(reference, &mut |value| {
        let kind = reference.field.kind;
        let fits = match value {
            Value::Text(_) => matches!(kind, Kind::Text | Kind::Path | Kind::Bytes),
            Value::Bool(_) => kind == Kind::Bool,
            Value::Address(_) => matches!(kind, Kind::Address | Kind::Network),
            Value::Number(_) => !matches!(kind, Kind::Text | Kind::Path | Kind::Bytes | Kind::Bool),
        };
        assert!(fits, "{}: {value:?}", reference.field.name);
        values.push(format!("{value:?}"));
    });
    values
}

/// Rules that ask for what is put together, in several ways.
const RULES: &str = "
- rule: a
  desc: a
  condition: (fd.name startswith /etc or fd.directory = /tmp or fd.filename = shadow)
  output: a
  priority: INFO
- rule: b
  desc: b
  condition: not fd.name contains x and (evt.arg.path endswith x or evt.args contains etc)
  output: b
  priority: INFO
- rule: c
  desc: c
  condition: (fd.ip != 1.2.3.4 or fd.port in (80, 443) or fd.net = 10.0.0.0/8 or fd.num < 0)
  output: c
  priority: INFO
- rule: d
  desc: d
  condition: evt.is_open_write = true and proc.aname != sshd and fs.path.target exists
  output: d
  priority: INFO
";

proptest! {
    /// Every field of every event gives what its row says, and the same when it is asked again.
    #[test]
    fn any_record_can_be_asked_for_any_field((call, record) in records(), is_known in any::<bool>()) {
        let bytes = record.bytes();
        let event = syscall::decode(call as u8, &bytes).expect("a record");
        let world = World::new();
        let mut facts = Facts { what: What::Syscall(&event), ..world.facts() };
        if !is_known {
            facts.process = None;
        }
        for (place, field) in fields::all().enumerate() {
            let takes = |argument: &Option<Argument>| argument.is_none() || field.argument != Takes::None;
            for argument in arguments().filter(takes) {
                let reference = FieldRef { field, place: place as u16, argument };
                let first = values(&facts, &reference);
                prop_assert!(reference.shape() != Shape::One || first.len() <= 1, "{}", field.name);
                prop_assert_eq!(&values(&facts, &reference), &first, "{}", field.name);
            }
        }
    }

    #[test]
    fn compiled_rules_match_records_as_by_the_book((call, record) in records()) {
        static SET: LazyLock<(Ruleset, Compiled)> = LazyLock::new(|| {
            let set = Ruleset::load(&[Source { name: "t", text: RULES }]);
            assert!(!set.has_errors(), "{:?}", set.problems);
            let compiled = Compiled::new(&set);
            (set, compiled)
        });
        let (set, compiled) = &*SET;
        let bytes = record.bytes();
        let event = syscall::decode(call as u8, &bytes).expect("a record");
        let world = World::new();
        let facts = Facts { what: What::Syscall(&event), ..world.facts() };
        let kind = event_types::find(call.name()).expect("a type");
        let mut found = Vec::new();
        compiled.matches(kind, &facts, &mut Scratch::default(), |place| {
            found.push(place as usize);
            true
        });
        let other = World::new();
        let facts = Facts { cache: other.facts().cache, ..facts };
        let plain: Vec<usize> =
            (0..set.rules.len()).filter(|place| evaluate(&set.rules[*place].expr, &facts)).collect();
        prop_assert_eq!(found, plain);
    }
}
