//! Events that need an answer, and what becomes of them when it comes, does not come, or is that there is none.

use tarsier_abi::cgroup::{CgroupRecord, Op as CgroupOp};
use tarsier_abi::exec::{Creds, ExecRecord};
use tarsier_abi::{Header, Sensor, Tail, TaskKey};
use tarsier_core::event::{ContainerFacts, ImageFacts};
use zerocopy::{FromZeros, IntoBytes};

use crate::capture::{About, Frame, Reader, Recorder, Time};
use crate::config::Config;
use crate::ops::metrics::{Metric, Snapshot, Value};
use crate::pipeline::{KeptLines, Offline};

const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// Cgroups: the container's, and one of the host.
const INSIDE: u64 = 7;
const OUTSIDE: u64 = 8;
const SECOND: u64 = 1_000_000_000;

const RULES: &str = "
- {rule: privileged, desc: d, condition: evt.type = execve and container.privileged = true, output: '%container.image', priority: INFO}
- {rule: any, desc: d, condition: evt.type = execve and proc.name = plain, output: 'plain', priority: INFO}
- {rule: user, desc: d, condition: evt.type = execve and proc.name = who and user.name != x, output: '%user.name', priority: INFO}
- {rule: told, desc: d, condition: evt.type = execve and proc.name = told, output: '%container.name', priority: INFO}
- {rule: since, desc: d, condition: evt.type = execve and proc.name = since, output: '%container.start_ts', priority: INFO}
";

/// An agent with the rules above.
struct Agent {
    offline: Offline,
    lines: KeptLines,
    seq: u32,
    now_ns: u64,
}

fn about(answers: bool) -> About {
    About { abi: tarsier_abi::ABI, cpus: 1, socket_cgroups: true, answers, ..About::default() }
}

impl Agent {
    fn new(answers: bool) -> Self {
        let lines = KeptLines::default();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("rules.yaml");
        std::fs::write(&path, RULES).unwrap();
        let mut config = Config::default();
        config.rules.files = vec![path];
        config.alerts.append_output = Vec::new();
        let offline = Offline::new(&about(answers), &config, Some(Box::new(lines.clone())), None).unwrap();
        let mut agent = Self { offline, lines, seq: 0, now_ns: SECOND };
        for (id, path) in [(INSIDE, format!("/docker/{CONTAINER}")), (OUTSIDE, "/user.slice".to_owned())] {
            agent.offline.feed(&Frame::Cgroup { id, parent: 1, path: path.as_bytes() });
        }
        agent
    }

    /// A drain cycle after `pause_ns` in which a program of this name starts there; the alerts that came of it.
    fn cycle(&mut self, pause_ns: u64, started: Option<(&str, u64)>) -> Vec<String> {
        self.now_ns += pause_ns;
        self.offline.feed(&Frame::Begin(Time { boot_ns: self.now_ns, unix_offset_ns: 0 }));
        if let Some((name, cgroup)) = started {
            let record = exec(self.seq, name, cgroup, self.now_ns);
            self.seq += 1;
            self.offline.feed(&Frame::Record(&record));
        }
        self.offline.feed(&Frame::End);
        self.alerts()
    }

    fn answer(&mut self, facts: Option<&ContainerFacts>) -> Vec<String> {
        let facts = facts.map_or(Vec::new(), |facts| serde_json::to_vec(facts).unwrap());
        self.offline.feed(&Frame::Container { id: CONTAINER.as_bytes(), facts: &facts });
        self.cycle(0, None)
    }

    fn answer_users(&mut self, id: &str, passwd: &str) -> Vec<String> {
        let frame = Frame::Accounts { id: id.as_bytes(), passwd: passwd.as_bytes(), group: b"" };
        self.offline.feed(&frame);
        self.cycle(0, None)
    }

    fn alerts(&mut self) -> Vec<String> {
        self.offline.flush();
        let text = self.lines.take();
        let lines = String::from_utf8(text).unwrap();
        let values = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let alerts = values.filter_map(|value| Some(value.get("output")?.as_str()?.to_owned()));
        // What the rule says stands behind time and priority.
        alerts.map(|line| line.rsplit_once("Informational ").unwrap().1.to_owned()).collect()
    }

    fn count(&self, metric: Metric, labels: &[&str]) -> u64 {
        let mut out = Snapshot::default();
        self.offline.rules().unwrap().metrics(&mut out);
        match out.get(metric, labels) {
            Some(Value::Int(count)) => count,
            other => panic!("{labels:?}: {other:?}"),
        }
    }
}

