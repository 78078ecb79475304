//! Where the pipeline's thread and those who ask about it meet: a question raises the waker, the
//! next cycle answers with the numbers of that moment. Nobody asking costs nothing.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Answer;
use crate::kernel::wait::Waker;
use crate::ops::admin::TopState;
use crate::ops::http::Health;
use crate::ops::metrics::Snapshot;

/// How long a question waits for the pipeline before it is answered with the last known numbers.
const PATIENCE: Duration = Duration::from_secs(2);

/// Questions and answers.
pub struct Desk {
    board: Mutex<Board>,
    answered: Condvar,
    waker: Waker,
}

#[derive(Default)]
struct Board {
    asked: u64,
    answered: u64,
    ready: bool,
    /// The loop did not answer the last question in time.
    stuck: bool,
    /// No more answers will come.
    closed: bool,
    metrics: Snapshot,
    top: TopState,
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

    /// The metrics of now.
    pub fn metrics(&self) -> Snapshot {
        self.ask().metrics.clone()
    }

    /// The state of now, for `tarsier top`.
    pub fn top(&self) -> TopState {
        self.ask().top.clone()
    }

    /// Whether the loop moves and the programs are attached. It asks nothing: a probe must not wait.
    pub fn health(&self) -> Health {
        let board = self.lock();
        let say = |fine: bool, text: &str| if fine { Ok(()) } else { Err(text.to_owned()) };
        Health {
            live: say(!board.stuck, "the drain loop did not answer for 2 s"),
            ready: say(board.ready && !board.closed, "no sensor is attached"),
        }
    }

    /// Called by the pipeline once per cycle: makes an answer if somebody waits for one.
    pub(super) fn answer(&self, make: impl FnOnce() -> Answer) {
        let asked = {
            let board = self.lock();
            if board.asked == board.answered {
                return;
            }
            board.asked
        };
        self.publish(make(), asked);
    }

    /// The final numbers: every later question gets these.
    pub(super) fn answer_last(&self, answer: Answer) {
        let asked = {
            let mut board = self.lock();
            board.closed = true;
            board.asked
        };
        self.publish(answer, asked);
    }

    fn publish(&self, answer: Answer, asked: u64) {
        let mut board = self.lock();
        board.metrics = answer.metrics;
        board.top = answer.top;
        board.answered = asked;
        board.stuck = false;
        self.answered.notify_all();
    }

    fn ask(&self) -> MutexGuard<'_, Board> {
        let mut board = self.lock();
        if board.closed {
            return board;
        }
        board.asked += 1;
        let ticket = board.asked;
        self.waker.wake();
        let waiting = |board: &mut Board| board.answered < ticket && !board.closed;
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
