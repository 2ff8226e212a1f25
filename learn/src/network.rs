//! Networks by timm's names, with timm's tensors and timm's outputs, and one of our own for small images: a description that the libtorch
//! module, the ONNX graph and the counts are made from. Owns which networks there are. Files of weights are in [`crate::weights`], ONNX in
//! [`crate::export`].

mod convnext;
mod efficientnet;
mod initial;
mod inverted_residual;
pub mod layer;
mod mobilenetv3;
mod module;
mod resnet18;
mod small_resnet18;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::layer::{Layer, TensorRole, TensorSpec};
pub(crate) use self::module::unit_rows;
pub use self::module::{InputError, Mode, NamedTensor, Network};
pub use self::small_resnet18::SmallResNet18;

/// A network that can be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Architecture {
    /// ResNet-18.
    ResNet18,
    /// EfficientNet-B3 with TensorFlow's paddings.
    EfficientNetB3,
    /// ConvNeXt-T.
    ConvNextTiny,
    /// MobileNetV3-Large.
    MobileNetV3Large,
    /// ResNet-18's blocks for small images, at a width.
    SmallResNet18(SmallResNet18),
}

/// No network has this name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no network `{name}`; there are {}, and small_resnet18_wWIDTH_sSTRIDE_cCHANNELS of any width from 8 to 256, stem stride 1 or 2 \
     and 1 or 3 channels", Architecture::LISTED.map(|architecture| architecture.to_string()).join(", ")
)]
pub struct UnknownArchitecture {
    /// What was asked for.
    pub name: String,
}

impl Architecture {
    /// Those that are shown in lists: timm's, and the small one at three widths.
    pub const LISTED: [Self; 7] = [
        Self::ResNet18,
        Self::EfficientNetB3,
        Self::ConvNextTiny,
        Self::MobileNetV3Large,
        small(32),
        small(48),
        small(64),
    ];

    /// Channels of an input, 1 or 3.
    pub fn channels(self) -> i64 {
        match self {
            Self::SmallResNet18(network) => network.channels(),
            _ => 3,
        }
    }

    /// Whether it computes on images in NHWC strides: the same numbers, and faster on a CPU where oneDNN's convolutions are most of the work
    /// (`cargo bench -p fermata-learn --bench networks` says by how much).
    pub(crate) fn is_channels_last(self) -> bool {
        match self {
            Self::EfficientNetB3 | Self::MobileNetV3Large | Self::SmallResNet18(_) => true,
            Self::ResNet18 | Self::ConvNextTiny => false,
        }
    }

    /// Values of the embedding that the head takes.
    pub fn features(self) -> i64 {
        match self {
            Self::ResNet18 => resnet18::FEATURES,
            Self::EfficientNetB3 => efficientnet::FEATURES,
            Self::ConvNextTiny => convnext::FEATURES,
            Self::MobileNetV3Large => mobilenetv3::FEATURES,
            Self::SmallResNet18(network) => network.features(),
        }
    }

    /// Name of the head's tensors, without `.weight` and `.bias`.
    pub fn head_name(self) -> &'static str {
        match self {
            Self::ResNet18 => resnet18::HEAD,
            Self::EfficientNetB3 => efficientnet::HEAD,
            Self::ConvNextTiny => convnext::HEAD,
            Self::MobileNetV3Large => mobilenetv3::HEAD,
            Self::SmallResNet18(_) => small_resnet18::HEAD,
        }
    }

    fn body(self) -> Vec<Layer> {
        match self {
            Self::ResNet18 => resnet18::body(),
            Self::EfficientNetB3 => efficientnet::body(),
            Self::ConvNextTiny => convnext::body(),
            Self::MobileNetV3Large => mobilenetv3::body(),
            Self::SmallResNet18(network) => network.body(),
        }
    }
}

/// The small network at a width that there is, with a stem stride of 2 and one channel.
const fn small(width: i64) -> Architecture {
    match SmallResNet18::new(width, 2, 1) {
        Some(network) => Architecture::SmallResNet18(network),
        None => panic!("there is no such width"),
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ResNet18 => f.write_str("resnet18"),
            Self::EfficientNetB3 => f.write_str("tf_efficientnet_b3"),
            Self::ConvNextTiny => f.write_str("convnext_tiny"),
            Self::MobileNetV3Large => f.write_str("mobilenetv3_large_100"),
            Self::SmallResNet18(network) => network.fmt(f),
        }
    }
}

impl From<Architecture> for String {
    fn from(architecture: Architecture) -> Self {
        architecture.to_string()
    }
}

impl TryFrom<String> for Architecture {
    type Error = UnknownArchitecture;

