//! SGD and AdamW as torch computes them, with a state that can be saved, which libtorch's own optimisers do not expose.
//! Owns the updates, gradient clipping and the names of the state's tensors. The caller provides the learning rate of
//! each step ([`crate::schedule`]).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tch::{Tensor, no_grad};

use crate::network::{Network, TensorRole};

/// Update rule of the optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Rule {
    /// Stochastic gradient descent; weight decay is added to the gradient.
    Sgd {
        /// Share of the last update that is kept; 0 for none.
        momentum: f64,
        /// Whether the momentum is Nesterov's (1983).
        nesterov: bool,
    },
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019, <https://arxiv.org/abs/1711.05101>).
    AdamW {
        /// Decay rate of the mean of gradients.
        beta1: f64,
        /// Decay rate of the mean of squared gradients.
        beta2: f64,
        /// Term added to the root in the denominator.
        epsilon: f64,
    },
}

impl Rule {
    /// AdamW with torch's defaults.
    pub const ADAM_W: Self = Self::AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
    };

    /// Returns the names of the tensors kept for each parameter.
    fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Sgd { momentum: 0.0, .. } => &[],
            Self::Sgd { .. } => &["momentum"],
            Self::AdamW { .. } => &["mean", "square"],
        }
    }
}

/// Trainable tensor.
#[derive(Debug)]
pub struct Parameter {
    /// Name in checkpoints.
    pub name: String,
    /// Tensor that shares memory with the network's.
    pub tensor: Tensor,
    /// Whether weight decay applies.
    pub is_decayed: bool,
}

impl Network {
    /// Returns all trained tensors; weight decay applies to those with the role of a weight.
    pub fn trained(&self) -> Vec<Parameter> {
        let named = self.parameters();
        named
            .map(|named| Parameter {
                name: named.spec.name.clone(),
                tensor: named.tensor.shallow_clone(),
                is_decayed: named.spec.role == TensorRole::Weight,
            })
            .collect()
    }
}

/// Optimiser with its state.
pub struct Optimiser {
    rule: Rule,
    weight_decay: f64,
    parameters: Vec<Parameter>,
    /// State by parameter, in the order of [`Rule::parts`].
    state: Vec<Vec<Tensor>>,
    steps: i64,
}

/// A gradient norm that is not finite, and the step.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error(
    "the norm of the gradients is {0} in step {1}: the training has diverged (a lower learning rate, or clipping, may help)"
)]
pub struct NotFinite(pub f64, pub i64);

/// A saved state that does not fit this optimiser.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the optimiser's state does not fit: {0}")]
pub struct StateError(String);

/// Smallest step size of Adam: below it a step changes no weight, and its inverse would be infinite in f32.
const LEAST_SIZE: f64 = 1e-30;

/// Prefix of the state's names in a checkpoint.
pub(crate) const PREFIX: &str = "optimiser.";

impl Optimiser {
    /// Returns an optimiser before its first step.
    pub fn new(parameters: Vec<Parameter>, rule: Rule, weight_decay: f64) -> Self {
        let zeros = |parameter: &Parameter| {
            rule.parts()
                .iter()
                .map(|_| parameter.tensor.detach().zeros_like())
                .collect()
        };
        Self {
            rule,
            weight_decay,
            state: parameters.iter().map(zeros).collect(),
            parameters,
            steps: 0,
        }
    }

    /// Returns the number of steps so far.
    pub fn steps(&self) -> i64 {
        self.steps
    }

    /// Clears the gradients.
    pub fn zero_gradients(&mut self) {
        for parameter in &mut self.parameters {
            parameter.tensor.zero_grad();
        }
    }

    /// Returns the gradients that are defined.
    fn gradients(&self) -> impl Iterator<Item = Tensor> {
        let gradients = self
            .parameters
            .iter()
            .map(|parameter| parameter.tensor.grad());
        gradients.filter(Tensor::defined)
    }

    /// Scales all gradients together down to this norm, which may be infinite, if theirs is larger, as torch's
    /// `clip_grad_norm_`; returns the norm before clipping.
    ///
    /// # Errors
    /// The norm is infinite or NaN; the gradients are left unchanged.
    pub fn clip_gradients(&self, most: f64) -> Result<f64, NotFinite> {
        no_grad(|| {
            let norms: Vec<Tensor> = self.gradients().map(|gradient| gradient.norm()).collect();
            if norms.is_empty() {
                return Ok(0.0);
            }
            let norm = Tensor::stack(&norms, 0).norm().double_value(&[]);
            if !norm.is_finite() {
                return Err(NotFinite(norm, self.steps));
            }
            let factor = most / (norm + 1e-6);
            if factor < 1.0 {
                for mut gradient in self.gradients() {
                    let _ = gradient.g_mul_scalar_(factor);
                }
            }
            Ok(norm)
        })
    }

