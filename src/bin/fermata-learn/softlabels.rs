//! `fermata softlabels`: runs a graph of teachers over a manifest's rows, and resumes such runs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use fermata::documents::read_text;
use fermata::learn_cli::SoftlabelsArguments;
use fermata::run::{JobRows, Taking};
use fermata_engine::Actor as _;
use fermata_files::{FolderLock, from_yaml};
use fermata_jobs::ledger::Ledger;
use fermata_jobs::manifests::Manifests;
use fermata_jobs::unit::rows_of;
use fermata_jobs::write_softlabels::{UNITS, WriteSoftlabels};
use fermata_learn::augmentation::Augmentation;
use fermata_learn::manifest::Split;
use serde::Deserialize;

use crate::graph_run::{self, GraphRun};
#[cfg(feature = "remote")]
use crate::handing_out as shared_job;
use crate::same_job::SHARED;
use crate::seen_rows::{self, Seen};
use crate::softlabels_plan::Plan;
use crate::teachers::{Teachers, absolute};
#[cfg(not(feature = "remote"))]
use crate::without_remote as shared_job;

/// The file that identifies the folder of such a run.
pub(crate) const LEDGER: &str = "ledger.jsonl";

/// The part of a training's settings that defines its views.
#[derive(Deserialize)]
struct TrainingViews {
    #[serde(default)]
    augmentation: Augmentation,
}

pub(crate) fn softlabels(arguments: &SoftlabelsArguments) -> anyhow::Result<u8> {
    let out = &arguments.out;
    refuse_begun(out)?;
    let given = &arguments.teachers;
    let teachers = Teachers::read(given)?;
    let split: Option<Split> = match &arguments.split {
        None => None,
        Some(split) => Some(
            split
                .parse()
                .map_err(|error| anyhow::anyhow!("--split: {error}"))?,
        ),
    };
    let path = absolute(&given.manifest)?;
    let manifests = Arc::new(Manifests::default());
    let manifest = manifests.get(&path)?;
    let rows = rows_of(&manifest, split).count();
    let seen = if arguments.allow_seen {
        Seen::Allowed
    } else {
        Seen::Refused
    };
    seen_rows::look_at(&teachers, &manifest, split, given, seen)?;
    let weights = weights_of(&teachers, &arguments.weights)?;
    let temperatures = temperatures_of(&teachers, &arguments.temperatures)?;
    let augmentation = augmentation_of(arguments.config.as_deref())?;
    let plan = Plan {
        manifest: path,
        split,
        unit: arguments.unit,
        teachers: teachers.0,
        weights,
        temperatures,
        views: arguments.views,
        seed: arguments.seed,
        augmentation,
        device: given.device.clone(),
        batch: given.batch,
        threads: given.threads,
        allow_seen: arguments.allow_seen,
    };
    fs::create_dir_all(out).with_context(|| format!("cannot make the folder {}", out.display()))?;
    let lock = Arc::new(FolderLock::take(&absolute(out)?)?);
    // Another process may have begun them while this one read the teachers.
    refuse_begun(out)?;
    let rows = JobRows { all: rows, done: 0 };
    let ended = match &arguments.hand_out.nats {
        None => {
            let text = plan.here(given.readers, arguments.max_failures);
            let taking = Taking::Afresh(lock.folder().to_owned());
            let run = GraphRun::new(&text, taking, given.quiet).owning(&lock);
            let run = run.of(Some(rows)).reading(manifests);
            let ran = run.served(arguments.serve.clone()).run();
            ran.map(|ran| ran.code)
        }
        Some(_) => shared_job::hand_out(arguments, plan, rows, manifests, &lock),
    };
    if ended.is_err() {
        forget(lock);
    }
    ended
}

/// Fails if softlabels were begun in a folder.
fn refuse_begun(out: &Path) -> anyhow::Result<()> {
    if out.join(LEDGER).exists() {
        bail!(
            "{} holds softlabels, or a part of them: `fermata resume {}` continues them; new ones need a new folder",
            out.display(),
            out.display()
        );
    }
    Ok(())
}

