//! The training loop in memory, one step at a time: takes batches and, at the end of each epoch, validation
//! predictions; its state can be saved and restored at any step. Owns the network, the optimiser, the weight average
//! and the progress. Reading rows and writing files is the caller's job.

use tch::{Device, Tensor};

use super::batch::Batch;
use super::dropout::dropped_out;
use super::error::TrainingError;
use super::objective::Seen;
use super::progress::{Best, EpochRow, Progress, StepDone};
use super::spec::{HeadSpec, SelectBy, TrainingSpec};
use crate::losses::CrossEntropy;
use crate::metrics::Metrics;
use crate::network::{Mode, Network};
use crate::optimiser::{self, Optimiser};
use crate::predictions::Predictions;
use crate::schedule::Cosine;
use crate::weight_average::{self, WeightAverage};
use crate::weights::{HeadOf, TensorFile};

/// A network in training.
pub struct Trainer {
    spec: TrainingSpec,
    /// Shape of an input: [channels, height, width].
    input: [i64; 3],
    network: Network,
    average: Option<Average>,
    optimiser: Optimiser,
    schedule: Cosine,
    steps: u64,
    cross_entropy: CrossEntropy,
    progress: Progress,
}

/// Weight average, and a network to validate it with.
struct Average {
    average: WeightAverage,
    network: Network,
    /// Whether the network holds the current average.
    is_in_network: bool,
}

impl Trainer {
    /// Returns a trainer before its first step. `input` is [channels, height, width], `labels` are the classes of the
    /// training rows.
    ///
    /// # Errors
    /// The settings are wrong, there are too few rows, a class lacks the rows that the objective needs, or the initial
    /// weights cannot be loaded.
    pub fn new(
        spec: TrainingSpec,
        input: [i64; 3],
        labels: &[usize],
        classes: i64,
        device: Device,
    ) -> Result<Self, TrainingError> {
        let problems = spec.problems();
        if !problems.is_empty() {
            return Err(TrainingError::Spec(problems));
        }
        let steps = spec.steps(labels.len());
        if steps == 0 {
            return Err(TrainingError::TooFewRows(labels.len()));
        }
        let cross_entropy = spec.objective.cross_entropy(labels, classes as usize);
        let cross_entropy = cross_entropy.map_err(TrainingError::AbsentClass)?;
        let head = spec.head.of(classes);
        let mut network = Network::new(spec.architecture, head, spec.seed, device);
        if let Some(initial) = &spec.initial {
            network.load(&initial.weights, initial.head)?;
        }
        let average = spec.average_decay.map(|decay| Average {
            average: WeightAverage::new(&network, decay),
            network: Network::new(spec.architecture, head, spec.seed, device),
            is_in_network: false,
        });
        Ok(Self {
            input,
            average,
            optimiser: Optimiser::new(network.trained(), spec.rule, spec.weight_decay),
            network,
            schedule: spec.schedule(labels.len()),
            steps,
            cross_entropy,
            progress: Progress::new(spec.epochs),
            spec,
        })
    }

    /// Returns the settings.
    pub fn spec(&self) -> &TrainingSpec {
        &self.spec
    }

