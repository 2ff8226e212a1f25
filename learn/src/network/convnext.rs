//! ConvNeXt-T (Liu et al. 2022, <https://arxiv.org/abs/2201.03545>), timm's `convnext_tiny`.

use super::layer::{Activation, Conv, Layer, Norm, Padding};

/// Size of the embedding.
pub(super) const FEATURES: i64 = 768;
/// Name of the head.
pub(super) const HEAD: &str = "head.fc";

/// Number of blocks and channels of each stage.
const STAGES: [(usize, i64); 4] = [(3, 96), (3, 192), (9, 384), (3, 768)];

pub(super) fn body() -> Vec<Layer> {
    let mut layers = vec![Layer::Conv(conv("stem.0", 3, 96, 4))];
    layers.extend(channel_norm("stem.1", 96));
    let mut inputs = 96;
    for (stage, (blocks, outputs)) in STAGES.into_iter().enumerate() {
        let name = format!("stages.{stage}");
        if stage > 0 {
            layers.extend(channel_norm(&format!("{name}.downsample.0"), inputs));
            let downsample = conv(&format!("{name}.downsample.1"), inputs, outputs, 2);
            layers.push(Layer::Conv(downsample));
        }
        inputs = outputs;
        layers.extend((0..blocks).map(|index| block(&format!("{name}.blocks.{index}"), outputs)));
    }
    layers.extend([
        Layer::MeanPool,
        Layer::Flatten,
        Layer::LayerNorm(norm("head.norm", FEATURES)),
    ]);
    layers
}

/// Returns a convolution with non-overlapping windows.
fn conv(name: &str, inputs: i64, outputs: i64, kernel: i64) -> Conv {
    Conv {
        name: name.to_owned(),
        inputs,
        outputs,
        kernel,
        stride: kernel,
        padding: Padding::Each(0),
        groups: 1,
        bias: true,
    }
}

fn norm(name: &str, channels: i64) -> Norm {
    Norm {
        name: name.to_owned(),
        channels,
        epsilon: 1e-6,
    }
}

/// Returns a layer normalisation of each pixel's channels.
fn channel_norm(name: &str, channels: i64) -> [Layer; 3] {
    [
        Layer::ChannelsLast,
        Layer::LayerNorm(norm(name, channels)),
        Layer::ChannelsFirst,
    ]
}

fn block(name: &str, channels: i64) -> Layer {
    let linear = |part: &str, inputs, outputs| Layer::Linear {
        name: format!("{name}.mlp.{part}"),
        inputs,
        outputs,
    };
    Layer::Residual {
        body: vec![
            Layer::Conv(Conv {
                name: format!("{name}.conv_dw"),
                inputs: channels,
                outputs: channels,
                kernel: 7,
                stride: 1,
                padding: Padding::Each(3),
                groups: channels,
                bias: true,
            }),
            Layer::ChannelsLast,
            Layer::LayerNorm(norm(&format!("{name}.norm"), channels)),
            linear("fc1", channels, 4 * channels),
            Layer::Activation(Activation::Gelu),
            linear("fc2", 4 * channels, channels),
            Layer::ChannelsFirst,
            Layer::Scale {
                name: format!("{name}.gamma"),
                channels,
            },
        ],
        shortcut: Vec::new(),
    }
}
