//! Runs a graph: starting it, adding and removing streams, draining, stopping, and waiting for its report.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::Addr;
use actix::prelude::Actor as _;

use crate::clock::Clock;
use crate::control::core::Core;
use crate::control::graph_lifecycle::GraphEvent;
use crate::control::groups::Launch;
use crate::control::supervisor::{Admit, Decide, GraphSupervisor, LaneEvent};
use crate::end::End;
use crate::events::RunEvent;
use crate::graph::Graph;
use crate::observer::Observer;
use crate::providing::{self, Provider, Providing};
use crate::registry::Registry;
use crate::report::{Report, StreamReport};
use crate::runtime::call::panic_message;
use crate::runtime::driver;
use crate::runtime::host::{Host, Workers};
use crate::runtime::protocol::{Event, EventSink, NodeId};
use crate::runtime::wiring::NewLanes;
use crate::services::Services;
pub use crate::start_error::StartError;
use crate::statistics::Snapshot;

/// Time that the end of a run waits for its provider, which may still be recording how the last streams ended.
const PROVIDER_GRACE: Duration = Duration::from_secs(10);

/// Options for starting a run.
#[derive(Clone, Default)]
pub struct RunOptions {
    /// Whether the run continues when all streams have ended, until [`RunHandle::streams_complete`], a drain or a stop,
    /// because more streams will be added.
    pub hold_open: bool,
    /// An observer that is notified of what happens to each packet.
    pub observer: Option<Arc<dyn Observer>>,
    /// The services that the program offers to its actors.
    pub services: Services,
}

/// A graph that has been started. Dropping it stops the run.
pub struct RunningGraph {
    handle: RunHandle,
    over: flume::Receiver<Vec<NodeId>>,
    opening: Box<Launch>,
    control: Option<JoinHandle<()>>,
    /// Disconnected when the provider's thread has ended.
    providing: Option<flume::Receiver<()>>,
}

/// Keeps a run from ending while a stream is being added.
struct Admission<'a>(&'a RunHandle);

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.0.tell(GraphEvent::StreamArrived);
    }
}

/// A handle that controls a run from any thread.
#[derive(Clone)]
pub struct RunHandle {
    core: Arc<Core>,
    supervisor: Addr<GraphSupervisor>,
    system: actix::System,
}

impl RunningGraph {
    /// Creates all nodes and, once all of them exist, lets the sources begin.
    ///
    /// # Errors
    /// The graph is wrong, a thread could not be started, or nodes could not be created (all of them are listed, with
    /// their reasons). Nothing runs then.
    pub fn start(
        graph: Graph,
        registry: Arc<Registry>,
        options: RunOptions,
    ) -> Result<Self, StartError> {
        let running = Self::launch(graph, registry, options)?;
        running.created()?;
        Ok(running)
    }

