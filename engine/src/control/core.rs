//! The shared state of a run: its wiring, the groups of instances that begin together, its faults, its threads.
//!
//! Carries out the lifecycle's decisions. Delivering events and stepping lanes (threads, or a simulation) is elsewhere.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use crate::clock::Clock;
use crate::control::graph_lifecycle::{Directive, Fault, GraphEvent, InstanceKind};
use crate::control::groups::{Groups, Launch};
use crate::events::{Events, RunEvent};
use crate::graph::{Graph, StreamSpec};
use crate::lock::lock;
use crate::registry::Registry;
use crate::report::{FaultReport, Report, StreamReport};
use crate::reporting::stream_report;
use crate::runtime::closing::Closing;
use crate::runtime::host::Host;
use crate::runtime::protocol::{Attachment, Command, Event, NodeId};
use crate::runtime::wiring::{NewLanes, Wiring};
use crate::start_error::StartError;
use crate::statistics::Snapshot;

/// The shared state of a run. No two of these locks are held at once. Events may be published while one is: whoever
/// receives them does so from a channel, without a lock.
pub(crate) struct Core {
    pub(crate) graph: Arc<Graph>,
    pub(crate) clock: Clock,
    wiring: Mutex<Wiring>,
    groups: Mutex<Groups>,
    threads: Mutex<HashMap<usize, JoinHandle<()>>>,
    faults: Mutex<Vec<KnownFault>>,
    accepts_streams: AtomicBool,
    over: flume::Sender<Vec<NodeId>>,
    pub(crate) events: Events,
    started_ns: AtomicU64,
}

struct KnownFault {
    node: Option<NodeId>,
    report: FaultReport,
}

