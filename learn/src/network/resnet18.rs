//! ResNet-18 (He et al. 2015, <https://arxiv.org/abs/1512.03385>), timm's `resnet18`, and its four stages at any width.

use super::layer::{Activation, Conv, Layer, Padding, conv_norm};

pub(super) const EPSILON: f64 = 1e-5;

/// Size of the embedding.
pub(super) const FEATURES: i64 = 512;
/// Name of the head.
pub(super) const HEAD: &str = "fc";

pub(super) fn body() -> Vec<Layer> {
    let mut layers = conv_norm(
        conv("conv1", 3, 64, 7, 2),
        "bn1",
        EPSILON,
        Some(Activation::Relu),
    );
    layers.push(Layer::MaxPool {
        kernel: 3,
        stride: 2,
        padding: 1,
    });
    layers.extend(stages(64));
    layers
}

/// Returns four stages of two blocks with `width`, 2, 4 and 8 times as many channels, then the mean of each channel of
/// the last: maps an input of `width` channels to an embedding.
pub(super) fn stages(width: i64) -> Vec<Layer> {
    let mut layers = Vec::new();
    let mut inputs = width;
    for stage in 0..4 {
        let outputs = width << stage;
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            let name = format!("layer{}.{block}", stage + 1);
            layers.extend(basic_block(&name, inputs, outputs, stride));
            inputs = outputs;
        }
    }
    layers.extend([Layer::MeanPool, Layer::Flatten]);
    layers
}

pub(super) fn conv(name: &str, inputs: i64, outputs: i64, kernel: i64, stride: i64) -> Conv {
    Conv {
        name: name.to_owned(),
        inputs,
        outputs,
        kernel,
        stride,
        padding: Padding::Each(kernel / 2),
        groups: 1,
        bias: false,
    }
}

fn basic_block(name: &str, inputs: i64, outputs: i64, stride: i64) -> [Layer; 2] {
    let named = |part: &str| format!("{name}.{part}");
    let mut body = conv_norm(
        conv(&named("conv1"), inputs, outputs, 3, stride),
        &named("bn1"),
        EPSILON,
        Some(Activation::Relu),
    );
    body.extend(conv_norm(
        conv(&named("conv2"), outputs, outputs, 3, 1),
        &named("bn2"),
        EPSILON,
        None,
    ));
    let shortcut = if stride == 1 && inputs == outputs {
        Vec::new()
    } else {
        let projection = conv(&named("downsample.0"), inputs, outputs, 1, stride);
        conv_norm(projection, &named("downsample.1"), EPSILON, None)
    };
    [
        Layer::Residual { body, shortcut },
        Layer::Activation(Activation::Relu),
    ]
}
