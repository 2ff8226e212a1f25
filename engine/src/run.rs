//! A graph that runs: starting it, adding and removing streams, draining, stopping, waiting for its report.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use actix::Addr;
use actix::prelude::Actor as _;

use crate::clock::Clock;
use crate::control::graph_lifecycle::{Directive, Fault, GraphEvent, InstanceKind};
use crate::control::supervisor::{GraphSupervisor, LaneEvent, RunEvent};
use crate::graph::{Graph, Problems, StreamSpec};
use crate::registry::Registry;
use crate::report::{FaultReport, Report};
use crate::runtime::driver;
use crate::runtime::protocol::{Command, EventSink, NodeId};
use crate::runtime::wiring::{NewLanes, Wiring};

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

/// What the run's parts share.
pub(crate) struct Core {
    pub(crate) graph: Arc<Graph>,
    pub(crate) clock: Clock,
    wiring: Mutex<Wiring>,
    groups: Mutex<Groups>,
    threads: Mutex<HashMap<usize, JoinHandle<()>>>,
    faults: Mutex<Vec<Fault>>,
    accepts_streams: AtomicBool,
    over: flume::Sender<Vec<NodeId>>,
    pub(crate) started_ns: AtomicU64,
}

/// Instances that begin together: those of the graph file are group 0, each added stream is one more.
#[derive(Default)]
struct Groups {
    started: HashMap<usize, Arc<AtomicBool>>,
    nodes: HashMap<usize, Vec<NodeId>>,
    waiters: HashMap<usize, flume::Sender<bool>>,
    next: usize,
}

impl Core {
    pub(crate) fn wiring(&self) -> MutexGuard<'_, Wiring> {
        self.wiring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn node_name(&self, node: NodeId) -> String {
        self.wiring().instances[node].watch.name.clone()
    }

    pub(crate) fn is_irreplaceable(&self, node: NodeId) -> bool {
        self.wiring().instances[node].irreplaceable
    }

    /// Sends a command to the lane of a node.
    pub(crate) fn command(&self, node: NodeId, command: Command) {
        let wiring = self.wiring();
        wiring.lanes[wiring.instances[node].lane]
            .mailbox
            .send(command);
    }

    pub(crate) fn set_accepts_streams(&self, accepts: bool) {
        self.accepts_streams.store(accepts, Ordering::Relaxed);
    }

    pub(crate) fn publish_faults(&self, faults: &[Fault]) {
        let mut published = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let known = published.len();
        if known < faults.len() {
            published.extend_from_slice(&faults[known..]);
        }
    }

    /// Does what the lifecycle decided.
    pub(crate) fn carry_out(&self, directive: &Directive) {
        match directive {
            Directive::Start { group } => self.start_group(*group),
            Directive::StartFailed { group } => {
                if let Some(waiter) = self.groups().waiters.remove(group) {
                    let _ = waiter.send(false);
                }
            }
            Directive::Retire { node } => self.command(*node, Command::Retire { node: *node }),
            Directive::CancelStream { stream } => {
                let wiring = self.wiring();
                if let Some(record) = wiring.streams.get(*stream as usize) {
                    cancel(&wiring, record.source);
                }
            }
            Directive::CancelAll => {
                let wiring = self.wiring();
                for record in &wiring.streams {
                    cancel(&wiring, record.source);
                }
            }
            Directive::Close => self.to_all_lanes(|| Command::Close),
            Directive::StopAll => {
                self.carry_out(&Directive::CancelAll);
                self.to_all_lanes(|| Command::Stop);
            }
            Directive::Over { hung } => {
                let _ = self.over.send(hung.clone());
            }
        }
    }

    fn start_group(&self, group: usize) {
        if group == 0 {
            self.started_ns
                .store(self.clock.now_ns().max(1), Ordering::Relaxed);
        }
        let mut groups = self.groups();
        if let Some(started) = groups.started.get(&group) {
            started.store(true, Ordering::Release);
        }
        let wiring = self.wiring();
        for node in groups.nodes.get(&group).into_iter().flatten() {
            wiring.lanes[wiring.instances[*node].lane].mailbox.nudge();
        }
        if let Some(waiter) = groups.waiters.remove(&group) {
            let _ = waiter.send(true);
        }
    }

    /// Takes all instances of a group out of the graph.
    pub(crate) fn retire_group(&self, group: usize) {
        let nodes = self.groups().nodes.get(&group).cloned().unwrap_or_default();
        for node in nodes {
            self.command(node, Command::Retire { node });
        }
    }

    fn to_all_lanes(&self, command: impl Fn() -> Command) {
        for lane in &self.wiring().lanes {
            lane.mailbox.send(command());
        }
    }

    /// Joins the thread of a lane that has ended.
    pub(crate) fn join_lane(&self, lane: usize) {
        let thread = self.threads().remove(&lane);
        if let Some(thread) = thread {
            // The lane caught its actors' panics; a panic of the engine itself is reported by the thread's hook.
            let _ = thread.join();
        }
    }

    fn threads(&self) -> MutexGuard<'_, HashMap<usize, JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The report as of now.
    fn report(&self, hung: &[NodeId]) -> Report {
        let wiring = self.wiring();
        let mut report =
            crate::accounts::report(&wiring, self.started_ns.load(Ordering::Relaxed), hung);
        let faults = self.faults.lock().unwrap_or_else(PoisonError::into_inner);
        report.faults = fault_reports(&wiring, &faults);
        report
    }
}

