//! What a node instance is made of, fixed for its life.

use std::sync::Arc;

use crate::graph::{OnError, Settings};
use crate::packet::AnyPayload;
use crate::registry::ActorType;
use crate::runtime::call::guard;
use crate::runtime::host::Workers;
use crate::runtime::parker::Parker;
use crate::runtime::protocol::NodeId;
use crate::runtime::stats::NodeWatch;
use crate::setup::Setup;

pub(crate) struct NodeParts {
    pub(crate) id: NodeId,
    pub(crate) watch: Arc<NodeWatch>,
    /// Where the lane parks; whoever has something for the node wakes it.
    pub(crate) parker: Arc<Parker>,
    pub(crate) workers: Workers,
    pub(crate) actor_type: ActorType,
    pub(crate) settings: Settings,
    pub(crate) setup: Setup,
    pub(crate) on_error: OnError,
    /// Instances of an `each: stream` node end with their stream.
    pub(crate) per_stream: bool,
    /// Streams are served strictly by sequence, in declared order (clock `asap`).
    pub(crate) strict: bool,
    /// Streams are units of work: the oldest that has a packet is served first.
    pub(crate) oldest_first: bool,
    pub(crate) replicas: usize,
    /// See [`Ports::open_calls`](crate::Ports).
    pub(crate) open_calls: usize,
    /// See [`Ports::waits_for_packets`](crate::Ports).
    pub(crate) waits_for_packets: bool,
    /// Nobody consumes its outputs: packets are delivered here.
    pub(crate) sink: bool,
    /// Number of its outputs.
    pub(crate) outputs: usize,
    /// A queue that it feeds counts the bytes of payloads.
    pub(crate) counts_bytes: bool,
}

impl NodeParts {
    /// How large a payload is, where a queue that it goes to counts bytes. None: it panicked when it was asked; it
    /// fails behind the queue.
    #[inline]
    pub(crate) fn size_of(&self, payload: &AnyPayload) -> Option<u64> {
        if self.counts_bytes {
            guard(|| Ok(payload.bytes() as u64)).ok()
        } else {
            Some(0)
        }
    }
}
