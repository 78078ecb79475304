//! Answers to what was asked about workloads: they come from outside, and later than the question.

use rustc_hash::FxHashMap;

/// Questions about one workload before it is left alone: its runtime writes its state while the container starts, so the
/// first ones may come too early.
const QUESTIONS: u32 = 6;

/// What is known of a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer<'a, T> {
    /// This.
    Known(&'a T),
    /// It was asked, and an answer will come.
    Asked,
    /// It was not asked yet.
    New,
    /// There was no answer.
    None,
}

/// Answers by index of their workload ([`Workload::index`](crate::event::Workload::index)).
#[derive(Debug)]
pub struct Answers<T> {
    entries: FxHashMap<u32, Entry<T>>,
    /// Nobody answers: nothing is asked.
    is_mute: bool,
}

#[derive(Debug)]
struct Entry<T> {
    state: State<T>,
    /// How often it was asked.
    questions: u32,
}

#[derive(Debug)]
enum State<T> {
    Known(T),
    Asked,
    None,
}

impl<T> Answers<T> {
    /// `is_mute`: nobody answers.
    pub fn new(is_mute: bool) -> Self {
        Self { entries: FxHashMap::default(), is_mute }
    }

    /// Whether nobody answers.
    pub fn is_mute(&self) -> bool {
        self.is_mute
    }

    /// What is known of the workload.
    pub fn get(&self, workload: u32) -> Answer<'_, T> {
        match self.entries.get(&workload).map(|entry| &entry.state) {
            Some(State::Known(known)) => Answer::Known(known),
            Some(State::Asked) => Answer::Asked,
            Some(State::None) => Answer::None,
            None if self.is_mute => Answer::None,
            None => Answer::New,
        }
    }

    /// Whether another question may be asked: there was no answer to the ones before.
    pub fn may_ask_again(&self, workload: u32) -> bool {
        let may = |entry: &Entry<T>| matches!(entry.state, State::None) && entry.questions < QUESTIONS;
        !self.is_mute && self.entries.get(&workload).is_some_and(may)
    }

    /// It is asked now. What is known stays until the answer.
    pub fn ask(&mut self, workload: u32) {
        let entry = self.entries.entry(workload).or_insert(Entry { state: State::Asked, questions: 0 });
        entry.questions += 1;
        if matches!(entry.state, State::None) {
            entry.state = State::Asked;
        }
    }

    /// The answer; none: nothing was found.
    pub fn answer(&mut self, workload: u32, answer: Option<T>) {
        let entry = self.entries.entry(workload).or_insert(Entry { state: State::None, questions: 1 });
        match answer {
            // Whatever is asked from now on is asked anew.
            Some(known) => *entry = Entry { state: State::Known(known), questions: 0 },
            None => entry.state = State::None,
        }
    }

    /// No answer came in time: nothing waits for it any more, but it may still come.
    pub fn give_up(&mut self, workload: u32) {
        if let Some(entry) = self.entries.get_mut(&workload)
            && matches!(entry.state, State::Asked)
        {
            *entry = Entry { state: State::None, questions: QUESTIONS };
        }
    }

    /// All that is known.
    pub fn known(&self) -> impl Iterator<Item = &T> {
        self.entries.values().filter_map(|entry| match &entry.state {
            State::Known(known) => Some(known),
            State::Asked | State::None => None,
        })
    }

    /// Forgets the workloads that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        self.entries.retain(|workload, _| keep(*workload));
        self.entries.shrink_to(2 * self.entries.len());
    }

    /// Workloads of which anything is held.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_again_as_long_as_there_is_hope() {
        let mut answers = Answers::new(false);
        assert_eq!(answers.get(7), Answer::New);
        assert!(!answers.may_ask_again(7), "it was never asked");
        for _ in 0..QUESTIONS {
            answers.ask(7);
            assert_eq!(answers.get(7), Answer::Asked);
            assert!(!answers.may_ask_again(7), "one at a time");
            answers.answer(7, None);
            assert_eq!(answers.get(7), Answer::None);
        }
        assert!(!answers.may_ask_again(7));
        answers.answer(7, Some("late"));
        assert_eq!(answers.get(7), Answer::Known(&"late"));
        answers.ask(7);
        assert_eq!(answers.get(7), Answer::Known(&"late"), "until there is a better one");
        answers.answer(7, None);
        assert!(answers.may_ask_again(7), "as if it had never been asked");
        answers.retain(|workload| workload != 7);
        assert_eq!((answers.get(7), answers.len()), (Answer::New, 0));
    }

    #[test]
    fn what_takes_too_long_is_waited_for_once() {
        let mut answers = Answers::new(false);
        answers.give_up(1);
        assert_eq!(answers.get(1), Answer::New);
        answers.ask(1);
        answers.give_up(1);
        assert_eq!((answers.get(1), answers.may_ask_again(1)), (Answer::None, false));
        answers.answer(1, Some(5));
        answers.give_up(1);
        assert_eq!(answers.get(1), Answer::Known(&5));
        assert_eq!(answers.known().collect::<Vec<_>>(), [&5]);
    }

    #[test]
    fn where_nobody_answers_nothing_is_asked() {
        let answers = Answers::<()>::new(true);
        assert_eq!(
            (answers.get(1), answers.may_ask_again(1), answers.is_empty()),
            (Answer::None, false, true)
        );
    }
}