    /// Returns the progress so far.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Returns whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.progress.is_done()
    }

    /// Returns the number of steps in an epoch.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Extends the training by this many epochs from here, even after an early stop, with a cosine schedule of their
    /// own: from the base rate to the least without warm-up (a warm restart: Loshchilov and Hutter 2017).
    ///
    /// # Errors
    /// The number of epochs is 0, so that nothing would be done, or too large.
    pub fn extend(&mut self, epochs: u32) -> Result<(), TrainingError> {
        if epochs == 0 {
            return Err(TrainingError::NothingToDo(self.progress.epoch));
        }
        self.progress.extend(epochs, self.steps)
    }

    /// Trains one step, which must be the next one of the [`super::Plan`].
    ///
    /// # Errors
    /// The batch is not the next one of this training, or the loss or a gradient is not finite; the network is then
    /// unchanged except for the batch statistics.
    pub fn train(&mut self, batch: &Batch) -> Result<StepDone, TrainingError> {
        self.check(batch)?;
        let device = self.network.device();
        let classes = self.network.description().head.classes();
        let rows = batch.labels.len() as i64;
        let [channels, height, width] = self.input;
        let inputs = Tensor::from_slice(&batch.inputs).reshape([rows, channels, height, width]);
        let inputs = inputs.to_device(device);
        let labels = Tensor::from_slice(&batch.labels).to_device(device);
        let by_class = |values: &Vec<f32>| {
            Tensor::from_slice(values)
                .reshape([rows, classes])
                .to_device(device)
        };
        let teacher = batch.teacher.as_ref().map(by_class);
        let targets = batch.targets.as_ref().map(by_class);
        let key = [
            self.spec.seed,
            u64::from(self.progress.epoch),
            self.progress.step,
        ];
        let embedding = self.network.embed(&inputs, Mode::Training)?;
        let embedding = dropped_out(embedding, self.spec.dropout, key);
        let logits = match self.spec.head {
            HeadSpec::Linear => self.network.classify(&embedding),
            HeadSpec::Arcface(arcface) => {
                let margin = arcface.margin_at(f64::from(self.progress.epoch));
                arcface.logits(&embedding, self.network.head_weight(), &labels, margin)
            }
        };
        let seen = Seen {
            logits: &logits,
            labels: &labels,
            label_values: &batch.labels,
            teacher: teacher.as_ref(),
            targets: targets.as_ref(),
            epoch: self.progress.epoch,
            key,
        };
        let loss = self.spec.objective.loss(&seen, &self.cross_entropy);
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            let Progress { epoch, step, .. } = self.progress;
            return Err(TrainingError::Diverged {
                epoch,
                step,
                loss: value,
            });
        }
        self.optimiser.zero_gradients();
        loss.backward();
        // Also without clipping: gradients that are not finite must not reach the weights.
        let most = self.spec.clip_norm.unwrap_or(f64::INFINITY);
        self.optimiser.clip_gradients(most)?;
        let rate = self.rate(self.progress.step);
        self.optimiser.step(rate);
        if let Some(average) = &mut self.average {
            average.average.update(&self.network);
            average.is_in_network = false;
        }
        self.progress.step += 1;
        self.progress.rows += rows as u64;
        self.progress.loss_sum += value * rows as f64;
        Ok(StepDone { loss: value, rate })
    }

    /// Returns the learning rate of a step of the current epoch.
    fn rate(&self, step: u64) -> f64 {
        let step = u64::from(self.progress.epoch) * self.steps + step;
        let Some(from) = self.progress.more_from else {
            return self.schedule.rate(step);
        };
        let again = Cosine {
            warm_up: 0,
            steps: u64::from(self.progress.end) * self.steps - from,
            ..self.schedule
        };
        again.rate(step.saturating_sub(from))
    }

    fn check(&self, batch: &Batch) -> Result<(), TrainingError> {
        let wrong = |what: String| Err(TrainingError::Batch(what));
        if self.is_done() {
            return Err(TrainingError::NothingToDo(self.progress.epoch));
        }
        let Progress { epoch, step, .. } = self.progress;
        if step >= self.steps {
            return wrong(format!(
                "epoch {epoch} has had all its {} steps; its validation comes next",
                self.steps
            ));
        }
        if (batch.epoch, batch.step) != (epoch, step) {
            return wrong(format!(
                "it is step {} of epoch {}, and the next is step {step} of epoch {epoch}",
                batch.step, batch.epoch
            ));
        }
        let (rows, classes) = (
            batch.labels.len(),
            self.network.description().head.classes(),
        );
        if rows < 2 {
            return wrong(format!("it has {rows} rows; expected at least 2"));
        }
        let len = self.input.iter().product::<i64>() as usize;
        if batch.inputs.len() != rows * len {
            return wrong(format!(
                "it has {} values for {rows} rows of {:?}",
                batch.inputs.len(),
                self.input
            ));
        }
        if let Some(label) = batch
            .labels
            .iter()
            .find(|label| !(0..classes).contains(*label))
        {
            return wrong(format!(
                "it has the label {label}; expected 0 to {}",
                classes - 1
            ));
        }
        let problem = match &batch.targets {
            None if self.spec.objective.soft_targets => {
                Some("it has no targets, which the objective needs")
            }
            Some(targets) if !are_distributions(targets, rows, classes as usize) => {
                Some("the targets are not a distribution over the classes for each row")
            }
            _ => None,
        };
        if let Some(problem) = problem {
            return wrong(problem.to_owned());
        }
        match &batch.teacher {
            None if self.spec.objective.needs_teacher() => {
                wrong("it has no teacher's logits, which the objective needs".to_owned())
            }
            Some(logits) if logits.len() != rows * classes as usize => wrong(format!(
                "the teacher has {} logits for {rows} rows of {classes}",
                logits.len()
            )),
            Some(logits) if !logits.iter().all(|logit| logit.is_finite()) => {
                wrong("the teacher has logits that are not finite".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Returns the logits of inputs in evaluation mode, row by row, from the weight average if there is one.
    ///
    /// # Errors
    /// The inputs do not fit this training.
    pub fn predict(&mut self, inputs: &[f32]) -> Result<Vec<f32>, TrainingError> {
        let input = self.input;
        Ok(self.network().logits(inputs, input)?)
    }

    /// Ends an epoch, given the predictions for the validation rows.
    ///
    /// # Errors
    /// The epoch has steps left.
    pub fn end_epoch(&mut self, validation: &Predictions) -> Result<&EpochRow, TrainingError> {
        if self.progress.step != self.steps {
            let left = self.steps - self.progress.step;
            return Err(TrainingError::Batch(format!(
                "the epoch cannot end with {left} steps left"
            )));
        }
        let rate = self.rate(self.steps - 1);
        let metrics = Metrics::of(validation);
        let select_by = self.spec.select_by;
        let value = match select_by {
            SelectBy::MacroF1 => metrics.macro_f1,
            SelectBy::Accuracy => metrics.accuracy,
            SelectBy::Nll => metrics.nll,
        };
        let progress = &mut self.progress;
        let is_best = progress
            .best
            .is_none_or(|best| select_by.is_better(value, best.value));
        if is_best {
            progress.best = Some(Best {
                epoch: progress.epoch,
                value,
            });
            progress.epochs_since_best = 0;
        } else {
            progress.epochs_since_best += 1;
        }
        progress.has_stopped = self
            .spec
            .patience
            .is_some_and(|patience| progress.epochs_since_best >= patience);
        progress.history.push(EpochRow {
            epoch: progress.epoch,
            rows: progress.rows,
            rate,
            train_loss: progress.loss_sum / progress.rows as f64,
            accuracy: metrics.accuracy,
            macro_f1: metrics.macro_f1,
            nll: metrics.nll,
            ece: metrics.ece,
            is_best,
        });
        progress.epoch += 1;
        progress.step = 0;
        progress.rows = 0;
        progress.loss_sum = 0.0;
        Ok(progress.history.last().expect("it was just pushed"))
    }

    /// Takes back the end of an epoch whose results could not be kept: with the progress from before it, all steps of
    /// the epoch are trained, and its validation comes next.
    pub fn take_back_end(&mut self, before: Progress) {
        self.progress = before;
    }

    /// Returns the network that predicts: the weight average, if there is one.
    pub fn network(&mut self) -> &Network {
        match &mut self.average {
            None => &self.network,
            Some(average) => {
                average.refresh();
                &average.network
            }
        }
    }

    /// Returns the complete state of the training. Its progress is in the file's provenance.
    pub fn checkpoint(&self) -> TensorFile {
        let network = self.network.tensors().iter();
        let mut tensors = self.optimiser.state();
        tensors.extend(network.map(|named| (named.spec.name.clone(), named.tensor.detach())));
        if let Some(average) = &self.average {
            tensors.extend(average.average.state());
        }
        TensorFile {
            tensors,
            provenance: Some(self.progress.to_provenance()),
        }
    }

    /// Restores the state from a checkpoint of the same training.
    ///
    /// # Errors
    /// The checkpoint is of another training; the trainer must not be used afterwards.
    pub fn restore(&mut self, checkpoint: &TensorFile) -> Result<(), TrainingError> {
        let other = |what: String| TrainingError::Checkpoint(what);
        let progress = Progress::of(checkpoint)?;
        if progress.step > self.steps {
            return Err(other(format!(
                "it has {} steps in an epoch of {}",
                progress.step, self.steps
            )));
        }
        let of_network = |name: &str| {
            !name.starts_with(optimiser::PREFIX) && !name.starts_with(weight_average::PREFIX)
        };
        let tensors = checkpoint
            .tensors
            .iter()
            .filter(|(name, _)| of_network(name));
        let tensors = tensors.map(|(name, tensor)| (name.clone(), tensor.shallow_clone()));
        let filled = self.network.fill(&tensors.collect(), HeadOf::File);
        filled.map_err(|mismatch| other(mismatch.to_string()))?;
        let restored = self.optimiser.restore(&checkpoint.tensors);
        restored.map_err(|error| other(error.to_string()))?;
        if let Some(average) = &mut self.average {
            if !average.average.restore(&checkpoint.tensors) {
                return Err(other("it has no average of the weights".to_owned()));
            }
            average.is_in_network = false;
        }
        self.progress = progress;
        Ok(())
    }
}

/// Returns whether all values are at least 0 and each row sums to 1, up to f32 rounding.
fn are_distributions(values: &[f32], rows: usize, classes: usize) -> bool {
    values.len() == rows * classes
        && values.chunks(classes).all(|row| {
            row.iter().all(|value| *value >= 0.0) && (row.iter().sum::<f32>() - 1.0).abs() < 1e-3
        })
}

impl Average {
    fn refresh(&mut self) {
        if !self.is_in_network {
            let filled = self.network.fill(self.average.tensors(), HeadOf::File);
            filled.expect("the average has the network's tensors");
            self.is_in_network = true;
        }
    }
}
