//! What a call is given: one packet, or at a join those of one capture.

use std::sync::Arc;

use crate::packet::{AnyPayload, Envelope, Payload, downcast};

/// One packet, or at a join the packets of one (stream, sequence), in the order of the node's inputs.
pub struct Input {
    /// Envelope shared by all payloads.
    pub envelope: Envelope,
    pub(crate) first: Option<AnyPayload>,
    pub(crate) rest: Vec<Option<AnyPayload>>,
}

impl Input {
    /// Weight of the payloads together; see [`Payload::weight`]. This is the payload's code: it may panic.
    pub(crate) fn weight(&self) -> usize {
        let payloads = self.first.iter().chain(self.rest.iter().flatten());
        payloads.map(|payload| payload.weight()).sum()
    }

    /// All payloads that have not been taken.
    pub(crate) fn into_payloads(self) -> impl Iterator<Item = AnyPayload> {
        self.first
            .into_iter()
            .chain(self.rest.into_iter().flatten())
    }

    /// Takes the payload of the first (for most actors: only) input.
    ///
    /// # Panics
    /// If the payload is of another type than the port that the actor declared, which the graph check rules out.
    pub fn take<T: Payload>(&mut self) -> Arc<T> {
        self.take_port(0)
            .expect("an actor without a join gets a packet on its only input")
    }

    /// Takes the payload of the input with this index (the order of [`Ports`](crate::Ports)), if the packet has one there
    /// (`require` may allow inputs to be absent).
    ///
    /// # Panics
    /// See [`Input::take`].
    pub fn take_port<T: Payload>(&mut self, port: usize) -> Option<Arc<T>> {
        self.take_any(port).map(|payload| {
            downcast::<T>(payload).unwrap_or_else(|_| {
                panic!("input {port} does not carry {}", std::any::type_name::<T>())
            })
        })
    }

    /// Takes the payload of an input whatever its type.
    pub fn take_any(&mut self, port: usize) -> Option<AnyPayload> {
        match port {
            0 => self.first.take(),
            n => self.rest.get_mut(n - 1).and_then(Option::take),
        }
    }
}
