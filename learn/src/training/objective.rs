//! The loss of a training, composed from [`crate::losses`]: cross-entropy, distillation and negative learning. Owns the
//! settings, what they require, and when each term begins.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::losses::correlation::CorrelationDistillation;
use crate::losses::{
    CrossEntropy, DecoupledDistillation, DecoupledForm, NegativeStage, complementary,
    cross_entropy, distillation, negative, negative_of_doubted, selective, standardised,
};
use crate::settings_problems::Problems;

/// Loss of a training. Default: plain cross-entropy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Objective {
    /// Share of the label that is spread over all classes (Szegedy et al. 2016). Default: 0.
    pub label_smoothing: f64,
    /// Class weights of the cross-entropy. Default: none.
    pub class_weights: ClassWeights,
    /// τ of τ·ln(share of the class), added to the logits of the cross-entropy (Menon et al. 2021). Default: 0.
    pub logit_adjustment: f64,
    /// Whether the cross-entropy uses a distribution for each row, such as annotators' votes, instead of its label.
    /// Default: false.
    pub soft_targets: bool,
    /// Distillation from a teacher, in addition to the labels. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
    /// Negative learning: from classes that a row does not belong to. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative: Option<Negative>,
}

/// Weights of the classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClassWeights {
    /// All equal.
    #[default]
    None,
    /// Rows / (classes · rows of the class), as scikit-learn's `balanced`.
    Balanced,
}

/// Distillation from a teacher's logits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "snake_case",
    rename_all_fields = "snake_case",
    deny_unknown_fields
)]
pub enum Distillation {
    /// (1 − α)·CE + α·KD (Hinton et al. 2015).
    Plain {
        /// T.
        temperature: f64,
        /// α.
        alpha: f64,
        /// Whether logits are standardised to z-scores first (Sun et al. 2024). Default: false.
        #[serde(default)]
        standardised: bool,
    },
    /// DKD (Zhao et al. 2022), in one of two forms.
    Decoupled(DecoupledDistillation),
    /// DIST, Huang et al. 2022.
    Correlation(CorrelationDistillation),
}

/// Learning from classes that a row does not belong to, drawn anew for each row and epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(
    rename_all = "snake_case",
    rename_all_fields = "snake_case",
    deny_unknown_fields
)]
pub enum Negative {
    /// λ·NL added to the rest of the loss (Kim et al. 2019).
    Added {
        /// λ.
        weight: f64,
    },
    /// NL alone, then SelNL alone, then SelPL alone, in place of the rest of the loss.
    Staged {
        /// Epochs of NL.
        all: u32,
        /// Epochs of SelNL after those of NL.
        selected: u32,
    },
    /// λ·NL on the rows whose label gets a probability below chance from the teacher.
    OfDoubted {
        /// λ.
        weight: f64,
    },
}

/// Rows of one step.
#[derive(Debug)]
pub(crate) struct Seen<'a> {
    /// Student logits [N, K].
    pub(crate) logits: &'a Tensor,
    /// Labels, i64 `[N]`, on the device of the logits.
    pub(crate) labels: &'a Tensor,
    /// The same labels on the CPU.
    pub(crate) label_values: &'a [i64],
    /// Teacher logits [N, K].
    pub(crate) teacher: Option<&'a Tensor>,
    /// Target distributions [N, K].
    pub(crate) targets: Option<&'a Tensor>,
    /// Epoch, from 0.
    pub(crate) epoch: u32,
    /// Seed, epoch and step.
    pub(crate) key: [u64; 3],
}

/// Separates these random numbers from others of the same step.
const PURPOSE: u64 = 0x4E65_6761;

impl Distillation {
    fn check(&self, problems: &mut Problems) {
        match *self {
            Self::Plain {
                temperature, alpha, ..
            } => {
                problems.above_0("distillation.temperature", temperature);
                problems.up_to("distillation.alpha", alpha, 1.0);
            }
            Self::Decoupled(DecoupledDistillation {
                temperature,
                alpha,
                beta,
                form,
            }) => {
                problems.above_0("distillation.temperature", temperature);
                problems.not_negative("distillation.beta", beta);
                match form {
                    DecoupledForm::Blended => problems.up_to("distillation.alpha", alpha, 1.0),
                    DecoupledForm::Reference { cross_entropy, .. } => {
                        problems.not_negative("distillation.alpha", alpha);
                        problems.not_negative("distillation.cross_entropy", cross_entropy);
                    }
                }
            }
            Self::Correlation(CorrelationDistillation {
                temperature,
                cross_entropy,
                beta,
                gamma,
            }) => {
                problems.above_0("distillation.temperature", temperature);
                problems.not_negative("distillation.cross_entropy", cross_entropy);
                problems.not_negative("distillation.beta", beta);
                problems.not_negative("distillation.gamma", gamma);
            }
        }
    }
}

