//! Tables of conditions and events.

use std::collections::HashMap;

use super::*;
use crate::rules::text::Traced;
use crate::rules::{check, grammar, simplify};

/// An event that is a table of texts, numbers and lists by field, argument included.
struct Table(HashMap<&'static str, Vec<Scalar>>);

impl Event for Table {
    fn visit(&self, field: &FieldRef, with: &mut dyn FnMut(Value<'_>)) {
        let name = match &field.argument {
            Some(crate::rules::typed::Argument::Index(index)) => format!("{}[{index}]", field.field.name),
            Some(crate::rules::typed::Argument::Key(key)) => format!("{}[{key}]", field.field.name),
            None => field.field.name.to_owned(),
        };
        self.0.get(name.as_str()).into_iter().flatten().for_each(|value| with(value.value()));
    }
}

fn text(text: &str) -> Vec<Scalar> {
    vec![Scalar::Text(text.as_bytes().to_vec())]
}

fn texts(texts: &[&str]) -> Vec<Scalar> {
    texts.iter().map(|text| Scalar::Text(text.as_bytes().to_vec())).collect()
}

fn number(number: i128) -> Vec<Scalar> {
    vec![Scalar::Number(number)]
}

fn event() -> Table {
    let address = |text: &str| Scalar::Address(text.parse().expect("an address"));
    Table(HashMap::from([
        ("evt.type", text("openat")),
        ("evt.num", number(7)),
        ("evt.arg[flags]", text("O_RDONLY|O_CLOEXEC")),
        ("evt.is_open_read", vec![Scalar::Bool(true)]),
        ("evt.buffer", vec![Scalar::Text(vec![0xca, 0xfe, 0, 1])]),
        ("proc.name", text("cat")),
        ("proc.pname", text("bash")),
        ("proc.exepath", text("/usr/bin/cat")),
        ("proc.args", text("")),
        ("proc.cmdline", text("cat /etc/shadow aGVsbG8=")),
        ("proc.aname", texts(&["bash", "sshd", "systemd"])),
        ("proc.aname[2]", text("sshd")),
        ("fd.name", text("/etc/shadow")),
        ("fd.num", number(3)),
        ("fd.ip", vec![address("10.0.0.1"), address("192.168.1.2")]),
        ("fd.port", vec![Scalar::Number(40_000), Scalar::Number(443)]),
        ("fd.sip", vec![address("192.168.1.2")]),
        ("fd.types", texts(&["file", "ipv4"])),
        ("user.uid", number(0)),
    ]))
}

#[test]
fn conditions_are_true_or_false() {
    let table = [
        ("proc.name = cat and fd.name startswith /etc/", true),
        ("proc.name in (dog, cat) and not proc.pname in (sh)", true),
        ("evt.is_open_read = true and fd.num >= 0", true),
        ("evt.arg.flags contains O_RDONLY", true),
        ("evt.buffer bcontains fe00 and evt.buffer bstartswith cafe", true),
        ("fd.name glob /etc/sh* and fd.name pmatch (/usr, /etc)", true),
        ("proc.cmdline regex '.*shad[a-z]+ .*'", true),
        ("proc.cmdline regex shadow", false),
        // What is missing: every comparison is false, and its negation true.
        ("container.id = host", false),
        ("container.id != host", false),
        ("not container.id = host", true),
        ("container.id exists", false),
        ("not container.id exists", true),
        ("proc.args = '' and proc.args exists", true),
        // Several values at once.
        ("proc.aname = sshd and proc.aname in (x, systemd) and proc.aname startswith ba", true),
        ("proc.aname = cat", false),
        ("proc.aname != sshd", true),
        ("not proc.aname = sshd", false),
        ("proc.aname[2] = sshd and proc.aname[2] != bash", true),
        ("proc.aname[5] != bash", false),
        ("fd.ip = 10.0.0.1 and fd.ip = 192.168.1.2", true),
        ("fd.ip != 10.0.0.1", false),
        ("fd.ip != 10.9.9.9", true),
        ("fd.port = 443 and fd.port > 39999 and fd.port in (https)", true),
        ("fd.types in (file, ipv4, ipv6) and fd.types intersects (ipv4)", true),
        ("fd.types in (file)", false),
        // Other values of the event.
        ("proc.name = val(proc.pname)", false),
        ("proc.exepath endswith val(proc.name)", true),
        ("proc.name in val(proc.aname[9])", false),
        ("not proc.name = val(container.id)", true),
        ("proc.name = basename(proc.exepath)", true),
        // Transformers.
        ("toupper(proc.name) = CAT and len(proc.name) = 3 and len(fd.types) = 2", true),
        ("b64(proc.name) exists", true),
        ("b64(proc.cmdline) exists", false),
        ("join('+', fd.types) = file+ipv4", true),
        ("concat(proc.name, ':', user.uid) = cat:0", true),
        ("concat(proc.name, container.id) exists", false),
        ("proc.cmdline contains anyof (x, shadow) and proc.cmdline contains allof (cat, etc)", true),
        ("proc.cmdline contains oneof (cat, etc)", false),
    ];
    for (condition, expected) in table {
        let traced = Traced::whole(condition);
        let tree = grammar::parse(&traced).expect(condition);
        let (expr, _) = check::check(&tree).expect(condition);
        assert_eq!(evaluate(&expr, &event()), expected, "{condition}");
        assert_eq!(evaluate(&simplify::simplify(&expr).expr, &event()), expected, "simplified: {condition}");
    }
}

#[test]
fn base64_is_decoded_or_is_none() {
    let table = [
        ("aGVsbG8=", Some("hello")),
        ("aGVsbG8", Some("hello")),
        ("aGVsbG9v", Some("helloo")),
        ("", Some("")),
        ("a", None),
        ("aGVs bG8=", None),
        ("====", None),
        ("/+==", Some("\u{ff}")),
    ];
    for (text, expected) in table {
        let expected = match text {
            "/+==" => Some(vec![0xff]),
            _ => expected.map(|text| text.as_bytes().to_vec()),
        };
        assert_eq!(base64(text.as_bytes()), expected, "{text}");
    }
}
