//! What becomes of the packets of a call: published, failed or abandoned, each counted and each marked on the outputs.

use std::sync::atomic::Ordering;

use crate::actor::{ActorError, Outputs};
use crate::graph::OnError;
use crate::packet::{Envelope, Packet};
use crate::runtime::books::count;
use crate::runtime::call::{Outcome, discard};
use crate::runtime::flow::{Fate, Taken};
use crate::runtime::host::Delivered;
use crate::runtime::node::{LaneContext, Node, Role};
use crate::runtime::protocol::Event;

/// Failed packets of a node that are all logged.
const FAILURES_LOGGED_EACH: u64 = 8;

/// What is needed to settle a packet after the actor took its payload.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) slot: usize,
    pub(crate) stream: u32,
    pub(crate) sequence: u64,
    pub(crate) present: u64,
    pub(crate) captured_ns: u64,
}

impl Ticket {
    pub(crate) fn of(taken: &Taken) -> Self {
        let envelope = &taken.input.envelope;
        Self {
            slot: taken.slot,
            stream: envelope.stream.id,
            sequence: envelope.sequence,
            present: taken.present,
            captured_ns: envelope.captured_ns,
        }
    }
}

impl Node {
    /// Settles the packets of a call by its outcome. What the call emitted stands in `out`, which is empty afterwards.
    pub(super) fn conclude(
        &mut self,
        tickets: &[Ticket],
        outcome: Outcome,
        replica: usize,
        cx: &mut LaneContext,
    ) {
        let node = self.parts.id;
        let outcome = match outcome {
            Outcome::Done => match breach(tickets, &self.out, self.parts.outputs) {
                None => Outcome::Done,
                Some(message) => Outcome::Failed(message.into()),
            },
            other => other,
        };
        match outcome {
            Outcome::Done => self.publish(tickets, cx),
            Outcome::Failed(error) => {
                self.log_failure(tickets, &error);
                self.settle_all(tickets, Fate::Failed, cx);
                let message = error.to_string();
                match self.parts.on_error {
                    OnError::Skip => {}
                    OnError::Restart => {
                        self.drop_actor(replica);
                        cx.tell(Event::WantsRestart {
                            node,
                            replica,
                            message,
                        });
                    }
                    OnError::Stop => cx.tell(Event::WantsStop { node, message }),
                }
            }
            Outcome::Panicked(message) => {
                self.settle_all(tickets, Fate::Failed, cx);
                self.drop_actor(replica);
                cx.tell(Event::Panicked {
                    node,
                    replica,
                    message,
                });
            }
        }
        self.out.emitted.clear();
        self.out.failed.clear();
    }

    /// Gets rid of an actor (or one replica) that will be replaced.
    pub(super) fn drop_actor(&mut self, replica: usize) {
        match &mut self.role {
            Role::Pool(pool) => pool.drop_replica(replica),
            Role::Actor(_) => {
                discard(std::mem::replace(
                    &mut self.role,
                    Role::Absent { create_at_ns: None },
                ));
            }
            _ => {}
        }
    }

    /// Logs failed packets: the first ones each, then those at which their number has doubled, so that a node that fails
    /// on everything does not fill the disk. The books count all of them.
    pub(super) fn log_failure(&mut self, tickets: &[Ticket], error: &ActorError) {
        for ticket in tickets {
            self.failures += 1;
            let failures = self.failures;
            if failures > FAILURES_LOGGED_EACH && !failures.is_power_of_two() {
                continue;
            }
            let stream = self.flows[ticket.slot]
                .as_ref()
                .map_or("", |flow| flow.stream.name.as_str());
            tracing::warn!(node = %self.parts.watch.name, stream, sequence = ticket.sequence, failures, "packet failed: {error}");
        }
    }

    /// Publishes what a call emitted, in the order of its inputs.
    pub(super) fn publish(&mut self, tickets: &[Ticket], cx: &mut LaneContext) {
        for ticket in tickets {
            let mut failed = self.out.failed.iter();
            let failure = failed.position(|(envelope, _)| is_of(envelope, ticket));
            if let Some(index) = failure {
                let (_, error) = self.out.failed.swap_remove(index);
                self.log_failure(&[*ticket], &error);
                self.settle_all(&[*ticket], Fate::Failed, cx);
                if self.parts.on_error != OnError::Skip {
                    self.want_stop(&error, cx);
                }
                continue;
            }
            let Some(flow) = &mut self.flows[ticket.slot] else {
                continue;
            };
            flow.account(ticket.present, Fate::Processed);
            let out = &mut self.out;
            let mut emitted = 0u64;
            let mut index = 0;
            while index < out.emitted.len() {
                if is_of(&out.emitted[index].1, ticket) {
                    let (output, envelope, payload) = out.emitted.swap_remove(index);
                    emitted |= 1 << output;
                    let packet = Packet { envelope, payload };
                    flow.publish(ticket.slot, output, packet, cx.now_ns, &mut cx.work);
                } else {
                    index += 1;
                }
            }
            for output in 0..self.parts.outputs {
                if emitted & (1 << output) == 0 {
                    count(&flow.books.filtered[output], 1);
                    flow.mark_output(ticket.slot, output, ticket.sequence + 1, &mut cx.work);
                }
            }
            flow.published(ticket.sequence);
            cx.suspended |= flow.is_suspended();
            if self.parts.sink
                && let Some(Some(latency)) = self.latencies.get(ticket.slot)
            {
                latency.record(cx.now_ns.saturating_sub(ticket.captured_ns));
                self.parts
                    .watch
                    .last_delivery_ns
                    .store(cx.now_ns, Ordering::Relaxed);
                if let Some(tell) = &cx.host.deliveries {
                    tell(Delivered {
                        node: self.parts.id,
                        stream: ticket.stream,
                        sequence: ticket.sequence,
                        inputs: ticket.present,
                    });
                }
            }
        }
    }

    /// Ends packets here: counted, and marked on the outputs.
    pub(super) fn settle_all(&mut self, tickets: &[Ticket], fate: Fate, cx: &mut LaneContext) {
        for ticket in tickets {
            if let Some(flow) = &mut self.flows[ticket.slot] {
                flow.account(ticket.present, fate);
                for output in 0..self.parts.outputs {
                    flow.mark_output(ticket.slot, output, ticket.sequence + 1, &mut cx.work);
                }
                flow.published(ticket.sequence);
            }
        }
    }
}

fn is_of(envelope: &Envelope, ticket: &Ticket) -> bool {
    envelope.sequence == ticket.sequence && envelope.stream.id == ticket.stream
}

/// How what was emitted breaks the contract, if it does.
fn breach(tickets: &[Ticket], out: &Outputs, outputs: usize) -> Option<String> {
    for (index, (output, envelope, _)) in out.emitted.iter().enumerate() {
        let sequence = envelope.sequence;
        if *output >= outputs {
            return Some(format!(
                "the actor emitted on output {output}, but declares {outputs} output(s)"
            ));
        }
        if !tickets.iter().any(|ticket| is_of(envelope, ticket)) {
            return Some(format!(
                "the actor emitted sequence {sequence}, which this call was not given"
            ));
        }
        let twice = out.emitted[..index].iter().any(|(earlier, other, _)| {
            earlier == output && other.sequence == sequence && other.stream.id == envelope.stream.id
        });
        if twice {
            return Some(format!(
                "the actor emitted sequence {sequence} twice on output {output}"
            ));
        }
    }
    None
}
