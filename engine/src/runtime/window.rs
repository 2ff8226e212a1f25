//! Calls that are under way: given to a replica, or to be finished later by whoever holds their ticket. What they give
//! back is published in the order in which the calls of a stream were made.

use std::collections::VecDeque;
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
    /// Which replica did it; 0 without replicas.
    pub(crate) replica: usize,
    /// Time in the call, where it was a replica's.
    pub(crate) service_ns: Option<u64>,
}

impl Answer {
    /// Drops it. Destructors of payloads may panic, and it may be a lane or a stranger's thread that drops them.
    fn discard(self) {
        discard_each(self.out.emitted);
        discard_each(self.out.failed);
    }
}

struct OpenCall {
    number: u64,
    receipts: Vec<Receipt>,
    began_ns: u64,
    answer: Option<Answer>,
}

/// A call whose turn to be published has come.
pub(crate) struct DoneCall {
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) began_ns: u64,
    pub(crate) answer: Answer,
}

/// Where answers are handed in, from any thread.
pub(crate) struct AnswerDesk {
    answers: flume::Sender<Answer>,
    parker: Arc<Parker>,
}

impl AnswerDesk {
    /// Hands an answer in and wakes the lane. Once the node is gone, nobody listens.
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

/// The calls of one node that are under way, at most so many.
pub(crate) struct Window {
    most: usize,
    calls: VecDeque<OpenCall>,
    next_number: u64,
    desk: Arc<AnswerDesk>,
    answers: flume::Receiver<Answer>,
}

impl Window {
    pub(crate) fn new(most: usize, parker: Arc<Parker>) -> Self {
        // Each call hands in one answer, and the window bounds the calls: a channel with a bound of its own could only
        // make wait whoever settles a ticket, which may be an async task.
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

    /// Whether one more call may be begun.
    pub(crate) fn has_room(&self) -> bool {
        self.calls.len() < self.most
    }

    /// Whether no call is under way.
    pub(crate) fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// The number of the call that is begun next.
    pub(crate) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// A call is under way; returns its number.
    pub(crate) fn open(&mut self, receipts: Vec<Receipt>, now_ns: u64) -> u64 {
        let number = self.next_number;
        self.next_number += 1;
        self.calls.push_back(OpenCall {
            number,
            receipts,
            began_ns: now_ns,
            answer: None,
        });
        number
    }

    /// The call of that number ended at once: its ticket, should there be one, is worth nothing.
    pub(crate) fn skip(&mut self) {
        self.next_number += 1;
    }

    /// The next answer that has been handed in. It must be noted.
    pub(crate) fn receive(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }

    /// Notes an answer. One that nobody waits for any more is forgotten.
    pub(crate) fn note(&mut self, answer: Answer) {
        let mut calls = self.calls.iter_mut();
        match calls.find(|call| call.number == answer.number) {
            Some(call) if call.answer.is_none() => call.answer = Some(answer),
            _ => answer.discard(),
        }
    }

    /// The next finished call before which no unfinished call has a packet of the same streams.
    pub(crate) fn next_in_order(&mut self) -> Option<DoneCall> {
        // Lanes look again and again, mostly in vain.
        if self.calls.iter().all(|call| call.answer.is_none()) {
            return None;
        }
        // Nearly always the first call is the one.
        let mut waiting: Vec<usize> = Vec::new();
        let index = self.calls.iter().position(|call| {
            let slots = || call.receipts.iter().map(|receipt| receipt.slot);
            let is_free = call.answer.is_some() && !slots().any(|slot| waiting.contains(&slot));
            if !is_free {
                // Of a batch mostly the same slot.
                for slot in slots() {
                    if !waiting.contains(&slot) {
                        waiting.push(slot);
                    }
                }
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

    /// When the oldest call that has no answer yet was begun.
    pub(crate) fn oldest_ns(&self) -> Option<u64> {
        let mut calls = self.calls.iter();
        let open = calls.find(|call| call.answer.is_none())?;
        Some(open.began_ns)
    }

    /// Gives up what is under way and says what that was. Late answers are forgotten.
    pub(crate) fn give_up(&mut self) -> Vec<Receipt> {
        let mut given_up = Vec::new();
        for call in self.calls.drain(..) {
            given_up.extend(call.receipts);
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
