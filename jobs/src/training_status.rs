//! How a training is doing, for whoever shows it while it runs. A service that a program may give.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fermata_learn::training::EpochRow;

/// How a training is doing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The present epoch, from 0.
    pub epoch: u32,
    /// The planned end.
    pub epochs: u32,
    /// Steps of the epoch that have been trained.
    pub step: u64,
    /// Steps of an epoch.
    pub steps: u64,
    /// Mean loss over the rows of the epoch so far.
    pub loss: Option<f64>,
    /// Rows trained and validated since the run began.
    pub rows: u64,
    /// Rows that were left when it began.
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
    /// As of now; none before the training has begun.
    pub fn now(&self) -> Option<Status> {
        self.lock().clone()
    }

    pub(crate) fn set(&self, status: Status) {
        *self.lock() = Some(status);
    }

    fn lock(&self) -> MutexGuard<'_, Option<Status>> {
        // It is put in whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