/// Returns each teacher's weight; all are equal unless some are given.
fn weights_of(teachers: &Teachers, given: &[String]) -> anyhow::Result<BTreeMap<String, f64>> {
    let mut weights = teachers.numbers("--weight", given)?;
    if weights.is_empty() {
        let same = 1.0 / teachers.0.len() as f64;
        weights = teachers.0.keys().map(|name| (name.clone(), same)).collect();
    }
    if let Some(name) = teachers.0.keys().find(|name| !weights.contains_key(*name)) {
        bail!("--weight: {name} has none; give all teachers a weight, or none");
    }
    if weights.values().sum::<f64>() <= 0.0 {
        bail!("--weight: all are 0; expected one above 0");
    }
    Ok(weights)
}

/// Returns the given temperatures; those of the other teachers are in their cards.
fn temperatures_of(teachers: &Teachers, given: &[String]) -> anyhow::Result<BTreeMap<String, f64>> {
    let temperatures = teachers.numbers("--temperature", given)?;
    if let Some((name, _)) = temperatures.iter().find(|(_, value)| **value == 0.0) {
        bail!("--temperature {name}=0: expected above 0");
    }
    teachers.look_at_temperatures(&temperatures)?;
    Ok(temperatures)
}

/// Returns the augmentation of the views: that of a training's settings, if given.
fn augmentation_of(config: Option<&Path>) -> anyhow::Result<Augmentation> {
    let Some(path) = config else {
        return Ok(Augmentation::default());
    };
    let views: TrainingViews = from_yaml(&read_text(path)?, path)?;
    Ok(views.augmentation)
}

/// Removes what a run that did not start has written into its folder, so that this can be used once the problem is
/// fixed. Gives the folder's lock back.
fn forget(lock: Arc<FolderLock>) {
    let out = lock.folder().to_owned();
    let ledger = out.join(LEDGER);
    let is_empty = |ledger: Ledger| ledger.state().commits.is_empty();
    let nothing_done = !ledger.exists() || Ledger::join(&ledger).is_ok_and(is_empty);
    if nothing_done {
        let _ = fs::remove_file(ledger);
        let _ = fs::remove_file(out.join(SHARED));
        // Only empty folders are removed, and the lock is a file.
        let _ = fs::remove_dir(out.join(UNITS));
        drop(lock);
        let _ = fs::remove_dir(out);
    }
}

/// Resumes a softlabel job with the units that are not done.
pub(crate) fn resume(
    folder: &Path,
    nats: Option<&str>,
    max_failures: Option<usize>,
    quiet: bool,
) -> anyhow::Result<u8> {
    let folder = absolute(folder)?;
    // Held until the job is removed from the server too: nobody else is to join it meanwhile.
    let lock = Arc::new(FolderLock::take(&folder)?);
    let graph = folder.join(graph_run::FILE);
    let text = read_text(&graph)?;
    let ledger = Ledger::join(&folder.join(LEDGER))?;
    let state = ledger.state();
    if state.is_done {
        bail!(
            "there is nothing left to do: the softlabels in {} are complete",
            folder.display()
        );
    }
    // Units with rows that could not be read are repeated.
    let whole = state.commits.values().filter(|commit| commit.failed == 0);
    let rows = state.job.as_ref().map(|job| JobRows {
        all: job.rows,
        done: whole.map(|commit| commit.rows).sum(),
    });
    drop(ledger);
    let set = match max_failures {
        None => Vec::new(),
        Some(most) => vec![format!(
            "nodes.{}.max_failures={most}",
            writer_of(&text, &graph)?
        )],
    };
    let shown = folder.display().to_string();
    let is_shared = folder.join(SHARED).is_file();
    let run = GraphRun::new(&text, Taking::Again(folder), quiet).owning(&lock);
    let run = run.of(rows).setting(set);
    match (nats, is_shared) {
        (None, false) => Ok(run.run()?.code),
        (Some(nats), true) => shared_job::resume(nats, run),
        (None, true) => bail!(
            "the softlabels in {shown} are computed by workers: give their server with --nats"
        ),
        (Some(_), false) => bail!(
            "the softlabels in {shown} were started on this machine alone: resume them without --nats"
        ),
    }
}

/// Returns the name of the node that writes softlabels, in a graph read from `path`.
fn writer_of(graph: &str, path: &Path) -> anyhow::Result<String> {
    let graph: serde_json::Value = from_yaml(graph, path)?;
    let nodes = graph["nodes"].as_object();
    let mut nodes = nodes.into_iter().flatten();
    let writes = |node: &serde_json::Value| node["use"] == WriteSoftlabels::NAME;
    let writer = nodes.find(|(_, node)| writes(node));
    let (name, _) = writer.context("the run's graph has no node that writes softlabels")?;
    Ok(name.clone())
}
