//! What lanes tell the control plane, and what it tells them. No frame travels here.

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

/// What happened in a lane.
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
    /// A call failed and the node's `on_error` asks to stop, or the node cannot go on at all.
    WantsStop { node: NodeId, message: String },
    /// A source has no more packets; with a message if it broke.
    SourceEnded {
        node: NodeId,
        failure: Option<String>,
    },
    /// Everything was handled and the instance is finished; with a message if finishing failed.
    NodeFinished {
        node: NodeId,
        failure: Option<String>,
    },
    /// The instance has been built anew.
    Restarted { node: NodeId },
    /// A source has lost what it captures from, for a reason, or has it again.
    Connection { node: NodeId, lost: Option<String> },
    /// The actor has all it wants of a stream.
    StreamFinished { stream: u32 },
    /// All of a stream has been handled at a node.
    StreamEnded { node: NodeId, stream: u32, end: End },
    /// The thread of a lane is over; with a message if it died.
    LaneExited {
        lane: usize,
        failure: Option<String>,
    },
}

/// Receives events; called from lanes, must return at once.
pub(crate) type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// An edge that a lane is to hold an end of.
pub(crate) enum NewEdge {
    /// Both ends, between two nodes of the lane; the consumer by its index in the lane.
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

/// A stream at one node; edges by their index in [`Attachment::edges`].
pub(crate) struct NewFlow {
    pub(crate) books: Arc<FlowBooks>,
    /// None: the stream does not reach this input.
    pub(crate) inputs: Vec<Option<usize>>,
    pub(crate) outputs: Vec<Vec<usize>>,
    /// See [`Flow::required`](crate::runtime::flow::Flow).
    pub(crate) required: u64,
    /// At a sink: where its latencies are recorded.
    pub(crate) latency: Option<LatencyRecorder>,
}

/// A stream that begins in a lane.
pub(crate) struct Attachment {
    pub(crate) stream: Arc<Stream>,
    pub(crate) edges: Vec<NewEdge>,
    /// One entry for each node of the lane.
    pub(crate) flows: Vec<Option<NewFlow>>,
}

/// What a lane is to do.
pub(crate) enum Command {
    /// A stream begins.
    Attach(Attachment),
    /// No further stream will come: shared nodes finish when the present ones have ended.
    Close,
    /// Build the instance (or one replica of it) anew at this clock time.
    Restart {
        node: NodeId,
        replica: usize,
        at_ns: u64,
    },
    /// The node will not come back: what reaches it is counted as abandoned.
    Retire { node: NodeId },
    /// Give up everything at once, counting it.
    Stop,
}

/// A lane's inbox for commands: a handful in a run, looked at by a flag.
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

    /// Wakes the lane so that it looks at flags that others have set.
    pub(crate) fn nudge(&self) {
        self.parker.wake();
    }

    /// Whether a command waits.
    pub(crate) fn has_commands(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self) -> VecDeque<Command> {
        // Looked at for every packet, so the common case must not be a locked operation.
        if !self.filled.load(Ordering::Relaxed) || !self.filled.swap(false, Ordering::AcqRel) {
            return VecDeque::new();
        }
        std::mem::take(&mut *lock(&self.commands))
    }
}
