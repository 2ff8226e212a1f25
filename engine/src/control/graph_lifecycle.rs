//! The life cycle of a run as a pure state machine: starting, running, draining, stopping, over.
//!
//! Decides what a failed node means for its stream or the run, when shared nodes may finish, and when deadlines have
//! passed. Refers to instances and streams by number and has no side effects.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::clock::nanoseconds;
use crate::runtime::protocol::NodeId;

/// Time that threads get to notice that the run is being stopped.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// An event for the run's supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GraphEvent {
    /// Instances have been wired and will be created: those of the graph file as group 0, those of each added stream as
    /// another group.
    Wired {
        group: usize,
        nodes: Vec<(NodeId, InstanceKind)>,
    },
    /// The instances of a group cannot run because a thread could not be started.
    LaunchFailed {
        group: usize,
        message: String,
    },
    NodeReady {
        node: NodeId,
    },
    CreateFailed {
        node: NodeId,
        failure: Failure,
    },
    /// A node will not be restarted: its budget is exhausted, it is irreplaceable, or it asked to stop.
    Escalated {
        node: NodeId,
        failure: Failure,
    },
    SourceEnded {
        node: NodeId,
        failure: Option<Failure>,
    },
    NodeFinished {
        node: NodeId,
        failure: Option<Failure>,
    },
    /// The program that runs the graph will add no further streams.
    StreamsComplete,
    /// A stream is about to be added.
    StreamAwaited,
    /// The awaited stream has been added, or could not be.
    StreamArrived,
    RemoveStream {
        stream: u32,
    },
    Drain,
    Stop,
    /// The provider of the graph's streams cannot continue.
    ProviderFailed {
        message: String,
    },
    /// All lanes wait for each other.
    Deadlocked {
        message: String,
    },
    /// The thread of a lane has died, and with it these nodes.
    LaneDied {
        nodes: Vec<NodeId>,
        message: String,
    },
    /// Time has passed.
    Tick,
}

/// A failure of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The node's name at the time of the failure: its stream may have been closed by the time this is read.
    pub(crate) name: String,
    pub(crate) message: String,
}

/// The properties of an instance that the lifecycle needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InstanceKind {
    /// The stream of an `each: stream` instance.
    pub(crate) stream: Option<u32>,
    pub(crate) source: bool,
}

/// An action to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Directive {
    /// All instances of the group exist: let its sources begin.
    Start {
        group: usize,
    },
    /// An instance of the group could not be created.
    StartFailed {
        group: usize,
    },
    Retire {
        node: NodeId,
    },
    /// End the source of the stream early.
    CancelStream {
        stream: u32,
    },
    CancelAll,
    /// Let shared nodes finish when the present streams have ended.
    Close,
    StopAll,
    /// The run is over; these instances never returned.
    Over {
        hung: Vec<NodeId>,
    },
}

/// A fault, for the report and the exit code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// The node, if the fault belongs to one.
    pub(crate) node: Option<(NodeId, String)>,
    pub(crate) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Phase {
    Running,
    Draining,
    Stopping,
    Over,
}

struct Group {
    waiting_for: usize,
    failed: bool,
    stream: Option<u32>,
}

pub(crate) struct GraphLifecycle {
    phase: Phase,
    drain_ns: u64,
    deadline_ns: Option<u64>,
    streams_complete: bool,
    /// Number of streams that are about to be added.
    awaited: usize,
    closed: bool,
    groups: BTreeMap<usize, Group>,
    group_of: BTreeMap<NodeId, usize>,
    kinds: BTreeMap<NodeId, InstanceKind>,
    active_sources: BTreeSet<NodeId>,
    unfinished: BTreeSet<NodeId>,
    /// Unfinished nodes of lanes that died.
    lost: Vec<NodeId>,
    pub(crate) faults: Vec<Fault>,
}

