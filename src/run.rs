//! `fermata run`: runs a graph until its streams end or somebody ends it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use anyhow::Context;
use fermata_engine::run::RunHandle;
use fermata_engine::{Graph, Registry, Report, RunOptions, RunningGraph};

use crate::cli::{FAILED, INTERRUPTED, REFUSED, RunArguments, SUCCESS, UNBALANCED};
use crate::load;
use crate::print::{print, print_line};
use crate::progress::Progress;
use crate::run_folder::RunFolder;
use crate::summary::summary;

/// Time between two looks at the run.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Runs the graph. The process ends with the code that comes back, also if a call in it never returned.
pub(crate) fn run(arguments: &RunArguments) -> anyhow::Result<u8> {
    let registry = load::registry();
    let Some(path) = out_folder(arguments, &registry) else {
        return Ok(REFUSED);
    };
    let Some(graph) = load::checked(&arguments.graph, &registry, &path) else {
        return Ok(REFUSED);
    };
    if graph.takes_streams() && graph.streams.is_empty() {
        anyhow::bail!("the graph has no streams yet: give them with --stream NAME=URI");
    }
    let folder = RunFolder::open(&path)?;
    let mut progress = Progress::new(arguments.quiet);
    let running = match prepare(&folder, &progress, graph, registry) {
        Ok(running) => running,
        Err(error) => {
            folder.take_back();
            return Err(error);
        }
    };
    let interrupts = Arc::new(AtomicU8::new(0));
    watch_signals(running.handle(), Arc::clone(&interrupts))?;
    let report = wait(running, &mut progress);
    progress.end();
    print(&summary(&report))?;
    let written = folder.write_report(&report)?;
    print_line(&format!("report: {}", written.display()))?;
    let code = exit_code(&report, interrupts.load(Ordering::Relaxed));
    // A call that never returned keeps its thread: ending the process is the only way to end it.
    std::process::exit(i32::from(code));
}

/// `--out`, or a fresh folder named after the graph; none if the graph cannot be read.
fn out_folder(arguments: &RunArguments, registry: &Registry) -> Option<PathBuf> {
    match &arguments.out {
        Some(path) => Some(path.clone()),
        None => {
            let graph = load::parsed(&arguments.graph, registry, "runs/run".as_ref())?;
            Some(RunFolder::fresh(&graph.name))
        }
    }
}

fn prepare(
    folder: &RunFolder,
    progress: &Progress,
    graph: Graph,
    registry: Registry,
) -> anyhow::Result<RunningGraph> {
    progress.log_to(folder.log()?);
    folder.write_graph(&graph)?;
    RunningGraph::start(graph, Arc::new(registry), RunOptions::default())
        .context("nothing was started")
}

/// The first Ctrl-C or SIGTERM drains the run, the second one stops it.
fn watch_signals(handle: RunHandle, count: Arc<AtomicU8>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot watch for Ctrl-C")?;
    let watch = move || {
        runtime.block_on(async move {
            use tokio::signal::unix::{SignalKind, signal};
            let (Ok(mut interrupt), Ok(mut terminate)) = (
                signal(SignalKind::interrupt()),
                signal(SignalKind::terminate()),
            ) else {
                tracing::warn!("cannot watch for Ctrl-C: it will end the process at once");
                return;
            };
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                match count.fetch_add(1, Ordering::Relaxed) {
                    0 => {
                        tracing::warn!("finishing what is in flight; once more to stop at once");
                        handle.drain();
                    }
                    1 => {
                        tracing::warn!("stopping; what is in flight is given up and counted");
                        handle.stop();
                    }
                    _ => {}
                }
            }
        });
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watch)
        .context("cannot watch for Ctrl-C")?;
    Ok(())
}

fn wait(mut running: RunningGraph, progress: &mut Progress) -> Report {
    loop {
        match running.wait_for(LOOK_EVERY) {
            Ok(report) => return report,
            Err(still) => running = still,
        }
        progress.show(&running.handle().report());
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
