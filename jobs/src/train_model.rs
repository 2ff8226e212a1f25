//! `train_model`: trains a network on the incoming rows, validates it after each epoch, and writes the model at the
//! end. Owns how rows become steps and when files are written; `fermata-learn` owns the steps themselves and the
//! folder.

mod collected;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use fermata_engine::{Actor, ActorError, End, Input, Outputs, Ports, Setup};
use fermata_learn::device::device;
use fermata_learn::training::{
    Environment, Plan, Planned, Progress, RunFolder, Trainer, TrainingError,
};
use schemars::JsonSchema;
use serde::Deserialize;

use self::collected::{Step, Validation};
use crate::manifests::Manifests;
use crate::payload::{Prepared, PreparedRow, Purpose, WantedRow};
use crate::training_status::{Status, TrainingStatus};

/// Trains a network, continuing from its last checkpoint. Groups rows into steps itself and accepts only the rows
/// expected next. When the run is drained, it trains no partial step and writes a checkpoint. At the end of the
/// training it writes the model.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainModelSettings {
    /// Folder of the training, as created by `fermata train`.
    pub training: PathBuf,
    /// `cpu` or `cuda:N`.
    #[serde(default = "cpu")]
    pub device: String,
}

fn cpu() -> String {
    "cpu".to_owned()
}

/// See `TrainModelSettings`.
pub struct TrainModel {
    folder: RunFolder,
    trainer: Trainer,
    plan: std::iter::Peekable<Plan>,
    step: Step,
    validation: Validation,
    /// Whether there are steps since the last checkpoint.
    is_unsaved: bool,
    /// Set by an error; nothing is trained afterwards, since rows would be missing.
    is_broken: bool,
    /// When the epoch, or what was left of it, began.
    began: Instant,
    trained_s: f64,
    rows: u64,
    rows_planned: u64,
    status: Option<Arc<TrainingStatus>>,
}

impl TrainModel {
    fn take_in(&mut self, packet: &Prepared) -> Result<(), ActorError> {
        let planned = self.plan.next();
        let planned = planned.ok_or("more rows have come than the training has")?;
        match (packet, planned) {
            (Prepared::Row(row), Planned::Train { epoch, step, .. }) => {
                self.expect(&row.wanted, planned)?;
                self.step.push(row, input_of(row)?);
                let is_of_step = |next: &Planned| matches!(*next, Planned::Train { epoch: e, step: s, .. } if (e, s) == (epoch, step));
                if !self.plan.peek().is_some_and(is_of_step) {
                    self.train(epoch, step)?;
                }
                Ok(())
            }
            (Prepared::Row(row), Planned::Validation { .. }) => {
                self.expect(&row.wanted, planned)?;
                self.validation.push(&row.wanted, input_of(row)?);
                let is_validated = |next: &Planned| matches!(next, Planned::Validation { .. });
                let is_last = !self.plan.peek().is_some_and(is_validated);
                if is_last || self.validation.is_full() {
                    self.rows += self.validation.predict(&mut self.trainer)?;
                    self.show();
                }
                if is_last { self.end_epoch() } else { Ok(()) }
            }
            (Prepared::EpochEnd { epoch }, Planned::EpochEnd { epoch: expected })
                if *epoch == expected =>
            {
                self.trained_s = self.began.elapsed().as_secs_f64();
                Ok(())
            }
            (Prepared::EpochEnd { epoch }, planned) => {
                Err(lost(&format!("the end of epoch {epoch}"), planned))
            }
            (Prepared::Row(row), planned) => Err(lost(&named(&row.wanted), planned)),
        }
    }

    /// Checks a row against the plan: training must not continue without a row that was lost.
    fn expect(&self, wanted: &WantedRow, planned: Planned) -> Result<(), ActorError> {
        let (purpose, row) = match planned {
            Planned::Train {
                epoch,
                step,
                view,
                row,
            } => (Purpose::Train { epoch, step, view }, row),
            Planned::Validation { epoch, row } => (Purpose::Validation { epoch }, row),
            Planned::EpochEnd { .. } => return Err(lost(&named(wanted), planned)),
        };
        if wanted.row.index() == row && wanted.purpose == purpose {
            Ok(())
        } else {
            Err(lost(&named(wanted), planned))
        }
    }

    fn train(&mut self, epoch: u32, step: u64) -> Result<(), ActorError> {
        self.rows += self.step.train(&mut self.trainer, epoch, step)?;
        self.is_unsaved = true;
        let every = self.trainer.spec().checkpoint_every;
        if every.is_some_and(|every| self.trainer.progress().step.is_multiple_of(every)) {
            self.save()?;
        }
        self.show();
        Ok(())
    }

