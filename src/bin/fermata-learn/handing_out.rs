//! Hands the units of an export out to workers over a NATS server, and writes what comes back. Owns what connects the graph's actors with the
//! job at the server, and the job's file in the run's folder.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use fermata::cli::ServeArguments;
use fermata::learn_cli::SoftlabelsArguments;
use fermata::run::{JobRows, Taking};
use fermata_engine::ActorError;
use fermata_jobs::elsewhere::{HandingOut, HandsOut, Returned};
use fermata_jobs::unit_file::most_bytes;
use fermata_jobs::write_softlabels;
use fermata_learn::manifest::Manifest;
use fermata_remote::NatsConnection;
use fermata_remote::work::records::JobRecord;
use fermata_remote::work::{Coordinator, JobName, JobNow};
use fermata_serve::{Measure, Measures};
use serde::{Deserialize, Serialize};

use crate::graph_run::GraphRun;
use crate::program::PROGRAM;
use crate::same_job::{Own, SHARED, Shared, host};
use crate::softlabels_plan::Plan;

/// Workers that a unit may lose.
const TRIES: u32 = 3;

/// A job's file in its folder.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobFile {
    /// Name at the server.
    job: String,
    /// Of the job that this folder began there last.
    id: String,
    lease_ms: u64,
    shared: Shared,
    /// Who has taken part, and what of them differed.
    #[serde(default)]
    workers: Vec<WorkerLine>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerLine {
    worker: String,
    host: String,
    units: u64,
    rows: u64,
    late: u64,
    differs: Option<String>,
}

impl JobFile {
    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        Ok(fermata_files::write(&folder.join(SHARED), &text)?)
    }
}

pub(crate) fn hand_out(
    arguments: &SoftlabelsArguments,
    plan: Plan,
    rows: JobRows,
    out: &Path,
) -> anyhow::Result<u8> {
    let given = &arguments.hand_out;
    let nats = given.nats.as_deref().context("no --nats")?;
    let job: JobName = given
        .job
        .parse()
        .map_err(|error| anyhow::anyhow!("--job: {error}"))?;
    let manifest_sha256 = Manifest::read(&plan.manifest)?.sha256;
    let alignment = plan.alignment(&manifest_sha256)?;
    let Own { program, processor } = Own::of_this_machine();
    let text = plan.handed_out(given.open, arguments.max_failures);
    let file = JobFile {
        job: job.to_string(),
        id: fresh_id()?,
        lease_ms: u64::try_from(given.lease.0.as_millis())?,
        shared: Shared {
            program,
            processor,
            other_processors: given.allow_other_processors,
            plan,
            alignment,
        },
        workers: Vec::new(),
    };
    let taking = Taking::Afresh(out.to_owned());
    let run = Handed {
        nats,
        text: &text,
        taking,
        rows: Some(rows),
        quiet: arguments.teachers.quiet,
        serve: arguments.serve.clone(),
    };
    run.run(file)
}

pub(crate) fn resume(
    nats: &str,
    text: &str,
    rows: Option<JobRows>,
    folder: &Path,
    quiet: bool,
) -> anyhow::Result<u8> {
    let path = folder.join(SHARED);
    let read =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let file: JobFile =
        serde_json::from_str(&read).with_context(|| format!("{} is no job's", path.display()))?;
    let own = Own::of_this_machine();
    if own.program != file.shared.program {
        bail!(
            "the softlabels in {} were begun by version {}, and this is {}: begin them anew in another folder",
            folder.display(),
            file.shared.program,
            own.program
        );
    }
    let run = Handed {
        nats,
        text,
        taking: Taking::Again(folder.to_owned()),
        rows,
        quiet,
        serve: ServeArguments::default(),
    };
    run.run(file)
}

fn fresh_id() -> anyhow::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A graph whose units workers compute, to be run.
struct Handed<'a> {
    nats: &'a str,
    text: &'a str,
    taking: Taking,
    rows: Option<JobRows>,
    quiet: bool,
    serve: ServeArguments,
}