impl Core {
    /// Creates the state of a run that has not begun. When the run is over, the receiver gets the instances that hung.
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
            events: Events::default(),
            started_ns: AtomicU64::new(0),
        };
        (Arc::new(core), is_over)
    }

    pub(crate) fn wiring(&self) -> MutexGuard<'_, Wiring> {
        lock(&self.wiring)
    }

    pub(crate) fn node_name(&self, node: NodeId) -> String {
        name_of(&self.wiring(), node)
    }

    /// Returns the name and the instances of a lane.
    pub(crate) fn lane(&self, lane: usize) -> (String, Vec<NodeId>) {
        let wiring = self.wiring();
        let lane = wiring.lanes.get(&lane);
        lane.map(|lane| (lane.name.clone(), lane.nodes.clone()))
            .unwrap_or_default()
    }

    pub(crate) fn is_irreplaceable(&self, node: NodeId) -> bool {
        let wiring = self.wiring();
        let instance = wiring.instances.get(&node);
        instance.is_some_and(|instance| instance.irreplaceable)
    }

    /// Sends a command to the lane of a node.
    pub(crate) fn command(&self, node: NodeId, command: Command) {
        let wiring = self.wiring();
        // A closed instance needs no command any more.
        if let Some(instance) = wiring.instances.get(&node) {
            wiring.lanes[&instance.lane].mailbox.send(command);
        }
    }

    pub(crate) fn set_accepts_streams(&self, accepts: bool) {
        self.accepts_streams.store(accepts, Ordering::Relaxed);
    }

    /// Publishes the faults that the lifecycle has found since the last time.
    pub(crate) fn publish_faults(&self, faults: &[Fault]) {
        let known = self.faults().len();
        for fault in &faults[known.min(faults.len())..] {
            let fault = self.known_fault(fault);
            self.events
                .publish(&RunEvent::Faulted(fault.report.clone()));
            self.faults().push(fault);
        }
    }

    /// Publishes that a node will be rebuilt, and why.
    pub(crate) fn publish_restart(&self, node: &str, reason: &str) {
        self.events.publish(&RunEvent::Restarting {
            node: node.to_owned(),
            reason: self.graph.secrets().hide(reason),
        });
    }

    fn known_fault(&self, fault: &Fault) -> KnownFault {
        KnownFault {
            node: fault.node.as_ref().map(|(node, _)| *node),
            report: FaultReport {
                node: fault.node.as_ref().map(|(_, name)| name.clone()),
                message: self.graph.secrets().hide(&fault.message),
            },
        }
    }

    /// Handles an event of a lane that needs no decision. Returns the stream that it closed, if any.
    pub(crate) fn note(&self, event: &Event) -> Option<Closing> {
        let mut wiring = self.wiring();
        match event {
            Event::Restarted { node } => {
                let node = name_of(&wiring, *node);
                self.events.publish(&RunEvent::Restarted { node });
            }
            Event::Connection { node, lost } => {
                let node = name_of(&wiring, *node);
                self.events.publish(&match lost.clone() {
                    Some(reason) => RunEvent::Lost { node, reason },
                    None => RunEvent::Restored { node },
                });
            }
            Event::StreamEnded { stream, end, .. } => {
                let record = wiring.streams.get_mut(stream)?;
                record.end = record.end.and(*end);
                record.unended = record.unended.saturating_sub(1);
                if record.unended == 0 && record.has_begun {
                    self.events.publish(&RunEvent::StreamEnded {
                        stream: record.stream.name.clone(),
                        end: record.end,
                    });
                }
                return wiring.close_if_over(*stream);
            }
            _ => {}
        }
        None
    }

    /// Carries out a decision of the lifecycle.
    pub(crate) fn carry_out(&self, directive: &Directive) {
        match directive {
            Directive::Start { group } => self.start_group(*group),
            Directive::StartFailed { group } => lock(&self.groups).answer(*group, false),
            Directive::Retire { node } => self.command(*node, Command::Retire { node: *node }),
            Directive::CancelStream { stream } => {
                let wiring = self.wiring();
                if let Some(record) = wiring.streams.get(stream) {
                    cancel(&wiring, record.source);
                }
            }
            Directive::CancelAll => {
                self.events.publish(&RunEvent::Draining);
                let wiring = self.wiring();
                for record in wiring.streams.values() {
                    cancel(&wiring, record.source);
                }
            }
            Directive::Close => self.to_all_lanes(|| Command::Close),
            Directive::StopAll => {
                self.events.publish(&RunEvent::Stopping);
                lock(&self.groups).close();
                let wiring = self.wiring();
                for instance in wiring.instances.values() {
                    instance.cancel.store(true, Ordering::Relaxed);
                }
                for lane in wiring.lanes.values() {
                    lane.mailbox.send(Command::Stop);
                }
            }
            Directive::Over { hung } => {
                lock(&self.groups).close();
                for (stream, end) in self.wiring().cut_off() {
                    self.events.publish(&RunEvent::StreamEnded { stream, end });
                }
                self.events.close();
                let _ = self.over.send(hung.clone());
            }
        }
    }

    fn start_group(&self, group: usize) {
        if group == 0 {
            self.started_ns
                .store(self.clock.now_ns().max(1), Ordering::Relaxed);
        }
        let (nodes, has_begun) = {
            let mut groups = lock(&self.groups);
            (groups.start(group), !groups.is_closed())
        };
        let mut wiring = self.wiring();
        if has_begun {
            let stream = wiring.begin(&nodes).filter(|_| group > 0);
            self.events.publish(&match stream {
                Some(stream) => RunEvent::StreamStarted { stream },
                None => RunEvent::Started,
            });
        }
        for node in nodes {
            if let Some(instance) = wiring.instances.get(&node) {
                wiring.lanes[&instance.lane].mailbox.nudge();
            }
        }
    }

    /// Retires all instances of a group.
    pub(crate) fn retire_group(&self, group: usize) {
        let nodes = lock(&self.groups).nodes(group);
        for node in nodes {
            self.command(node, Command::Retire { node });
        }
    }

    /// Removes a group whose instances are gone.
    pub(crate) fn forget_group(&self, group: usize) {
        lock(&self.groups).forget(group);
    }

    fn to_all_lanes(&self, command: impl Fn() -> Command) {
        for lane in self.wiring().lanes.values() {
            lane.mailbox.send(command());
        }
    }

    /// Wires the graph of the graph file.
    pub(crate) fn wire_graph(&self) -> Result<NewLanes, StartError> {
        Ok(self.wiring().wire_graph()?)
    }

    /// Checks whether a stream from a source here could be wired now.
    pub(crate) fn check_stream(&self, name: &str, uri: &str) -> Result<(), StartError> {
        if !self.accepts_streams.load(Ordering::Relaxed) {
            return Err(StartError::Ending);
        }
        let spec = StreamSpec::new(name, uri);
        let (source, registry, named) = {
            let wiring = self.wiring();
            let registry = Arc::clone(&wiring.registry);
            (
                wiring.check_stream(&spec, None)?,
                registry,
                wiring.named(&spec),
            )
        };
        source.map(drop).ok_or(StartError::TakesNoStreams)?;
        // Without the lock: nobody else has to wait for a camera or a disk that does not respond.
        Ok(self.graph.check_instances(&registry, &named)?)
    }

    /// Wires a stream into the running graph. Also returns the name that it got.
    pub(crate) fn wire_stream(
        &self,
        name: &str,
        uri: &str,
        edge: Option<&str>,
    ) -> Result<(NewLanes, String), StartError> {
        if !self.accepts_streams.load(Ordering::Relaxed) {
            return Err(StartError::Ending);
        }
        let spec = StreamSpec::new(name, uri);
        let mut wiring = self.wiring();
        let new = wiring.wire_stream(&spec, edge)?.ok_or_else(|| match edge {
            Some(edge) => StartError::NoEdge(edge.to_owned()),
            None => StartError::TakesNoStreams,
        })?;
        let stream = wiring.streams.last_key_value();
        let name = stream.map_or(spec.name, |(_, record)| record.stream.name.clone());
        Ok((new, name))
    }

    /// Sends attachments to their lanes.
    pub(crate) fn attach(&self, attachments: Vec<(usize, Attachment)>) {
        self.wiring().attach(attachments);
    }

    /// Returns the number of the stream with this name.
    pub(crate) fn stream_named(&self, name: &str) -> Option<u32> {
        let wiring = self.wiring();
        let mut streams = wiring.streams.values();
        let record = streams.find(|record| record.stream.name == name)?;
        Some(record.stream.id)
    }

    /// Returns the edge over which the stream with this name comes from another machine, if it does.
    pub(crate) fn edge_of(&self, name: &str) -> Option<String> {
        let wiring = self.wiring();
        let mut streams = wiring.streams.values();
        let record = streams.find(|record| record.stream.name == name)?;
        wiring.edge_of(record)
    }

    /// Returns the books of the stream with this name.
    pub(crate) fn stream_report(&self, name: &str) -> Option<StreamReport> {
        let wiring = self.wiring();
        let mut streams = wiring.streams.values();
        let Some(record) = streams.find(|record| record.stream.name == name) else {
            return wiring.closed.streams.get(name).cloned();
        };
        Some(stream_report(&wiring, record, &[], &mut Vec::new()))
    }

    /// Registers new instances as a group. The returned event must reach the lifecycle before the lanes start.
    pub(crate) fn launch(&self, new: &NewLanes) -> (Launch, GraphEvent) {
        let (group, created) = lock(&self.groups).add(&new.nodes, &new.started);
        let launch = Launch {
            group,
            nodes: new.nodes.clone(),
            known_faults: self.faults().len(),
            created,
        };
        let wiring = self.wiring();
        let kind = |&node: &NodeId| {
            let instance = &wiring.instances[&node];
            let kind = InstanceKind {
                stream: instance.stream,
                source: instance.source,
            };
            (node, kind)
        };
        let nodes: Vec<_> = new.nodes.iter().map(kind).collect();
        (launch, GraphEvent::Wired { group, nodes })
    }

    /// Stops the lanes of a launch because one of them got no thread. Returns the event for the lifecycle.
    pub(crate) fn launch_failed(&self, launch: &Launch, message: String) -> GraphEvent {
        let mut wiring = self.wiring();
        for record in wiring.streams.values_mut() {
            if record.nodes.iter().any(|node| launch.nodes.contains(node)) {
                // It begins nowhere, so there is no end to wait for.
                record.unended = 0;
            }
        }
        for node in &launch.nodes {
            let Some(instance) = wiring.instances.get(node) else {
                continue;
            };
            instance.watch.never_ran();
            wiring.lanes[&instance.lane].mailbox.send(Command::Stop);
        }
        GraphEvent::LaunchFailed {
            group: launch.group,
            message,
        }
    }

    pub(crate) fn has_started(&self) -> bool {
        self.started_ns.load(Ordering::Relaxed) > 0
    }

    /// Waits until all instances of a launch have been created.
    pub(crate) fn await_creation(&self, launch: &Launch) -> Result<(), StartError> {
        match launch.created.recv() {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.failure_of(launch)),
            Err(_) => Err(StartError::Ending),
        }
    }

    /// Returns why instances of a launch could not be created. If nothing failed, a stop has given them up.
    pub(crate) fn failure_of(&self, launch: &Launch) -> StartError {
        let faults = self.faults();
        let of_launch = faults[launch.known_faults..].iter().filter(|fault| {
            let node = fault.node;
            node.is_none_or(|node| launch.nodes.contains(&node))
        });
        let reports: Vec<FaultReport> = of_launch.map(|fault| fault.report.clone()).collect();
        if reports.is_empty() {
            return StartError::Ending;
        }
        StartError::Create(reports)
    }

    /// Gives everything up because the control plane has died and nothing is decided any more.
    pub(crate) fn control_died(&self, message: &str) {
        self.set_accepts_streams(false);
        let message = format!("the control plane died: {message}");
        tracing::error!("{message}");
        let fault = self.known_fault(&Fault {
            node: None,
            message,
        });
        self.faults().push(fault);
        self.carry_out(&Directive::StopAll);
        let hung = {
            let wiring = self.wiring();
            let instances = wiring.instances.iter();
            let unfinished = instances.filter(|(_, instance)| !instance.is_finished());
            unfinished.map(|(node, _)| *node).collect()
        };
        self.carry_out(&Directive::Over { hung });
    }

    /// Stores the thread of a lane.
    pub(crate) fn runs_on(&self, lane: usize, thread: JoinHandle<()>) {
        self.threads().insert(lane, thread);
    }

    /// Returns the report of a finished run. Joins finished lanes; a lane that hangs in a call is left behind.
    pub(crate) fn close_books(&self, hung: &[NodeId]) -> Report {
        let lanes: Vec<usize> = self.threads().keys().copied().collect();
        let hung_lanes: Vec<usize> = {
            let wiring = self.wiring();
            let of_hung = |node: &NodeId| wiring.instances.get(node);
            let hung = hung.iter().filter_map(of_hung);
            hung.map(|instance| instance.lane).collect()
        };
        for lane in lanes.into_iter().filter(|lane| !hung_lanes.contains(lane)) {
            self.join_lane(lane);
        }
        {
            let mut wiring = self.wiring();
            for edge in wiring.edges.values() {
                edge.abandon();
            }
            // Lanes may have ended without this having been reported yet.
            wiring.close_what_is_over(&hung_lanes);
        }
        self.report(hung)
    }

    /// Handles the end of a lane's thread. Returns the stream that it closed, if any.
    pub(crate) fn lane_exited(&self, lane: usize) -> Option<Closing> {
        self.join_lane(lane);
        let mut wiring = self.wiring();
        let stream = wiring.lane_exited(lane)?;
        wiring.close_if_over(stream)
    }

    fn join_lane(&self, lane: usize) {
        let thread = self.threads().remove(&lane);
        if let Some(thread) = thread {
            // The lane catches its actors' panics; a panic of the engine itself is reported by the panic hook.
            let _ = thread.join();
        }
    }

    fn faults(&self) -> MutexGuard<'_, Vec<KnownFault>> {
        lock(&self.faults)
    }

    fn threads(&self) -> MutexGuard<'_, HashMap<usize, JoinHandle<()>>> {
        lock(&self.threads)
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        let faults = self.faults().len();
        Snapshot {
            faults,
            ..crate::snapshot::snapshot(&self.wiring())
        }
    }

    /// Returns the report as of now.
    pub(crate) fn report(&self, hung: &[NodeId]) -> Report {
        let started_ns = self.started_ns.load(Ordering::Relaxed);
        let mut report = crate::reporting::report(&self.wiring(), started_ns, hung);
        let faults = self.faults();
        report.faults = faults.iter().map(|fault| fault.report.clone()).collect();
        report
    }
}

fn name_of(wiring: &Wiring, node: NodeId) -> String {
    let instance = wiring.instances.get(&node);
    instance.map_or_else(String::new, |instance| instance.watch.name.clone())
}

fn cancel(wiring: &Wiring, source: NodeId) {
    if let Some(instance) = wiring.instances.get(&source) {
        instance.cancel.store(true, Ordering::Relaxed);
        wiring.lanes[&instance.lane].mailbox.nudge();
    }
}