    fn end_epoch(&mut self) -> Result<(), ActorError> {
        let predictions = self.validation.predictions()?;
        let before = self.trainer.progress().clone();
        let row = self.trainer.end_epoch(&predictions)?.clone();
        if let Err(error) = self.folder.keep(&mut self.trainer, &row, &predictions) {
            // No checkpoint may claim an epoch whose results are not all there. A training that is resumed validates
            // it again, and writes them.
            self.trainer.take_back_end(before);
            self.is_unsaved = true;
            return Err(error.into());
        }
        self.is_unsaved = false;
        let line = format!(
            "epoch {}: loss {:.4}, validation accuracy {:.4}, macro-F1 {:.4}; trained in {:.1} s, {:.1} s in all",
            row.epoch,
            row.train_loss,
            row.accuracy,
            row.macro_f1,
            self.trained_s,
            self.began.elapsed().as_secs_f64(),
        );
        tracing::info!("{line}");
        self.folder.log(&line)?;
        self.began = Instant::now();
        self.show();
        Ok(())
    }

    fn save(&mut self) -> Result<(), TrainingError> {
        self.folder.save(&self.trainer)?;
        self.is_unsaved = false;
        Ok(())
    }

    fn show(&self) {
        let Some(status) = &self.status else {
            return;
        };
        let progress = self.trainer.progress();
        let loss = progress.loss_sum / progress.rows as f64;
        status.set(Status {
            epoch: progress.epoch,
            epochs: progress.end,
            step: progress.step,
            steps: self.trainer.steps(),
            loss: (progress.rows > 0).then_some(loss),
            rows: self.rows,
            rows_planned: self.rows_planned,
            last: progress.history.last().cloned(),
            best: progress.best.map(|best| (best.epoch, best.value)),
        });
    }
}

/// Returns the input of a row, or the failure of its image.
fn input_of(row: &PreparedRow) -> Result<&[f32], ActorError> {
    match &row.input {
        Ok(input) => Ok(input),
        Err(failure) => Err(TrainingError::Row {
            image: row.wanted.row.row().image.clone(),
            reason: failure.to_string(),
        }
        .into()),
    }
}

fn named(wanted: &WantedRow) -> String {
    format!("{:?} for {:?}", wanted.row, wanted.purpose)
}

fn lost(came: &str, planned: Planned) -> ActorError {
    format!("a row was lost on the way: expected {planned:?}, but {came} came").into()
}

impl Actor for TrainModel {
    const NAME: &'static str = "train_model";
    type Settings = TrainModelSettings;

    fn ports(settings: &TrainModelSettings) -> Ports {
        Ports::new()
            .input::<Prepared>("in")
            .writes(settings.training.join(RunFolder::CHECKPOINTS[0]))
            .irreplaceable()
            .needs::<Manifests>()
    }

    fn check(settings: &TrainModelSettings) -> Result<(), ActorError> {
        RunFolder::open(&settings.training)?;
        device(&settings.device)?;
        Ok(())
    }

    fn create(settings: TrainModelSettings, setup: &Setup) -> Result<Self, ActorError> {
        let folder = RunFolder::open(&settings.training)?;
        let config = folder.config();
        let manifest = Manifests::of(setup)?.get(&config.manifest)?;
        let rows = config.rows(&manifest)?;
        let device = device(&settings.device)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        if config.training.threads as usize > cores {
            tracing::warn!(
                threads = config.training.threads,
                cores,
                "more threads than cores slow training down severely: lower `threads` in the training's settings"
            );
        }
        // Applies to this thread, which computes.
        tch::set_num_threads(i32::try_from(config.training.threads).unwrap_or(i32::MAX));
        let trainer = folder.trainer(&rows, device)?;
        let Progress { epoch, step, .. } = *trainer.progress();
        let of = Environment::of(device);
        folder.log(&format!(
            "continues at epoch {epoch}, step {step}: fermata {}, commit {}, libtorch {}, {} on {}",
            of.fermata, of.git_commit, of.libtorch, of.device, of.processor
        ))?;
        let plan = Plan::new(&config.training, &rows, trainer.progress());
        Ok(Self {
            rows: 0,
            rows_planned: plan.rows_left(),
            plan: plan.peekable(),
            step: Step::default(),
            validation: Validation::new(config.training.batch),
            is_unsaved: false,
            is_broken: false,
            began: Instant::now(),
            trained_s: 0.0,
            status: setup.service(),
            trainer,
            folder,
        })
    }

    fn process(&mut self, mut input: Input, out: &mut Outputs) -> Result<(), ActorError> {
        let packet = input.take::<Prepared>();
        if self.is_broken {
            // Report other unreadable images too.
            if let Prepared::Row(row) = &*packet {
                input_of(row)?;
            }
            return Err("not trained: an earlier error has ended the training".into());
        }
        let taken = self.take_in(&packet);
        self.is_broken = taken.is_err();
        taken?;
        if self.trainer.progress().has_stopped {
            out.end_stream(&input.envelope);
        }
        Ok(())
    }

    fn finish(&mut self, _: End) -> Result<(), ActorError> {
        if self.trainer.is_done() && !self.is_broken {
            let best = self.folder.complete(self.trainer.progress())?;
            let line = format!("complete: epoch {} is the best", best.epoch);
            self.folder.log(&line)?;
            tracing::info!("{line}");
            return Ok(());
        }
        if self.is_unsaved {
            self.save()?;
        }
        Ok(self.folder.log("interrupted")?)
    }
}
