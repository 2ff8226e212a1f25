//! What a training does, as written in a file. Owns the settings, their defaults, what makes them wrong, and which rows
//! each step sees.

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

/// More threads than any machine that trains has cores.
const MOST_THREADS: u32 = 1024;

/// A training, without its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingSpec {
    /// Network, by its name.
    pub architecture: Architecture,
    /// Its head. Default: `linear`.
    #[serde(default)]
    pub head: HeadSpec,
    /// Weights to begin with. Default: new ones, drawn from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial: Option<Initial>,
    /// Of all that is drawn. Default: 0.
    #[serde(default)]
    pub seed: u64,
    /// Passes over the rows.
    pub epochs: u32,
    /// Rows of a step. What is left at an epoch's end is a smaller step; a single row is left out, since batch
    /// normalisation has no variance of one.
    pub batch: usize,
    /// Which rows an epoch has. Default: `shuffled`.
    #[serde(default)]
    pub sampling: Sampling,
    /// How pictures are varied. Default: see [`Augmentation`].
    #[serde(default)]
    pub augmentation: Augmentation,
    /// Which views of a picture the epochs see. Default: each epoch another.
    #[serde(default, skip_serializing_if = "Views::is_default")]
    pub views: Views,
    /// What is minimised. Default: cross-entropy.
    #[serde(default)]
    pub objective: Objective,
    /// How gradients become updates. Default: AdamW with torch's settings.
    #[serde(default = "adam_w")]
    pub rule: Rule,
    /// Of weights, not of biases and norms. Default: 0.05.
    #[serde(default = "weight_decay")]
    pub weight_decay: f64,
    /// Default: 3e-4 to 1e-5 without warm-up.
    #[serde(default)]
    pub learning_rate: LearningRate,
    /// Probability that a value before the head becomes 0 in a step; the others grow to keep the mean (Srivastava et
    /// al. 2014). Default: 0.
    #[serde(default)]
    pub dropout: f64,
    /// Longest gradient; longer ones are shortened. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Decay of a moving average of the weights, which is then validated and kept instead of them. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub average_decay: Option<f64>,
    /// By which validation metric the best epoch is chosen. Default: `macro_f1`.
    #[serde(default)]
    pub select_by: SelectBy,
    /// Epochs without a better one after which the training stops. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
    /// Steps between checkpoints within an epoch. Default: none, only at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_every: Option<u64>,
    /// Threads of the computation on a CPU; another number gives slightly other weights. Default: 1.
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

/// Views of the pictures: how view v of a picture looks is a function of (seed, v, hash of the image), and view 0 is
/// the picture as it is ([`Augmentation::view`]). Trainings with the same views see the same pictures, whatever they
/// learn from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Views {
    /// V: epoch e sees view e mod V. Default: that of the softlabels, or no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Of the variations. Default: that of the softlabels, or of the training.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

impl Views {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The view in which an epoch sees a row that it draws for the n-th time, from 0. The further draws of a balanced
    /// epoch are other views, as far as there are any.
    pub fn of(self, epoch: u32, draw: u32) -> u32 {
        // A step that no usual number of views divides, and that other epochs hardly reach.
        let view = epoch.wrapping_add(draw.wrapping_mul(65_537));
        match self.count {
            None | Some(0) => view,
            Some(count) => view % count,
        }
    }
}

/// The head of a network in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum HeadSpec {
    /// Fully connected.
    #[default]
    Linear,
    /// Cosines with a margin.
    Arcface(ArcFace),
}

impl HeadSpec {
    /// The head that the network has.
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
    /// Safetensors of this network, timm's or a training's.
    pub weights: PathBuf,
    /// `file`: its head too. `network`: a new head, for other classes.
    pub head: HeadOf,
    /// Whether they had learnt from none of the pictures here, such as weights of ImageNet. Weights that do not say
    /// what they had learnt from may else have seen every row. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub foreign: bool,
}

/// Learning rates over the training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LearningRate {
    /// After the warm-up. Default: 3e-4.
    pub base: f64,
    /// At the end. Default: 1e-5.
    pub least: f64,
    /// Epochs of the warm-up. Default: 0.
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

/// A validation metric by which epochs are compared.
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
    /// Whether the first value is better than the second.
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
    /// What is wrong with the settings, each by name.
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

    /// Steps of an epoch over this number of rows.
    pub fn steps(&self, rows: usize) -> u64 {
        let whole = rows / self.batch;
        (whole + usize::from(rows % self.batch > 1)) as u64
    }

    /// The rate of each step of a training over this number of rows.
    pub fn schedule(&self, rows: usize) -> Cosine {
        let steps = self.steps(rows);
        Cosine {
            base: self.learning_rate.base,
            least: self.learning_rate.least,
            warm_up: u64::from(self.learning_rate.warm_up_epochs) * steps,
            steps: u64::from(self.epochs) * steps,
        }
    }

    /// Seed of the views' variations.
    pub fn view_seed(&self) -> u64 {
        self.views.seed.unwrap_or(self.seed)
    }

    /// The rows of each step of an epoch (from 0), and the view in which each is seen: a function of seed, epoch and
    /// row.
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
