//! What filters say, by table; and that what a rule matches passes them, by chance.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tarsier_abi::syscall::{Address, Known, PartKind, SocketFacts, WRITES, part_flag};

use super::*;
use crate::event::syscall;
use crate::rules::chance::conditions;
use crate::rules::evaluate::evaluate;
use crate::rules::facts::{Facts, What};
use crate::rules::getters::tests::sample::{Record, World, record};
use crate::rules::load::Source;
use crate::rules::stated::tests::{of_facts, stated};
use crate::rules::text::Traced;
use crate::rules::{check, grammar};

pub(super) fn meaning(text: &str) -> Expr {
    let condition = grammar::parse(&Traced::whole(text)).expect(text);
    simplify(&check::check(&condition).expect(text).0).expr
}

/// The alternatives of a filter: classes, head and tail, as text.
fn shown(call: Call, condition: &str) -> String {
    let Some(filter) = filter(call, &[meaning(condition)]) else { return "everything".to_owned() };
    let text = |bits: u64, mask: u64| -> String {
        let bytes = bits.to_le_bytes().into_iter().zip(mask.to_le_bytes());
        bytes.filter(|(_, mask)| *mask != 0).map(|(byte, _)| char::from(byte)).collect()
    };
    let all = filter.alternatives.iter().enumerate().filter_map(|(place, alternative)| {
        let classes: String =
            (0..CLASSES)
                .map(|class| {
                    if filter.by_class[class] >> place & 1 != 0 { "rRwWbBxX".as_bytes()[class] } else { b'-' }
                })
                .map(char::from)
                .collect();
        let Alternative { head, head_mask, tail, tail_mask } = *alternative;
        (classes != "--------")
            .then(|| format!("{classes} {}…{}", text(head, head_mask), text(tail, tail_mask)))
    });
    all.collect::<Vec<_>>().join(", ")
}

#[test]
fn conditions_become_heads_and_tails() {
    // Reading, writing, both, neither; capitals: it failed.
    let table = [
        ("fd.name = /etc/shadow", "rRwWbBxX /etc/sha…c/shadow"),
        ("fd.name in (/etc/a, /b)", "rRwWbBxX /etc/a…/etc/a, rRwWbBxX /b…/b"),
        ("fd.name startswith /root/.ssh", "rRwWbBxX /root/.s…"),
        ("fd.directory = /etc", "rRwWbBxX /etc/…"),
        ("fd.filename = id_rsa", "rRwWbBxX …id_rsa"),
        ("fd.name endswith .pem and fd.directory = /tmp", "rRwWbBxX /tmp/….pem"),
        ("fd.name glob /proc/*/environ", "rRwWbBxX /proc…/environ"),
        ("fd.name glob /etc/[a-z]*", "rRwWbBxX /etc…"),
        ("fd.name glob '/a/*.p?m'", "rRwWbBxX /a…m"),
        ("fd.name pmatch (/var/run/)", "rRwWbBxX /var/run…"),
        ("fd.name pmatch (var/run)", "everything"),
        ("fd.directory pmatch (//var/run)", "everything"),
        ("fd.name = /a and fd.name = /b", ""),
        ("evt.is_open_read = true and fd.name = /a", "rR--bBxX /a…/a"),
        ("evt.is_open_write = true and fd.num >= 0 and fd.name = /a", "--w-b-x- /a…/a"),
        ("fd.num = -1 and fd.name = /a", "-R-W-B-X /a…/a"),
        ("evt.res startswith E and fd.name = /a", "-R-W-B-X /a…/a"),
        ("evt.is_open_write = true", "--wWbBxX …"),
        ("fd.nameraw contains ../ and fd.name = /a", "rRwWbBxX \0…"),
        ("fd.nameraw = a and fd.name = /x/a", "rRwWbBxX \0…"),
        ("fd.nameraw startswith /tmp and fd.name = /a", "rRwWbBxX \0…"),
        ("fd.nameraw startswith /tmp", "rRwWbBxX /tmp…, rRwWbBxX \0…"),
        ("fd.name contains shadow", "everything"),
        ("fd.name != /a", "everything"),
        ("not fd.name = /a", "everything"),
        ("fd.name = /a and not proc.name in (cat, ls)", "rRwWbBxX /a…/a"),
        ("(fd.name = /a or proc.name = cat) and evt.is_open_write = true", "--wWbBxX …"),
        ("fd.name regex '/etc/.*'", "everything"),
    ];
    for (condition, expected) in table {
        assert_eq!(shown(Call::openat, condition), expected, "{condition}");
    }
    assert_eq!(
        shown(Call::mkdir, "evt.rawres >= 0"),
        "r-w-b-x- …",
        "of a path that is only text: how it ended"
    );
}

