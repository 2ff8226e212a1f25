//! The messages between lanes and the control plane. No frame travels here.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::end::End;
use crate::lock::lock;
use crate::packet::Stream;
use crate::runtime::books::{EdgeBooks, FlowBooks};
use crate::runtime::channel::Channel;
use crate::runtime::parker::Parker;
use crate::runtime::queued::Policy;
use crate::runtime::stats::LatencyRecorder;

/// Identifies a node instance in a run.
pub(crate) type NodeId = usize;

/// An event in a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The instance has been created.
    NodeReady { node: NodeId },
    /// The instance could not be created.
    CreateFailed { node: NodeId, message: String },
    /// A call panicked; the instance (or this replica of it) is gone.
    Panicked {
        node: NodeId,
        replica: usize,
        message: String,
    },
    /// A call failed and the node's `on_error` asks for a new instance.
    WantsRestart {
        node: NodeId,
        replica: usize,
        message: String,
    },
    /// A call failed and the node's `on_error` asks to stop, or the node cannot continue at all.
    WantsStop { node: NodeId, message: String },
    /// A source has no more packets; with a message if it failed.
    SourceEnded {
        node: NodeId,
        failure: Option<String>,
    },
    /// The instance has handled everything and is finished; with a message if finishing failed.
    NodeFinished {
        node: NodeId,
        failure: Option<String>,
    },
    /// The actor has been rebuilt.
    Restarted { node: NodeId },
    /// A source has lost its connection, for a reason, or has restored it.
    Connection { node: NodeId, lost: Option<String> },
    /// The actor has ended a stream early.
    StreamFinished { stream: u32 },
    /// A stream has been handled completely at a node.
    StreamEnded { node: NodeId, stream: u32, end: End },
    /// The thread of a lane has ended; with a message if it died.
    LaneExited {
        lane: usize,
        failure: Option<String>,
    },
}

/// A function that receives events. It is called from lanes and must return at once.
pub(crate) type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// An edge of which a lane is to hold one or both ends.
pub(crate) enum NewEdge {
    /// Both ends, between two nodes of the lane; `consumer` is an index in the lane.
    Ring {
        policy: Policy,
        books: Arc<EdgeBooks>,
        consumer: usize,
    },
    /// The producer's end.
    Sending(Policy, Arc<Channel>),
    /// The consumer's end.
    Receiving(Policy, Arc<Channel>),
}

/// A stream at one node. Edges are given by their index in [`Attachment::edges`].
pub(crate) struct NewFlow {
    pub(crate) books: Arc<FlowBooks>,
    /// `None` if the stream does not reach the input.
    pub(crate) inputs: Vec<Option<usize>>,
    pub(crate) outputs: Vec<Vec<usize>>,
    /// See [`Flow::required`](crate::runtime::flow::Flow).
    pub(crate) required: u64,
    /// Records latencies; only at a sink.
    pub(crate) latency: Option<LatencyRecorder>,
}

/// A stream that begins in a lane.
pub(crate) struct Attachment {
    pub(crate) stream: Arc<Stream>,
    pub(crate) edges: Vec<NewEdge>,
    /// One entry for each node of the lane.
    pub(crate) flows: Vec<Option<NewFlow>>,
}

/// A command to a lane.
pub(crate) enum Command {
    /// A stream begins.
    Attach(Attachment),
    /// No further stream will come: shared nodes finish when the present streams have ended.
    Close,
    /// Rebuild the actor of the instance (or of one replica) at this clock time.
    Restart {
        node: NodeId,
        replica: usize,
        at_ns: u64,
    },
    /// Take the node out of service for good: packets that reach it count as abandoned.
    Retire { node: NodeId },
    /// Give up everything at once, and count it.
    Stop,
}

/// A lane's inbox for commands. There are only a handful in a run, so a flag is polled instead of the queue.
pub(crate) struct Mailbox {
    commands: Mutex<VecDeque<Command>>,
    filled: AtomicBool,
    parker: Arc<Parker>,
}

impl Mailbox {
    pub(crate) fn new(parker: Arc<Parker>) -> Self {
        Self {
            commands: Mutex::default(),
            filled: AtomicBool::new(false),
            parker,
        }
    }

    pub(crate) fn send(&self, command: Command) {
        lock(&self.commands).push_back(command);
        self.filled.store(true, Ordering::Release);
        self.parker.wake();
    }

    /// Wakes the lane so that it checks flags set elsewhere.
    pub(crate) fn nudge(&self) {
        self.parker.wake();
    }

    /// Returns whether a command is waiting.
    pub(crate) fn has_commands(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> VecDeque<Command> {
        // Called for every packet, so the common case must not be an atomic read-modify-write.
        if !self.filled.load(Ordering::Relaxed) || !self.filled.swap(false, Ordering::AcqRel) {
            return VecDeque::new();
        }
        std::mem::take(&mut *lock(&self.commands))
    }
}
