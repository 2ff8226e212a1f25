//! ArcFace's additive angular margin (Deng et al. 2019, <https://arxiv.org/abs/1801.07698>): training logits in which
//! the angle to the label is enlarged by a margin. Inference has no margin: [`crate::network::Head::ArcFace`].

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::network::unit_rows;

/// Distance that cosines keep from ±1, where the angle has no derivative.
const EPSILON: f64 = 1e-4;

/// How the margin affects the gradient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarginGradient {
    /// Use the derivative of cos(θ + m).
    #[default]
    Analytic,
    /// Ignore the margin, as insightface does.
    StraightThrough,
}

/// Settings of the margin over a training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArcFace {
    /// Scale s.
    pub scale: f64,
    /// Margin m in radians, at the end of the ramp.
    pub margin: f64,
    /// Epochs without a margin.
    pub warm_up: f64,
    /// Epochs over which the margin rises after the warm-up; 0 applies it at once.
    pub ramp: f64,
    /// How the margin affects the gradient.
    pub gradient: MarginGradient,
}

/// Fermata's own values: seven classes need a smaller margin and scale than the paper's m = 0.5 and s = 64 for many
/// thousand identities.
impl Default for ArcFace {
    fn default() -> Self {
        Self {
            scale: 30.0,
            margin: 0.35,
            warm_up: 0.0,
            ramp: 0.0,
            gradient: MarginGradient::Analytic,
        }
    }
}

impl ArcFace {
    /// Returns the margin in an epoch, counted from 0: m · clip((e − warm-up) / ramp, 0, 1).
    pub fn margin_at(&self, epoch: f64) -> f64 {
        let past = epoch - self.warm_up;
        let share = if past < 0.0 {
            0.0
        } else if self.ramp > 0.0 {
            (past / self.ramp).min(1.0)
        } else {
            1.0
        };
        self.margin * share
    }

    /// Returns the logits of embeddings [N, F] for the class weights [K, F], with this margin at the labels.
    pub fn logits(
        &self,
        embeddings: &Tensor,
        weight: &Tensor,
        labels: &Tensor,
        margin: f64,
    ) -> Tensor {
        let cosines = unit_rows(embeddings).linear(&unit_rows(weight), None::<&Tensor>);
        if margin == 0.0 {
            return cosines * self.scale;
        }
        // Clamped without the zero gradient of a clamp.
        let clamped = &cosines + (cosines.clamp(EPSILON - 1.0, 1.0 - EPSILON) - &cosines).detach();
        let sines = (-clamped.square() + 1.0).sqrt();
        let moved = &clamped * margin.cos() - sines * margin.sin();
        // Beyond π, cos(θ + m) would rise again.
        let continued = &clamped - margin * margin.sin();
        let target = moved.where_self(&clamped.gt((PI - margin).cos()), &continued);
        let target = match self.gradient {
            MarginGradient::Analytic => target,
            MarginGradient::StraightThrough => &clamped + (target - &clamped).detach(),
        };
        let is_label = labels.one_hot(weight.size()[0]).to_kind(Kind::Bool);
        target.where_self(&is_label, &clamped) * self.scale
    }
}