impl Handed<'_> {
    fn run(self, mut file: JobFile) -> anyhow::Result<u8> {
        let Self {
            nats,
            text,
            taking,
            rows,
            quiet,
            serve,
        } = self;
        let (Taking::Afresh(folder) | Taking::Again(folder)) = &taking;
        let folder = folder.clone();
        let job: JobName = file.job.parse().map_err(anyhow::Error::msg)?;
        let registry = (PROGRAM.registry)();
        let connection = fermata::remote::connection(nats, job.as_str(), &registry)?;
        if Coordinator::known(&connection, &job)?.is_none_or(|known| known.id != file.id) {
            // Workers of an earlier one may still work at its units.
            file.id = fresh_id()?;
        }
        let plan = &file.shared.plan;
        let alignment = &file.shared.alignment;
        let values = alignment.logits_len() + alignment.teachers_len();
        let all = rows.map_or(0, |rows| rows.all);
        let record = JobRecord {
            id: file.id.clone(),
            by: format!("{} pid {}", host(), std::process::id()),
            lease_ms: file.lease_ms,
            units: all.div_ceil(plan.unit.max(1)) as u64,
            tries: TRIES,
            about: serde_json::to_string(&file.shared)?,
        };
        let most = most_bytes(plan.unit, values);
        let coordinator = Coordinator::begin(&connection, &job, record, most)?;
        let prepared = write_softlabels::begin(&folder, alignment)
            .map_err(|error| anyhow::anyhow!("{error}"))
            .and_then(|()| file.write(&folder));
        let code = prepared.and_then(|()| {
            let handing_out = Arc::new(HandingOut(Box::new(Over(Arc::clone(&coordinator)))));
            let aligned = Arc::new(alignment.clone());
            let looked_at = Arc::clone(&coordinator);
            let measured = Arc::clone(&coordinator);
            let measures = Arc::new(Measures(Box::new(move || measures_of(&measured.now()))));
            let lease_s = Duration::from_millis(file.lease_ms).as_secs_f64();
            GraphRun::new(text, taking, quiet)
                .of(rows)
                .served(serve)
                .lending(
                    |services| services.with(handing_out).with(aligned).with(measures),
                    Box::new(move || Some(said(&looked_at.now(), lease_s))),
                )
                .run()
        });
        let now = coordinator.now();
        end(&coordinator, &connection);
        if folder.join(SHARED).is_file() {
            file.workers.extend(
                now.workers
                    .iter()
                    .filter(|worker| worker.report.refuses.is_none())
                    .map(|worker| {
                        let report = worker.report.clone();
                        WorkerLine {
                            worker: report.worker,
                            host: report.host,
                            units: report.units,
                            rows: report.rows,
                            late: report.late,
                            differs: report.differs,
                        }
                    }),
            );
            file.write(&folder)?;
        }
        if !quiet && code.is_ok() {
            fermata::print::complain(&said(&now, f64::INFINITY));
        }
        code
    }
}

fn end(coordinator: &Coordinator, connection: &NatsConnection) {
    if let Err(error) = coordinator.close() {
        fermata::print::complain(&format!("warning: the job stays at the server: {error}"));
    }
    connection.close(Duration::from_secs(5));
}

/// Workers that `/metrics` shows one by one.
const MOST_SHOWN: usize = 64;

