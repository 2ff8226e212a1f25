//! Loss functions. All take logits [N, K] and labels i64 `[N]` and return a scalar with gradients; all use log-softmax,
//! so that no scale of the logits makes them infinite or NaN. Owns the formulas; ArcFace's margin is in [`arcface`].
//!
//! Labels must be in 0..K: datasets check this before a training begins.

pub mod arcface;
pub mod correlation;

use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

use crate::keyed_random::KeyedRandom;

/// Settings of the cross-entropy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CrossEntropy {
    /// Share of the label that is spread over all classes (Szegedy et al. 2016), 0 to 1.
    pub label_smoothing: f64,
    /// Weight of each class; the mean is weighted by them, as torch's.
    pub class_weights: Option<Vec<f64>>,
    /// Terms added to the logits: τ·ln of each class's share (Menon et al. 2021).
    pub logit_adjustment: Option<Vec<f64>>,
}

/// Returns the mean cross-entropy. Instead of labels there may be targets: a distribution [N, K] for each row, such as
/// annotators' votes (Barsoum et al. 2016, <https://arxiv.org/abs/1608.01041>); class weights are then averaged over
/// each distribution, and the mean is over the rows, as torch's.
pub fn cross_entropy(logits: &Tensor, labels: &Tensor, settings: &CrossEntropy) -> Tensor {
    let like_logits = |values: &Vec<f64>| {
        Tensor::from_slice(values)
            .to_kind(logits.kind())
            .to_device(logits.device())
    };
    let adjusted = match &settings.logit_adjustment {
        Some(adjustment) => logits + like_logits(adjustment),
        None => logits.shallow_clone(),
    };
    let weights = settings.class_weights.as_ref().map(like_logits);
    adjusted.cross_entropy_loss(
        labels,
        weights,
        Reduction::Mean,
        IGNORED,
        settings.label_smoothing,
    )
}

/// torch's label of a row to ignore. Labels are never negative here.
const IGNORED: i64 = -100;

fn log_softmax(logits: &Tensor) -> Tensor {
    logits.log_softmax(-1, None::<Kind>)
}

/// Returns the sum of p ln(p / q) over the classes, from ln p and ln q; `[N]`.
fn divergence(log_p: &Tensor, log_q: &Tensor) -> Tensor {
    (log_p.exp() * (log_p - log_q)).sum_dim_intlist([-1i64].as_slice(), false, None::<Kind>)
}

/// Returns the distillation loss (Hinton et al. 2015, <https://arxiv.org/abs/1503.02531>): T² · mean KL(teacher ‖
/// student), both softened by T.
pub fn distillation(student: &Tensor, teacher: &Tensor, temperature: f64) -> Tensor {
    let (teacher, student) = (
        log_softmax(&(teacher / temperature)),
        log_softmax(&(student / temperature)),
    );
    divergence(&teacher, &student).mean(None::<Kind>) * (temperature * temperature)
}

/// Term added to the deviation of logits, so that logits that are all equal stay finite. The authors' value.
const LEAST_DEVIATION: f64 = 1e-7;

/// Returns the logits of each row as z-scores, (z − mean) / deviation (with K − 1), so that a student learns their
/// order and not their scale (Sun et al. 2024, <https://arxiv.org/abs/2403.01427>). Applied to student and teacher
/// before distillation.
pub fn standardised(logits: &Tensor) -> Tensor {
    let along = [-1i64];
    let mean = logits.mean_dim(along.as_slice(), true, None::<Kind>);
    let deviation = logits.std_dim(along.as_slice(), true, true);
    (logits - mean) / (deviation + LEAST_DEVIATION)
}

/// The two parts of decoupled distillation (Zhao et al. 2022, <https://arxiv.org/abs/2203.08679>), each T² · mean.
#[derive(Debug)]
pub struct Decoupled {
    /// Label against all other classes together.
    pub target: Tensor,
    /// Distribution among the other classes.
    pub others: Tensor,
}

/// Log-probabilities seen from the label: of the label, and of all others together.
struct Split {
    log_target: Tensor,
    log_rest: Tensor,
    /// Log-softmax among the other classes; meaningless at the label itself.
    log_others: Tensor,
}

fn split(logits: &Tensor, is_label: &Tensor) -> Split {
    let all = logits.logsumexp([-1i64].as_slice(), true);
    let without = logits
        .masked_fill(is_label, f64::NEG_INFINITY)
        .logsumexp([-1i64].as_slice(), true);
    let target = logits
        .masked_fill(&is_label.logical_not(), 0.0)
        .sum_dim_intlist([-1i64].as_slice(), true, None::<Kind>);
    Split {
        log_target: target - &all,
        log_rest: &without - all,
        log_others: logits - without,
    }
}

fn is_label(logits: &Tensor, labels: &Tensor) -> Tensor {
    labels
        .one_hot(*logits.size().last().expect("logits have classes"))
        .to_kind(Kind::Bool)
}

