//! A worker over a NATS server: checks that it has the same program, models and data as the job, and runs the graph
//! that computes units. Connects the graph's provider of units with the job at the server.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use fermata::cli::SUCCESS;
use fermata::learn_cli::WorkArguments;
use fermata::print::{complain, print_line};
use fermata::run::Taking;
use fermata_engine::ActorError;
use fermata_jobs::elsewhere::{Given, Giver, Gives};
use fermata_jobs::manifests::Manifests;
use fermata_remote::NatsConnection;
use fermata_remote::work::{JobName, Taken, Worker, WorkerReport, WorkerSpec, end_job};

use crate::graph_run::GraphRun;
use crate::program::PROGRAM;
use crate::same_job::{Differences, Own, Shared, host};
use crate::softlabels_plan::Plan;

/// Time for results to reach the server at the end.
const LAST_RESULTS: Duration = Duration::from_secs(60);

pub(crate) fn work(arguments: &WorkArguments) -> anyhow::Result<u8> {
    let job: JobName = arguments
        .job
        .parse()
        .map_err(|error| anyhow::anyhow!("--job: {error}"))?;
    let paths = arguments.paths.iter().map(|text| path(text));
    let paths: Vec<_> = paths.collect::<anyhow::Result<_>>()?;
    let registry = (PROGRAM.registry)();
    let connection =
        fermata::remote::open(&arguments.nats, job.as_str(), registry.codecs().clone())?;
    if arguments.end {
        end_job(&connection, &job)?;
        print_line(&format!("the job {job} is removed"))?;
        return Ok(SUCCESS);
    }
    let code = take_part(arguments, &job, &paths, &connection);
    connection.close(Duration::from_secs(5));
    code
}

fn path(text: &str) -> anyhow::Result<(PathBuf, PathBuf)> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.into(), to.into())),
        _ => bail!("--path {text}: expected FROM=TO"),
    }
}

fn take_part(
    arguments: &WorkArguments,
    job: &JobName,
    paths: &[(PathBuf, PathBuf)],
    connection: &Arc<NatsConnection>,
) -> anyhow::Result<u8> {
    let host = host();
    let name = worker_name(&host)?;
    let spec = WorkerSpec {
        worker: name.clone(),
        host,
    };
    // Until the job is found, Ctrl-C ends this process at once.
    let worker = Worker::find(connection, job, spec, |obstacle| {
        if !arguments.quiet {
            complain(&format!("waiting for the job {job}: {obstacle}"));
        }
    })?;
    let manifests = Arc::new(Manifests::default());
    let same = same(&worker.record().about, paths, &manifests);
    let (plan, shared, differs) = match same {
        Ok(same) => same,
        Err(error) => {
            worker.refuse(&format!("{error:#}"));
            return Err(error);
        }
    };
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => Path::new("runs").join(format!("work-{name}")),
    };
    let out = std::path::absolute(&out)
        .with_context(|| format!("cannot make the folder {}", out.display()))?;
    worker.begin(differs);
    let aligned = Arc::new(shared.alignment);
    let giver = Arc::new(Giver(Box::new(Working(Arc::clone(&worker)))));
    let looked_at = Arc::clone(&worker);
    let says = move || Some(progress_of(&looked_at.report()));
    let text = plan.at_a_worker(arguments.readers);
    let ran = GraphRun::new(&text, Taking::Afresh(out), arguments.quiet)
        .reading(manifests)
        .lending(
            |services| services.with(giver).with(aligned),
            Box::new(says),
        )
        .run();
    worker.close(LAST_RESULTS);
    let report = worker.report();
    complain(&format!(
        "worker {name}: {} units ({} rows) count, {} came too late",
        report.units, report.rows, report.late
    ));
    if let Some(reason) = report.refuses {
        bail!(
            "this worker stops, since it was given a unit again that it had failed over, or whose result was not used: {reason}; its log and report name calls that failed, and if there are none, its data or its machine differ from the coordinator's; other workers continue"
        );
    }
    Ok(ran?.code)
}

fn progress_of(report: &WorkerReport) -> String {
    let mut line = format!(
        "{} units, {} rows done; {} at work, {} came too late",
        report.units,
        report.rows,
        report.working.len(),
        report.late
    );
    if let Some(obstacle) = &report.obstacle {
        line += &format!("; no progress: {obstacle}");
    }
    line
}

/// Returns a worker name that no other process has, made of permitted characters.
fn worker_name(host: &str) -> anyhow::Result<String> {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let fits = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '-'
        }
    };
    let host: String = host.chars().take(32).map(fits).collect();
    Ok(format!(
        "{host}-{}-{:08x}",
        std::process::id(),
        u32::from_le_bytes(bytes)
    ))
}

/// Returns the job with the paths of this machine, and how this machine differs where that is allowed.
fn same(
    about: &str,
    paths: &[(PathBuf, PathBuf)],
    manifests: &Manifests,
) -> anyhow::Result<(Plan, Shared, Option<String>)> {
    let shared: Shared = serde_json::from_str(about)
        .context("the job at the server is of another version of this program")?;
    let plan = shared.plan.clone().moved(paths);
    let here = "give its place on this machine with --path FROM=TO";
    let manifest = manifests.get(&plan.manifest).context(here)?;
    let alignment = plan.alignment(&manifest.sha256).context(here)?;
    let found = Differences::between(&shared, &Own::of_this_machine(), &alignment);
    if !found.forbidden.is_empty() {
        bail!(
            "this worker differs from the job, so its results would differ too: {}",
            found.forbidden.join("; ")
        );
    }
    Ok((plan, shared, found.allowed))
}

struct Working(Arc<Worker>);

impl Gives for Working {
    fn next(&self) -> Result<Given, ActorError> {
        Ok(match self.0.take() {
            Taken::Unit { unit, attempt } => Given::Unit {
                unit: usize::try_from(unit)?,
                attempt,
            },
            Taken::NotYet => Given::NotYet,
            Taken::NoMore => Given::NoMore,
        })
    }

    fn computed(&self, unit: usize, bytes: Vec<u8>, rows: usize) {
        self.0.computed(unit as u64, bytes, rows as u64);
    }

    fn failed(&self, unit: usize, reason: &str) {
        self.0.failed(unit as u64, reason);
    }

    fn give_back(&self, unit: usize) {
        self.0.give_back(unit as u64);
    }
}