#[test]
fn descriptors_are_told_by_their_family() {
    let passes = |condition: &str, word: u64, ret: i64| {
        let filter = filter(Call::dup2, &[meaning(condition)]);
        filter.is_none_or(|filter| holds(&filter, class(0, ret < 0), known(word), known(ret.cast_unsigned())))
    };
    let condition = "evt.rawres in (0, 1, 2) and fd.type in (ipv4, ipv6)";
    assert!(passes(condition, 2, 1) && passes(condition, 10, 2));
    assert!(!passes(condition, 2, 3) && !passes(condition, 1, 1));
    assert!(!passes(condition, 0, 1) && !passes(condition, 2, -9));
    assert!(passes("fd.l4proto = udp", 2, 0), "which protocol it is, user space says");
    assert!(!passes("fd.l4proto = udp", 1, 0));
}

#[test]
fn too_many_become_fewer_that_let_more_pass() {
    let names: Vec<String> = (0..40).map(|place| format!("/etc/dir{}/file{place}", place % 7)).collect();
    let condition = format!("fd.name in ({})", names.join(", "));
    let filter = filter(Call::open, &[meaning(&condition)]).expect("a filter");
    for name in &names {
        let (head, tail) = (known(first_bytes(name.as_bytes()).0), known(last_bytes(name.as_bytes()).0));
        assert!(holds(&filter, 0, head, tail), "{name}");
    }
    let other = b"/usr/lib/x86_64/libc.so.6";
    assert!(!holds(&filter, 0, known(first_bytes(other).0), known(last_bytes(other).0)));
}

#[test]
fn rules_that_are_off_or_cannot_match_ask_for_nothing() {
    let text = "
- rule: a
  desc: a
  condition: evt.type = open and fd.name = /a
  output: a
  priority: INFO
- rule: b
  desc: b
  condition: evt.type = open and proc.name = b
  output: b
  priority: INFO
  enabled: false
";
    let set = Ruleset::load(&[Source { name: "t", text }]);
    let plan = plan(&set);
    assert_ne!(plan.of_call[Call::open as usize], 0);
    assert_eq!(
        plan.of_call[Call::open as usize],
        plan.of_call[Call::creat as usize],
        "one filter serves both"
    );
    assert_eq!(plan.of_call[Call::openat as usize], 0, "no rule is about it");
}

fn known(bits: u64) -> Known {
    Known { bits, known: u64::MAX }
}

fn holds(filter: &Filter, class: usize, head: Known, tail: Known) -> bool {
    let bits = filter.by_class[class];
    filter.in_common[class].holds(head, tail)
        && (0..ALTERNATIVES)
            .any(|place| bits >> place & 1 != 0 && filter.alternatives[place].holds(head, tail))
}

