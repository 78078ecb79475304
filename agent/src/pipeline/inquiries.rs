//! Who finds the answers: threads that read files of the host and of containers, so that the one that drains never does.
//!
//! One thread reads what runtimes wrote, which the host vouches for; another one reads users and groups below the roots of
//! containers, whose file systems may stand still for as long as their owners like. Both are started by their first question.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;
use tarsier_abi::TaskKey;
use tarsier_core::event::ContainerFacts;

use super::Feed;
use super::known::{About, Question};
use crate::capture::Frame;
use crate::host::accounts::{self, AccountFiles, Stamps};
use crate::host::id_map::IdMap;
use crate::host::root::{Root, Unread};
use crate::host::{HostConfig, containers, processes};
use crate::kernel::wait::Waker;
use crate::ops::metrics::{Metric, Snapshot};

/// Most questions that wait for a thread.
const QUEUE: usize = 1024;
/// Most bytes of what is kept of one container.
const FACTS: usize = 64 << 10;

/// Questions on their way out, answers on their way in.
pub(super) struct Inquiries {
    host: HostConfig,
    waker: Waker,
    containers: Option<SyncSender<Asked>>,
    accounts: Option<SyncSender<Asked>>,
    /// Those of all threads.
    answers: Receiver<Answer>,
    back: Sender<Answer>,
    /// State of the files that users and groups are known from, by workload.
    stamps: FxHashMap<u32, Stamps>,
    /// Questions that no answer came to yet.
    open: usize,
    /// By topic and outcome.
    counts: BTreeMap<(&'static str, &'static str), u64>,
}

