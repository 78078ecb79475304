//! What has been looked up on the node, and what an event would have had to know.
//!
//! A getter that asks for what is not known gets nothing and leaves a note here. Then the event waits for the answer, and is
//! looked at again ([`super::held`]). So only what a rule asks for is ever looked up, and no event waits that is decided
//! without it. Who finds the answers is [`super::inquiries`]; they come back as frames.

use std::cell::Cell;

use rustc_hash::{FxHashMap, FxHashSet};
use tarsier_abi::TaskKey;
use tarsier_core::enrich::{Answer, Answers};
use tarsier_core::event::{Accounts, ContainerFacts, Process, User, Workload, WorkloadKind};
use tarsier_core::rules::facts::Lookups;

use super::rules::Tables;

/// Most memory of users and groups, bytes, all containers together.
const ACCOUNT_BYTES: usize = 16 << 20;
/// After this time users and groups that are used are looked at again, and sooner if one was not among them; ns.
const LOOK_AGAIN_NS: u64 = 10_000_000_000;
const MISS_AGAIN_NS: u64 = 1_000_000_000;
/// Processes by which a container's root directory may be found: the one in question may have ended.
const TASKS: usize = 4;
/// Most ancestors that are looked at: identities are the kernel's claim, and could form a circle.
const DEPTH: usize = 128;
/// Most questions at once: as many containers as a node has.
const QUESTIONS: usize = 1024;

/// What is asked about a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Question {
    /// The workload's index.
    pub(super) workload: u32,
    /// Id of its container; empty: the host.
    pub(super) container: Box<str>,
    /// About what.
    pub(super) about: About,
}

/// About what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// What the container's runtime says.
    Container,
    /// Users and groups in the root directory of one of these processes.
    Accounts(Vec<TaskKey>),
}

/// Answers, and questions that nobody has taken yet.
pub(super) struct Known {
    containers: Answers<ContainerFacts>,
    accounts: Answers<Accounts>,
    /// When users and groups were last asked for, boot ns, by workload.
    asked_ns: FxHashMap<u32, u64>,
    /// When containers began, boot ns, by workload.
    born_ns: FxHashMap<u32, u64>,
    questions: Vec<Question>,
    /// Users and groups that there was no room for.
    pub(super) no_room: u64,
}

/// What is known where one event happened.
pub(super) struct Here<'a> {
    known: &'a Known,
    workload: &'a Workload,
    /// What was not there before may be by now: a program starts.
    asks_again: bool,
    notes: Cell<Notes>,
}

/// What an event asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// What its container's runtime says, in vain.
    container: bool,
    /// Users or groups, in vain.
    accounts: bool,
    /// Users or groups, which are known.
    used: bool,
    /// One that is not among them.
    missed: bool,
    /// It is on its way.
    coming: bool,
}

impl Known {
    /// `is_mute`: nobody answers.
    pub(super) fn new(is_mute: bool) -> Self {
        Self {
            containers: Answers::new(is_mute),
            accounts: Answers::new(is_mute),
            asked_ns: FxHashMap::default(),
            born_ns: FxHashMap::default(),
            questions: Vec::new(),
            no_room: 0,
        }
    }

    /// For an event of this workload.
    pub(super) fn at<'a>(&'a self, workload: &'a Workload, asks_again: bool) -> Here<'a> {
        Here { known: self, workload, asks_again, notes: Cell::default() }
    }

    /// Asks what an event left notes of; whether it has to wait for an answer.
    pub(super) fn ask(
        &mut self,
        notes: Notes,
        workload: &Workload,
        process: Option<&Process>,
        tables: Tables<'_>,
        now_ns: u64,
    ) -> bool {
        let index = workload.index;
        let mut waits = notes.coming;
        if notes.container {
            waits |= self.put(workload, About::Container);
        }
        let age_ns = now_ns.saturating_sub(self.asked_ns.get(&index).copied().unwrap_or_default());
        let is_old = (notes.used && age_ns >= LOOK_AGAIN_NS) || (notes.missed && age_ns >= MISS_AGAIN_NS);
        if notes.accounts || is_old {
            let is_asked = self.put(workload, About::Accounts(tasks_of(workload, process, tables)));
            if is_asked {
                self.asked_ns.insert(index, now_ns);
            }
            waits |= is_asked && notes.accounts;
        }
        waits
    }

    /// Asks for what the runtime of a container says that begins now, for the first time or again, before anything happens
    /// in it.
    pub(super) fn ask_ahead(&mut self, workload: &Workload, now_ns: u64) {
        if !self.containers.is_mute() && self.put(workload, About::Container) {
            self.born_ns.insert(workload.index, now_ns);
        }
    }

    /// When the container began, if that was seen, boot ns.
    pub(super) fn born_ns(&self, workload: u32) -> Option<u64> {
        self.born_ns.get(&workload).copied()
    }

