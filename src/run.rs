//! `fermata run`: runs a graph until its streams end or somebody ends it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use fermata_engine::observer::Observer;
use fermata_engine::run::RunHandle;
use fermata_engine::{Graph, Registry, Report, RunOptions, RunningGraph, Services};
use fermata_trace::{Trace, Traced};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{
    FAILED, INTERRUPTED, LogArguments, REFUSED, RunArguments, SUCCESS, ServeArguments, UNBALANCED,
};
use crate::load;
use crate::print::{print, print_line};
use crate::program::Program;
pub use crate::progress::JobRows;
use crate::progress::Progress;
use crate::run_folder::RunFolder;
pub use crate::run_folder::Taking;
use crate::serving::Serving;
use crate::summary::summary;

/// Time between two looks at the run.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs the graph. The process ends with the code that comes back, also if a call in it never returned.
pub fn run(arguments: &RunArguments, program: &Program) -> anyhow::Result<u8> {
    let registry = (program.registry)();
    let Some(path) = out_folder(arguments, program, &registry) else {
        return Ok(REFUSED);
    };
    let Some(graph) = load::checked(&arguments.graph, program, &registry, &path) else {
        return Ok(REFUSED);
    };
    if graph.takes_streams() && graph.streams.is_empty() {
        anyhow::bail!("the graph has no streams yet: give them with --stream NAME=URI");
    }
    let job = Job {
        graph,
        taking: Taking::Afresh(path),
        quiet: arguments.quiet,
        rows: None,
        services: (program.services)(),
        says: None,
        watching: Watching {
            log: arguments.log,
            trace: arguments.trace.clone(),
        },
        serve: arguments.serve.clone(),
    };
    let code = run_job(job, registry)?;
    // A call that never returned keeps its thread: ending the process is the only way to end it.
    std::process::exit(i32::from(code));
}

/// A graph that a command runs.
pub struct Job {
    /// The graph; whether what it names is there is looked at.
    pub graph: Graph,
    /// Its run's folder.
    pub taking: Taking,
    /// Show no progress.
    pub quiet: bool,
    /// Rows of a manifest that it goes through, to say how far it is.
    pub rows: Option<JobRows>,
    /// What its actors need of the program.
    pub services: Services,
    /// A line of its own about how it is doing, once there is something to say.
    pub says: Option<Says>,
    /// How it is watched.
    pub watching: Watching,
    /// Whether, where and for whom it shows itself.
    pub serve: ServeArguments,
}

/// What is written about a run beside its report.
#[derive(Clone, Debug, Default)]
pub struct Watching {
    /// What is logged.
    pub log: LogArguments,
    /// Where a trace of its packets goes.
    pub trace: Option<PathBuf>,
}

/// See [`Job::says`].
pub type Says = Box<dyn Fn() -> Option<String>>;

/// Runs a graph to its end as `fermata run` does, with the same table, report and exit codes. What the run writes last is on the disk when this
/// returns.
pub fn run_job(job: Job, registry: Registry) -> anyhow::Result<u8> {
    let Job {
        graph,
        taking,
        quiet,
        rows,
        services,
        says,
        watching,
        serve,
    } = job;
    if !load::is_runnable(&graph, &registry) {
        return Ok(REFUSED);
    }
    let serving = Serving::prepare(&serve)?;
    let folder = RunFolder::open(&taking)?;
    let mut progress = Progress::new(quiet, watching.log)
        .counting(rows)
        .saying(says);
    let interrupts = Interrupts::watch()?;
    let mut trace = None;
    let options = RunOptions {
        services: with_privacy(services, &graph),
        ..RunOptions::default()
    };
    let prepared = begin_trace(&watching, &graph, &mut trace).and_then(|observer| {
        let options = RunOptions {
            observer,
            ..options
        };
        prepare(&folder, &progress, graph, registry, options)
    });
    let running = match prepared {
        Ok(running) => running,
        Err(error) => {
            trace.into_iter().for_each(Trace::take_back);
            folder.take_back();
            return Err(error);
        }
    };
    interrupts.started(running.handle());
    let serving = serving.start(&running)?;
    if let Err(error) = running.created() {
        drop(running);
        trace.into_iter().for_each(Trace::take_back);
        folder.take_back();
        return Err(error).context("nothing was started");
    }
    serving.ready();
    let report = wait(running, &mut progress);
    drop(serving);
    progress.end();
    print(&summary(&report))?;
    let written = folder.write_report(&report)?;
    print_line(&format!("report: {}", written.display()))?;
    let code = exit_code(&report, interrupts.count());
    match trace.map(Trace::finish) {
        None => Ok(code),
        Some(Ok(traced)) => {
            print_line(&told(&traced))?;
            Ok(code)
        }
        Some(Err(error)) => {
            tracing::error!("{error}");
            Ok(if code == SUCCESS { FAILED } else { code })
        }
    }
}

