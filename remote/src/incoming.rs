//! State of a receiving end for its stream: the protocol's state machine, what the server remembers of it, and what
//! stands in the way. Turns messages into arrivals; requests and publications are made elsewhere.

use std::sync::Arc;

use async_nats::Subject;
use async_nats::jetstream;

use crate::edge::arrival::{Arrival, Taken};
use crate::edge::receiver::Receiver;
use crate::edge::wire::{PacketMessage, ProgressMessage};
use crate::losses::StreamLosses;
use crate::memory::Memory;

pub(crate) type Machine = Receiver<PacketMessage, Subject>;

/// See the module documentation.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) machine: Option<Machine>,
    /// Present once the machine is.
    pub(crate) memory: Option<Memory>,
    /// Sequence below which everything has been settled.
    settled: u64,
    has_handed_on_end: bool,
    /// Missed packets that have been reported.
    pub(crate) told_missed: u64,
    pub(crate) obstacle: Option<String>,
    pub(crate) failure: Option<String>,
    pub(crate) losses: Arc<StreamLosses>,
}

impl State {
    /// Creates the state of an end that counts what it discards in `losses`.
    pub(crate) fn new(losses: Arc<StreamLosses>) -> Self {
        Self {
            losses,
            ..Self::default()
        }
    }

    pub(crate) fn is_waiting(&self) -> bool {
        let has_taken = self.machine.as_ref().is_some_and(Machine::has_taken);
        !has_taken && self.failure.is_none()
    }

    pub(crate) fn take(&mut self) -> Option<Taken<PacketMessage>> {
        let taken = self.machine.as_mut()?.next_taken()?;
        self.has_handed_on_end |= matches!(taken, Taken::End(_));
        Some(taken)
    }

    /// Records that the sinks have settled everything below a sequence. If the stream was ended here and not by its
    /// sender, it stays settled as far as it was before: packets given up then are to come again.
    pub(crate) fn settle(&mut self, position: u64) {
        if position < u64::MAX || self.has_handed_on_end {
            self.settled = position;
        }
        if let Some(machine) = &mut self.machine {
            machine.settled(self.settled);
        }
    }

    /// Handles a delivery of the current pass.
    pub(crate) fn arrived(&mut self, message: jetstream::Message) {
        let Ok(info) = message.info() else {
            return;
        };
        let (position, stored) = (info.consumer_sequence, info.stream_sequence);
        let async_nats::Message {
            subject,
            reply: Some(delivery),
            payload,
            ..
        } = message.message
        else {
            return;
        };
        let packet = PacketMessage::read(payload);
        if let Err(error) = &packet {
            let what = format!("{subject}: a message that is not a packet");
            self.losses.add_malformed(&what, error);
        }
        let Some(machine) = &mut self.machine else {
            return;
        };
        match packet {
            Ok(packet) => {
                let arrival = Arrival {
                    incarnation: packet.incarnation,
                    number: packet.number,
                    sequence: packet.sequence,
                    segment: packet.segment,
                    goes_on: packet.goes_on,
                    stored,
                    content: packet,
                };
                machine.arrived(position, arrival, delivery);
            }
            Err(_) => machine.arrived_malformed(position, delivery),
        }
    }

    /// Handles the progress that the sending end reports.
    pub(crate) fn progressed(&mut self, payload: &[u8]) {
        match ProgressMessage::read(payload) {
            Ok(told) => {
                if let Some(machine) = &mut self.machine {
                    machine.progressed(told);
                }
            }
            Err(error) => {
                let what = "a message that is not the progress of an edge";
                self.losses.add_malformed(what, &error);
            }
        }
    }
}
