//! What a call gives back: packets for the outputs, failures of single packets, or a [`Ticket`] with which it is
//! finished later.

use std::sync::Arc;

use crate::error::ActorError;
use crate::packet::{AnyPayload, Envelope, Packet, Payload, Stream};

/// A payload for an output.
pub(crate) struct Emitted {
    pub(crate) output: usize,
    pub(crate) packet: Packet,
}

/// Collects what a call emits; the engine publishes it when the call returned `Ok`.
#[derive(Default)]
pub struct Outputs {
    pub(crate) emitted: Vec<Emitted>,
    pub(crate) failed: Vec<(Envelope, ActorError)>,
    /// Streams that the actor wants to end.
    pub(crate) ended: Vec<u32>,
    /// What the actor has flushed: of a stream, everything below a sequence.
    pub(crate) flushed: Vec<(u32, u64)>,
    /// Where a call of this node can be finished later, and the number of the call.
    pub(crate) desk: Option<(Arc<dyn Desk>, u64)>,
    /// The call has given out its ticket.
    pub(crate) is_open: bool,
}

impl Outputs {
    /// Emits on the first (for most actors: only) output.
    pub fn emit<T: Payload>(&mut self, envelope: Envelope, payload: impl Into<Arc<T>>) {
        self.emit_on(0, envelope, payload);
    }

    /// Emits on the output with this index (the order of [`Ports`](crate::Ports)).
    pub fn emit_on<T: Payload>(
        &mut self,
        output: usize,
        envelope: Envelope,
        payload: impl Into<Arc<T>>,
    ) {
        self.emit_any(output, envelope, payload.into());
    }

    /// Emits a payload whose type is not known here.
    pub fn emit_any(&mut self, output: usize, envelope: Envelope, payload: AnyPayload) {
        let packet = Packet { envelope, payload };
        self.emitted.push(Emitted { output, packet });
    }

    /// Fails one packet of a batch while the others go on.
    pub fn fail(&mut self, envelope: &Envelope, error: impl Into<ActorError>) {
        self.failed.push((envelope.clone(), error.into()));
    }

    /// Ends the stream of a packet early: its source is asked to end, and what is still on the way to this node, or
    /// held for a batch whose call has not begun, is counted as finished and not handled any more. Calls that have
    /// begun, also those that are finished later, still count. The stream ends as complete here.
    pub fn end_stream(&mut self, envelope: &Envelope) {
        self.ended.push(envelope.stream.id);
    }

    /// Confirms that everything below a sequence of a stream has been flushed to where it survives this process. Only
    /// for actors that declare [`Ports::confirms_flushes`](crate::Ports::confirms_flushes), which are otherwise taken
    /// to have flushed nothing before the stream ends.
    pub fn confirm_flushed(&mut self, stream: &Stream, below: u64) {
        self.flushed.push((stream.id, below));
    }

    /// Finishes this call later: the packets of the call stay with the node until the ticket is settled, from whichever
    /// thread. Calls of a stream are published in the order in which they were made, whenever they are settled. What
    /// was emitted so far is given up. Only for actors that declare
    /// [`Ports::finishes_later`](crate::Ports::finishes_later), once for each call.
    ///
    /// The stream does not end before its calls have. So tickets that only the stream's own source would settle keep it
    /// open for ever where that source is asked to end early and waits for room behind these very calls: only a drain
    /// or a stop ends such a run.
    ///
    /// # Errors
    /// The actor did not declare it, or has the ticket of this call already.
    pub fn finish_later(&mut self) -> Result<Ticket, ActorError> {
        match &self.desk {
            Some((desk, number)) if !self.is_open => {
                self.is_open = true;
                Ok(Ticket {
                    desk: Arc::clone(desk),
                    number: *number,
                    is_settled: false,
                })
            }
            Some(_) => Err("the ticket of this call has been given out already".into()),
            None => {
                Err("the actor finishes a call later, but does not declare that it does".into())
            }
        }
    }

    /// Forgets what the last call left, and keeps the memory.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.emitted.clear();
        self.failed.clear();
        self.ended.clear();
        self.flushed.clear();
        self.is_open = false;
    }
}

/// Takes in the result of a call that is finished later.
pub(crate) trait Desk: Send + Sync {
    /// The call of this number has ended. A number that nobody waits for any more is ignored.
    fn settle(&self, number: u64, result: Result<(), ActorError>, out: Outputs);
}

/// A call that is finished later. Dropping it fails the call's packets. If the actor is replaced meanwhile, or the run
/// is stopped, nobody waits for it any more and settling it does nothing.
#[must_use = "dropping a ticket fails its packets"]
pub struct Ticket {
    desk: Arc<dyn Desk>,
    number: u64,
    is_settled: bool,
}

impl Ticket {
    /// Finishes the call: `emit` may emit packets of the call and fail single ones; an error fails all of them.
    pub fn settle(mut self, emit: impl FnOnce(&mut Outputs) -> Result<(), ActorError>) {
        let mut out = Outputs::default();
        let result = emit(&mut out);
        self.is_settled = true;
        self.desk.settle(self.number, result, out);
    }

    /// Finishes the call of a sink.
    pub fn done(self) {
        self.settle(|_| Ok(()));
    }

    /// Fails all packets of the call.
    pub fn fail(self, error: impl Into<ActorError>) {
        self.settle(|_| Err(error.into()));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_settled {
            let error = "the call was given up: its ticket was dropped".into();
            self.desk
                .settle(self.number, Err(error), Outputs::default());
        }
    }
}