/// What `/metrics` says of the workers.
fn measures_of(now: &JobNow) -> Vec<Measure> {
    let measure = |name, help, is_counter, labels, value| Measure {
        name,
        help,
        is_counter,
        labels,
        value,
    };
    let refused = now
        .workers
        .iter()
        .filter(|worker| worker.report.refuses.is_some());
    let mut measures = vec![
        measure(
            "fermata_job_handed_out_units",
            "Units that are handed out to workers.",
            false,
            vec![],
            now.handed_out as f64,
        ),
        measure(
            "fermata_job_late_results_total",
            "Results that came after another worker's, and were discarded.",
            true,
            vec![],
            now.late() as f64,
        ),
        measure(
            "fermata_job_republished_units_total",
            "Units that nobody had although they had no result, and that were handed out again.",
            true,
            vec![],
            now.republished as f64,
        ),
        measure(
            "fermata_job_rejected_results_total",
            "Results that were not what they said, and are computed again.",
            true,
            vec![],
            now.rejected as f64,
        ),
        measure(
            "fermata_job_malformed_messages_total",
            "Messages and records from the network that could not be read.",
            true,
            vec![],
            now.malformed as f64,
        ),
        measure(
            "fermata_job_refused_workers",
            "Workers that do not have what the job has.",
            false,
            vec![],
            refused.count() as f64,
        ),
    ];
    let taking_part = now
        .workers
        .iter()
        .filter(|worker| worker.report.refuses.is_none());
    for worker in taking_part.take(MOST_SHOWN) {
        let of = || vec![("worker", worker.report.worker.clone())];
        let oldest_ms = worker
            .report
            .working
            .iter()
            .map(|(_, ms)| *ms)
            .max()
            .unwrap_or(0);
        measures.extend([
            measure(
                "fermata_job_worker_rows_total",
                "Rows that a worker has computed and that count.",
                true,
                of(),
                worker.report.rows as f64,
            ),
            measure(
                "fermata_job_worker_rows_per_second",
                "The same, each second since the worker was heard of first.",
                false,
                of(),
                worker.rows_per_s,
            ),
            measure(
                "fermata_job_worker_lags",
                "1 if a worker is slower than half of the median.",
                false,
                of(),
                f64::from(u8::from(worker.lags)),
            ),
            measure(
                "fermata_job_worker_silent_seconds",
                "Time since a worker was heard of.",
                false,
                of(),
                worker.silent_s,
            ),
            measure(
                "fermata_job_worker_oldest_unit_seconds",
                "How long a worker has had the unit that it has had longest.",
                false,
                of(),
                oldest_ms as f64 / 1000.0,
            ),
        ]);
    }
    measures
}

/// A line about the workers.
fn said(now: &JobNow, lease_s: f64) -> String {
    let active: Vec<_> = now.active(lease_s).collect();
    let rate: f64 = active.iter().map(|worker| worker.rows_per_s).sum();
    let mut line = format!("{} workers  {rate:.1} rows/s", active.len());
    let lags: Vec<String> = active
        .iter()
        .filter(|worker| worker.lags)
        .map(|worker| format!("{} ({:.1}/s)", worker.report.worker, worker.rows_per_s))
        .collect();
    if !lags.is_empty() {
        line += &format!("  lagging: {}", lags.join(", "));
    }
    let refused = now
        .workers
        .iter()
        .filter(|worker| worker.report.refuses.is_some());
    for (count, what) in [
        (now.late(), "late results discarded"),
        (now.republished, "units handed out again"),
        (now.rejected, "results rejected"),
        (refused.count() as u64, "workers refused"),
    ] {
        if count > 0 {
            line += &format!("  {count} {what}");
        }
    }
    line
}

struct Over(Arc<Coordinator>);

impl HandsOut for Over {
    fn hand_out(&self, unit: usize) {
        self.0.hand_out(unit as u64);
    }

    fn result(&self, unit: usize, most: Duration) -> Result<Option<Returned>, ActorError> {
        let result = self.0.result(unit as u64, most)?;
        Ok(result.map(|returned| Returned {
            worker: returned.worker,
            bytes: returned.bytes.to_vec(),
        }))
    }

    fn taken(&self, unit: usize) {
        self.0.taken(unit as u64);
    }

    fn reject(&self, unit: usize, reason: &str) {
        self.0.reject(unit as u64, reason);
    }

    fn withdraw(&self, unit: usize) {
        self.0.withdraw(unit as u64);
    }
}