/// What the kernel side does with an event, in plain words.
fn passes(filter: &Filter, event: &syscall::Event<'_>) -> bool {
    let recipe = RECIPES[event.call as usize];
    let access = match recipe.flags {
        tarsier_abi::syscall::NO_ARGUMENT => 0,
        WRITES => 1,
        at => event.number(usize::from(at)).unwrap_or(0) as u32,
    };
    let class = class(access, event.ret < 0);
    if filter.by_class[class] == 0 {
        return false;
    }
    match recipe.subject() {
        Subject::Outcome => true,
        Subject::Choice => {
            let chosen = event.number(usize::from(recipe.choice)).unwrap_or(0) as u32;
            holds(filter, class, known(chosen.into()), known(event.ret.cast_unsigned()))
        }
        Subject::Descriptor => {
            let head = match (event.socket, event.file) {
                (Some(socket), _) => socket_head(socket.facts.family, socket.facts.peer_port),
                (None, Some(_)) => socket_head(0, 0),
                (None, None) => Known { bits: 0, known: 0 },
            };
            holds(filter, class, head, known(event.ret.cast_unsigned()))
        }
        Subject::Path => {
            let written = event.path.and_then(|path| path.text.filter(|_| !path.is_truncated));
            let Some(text) = written else { return true };
            let is_clean = text.first() == Some(&b'/')
                && !text.ends_with(b"/")
                && !text.ends_with(b".")
                && !text.windows(2).any(|pair| matches!(pair, b"//" | b"./"));
            !is_clean || holds(filter, class, known(first_bytes(text).0), known(last_bytes(text).0))
        }
    }
}

fn path() -> impl Strategy<Value = String> {
    "(/|)(etc|tmp|\\.|\\.\\.|a)?(/(shadow|\\.\\.|\\.|x|id_rsa|)){0,3}"
}

pub(super) fn leaf() -> impl Strategy<Value = String> {
    let field =
        prop::sample::select(vec!["fd.name", "fd.nameraw", "fs.path.name", "fd.directory", "fd.filename"]);
    let operator = prop::sample::select(vec!["=", "!=", "startswith", "endswith", "contains", "glob"]);
    let text = prop::sample::select(vec![
        "/etc",
        "/etc/shadow",
        "shadow",
        "/",
        "../",
        "/tmp/*",
        "x",
        "/etc/",
        "a",
        "*/x",
        "*[st]hadow",
    ]);
    prop_oneof![
        6 => (field, operator, text).prop_map(|(field, operator, text)| format!("{field} {operator} '{text}'")),
        1 => Just("fd.name pmatch (/etc, /tmp/a/)".to_owned()),
        1 => Just("fd.name in (/etc/shadow, /tmp/x, a)".to_owned()),
        4 => prop::sample::select(vec![
            "evt.is_open_read = true",
            "evt.is_open_write = true",
            "evt.is_open_read = false",
            "fd.num >= 0",
            "fd.num = -1",
            "fd.num < 0",
            "fd.num in (3, -1)",
            "evt.rawres >= 0",
            "evt.rawres in (0, 1, -2)",
            "evt.rawres > 0",
            "evt.res = SUCCESS",
            "evt.res != SUCCESS",
            "evt.res in (SUCCESS, ENOENT)",
            "evt.res startswith E",
            "evt.failed = true",
            "fd.typechar = 'f'",
            "fd.typechar in ('4', '6')",
            "fd.type in (ipv4, unix)",
            "fd.l4proto = udp",
            "fd.l4proto in (tcp, icmp)",
            "fd.l4proto in (tcp, '<NA>')",
            "fd.sport = 80",
            "fd.sport in (80, 443)",
            "fd.rport = 443",
            "fd.sport != 80",
            "fd.lport = 80",
            "fd.sip.name = x",
            "evt.res = EINPROGRESS",
            "evt.res in (ENOENT, EPERM)",
            "evt.rawres in (-2, 1)",
            "evt.arg.domain contains AF_INET",
            "evt.arg.domain = AF_NETLINK",
            "evt.arg.domain != AF_INET",
            "evt.arg.request contains PTRACE_ATTACH",
            "evt.arg.request startswith PTRACE_",
            "evt.arg.request in (PTRACE_SEIZE, PTRACE_UNKNOWN)",
            "evt.arg.request in (PTRACE_TRACEME, 16)",
            "evt.arg.request = PTRACE_TRACEME",
            "evt.arg.cmd = 5",
            "evt.arg.cmd in (5, BPF_PROG_LOAD)",
            "evt.arg.cmd icontains prog_load",
            "evt.arg.option = PR_SET_SECCOMP",
            "evt.arg.option contains 1",
            "evt.arg[1] = AF_UNIX",
            "proc.name = cat",
            "proc.name = dog",
        ])
        .prop_map(str::to_owned),
    ]
}

