//! The actors of the control plane: one [`GraphSupervisor`] for a run, and a [`NodeController`] for each instance.
//!
//! They deliver messages to the state machines that decide. Handlers take microseconds; no packet ever comes here.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use actix::prelude::{Actor, Addr, AsyncContext, Context, Handler, Message};

use crate::control::core::Core;
use crate::control::graph_lifecycle::GraphEvent;
use crate::control::node_lifecycle::NodeEvent;
use crate::control::supervision::{NodeControl, Route, Supervision};
use crate::runtime::protocol::{Event, NodeId};

/// Interval at which deadlines are checked.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// An event in a lane.
pub(crate) struct LaneEvent(pub(crate) Event);

/// An event in the run.
pub(crate) struct Decide(pub(crate) GraphEvent);

/// A request to add a stream. Receives whether it is admitted; if so, [`GraphEvent::StreamArrived`] follows.
pub(crate) struct Admit(pub(crate) flume::Sender<bool>);

struct DecideOnNode(NodeEvent);

/// An event of an instance that must not overtake events that its controller is still deciding on.
struct PassOn(GraphEvent);

impl Message for LaneEvent {
    type Result = ();
}

impl Message for Decide {
    type Result = ();
}

impl Message for Admit {
    type Result = ();
}

impl Message for DecideOnNode {
    type Result = ();
}

impl Message for PassOn {
    type Result = ();
}

/// Supervises one run.
pub(crate) struct GraphSupervisor {
    core: Arc<Core>,
    supervision: Supervision,
    controllers: HashMap<NodeId, Addr<NodeController>>,
}

impl GraphSupervisor {
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self {
            supervision: Supervision::new(Arc::clone(&core)),
            core,
            controllers: HashMap::new(),
        }
    }

    fn controller(&mut self, node: NodeId, context: &Context<Self>) -> Addr<NodeController> {
        let core = &self.core;
        let start = || {
            let controller = NodeController {
                core: Arc::clone(core),
                control: NodeControl::new(node, core),
                supervisor: context.address(),
            };
            controller.start()
        };
        self.controllers.entry(node).or_insert_with(start).clone()
    }
}

impl Actor for GraphSupervisor {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        context.run_interval(TICK, |supervisor, _| supervisor.supervision.tick());
    }
}

impl Drop for GraphSupervisor {
    fn drop(&mut self) {
        note_panic(&self.core);
    }
}

/// Ends the run if a handler has panicked, which is a bug in the engine. Actix's runtime catches the panic and only the
/// actor is gone, so everything would wait for decisions for ever.
fn note_panic(core: &Core) {
    if std::thread::panicking() {
        core.control_died("one of its handlers panicked");
    }
}

impl Handler<LaneEvent> for GraphSupervisor {
    type Result = ();

    fn handle(&mut self, LaneEvent(event): LaneEvent, context: &mut Self::Context) {
        match Route::of(event, |node| self.core.node_name(node)) {
            Route::Graph(event) => {
                let finished = match event {
                    GraphEvent::NodeFinished { node, .. } => self.controllers.remove(&node),
                    _ => None,
                };
                match finished {
                    Some(controller) => controller.do_send(PassOn(event)),
                    None => self.supervision.decide(event),
                }
            }
            Route::Node(node, event) => self.controller(node, context).do_send(DecideOnNode(event)),
            Route::LaneExited(lane, failure) => self.supervision.lane_exited(lane, failure),
            Route::News(event) => self.supervision.note(&event),
        }
    }
}

impl Handler<Decide> for GraphSupervisor {
    type Result = ();

    fn handle(&mut self, Decide(event): Decide, _: &mut Self::Context) {
        self.supervision.decide(event);
    }
}

impl Handler<Admit> for GraphSupervisor {
    type Result = ();

    fn handle(&mut self, Admit(reply): Admit, _: &mut Self::Context) {
        let admitted = self.supervision.admit();
        if reply.send(admitted).is_err() && admitted {
            self.supervision.decide(GraphEvent::StreamArrived);
        }
    }
}

/// Receives the events of one instance.
struct NodeController {
    core: Arc<Core>,
    control: NodeControl,
    supervisor: Addr<GraphSupervisor>,
}

impl Actor for NodeController {
    type Context = Context<Self>;
}

impl Drop for NodeController {
    fn drop(&mut self) {
        note_panic(&self.core);
    }
}

impl Handler<DecideOnNode> for NodeController {
    type Result = ();

    fn handle(&mut self, DecideOnNode(event): DecideOnNode, _: &mut Self::Context) {
        if let Some(event) = self.control.decide(event) {
            self.supervisor.do_send(Decide(event));
        }
    }
}

impl Handler<PassOn> for NodeController {
    type Result = ();

    fn handle(&mut self, PassOn(event): PassOn, _: &mut Self::Context) {
        self.supervisor.do_send(Decide(event));
    }
}
