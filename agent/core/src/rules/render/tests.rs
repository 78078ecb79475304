//! Outputs by example, each as Falco would print it.

use std::collections::HashMap;

use super::*;
use crate::rules::compare::Value;
use crate::rules::format;
use crate::rules::text::Traced;

/// An event that is a table of values by field, argument included.
struct Table(HashMap<&'static str, Vec<Scalar>>);

impl Event for Table {
    fn visit(&self, field: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        self.0.get(key(field, "").as_str()).into_iter().flatten().for_each(|value| with(value.value()));
    }
}

fn event() -> Table {
    let text = |text: &str| Scalar::Text(text.as_bytes().to_vec());
    Table(HashMap::from([
        ("evt.arg.flags", vec![text("O_RDONLY")]),
        ("evt.buffer", vec![Scalar::Text(b"GET /\r\n\xff".to_vec())]),
        ("evt.is_open_read", vec![Scalar::Bool(true)]),
        ("evt.rawres", vec![Scalar::Number(-13)]),
        ("evt.time", vec![text("10:00:00.000000001")]),
        ("evt.time.iso8601", vec![text("2026-11-27T10:00:00.000000001Z")]),
        ("fd.num", vec![Scalar::Number(3)]),
        ("fd.sip", vec![Scalar::Address([10, 0, 0, 1].into())]),
        ("fd.sport", vec![Scalar::Number(443)]),
        ("fd.types", vec![text("file"), text("ipv4")]),
        ("proc.aname[2]", vec![text("sshd")]),
        ("proc.env[PATH]", vec![text("/bin")]),
        ("proc.exepath", vec![text("/usr/bin/cat")]),
        ("proc.name", vec![text("Cat\n")]),
        ("user.name", vec![text("żółć")]),
        ("user.uid", vec![Scalar::Number(0)]),
    ]))
}

fn format(text: &str) -> Format {
    let (format, warnings) = format::parse(&Traced::whole(text)).expect(text);
    assert!(warnings.is_empty(), "{warnings:?}");
    format
}

fn rendered(output: &Output) -> (String, String) {
    let rendered = output.render(&event(), 1_000_000_007);
    let fields = rendered.fields.iter().map(|field| {
        let attribute = field.attribute.map(|attribute| format!("@{attribute}")).unwrap_or_default();
        format!("{}{attribute}={}", field.key, shown_value(&field.value))
    });
    (rendered.message.clone(), fields.collect::<Vec<_>>().join(" "))
}

fn shown_value(value: &OutputValue) -> String {
    match value {
        OutputValue::Absent => "null".to_owned(),
        OutputValue::Text(text) => format!("{text:?}"),
        OutputValue::Number(number) => number.to_string(),
        OutputValue::Bool(value) => value.to_string(),
        OutputValue::List(values) => format!("{:?}", values.iter().map(shown_value).collect::<Vec<_>>()),
    }
}

#[test]
fn messages_and_fields() {
    let table = [
        ("nothing in it", "nothing in it", ""),
        (
            "a (uid=%user.uid name=%proc.name exe=%proc.exe)",
            "a (uid=0 name=Cat\n exe=<NA>)",
            r#"proc.exe@process.command=null proc.name@tarsier.process.comm="Cat\n" user.uid@process.user.id=0"#,
        ),
        // Cut and filled by characters.
        ("[%3user.name][%6user.name][%6proc.exe][%2proc.exe]", "[żół][żółć  ][<NA>  ][<N]", ""),
        ("%tolower(proc.name)|%concat(proc.name, proc.exe)", "cat\n|<NA>", ""),
        ("%basename(proc.exepath) of %len(proc.exepath)", "cat of 12", ""),
        ("%fd.types %fd.sip:%fd.sport %evt.buffer", "(file,ipv4) 10.0.0.1:443 GET /...", ""),
        (
            "%proc.aname[2] %proc.aname[3] %evt.arg.flags %proc.env[PATH] %evt.rawres %evt.is_open_read",
            "sshd <NA> O_RDONLY /bin -13 true",
            r#"evt.arg.flags="O_RDONLY" evt.is_open_read=true evt.rawres=-13 proc.aname[2]="sshd" proc.aname[3]=null proc.env[PATH]@process.environment_variable.PATH="/bin""#,
        ),
        (
            "%evt.time or %evt.time.iso8601",
            "10:00:00.000000001 or 2026-11-27T10:00:00.000000001Z",
            "evt.time=1000000007 evt.time.iso8601=1000000007",
        ),
    ];
    for (text, message, fields) in table {
        let (got, told) = rendered(&Output::new(&format(text)));
        assert_eq!(got, message, "{text}");
        if !fields.is_empty() {
            assert_eq!(told, fields, "{text}");
        }
    }
}

#[test]
fn of_a_transformer_the_fields_it_is_made_from_are_told() {
    let output = Output::new(&format("%tolower(proc.name) %concat(evt.arg.flags, user.name) %proc.name"));
    assert_eq!(
        rendered(&output).1,
        r#"evt.arg.flags="O_RDONLY" proc.name@tarsier.process.comm="Cat\n" user.name@process.user.name="żółć""#
    );
}

#[test]
fn lists_are_told_as_lists_and_a_field_once() {
    let output = Output::new(&format("%fd.types %fd.types %fd.num"));
    assert_eq!(rendered(&output).1, r#"fd.num=3 fd.types=["\"file\"", "\"ipv4\""]"#);
}

#[test]
fn what_is_added() {
    let mut output = Output::new(&format("%proc.name"));
    output.append(&format("uid=%user.uid"));
    let Some(Part::Value { operand: Operand::Field(field), key, .. }) = format("%fd.num").parts.pop() else {
        panic!("a field");
    };
    output.tell(&field, &key);
    output.tell_text("who", format("%user.name/%proc.exe"));
    let (message, fields) = rendered(&output);
    assert_eq!(message, "Cat\n uid=0");
    assert_eq!(
        fields,
        r#"fd.num=3 proc.name@tarsier.process.comm="Cat\n" user.uid@process.user.id=0 who="żółć/<NA>""#
    );
    output.tell_text("fd.num", format("three"));
    assert!(rendered(&output).1.starts_with(r#"fd.num="three" "#));
}

#[test]
fn keys_are_as_they_are_written() {
    for (written, expected) in [
        ("evt.arg.flags", "evt.arg.flags"),
        ("evt.arg[flags]", "evt.arg[flags]"),
        ("proc.env[\"PATH\"]", "proc.env[PATH]"),
        ("proc.aname[2]", "proc.aname[2]"),
    ] {
        let output = Output::new(&format(&format!("%{written}")));
        assert_eq!(output.fields[0].key, expected);
    }
}
