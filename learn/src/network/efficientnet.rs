//! EfficientNet-B3 (Tan and Le 2019, <https://arxiv.org/abs/1905.11946>) with TensorFlow's paddings, timm's
//! `tf_efficientnet_b3`.

use super::inverted_residual::{Block, Family};
use super::layer::{Activation, Layer, conv_norm};

/// Size of the embedding.
pub(super) const FEATURES: i64 = 1536;
/// Name of the head.
pub(super) const HEAD: &str = "classifier";

const FAMILY: Family = Family {
    epsilon: 1e-3,
    same: true,
    squeeze_activation: Activation::Silu,
    gate: Activation::Sigmoid,
};

/// Stages: blocks, kernel, stride of the first block, output channels.
const STAGES: [(usize, i64, i64, i64); 7] = [
    (2, 3, 1, 24),
    (3, 3, 2, 32),
    (3, 5, 2, 48),
    (5, 3, 2, 96),
    (5, 5, 1, 136),
    (6, 5, 2, 232),
    (2, 3, 1, 384),
];
const EXPANSION: i64 = 6;

pub(super) fn body() -> Vec<Layer> {
    let activation = Activation::Silu;
    let stem = FAMILY.conv("conv_stem", 3, 40, 3, 2);
    let mut layers = conv_norm(stem, "bn1", FAMILY.epsilon, Some(activation));
    let mut inputs = 40;
    for (stage, (blocks, kernel, stride, outputs)) in STAGES.into_iter().enumerate() {
        for index in 0..blocks {
            let block = Block {
                kernel,
                stride: if index == 0 { stride } else { 1 },
                inputs,
                middle: (stage > 0).then_some(EXPANSION * inputs),
                outputs,
                squeeze: Some(inputs / 4),
                activation,
            };
            layers.extend(FAMILY.block(&format!("blocks.{stage}.{index}"), block));
            inputs = outputs;
        }
    }
    let head = FAMILY.conv("conv_head", inputs, FEATURES, 1, 1);
    layers.extend(conv_norm(head, "bn2", FAMILY.epsilon, Some(activation)));
    layers.extend([Layer::MeanPool, Layer::Flatten]);
    layers
}
