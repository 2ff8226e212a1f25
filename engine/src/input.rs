//! The input of a call: one packet or, at a join, the packets of one capture.

use std::sync::Arc;

use crate::packet::{AnyPayload, Envelope, Packet, Payload, downcast};

/// One packet or, at a join, the packets of one (stream, sequence), in the order of the node's inputs.
pub struct Input {
    /// Envelope shared by all payloads.
    pub envelope: Envelope,
    first: Option<AnyPayload>,
    /// The other payloads of a join. Boxed because an input is moved several times and most nodes are not joins.
    rest: Option<Box<Rest>>,
}

/// Payloads of all inputs after the first.
struct Rest(Vec<Option<AnyPayload>>);

impl Input {
    /// Wraps the packet of an actor with one input.
    #[inline]
    pub(crate) fn single(packet: Packet) -> Self {
        Self {
            envelope: packet.envelope,
            first: Some(packet.payload),
            rest: None,
        }
    }

    /// Combines the packets of one capture, by input.
    pub(crate) fn join(
        envelope: Envelope,
        payloads: impl IntoIterator<Item = Option<AnyPayload>>,
    ) -> Self {
        let mut payloads = payloads.into_iter();
        let first = payloads.next().flatten();
        let rest: Vec<Option<AnyPayload>> = payloads.collect();
        Self {
            envelope,
            first,
            rest: (!rest.is_empty()).then(|| Box::new(Rest(rest))),
        }
    }

    /// Returns the total weight of the payloads; see [`Payload::weight`]. This runs the payload's own code, which may
    /// panic.
    pub(crate) fn weight(&self) -> usize {
        let rest = self.rest.iter().flat_map(|rest| &rest.0);
        let payloads = self.first.iter().chain(rest.flatten());
        payloads.map(|payload| payload.weight()).sum()
    }

    /// Returns all payloads that have not been taken.
    pub(crate) fn into_payloads(self) -> impl Iterator<Item = AnyPayload> {
        let rest = self.rest.into_iter().flat_map(|rest| rest.0);
        self.first.into_iter().chain(rest.flatten())
    }

    /// Takes the payload of the first (for most actors: only) input.
    ///
    /// # Panics
    /// If the payload's type differs from that of the port the actor declared, which the graph check rules out.
    pub fn take<T: Payload>(&mut self) -> Arc<T> {
        self.take_port(0)
            .expect("an actor without a join gets a packet on its only input")
    }

    /// Takes the payload of the input with this index (in the order of [`Ports`](crate::Ports)), if the packet has one
    /// there (`require` may allow inputs to be absent).
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

    /// Takes the payload of an input, whatever its type.
    pub fn take_any(&mut self, port: usize) -> Option<AnyPayload> {
        match port {
            0 => self.first.take(),
            n => self.rest.as_mut()?.0.get_mut(n - 1)?.take(),
        }
    }
}
