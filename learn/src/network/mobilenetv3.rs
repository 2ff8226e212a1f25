//! MobileNetV3-Large (Howard et al. 2019, <https://arxiv.org/abs/1905.02244>), timm's `mobilenetv3_large_100`.

use super::inverted_residual::{Block, Family};
use super::layer::{Activation, Conv, Layer, conv_norm};

/// Size of the embedding.
pub(super) const FEATURES: i64 = 1280;
/// Name of the head.
pub(super) const HEAD: &str = "classifier";

const FAMILY: Family = Family {
    epsilon: 1e-5,
    same: false,
    squeeze_activation: Activation::Relu,
    gate: Activation::HardSigmoid,
};

use Activation::{HardSwish, Relu};

/// Block: name, kernel, stride, middle and output channels, channels inside squeeze and excitation, activation.
type Row = (
    &'static str,
    i64,
    i64,
    Option<i64>,
    i64,
    Option<i64>,
    Activation,
);

const BLOCKS: [Row; 15] = [
    ("0.0", 3, 1, None, 16, None, Relu),
    ("1.0", 3, 2, Some(64), 24, None, Relu),
    ("1.1", 3, 1, Some(72), 24, None, Relu),
    ("2.0", 5, 2, Some(72), 40, Some(24), Relu),
    ("2.1", 5, 1, Some(120), 40, Some(32), Relu),
    ("2.2", 5, 1, Some(120), 40, Some(32), Relu),
    ("3.0", 3, 2, Some(240), 80, None, HardSwish),
    ("3.1", 3, 1, Some(200), 80, None, HardSwish),
    ("3.2", 3, 1, Some(184), 80, None, HardSwish),
    ("3.3", 3, 1, Some(184), 80, None, HardSwish),
    ("4.0", 3, 1, Some(480), 112, Some(120), HardSwish),
    ("4.1", 3, 1, Some(672), 112, Some(168), HardSwish),
    ("5.0", 5, 2, Some(672), 160, Some(168), HardSwish),
    ("5.1", 5, 1, Some(960), 160, Some(240), HardSwish),
    ("5.2", 5, 1, Some(960), 160, Some(240), HardSwish),
];

pub(super) fn body() -> Vec<Layer> {
    let stem = FAMILY.conv("conv_stem", 3, 16, 3, 2);
    let mut layers = conv_norm(stem, "bn1", FAMILY.epsilon, Some(HardSwish));
    let mut inputs = 16;
    for (name, kernel, stride, middle, outputs, squeeze, activation) in BLOCKS {
        let block = Block {
            kernel,
            stride,
            inputs,
            middle,
            outputs,
            squeeze,
            activation,
        };
        layers.extend(FAMILY.block(&format!("blocks.{name}"), block));
        inputs = outputs;
    }
    let last = FAMILY.conv("blocks.6.0.conv", inputs, 960, 1, 1);
    layers.extend(conv_norm(
        last,
        "blocks.6.0.bn1",
        FAMILY.epsilon,
        Some(HardSwish),
    ));
    layers.extend([
        Layer::MeanPool,
        Layer::Conv(Conv {
            bias: true,
            ..FAMILY.conv("conv_head", 960, FEATURES, 1, 1)
        }),
        Layer::Activation(HardSwish),
        Layer::Flatten,
    ]);
    layers
}