impl Objective {
    /// Returns whether each row needs a teacher's logits.
    pub fn needs_teacher(&self) -> bool {
        self.distillation.is_some() || matches!(self.negative, Some(Negative::OfDoubted { .. }))
    }

    /// Returns all problems of the settings, each with its setting's name.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Problems::of("objective.");
        problems.below_1("label_smoothing", self.label_smoothing);
        problems.not_negative("logit_adjustment", self.logit_adjustment);
        if let Some(distillation) = &self.distillation {
            distillation.check(&mut problems);
        }
        if let Some(Negative::Added { weight } | Negative::OfDoubted { weight }) = self.negative {
            problems.not_negative("negative.weight", weight);
        }
        let is_staged = matches!(self.negative, Some(Negative::Staged { .. }));
        for (name, is_there) in [
            ("soft_targets", self.soft_targets),
            ("distillation", self.distillation.is_some()),
        ] {
            if is_staged && is_there {
                problems.tell(&format!(
                    "negative.staged replaces the whole loss, so there can be no {name}"
                ));
            }
        }
        problems.all()
    }

    /// Returns the settings of the cross-entropy for training labels of K classes.
    ///
    /// # Errors
    /// The index of a class without rows, whose weight or adjustment would be infinite.
    pub(crate) fn cross_entropy(
        &self,
        labels: &[usize],
        classes: usize,
    ) -> Result<CrossEntropy, usize> {
        let mut counts = vec![0usize; classes];
        for &label in labels {
            counts[label] += 1;
        }
        let needs_all =
            self.class_weights == ClassWeights::Balanced || self.logit_adjustment != 0.0;
        if let Some(class) = counts
            .iter()
            .position(|&count| count == 0)
            .filter(|_| needs_all)
        {
            return Err(class);
        }
        let rows = labels.len() as f64;
        let balanced = || {
            counts
                .iter()
                .map(|&count| rows / (classes * count) as f64)
                .collect()
        };
        let adjusted = || {
            let logs = counts.iter().map(|&count| (count as f64 / rows).ln());
            logs.map(|log| self.logit_adjustment * log).collect()
        };
        Ok(CrossEntropy {
            label_smoothing: self.label_smoothing,
            class_weights: (self.class_weights == ClassWeights::Balanced).then(balanced),
            logit_adjustment: (self.logit_adjustment != 0.0).then(adjusted),
        })
    }

    /// Returns the loss of a step, a scalar with gradients. There must be a teacher if [`Objective::needs_teacher`].
    pub(crate) fn loss(&self, seen: &Seen<'_>, settings: &CrossEntropy) -> Tensor {
        if let Some(Negative::Staged { all, selected }) = self.negative {
            let stage = match seen.epoch {
                epoch if epoch < all => NegativeStage::All,
                epoch if epoch < all.saturating_add(selected) => NegativeStage::Selected,
                _ => NegativeStage::Positive,
            };
            return selective(seen.logits, seen.labels, &seen.others(), stage);
        }
        let expected = if self.soft_targets {
            seen.targets
                .expect("a step without targets was refused earlier")
        } else {
            seen.labels
        };
        let entropy = cross_entropy(seen.logits, expected, settings);
        let loss = match self.distillation {
            None => entropy,
            Some(Distillation::Plain {
                temperature,
                alpha,
                standardised: false,
            }) => {
                entropy * (1.0 - alpha)
                    + distillation(seen.logits, seen.teacher(), temperature) * alpha
            }
            Some(Distillation::Plain {
                temperature, alpha, ..
            }) => {
                let [student, teacher] = [seen.logits, seen.teacher()].map(standardised);
                entropy * (1.0 - alpha) + distillation(&student, &teacher, temperature) * alpha
            }
            Some(Distillation::Correlation(settings)) => {
                settings.loss(seen.logits, seen.teacher(), &entropy)
            }
            Some(Distillation::Decoupled(settings)) => settings.loss(
                seen.logits,
                seen.teacher(),
                seen.labels,
                &entropy,
                seen.epoch + 1,
            ),
        };
        match self.negative {
            Some(Negative::Added { weight }) => {
                loss + negative(seen.logits, &seen.others()).mean(None::<Kind>) * weight
            }
            Some(Negative::OfDoubted { weight }) => {
                loss + negative_of_doubted(seen.logits, seen.teacher(), seen.labels, &seen.others())
                    * weight
            }
            _ => loss,
        }
    }
}

impl Seen<'_> {
    fn teacher(&self) -> &Tensor {
        self.teacher
            .expect("a step without a teacher was refused earlier")
    }

    /// Draws for each row a class that it does not belong to.
    fn others(&self) -> Tensor {
        let classes = self.logits.size()[1];
        let key = [PURPOSE, self.key[0], self.key[1], self.key[2]];
        Tensor::from_slice(&complementary(self.label_values, classes, &key))
            .to_device(self.logits.device())
    }
}