/// Tells actors that write pixels whether the graph blurs faces.
#[cfg(feature = "live")]
fn with_privacy(services: Services, graph: &Graph) -> Services {
    services.with(Arc::new(fermata_actors::privacy::GraphBlurs::of(graph)))
}

#[cfg(not(feature = "live"))]
fn with_privacy(services: Services, _: &Graph) -> Services {
    services
}

/// Begins the trace that was asked for, and gives what the engine tells of packets.
fn begin_trace(
    watching: &Watching,
    graph: &Graph,
    begun: &mut Option<Trace>,
) -> anyhow::Result<Option<Arc<dyn Observer>>> {
    let Some(path) = &watching.trace else {
        return Ok(None);
    };
    let trace = begun.insert(Trace::begin(path, graph)?);
    Ok(Some(trace.observer()))
}

fn told(traced: &Traced) -> String {
    let Traced { path, events, lost } = traced;
    let path = path.display();
    match lost {
        0 => format!("trace: {path} ({events} events)"),
        _ => format!(
            "trace: {path} ({events} events; {lost} are missing, because they came faster than they could be written)"
        ),
    }
}

/// `--out`, or a fresh folder named after the graph; none if the graph cannot be read.
fn out_folder(arguments: &RunArguments, program: &Program, registry: &Registry) -> Option<PathBuf> {
    match &arguments.out {
        Some(path) => Some(path.clone()),
        None => {
            let graph = load::parsed(&arguments.graph, program, registry, "runs/run".as_ref())?;
            Some(RunFolder::fresh(&graph.name))
        }
    }
}

fn prepare(
    folder: &RunFolder,
    progress: &Progress,
    graph: Graph,
    registry: Registry,
    options: RunOptions,
) -> anyhow::Result<RunningGraph> {
    progress.log_to(folder.log()?, graph.secrets())?;
    folder.write_graph(&graph)?;
    RunningGraph::launch(graph, Arc::new(registry), options).context("nothing was started")
}

/// What Ctrl-C and SIGTERM do: the first drains the run, the second stops it.
#[derive(Clone, Default)]
struct Interrupts {
    count: Arc<AtomicU8>,
    /// The run, once it has started.
    handle: Arc<OnceLock<RunHandle>>,
}

impl Interrupts {
    /// Watches for signals from now on, so that one that comes while the run is being started is not its death.
    fn watch() -> anyhow::Result<Self> {
        let interrupts = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build()
            .context("cannot watch for Ctrl-C")?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            let watched = |kind| signal(kind).context("cannot watch for Ctrl-C");
            (
                watched(SignalKind::interrupt())?,
                watched(SignalKind::terminate())?,
            )
        };
        let watcher = interrupts.clone();
        let watch = move || {
            runtime.block_on(async move {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                    }
                    watcher.count.fetch_add(1, Ordering::Relaxed);
                    watcher.act();
                }
            });
        };
        std::thread::Builder::new()
            .name("signals".to_owned())
            .spawn(watch)
            .context("cannot watch for Ctrl-C")?;
        Ok(interrupts)
    }

    /// The run has started; what came before holds for it too.
    fn started(&self, handle: RunHandle) {
        let _ = self.handle.set(handle);
        self.act();
    }

    fn act(&self) {
        let Some(handle) = self.handle.get() else {
            return;
        };
        match self.count() {
            0 => {}
            1 => {
                tracing::warn!("finishing what is in flight; once more to stop at once");
                handle.drain();
            }
            _ => {
                tracing::warn!("stopping; what is in flight is given up and counted");
                handle.stop();
            }
        }
    }

    fn count(&self) -> u8 {
        self.count.load(Ordering::Relaxed)
    }
}

fn wait(mut running: RunningGraph, progress: &mut Progress) -> Report {
    loop {
        match running.wait_for(LOOK_EVERY) {
            Ok(report) => return report,
            Err(still) => running = still,
        }
        progress.show(running.handle().snapshot());
    }
}

fn exit_code(report: &Report, interrupts: u8) -> u8 {
    if !report.balanced {
        return UNBALANCED;
    }
    if !report.faults.is_empty() || !report.hung.is_empty() {
        return FAILED;
    }
    match interrupts {
        0 => SUCCESS,
        1 => {
            eprintln!("ended early: what was in flight was finished");
            INTERRUPTED
        }
        _ => {
            eprintln!("ended early: what was in flight was given up");
            INTERRUPTED
        }
    }
}