/// Returns the parts of decoupled distillation. The others' softmax is computed by a log-sum-exp over them, not by
/// subtracting a constant from the label's logit.
pub fn decoupled(
    student: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    temperature: f64,
) -> Decoupled {
    let is_label = is_label(student, labels);
    let teacher = split(&(teacher / temperature), &is_label);
    let student = split(&(student / temperature), &is_label);
    let binary = |split: &Split| Tensor::cat(&[&split.log_target, &split.log_rest], -1);
    let target = divergence(&binary(&teacher), &binary(&student));
    let p = teacher.log_others.exp().masked_fill(&is_label, 0.0);
    let difference = (&teacher.log_others - &student.log_others).masked_fill(&is_label, 0.0);
    let others = (p * difference).sum_dim_intlist([-1i64].as_slice(), false, None::<Kind>);
    let square = temperature * temperature;
    Decoupled {
        target: target.mean(None::<Kind>) * square,
        others: others.mean(None::<Kind>) * square,
    }
}

/// How decoupled distillation is combined with the cross-entropy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum DecoupledForm {
    /// Form of mdistiller, its authors' code (<https://github.com/megvii-research/mdistiller>): w·CE + min(epoch /
    /// warm-up, 1) · (α·target + β·others), epochs from 1.
    Reference {
        /// Weight of the cross-entropy.
        cross_entropy: f64,
        /// Epochs over which the distillation term ramps up.
        warm_up: u32,
    },
    /// Fermata's own form: (1 − α)·CE + α·target + β·others. As in plain distillation, α trades the labels against the
    /// teacher; β is free.
    #[serde(alias = "report")]
    Blended,
}

/// Settings of decoupled distillation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecoupledDistillation {
    /// T.
    pub temperature: f64,
    /// α, weight of the label's part.
    pub alpha: f64,
    /// β, weight of the others' part.
    pub beta: f64,
    /// How it is combined with the cross-entropy.
    pub form: DecoupledForm,
}

impl DecoupledDistillation {
    /// Returns the loss, given the rows' cross-entropy `entropy`. `epoch` counts from 1.
    pub fn loss(
        &self,
        student: &Tensor,
        teacher: &Tensor,
        labels: &Tensor,
        entropy: &Tensor,
        epoch: u32,
    ) -> Tensor {
        let parts = decoupled(student, teacher, labels, self.temperature);
        let distilled = parts.target * self.alpha + parts.others * self.beta;
        match self.form {
            DecoupledForm::Reference {
                cross_entropy,
                warm_up,
            } => {
                let rise = (f64::from(epoch) / f64::from(warm_up.max(1))).min(1.0);
                entropy * cross_entropy + distilled * rise
            }
            DecoupledForm::Blended => entropy * (1.0 - self.alpha) + distilled,
        }
    }
}

/// Returns −ln(1 − p) of a class that each row does not belong to (Kim et al. 2019,
/// <https://arxiv.org/abs/1908.07387>), as LSE(all) − LSE(others); `[N]`.
pub fn negative(logits: &Tensor, not: &Tensor) -> Tensor {
    let is_not = is_label(logits, not);
    let all = logits.logsumexp([-1i64].as_slice(), false);
    all - logits
        .masked_fill(&is_not, f64::NEG_INFINITY)
        .logsumexp([-1i64].as_slice(), false)
}

/// Draws for each row a class other than its label, all equally likely; depends on the key and the row's place alone.
pub fn complementary(labels: &[i64], classes: i64, key: &[u64]) -> Vec<i64> {
    let mut random = KeyedRandom::new(key);
    let each = labels.iter().map(|&label| {
        let other = random.below(classes as u64 - 1) as i64;
        if other < label { other } else { other + 1 }
    });
    each.collect()
}

/// Stages of learning with noisy labels: NL, then NL on rows above chance, then cross-entropy on confident rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NegativeStage {
    /// Negative learning on all rows.
    All,
    /// Negative learning on the rows whose label has p ≥ 1/K.
    Selected,
    /// Cross-entropy on the rows whose label has p ≥ 0.5.
    Positive,
}

/// Returns the loss of negative learning at a stage: the mean over the selected rows, 0 if there are none.
pub fn selective(logits: &Tensor, labels: &Tensor, not: &Tensor, stage: NegativeStage) -> Tensor {
    let logs = log_softmax(logits);
    let log_label = logs
        .gather(-1, &labels.unsqueeze(-1), false)
        .squeeze_dim(-1);
    let classes = *logits.size().last().expect("logits have classes") as f64;
    let (loss, least) = match stage {
        NegativeStage::All => return negative(logits, not).mean(None::<Kind>),
        NegativeStage::Selected => (negative(logits, not), -classes.ln()),
        NegativeStage::Positive => (-&log_label, 0.5f64.ln()),
    };
    mean_where(&loss, &log_label.detach().ge(least))
}

/// Returns the NL loss of the rows whose label the teacher doubts, that is, gives a probability below chance: the mean
/// over these rows, 0 if there are none.
pub fn negative_of_doubted(
    logits: &Tensor,
    teacher: &Tensor,
    labels: &Tensor,
    not: &Tensor,
) -> Tensor {
    let log_label = log_softmax(teacher)
        .gather(-1, &labels.unsqueeze(-1), false)
        .squeeze_dim(-1);
    let classes = *logits.size().last().expect("logits have classes") as f64;
    mean_where(&negative(logits, not), &log_label.lt(-classes.ln()))
}

fn mean_where(values: &Tensor, chosen: &Tensor) -> Tensor {
    let count = chosen.sum(values.kind()).clamp_min(1.0);
    values
        .masked_fill(&chosen.logical_not(), 0.0)
        .sum(None::<Kind>)
        / count
}

#[cfg(test)]
mod tests;