prop_compose! {
    /// Records as the kernel side makes them.
    fn records()(
        call in prop::sample::select(vec![
            Call::open, Call::openat, Call::openat2, Call::creat, Call::open_by_handle_at, Call::mkdirat,
            Call::dup2, Call::connect, Call::connect, Call::sendto, Call::socket, Call::fchmod, Call::setuid,
            Call::ptrace, Call::bpf, Call::prctl,
        ]),
        ret in prop_oneof![6 => -3_i64..5, 1 => Just(-115_i64)],
        asked in prop::sample::select(vec![0_i64, 1, 2, 5, 10, 16, 17, 22, 0x4206, 0x9999]),
        ports in prop::sample::select(vec![(0_u16, 0_u16), (0, 80), (80, 0), (443, 80), (80, 443), (80, 22)]),
        kind in prop::sample::select(vec![1_u16, 2, 3]),
        names_address in any::<bool>(),
        flags in 0_i64..0o103,
        path in path(),
        path_flags in prop::sample::select(vec![0, 0, 0, part_flag::UNREADABLE, part_flag::TRUNCATED]),
        dir in option::of("((etc|tmp)\0){0,2}"),
        own in "((shadow|x)\0)?((etc|tmp)\0)?",
        socket in option::of((prop::sample::select(vec![1_u16, 2, 10, 16]), prop::sample::select(vec![0_u16, 1, 6, 17, 262]), vec(any::<u8>(), 32))),
    ) -> (Call, Record) {
        let recipe = RECIPES[call as usize];
        let mut numbers = [0_i64; 6];
        if let Some(place) = numbers.get_mut(usize::from(recipe.flags)) {
            *place = flags;
        }
        if let Some(place) = numbers.get_mut(usize::from(recipe.choice)) {
            *place = asked;
        }
        // `socket(2)` makes what it is asked for.
        if let (Call::socket, Some((family, ..))) = (call, &socket) {
            numbers[0] = i64::from(*family);
        }
        let mut record = record(call, ret, &numbers[..usize::from(recipe.numbers)]);
        let has_socket = recipe.subject() == Subject::Descriptor || call == Call::socket && ret >= 0;
        match socket {
            Some((family, protocol, addresses)) if has_socket => {
                let (local_port, peer_port) = ports;
                let mut facts =
                    SocketFacts { family, protocol, kind, local_port, peer_port, ..SocketFacts::default() };
                facts.local.copy_from_slice(&addresses[..16]);
                facts.peer.copy_from_slice(&addresses[16..]);
                // An IPv6 socket that speaks IPv4.
                if addresses[0] & 1 != 0 {
                    const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
                    facts.local[..12].copy_from_slice(&MAPPED);
                    facts.peer[..12].copy_from_slice(&MAPPED);
                }
                record = record.socket(facts);
            }
            _ if matches!(recipe.subject(), Subject::Path | Subject::Descriptor) && ret >= 0 => record = record.file(0o100_644, own.as_bytes()),
            _ => {}
        }
        if names_address && recipe.address == Address::Second {
            // The address of a peer that the socket does not know: 1.2.3.4, port 80.
            record = record.part(PartKind::Address, &[2, 0, 0, 80, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0]);
        }
        if recipe.path.at != tarsier_abi::syscall::NO_ARGUMENT {
            let text = if path_flags == part_flag::UNREADABLE { "" } else { &path };
            record = record.flagged(PartKind::Path, path_flags, text.as_bytes());
            if let Some(dir) = dir.filter(|_| !path.starts_with('/') && path_flags != part_flag::UNREADABLE) {
                record = record.part(PartKind::Dir, dir.as_bytes());
            }
        }
        (call, record)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// What a rule matches is never dropped in the kernel.
    #[test]
    fn what_matches_passes((call, record) in records(), condition in conditions(leaf())) {
        let expr = meaning(&condition);
        let bytes = record.bytes();
        let event = syscall::decode(call as u8, &bytes).expect("a record");
        let world = World::new();
        let facts = Facts { what: What::Syscall(&event), ..world.facts() };
        if evaluate(&expr, &facts) {
            let filter = filter(call, &[expr]);
            prop_assert!(filter.is_none_or(|filter| passes(&filter, &event)), "{:?} {:?}", event, filter);
        }
    }

    /// The same of what was stated: an event that somebody could have recorded is never said to be dropped.
    #[test]
    fn what_is_stated_and_matches_passes((call, record) in records(), condition in conditions(leaf())) {
        const STATED: &[&str] = &[
            "evt.type", "evt.rawres", "evt.is_open_read", "evt.is_open_write", "fd.name", "fd.nameraw", "fd.num",
            "fd.type", "fd.typechar", "fd.l4proto", "fs.path.name", "proc.name",
        ];
        let expr = meaning(&condition);
        let bytes = record.bytes();
        let event = syscall::decode(call as u8, &bytes).expect("a record");
        let world = World::new();
        let facts = Facts { what: What::Syscall(&event), ..world.facts() };
        // Whatever of it is left out.
        for names in [STATED, &STATED[..6], &STATED[..2]] {
            let stated = of_facts(&facts, names);
            if evaluate(&expr, &stated) {
                let plan = plan_of(call, filter(call, std::slice::from_ref(&expr)));
                prop_assert!(lets_pass(&plan, &stated), "{:?}", stated);
            }
        }
    }
}

/// A plan for one call.
fn plan_of(call: Call, filter: Option<Filter>) -> Plan {
    let mut plan = Plan::EVERYTHING;
    if let Some(filter) = filter {
        plan.filters[0] = filter;
        plan.of_call[call as usize] = 1;
    }
    plan
}

#[test]
fn what_cannot_be_together_does_not_pass() {
    let table = [
        ("evt.type = openat and fd.directory = /etc", "fd.directory: /etc, fd.name: /usr/x", false),
        ("evt.type = openat and fd.directory = /etc", "fd.directory: /etc, fd.name: /etc/x", true),
        ("evt.type = openat and fd.directory = /etc", "fd.directory: /etc", true),
        (
            "evt.type = openat and fd.directory = /etc",
            "fd.directory: /etc, fd.name: /usr/x, fd.nameraw: x",
            true,
        ),
        (
            "evt.type = openat and evt.is_open_read = true and evt.failed = false",
            "evt.is_open_read: true, evt.failed: false",
            true,
        ),
        (
            "evt.type = openat and evt.is_open_read = true and evt.failed = false",
            "evt.is_open_read: true, evt.failed: false, evt.rawres: -2",
            false,
        ),
        (
            "evt.type = dup2 and fd.typechar = '4' and evt.rawres = 0",
            "evt.rawres: 0, fd.typechar: '4', fd.type: unix",
            false,
        ),
        ("evt.type = dup2 and fd.typechar = '4' and evt.rawres = 0", "evt.rawres: 0, fd.typechar: '4'", true),
        ("evt.type = execve and evt.failed = false", "evt.failed: false", true),
        ("evt.type = procexit", "proc.name: a", true),
    ];
    for (condition, event, expected) in table {
        let kind = condition.split_whitespace().nth(2).expect("a type");
        let text = format!("- rule: r\n  desc: d\n  condition: {condition}\n  output: o\n  priority: INFO\n");
        let set = Ruleset::load(&[Source { name: "r.yaml", text: &text }]);
        let stated = stated(&format!("{{evt.type: {kind}, {event}}}"));
        assert!(evaluate(&set.rules[0].expr, &stated), "{condition} {event}");
        assert_eq!(lets_pass(&plan(&set), &stated), expected, "{condition} {event}");
    }
}