    fn try_from(name: String) -> Result<Self, UnknownArchitecture> {
        name.parse()
    }
}

impl FromStr for Architecture {
    type Err = UnknownArchitecture;

    fn from_str(name: &str) -> Result<Self, UnknownArchitecture> {
        let mut listed = Self::LISTED.into_iter();
        listed
            .find(|architecture| architecture.to_string() == name)
            .or_else(|| SmallResNet18::named(name).map(Self::SmallResNet18))
            .ok_or_else(|| UnknownArchitecture {
                name: name.to_owned(),
            })
    }
}

/// What makes logits of the embedding.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Head {
    /// Fully connected, with bias.
    Linear {
        /// Number of classes.
        classes: i64,
    },
    /// ArcFace's inference form: scale · cosine, no margin and no bias (Deng et al. 2019, <https://arxiv.org/abs/1801.07698>).
    ArcFace {
        /// Number of classes.
        classes: i64,
        /// s, 30 in most uses.
        scale: f64,
    },
}

impl Head {
    /// Number of classes.
    pub fn classes(self) -> i64 {
        match self {
            Self::Linear { classes } | Self::ArcFace { classes, .. } => classes,
        }
    }
}

/// A network as layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    /// Which network it is.
    pub architecture: Architecture,
    /// Its head.
    pub head: Head,
    /// From the image to the embedding, [N, channels, H, W] → [N, features].
    pub body: Vec<Layer>,
    /// From the embedding to logits, [N, features] → [N, classes].
    pub classifier: Layer,
}

/// What a network costs at one size of input; see [`Description::cost`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Trained values: weights, biases, scales.
    pub parameters: i64,
    /// Multiply-accumulate operations of convolutions and fully connected layers for one image; FLOPs are twice as many.
    pub multiply_accumulates: i64,
}

impl Description {
    /// The layers of a network with this head.
    pub fn new(architecture: Architecture, head: Head) -> Self {
        let name = architecture.head_name().to_owned();
        let inputs = architecture.features();
        let classifier = match head {
            Head::Linear { classes } => Layer::Linear {
                name,
                inputs,
                outputs: classes,
            },
            Head::ArcFace { classes, scale } => Layer::Cosine {
                name,
                inputs,
                outputs: classes,
                scale,
            },
        };
        Self {
            architecture,
            head,
            body: architecture.body(),
            classifier,
        }
    }

    /// All tensors, in the order of the layers.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        layer::tensors_of(self.body.iter().chain([&self.classifier]))
    }

    /// Whether a tensor belongs to the head.
    pub fn is_of_head(&self, tensor: &str) -> bool {
        let head = self.architecture.head_name();
        tensor
            .strip_prefix(head)
            .is_some_and(|part| part.starts_with('.'))
    }

    /// Parameters, and operations for an image of this size in pixels.
    pub fn cost(&self, width: i64, height: i64) -> Cost {
        let tensors = self.tensors();
        let trained = tensors.iter().filter(|tensor| tensor.role.is_trained());
        let mut counted = 0;
        let shape = operations(&self.body, [height, width], &mut counted);
        operations(std::slice::from_ref(&self.classifier), shape, &mut counted);
        Cost {
            parameters: trained.map(TensorSpec::len).sum(),
            multiply_accumulates: counted,
        }
    }
}

/// Adds up the multiply-accumulates of layers that take an image of [height, width]; returns the size of what they give.
fn operations(layers: &[Layer], mut size: [i64; 2], counted: &mut i64) -> [i64; 2] {
    for layer in layers {
        match layer {
            Layer::Conv(conv) => {
                size = size.map(|side| {
                    let (before, after) = conv.padding.amounts(side, conv.kernel, conv.stride);
                    (side + before + after - conv.kernel) / conv.stride + 1
                });
                let each = conv.inputs / conv.groups * conv.kernel * conv.kernel;
                *counted += each * conv.outputs * size[0] * size[1];
            }
            Layer::Linear {
                inputs, outputs, ..
            }
            | Layer::Cosine {
                inputs, outputs, ..
            } => *counted += inputs * outputs * size[0] * size[1],
            Layer::MaxPool {
                kernel,
                stride,
                padding,
            } => size = size.map(|side| (side + 2 * padding - kernel) / stride + 1),
            Layer::MeanPool => size = [1, 1],
            Layer::Residual { body, shortcut } => {
                operations(shortcut, size, counted);
                size = operations(body, size, counted);
            }
            Layer::Gate(gate) => {
                operations(gate, size, counted);
            }
            _ => {}
        }
    }
    size
}

#[cfg(test)]
pub(crate) mod tests;