impl GraphLifecycle {
    pub(crate) fn new(drain: Duration) -> Self {
        Self {
            phase: Phase::Running,
            drain_ns: nanoseconds(drain),
            deadline_ns: None,
            streams_complete: false,
            awaited: 0,
            closed: false,
            groups: BTreeMap::new(),
            group_of: BTreeMap::new(),
            kinds: BTreeMap::new(),
            active_sources: BTreeSet::new(),
            unfinished: BTreeSet::new(),
            lost: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Returns the actions that an event at a clock time leads to.
    pub(crate) fn decide(&mut self, event: GraphEvent, now_ns: u64) -> Vec<Directive> {
        let mut directives = Vec::new();
        match event {
            GraphEvent::Wired { group, nodes } => directives.extend(self.wired(group, nodes)),
            GraphEvent::LaunchFailed { group, message } => {
                directives.extend(self.launch_failed(group, message, now_ns));
            }
            GraphEvent::NodeReady { node } => directives.extend(self.created(node, true)),
            GraphEvent::CreateFailed { node, failure } => {
                self.node_fault(node, failure);
                directives.extend(self.created(node, false));
            }
            GraphEvent::Escalated { node, failure } => {
                directives.extend(self.escalated(node, failure, now_ns))
            }
            GraphEvent::SourceEnded { node, failure } => {
                if let Some(failure) = failure {
                    self.node_fault(node, failure);
                }
                self.active_sources.remove(&node);
            }
            GraphEvent::NodeFinished { node, failure } => {
                if let Some(failure) = failure {
                    self.node_fault(node, failure);
                }
                self.active_sources.remove(&node);
                self.unfinished.remove(&node);
            }
            GraphEvent::StreamsComplete => self.streams_complete = true,
            GraphEvent::StreamAwaited => self.awaited += 1,
            GraphEvent::StreamArrived => self.awaited = self.awaited.saturating_sub(1),
            GraphEvent::RemoveStream { stream } => {
                directives.push(Directive::CancelStream { stream })
            }
            GraphEvent::Drain => directives.extend(self.drain(now_ns)),
            GraphEvent::Stop => directives.extend(self.stop(now_ns)),
            GraphEvent::Deadlocked { message } => {
                if self.phase < Phase::Stopping {
                    self.fault(message);
                    directives.extend(self.stop(now_ns));
                }
            }
            GraphEvent::ProviderFailed { message } => {
                self.fault(message);
                directives.extend(self.drain(now_ns));
            }
            GraphEvent::LaneDied { nodes, message } => {
                self.fault(message);
                for node in nodes {
                    if self.unfinished.remove(&node) {
                        self.lost.push(node);
                    }
                    self.active_sources.remove(&node);
                    directives.extend(self.created(node, false));
                }
                directives.extend(self.stop(now_ns));
            }
            GraphEvent::Tick => {}
        }
        directives.extend(self.proceed(now_ns));
        directives
    }

    pub(crate) fn accepts_streams(&self) -> bool {
        self.phase == Phase::Running && !self.closed
    }

    fn fault(&mut self, message: String) {
        self.faults.push(Fault {
            node: None,
            message,
        });
    }

    fn node_fault(&mut self, node: NodeId, failure: Failure) {
        self.faults.push(Fault {
            node: Some((node, failure.name)),
            message: failure.message,
        });
    }

    fn wired(&mut self, group: usize, nodes: Vec<(NodeId, InstanceKind)>) -> Option<Directive> {
        let stream = (group > 0)
            .then(|| nodes.iter().find_map(|(_, kind)| kind.stream))
            .flatten();
        self.groups.insert(
            group,
            Group {
                waiting_for: nodes.len(),
                failed: false,
                stream,
            },
        );
        let is_empty = nodes.is_empty();
        if self.phase == Phase::Over {
            // It comes too late: nothing waits for it, and its lanes must end.
            return Some(Directive::StopAll);
        }
        for (node, kind) in nodes {
            self.group_of.insert(node, group);
            self.kinds.insert(node, kind);
            self.unfinished.insert(node);
            if kind.source {
                self.active_sources.insert(node);
            }
        }
        match self.phase {
            Phase::Running if is_empty => Some(Directive::Start { group }),
            Phase::Running => None,
            // Admitted just before the drain: it ends before it captures anything.
            Phase::Draining => stream.map(|stream| Directive::CancelStream { stream }),
            Phase::Stopping | Phase::Over => Some(Directive::StopAll),
        }
    }

    fn launch_failed(&mut self, group: usize, message: String, now_ns: u64) -> Vec<Directive> {
        self.fault(message);
        let of_group = self.group_of.iter().filter(|(_, of)| **of == group);
        for node in of_group.map(|(node, _)| *node).collect::<Vec<_>>() {
            self.unfinished.remove(&node);
            self.active_sources.remove(&node);
        }
        let mut directives = vec![Directive::StartFailed { group }];
        if group == 0 {
            directives.extend(self.stop(now_ns));
        }
        directives
    }

    fn created(&mut self, node: NodeId, ready: bool) -> Option<Directive> {
        let number = *self.group_of.get(&node)?;
        let group = self.groups.get_mut(&number)?;
        group.waiting_for = group.waiting_for.saturating_sub(1);
        group.failed |= !ready;
        if group.waiting_for > 0 {
            return None;
        }
        Some(if group.failed {
            Directive::StartFailed { group: number }
        } else {
            Directive::Start { group: number }
        })
    }

    /// Retires a node that will not be restarted. A per-stream node ends its stream, a shared node drains the run.
    fn escalated(&mut self, node: NodeId, failure: Failure, now_ns: u64) -> Vec<Directive> {
        self.node_fault(node, failure);
        let mut directives = vec![Directive::Retire { node }];
        match self.kinds.get(&node) {
            Some(InstanceKind {
                stream: Some(stream),
                ..
            }) => directives.push(Directive::CancelStream { stream: *stream }),
            Some(_) => directives.extend(self.drain(now_ns)),
            // Its stream has been closed in the meantime.
            None => {}
        }
        directives
    }

    fn drain(&mut self, now_ns: u64) -> Option<Directive> {
        (self.phase == Phase::Running).then(|| {
            self.phase = Phase::Draining;
            self.deadline_ns = Some(now_ns.saturating_add(self.drain_ns));
            Directive::CancelAll
        })
    }

    fn stop(&mut self, now_ns: u64) -> Option<Directive> {
        (self.phase < Phase::Stopping).then(|| {
            self.phase = Phase::Stopping;
            self.deadline_ns = Some(now_ns.saturating_add(nanoseconds(STOP_GRACE)));
            Directive::StopAll
        })
    }

    /// Returns the actions that follow from the state alone.
    fn proceed(&mut self, now_ns: u64) -> Vec<Directive> {
        let mut directives = Vec::new();
        let has_begun = !self.groups.is_empty() || self.phase == Phase::Stopping;
        if self.phase == Phase::Over || !has_begun {
            return directives;
        }
        // A stream that is awaited will be attached to shared nodes, which must not have finished by then.
        let complete = (self.streams_complete || self.phase > Phase::Running) && self.awaited == 0;
        if complete && !self.closed && self.active_sources.is_empty() {
            self.closed = true;
            directives.push(Directive::Close);
        }
        if self.unfinished.is_empty() && complete {
            self.phase = Phase::Over;
            let hung = std::mem::take(&mut self.lost);
            directives.push(Directive::Over { hung });
            return directives;
        }
        if self.deadline_ns.is_some_and(|deadline| deadline <= now_ns) {
            if self.phase == Phase::Draining {
                let seconds = self.drain_ns as f64 / 1e9;
                self.fault(format!(
                    "draining took longer than {seconds} s; the rest was abandoned"
                ));
                directives.extend(self.stop(now_ns));
            } else {
                self.phase = Phase::Over;
                let mut hung = std::mem::take(&mut self.lost);
                hung.extend(&self.unfinished);
                directives.push(Directive::Over { hung });
            }
        }
        directives
    }

    /// Removes instances of one group that are gone. Returns the number of their group, unless it is that of the graph
    /// file.
    pub(crate) fn forget(&mut self, nodes: &[NodeId]) -> Option<usize> {
        let mut group = None;
        for node in nodes {
            self.kinds.remove(node);
            group = self.group_of.remove(node);
        }
        let number = group.filter(|&number| number > 0)?;
        self.groups.remove(&number);
        Some(number)
    }

    /// Returns the stream of a group, if the group belongs to an added stream.
    pub(crate) fn stream_of_group(&self, group: usize) -> Option<u32> {
        self.groups.get(&group)?.stream
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wired(group: usize, nodes: &[(NodeId, Option<u32>, bool)]) -> GraphEvent {
        let kinds = nodes.iter().map(|&(node, stream, source)| {
            let kind = InstanceKind { stream, source };
            (node, kind)
        });
        GraphEvent::Wired {
            group,
            nodes: kinds.collect(),
        }
    }

    fn no_thread(group: usize) -> GraphEvent {
        GraphEvent::LaunchFailed {
            group,
            message: "cannot start a thread".to_owned(),
        }
    }

    #[test]
    fn a_stream_for_which_there_is_no_thread_is_answered_and_the_run_goes_on() {
        let mut run = GraphLifecycle::new(Duration::from_secs(10));
        run.decide(wired(0, &[(0, None, false)]), 0);
        run.decide(GraphEvent::NodeReady { node: 0 }, 0);
        run.decide(wired(1, &[(1, Some(0), true), (2, Some(0), false)]), 0);
        let failed = run.decide(no_thread(1), 0);
        assert_eq!(failed, [Directive::StartFailed { group: 1 }]);
        assert_eq!(run.faults.len(), 1);
        assert!(run.accepts_streams());
        // The end does not wait for any of it.
        let closed = run.decide(GraphEvent::StreamsComplete, 0);
        assert_eq!(closed, [Directive::Close]);
        let finished = GraphEvent::NodeFinished {
            node: 0,
            failure: None,
        };
        assert_eq!(
            run.decide(finished, 0),
            [Directive::Over { hung: Vec::new() }]
        );
    }

    #[test]
    fn a_drain_waits_for_a_stream_that_was_admitted_before_it_and_captures_nothing_of_it() {
        let mut run = GraphLifecycle::new(Duration::from_secs(10));
        run.decide(wired(0, &[(0, None, false)]), 0);
        run.decide(GraphEvent::NodeReady { node: 0 }, 0);
        run.decide(GraphEvent::StreamAwaited, 0);
        assert_eq!(run.decide(GraphEvent::Drain, 0), [Directive::CancelAll]);
        let cancelled = run.decide(wired(1, &[(1, Some(0), true)]), 0);
        assert_eq!(cancelled, [Directive::CancelStream { stream: 0 }]);
        assert_eq!(run.decide(GraphEvent::StreamArrived, 0), []);
        let ended = GraphEvent::SourceEnded {
            node: 1,
            failure: None,
        };
        assert_eq!(run.decide(ended, 0), [Directive::Close]);
    }

    #[test]
    fn a_stream_that_is_awaited_keeps_the_run_open_until_it_has_come() {
        let mut run = GraphLifecycle::new(Duration::from_secs(10));
        run.decide(wired(0, &[(0, None, false)]), 0);
        run.decide(GraphEvent::NodeReady { node: 0 }, 0);
        run.decide(GraphEvent::StreamAwaited, 0);
        assert_eq!(run.decide(GraphEvent::StreamsComplete, 0), []);
        assert!(run.accepts_streams());
        assert_eq!(run.decide(GraphEvent::StreamArrived, 0), [Directive::Close]);
    }

    #[test]
    fn a_graph_for_which_there_is_no_thread_is_answered_and_stopped() {
        let mut run = GraphLifecycle::new(Duration::from_secs(10));
        run.decide(wired(0, &[(0, None, true), (1, None, false)]), 0);
        let failed = run.decide(no_thread(0), 0);
        let over = Directive::Over { hung: Vec::new() };
        let start_failed = Directive::StartFailed { group: 0 };
        assert_eq!(
            failed,
            [start_failed, Directive::StopAll, Directive::Close, over]
        );
    }
}
