//! What the parts of one run share: its wiring, the groups of instances that begin together, its faults, its threads.
//!
//! Carries out what the lifecycle decides. Who delivers events and steps lanes (threads, or a simulation) is elsewhere.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::accounts::stream_report;
use crate::clock::Clock;
use crate::control::graph_lifecycle::{Directive, Fault, GraphEvent, InstanceKind};
use crate::graph::{Graph, StreamSpec};
use crate::registry::Registry;
use crate::report::{FaultReport, Report, StreamReport};
use crate::run::StartError;
use crate::runtime::host::Host;
use crate::runtime::protocol::{Command, NodeId};
use crate::runtime::wiring::{NewLanes, Wiring};

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
    started_ns: AtomicU64,
}

/// Instances that begin together: those of the graph file are group 0, each added stream is one more.
#[derive(Default)]
struct Groups {
    started: HashMap<usize, Arc<AtomicBool>>,
    nodes: HashMap<usize, Vec<NodeId>>,
    waiters: HashMap<usize, flume::Sender<bool>>,
    next: usize,
}

/// Instances that have been wired and are being created.
pub(crate) struct Launch {
    nodes: Vec<(NodeId, InstanceKind)>,
    known_faults: usize,
    /// Told whether all of them could be created.
    pub(crate) created: flume::Receiver<bool>,
}

impl Core {
    /// The parts of a run that has not begun; the receiver is told which instances hung when it is over.
    pub(crate) fn new(
        graph: Graph,
        registry: Arc<Registry>,
        host: Host,
    ) -> (Arc<Self>, flume::Receiver<Vec<NodeId>>) {
        let (over, is_over) = flume::bounded(1);
        let graph = Arc::new(graph);
        let core = Self {
            clock: host.clock.clone(),
            wiring: Mutex::new(Wiring::new(Arc::clone(&graph), registry, host)),
            graph,
            groups: Mutex::default(),
            threads: Mutex::default(),
            faults: Mutex::default(),
            accepts_streams: AtomicBool::new(true),
            over,
            started_ns: AtomicU64::new(0),
        };
        (Arc::new(core), is_over)
    }

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
        let mut published = self.faults();
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

    /// Wires a stream into the running graph. Returns also the name that it got.
    pub(crate) fn wire_stream(
        &self,
        name: &str,
        uri: &str,
    ) -> Result<(NewLanes, String), StartError> {
        if !self.accepts_streams.load(Ordering::Relaxed) {
            return Err(StartError::Ending);
        }
        let spec = StreamSpec {
            name: name.to_owned(),
            uri: uri.to_owned(),
        };
        let mut wiring = self.wiring();
        let new = wiring
            .wire_stream(&spec)?
            .ok_or(StartError::TakesNoStreams)?;
        let stream = wiring.streams.last();
        let name = stream.map_or(spec.name, |record| record.stream.name.clone());
        Ok((new, name))
    }

    /// The number of the stream of this name.
    pub(crate) fn stream_named(&self, name: &str) -> Option<u32> {
        let wiring = self.wiring();
        let mut streams = wiring.streams.iter();
        let record = streams.find(|record| record.stream.name == name)?;
        Some(record.stream.id)
    }

    /// The books of the stream of this name.
    pub(crate) fn stream_report(&self, name: &str) -> Option<StreamReport> {
        let wiring = self.wiring();
        let mut streams = wiring.streams.iter();
        let record = streams.find(|record| record.stream.name == name)?;
        Some(stream_report(&wiring, record, &[], &mut Vec::new()))
    }

    /// Registers what has been wired as a group. The event is for the lifecycle, before the lanes start.
    pub(crate) fn launch(&self, new: &NewLanes) -> (Launch, GraphEvent) {
        let (waiter, created) = flume::bounded(1);
        let group = {
            let mut groups = self.groups();
            let group = groups.next;
            groups.next += 1;
            groups.started.insert(group, Arc::clone(&new.started));
            groups.nodes.insert(group, new.nodes.clone());
            groups.waiters.insert(group, waiter);
            group
        };
        let wiring = self.wiring();
        let kind = |&node: &NodeId| {
            let instance = &wiring.instances[node];
            let kind = InstanceKind {
                stream: instance.stream,
                source: instance.source,
            };
            (node, kind)
        };
        let nodes: Vec<_> = new.nodes.iter().map(kind).collect();
        let launch = Launch {
            nodes: nodes.clone(),
            known_faults: self.faults().len(),
            created,
        };
        (launch, GraphEvent::Wired { group, nodes })
    }

    /// Why instances of a launch could not be created.
    pub(crate) fn failure_of(&self, launch: &Launch) -> StartError {
        let wiring = self.wiring();
        let faults = self.faults();
        let is_of_launch = |fault: &&Fault| {
            let mut nodes = launch.nodes.iter();
            nodes.any(|&(known, _)| fault.node == Some(known))
        };
        let of_launch = faults[launch.known_faults..].iter().filter(is_of_launch);
        let of_launch: Vec<Fault> = of_launch.cloned().collect();
        StartError::Create(fault_reports(&wiring, &of_launch))
    }

    /// Remembers the thread of a lane.
    pub(crate) fn runs_on(&self, lane: usize, thread: JoinHandle<()>) {
        self.threads().insert(lane, thread);
    }

    /// The report of a run that is over. Lanes that have finished are joined; one that hangs in a call is left behind.
    pub(crate) fn close_books(&self, hung: &[NodeId]) -> Report {
        let lanes: Vec<usize> = self.threads().keys().copied().collect();
        let hung_lanes: Vec<usize> = {
            let wiring = self.wiring();
            let lane_of = |&node: &NodeId| wiring.instances[node].lane;
            hung.iter().map(lane_of).collect()
        };
        for lane in lanes.into_iter().filter(|lane| !hung_lanes.contains(lane)) {
            self.join_lane(lane);
        }
        for edge in &self.wiring().edges {
            edge.carrier.abandon();
        }
        self.report(hung)
    }

    /// Joins the thread of a lane that has ended.
    pub(crate) fn join_lane(&self, lane: usize) {
        let thread = self.threads().remove(&lane);
        if let Some(thread) = thread {
            // The lane caught its actors' panics; a panic of the engine itself is reported by the thread's hook.
            let _ = thread.join();
        }
    }

    fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn threads(&self) -> MutexGuard<'_, HashMap<usize, JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The report as of now.
    pub(crate) fn report(&self, hung: &[NodeId]) -> Report {
        let wiring = self.wiring();
        let mut report =
            crate::accounts::report(&wiring, self.started_ns.load(Ordering::Relaxed), hung);
        let faults = self.faults();
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
