//! Where the pipeline's thread and those who ask about it meet: a question raises the waker, the
//! next cycle answers with the numbers of that moment. Nobody asking costs nothing.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::kernel::wait::Waker;
use crate::ops::admin::TopState;
use crate::ops::http::Health;
use crate::ops::metrics::Snapshot;

/// How long a question waits for the pipeline before it is answered with the last known numbers.
const PATIENCE: Duration = Duration::from_secs(2);

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// The agent's own metrics.
    Metrics,
    /// What `tarsier top` shows.
    Top,
}

/// The answer to a [`Question`].
pub(super) enum Answer {
    Metrics(Snapshot),
    Top(Box<TopState>),
}

/// How long one answer serves everybody who asks for `top`.
const SHARED: Duration = Duration::from_millis(500);

/// Questions and answers.
pub struct Desk {
    board: Mutex<Board>,
    answered: Condvar,
    waker: Waker,
}

#[derive(Default)]
struct Board {
    metrics: Tickets,
    top: Tickets,
    ready: bool,
    /// What memory falls short of, if it does.
    memory: Option<String>,
    /// The loop did not answer the last question in time.
    stuck: bool,
    /// No more answers will come.
    closed: bool,
    last_metrics: Snapshot,
    last_top: TopState,
    top_at: Option<Instant>,
}

/// How often something was asked, and up to which time it was answered.
#[derive(Clone, Copy, Default)]
struct Tickets {
    asked: u64,
    answered: u64,
}

impl Board {
    fn tickets(&mut self, question: Question) -> &mut Tickets {
        match question {
            Question::Metrics => &mut self.metrics,
            Question::Top => &mut self.top,
        }
    }
}

impl Desk {
    /// A desk whose questions wake the pipeline through `waker`.
    pub fn new(waker: Waker) -> Self {
        Self { board: Mutex::default(), answered: Condvar::new(), waker }
    }

    /// Says whether anything is attached.
    pub fn set_ready(&self, ready: bool) {
        self.lock().ready = ready;
    }

    /// Says that memory is short, and how, or that it is not.
    pub(super) fn set_memory(&self, short: Option<String>) {
        self.lock().memory = short;
    }

    /// The metrics of now.
    pub fn metrics(&self) -> Snapshot {
        self.ask(Question::Metrics).last_metrics.clone()
    }

    /// The state of now, for `tarsier top`. Clients that ask at about the same time get the same one:
    /// its rates are since the question before.
    pub fn top(&self) -> TopState {
        let board = self.lock();
        if board.top_at.is_some_and(|at| at.elapsed() < SHARED) {
            return board.last_top.clone();
        }
        drop(board);
        self.ask(Question::Top).last_top.clone()
    }

    /// Whether the loop moves and the programs are attached. It asks nothing: a probe must not wait.
    pub fn health(&self) -> Health {
        let board = self.lock();
        let say = |fine: bool, text: &str| if fine { Ok(()) } else { Err(text.to_owned()) };
        Health {
            live: say(!board.stuck, "the drain loop did not answer for 2 s"),
            ready: say(board.ready && !board.closed, "no sensor is attached"),
            memory: board.memory.clone().map_or(Ok(()), Err),
        }
    }

    /// Called by the pipeline once per cycle: answers what has been asked since.
    pub(super) fn answer(&self, mut make: impl FnMut(Question) -> Answer) {
        for question in [Question::Metrics, Question::Top] {
            let Tickets { asked, answered } = *self.lock().tickets(question);
            if asked != answered {
                let answer = make(question);
                self.publish(answer, question, asked);
            }
        }
    }

    /// The final numbers: every later question gets these.
    pub(super) fn close(&self, metrics: Snapshot) {
        let mut board = self.lock();
        board.closed = true;
        board.last_metrics = metrics;
        drop(board);
        self.answered.notify_all();
    }

    fn publish(&self, answer: Answer, question: Question, asked: u64) {
        let mut board = self.lock();
        match answer {
            Answer::Metrics(metrics) => board.last_metrics = metrics,
            Answer::Top(top) => (board.last_top, board.top_at) = (*top, Some(Instant::now())),
        }
        board.tickets(question).answered = asked;
        board.stuck = false;
        drop(board);
        self.answered.notify_all();
    }

    fn ask(&self, question: Question) -> MutexGuard<'_, Board> {
        let mut board = self.lock();
        if board.closed {
            return board;
        }
        let tickets = board.tickets(question);
        tickets.asked += 1;
        let ticket = tickets.asked;
        self.waker.wake();
        let waiting = |board: &mut Board| board.tickets(question).answered < ticket && !board.closed;
        let (mut board, timeout) = self
            .answered
            .wait_timeout_while(board, PATIENCE, waiting)
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            board.stuck = true;
        }
        board
    }

    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