    /// Performs one update with this learning rate. Parameters without a gradient stay unchanged.
    pub fn step(&mut self, rate: f64) {
        self.steps += 1;
        no_grad(|| {
            for (parameter, state) in self.parameters.iter_mut().zip(&mut self.state) {
                let gradient = parameter.tensor.grad();
                if !gradient.defined() {
                    continue;
                }
                let decay = if parameter.is_decayed {
                    self.weight_decay
                } else {
                    0.0
                };
                match self.rule {
                    Rule::Sgd { momentum, nesterov } => {
                        let settings = [momentum, decay, rate];
                        sgd(
                            &mut parameter.tensor,
                            gradient,
                            state.first_mut(),
                            settings,
                            nesterov,
                            self.steps,
                        );
                    }
                    Rule::AdamW {
                        beta1,
                        beta2,
                        epsilon,
                    } => {
                        if decay != 0.0 {
                            let _ = parameter.tensor.g_mul_scalar_(1.0 - rate * decay);
                        }
                        let (mean, square) = state.split_at_mut(1);
                        let _ = mean[0].lerp_(&gradient, 1.0 - beta1);
                        let scaled = &gradient * (1.0 - beta2);
                        let _ = square[0].g_mul_scalar_(beta2).addcmul_(&scaled, &gradient);
                        // The step size goes into the divisor, since tch's addcdiv takes no factor.
                        let steps = self.steps as i32;
                        let size = rate / (1.0 - beta1.powi(steps));
                        if size < LEAST_SIZE {
                            continue;
                        }
                        let root = (1.0 - beta2.powi(steps)).sqrt();
                        let mut divisor = square[0].sqrt();
                        let _ = divisor
                            .g_mul_scalar_(-1.0 / (root * size))
                            .g_sub_scalar_(epsilon / size);
                        let _ = parameter.tensor.addcdiv_(&mean[0], &divisor);
                    }
                }
            }
        });
    }

    /// Returns the state as named tensors, for a checkpoint.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let mut tensors = BTreeMap::from([(format!("{PREFIX}steps"), Tensor::from(self.steps))]);
        for (parameter, state) in self.parameters.iter().zip(&self.state) {
            for (part, tensor) in self.rule.parts().iter().zip(state) {
                tensors.insert(format!("{PREFIX}{part}.{}", parameter.name), tensor.copy());
            }
        }
        tensors
    }

    /// Restores a saved state. Other tensors in the checkpoint are ignored.
    ///
    /// # Errors
    /// A tensor is missing, has another shape, or belongs to another rule; the state is then unchanged.
    pub fn restore(&mut self, tensors: &BTreeMap<String, Tensor>) -> Result<(), StateError> {
        let own = self.state();
        for (name, tensor) in &own {
            match tensors.get(name) {
                None => return Err(StateError(format!("`{name}` is missing"))),
                Some(found) if found.size() != tensor.size() => {
                    let (found, expected) = (found.size(), tensor.size());
                    return Err(StateError(format!(
                        "`{name}` is {found:?} instead of {expected:?}"
                    )));
                }
                Some(_) => {}
            }
        }
        if let Some(name) = tensors
            .keys()
            .find(|name| name.starts_with(PREFIX) && !own.contains_key(*name))
        {
            return Err(StateError(format!("`{name}` belongs to another optimiser")));
        }
        self.steps = tensors[&format!("{PREFIX}steps")].int64_value(&[]);
        let parts = self.rule.parts();
        no_grad(|| {
            for (parameter, state) in self.parameters.iter().zip(&mut self.state) {
                for (part, tensor) in parts.iter().zip(state) {
                    tensor.copy_(&tensors[&format!("{PREFIX}{part}.{}", parameter.name)]);
                }
            }
        });
        Ok(())
    }
}

fn sgd(
    parameter: &mut Tensor,
    gradient: Tensor,
    buffer: Option<&mut Tensor>,
    [momentum, decay, rate]: [f64; 3],
    nesterov: bool,
    steps: i64,
) {
    let mut update = if decay == 0.0 {
        gradient
    } else {
        gradient + &*parameter * decay
    };
    if let Some(buffer) = buffer {
        if steps == 1 {
            buffer.copy_(&update);
        } else {
            let _ = buffer.g_mul_scalar_(momentum).g_add_(&update);
        }
        update = if nesterov {
            update + &*buffer * momentum
        } else {
            buffer.shallow_clone()
        };
    }
    let _ = parameter.g_sub_(&(update * rate));
}

#[cfg(test)]
mod tests;
