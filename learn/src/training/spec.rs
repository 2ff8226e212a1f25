//! The settings of a training, as written in a file: their defaults, their validation, and which rows each step sees.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::objective::Objective;
use crate::augmentation::Augmentation;
use crate::losses::arcface::ArcFace;
use crate::network::{Architecture, Head};
use crate::optimiser::Rule;
use crate::sampler::{Sampling, order};
use crate::schedule::Cosine;
use crate::settings_problems::Problems;
use crate::weights::HeadOf;

/// Upper limit of `threads`: more than any training machine has cores.
const MOST_THREADS: u32 = 1024;

/// Settings of a training, without its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// Name of the network.
    pub architecture: Architecture,
    /// Head of the network. Default: `linear`.
    #[serde(default)]
    pub head: HeadSpec,
    /// Initial weights. Default: new ones, drawn from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Initial>,
    /// Seed of everything random. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// Number of passes over the rows.
    pub epochs: u32,
    /// Rows per step. Rows left at the end of an epoch form a smaller step; a single one is left out, since batch
    /// normalisation needs at least two.
    pub batch: usize,
    /// How the rows of an epoch are chosen. Default: `shuffled`.
    #[serde(default)]
    pub sampling: Sampling,
    /// How pictures are augmented. Default: see [`Augmentation`].
    #[serde(default)]
    pub augmentation: Augmentation,
    /// Which view of a picture each epoch sees. Default: a new one each epoch.
    #[serde(default, skip_serializing_if = "Views::is_default")]
    pub views: Views,
    /// Loss to minimise. Default: cross-entropy.
    #[serde(default)]
    pub objective: Objective,
    /// Update rule of the optimiser. Default: AdamW with torch's settings.
    #[serde(default = "adam_w")]
    pub rule: Rule,
    /// Weight decay; applies to weights, not to biases and norms. Default: 0.05.
    #[serde(default = "weight_decay")]
    pub weight_decay: f64,
    /// Learning rates. Default: 3e-4 to 1e-5 without warm-up.
    #[serde(default)]
    pub learning_rate: LearningRate,
    /// Probability that a value before the head is set to 0 in a step; the others are scaled up to keep the mean
    /// (Srivastava et al. 2014). Default: 0.
    #[serde(default)]
    pub dropout: f64,
    /// Largest gradient norm; longer gradients are scaled down to it. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Decay of the moving average of the weights, which is validated and kept in place of the weights. Default: no
    /// average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_decay: Option<f64>,
    /// Validation metric that selects the best epoch. Default: `macro_f1`.
    #[serde(default)]
    pub select_by: SelectBy,
    /// Epochs without improvement after which the training stops early. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
    /// Steps between checkpoints within an epoch. Default: only at the end of an epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<u64>,
    /// CPU threads of the computation; another number gives slightly different weights. Default: 1.
    #[serde(default = "one")]
    pub threads: u32,
}

fn adam_w() -> Rule {
    Rule::ADAM_W
}

fn weight_decay() -> f64 {
    0.05
}

fn one() -> u32 {
    1
}

/// Views of the pictures: view v of a picture is a function of (seed, v, hash of the image), and view 0 is the
/// unaugmented picture ([`Augmentation::view`]). Trainings with the same views see the same pictures, whatever they
/// learn from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Views {
    /// Number of views V: epoch e sees view e mod V. Default: that of the softlabels, or no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Seed of the augmentation. Default: that of the softlabels, or of the training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Views {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the view in which an epoch sees a row that it draws for the n-th time (from 0). Repeated draws in a
    /// balanced epoch get different views, as far as there are enough of them.
    pub fn of(self, epoch: u32, draw: u32) -> u32 {
        // A stride that no usual number of views divides and that other epochs are unlikely to reach.
        let view = epoch.wrapping_add(draw.wrapping_mul(65_537));
        match self.count {
            None | Some(0) => view,
            Some(count) => view % count,
        }
    }
}

/// Head of a network in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HeadSpec {
    /// Fully connected layer.
    #[default]
    Linear,
    /// Cosines with an angular margin.
    Arcface(ArcFace),
}

impl HeadSpec {
    /// Returns the head of the network.
    pub fn of(self, classes: i64) -> Head {
        match self {
            Self::Linear => Head::Linear { classes },
            Self::Arcface(ArcFace { scale, .. }) => Head::ArcFace { classes, scale },
        }
    }
}

/// Weights to begin with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Initial {
    /// Safetensors file of this architecture, from timm or from a training.
    pub weights: PathBuf,
    /// `file`: take the file's head too. `network`: keep a new head, for other classes.
    pub head: HeadOf,
    /// Whether the weights were trained on none of the pictures here, such as weights of ImageNet. Otherwise weights
    /// without provenance may have seen every row. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

/// Learning rates over the training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LearningRate {
    /// Rate after the warm-up. Default: 3e-4.
    pub base: f64,
    /// Rate at the end. Default: 1e-5.
    pub least: f64,
    /// Epochs of warm-up. Default: 0.
    pub warm_up_epochs: u32,
}

