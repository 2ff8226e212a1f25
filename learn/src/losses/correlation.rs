//! Distillation by correlation, DIST (Huang et al. 2022, <https://arxiv.org/abs/2205.10536>): the student's
//! probabilities need not equal the teacher's, only correlate with them: over the classes of a row, and over the rows
//! of a batch for each class.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// Term added to the product of two norms, so that rows without any spread correlate with nothing. The authors' value.
const EPSILON: f64 = 1e-8;

/// Settings of DIST with cross-entropy: w·CE + β·between classes + γ·within classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorrelationDistillation {
    /// τ of both softmaxes.
    pub temperature: f64,
    /// w, weight of the cross-entropy.
    pub cross_entropy: f64,
    /// β, weight of the correlation over the classes of each row.
    pub beta: f64,
    /// γ, weight of the correlation over the rows of the batch for each class.
    pub gamma: f64,
}

/// The paper's values for ImageNet.
impl Default for CorrelationDistillation {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            cross_entropy: 1.0,
            beta: 2.0,
            gamma: 2.0,
        }
    }
}

/// The two parts of DIST, each τ² · (1 − mean correlation), between 0 and 2τ².
#[derive(Debug)]
pub struct Correlations {
    /// Over the classes of each row, mean over the rows.
    pub between_classes: Tensor,
    /// Over the rows for each class, mean over the classes.
    pub within_classes: Tensor,
}

/// Returns the parts of DIST for logits [N, K].
pub fn correlations(student: &Tensor, teacher: &Tensor, temperature: f64) -> Correlations {
    let soft = |logits: &Tensor| (logits / temperature).softmax(-1, None::<Kind>);
    let (student, teacher) = (soft(student), soft(teacher));
    let square = temperature * temperature;
    let distance = |dimension: i64| {
        let correlation = pearson(&student, &teacher, dimension);
        (-correlation.mean(None::<Kind>) + 1.0) * square
    };
    Correlations {
        between_classes: distance(1),
        within_classes: distance(0),
    }
}

/// Returns Pearson's correlation along a dimension.
fn pearson(one: &Tensor, other: &Tensor, dimension: i64) -> Tensor {
    let along = [dimension];
    let centred = |x: &Tensor| x - x.mean_dim(along.as_slice(), true, None::<Kind>);
    let (one, other) = (centred(one), centred(other));
    let length = |x: &Tensor| x.norm_scalaropt_dim(2.0, along, false);
    let product = (&one * &other).sum_dim_intlist(along.as_slice(), false, None::<Kind>);
    product / (length(&one) * length(&other) + EPSILON)
}

impl CorrelationDistillation {
    /// Returns the loss, given the rows' cross-entropy `entropy`.
    pub fn loss(&self, student: &Tensor, teacher: &Tensor, entropy: &Tensor) -> Tensor {
        let parts = correlations(student, teacher, self.temperature);
        entropy * self.cross_entropy
            + parts.between_classes * self.beta
            + parts.within_classes * self.gamma
    }
}
