//! Hands the units of a softlabel job out to workers over a NATS server, and writes their results. Connects the graph's
//! actors with the job at the server, and owns the job file in the run folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fermata::documents::{read_json, write_json};
use fermata::learn_cli::SoftlabelsArguments;
use fermata::print::complain;
use fermata::run::{JobRows, Taking};
use fermata_engine::ActorError;
use fermata_files::FolderLock;
use fermata_jobs::elsewhere::{HandingOut, HandsOut, Returned};
use fermata_jobs::manifests::Manifests;
use fermata_jobs::unit_file::most_bytes;
use fermata_remote::NatsConnection;
use fermata_remote::work::records::JobRecord;
use fermata_remote::work::{Coordinator, JobName, JobNow, NoResult};
use fermata_serve::{Measures, Workers};
use serde::{Deserialize, Serialize};

use crate::graph_run::GraphRun;
use crate::program::PROGRAM;
use crate::same_job::{Own, SHARED, Shared, host};
use crate::softlabels_plan::Plan;
use crate::workers_shown::{ended, measures_of, said, workers_of};

/// Maximum number of workers lost over one unit.
const TRIES: u32 = 3;
/// Time between two notes of how much of each worker was used.
const NOTE_EVERY: Duration = Duration::from_secs(1);

/// A job file in its folder.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JobFile {
    /// Name at the server.
    job: String,
    /// Id of the last job that this folder started at the server.
    id: String,
    lease_ms: u64,
    shared: Shared,
    /// The workers that took part, by name, and how they differed.
    #[serde(default)]
    workers: BTreeMap<String, WorkerLine>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkerLine {
    host: String,
    /// Units whose results were used.
    units: u64,
    /// Rows of these units.
    rows: u64,
    /// Results that came too late and were discarded.
    late: u64,
    differs: Option<String>,
}

impl JobFile {
    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        write_json(&folder.join(SHARED), self)
    }

    /// Returns a copy with the current workers added to those of earlier runs.
    fn with(&self, now: &JobNow) -> Self {
        let mut file = self.clone();
        let taking_part = now.workers.iter();
        for worker in taking_part.filter(|worker| worker.report.refuses.is_none()) {
            let report = &worker.report;
            let line = file.workers.entry(report.worker.clone()).or_default();
            line.host.clone_from(&report.host);
            line.late = line.late.max(report.late);
            line.differs.clone_from(&report.differs);
        }
        for (worker, counted) in &now.counted {
            let line = file.workers.entry(worker.clone()).or_default();
            line.units += counted.units;
            line.rows += counted.rows;
        }
        file
    }
}

/// Hands out a new job in the folder of a lock, which the caller keeps until this returns.
pub(crate) fn hand_out(
    arguments: &SoftlabelsArguments,
    plan: Plan,
    rows: JobRows,
    manifests: Arc<Manifests>,
    lock: &Arc<FolderLock>,
) -> anyhow::Result<u8> {
    let given = &arguments.hand_out;
    let nats = given.nats.as_deref().context("no --nats")?;
    let job: JobName = given
        .job
        .parse()
        .map_err(|error| anyhow::anyhow!("--job: {error}"))?;
    let manifest = manifests.get(&plan.manifest)?;
    let alignment = plan.alignment(&manifest.sha256)?;
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
        workers: BTreeMap::new(),
    };
    let run = GraphRun::new(
        &text,
        Taking::Afresh(lock.folder().to_owned()),
        arguments.teachers.quiet,
    )
    .owning(lock)
    .of(Some(rows))
    .served(arguments.serve.clone())
    .reading(manifests);
    run_with(nats, run, file)
}

/// Hands out what is left of a job in a folder that the caller has locked until this returns.
pub(crate) fn resume(nats: &str, run: GraphRun<'_>) -> anyhow::Result<u8> {
    let file: JobFile = read_json(&run.folder().join(SHARED), "job of several machines")?;
    let own = Own::of_this_machine();
    if own.program != file.shared.program {
        bail!(
            "the softlabels in {} were started by version {}, but this is {}: start new ones in another folder",
            run.folder().display(),
            file.shared.program,
            own.program
        );
    }
    run_with(nats, run, file)
}

fn fresh_id() -> anyhow::Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Runs a graph whose units are computed by workers.
fn run_with(nats: &str, run: GraphRun<'_>, mut file: JobFile) -> anyhow::Result<u8> {
    let folder = run.folder().to_owned();
    let is_quiet = run.is_quiet();
    let job: JobName = file.job.parse().map_err(anyhow::Error::msg)?;
    let registry = (PROGRAM.registry)();
    let connection = fermata::remote::open(nats, job.as_str(), registry.codecs().clone())?;
    if Coordinator::known(&connection, &job)?.is_none_or(|known| known.id != file.id) {
        // Workers of an earlier job may still be computing its units.
        file.id = fresh_id()?;
    }
    let coordinator = begin(&connection, &job, &file, run.all_rows())?;
    let ran = lend(run, &coordinator, &file, nats).run();
    if let Err(error) = coordinator.close() {
        complain(&format!(
            "warning: the job could not be removed from the server: {error}"
        ));
    }
    connection.close(Duration::from_secs(5));
    let now = coordinator.now();
    if folder.join(SHARED).is_file() {
        file.with(&now).write(&folder)?;
    }
    if !is_quiet && ran.is_ok() {
        complain(&ended(&now));
    }
    Ok(ran?.code)
}