impl Default for LearningRate {
    fn default() -> Self {
        Self {
            base: 3e-4,
            least: 1e-5,
            warm_up_epochs: 0,
        }
    }
}

/// Validation metric by which epochs are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SelectBy {
    /// Higher is better.
    #[default]
    MacroF1,
    /// Higher is better.
    Accuracy,
    /// Lower is better.
    Nll,
}

impl SelectBy {
    /// Returns whether `value` is better than `than`.
    pub fn is_better(self, value: f64, than: f64) -> bool {
        match self {
            Self::MacroF1 | Self::Accuracy => value > than,
            Self::Nll => value < than,
        }
    }
}

impl LearningRate {
    fn check(self, epochs: u32, problems: &mut Problems) {
        let Self {
            base,
            least,
            warm_up_epochs,
        } = self;
        problems.above_0("learning_rate.base", base);
        problems.expect(
            (0.0..=base).contains(&least),
            "learning_rate.least",
            least,
            "0 to the base",
        );
        problems.expect(
            warm_up_epochs < epochs,
            "learning_rate.warm_up_epochs",
            warm_up_epochs,
            "fewer than epochs",
        );
    }
}

fn check_rule(rule: Rule, problems: &mut Problems) {
    match rule {
        Rule::Sgd { momentum, nesterov } => {
            problems.below_1("rule.sgd.momentum", momentum);
            problems.expect(
                !nesterov || momentum > 0.0,
                "rule.sgd.momentum",
                momentum,
                "above 0 with nesterov",
            );
        }
        Rule::AdamW {
            beta1,
            beta2,
            epsilon,
        } => {
            problems.below_1("rule.adam_w.beta1", beta1);
            problems.below_1("rule.adam_w.beta2", beta2);
            problems.above_0("rule.adam_w.epsilon", epsilon);
        }
    }
}

impl TrainingSpec {
    /// Returns all problems of the settings, each with its setting's name.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Problems::of("");
        problems.at_least("epochs", self.epochs.into(), 1);
        problems.at_least("batch", self.batch as u64, 2);
        let is_some = (1..=MOST_THREADS).contains(&self.threads);
        problems.expect(
            is_some,
            "threads",
            self.threads,
            format!("1 to {MOST_THREADS}"),
        );
        problems.not_negative("weight_decay", self.weight_decay);
        self.learning_rate.check(self.epochs, &mut problems);
        problems.below_1("dropout", self.dropout);
        if let Some(count) = self.views.count {
            problems.at_least("views.count", count.into(), 1);
        }
        if let Some(norm) = self.clip_norm {
            problems.above_0("clip_norm", norm);
        }
        if let Some(decay) = self.average_decay {
            problems.below_1("average_decay", decay);
        }
        if let Some(patience) = self.patience {
            problems.at_least("patience", patience.into(), 1);
        }
        if let Some(steps) = self.checkpoint_every {
            problems.at_least("checkpoint_every", steps, 1);
        }
        if let HeadSpec::Arcface(arcface) = self.head {
            let margin = arcface.margin;
            problems.above_0("head.arcface.scale", arcface.scale);
            problems.expect(
                (0.0..1.6).contains(&margin),
                "head.arcface.margin",
                margin,
                "0 to below 1.6 radians",
            );
            problems.not_negative("head.arcface.warm_up", arcface.warm_up);
            problems.not_negative("head.arcface.ramp", arcface.ramp);
        }
        check_rule(self.rule, &mut problems);
        let parts = [self.augmentation.problems(), self.objective.problems()];
        parts.into_iter().flatten().chain(problems.all()).collect()
    }

    /// Returns the number of steps in an epoch over this many rows.
    pub fn steps(&self, rows: usize) -> u64 {
        let whole = rows / self.batch;
        (whole + usize::from(rows % self.batch > 1)) as u64
    }

    /// Returns the learning-rate schedule of a training over this many rows.
    pub fn schedule(&self, rows: usize) -> Cosine {
        let steps = self.steps(rows);
        Cosine {
            base: self.learning_rate.base,
            least: self.learning_rate.least,
            warm_up: u64::from(self.learning_rate.warm_up_epochs) * steps,
            steps: u64::from(self.epochs) * steps,
        }
    }

    /// Returns the seed of the views.
    pub fn view_seed(&self) -> u64 {
        self.views.seed.unwrap_or(self.seed)
    }

    /// Returns the rows of each step of an epoch (from 0), each with its view: a function of seed, epoch and row.
    pub fn epoch(&self, labels: &[usize], epoch: u32) -> Vec<Vec<(usize, u32)>> {
        let rows = order(labels, self.sampling, self.seed, u64::from(epoch));
        let mut draws = vec![0; labels.len()];
        let seen: Vec<(usize, u32)> = rows
            .into_iter()
            .map(|row| {
                let view = self.views.of(epoch, draws[row]);
                draws[row] += 1;
                (row, view)
            })
            .collect();
        let steps = seen.chunks(self.batch).filter(|step| step.len() > 1);
        steps.map(<[(usize, u32)]>::to_vec).collect()
    }
}
