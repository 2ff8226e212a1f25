//! The parts of a node instance that are fixed for its lifetime.

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
    /// The lane's parker, used to wake the lane when there is work for the node.
    pub(crate) parker: Arc<Parker>,
    pub(crate) workers: Workers,
    pub(crate) actor_type: ActorType,
    pub(crate) settings: Settings,
    pub(crate) setup: Setup,
    pub(crate) on_error: OnError,
    /// Whether the instance belongs to one stream and ends with it (`each: stream`, and every source).
    pub(crate) per_stream: bool,
    /// Whether streams are served strictly by sequence, in declared order (clock `asap`).
    pub(crate) strict: bool,
    /// Whether streams are units of work: the oldest one that has a packet is served first.
    pub(crate) oldest_first: bool,
    pub(crate) replicas: usize,
    /// See [`Ports::open_calls`](crate::Ports).
    pub(crate) open_calls: usize,
    /// See [`Ports::waits_for_packets`](crate::Ports).
    pub(crate) waits_for_packets: bool,
    /// Whether no other node consumes its outputs, so that packets are delivered here.
    pub(crate) sink: bool,
    /// Number of its outputs.
    pub(crate) outputs: usize,
    /// Whether a queue that it feeds counts the bytes of payloads.
    pub(crate) counts_bytes: bool,
}

impl NodeParts {
    /// Returns the size of a payload in bytes, or 0 if no queue that the node feeds counts bytes. `None` if the payload
    /// panicked; its packet then fails at the consumer.
    #[inline]
    pub(crate) fn size_of(&self, payload: &AnyPayload) -> Option<u64> {
        if self.counts_bytes {
            guard(|| Ok(payload.bytes() as u64)).ok()
        } else {
            Some(0)
        }
    }
}
