//! Initial weights of a training from scratch: timm's distributions for each family, from a seed and the tensor's name.

use tch::{Kind, Tensor};

use super::architecture::Architecture;
use super::layer::{TensorRole, TensorSpec};
use crate::keyed_random::KeyedRandom;

/// Initial value of ConvNeXt's layer scale.
const LAYER_SCALE: f32 = 1e-6;

/// Returns the initial values of a tensor.
pub(super) fn values(architecture: Architecture, spec: &TensorSpec, seed: u64) -> Tensor {
    let fill = |value: f32| {
        Tensor::full(
            &spec.shape,
            f64::from(value),
            (Kind::Float, tch::Device::Cpu),
        )
    };
    match spec.role {
        TensorRole::BatchCount => Tensor::zeros(&spec.shape, (Kind::Int64, tch::Device::Cpu)),
        TensorRole::Statistic if spec.name.ends_with("running_var") => fill(1.0),
        TensorRole::Statistic => fill(0.0),
        TensorRole::Weight => weight(architecture, spec, seed),
        TensorRole::Undecayed if spec.name.ends_with("gamma") => fill(LAYER_SCALE),
        TensorRole::Undecayed if spec.name.ends_with(".bias") => bias(architecture, spec, seed),
        // The last normalisation of a residual block begins at 0, so that the block begins as the identity.
        TensorRole::Undecayed if is_resnet(architecture) && spec.name.ends_with("bn2.weight") => {
            fill(0.0)
        }
        TensorRole::Undecayed => fill(1.0),
    }
}

fn is_resnet(architecture: Architecture) -> bool {
    matches!(
        architecture,
        Architecture::ResNet18 | Architecture::SmallResNet18(_)
    )
}

fn drawn(spec: &TensorSpec, seed: u64, mut draw: impl FnMut(&mut KeyedRandom) -> f64) -> Tensor {
    let mut random = KeyedRandom::named(seed, &spec.name);
    let values: Vec<f32> = (0..spec.len()).map(|_| draw(&mut random) as f32).collect();
    Tensor::from_slice(&values).reshape(&spec.shape)
}

fn weight(architecture: Architecture, spec: &TensorSpec, seed: u64) -> Tensor {
    let (outputs, inputs) = (spec.shape[0] as f64, spec.shape[1] as f64);
    let is_conv = spec.shape.len() == 4;
    let area = spec.shape.iter().skip(2).product::<i64>() as f64;
    match architecture {
        // Normal with deviation 0.02, truncated at ±2, which is a hundred deviations away.
        Architecture::ConvNextTiny => drawn(spec, seed, |random| 0.02 * random.normal()),
        // Kaiming, fan out (He et al. 2015).
        Architecture::ResNet18 | Architecture::SmallResNet18(_) if is_conv => {
            let deviation = (2.0 / (outputs * area)).sqrt();
            drawn(spec, seed, |random| deviation * random.normal())
        }
        Architecture::ResNet18 | Architecture::SmallResNet18(_) => {
            let bound = inputs.recip().sqrt();
            drawn(spec, seed, |random| random.uniform(-bound, bound))
        }
        // TensorFlow's: fan out of each group; a depthwise convolution has one input per group.
        Architecture::EfficientNetB3 | Architecture::MobileNetV3Large if is_conv => {
            let groups = if inputs == 1.0 { outputs } else { 1.0 };
            let deviation = (2.0 / (outputs * area / groups)).sqrt();
            drawn(spec, seed, |random| deviation * random.normal())
        }
        Architecture::EfficientNetB3 | Architecture::MobileNetV3Large => {
            let bound = outputs.recip().sqrt();
            drawn(spec, seed, |random| random.uniform(-bound, bound))
        }
    }
}

/// Returns the initial bias: zero except in ResNet's head, which keeps torch's.
fn bias(architecture: Architecture, spec: &TensorSpec, seed: u64) -> Tensor {
    let head = format!("{}.bias", architecture.head_name());
    if is_resnet(architecture) && spec.name == head {
        let bound = (architecture.features() as f64).recip().sqrt();
        return drawn(spec, seed, |random| random.uniform(-bound, bound));
    }
    Tensor::zeros(&spec.shape, (Kind::Float, tch::Device::Cpu))
}
