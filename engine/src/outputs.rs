//! The output of a call: packets for the outputs, failures of single packets, or a [`Ticket`] for finishing the call
//! later.

use std::sync::Arc;

use crate::error::ActorError;
use crate::packet::{AnyPayload, Envelope, Packet, Payload, Stream};

/// A payload for an output.
pub(crate) struct Emitted {
    pub(crate) output: usize,
    pub(crate) packet: Packet,
}

/// Collects what a call emits; the engine publishes it once the call has returned `Ok`.
#[derive(Default)]
pub struct Outputs {
    pub(crate) emitted: Vec<Emitted>,
    pub(crate) failed: Vec<(Envelope, ActorError)>,
    /// Streams that the actor wants to end.
    pub(crate) ended: Vec<u32>,
    /// How far the actor has flushed its streams: (stream, sequence), where everything below the sequence is flushed.
    pub(crate) flushed: Vec<(u32, u64)>,
    /// Where a call of this node can be finished later, and the number of the call.
    pub(crate) desk: Option<(Arc<dyn Desk>, u64)>,
    /// Whether the call has given out its ticket.
    pub(crate) is_open: bool,
}

impl Outputs {
    /// Emits on the first (and for most actors only) output.
    pub fn emit<T: Payload>(&mut self, envelope: Envelope, payload: impl Into<Arc<T>>) {
        self.emit_on(0, envelope, payload);
    }

    /// Emits on the output with this index (in the order of [`Ports`](crate::Ports)).
    pub fn emit_on<T: Payload>(
        &mut self,
        output: usize,
        envelope: Envelope,
        payload: impl Into<Arc<T>>,
    ) {
        self.emit_any(output, envelope, payload.into());
    }

    /// Emits a payload whose type is not known statically.
    pub fn emit_any(&mut self, output: usize, envelope: Envelope, payload: AnyPayload) {
        let packet = Packet { envelope, payload };
        self.emitted.push(Emitted { output, packet });
    }

    /// Fails one packet of a batch; the others continue.
    pub fn fail(&mut self, envelope: &Envelope, error: impl Into<ActorError>) {
        self.failed.push((envelope.clone(), error.into()));
    }

    /// Ends the stream of a packet early. Its source is asked to end, and packets that are still on the way to this
    /// node, or held for a batch whose call has not begun, are counted as finished and no longer handled. Calls that
    /// have begun, including those that are finished later, still count. The stream ends here as complete, with losses if
    /// packets were lost at this node, or in front of it by then.
    pub fn end_stream(&mut self, envelope: &Envelope) {
        self.ended.push(envelope.stream.id);
    }

    /// Confirms that everything below a sequence of a stream has been flushed to where it survives this process. Only
    /// for actors that declare [`Ports::confirms_flushes`](crate::Ports::confirms_flushes), which are otherwise assumed
    /// to have flushed nothing before the stream ends.
    pub fn confirm_flushed(&mut self, stream: &Stream, below: u64) {
        self.flushed.push((stream.id, below));
    }

    /// Finishes this call later: its packets stay with the node until the ticket is settled, from any thread. The calls
    /// of a stream are published in the order in which they were made, regardless of the order in which they are
    /// settled. Anything emitted so far is discarded; packets that have failed stay failed, and streams that were ended
    /// end with the call. Only for actors that declare [`Ports::finishes_later`](crate::Ports::finishes_later), once per
    /// call.
    ///
    /// The stream does not end before its calls have. Tickets that only the stream's own source would settle therefore
    /// keep it open for ever if that source is asked to end early while it waits for room behind these very calls; only
    /// a drain or a stop ends such a run.
    ///
    /// # Errors
    /// The actor did not declare it, or already has the ticket of this call.
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
            Some(_) => Err("the ticket of this call has been given out already: an actor that finishes calls later takes batches only by a `process_batch` of its own, with one ticket for all packets".into()),
            None => {
                Err("the actor finishes a call later, but does not declare that it does".into())
            }
        }
    }

    /// Adds what the call said before it was left open, except for what it emitted.
    pub(crate) fn resume(&mut self, begun: Self) {
        self.failed.extend(begun.failed);
        self.ended.extend(begun.ended);
        self.flushed.extend(begun.flushed);
    }

    /// Clears what the last call left, keeping the allocations.
    #[inline]
    pub(crate) fn clear(&mut self) {
        self.emitted.clear();
        self.failed.clear();
        self.ended.clear();
        self.flushed.clear();
        self.is_open = false;
    }
}

/// Receives the result of a call that is finished later.
pub(crate) trait Desk: Send + Sync {
    /// Settles the call with this number. Ignored if the call is no longer awaited.
    fn settle(&self, number: u64, result: Result<(), ActorError>, out: Outputs);
}

/// A handle to a call that is finished later. Dropping it fails the call's packets. If the actor has been replaced
/// meanwhile, or the run stopped, settling it does nothing.
#[must_use = "dropping a ticket fails its packets"]
pub struct Ticket {
    desk: Arc<dyn Desk>,
    number: u64,
    is_settled: bool,
}

impl Ticket {
    /// Finishes the call. `emit` may emit packets of the call and fail single ones; an error fails all of them.
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
