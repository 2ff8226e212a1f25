//! `fermata run`: runs a graph until its streams end or it is interrupted.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use fermata_engine::observer::Observer;
use fermata_engine::{Graph, Registry, Report, RunOptions, RunningGraph, Services};
use fermata_files::FolderLock;
use fermata_trace::{Trace, TraceError, Traced};

use crate::cli::{
    FAILED, INTERRUPTED, LogArguments, REFUSED, RunArguments, SUCCESS, ServeArguments, UNBALANCED,
};
use crate::interrupts::Interrupts;
use crate::load;
use crate::print::{complain, print, print_error, print_line};
use crate::program::Program;
pub use crate::progress::JobRows;
use crate::progress::Progress;
use crate::remote::{Lives, Remote, begin_life, of_site, refuse_alone, steer};
pub use crate::run_folder::Taking;
use crate::run_folder::{RunFolder, refuse_to_move};
use crate::serving::Serving;
use crate::summary::{failures, summary};
use crate::terminal;

/// Time between two polls of the run.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A run of which nothing was started, for a reason that has been reported. The command exits with this code.
#[derive(Debug)]
pub struct NotStarted(pub u8);

impl fmt::Display for NotStarted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing was started")
    }
}

impl std::error::Error for NotStarted {}

/// Runs the graph. The process must exit with the returned code: a call that never returned keeps its thread until
/// then.
///
/// # Errors
/// Fails if the graph cannot be loaded, nothing can be started, or the run folder holds something else.
pub fn run(arguments: &RunArguments, program: &Program) -> anyhow::Result<u8> {
    let registry = (program.registry)();
    let Some(path) = out_folder(arguments, program, &registry) else {
        return Ok(REFUSED);
    };
    let Some(graph) = load::checked(&arguments.graph, program, &registry, &path) else {
        return Ok(REFUSED);
    };
    let trace = arguments.trace.as_deref();
    if trace.is_some() && !load::spares_files(&graph, &registry, trace) {
        return Ok(REFUSED);
    }
    if graph.takes_streams() && graph.streams.is_empty() {
        anyhow::bail!("the graph has no streams yet: give them with --stream NAME=URI");
    }
    refuse_alone(&graph, &arguments.nats)?;
    let remote = Remote::connect(&arguments.nats, &graph, &registry)?;
    let goes_on = remote.goes_on_in(&path) || (program.goes_on)(&path, &graph)?;
    if !goes_on {
        refuse_to_move(&path, &arguments.graph.graph)?;
    }
    let services = remote.lend((program.services)(), &path);
    let job = Job {
        graph,
        taking: if goes_on {
            Taking::Again(path)
        } else {
            Taking::Afresh(path)
        },
        lock: None,
        quiet: arguments.quiet,
        rows: None,
        services,
        says: None,
        watching: Watching {
            log: arguments.log,
            trace: arguments.trace.clone(),
        },
        serve: arguments.serve.clone(),
        summary: true,
    };
    let ran = run_job(job, registry)?;
    Ok(remote.close(ran.code))
}

/// A graph that a command runs.
pub struct Job {
    /// The graph; whether what it names exists is checked.
    pub graph: Graph,
    /// The run folder.
    pub taking: Taking,
    /// The lock of the run folder, if the caller has it already.
    pub lock: Option<Arc<FolderLock>>,
    /// Whether to show no progress.
    pub quiet: bool,
    /// The rows of a manifest that the job processes, to show its progress.
    pub rows: Option<JobRows>,
    /// The services that its actors need.
    pub services: Services,
    /// A progress line of the job's own, once there is one.
    pub says: Option<Says>,
    /// How the run is observed.
    pub watching: Watching,
    /// Whether, where and for whom the live page is served.
    pub serve: ServeArguments,
    /// Whether to print the summary at the end; failures are reported either way.
    pub summary: bool,
}

/// What is written about a run besides its report.
#[derive(Clone, Debug, Default)]
pub struct Watching {
    /// What is logged.
    pub log: LogArguments,
    /// Where the trace of its packets goes.
    pub trace: Option<PathBuf>,
}

/// See [`Job::says`].
pub type Says = Box<dyn Fn() -> Option<String>>;

/// A run that has ended.
pub struct Ran {
    /// The exit code.
    pub code: u8,
    /// Locks the run folder until it is dropped, so that a command can write its results there.
    pub lock: Arc<FolderLock>,
}

