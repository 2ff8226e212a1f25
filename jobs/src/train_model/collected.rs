//! Rows collected for the trainer: those of a step, and those of a validation. Owns their layout in memory.

use fermata_engine::ActorError;
use fermata_learn::predictions::Predictions;
use fermata_learn::row_hash::RowHash;
use fermata_learn::training::{Batch, Trainer, TrainingError};
use fermata_vision::Expression;
use fermata_vision::face::EXPRESSIONS;

use crate::payload::{PreparedRow, WantedRow};

/// The rows collected for a step.
#[derive(Debug, Default)]
pub(super) struct Step {
    batch: Batch,
}

impl Step {
    pub(super) fn push(&mut self, row: &PreparedRow, input: &[f32]) {
        let batch = &mut self.batch;
        batch.inputs.extend_from_slice(input);
        let label = row.wanted.row.row().label.index();
        batch.labels.push(label as i64);
        for (all, one) in [
            (&mut batch.teacher, &row.teacher),
            (&mut batch.targets, &row.targets),
        ] {
            if let Some(values) = one {
                all.get_or_insert_default().extend_from_slice(values);
            }
        }
    }

    /// Trains the step; returns its number of rows.
    pub(super) fn train(
        &mut self,
        trainer: &mut Trainer,
        epoch: u32,
        step: u64,
    ) -> Result<u64, TrainingError> {
        (self.batch.epoch, self.batch.step) = (epoch, step);
        let trained = trainer.train(&self.batch).map(drop);
        let rows = self.batch.labels.len() as u64;
        self.clear();
        trained.map(|()| rows)
    }

    /// Clears the step, keeping its memory.
    fn clear(&mut self) {
        let Batch {
            inputs,
            labels,
            teacher,
            targets,
            ..
        } = &mut self.batch;
        inputs.clear();
        labels.clear();
        (*teacher, *targets) = (None, None);
    }
}

/// The validation of the current epoch.
#[derive(Debug)]
pub(super) struct Validation {
    /// Number of rows predicted at once.
    batch: usize,
    /// Inputs of rows not yet predicted.
    inputs: Vec<f32>,
    waiting: usize,
    logits: Vec<f64>,
    labels: Vec<i64>,
    hashes: Vec<RowHash>,
}

impl Validation {
    pub(super) fn new(batch: usize) -> Self {
        Self {
            batch,
            inputs: Vec::new(),
            waiting: 0,
            logits: Vec::new(),
            labels: Vec::new(),
            hashes: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, wanted: &WantedRow, input: &[f32]) {
        self.inputs.extend_from_slice(input);
        self.waiting += 1;
        let row = wanted.row.row();
        self.labels.push(row.label.index() as i64);
        self.hashes.push(row.sha256);
    }

    /// Returns whether a full batch is waiting.
    pub(super) fn is_full(&self) -> bool {
        self.waiting >= self.batch
    }

    /// Predicts the waiting rows; returns how many there were.
    pub(super) fn predict(&mut self, trainer: &mut Trainer) -> Result<u64, TrainingError> {
        let logits = trainer.predict(&self.inputs)?;
        self.logits.extend(logits.into_iter().map(f64::from));
        self.inputs.clear();
        Ok(std::mem::take(&mut self.waiting) as u64)
    }

    /// Returns all predictions of the epoch and resets itself for the next one.
    pub(super) fn predictions(&mut self) -> Result<Predictions, ActorError> {
        let ended = std::mem::replace(self, Self::new(self.batch));
        debug_assert_eq!(ended.logits.len(), ended.labels.len() * EXPRESSIONS);
        let classes = Expression::ALL.map(|class| class.to_string()).to_vec();
        let predictions = Predictions::new(classes, ended.logits, &ended.labels)?;
        Ok(predictions.with_hashes(ended.hashes))
    }
}