fn exec(seq: u32, name: &str, cgroup: u64, at_ns: u64) -> Vec<u8> {
    let exe = format!("{name}\0bin\0");
    let mut record = ExecRecord::new_zeroed();
    record.header = Header { sensor: Sensor::Exec as u8, op: 0, cpu: 0, seq, boot_ns: at_ns };
    record.task = TaskKey { start_boottime: u64::from(seq) + 1, tgid: seq + 100, exec: 1 };
    record.cgroup = cgroup;
    record.creds = Creds { euid: 5, ..Creds::new_zeroed() };
    record.comm[..name.len()].copy_from_slice(name.as_bytes());
    record.exe = Tail { offset: size_of::<ExecRecord>() as u16, len: exe.len() as u16 };
    [record.as_bytes(), exe.as_bytes()].concat()
}

fn privileged() -> ContainerFacts {
    let image = ImageFacts { reference: Some("img".into()), ..ImageFacts::default() };
    ContainerFacts { is_privileged: Some(true), name: Some("web".into()), image, ..ContainerFacts::default() }
}

#[test]
fn an_event_waits_for_its_answer_and_later_ones_need_not() {
    let mut agent = Agent::new(true);
    assert!(agent.cycle(5, Some(("plain", INSIDE))).is_empty());
    assert!(agent.cycle(5, Some(("other", INSIDE))).is_empty());
    assert_eq!(agent.count(Metric::LookupWaiting, &[]), 2);
    assert_eq!(
        agent.cycle(5, Some(("plain", OUTSIDE))),
        ["plain"],
        "nobody needs to be asked about the host"
    );
    assert_eq!(agent.answer(Some(&privileged())), ["img", "plain", "img"]);
    assert_eq!(agent.cycle(5, Some(("other", INSIDE))), ["img"]);
    assert_eq!(agent.count(Metric::LookupEvents, &["answered"]), 2);
    assert_eq!(agent.count(Metric::RuleEvents, &[]), 4, "each is counted once");
}

#[test]
fn what_is_late_is_decided_without_it() {
    let mut agent = Agent::new(true);
    assert!(agent.cycle(5, Some(("plain", INSIDE))).is_empty());
    assert!(agent.cycle(SECOND - 1, None).is_empty());
    assert_eq!(agent.cycle(1, None), ["plain"], "and not privileged");
    assert_eq!(agent.cycle(5, Some(("plain", INSIDE))), ["plain"], "nothing waits for it any more");
    assert_eq!(agent.count(Metric::LookupEvents, &["late"]), 1);
    agent.answer(Some(&privileged()));
    assert_eq!(agent.cycle(5, Some(("plain", INSIDE))), ["img", "plain"]);
}

#[test]
fn what_waits_at_the_end_is_decided() {
    let mut agent = Agent::new(true);
    assert!(agent.cycle(5, Some(("plain", INSIDE))).is_empty());
    agent.offline.feed(&Frame::Finish(Time { boot_ns: agent.now_ns, unix_offset_ns: 0 }));
    assert_eq!(agent.alerts(), ["plain"]);
}

#[test]
fn where_there_was_no_answer_the_next_programs_ask_again() {
    let mut agent = Agent::new(true);
    assert!(agent.cycle(5, Some(("plain", INSIDE))).is_empty());
    assert_eq!(agent.answer(None), ["plain"]);
    assert!(agent.cycle(5, Some(("plain", INSIDE))).is_empty(), "it is asked about again");
    assert_eq!(agent.answer(Some(&privileged())), ["img", "plain"]);
    // A runtime that nobody knows is not asked about for ever.
    let mut agent = Agent::new(true);
    let mut waited = 0;
    for _ in 0..20 {
        if agent.cycle(5, Some(("plain", INSIDE))).is_empty() {
            waited += 1;
            assert_eq!(agent.answer(None), ["plain"]);
        }
    }
    assert_eq!(waited, 6);
}

#[test]
fn where_nobody_answers_nothing_waits() {
    let mut agent = Agent::new(false);
    assert_eq!(agent.cycle(5, Some(("plain", INSIDE))), ["plain"]);
    assert_eq!(agent.cycle(5, Some(("who", OUTSIDE))), ["<NA>"]);
    assert_eq!(agent.count(Metric::LookupEntries, &["container"]), 0);
}

#[test]
fn an_output_that_needs_an_answer_waits_too() {
    let mut agent = Agent::new(true);
    agent.answer(Some(&ContainerFacts::default()));
    assert_eq!(agent.cycle(5, Some(("told", INSIDE))), ["<NA>"]);
    agent.answer(Some(&privileged()));
    assert_eq!(agent.cycle(5, Some(("told", INSIDE))), ["img", "web"]);
}