fn fault_reports(wiring: &Wiring, faults: &[Fault]) -> Vec<FaultReport> {
    faults
        .iter()
        .map(|fault| FaultReport {
            node: fault
                .node
                .map(|node| wiring.instances[node].watch.name.clone()),
            message: fault.message.clone(),
        })
        .collect()
}

fn cancel(wiring: &Wiring, source: NodeId) {
    let instance = &wiring.instances[source];
    instance.cancel.store(true, Ordering::Relaxed);
    wiring.lanes[instance.lane].mailbox.nudge();
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
        let clock = Clock::real();
        let (over_sender, over) = flume::bounded(1);
        let (system_sender, system_receiver) = flume::bounded(1);
        let graph = Arc::new(graph);
        let supervisor_slot: Arc<std::sync::OnceLock<Addr<GraphSupervisor>>> = Arc::default();
        let events: EventSink = {
            let slot = Arc::clone(&supervisor_slot);
            Arc::new(move |event| {
                if let Some(supervisor) = slot.get() {
                    supervisor.do_send(LaneEvent(event));
                }
            })
        };
        let wiring = Wiring::new(Arc::clone(&graph), registry, clock.clone(), events);
        let core = Arc::new(Core {
            graph,
            clock,
            wiring: Mutex::new(wiring),
            groups: Mutex::default(),
            threads: Mutex::default(),
            faults: Mutex::default(),
            accepts_streams: AtomicBool::new(true),
            over: over_sender,
            started_ns: AtomicU64::new(0),
        });
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
        let core = &self.handle.core;
        // Lanes that have finished are joined; a lane that hangs in a call is left behind.
        let lanes: Vec<usize> = core.threads().keys().copied().collect();
        {
            let wiring = core.wiring();
            let hung_lanes: Vec<usize> = hung
                .iter()
                .map(|&node| wiring.instances[node].lane)
                .collect();
            drop(wiring);
            for lane in lanes.into_iter().filter(|lane| !hung_lanes.contains(lane)) {
                core.join_lane(lane);
            }
        }
        for edge in &core.wiring().edges {
            edge.carrier.abandon();
        }
        let report = core.report(hung);
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
        if !self.core.accepts_streams.load(Ordering::Relaxed) {
            return Err(StartError::Ending);
        }
        let spec = StreamSpec {
            name: name.to_owned(),
            uri: uri.to_owned(),
        };
        let mut wiring = self.core.wiring();
        let new = wiring
            .wire_stream(&spec)?
            .ok_or(StartError::TakesNoStreams)?;
        let stream = wiring
            .streams
            .last()
            .map(|record| record.stream.name.clone());
        drop(wiring);
        self.launch(new)?;
        Ok(stream.unwrap_or_else(|| name.to_owned()))
    }

    /// Starts lanes and waits until all their nodes have been created.
    fn launch(&self, new: NewLanes) -> Result<(), StartError> {
        let core = &self.core;
        let (waiter, created) = flume::bounded(1);
        let group = {
            let mut groups = core.groups();
            let group = groups.next;
            groups.next += 1;
            groups.started.insert(group, Arc::clone(&new.started));
            groups.nodes.insert(group, new.nodes.clone());
            groups.waiters.insert(group, waiter);
            group
        };
        let nodes: Vec<(NodeId, InstanceKind)> = {
            let wiring = core.wiring();
            let kind = |&node: &NodeId| {
                let instance = &wiring.instances[node];
                let kind = InstanceKind {
                    stream: instance.stream,
                    source: instance.source,
                };
                (node, kind)
            };
            new.nodes.iter().map(kind).collect()
        };
        let known_faults = core
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len();
        self.tell(GraphEvent::Wired {
            group,
            nodes: nodes.clone(),
        });
        for (lane, parker) in new.lanes {
            let (id, name) = (lane.id, lane.name.clone());
            let thread = std::thread::Builder::new()
                .name(name)
                .spawn(move || driver::run(lane, &parker))?;
            core.threads().insert(id, thread);
        }
        if created.recv().unwrap_or(false) {
            return Ok(());
        }
        let wiring = core.wiring();
        let faults = core.faults.lock().unwrap_or_else(PoisonError::into_inner);
        let of_group: Vec<Fault> = faults[known_faults..]
            .iter()
            .filter(|fault| {
                fault
                    .node
                    .is_some_and(|node| nodes.iter().any(|(known, _)| *known == node))
            })
            .cloned()
            .collect();
        Err(StartError::Create(fault_reports(&wiring, &of_group)))
    }

    fn tell(&self, event: GraphEvent) {
        self.supervisor.do_send(RunEvent(event));
    }

    /// Ends a stream early: what has been captured of it flows through to the end. False if there is no such stream.
    pub fn remove_stream(&self, name: &str) -> bool {
        let wiring = self.core.wiring();
        let stream = wiring
            .streams
            .iter()
            .find(|record| record.stream.name == name)
            .map(|record| record.stream.id);
        drop(wiring);
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

    /// The report as of now, while the graph runs.
    pub fn report(&self) -> Report {
        self.core.report(&[])
    }
}