/// Starts the job of `rows` rows at the server.
fn begin(
    connection: &Arc<NatsConnection>,
    job: &JobName,
    file: &JobFile,
    rows: usize,
) -> anyhow::Result<Arc<Coordinator>> {
    let Shared {
        plan, alignment, ..
    } = &file.shared;
    let record = JobRecord {
        id: file.id.clone(),
        by: format!("{} pid {}", host(), std::process::id()),
        lease_ms: file.lease_ms,
        units: rows.div_ceil(plan.unit.max(1)) as u64,
        tries: TRIES,
        about: serde_json::to_string(&file.shared)?,
    };
    let values = alignment.logits_len() + alignment.teachers_len();
    let most = most_bytes(plan.unit, values);
    Ok(Coordinator::begin(connection, job, record, most)?)
}

/// Lends what the graph's actors, its page and its table need of the job.
fn lend<'a>(
    run: GraphRun<'a>,
    coordinator: &Arc<Coordinator>,
    file: &JobFile,
    nats: &str,
) -> GraphRun<'a> {
    let over = Over {
        resume: format!("fermata resume {} --nats {nats}", run.folder().display()),
        coordinator: Arc::clone(coordinator),
        noted: Mutex::default(),
        folder: run.folder().to_owned(),
        file: file.clone(),
    };
    let handing_out = Arc::new(HandingOut(Box::new(over)));
    let aligned = Arc::new(file.shared.alignment.clone());
    let measured = Arc::clone(coordinator);
    let measures = Arc::new(Measures(Box::new(move || measures_of(&measured.now()))));
    let lease_s = Duration::from_millis(file.lease_ms).as_secs_f64();
    let shown = Arc::clone(coordinator);
    let workers = move || workers_of(&shown.now(), lease_s);
    let workers = Arc::new(Workers(Box::new(workers)));
    let looked_at = Arc::clone(coordinator);
    run.lending(
        |services| {
            let shown = services.with(measures).with(workers);
            shown.with(handing_out).with(aligned)
        },
        Box::new(move || Some(said(&looked_at.now(), lease_s))),
    )
}

/// The job at the server and its file here.
struct Over {
    coordinator: Arc<Coordinator>,
    noted: Mutex<Noted>,
    folder: PathBuf,
    file: JobFile,
    /// The command that resumes a job that was removed from the server.
    resume: String,
}

/// What the file holds.
#[derive(Default)]
struct Noted {
    /// Workers named in it.
    workers: BTreeSet<String>,
    /// When counts were last written to it.
    counted: Option<Instant>,
    /// Whether results have been used since.
    is_behind: bool,
    has_failed: bool,
}

impl Over {
    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> anyhow::Result<()> {
        self.file.with(&self.coordinator.now()).write(&self.folder)
    }

    /// Records that a worker takes part, before its results are used.
    fn takes_part(&self, worker: &str) -> Result<(), ActorError> {
        let mut noted = self.noted();
        if noted.workers.insert(worker.to_owned()) {
            self.write()?;
        }
        Ok(())
    }

    /// Records how much of each worker was used, at most once a second: a command that is killed loses no more of it.
    fn note_counts(&self, noted: &mut Noted) {
        let is_due = noted
            .counted
            .is_none_or(|counted| counted.elapsed() >= NOTE_EVERY);
        if !noted.is_behind || !is_due {
            return;
        }
        noted.counted = Some(Instant::now());
        let written = self.write();
        noted.is_behind = written.is_err();
        if let Err(error) = written
            && !std::mem::replace(&mut noted.has_failed, true)
        {
            tracing::warn!(
                "cannot record in `{SHARED}` how much of each worker was used; it would be unknown if this command were killed: {error:#}"
            );
        }
    }
}

impl HandsOut for Over {
    fn begin(&self) -> Result<(), ActorError> {
        Ok(self.file.write(&self.folder)?)
    }

    fn hand_out(&self, unit: usize) {
        self.coordinator.hand_out(unit as u64);
    }

    fn result(&self, unit: usize, most: Duration) -> Result<Option<Returned>, ActorError> {
        // The last of several results that came at once is recorded even if the next one takes long.
        self.note_counts(&mut self.noted());
        let result = self.coordinator.result(unit as u64, most);
        let result = result.map_err(|reason| match reason {
            NoResult::JobGone { .. } => format!("{reason}; continue with `{}`", self.resume),
            NoResult::GivenUp(_) => reason.to_string(),
        })?;
        let Some(returned) = result else {
            return Ok(None);
        };
        self.takes_part(&returned.worker)?;
        Ok(Some(Returned {
            worker: returned.worker,
            bytes: returned.bytes.to_vec(),
        }))
    }

    fn taken(&self, unit: usize, rows: usize) {
        self.coordinator.taken(unit as u64, rows as u64);
        let mut noted = self.noted();
        noted.is_behind = true;
        self.note_counts(&mut noted);
    }

    fn reject(&self, unit: usize, reason: &str) {
        self.coordinator.reject(unit as u64, reason);
    }

    fn withdraw(&self, unit: usize) {
        self.coordinator.withdraw(unit as u64);
    }
}
