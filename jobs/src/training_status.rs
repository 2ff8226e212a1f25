//! The status of a training, for displays while it runs: a service that a program may provide.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fermata_learn::training::EpochRow;

/// The status of a training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The current epoch, from 0.
    pub epoch: u32,
    /// The planned number of epochs.
    pub epochs: u32,
    /// Steps of the epoch trained so far.
    pub step: u64,
    /// Steps of an epoch.
    pub steps: u64,
    /// Mean loss over the rows of the epoch so far.
    pub loss: Option<f64>,
    /// Rows trained and validated since the run began.
    pub rows: u64,
    /// Rows that remained when it began.
    pub rows_planned: u64,
    /// The last complete epoch.
    pub last: Option<EpochRow>,
    /// Epoch and value of the best so far.
    pub best: Option<(u32, f64)>,
}

/// The status of a run's training, if it has one.
#[derive(Debug, Default)]
pub struct TrainingStatus(Mutex<Option<Status>>);

impl TrainingStatus {
    /// Returns the current status; none before the training has begun.
    pub fn now(&self) -> Option<Status> {
        self.lock().clone()
    }

    pub(crate) fn set(&self, status: Status) {
        *self.lock() = Some(status);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Status>> {
        // It is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
