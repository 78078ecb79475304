//! Tables of conditions: those that mean something, and what is said of the others.

use super::*;
use crate::rules::text::Traced;

fn outcome(text: &str) -> String {
    let traced = Traced::whole(text);
    let shown = |problem: &Problem| {
        let place = &text[problem.span.start as usize..problem.span.end as usize];
        format!("{place:?} {}", problem.message)
    };
    let condition = crate::rules::grammar::parse(&traced).expect(text);
    match check(&condition) {
        Ok((_, warnings)) if warnings.is_empty() => "ok".to_owned(),
        Ok((_, warnings)) => warnings.iter().map(|problem| format!("warning: {}", shown(problem))).collect(),
        Err(problems) => problems.iter().map(shown).collect::<Vec<_>>().join("; "),
    }
}

#[test]
fn conditions_have_a_meaning() {
    let table = [
        "proc.name = cat",
        "proc.name in (cat, '<NA>') or not proc.name exists",
        "fd.num >= 0 and fd.num != -1",
        "user.uid != 4294967295 and user.uid != -1",
        "fd.sport in (80, https, domain)",
        "fd.sip = 10.0.0.1 or fd.sip in (fd00::1)",
        "fd.snet in (10.0.0.0/8, fd00::/8)",
        "evt.is_open_write = true",
        "evt.type in (open, openat) and evt.arg.flags contains O_TMPFILE",
        "evt.arg[0] = x",
        "evt.buffer bcontains cafe01 or evt.buffer contains x",
        "proc.aname = sh or proc.aname[2] in (sh)",
        "proc.cmdline regex 'a.*b'",
        "proc.exepath glob /usr/*",
        "fd.name pmatch (/etc, /usr/*/x)",
        "tolower(proc.name) = cat and len(proc.cmdline) > 100",
        "proc.name = val(proc.pname) and proc.exepath = val(fd.name)",
        "concat(proc.name, ':', user.uid) in (x)",
        "proc.duration < 5000000000",
        "container.privileged = true and container.mount.dest[/proc] exists",
        "proc.cmdline contains anyof (a, b)",
    ];
    for text in table {
        assert_eq!(outcome(text), "ok", "{text}");
    }
}

#[test]
fn what_means_nothing_is_told() {
    let table = [
        ("proc.nmae = x", r#""proc.nmae" there is no field `proc.nmae`"#),
        (
            "proc.nmae = x and fd.nam exists",
            r#""proc.nmae" there is no field `proc.nmae`; "fd.nam" there is no field `fd.nam`"#,
        ),
        ("fd.num contains 3", r#""contains" `contains` does not compare number"#),
        ("evt.is_open_read > 1", r#"">" `>` does not compare true or false"#),
        ("fd.sip startswith 10", r#""startswith" `startswith` does not compare address"#),
        ("proc.name bcontains ff", r#""bcontains" `bcontains` does not compare text"#),
        ("fd.num = 0x1f", r#""0x1f" `0x1f` is no number"#),
        ("fd.num > 1.5", r#""1.5" `1.5` is no number"#),
        ("fd.num in (1, x)", r#""x" `x` is no number"#),
        ("evt.is_open_read = yes", r#""yes" `yes` is no truth"#),
        ("fd.sport = 65536", r#""65536" `65536` is no port"#),
        ("fd.sip = 10.0.0", r#""10.0.0" `10.0.0` is no address"#),
        ("fd.snet = 10.0.0.0/33", r#""10.0.0.0/33" `10.0.0.0/33` is no network"#),
        ("evt.buffer bcontains xyz", r#""xyz" `xyz` is no row of hexadecimal digits"#),
        ("evt.type = opne", r#""opne" there are no events of type `opne`"#),
        ("proc.cmdline regex 'a('", r#""'a('" this is no regular expression: unclosed group"#),
        ("proc.name[2] = x", r#""proc.name[2]" `proc.name` takes no argument"#),
        ("proc.aname[x] = y", r#""proc.aname[x]" `proc.aname` takes a number in brackets"#),
        ("evt.arg = y", r#""evt.arg" `evt.arg` needs a name"#),
        ("proc.name = val(fd.num)", r#""fd.num" this is number, and the left side is text"#),
        (
            "proc.name regex val(proc.pname)",
            r#""proc.pname" `regex` takes a pattern of the rule, and no value of the event"#,
        ),
        (
            "proc.name = val(proc.aname)",
            r#""proc.aname" `proc.aname` can only be compared, since it stands for several values"#,
        ),
        (
            "tolower(fd.sip.name) = x",
            r#""fd.sip.name" `fd.sip.name` can only be compared, since it stands for several values"#,
        ),
        ("tolower(fd.num) = x", r#""fd.num" `tolower` does not take number here"#),
        (
            "proc.pname != <NA>",
            r#"warning: "<NA>" `proc.pname` is not `<NA>` where it is unknown: it has no value"#,
        ),
        (
            "proc.name = proc.pname",
            r#"warning: "proc.pname" this is the text `proc.pname` and not the field"#,
        ),
    ];
    for (text, expected) in table {
        assert_eq!(outcome(text), expected, "{text}");
    }
}
