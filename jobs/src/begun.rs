//! Detects the unfinished job of a graph in its run folder, so that a run there resumes it instead of starting anew.

use std::path::Path;

use fermata_engine::{Actor, ActorError, Graph, StreamProvider};
use fermata_learn::training::{RunFolder, TrainingError};

use crate::ledger::Ledger;
use crate::manifest_units::{ManifestUnits, ManifestUnitsSettings};
use crate::train_model::TrainModel;

/// Returns whether a graph's job (a training, or units with a ledger) has been started in a folder. The graph's actors
/// check that it is the same job.
///
/// # Errors
/// Fails if nothing of the job is left to do, or its files cannot be read.
pub fn is_in(folder: &Path, graph: &Graph) -> Result<bool, ActorError> {
    Ok(has_training(folder, graph)? || has_units(folder, graph)?)
}

fn has_training(folder: &Path, graph: &Graph) -> Result<bool, ActorError> {
    let checkpoint = folder.join(RunFolder::CHECKPOINTS[0]);
    let trains = graph
        .nodes
        .iter()
        .any(|node| node.actor == TrainModel::NAME && node.ports.writes.contains(&checkpoint));
    if !trains || !RunFolder::is_in(folder) {
        return Ok(false);
    }
    let training = RunFolder::open(folder)?;
    if training.is_complete()? {
        let done = TrainingError::NothingToDo(training.progress()?.epoch);
        return Err(format!("{done} (`fermata resume {} --more N`)", folder.display()).into());
    }
    Ok(true)
}

fn has_units(folder: &Path, graph: &Graph) -> Result<bool, ActorError> {
    let provider = graph.provider.as_ref();
    let Some(provider) = provider.filter(|provider| provider.name == ManifestUnits::NAME) else {
        return Ok(false);
    };
    let settings: ManifestUnitsSettings = provider.settings.parse()?;
    let ledger = settings.ledger;
    let Some(ledger) = ledger.filter(|path| path.starts_with(folder) && path.exists()) else {
        return Ok(false);
    };
    let state = Ledger::join(&ledger)?;
    if state.state().is_done {
        return Err(format!(
            "there is nothing left to do: the job in {} is done; a new one needs a new folder",
            folder.display()
        )
        .into());
    }
    Ok(true)
}