    /// Begins to create all nodes and returns at once, so that a run that takes long to create can be watched, drained
    /// or stopped in the meantime. [`RunningGraph::created`] waits for the creation.
    ///
    /// # Errors
    /// The graph is wrong, or a thread could not be started. Nothing runs then.
    pub fn launch(
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
            observer: options.observer.clone(),
            services: options.services.clone(),
        };
        graph.check_services(&options.services)?;
        let (core, over) = Core::new(graph, Arc::clone(&registry), host);
        let provider = providing::create(&core, &registry)?;
        let new = core.wire_graph()?;
        let control = {
            let core = Arc::clone(&core);
            std::thread::Builder::new()
                .name("control".to_owned())
                .spawn(move || control_plane(&core, &system_sender))?
        };
        let (system, supervisor) = system_receiver
            .recv()
            .map_err(|_| std::io::Error::other("the control plane did not start"))?;
        let _ = supervisor_slot.set(supervisor.clone());
        let handle = RunHandle {
            core,
            supervisor,
            system,
        };
        let ends = provider
            .is_some()
            .then(|| handle.core.events.subscribe_to_ends());
        let opening = handle.launch(new);
        let mut running = Self {
            handle,
            over,
            opening: Box::new(opening),
            control: Some(control),
            providing: None,
        };
        match (provider, ends) {
            (Some(provider), Some(ends)) => {
                running.providing = Some(running.handle.provide(provider, ends)?);
            }
            _ if options.hold_open => {}
            _ => running.handle.streams_complete(),
        }
        Ok(running)
    }

    /// Waits until all nodes of the graph have been created.
    ///
    /// # Errors
    /// Lists all nodes that could not be created, with their reasons; or the run was stopped before they were created.
    pub fn created(&self) -> Result<(), StartError> {
        self.handle.core.await_creation(&self.opening)
    }

    /// Returns a handle that controls the run from other threads.
    pub fn handle(&self) -> RunHandle {
        self.handle.clone()
    }

    /// Waits until the run is over and returns its report.
    pub fn wait(mut self) -> Report {
        let hung = self.over.recv().unwrap_or_default();
        self.finish(&hung)
    }

    /// Like [`RunningGraph::wait`], but stops waiting after this time.
    ///
    /// # Errors
    /// The graph itself, if it is still running.
    pub fn wait_for(mut self, time: Duration) -> Result<Report, Self> {
        match self.over.recv_timeout(time) {
            Ok(hung) => Ok(self.finish(&hung)),
            Err(_) => Err(self),
        }
    }

    fn finish(&mut self, hung: &[NodeId]) -> Report {
        let report = self.handle.core.close_books(hung);
        if let Some(providing) = self.providing.take()
            && providing.recv_timeout(PROVIDER_GRACE) == Err(flume::RecvTimeoutError::Timeout)
        {
            tracing::warn!("the provider of streams has not returned; the run ends without it");
        }
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

/// Runs the control plane on the current thread. If it dies, which is a bug in the engine, the run is over.
fn control_plane(core: &Arc<Core>, ready: &flume::Sender<(actix::System, Addr<GraphSupervisor>)>) {
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let runner = actix::System::new();
        runner.block_on(async {
            let supervisor = GraphSupervisor::new(Arc::clone(core)).start();
            let _ = ready.send((actix::System::current(), supervisor));
        });
        runner.run()
    }));
    let failure = match outcome {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic_message(&*panic),
    };
    core.control_died(&failure);
}

/// Starts the thread of a lane.
fn start_thread(
    name: String,
    run: impl FnOnce() + Send + 'static,
) -> std::io::Result<JoinHandle<()>> {
    #[cfg(test)]
    tests::take_thread()?;
    std::thread::Builder::new().name(name).spawn(run)
}

impl RunHandle {
    /// Adds a stream while the graph runs and waits until its nodes have been created. Returns the name that it got: a
    /// stream that returns under an old name gets a numbered one (`door.2`), and so its own files.
    ///
    /// # Errors
    /// See [`StartError`]; the graph runs on without the stream.
    pub fn add_stream(&self, name: &str, uri: &str) -> Result<String, StartError> {
        self.check_stream(name, uri)?;
        self.open_stream(name, uri, None)
    }