/// Finds an answer, and says how that went.
type Work = fn(&HostConfig, &Asked) -> (Found, &'static str);

/// A question as a thread gets it.
struct Asked {
    question: Question,
    /// What its files were like when they were read last.
    known: Option<Stamps>,
}

struct Answer {
    workload: u32,
    container: Box<str>,
    found: Found,
    outcome: &'static str,
}

enum Found {
    /// What a runtime says, as JSON; empty: nothing.
    Container(Vec<u8>),
    /// Users and groups.
    Accounts(AccountFiles),
    /// None.
    NoAccounts,
    /// Those that are known are those of now.
    SameAccounts,
}

impl Inquiries {
    pub(super) fn new(host: &HostConfig, waker: Waker) -> Self {
        let (back, answers) = mpsc::channel();
        Self {
            host: host.clone(),
            waker,
            containers: None,
            accounts: None,
            answers,
            back,
            stamps: FxHashMap::default(),
            open: 0,
            counts: BTreeMap::new(),
        }
    }

    /// Hands questions out. Where no thread can take one, its answer is that there is none.
    pub(super) fn ask(&mut self, feed: &mut Feed) {
        let Some(rules) = &mut feed.engine.stages.rules else { return };
        let questions: Vec<_> = rules.known.take_questions().collect();
        if questions.is_empty() {
            return;
        }
        // Of places that are no more, and of what there was no room for, nothing is known to be the same.
        self.stamps.retain(|workload, _| rules.known.has_accounts(*workload));
        for question in questions {
            let (sender, work): (_, Work) = match &question.about {
                About::Container => (&mut self.containers, container),
                About::Accounts(_) => (&mut self.accounts, users),
            };
            if sender.is_none() {
                *sender = start(self.host.clone(), self.waker.clone(), self.back.clone(), work);
            }
            let known = self.stamps.get(&question.workload).copied();
            let asked = Asked { question, known };
            let refused = match sender {
                Some(sender) => sender.try_send(asked).err(),
                None => Some(TrySendError::Disconnected(asked)),
            };
            match refused {
                None => self.open += 1,
                Some(TrySendError::Full(Asked { question, .. })) => self.refuse(question, "no_room", feed),
                Some(TrySendError::Disconnected(Asked { question, .. })) => {
                    self.refuse(question, "no_thread", feed);
                }
            }
        }
    }

    fn refuse(&mut self, question: Question, outcome: &'static str, feed: &mut Feed) {
        let Question { workload, container, about } = question;
        let found = match about {
            About::Container => Found::Container(Vec::new()),
            About::Accounts(_) => Found::NoAccounts,
        };
        self.tell(Answer { workload, container, found, outcome }, feed);
    }

    /// Takes the answers that have come, without waiting for any.
    pub(super) fn take(&mut self, feed: &mut Feed) {
        while let Ok(answer) = self.answers.try_recv() {
            self.open = self.open.saturating_sub(1);
            self.tell(answer, feed);
        }
    }

    /// Waits for the answers to all questions, until `deadline`.
    pub(super) fn settle(&mut self, deadline: Instant, feed: &mut Feed) {
        self.ask(feed);
        while self.open > 0 {
            match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(answer) => {
                    self.open -= 1;
                    self.tell(answer, feed);
                    // What one answer was waited with may ask for another.
                    self.ask(feed);
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
    }

    fn tell(&mut self, answer: Answer, feed: &mut Feed) {
        let Answer { workload, container, found, outcome } = answer;
        let id = container.as_bytes();
        let topic = if matches!(found, Found::Container(_)) { "container" } else { "users" };
        *self.counts.entry((topic, outcome)).or_default() += 1;
        match found {
            Found::Container(facts) => feed.frame(&Frame::Container { id, facts: &facts }),
            Found::Accounts(AccountFiles { passwd, group, stamps }) => {
                self.stamps.insert(workload, stamps);
                feed.frame(&Frame::Accounts { id, passwd: &passwd, group: &group });
            }
            Found::NoAccounts => {
                self.stamps.remove(&workload);
                feed.frame(&Frame::NoAccounts { id });
            }
            Found::SameAccounts => {}
        }
    }

    pub(super) fn metrics(&self, out: &mut Snapshot) {
        for ((topic, outcome), count) in &self.counts {
            out.push(Metric::Lookups, &[topic, outcome], *count);
        }
    }
}

fn start(host: HostConfig, waker: Waker, back: Sender<Answer>, work: Work) -> Option<SyncSender<Asked>> {
    let (sender, questions) = mpsc::sync_channel::<Asked>(QUEUE);
    let run = move || {
        // Ends with the pipeline, which has both other ends.
        while let Ok(asked) = questions.recv() {
            let (found, outcome) = work(&host, &asked);
            let Question { workload, container, .. } = asked.question;
            if back.send(Answer { workload, container, found, outcome }).is_err() {
                return;
            }
            waker.wake();
        }
    };
    match std::thread::Builder::new().name("tarsier-lookups".into()).spawn(run) {
        Ok(_) => Some(sender),
        Err(error) => {
            tracing::warn!(%error, "no thread that looks up containers and users");
            None
        }
    }
}

fn container(host: &HostConfig, asked: &Asked) -> (Found, &'static str) {
    let id = &*asked.question.container;
    let (facts, outcome) = match containers::find(host, id) {
        Ok(mut facts) => {
            let json = |facts: &ContainerFacts| serde_json::to_vec(facts).unwrap_or_default();
            let whole = json(&facts);
            if whole.len() <= FACTS {
                (whole, "found")
            } else {
                // What can be of any length; the rest is bounded by what names can be.
                facts.labels = Box::default();
                facts.mounts = None;
                if let Some(pod) = &mut facts.pod {
                    (pod.labels, pod.network_json) = (Box::default(), None);
                }
                (json(&facts), "cut")
            }
        }
        Err(containers::Unknown::Absent) => (Vec::new(), "absent"),
        Err(error @ containers::Unknown::Malformed { .. }) => {
            tracing::debug!(container = id, %error, "container");
            (Vec::new(), "malformed")
        }
        Err(error @ containers::Unknown::Unreadable { .. }) => {
            tracing::debug!(container = id, %error, "container");
            (Vec::new(), "unreadable")
        }
    };
    (Found::Container(facts), outcome)
}

fn users(host: &HostConfig, asked: &Asked) -> (Found, &'static str) {
    let About::Accounts(tasks) = &asked.question.about else { return (Found::NoAccounts, "absent") };
    let found = Root::open(&host.root).and_then(|own| {
        if asked.question.container.is_empty() {
            return accounts::read(&own, &[IdMap::identity(), IdMap::identity()], asked.known);
        }
        let (root, maps) = container_root(&host.root.join("proc"), tasks, &own)?;
        accounts::read(&root, &maps, asked.known)
    });
    match found {
        Ok(Some(files)) => (Found::Accounts(files), "found"),
        Ok(None) => (Found::SameAccounts, "unchanged"),
        Err(Unread::TooLarge(_)) => (Found::NoAccounts, "too_large"),
        Err(Unread::NoFile | Unread::Absent) => (Found::NoAccounts, "absent"),
        Err(Unread::Refused(error)) => {
            tracing::debug!(container = &*asked.question.container, %error, "users and groups");
            (Found::NoAccounts, "unreadable")
        }
    }
}

/// The root directory of the first of these processes that still runs, and how its ids are mapped, unless it is the host's: a
/// runtime that makes a container is in its cgroup before it changes its root.
fn container_root(proc: &Path, tasks: &[TaskKey], host: &Root) -> Result<(Root, [IdMap; 2]), Unread> {
    // Where `host.root` is not the host's, its first process still has it.
    let init = Root::open(&proc.join("1/root")).ok();
    for task in tasks {
        let maps = IdMap::of(proc, task);
        // Asked after reading the maps: they are of no other process then.
        if let Some(root) = processes::root(proc, task)
            && !root.is(host)?
            && !init.as_ref().is_some_and(|init| root.is(init).unwrap_or_default())
        {
            return Ok((root, maps));
        }
    }
    Err(Unread::Absent)
}

/// How long the end waits for answers.
pub(super) const LAST_ANSWERS: Duration = Duration::from_millis(500);
