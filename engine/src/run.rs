//! A graph that runs: starting it, adding and removing streams, draining, stopping, waiting for its report.

mod core;

use std::sync::Arc;
use std::thread::JoinHandle;

use actix::Addr;
use actix::prelude::Actor as _;

pub(crate) use self::core::{Core, Launch};
use crate::clock::Clock;
use crate::control::graph_lifecycle::GraphEvent;
use crate::control::supervisor::{GraphSupervisor, LaneEvent, RunEvent};
use crate::graph::{Graph, Problems};
use crate::registry::Registry;
use crate::report::{FaultReport, Report, StreamReport};
use crate::runtime::driver;
use crate::runtime::host::{Host, Workers};
use crate::runtime::protocol::{EventSink, NodeId};
use crate::runtime::wiring::NewLanes;

/// Why a graph or a stream did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The graph file, interpolated for this stream, is wrong.
    #[error(transparent)]
    Graph(#[from] Problems),
    /// Nodes could not be created; all of them are listed.
    #[error("{}", join_faults(.0))]
    Create(Vec<FaultReport>),
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// The graph has no node with `each: stream` that is a source.
    #[error("the graph has no source with `each: stream`, so it takes no streams")]
    TakesNoStreams,
    /// The run is draining, stopping or over.
    #[error("the run is ending and takes no more streams")]
    Ending,
}

fn join_faults(faults: &[FaultReport]) -> String {
    let lines: Vec<String> = faults
        .iter()
        .map(|fault| match &fault.node {
            Some(node) => format!("node `{node}`: {}", fault.message),
            None => fault.message.clone(),
        })
        .collect();
    lines.join("\n")
}

/// How a run is started.
#[derive(Clone, Copy, Debug, Default)]
pub struct RunOptions {
    /// Keep running when all streams have ended, until [`RunHandle::streams_complete`], a drain or a stop:
    /// more streams will be added.
    pub hold_open: bool,
}

/// A graph that has been started. Dropping it stops the run.
pub struct RunningGraph {
    handle: RunHandle,
    over: flume::Receiver<Vec<NodeId>>,
    control: Option<JoinHandle<()>>,
}

/// Steers a run from any thread.
#[derive(Clone)]
pub struct RunHandle {
    core: Arc<Core>,
    supervisor: Addr<GraphSupervisor>,
    system: actix::System,
}

impl RunningGraph {
    /// Creates all nodes and, once every one of them is there, lets the sources begin.
    ///
    /// # Errors
    /// All nodes that could not be created, with their reasons. Nothing runs then.
    pub fn start(
        graph: Graph,
        registry: Arc<Registry>,
        options: RunOptions,
    ) -> Result<Self, StartError> {
        let (system_sender, system_receiver) = flume::bounded(1);
        let supervisor_slot: Arc<std::sync::OnceLock<Addr<GraphSupervisor>>> = Arc::default();
        let events: EventSink = {
            let slot = Arc::clone(&supervisor_slot);
            Arc::new(move |event| {
                if let Some(supervisor) = slot.get() {
                    supervisor.do_send(LaneEvent(event));
                }
            })
        };
        let host = Host {
            clock: Clock::real(),
            events,
            workers: Workers::Threads,
            deliveries: None,
        };
        let (core, over) = Core::new(graph, registry, host);
        let control = {
            let core = Arc::clone(&core);
            std::thread::Builder::new()
                .name("control".to_owned())
                .spawn(move || control_plane(core, &system_sender))?
        };
        let (system, supervisor) = system_receiver
            .recv()
            .map_err(|_| std::io::Error::other("the control plane did not start"))?;
        let _ = supervisor_slot.set(supervisor.clone());
        let running = Self {
            handle: RunHandle {
                core,
                supervisor,
                system,
            },
            over,
            control: Some(control),
        };
        running.handle.start_graph()?;
        if !options.hold_open {
            running.handle.streams_complete();
        }
        Ok(running)
    }

    /// A handle to steer the run from other threads.
    pub fn handle(&self) -> RunHandle {
        self.handle.clone()
    }