    /// Checks whether a stream could be added now, including that whatever its settings refer to exists.
    /// [`RunHandle::add_stream`] then fails only if its nodes cannot be created.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn check_stream(&self, name: &str, uri: &str) -> Result<(), StartError> {
        self.core.check_stream(name, uri)
    }

    /// Returns the edge over which a stream arrives from another machine of the site, or `None` if its source is here.
    /// A stream that arrives over an edge must be ended on the machine of its source, which would otherwise wait for
    /// room for ever.
    pub fn edge_of(&self, stream: &str) -> Option<String> {
        self.core.edge_of(stream)
    }

    /// Adds a stream that another machine of the site has opened and that arrives over an edge, under the name that it
    /// has there. Waits until its nodes have been created.
    ///
    /// # Errors
    /// See [`StartError`]; the graph runs on without the stream.
    pub fn add_arriving_stream(&self, name: &str, edge: &str) -> Result<(), StartError> {
        self.open_stream(name, "", Some(edge)).map(drop)
    }

    fn open_stream(&self, name: &str, uri: &str, edge: Option<&str>) -> Result<String, StartError> {
        let admission = self.admit()?;
        let (new, name) = self.core.wire_stream(name, uri, edge)?;
        let launch = self.launch(new);
        drop(admission);
        self.core.await_creation(&launch)?;
        Ok(name)
    }

    /// Asks the supervisor for permission to add a stream. It orders this decision with those that end the run, so that
    /// the shared nodes of an admitted stream are still there when it is attached.
    fn admit(&self) -> Result<Admission<'_>, StartError> {
        let (reply, admitted) = flume::bounded(1);
        self.supervisor.do_send(Admit(reply));
        match admitted.recv() {
            Ok(true) => Ok(Admission(self)),
            // The supervisor refuses, or is gone.
            Ok(false) | Err(flume::RecvError::Disconnected) => Err(StartError::Ending),
        }
    }

    /// Starts the new lanes and sends the attachments of their streams.
    fn launch(&self, new: NewLanes) -> Launch {
        let (launch, wired) = self.core.launch(&new);
        self.tell(wired);
        let mut attachments = Some(new.attachments);
        if launch.group == 0 {
            // Before any lane runs: a node that serves streams in turn must know all of them before the first packet
            // comes.
            self.core.attach(attachments.take().unwrap_or_default());
        }
        let mut lanes = new.lanes.into_iter();
        while let Some((lane, parker)) = lanes.next() {
            let (id, name) = (lane.id, lane.name.clone());
            match start_thread(name, move || driver::run(lane, &parker)) {
                Ok(thread) => self.core.runs_on(id, thread),
                Err(error) => {
                    let message = format!("cannot start a thread: {error}");
                    self.tell(self.core.launch_failed(&launch, message));
                    let without_thread = lanes.map(|(lane, _)| lane.id);
                    for lane in std::iter::once(id).chain(without_thread) {
                        let failure = None;
                        let exited = Event::LaneExited { lane, failure };
                        self.supervisor.do_send(LaneEvent(exited));
                    }
                    return launch;
                }
            }
        }
        // An added stream is attached only now: if it lacked a lane, it would never end in the others.
        self.core.attach(attachments.unwrap_or_default());
        launch
    }

    /// Lets a provider open streams on its own thread.
    fn provide(
        &self,
        provider: Provider,
        ends: flume::Receiver<(String, End)>,
    ) -> std::io::Result<flume::Receiver<()>> {
        let (adding, failing, done) = (self.clone(), self.clone(), self.clone());
        let providing = Providing::new(
            provider,
            ends,
            move |spec| adding.open_stream(&spec.name, &spec.uri, None),
            move |message| failing.tell(GraphEvent::ProviderFailed { message }),
        );
        providing::start(providing, move || done.streams_complete())
    }

    /// Subscribes to the events of the run from now on. The receiver is disconnected once the run is over.
    pub fn subscribe(&self) -> flume::Receiver<RunEvent> {
        self.core.events.subscribe()
    }

    fn tell(&self, event: GraphEvent) {
        self.supervisor.do_send(Decide(event));
    }

    /// Ends a stream early: what has been captured of it is still processed. Returns false if there is no such stream.
    pub fn remove_stream(&self, name: &str) -> bool {
        let stream = self.core.stream_named(name);
        if let Some(stream) = stream {
            self.tell(GraphEvent::RemoveStream { stream });
        }
        stream.is_some()
    }

    /// Ends a stream and adds a new one in its place; the run waits for the new one even if the old one is its last. If
    /// a check shows that the new one cannot be added, the old one continues. The old one may also have ended by
    /// itself. Returns the name that the new one got.
    ///
    /// # Errors
    /// See [`StartError`].
    pub fn replace_stream(&self, old: &str, name: &str, uri: &str) -> Result<String, StartError> {
        self.check_stream(name, uri)?;
        let _admission = self.admit()?;
        self.remove_stream(old);
        self.open_stream(name, uri, None)
    }

    /// Returns whether all nodes of the graph have been created, so that its sources may capture.
    pub fn has_started(&self) -> bool {
        self.core.has_started()
    }

    /// Declares that no further stream will be added, so that the run ends when the present streams have ended.
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

    /// Returns the books of one stream as of now, or `None` if there has been no stream of this name.
    pub fn stream_report(&self, name: &str) -> Option<StreamReport> {
        self.core.stream_report(name)
    }

    /// Returns what the run is doing now. This costs the data plane nothing, and its cost does not grow with the length
    /// of the run.
    pub fn snapshot(&self) -> Snapshot {
        self.core.snapshot()
    }

    /// Returns the report as of now, while the graph runs.
    pub fn report(&self) -> Report {
        self.core.report(&[])
    }
}

#[cfg(test)]
mod tests;