    fn put(&mut self, workload: &Workload, about: About) -> bool {
        if self.questions.len() >= QUESTIONS {
            return false;
        }
        match about {
            About::Container => self.containers.ask(workload.index),
            About::Accounts(_) => self.accounts.ask(workload.index),
        }
        let container = workload.container_id.clone();
        self.questions.push(Question { workload: workload.index, container, about });
        true
    }

    /// Whether users and groups of this workload are known.
    pub(super) fn has_accounts(&self, workload: u32) -> bool {
        matches!(self.accounts.get(workload), Answer::Known(_))
    }

    /// What has been asked since the last time.
    pub(super) fn take_questions(&mut self) -> impl Iterator<Item = Question> {
        self.questions.drain(..)
    }

    /// What a runtime says; none: it has nothing.
    pub(super) fn take_container(&mut self, workload: u32, facts: Option<ContainerFacts>) {
        self.containers.answer(workload, facts);
    }

    /// Users and groups; none: they could not be read, and those that are known stay: the process by which they were looked
    /// for may have ended.
    pub(super) fn take_accounts(&mut self, workload: u32, accounts: Option<Accounts>) {
        if accounts.is_none() && self.has_accounts(workload) {
            return;
        }
        let held: usize = self.accounts.known().map(Accounts::bytes).sum();
        let fits = |accounts: &Accounts| held + accounts.bytes() <= ACCOUNT_BYTES;
        let is_too_much = accounts.as_ref().is_some_and(|accounts| !fits(accounts));
        self.no_room += u64::from(is_too_much);
        self.accounts.answer(workload, accounts.filter(|_| !is_too_much));
    }

    /// What was asked about a workload took too long: nothing waits for it any more.
    pub(super) fn give_up(&mut self, workload: u32) {
        self.containers.give_up(workload);
        self.accounts.give_up(workload);
    }

    /// Forgets workloads that are no more.
    pub(super) fn retain(&mut self, workloads: &FxHashSet<u32>) {
        let keep = |workload: u32| workloads.contains(&workload);
        self.containers.retain(keep);
        self.accounts.retain(keep);
        self.asked_ns.retain(|workload, _| keep(*workload));
        self.born_ns.retain(|workload, _| keep(*workload));
    }

    /// Containers, and places with users, that anything is held of.
    pub(super) fn entries(&self) -> (usize, usize) {
        (self.containers.len(), self.accounts.len())
    }
}

/// The process and its ancestors in the same container, the eldest first: what the container began with has its root
/// directory for sure, what is below may have changed to another one.
fn tasks_of(workload: &Workload, process: Option<&Process>, tables: Tables<'_>) -> Vec<TaskKey> {
    let parent = |process: &&Process| tables.processes.resolve(&process.parent);
    let is_inside = |process: &&Process| tables.cgroups.lookup(process.cgroup).index == workload.index;
    let line = std::iter::successors(process, parent).take(DEPTH).take_while(is_inside);
    let mut tasks: Vec<_> = line.map(|process| process.key).collect();
    tasks.reverse();
    tasks.truncate(TASKS);
    tasks
}

impl Here<'_> {
    /// What was asked for.
    pub(super) fn notes(&self) -> Notes {
        self.notes.get()
    }

    fn note(&self, write: impl FnOnce(&mut Notes)) {
        let mut notes = self.notes.get();
        write(&mut notes);
        self.notes.set(notes);
    }

    fn accounts(&self) -> Option<&Accounts> {
        let accounts = &self.known.accounts;
        let found = self.look(accounts, |notes| notes.accounts = true);
        if found.is_some() {
            self.note(|notes| notes.used = true);
        }
        found
    }

    fn look<'k, T>(&self, answers: &'k Answers<T>, ask: impl FnOnce(&mut Notes)) -> Option<&'k T> {
        let index = self.workload.index;
        match answers.get(index) {
            Answer::Known(known) => return Some(known),
            Answer::Asked => self.note(|notes| notes.coming = true),
            Answer::New => self.note(ask),
            Answer::None if self.asks_again && answers.may_ask_again(index) => self.note(ask),
            Answer::None => {}
        }
        None
    }
}

impl Lookups for Here<'_> {
    fn container(&self) -> Option<&ContainerFacts> {
        if self.workload.kind != WorkloadKind::Container {
            return None;
        }
        self.look(&self.known.containers, |notes| notes.container = true)
    }

    fn user(&self, uid: u32) -> Option<User<'_>> {
        let user = self.accounts()?.user(uid);
        if user.is_none() {
            self.note(|notes| notes.missed = true);
        }
        user
    }

    fn group(&self, gid: u32) -> Option<&str> {
        let group = self.accounts()?.group(gid);
        if group.is_none() {
            self.note(|notes| notes.missed = true);
        }
        group
    }
}
