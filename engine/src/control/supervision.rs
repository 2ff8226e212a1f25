//! The logic of the control plane without the actors that carry its messages: takes events and carries out decisions.
//!
//! Both the supervisor's actors and the simulation are built on this, so that they decide alike.

use std::sync::Arc;

use crate::control::core::Core;
use crate::control::graph_lifecycle::{Directive, Failure, GraphEvent, GraphLifecycle};
use crate::control::node_lifecycle::{NodeDecision, NodeEvent, NodeLifecycle};
use crate::control::watchdog::Watchdog;
use crate::runtime::closing::Closing;
use crate::runtime::protocol::{Command, Event, NodeId};

/// The recipient of a lane's event.
pub(crate) enum Route {
    Graph(GraphEvent),
    Node(NodeId, NodeEvent),
    /// A lane's thread has ended; with a message if it died.
    LaneExited(usize, Option<String>),
    /// An event that needs no decision but may be published.
    News(Event),
}

impl Route {
    /// Routes an event that has just come from a lane. Its node still exists, so that `name` can name it.
    pub(crate) fn of(event: Event, name: impl Fn(NodeId) -> String) -> Self {
        let failure = |node: NodeId, message: String| Failure {
            name: name(node),
            message,
        };
        match event {
            Event::NodeReady { node } => Self::Graph(GraphEvent::NodeReady { node }),
            Event::CreateFailed { node, message } => {
                let failure = failure(node, message);
                Self::Graph(GraphEvent::CreateFailed { node, failure })
            }
            Event::SourceEnded {
                node,
                failure: broke,
            } => {
                let failure = broke.map(|message| failure(node, message));
                Self::Graph(GraphEvent::SourceEnded { node, failure })
            }
            Event::NodeFinished {
                node,
                failure: broke,
            } => {
                let failure = broke.map(|message| failure(node, message));
                Self::Graph(GraphEvent::NodeFinished { node, failure })
            }
            Event::Panicked {
                node,
                replica,
                message,
            } => Self::Node(node, NodeEvent::Panicked { replica, message }),
            Event::WantsRestart {
                node,
                replica,
                message,
            } => Self::Node(node, NodeEvent::WantsRestart { replica, message }),
            Event::WantsStop { node, message } => {
                Self::Node(node, NodeEvent::WantsStop { message })
            }
            Event::StreamFinished { stream } => Self::Graph(GraphEvent::RemoveStream { stream }),
            Event::LaneExited { lane, failure } => Self::LaneExited(lane, failure),
            event @ (Event::Restarted { .. }
            | Event::Connection { .. }
            | Event::StreamEnded { .. }) => Self::News(event),
        }
    }
}

/// Supervises one run.
pub(crate) struct Supervision {
    core: Arc<Core>,
    lifecycle: GraphLifecycle,
    watchdog: Watchdog,
}

impl Supervision {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let run = &core.graph.run;
        Self {
            lifecycle: GraphLifecycle::new(run.drain),
            watchdog: Watchdog::new(run.call_deadline),
            core,
        }
    }

    /// Passes an event to the lifecycle and carries out its decisions.
    pub(crate) fn decide(&mut self, event: GraphEvent) {
        let directives = self.lifecycle.decide(event, self.core.clock.now_ns());
        // Before any waiter is answered, since it will ask for them.
        self.core.publish_faults(&self.lifecycle.faults);
        self.core
            .set_accepts_streams(self.lifecycle.accepts_streams());
        for directive in directives {
            self.core.carry_out(&directive);
            if let Directive::StartFailed { group } = directive {
                self.abandon_start(group);
            }
        }
    }

    /// Returns whether a stream may be added now. If so, the run does not end before [`GraphEvent::StreamArrived`].
    pub(crate) fn admit(&mut self) -> bool {
        let admitted = self.lifecycle.accepts_streams();
        if admitted {
            self.decide(GraphEvent::StreamAwaited);
        }
        admitted
    }

    /// Stops a run that cannot start, or removes a stream that cannot start.
    fn abandon_start(&mut self, group: usize) {
        let event = match self.lifecycle.stream_of_group(group) {
            Some(stream) => GraphEvent::RemoveStream { stream },
            None => GraphEvent::Stop,
        };
        if group > 0 {
            self.core.retire_group(group);
        }
        self.decide(event);
    }

    /// Handles the end of a lane's thread. A thread that died ends the run, since its nodes can neither finish nor be
    /// waited for.
    pub(crate) fn lane_exited(&mut self, lane: usize, failure: Option<String>) {
        if let Some(message) = failure {
            let (name, nodes) = self.core.lane(lane);
            self.decide(GraphEvent::LaneDied {
                nodes,
                message: format!("the thread of lane `{name}` died: {message}"),
            });
        }
        let closing = self.core.lane_exited(lane);
        self.forget(closing);
    }

    /// Handles an event that needs no decision.
    pub(crate) fn note(&mut self, event: &Event) {
        let closing = self.core.note(event);
        self.forget(closing);
    }

    fn forget(&mut self, closing: Option<Closing>) {
        if let Some(closing) = closing
            && let Some(group) = self.lifecycle.forget(&closing.nodes)
        {
            self.core.forget_group(group);
        }
    }

    /// Checks for passed deadlines, calls that do not return, and deadlocks.
    pub(crate) fn tick(&mut self) {
        let deadlock = self.watchdog.look(&self.core, self.core.clock.now_ns());
        if let Some(message) = deadlock {
            self.decide(GraphEvent::Deadlocked { message });
        }
        self.decide(GraphEvent::Tick);
    }
}

/// Controls the restarts of one instance: its budget and backoff.
pub(crate) struct NodeControl {
    node: NodeId,
    name: String,
    lifecycle: NodeLifecycle,
    core: Arc<Core>,
}

impl NodeControl {
    pub(crate) fn new(node: NodeId, core: &Arc<Core>) -> Self {
        Self {
            node,
            name: core.node_name(node),
            lifecycle: NodeLifecycle::new(&core.graph.run.restart, core.is_irreplaceable(node)),
            core: Arc::clone(core),
        }
    }

    /// Decides on an event and carries the decision out. Returns an event if the whole run is concerned.
    pub(crate) fn decide(&mut self, event: NodeEvent) -> Option<GraphEvent> {
        let node = self.node;
        match self.lifecycle.decide(event, self.core.clock.now_ns()) {
            NodeDecision::Restart {
                replica,
                at_ns,
                reason,
            } => {
                tracing::warn!(node = %self.name, "restarting: {reason}");
                self.core.publish_restart(&self.name, &reason);
                let command = Command::Restart {
                    node,
                    replica,
                    at_ns,
                };
                self.core.command(node, command);
                None
            }
            NodeDecision::Escalate { reason } => {
                tracing::error!(node = %self.name, "giving up: {reason}");
                let failure = Failure {
                    name: self.name.clone(),
                    message: reason,
                };
                Some(GraphEvent::Escalated { node, failure })
            }
        }
    }
}
