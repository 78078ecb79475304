//! Tables of conditions: what they are, and what is said of those that are none.

use proptest::prelude::*;

use super::*;

fn parsed(text: &str) -> Result<Condition, Box<Problem>> {
    parse(&Traced::whole(text))
}

/// The tree with every pair of parentheses that it stands for.
fn tree(condition: &Condition) -> String {
    let all = |parts: &[Condition]| parts.iter().map(|part| format!(" {}", tree(part))).collect::<String>();
    match &condition.kind {
        Kind::And(parts) => format!("(and{})", all(parts)),
        Kind::Or(parts) => format!("(or{})", all(parts)),
        Kind::Not(inner) => format!("(not {})", tree(inner)),
        Kind::Macro(name) => name.clone(),
        Kind::Check(check) => format!("[{check}]"),
    }
}

#[test]
fn conditions_are_trees() {
    let table = [
        ("spawned", "spawned"),
        ("a and b or c and not d", "(or (and a b) (and c (not d)))"),
        ("a and (b or c)", "(and a (or b c))"),
        ("not not a", "a"),
        ("not not not a", "(not a)"),
        ("not(a or b)and(c)", "(and (not (or a b)) c)"),
        ("a or(b)", "(or a b)"),
        ("a\n  and\n\tb", "(and a b)"),
        ("((a))", "a"),
        ("notable and nothing", "(and notable nothing)"),
        ("not  (a and b)", "(not (and a b))"),
        ("evt.type=open", "[evt.type = open]"),
        ("evt.type == open", "[evt.type = open]"),
        ("fd.num>=0 and fd.num <= -1", "(and [fd.num >= 0] [fd.num <= -1])"),
        ("fd.num < 0x1F", "[fd.num < 0x1F]"),
        ("proc.name exists", "[proc.name exists]"),
        ("(proc.name exists)", "[proc.name exists]"),
        ("proc.name in(a,b)", "[proc.name in (a, b)]"),
        ("proc.name in ()", "[proc.name in ()]"),
        ("proc.name in shells", "[proc.name in (shells)]"),
        ("proc.name in ( a , 'b c',\"d\" )", "[proc.name in (a, \"b c\", \"d\")]"),
        ("proc.args intersects (-V,-l)", "[proc.args intersects (-V, -l)]"),
        ("fd.name pmatch (/etc, /var/*/run)", "[fd.name pmatch (/etc, /var/*/run)]"),
        ("fd.name startswith /etc/", "[fd.name startswith /etc/]"),
        ("fd.name glob '/etc/*'", "[fd.name glob \"/etc/*\"]"),
        ("proc.aname[2] = bash", "[proc.aname[2] = bash]"),
        ("proc.env[\"A B\"] = x", "[proc.env[\"A B\"] = x]"),
        ("container.mount.dest[/proc*] exists", "[container.mount.dest[/proc*] exists]"),
        ("tolower(proc.name) = cat", "[tolower(proc.name) = cat]"),
        ("toupper( b64( evt.arg.data ) ) contains A", "[toupper(b64(evt.arg.data)) contains A]"),
        ("proc.name = val(proc.pname)", "[proc.name = val(proc.pname)]"),
        ("proc.name in val(proc.aname[3])", "[proc.name in val(proc.aname[3])]"),
        ("proc.name = tolower(proc.pname)", "[proc.name = tolower(proc.pname)]"),
        ("join(\",\", fd.types) contains ipv4", "[join(\",\", fd.types) contains ipv4]"),
        ("concat(fd.rip, ':', fd.rport) in ('a:1')", "[concat(fd.rip, \":\", fd.rport) in (\"a:1\")]"),
        ("getopt(proc.args, 'n:')[n] = 3", "[getopt(proc.args, \"n:\")[n] = 3]"),
        ("len(proc.cmdline) > 100", "[len(proc.cmdline) > 100]"),
        ("proc.cmdline contains anyof (a, b)", "[proc.cmdline contains anyof (a, b)]"),
        ("proc.cmdline contains anyof", "[proc.cmdline contains anyof]"),
        ("evt.buffer bcontains cafe", "[evt.buffer bcontains cafe]"),
        (r#"a.b = "\x41\/\n""#, "[a.b = \"A/\\n\"]"),
        (r#"a.b = "say \"x\"""#, "[a.b = \"say \\x22x\\x22\"]"),
        (r"a.b = '\ '", "[a.b = \"\\x5c\"]"),
        ("a.b = \"it's\"", "[a.b = \"it's\"]"),
        // What follows a bare value at once belongs to it, but for what a value cannot hold.
        ("a.b[\u{1f}x] = c", "[a.b[\u{1f}x] = c]"),
        ("a.b = c\0", "ERROR a condition cannot hold a NUL byte"),
        ("a.b = c)", "ERROR this `)` closes nothing"),
    ];
    for (text, expected) in table {
        let found = match parsed(text) {
            Ok(condition) => tree(&condition),
            Err(problem) => format!("ERROR {}", problem.message),
        };
        assert_eq!(found, expected, "{text}");
    }
}

/// What is wrong, what the caret is under, and the advice.
#[test]
fn mistakes_have_a_place() {
    let table = [
        ("", "the condition is empty", "", ""),
        ("  ", "the condition is empty", "  ", ""),
        ("a and", "a blank or `(` is missing after `and`", "d", ""),
        ("a and ", "a condition is missing at the end", "", ""),
        ("a b", "`and` or `or` is missing here", "b", ""),
        ("a && b", "`and` or `or` is missing here", "&", "write `and`"),
        ("a || b", "`and` or `or` is missing here", "|", "write `or`"),
        ("!a", "a field, a macro or `(` is missing here", "!", "write `not`"),
        ("(a or b", "this `(` is never closed", "(", ""),
        ("a)", "this `)` closes nothing", ")", ""),
        ("(a b)", "`and` or `or` is missing here", "b", ""),
        ("proc.name", "an operator is missing", "e", "one of exists"),
        ("proc.name is cat", "`is` is no operator", "is", "one of exists"),
        ("proc.name containsx a", "`containsx` is no operator", "containsx", "one of exists"),
        ("proc.name =", "a value is missing after `=`", "=", ""),
        ("proc.name = (a, b)", "`=` takes one value and no list", "(", "`in (…)`"),
        ("proc.name in (a b)", "a comma or `)` is missing in the list", "b", ""),
        ("proc.name in (a, )", "a value is missing after the comma", ")", ""),
        ("proc.name in (a, b", "this list is never closed", "(", ""),
        ("proc.name in 'a'", "a list is missing after `in`", "'", "write `in (a, b)`"),
        ("fd.num > x", "a number is missing after `>`", "x", ""),
        ("a.b = 'x", "this string is never closed", "'", ""),
        (r"a.b = 'x\'", "this string is never closed", "'", ""),
        (r#"a.b = "\q""#, "`\\q` is no escape", "\\q", "escapes are"),
        (r#"a.b = "\'""#, "`\\'` is no escape", "\\'", "escapes are"),
        (r#"a.b = "\x4""#, "`\\x` needs two hexadecimal digits", "\\x", "escapes are"),
        (r#"a.b = "\x00""#, "a string cannot hold a NUL byte", "\\x", "escapes are"),
        (r#"a.b = "\xff""#, "`\\x` stands for one byte of ASCII", "\\x", "escapes are"),
        ("proc.aname[] = x", "an argument is missing after `[`", "]", ""),
        ("proc.aname[2 = x", "a `]` is missing after the argument", "", ""),
        ("val(a.b) = x", "`and` or `or` is missing here", "(", ""),
        ("a.b = val(c)", "`val` takes a field", "c", ""),
        ("a.b = val(c.d, e.f)", "`val` takes one field: a `)` is missing", ",", ""),
        ("tolower() = x", "`tolower` takes a field or another transformer", ")", ""),
        ("tolower(a.b, c.d) = x", "`tolower` takes 1 argument and has 2", "tolower(a.b, c.d)", ""),
        ("join(',') = x", "`join` takes 2 arguments and has 1", "join(',')", ""),
        ("tolower('x') = x", "`tolower` takes a field or another transformer", "'", ""),
    ];
    for (text, message, place, help) in table {
        let problem = parsed(text).expect_err(text);
        let shown = &text[problem.span.start as usize..problem.span.end as usize];
        assert_eq!((problem.message.as_str(), shown), (message, place), "{text}");
        let said = problem.help.unwrap_or_default();
        assert!(said.starts_with(help) && said.is_empty() == help.is_empty(), "{text}: {said}");
    }
}

#[test]
fn nesting_has_an_end() {
    let nested = |depth: usize| format!("{}a{}", "(".repeat(depth), ")".repeat(depth));
    parsed(&nested(MAX_DEPTH as usize)).expect("as deep as allowed");
    let problem = parsed(&nested(100_000)).expect_err("too deep");
    assert_eq!(problem.message, "more than 100 parentheses inside each other");
}

/// Words that mean something, so that random text gets beyond the first one.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "and",
            "or",
            "not",
            "(",
            ")",
            "in",
            "=",
            "!=",
            ">=",
            "contains",
            "exists",
            "pmatch",
            "a",
            "proc.name",
            "fd.num",
            "tolower(",
            "val(",
            "join(",
            ",",
            "'x'",
            "\"y z\"",
            "12",
            "-3",
            "[2]",
            "anyof",
            "\\",
            "'",
            "é",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,6}",
    ]
}

proptest! {
    /// Any text is a condition or a mistake with a place inside it; a condition printed is the same again.
    #[test]
    fn total_and_printable(words in proptest::collection::vec(word(), 0..24), glue in "[ \n]?") {
        let text = words.join(&glue);
        match parsed(&text) {
            Ok(condition) => {
                let printed = condition.to_string();
                let again = parsed(&printed).map_err(|problem| format!("{printed}: {problem:?}"));
                prop_assert_eq!(again.map(|again| tree(&again)), Ok(tree(&condition)));
            }
            Err(problem) => prop_assert!(problem.span.end as usize <= text.len(), "{problem:?}"),
        }
    }
}
