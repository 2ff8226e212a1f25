//! `fermata train`: creates a training's folder and runs the graph that trains in it; also resumes trainings.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use fermata::cli::{SUCCESS, ServeArguments};
use fermata::documents::read_text;
use fermata::learn_cli::TrainArguments;
use fermata::print::{complain, print_line};
use fermata::run::{Job, JobRows, Taking, Watching, run_job};
use fermata_engine::{Graph, LoadOptions};
use fermata_files::{FolderLock, from_yaml};
use fermata_jobs::manifests::Manifests;
use fermata_jobs::training_status::{Status, TrainingStatus};
use fermata_learn::device::device;
use fermata_learn::folds::Fold;
use fermata_learn::manifest::Manifest;
use fermata_learn::training::{
    Plan, Progress, RunConfig, RunFolder, TrainingError, TrainingRows, TrainingSpec,
};
use fermata_vision::ModelCard;

use crate::program::PROGRAM;

const TEACHER: (&str, &str) = (
    "train_teacher.yaml",
    include_str!("../../../graphs/train_teacher.yaml"),
);
const STUDENT: (&str, &str) = (
    "train_student.yaml",
    include_str!("../../../graphs/train_student.yaml"),
);

pub(crate) fn train(arguments: &TrainArguments) -> anyhow::Result<u8> {
    let spec: TrainingSpec = from_yaml(&read_text(&arguments.config)?, &arguments.config)?;
    let card = ModelCard::parse(&read_text(&arguments.card)?, &arguments.card)?;
    let without = arguments.without_fold.as_deref().map(fold).transpose()?;
    let device = device(&arguments.device)?;
    let config = RunConfig::begin(
        &arguments.manifest,
        arguments.softlabels.as_deref(),
        arguments.votes.as_deref(),
        without,
        spec,
    )?;
    let folder = RunFolder::create(&arguments.out, config, card, device)?;
    run(
        &folder,
        Arc::default(),
        Taking::Afresh(arguments.out.clone()),
        arguments.quiet,
    )
}

/// Continues a training to its planned end, or for more epochs from its current state.
pub(crate) fn resume(path: &Path, more: Option<u32>, quiet: bool) -> anyhow::Result<u8> {
    let folder = RunFolder::open(path)?;
    let manifests = Arc::new(Manifests::default());
    let (manifest, rows) = data(&folder, &manifests)?;
    // Its data may have changed meanwhile.
    folder.config().check(folder.card(), &manifest, &rows)?;
    match more {
        Some(epochs) => {
            let _lock = FolderLock::take(path)?;
            let before = folder.progress()?;
            folder.extend(epochs, &rows)?;
            if let Some(told) = dropped(&before, epochs) {
                complain(&told);
            }
        }
        None if folder.is_complete()? => {
            let done = TrainingError::NothingToDo(folder.progress()?.epoch);
            return Err(anyhow!(
                "{done} (`fermata resume {} --more N`)",
                path.display()
            ));
        }
        None => {}
    }
    run(&folder, manifests, Taking::Again(path.to_owned()), quiet)
}

fn data(
    folder: &RunFolder,
    manifests: &Manifests,
) -> anyhow::Result<(Arc<Manifest>, TrainingRows)> {
    let manifest = manifests.get(&folder.config().manifest)?;
    let rows = folder.config().rows(&manifest)?;
    Ok((manifest, rows))
}

/// Runs the graph of a training from its last checkpoint.
fn run(
    folder: &RunFolder,
    manifests: Arc<Manifests>,
    taking: Taking,
    quiet: bool,
) -> anyhow::Result<u8> {
    let config = folder.config();
    let is_taught_more = config.softlabels.is_some() || config.votes.is_some();
    let (name, text) = if is_taught_more { STUDENT } else { TEACHER };
    let registry = (PROGRAM.registry)();
    let mut options = LoadOptions::new(folder.path());
    options.overrides.params = vec![format!("device={}", folder.environment()?.device)];
    let graph = Graph::parse(name, text, &registry, &options);
    let graph = graph.map_err(|problems| anyhow!("{problems}"))?;

    let progress = folder.progress()?;
    let (_, rows) = data(folder, &manifests)?;
    let left = |from: &Progress| Plan::new(&config.training, &rows, from).rows_left() as usize;
    let all = left(&Progress::new(progress.end));
    let status = Arc::new(TrainingStatus::default());
    let shown = Arc::clone(&status);
    let job = Job {
        graph,
        taking,
        lock: None,
        quiet,
        rows: Some(JobRows {
            all,
            done: all.saturating_sub(left(&progress)),
        }),
        services: (PROGRAM.services)().with(manifests).with(status),
        says: Some(Box::new(move || shown.now().map(|status| line(&status)))),
        watching: Watching::default(),
        serve: ServeArguments::default(),
        summary: true,
    };
    let ran = run_job(job, registry)?;
    if ran.code == SUCCESS {
        let path = folder.path().display();
        let best = folder.progress()?.best;
        let best = best.context("no epoch was completed")?;
        print_line(&format!(
            "epoch {} is the best: {path}/model; the course of the training: {path}/curve.svg, {path}/history.csv",
            best.epoch
        ))?;
    }
    Ok(ran.code)
}

/// Formats the status of a training.
fn line(status: &Status) -> String {
    let mut line = format!("epoch {} of {}", status.epoch, status.epochs);
    if let Some(loss) = status.loss {
        line += &format!(", step {} of {}: loss {loss:.4}", status.step, status.steps);
    }
    if let (Some(last), Some((epoch, value))) = (&status.last, status.best) {
        line += &format!(
            "; validation of epoch {}: NLL {:.4}, accuracy {:.4}, macro-F1 {:.4} (best: {value:.4} of epoch {epoch})",
            last.epoch, last.nll, last.accuracy, last.macro_f1
        );
    }
    line
}

/// Warns about planned epochs that are replaced by additional ones.
fn dropped(before: &Progress, more: u32) -> Option<String> {
    if before.is_done() {
        return None;
    }
    let Progress { epoch, end, .. } = *before;
    let left = end - epoch;
    Some(format!(
        "warning: the training stands at epoch {epoch} of {end}: the {left} that were still planned, with the rest of their schedule, are dropped, and the {more} of --more take their place, with a schedule of their own, to epoch {}; `fermata resume` without --more would have continued as planned",
        epoch + more
    ))
}

/// Parses a fold such as `0/2`.
fn fold(text: &str) -> anyhow::Result<Fold> {
    let parsed = text.split_once('/').and_then(|(fold, folds)| {
        Some(Fold {
            fold: fold.parse().ok()?,
            folds: folds.parse().ok()?,
        })
    });
    match parsed {
        Some(fold) if fold.fold < fold.folds && fold.folds > 1 => Ok(fold),
        _ => bail!(
            "--without-fold is {text}; expected FOLD/FOLDS, such as 0/2: a fold from 0 of at least two"
        ),
    }
}
