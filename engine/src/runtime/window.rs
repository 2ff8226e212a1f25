//! The open calls of a node: given to a replica, or to be finished later by the holder of their ticket. Their outputs
//! are published in the order in which the calls of a stream were made.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use crate::error::ActorError;
use crate::outputs::{Desk, Outputs};
use crate::runtime::call::{Outcome, discard_each};
use crate::runtime::flow::Receipt;
use crate::runtime::parker::Parker;

/// How a call ended.
pub(crate) struct Answer {
    pub(crate) number: u64,
    pub(crate) outcome: Outcome,
    pub(crate) out: Outputs,
    /// The replica that ran the call; 0 without replicas.
    pub(crate) replica: usize,
    /// Time in the call, if a replica ran it.
    pub(crate) service_ns: Option<u64>,
}

impl Answer {
    /// Drops the answer. Destructors of payloads may panic, and this may run on a lane or on a foreign thread.
    fn discard(self) {
        discard_each(self.out.emitted);
        discard_each(self.out.failed);
    }
}

struct OpenCall {
    number: u64,
    receipts: Vec<Receipt>,
    began_ns: u64,
    /// What the call said before it was left open.
    begun: Outputs,
    answer: Option<Answer>,
}

/// A finished call whose turn it is to be published.
pub(crate) struct DoneCall {
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) began_ns: u64,
    pub(crate) answer: Answer,
}

/// Receives answers from any thread.
pub(crate) struct AnswerDesk {
    answers: flume::Sender<Answer>,
    parker: Arc<Parker>,
}

impl AnswerDesk {
    /// Hands in an answer and wakes the lane. Once the node is gone, the answer is discarded.
    pub(crate) fn hand_in(&self, answer: Answer) {
        match self.answers.send(answer) {
            Ok(()) => self.parker.wake(),
            Err(flume::SendError(answer)) => answer.discard(),
        }
    }
}

impl Desk for AnswerDesk {
    fn settle(&self, number: u64, result: Result<(), ActorError>, out: Outputs) {
        self.hand_in(Answer {
            number,
            outcome: match result {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::Failed(error),
            },
            out,
            replica: 0,
            service_ns: None,
        });
    }
}

/// The open calls of one node, up to a limit.
pub(crate) struct Window {
    most: usize,
    calls: VecDeque<OpenCall>,
    next_number: u64,
    desk: Arc<AnswerDesk>,
    answers: flume::Receiver<Answer>,
}

impl Window {
    pub(crate) fn new(most: usize, parker: Arc<Parker>) -> Self {
        // Unbounded, since each call hands in one answer and the window limits the calls. A bound here could only block
        // whoever settles a ticket, which may be an async task.
        let (sender, answers) = flume::unbounded();
        Self {
            most,
            calls: VecDeque::new(),
            next_number: 0,
            desk: Arc::new(AnswerDesk {
                answers: sender,
                parker,
            }),
            answers,
        }
    }

    pub(crate) fn desk(&self) -> &Arc<AnswerDesk> {
        &self.desk
    }

    /// Returns whether one more call may begin.
    pub(crate) fn has_room(&self) -> bool {
        self.calls.len() < self.most
    }

    /// Returns whether no call is open.
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Returns the number of the next call.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Adds an open call and returns its number.
    pub(crate) fn open(&mut self, receipts: Vec<Receipt>, now_ns: u64) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.calls.push_back(OpenCall {
            number,
            receipts,
            began_ns: now_ns,
            begun: Outputs::default(),
            answer: None,
        });
        number
    }

    /// Keeps what the open call that was added last has said so far: packets that failed stay failed.
    pub(crate) fn keep(&mut self, begun: Outputs) {
        if let Some(call) = self.calls.back_mut() {
            call.begun = begun;
        }
    }

    /// Skips the number of a call that ended at once: its ticket, if there is one, is void.
    pub(crate) fn skip(&mut self) {
        self.next_number += 1;
    }

    /// Returns the next answer that has been handed in. It must be passed to [`Window::note`].
    pub(crate) fn receive(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    /// Stores an answer with its call. An answer that is no longer expected is discarded.
    pub(crate) fn note(&mut self, mut answer: Answer) {
        let mut calls = self.calls.iter_mut();
        match calls.find(|call| call.number == answer.number) {
            Some(call) if call.answer.is_none() => {
                answer.out.resume(std::mem::take(&mut call.begun));
                call.answer = Some(answer);
            }
            _ => answer.discard(),
        }
    }

    /// Returns the next finished call that has no unfinished call with packets of the same streams before it.
    pub(crate) fn next_in_order(&mut self) -> Option<DoneCall> {
        // Lanes poll repeatedly, mostly in vain.
        if self.calls.iter().all(|call| call.answer.is_none()) {
            return None;
        }
        // Nearly always it is the first call.
        let mut waiting: HashSet<usize> = HashSet::new();
        let index = self.calls.iter().position(|call| {
            let mut slots = call.receipts.iter().map(|receipt| receipt.slot);
            let is_free = call.answer.is_some() && !slots.any(|slot| waiting.contains(&slot));
            if !is_free {
                waiting.extend(call.receipts.iter().map(|receipt| receipt.slot));
            }
            is_free
        })?;
        let call = self.calls.remove(index)?;
        Some(DoneCall {
            receipts: call.receipts,
            began_ns: call.began_ns,
            answer: call.answer?,
        })
    }

    /// Returns when the oldest call without an answer began.
    pub(crate) fn oldest_ns(&self) -> Option<u64> {
        let mut calls = self.calls.iter();
        let open = calls.find(|call| call.answer.is_none())?;
        Some(open.began_ns)
    }

    /// Gives up the open calls and returns their receipts. Late answers are discarded.
    pub(crate) fn give_up(&mut self) -> Vec<Receipt> {
        let mut given_up = Vec::new();
        for call in self.calls.drain(..) {
            given_up.extend(call.receipts);
            discard_each(call.begun.failed);
            if let Some(answer) = call.answer {
                answer.discard();
            }
        }
        given_up
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.give_up();
        self.answers.drain().for_each(Answer::discard);
    }
}