    /// Waits until the run is over and says how it went.
    pub fn wait(mut self) -> Report {
        let hung = self.over.recv().unwrap_or_default();
        self.finish(&hung)
    }

    /// Like [`RunningGraph::wait`], but gives up waiting after a while.
    ///
    /// # Errors
    /// The graph itself, if it still runs.
    pub fn wait_for(mut self, time: std::time::Duration) -> Result<Report, Self> {
        match self.over.recv_timeout(time) {
            Ok(hung) => Ok(self.finish(&hung)),
            Err(_) => Err(self),
        }
    }

    fn finish(&mut self, hung: &[NodeId]) -> Report {
        let report = self.handle.core.close_books(hung);
        self.handle.system.stop();
        if let Some(control) = self.control.take() {
            let _ = control.join();
        }
        report
    }
}

impl Drop for RunningGraph {
    fn drop(&mut self) {
        if self.control.is_some() {
            self.handle.stop();
            let hung = self.over.recv().unwrap_or_default();
            self.finish(&hung);
        }
    }
}

fn control_plane(core: Arc<Core>, ready: &flume::Sender<(actix::System, Addr<GraphSupervisor>)>) {
    let runner = actix::System::new();
    runner.block_on(async {
        let supervisor = GraphSupervisor::new(core).start();
        let _ = ready.send((actix::System::current(), supervisor));
    });
    if let Err(error) = runner.run() {
        tracing::error!("the control plane ended with an error: {error}");
    }
}

impl RunHandle {
    fn start_graph(&self) -> Result<(), StartError> {
        let new = self.core.wiring().wire_graph()?;
        self.launch(new)
    }

    /// Adds a stream while the graph runs and waits until its nodes have been created. Returns the name it got:
    /// a stream that returns under an old name gets a number behind it (`door.2`), and so files of its own.
    ///
    /// # Errors
    /// See [`StartError`]; the graph runs on without the stream.
    pub fn add_stream(&self, name: &str, uri: &str) -> Result<String, StartError> {
        let (new, name) = self.core.wire_stream(name, uri)?;
        self.launch(new)?;
        Ok(name)
    }

    /// Starts lanes and waits until all their nodes have been created.
    fn launch(&self, new: NewLanes) -> Result<(), StartError> {
        let (launch, wired) = self.core.launch(&new);
        self.tell(wired);
        for (lane, parker) in new.lanes {
            let (id, name) = (lane.id, lane.name.clone());
            let thread = std::thread::Builder::new()
                .name(name)
                .spawn(move || driver::run(lane, &parker))?;
            self.core.runs_on(id, thread);
        }
        if launch.created.recv().unwrap_or(false) {
            return Ok(());
        }
        Err(self.core.failure_of(&launch))
    }

    fn tell(&self, event: GraphEvent) {
        self.supervisor.do_send(RunEvent(event));
    }

    /// Ends a stream early: what has been captured of it flows through to the end. False if there is no such stream.
    pub fn remove_stream(&self, name: &str) -> bool {
        let stream = self.core.stream_named(name);
        if let Some(stream) = stream {
            self.tell(GraphEvent::RemoveStream { stream });
        }
        stream.is_some()
    }

    /// Says that no further stream will be added, so that the run ends when the present streams have ended.
    pub fn streams_complete(&self) {
        self.tell(GraphEvent::StreamsComplete);
    }

    /// Ends all streams and finishes what is in flight.
    pub fn drain(&self) {
        self.tell(GraphEvent::Drain);
    }

    /// Ends the run at once; what is in flight is abandoned and counted.
    pub fn stop(&self) {
        self.tell(GraphEvent::Stop);
    }

    /// The books of one stream as of now; none if there has been no stream of this name.
    pub fn stream_report(&self, name: &str) -> Option<StreamReport> {
        self.core.stream_report(name)
    }

    /// The report as of now, while the graph runs.
    pub fn report(&self) -> Report {
        self.core.report(&[])
    }
}
