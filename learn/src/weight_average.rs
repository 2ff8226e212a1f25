//! Exponential moving average of a network's tensors over the steps of a training, which often predicts better than the
//! last step. Owns the average and its names in a checkpoint.

use std::collections::BTreeMap;

use tch::{Kind, Tensor, no_grad};

use crate::network::Network;

/// Prefix of its names in a checkpoint.
pub(crate) const PREFIX: &str = "average.";

/// Moving average ← decay · average + (1 − decay) · tensor, for weights and running statistics; batch counts are
/// copied.
pub struct WeightAverage {
    decay: f64,
    tensors: BTreeMap<String, Tensor>,
}

impl WeightAverage {
    /// Starts from the network's current tensors. `decay` is between 0 and 1, such as 0.999.
    pub fn new(network: &Network, decay: f64) -> Self {
        let tensors = network.tensors().iter();
        let tensors = tensors.map(|named| (named.spec.name.clone(), named.tensor.detach().copy()));
        Self {
            decay,
            tensors: tensors.collect(),
        }
    }

    /// Updates the average with the network's tensors; called once per step.
    pub fn update(&mut self, network: &Network) {
        no_grad(|| {
            for named in network.tensors() {
                if let Some(average) = self.tensors.get_mut(&named.spec.name) {
                    if average.kind() == Kind::Int64 {
                        average.copy_(&named.tensor);
                    } else {
                        let _ = average.lerp_(&named.tensor.detach(), 1.0 - self.decay);
                    }
                }
            }
        });
    }

    /// Returns the averages under the network's names, as [`Network::fill`] takes them.
    pub fn tensors(&self) -> &BTreeMap<String, Tensor> {
        &self.tensors
    }

    /// Returns the averages as named tensors, for a checkpoint.
    pub fn state(&self) -> BTreeMap<String, Tensor> {
        let tensors = self.tensors.iter();
        tensors
            .map(|(name, tensor)| (format!("{PREFIX}{name}"), tensor.copy()))
            .collect()
    }

    /// Restores the averages from a checkpoint. Returns false and changes nothing if one is missing or has another
    /// shape.
    pub fn restore(&mut self, checkpoint: &BTreeMap<String, Tensor>) -> bool {
        let of = |name: &String| checkpoint.get(&format!("{PREFIX}{name}"));
        let fits = |(name, tensor): (&String, &Tensor)| {
            of(name).is_some_and(|saved| saved.size() == tensor.size())
        };
        if !self.tensors.iter().all(fits) {
            return false;
        }
        for (name, tensor) in &mut self.tensors {
            if let Some(saved) = of(name) {
                tensor.copy_(saved);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::network::{Architecture, Head};

    fn network(seed: u64) -> Network {
        Network::new(
            Architecture::ResNet18,
            Head::Linear { classes: 3 },
            seed,
            Device::Cpu,
        )
    }

    #[test]
    fn it_moves_towards_the_network_and_is_restored() {
        let (start, goal) = (network(1), network(2));
        let mut average = WeightAverage::new(&start, 0.75);
        average.update(&goal);
        average.update(&goal);
        let (first, last) = (start.head_weight(), goal.head_weight());
        let expected = first * 0.5625 + last * 0.4375;
        let difference = (&average.tensors()["fc.weight"] - expected)
            .abs()
            .max()
            .double_value(&[]);
        assert!(difference < 1e-6, "{difference}");

        let mut restored = WeightAverage::new(&start, 0.75);
        assert!(restored.restore(&average.state()));
        assert!(restored.tensors()["fc.weight"].equal(&average.tensors()["fc.weight"]));
        let mut partial = average.state();
        partial.remove("average.fc.bias");
        assert!(!restored.restore(&partial));
    }
}