/// Runs a graph to its end as `fermata run` does, with the same table, report and exit codes. What the run writes last
/// is on disk when this returns.
///
/// # Errors
/// Fails if nothing was started, with [`NotStarted`] if that has been reported. Later failures are reported and set the
/// exit code.
pub fn run_job(job: Job, registry: Registry) -> anyhow::Result<Ran> {
    let Job {
        graph,
        taking,
        lock,
        quiet,
        rows,
        services,
        says,
        watching,
        serve,
        summary: summed_up,
    } = job;
    if !load::is_runnable(&graph, &registry) {
        return Err(NotStarted(REFUSED).into());
    }
    let mut serving = Serving::prepare(&serve, &graph)?;
    if let Taking::Afresh(path) = &taking {
        for input in graph.reads(&registry) {
            refuse_to_move(path, &input)?;
        }
    }
    let interrupts = Interrupts::watch()?;
    let folder = RunFolder::open(&taking, lock)?;
    let mut lives = begin_life(&services, &graph, folder.path())?;
    let mut progress = Progress::new(quiet, watching.log, graph.run.clock)
        .counting(rows)
        .saying(says);
    let mut trace = None;
    let services = with_privacy(services, &graph);
    let lent = services.clone();
    let prepared = begin_trace(&watching, &graph, &mut trace).and_then(|observer| {
        let options = serving.lend(RunOptions {
            services,
            observer,
            // Other machines may open streams here for as long as they run.
            hold_open: graph.senders().is_some_and(|senders| !senders.is_empty()),
        });
        prepare(&folder, &progress, graph.clone(), registry, options)
    });
    let running = match prepared {
        Ok(running) => running,
        Err(error) => {
            trace.into_iter().for_each(Trace::take_back);
            folder.take_back();
            return Err(error);
        }
    };
    steer(&lent, &graph, &running.handle(), &interrupts);
    interrupts.starting(running.handle());
    let started = serving.start(&running, &graph, &interrupts);
    let started = started.and_then(|served| running.created().map(|()| served).map_err(Into::into));
    let served = match started {
        Ok(served) => served,
        Err(error) => {
            drop(running);
            trace.into_iter().for_each(Trace::take_back);
            folder.take_back();
            if interrupts.count() > 0 {
                complain("ended early: nothing was started");
                return Err(NotStarted(INTERRUPTED).into());
            }
            return Err(error.context("nothing was started"));
        }
    };
    served.ready();
    let report = wait(running, &mut progress, &mut lives);
    let report = of_site(report, &lent, &lives);
    drop(served);
    progress.end();
    let traced = trace.map(Trace::finish);
    Ok(Ran {
        code: end(&folder, &report, summed_up, traced, interrupts.count()),
        lock: folder.into_lock(),
    })
}

/// Writes and shows the results of the run. If one part cannot be shown, the others still are.
fn end(
    folder: &RunFolder,
    report: &Report,
    summed_up: bool,
    traced: Option<Result<Traced, TraceError>>,
    interrupts: u8,
) -> u8 {
    let written = folder.write_report(report);
    let printed = if summed_up {
        let mut said = summary(report, terminal::line_width(io::stdout()));
        if let Ok(path) = &written {
            said += &format!("report: {}\n", path.display());
        }
        print(&said)
    } else {
        let failed = failures(report);
        if !failed.is_empty() {
            complain(failed.trim_end());
        }
        Ok(())
    };
    let mut code = exit_code(report, interrupts);
    let (traced, untraced) = match traced.transpose() {
        Ok(traced) => (traced, None),
        Err(error) => (None, Some(error.into())),
    };
    let printed = match traced {
        Some(traced) => printed.and(print_line(&told(&traced))),
        None => printed,
    };
    let failures = [
        ("the report could not be written", written.err()),
        ("the summary could not be printed", printed.err()),
        ("the trace could not be written", untraced),
    ];
    for (what, error) in failures {
        if let Some(error) = error {
            print_error(&error.context(format!("the run has ended, but {what}")));
            if code != UNBALANCED {
                code = FAILED;
            }
        }
    }
    code
}

/// Lends actors that write pixels whether the graph blurs faces.
#[cfg(feature = "live")]
fn with_privacy(services: Services, graph: &Graph) -> Services {
    services.with(Arc::new(fermata_actors::privacy::GraphBlurs::of(
        graph.whole(),
    )))
}

#[cfg(not(feature = "live"))]
fn with_privacy(services: Services, _: &Graph) -> Services {
    services
}

/// Starts the requested trace and returns its observer for the engine.
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

/// Returns `--out`, or a fresh folder named after the graph; none if the graph cannot be read.
fn out_folder(arguments: &RunArguments, program: &Program, registry: &Registry) -> Option<PathBuf> {
    match &arguments.out {
        Some(path) => Some(path.clone()),
        None => {
            let graph = load::parsed(&arguments.graph, program, registry, "runs/run".as_ref())?;
            Some(match graph.machine() {
                Some(machine) => RunFolder::fresh(&format!("{}-{machine}", graph.name)),
                None => RunFolder::fresh(&graph.name),
            })
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

fn wait(mut running: RunningGraph, progress: &mut Progress, lives: &mut Option<Lives>) -> Report {
    loop {
        match running.wait_for(LOOK_EVERY) {
            Ok(report) => return report,
            Err(still) => running = still,
        }
        let snapshot = running.handle().snapshot();
        if let Some(lives) = lives {
            lives.note(&snapshot);
        }
        progress.show(snapshot);
    }
}

fn exit_code(report: &Report, interrupts: u8) -> u8 {
    if !report.balanced {
        return UNBALANCED;
    }
    let idle = nodes_without_success(report);
    for (node, failed) in &idle {
        complain(&format!(
            "failed: node `{node}` processed nothing: all of its {failed} packets failed"
        ));
    }
    if !report.faults.is_empty() || !report.hung.is_empty() || !idle.is_empty() {
        return FAILED;
    }
    match interrupts {
        0 => SUCCESS,
        1 => {
            complain("ended early: what was in flight was finished");
            INTERRUPTED
        }
        _ => {
            complain("ended early: what was in flight was given up");
            INTERRUPTED
        }
    }
}

/// Returns the nodes whose packets all failed, with their numbers of failed packets.
fn nodes_without_success(report: &Report) -> Vec<(&str, u64)> {
    let nodes = report.nodes.iter();
    let idle = nodes.filter(|(_, node)| node.failed > 0 && node.processed == 0);
    idle.map(|(name, node)| (name.as_str(), node.failed))
        .collect()
}