#[test]
fn users_are_asked_about_once_and_again_when_they_are_old() {
    let mut agent = Agent::new(true);
    let asked = |agent: &Agent| agent.count(Metric::LookupEntries, &["users"]);
    assert!(agent.cycle(5, Some(("who", OUTSIDE))).is_empty());
    assert_eq!(asked(&agent), 1);
    assert_eq!(agent.answer_users("", "ada::5:5::/:\n"), ["ada"]);
    agent.answer(Some(&ContainerFacts::default()));
    assert!(agent.cycle(5, Some(("who", INSIDE))).is_empty(), "a container has its own");
    assert_eq!(agent.answer_users(CONTAINER, "bea::5:5::/:\n"), ["bea"]);
    assert_eq!(agent.cycle(5, Some(("who", OUTSIDE))), ["ada"]);
    agent.offline.feed(&Frame::NoAccounts { id: CONTAINER.as_bytes() });
    assert_eq!(agent.cycle(5, Some(("who", INSIDE))), ["bea"], "they could not be read again");
    assert_eq!(agent.cycle(20 * SECOND, Some(("who", INSIDE))), ["bea"], "nobody waits for newer ones");
    assert!(agent.answer_users(CONTAINER, "").is_empty());
    assert_eq!(agent.cycle(5, Some(("who", INSIDE))), ["<NA>"]);
}

#[test]
fn users_that_could_not_be_read_are_asked_for_again() {
    let mut agent = Agent::new(true);
    assert!(agent.cycle(5, Some(("who", OUTSIDE))).is_empty());
    agent.offline.feed(&Frame::NoAccounts { id: b"" });
    assert_eq!(agent.cycle(5, None), ["<NA>"]);
    assert!(agent.cycle(5, Some(("who", OUTSIDE))).is_empty());
    assert_eq!(agent.answer_users("", "ada::5:5::/:\n"), ["ada"]);
}

/// The frames of a run that had answers, written down and read again, tell the same.
#[test]
fn a_capture_has_the_answers() {
    let facts = serde_json::to_vec(&privileged()).unwrap();
    let path = format!("/docker/{CONTAINER}");
    let time = |boot_ns| Time { boot_ns, unix_offset_ns: 0 };
    let (first, second) = (exec(0, "plain", INSIDE, 5), exec(1, "who", INSIDE, 6));
    let frames = [
        Frame::Cgroup { id: INSIDE, parent: 1, path: path.as_bytes() },
        Frame::Begin(time(5)),
        Frame::Record(&first),
        Frame::Record(&second),
        Frame::End,
        Frame::Container { id: CONTAINER.as_bytes(), facts: &facts },
        Frame::Accounts { id: CONTAINER.as_bytes(), passwd: b"ada::5:5::/:\n", group: b"" },
        Frame::Begin(time(7)),
        Frame::End,
        Frame::Finish(time(8)),
    ];
    let mut live = Agent::new(true);
    let mut recorder = Recorder::begin(Vec::new(), &about(true), None, None).unwrap();
    for frame in &frames {
        recorder.frame(frame).unwrap();
        live.offline.feed(frame);
    }
    let (file, _) = recorder.finish(0).unwrap();
    let mut replayed = Agent::new(true);
    let mut reader = Reader::new(file.as_slice()).unwrap();
    assert!(reader.about().answers);
    replayed.offline.feed_all(&mut reader).unwrap();
    let told = live.alerts();
    assert_eq!(told, ["img", "plain", "img", "ada"]);
    assert_eq!(replayed.alerts(), told);
}

#[test]
fn a_container_that_begins_is_asked_about_at_once_and_again_when_it_begins_anew() {
    let mut agent = Agent::new(true);
    let path = format!("/docker/{CONTAINER}");
    for (seq, op, path, is_asked) in
        [(0, CgroupOp::Mkdir, &path, 1), (1, CgroupOp::Mkdir, &format!("{path}/below"), 1)]
    {
        agent.offline.feed(&Frame::Record(&cgroup(seq, op, 20 + u64::from(seq), path, 77)));
        assert_eq!(agent.count(Metric::LookupEntries, &["container"]), is_asked, "{path}");
    }
    let facts = ContainerFacts { started_unix_ns: Some(5), ..privileged() };
    agent.answer(Some(&facts));
    assert_eq!(agent.cycle(5, Some(("since", INSIDE))), ["img", "77"]);
    agent.offline.feed(&Frame::Record(&cgroup(2, CgroupOp::Mkdir, 21, &path, 99)));
    assert_eq!(agent.cycle(5, Some(("since", INSIDE))), ["img", "77"], "until there is another answer");
    agent.answer(Some(&facts));
    assert_eq!(agent.cycle(5, Some(("since", INSIDE))), ["img", "99"]);
}

fn cgroup(seq: u32, op: CgroupOp, id: u64, path: &str, at_ns: u64) -> Vec<u8> {
    let mut record = CgroupRecord::new_zeroed();
    record.header = Header { sensor: Sensor::Cgroup as u8, op: op as u8, cpu: 0, seq, boot_ns: at_ns };
    (record.cgroup, record.parent) = (id, 1);
    record.path = Tail { offset: size_of::<CgroupRecord>() as u16, len: path.len() as u16 };
    [record.as_bytes(), path.as_bytes()].concat()
}
