//! The control plane's actors: one [`GraphSupervisor`] for a run and a [`NodeController`] for each instance.
//!
//! They hold the pure state machines, feed them events and carry out what these decide. Handlers take microseconds; no
//! packet ever comes here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Addr, AsyncContext, Context, Handler, Message};

use crate::control::graph_lifecycle::{Directive, GraphEvent, GraphLifecycle};
use crate::control::node_lifecycle::{NodeDecision, NodeEvent, NodeLifecycle};
use crate::control::watchdog::Watchdog;
use crate::run::Core;
use crate::runtime::protocol::{Command, Event, NodeId};

const TICK: Duration = Duration::from_millis(50);

/// Something happened in a lane.
pub(crate) struct LaneEvent(pub(crate) Event);

/// Something happened in the run.
pub(crate) struct RunEvent(pub(crate) GraphEvent);

struct Decide(NodeEvent);

impl Message for LaneEvent {
    type Result = ();
}

impl Message for RunEvent {
    type Result = ();
}

impl Message for Decide {
    type Result = ();
}

/// Supervises one run.
pub(crate) struct GraphSupervisor {
    core: Arc<Core>,
    lifecycle: GraphLifecycle,
    controllers: HashMap<NodeId, Addr<NodeController>>,
    watchdog: Watchdog,
}

impl GraphSupervisor {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        let run = &core.graph.run;
        Self {
            lifecycle: GraphLifecycle::new(run.drain),
            watchdog: Watchdog::new(run.call_deadline),
            core,
            controllers: HashMap::new(),
        }
    }

    fn decide(&mut self, event: GraphEvent) {
        let directives = self.lifecycle.decide(event, self.core.clock.now_ns());
        for directive in directives {
            if let Directive::StartFailed { group } = directive {
                self.abandon_start(group);
            }
            self.core.carry_out(&directive);
        }
        self.core.publish_faults(&self.lifecycle.faults);
        self.core
            .set_accepts_streams(self.lifecycle.accepts_streams());
    }

    /// A run that cannot start is stopped; a stream that cannot start is taken out again.
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

    fn controller(&mut self, node: NodeId, context: &Context<Self>) -> Addr<NodeController> {
        let core = &self.core;
        self.controllers
            .entry(node)
            .or_insert_with(|| {
                NodeController {
                    node,
                    lifecycle: NodeLifecycle::new(
                        &core.graph.run.restart,
                        core.is_irreplaceable(node),
                    ),
                    core: Arc::clone(core),
                    supervisor: context.address(),
                }
                .start()
            })
            .clone()
    }
}

impl Actor for GraphSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(TICK, |supervisor, _| {
            let now_ns = supervisor.core.clock.now_ns();
            let deadlock = supervisor.watchdog.look(&supervisor.core, now_ns);
            if let Some(message) = deadlock {
                supervisor.decide(GraphEvent::Deadlocked { message });
            }
            supervisor.decide(GraphEvent::Tick);
        });
    }
}

impl Handler<LaneEvent> for GraphSupervisor {
    type Result = ();

    fn handle(&mut self, LaneEvent(event): LaneEvent, context: &mut Self::Context) {
        match event {
            Event::NodeReady { node } => self.decide(GraphEvent::NodeReady { node }),
            Event::CreateFailed { node, message } => {
                self.decide(GraphEvent::CreateFailed { node, message })
            }
            Event::SourceEnded { node, failure } => {
                self.decide(GraphEvent::SourceEnded { node, failure })
            }
            Event::NodeFinished { node, failure } => {
                self.controllers.remove(&node);
                self.decide(GraphEvent::NodeFinished { node, failure });
            }
            Event::Panicked {
                node,
                replica,
                message,
            } => self
                .controller(node, context)
                .do_send(Decide(NodeEvent::Panicked { replica, message })),
            Event::WantsRestart {
                node,
                replica,
                message,
            } => self
                .controller(node, context)
                .do_send(Decide(NodeEvent::WantsRestart { replica, message })),
            Event::WantsStop { node, message } => self
                .controller(node, context)
                .do_send(Decide(NodeEvent::WantsStop { message })),
            Event::LaneExited { lane } => self.core.join_lane(lane),
        }
    }
}

impl Handler<RunEvent> for GraphSupervisor {
    type Result = ();

    fn handle(&mut self, RunEvent(event): RunEvent, _: &mut Self::Context) {
        self.decide(event);
    }
}

/// One instance's commands, restart budget and backoff.
struct NodeController {
    node: NodeId,
    lifecycle: NodeLifecycle,
    core: Arc<Core>,
    supervisor: Addr<GraphSupervisor>,
}

impl Actor for NodeController {
    type Context = Context<Self>;
}

impl Handler<Decide> for NodeController {
    type Result = ();

    fn handle(&mut self, Decide(event): Decide, _: &mut Self::Context) {
        let node = self.node;
        match self.lifecycle.decide(event, self.core.clock.now_ns()) {
            NodeDecision::Restart {
                replica,
                at_ns,
                reason,
            } => {
                tracing::warn!(node = %self.core.node_name(node), "restarting: {reason}");
                self.core.command(
                    node,
                    Command::Restart {
                        node,
                        replica,
                        at_ns,
                    },
                );
            }
            NodeDecision::Escalate { reason } => {
                tracing::error!(node = %self.core.node_name(node), "giving up: {reason}");
                self.supervisor
                    .do_send(RunEvent(GraphEvent::Escalated { node, reason }));
            }
        }
    }
}
