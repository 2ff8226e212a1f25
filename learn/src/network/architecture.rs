//! The available networks: their names and properties.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::layer::Layer;
use super::small_resnet18::{self, SmallResNet18};
use super::{convnext, efficientnet, mobilenetv3, resnet18};

/// Network that can be built.
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
    /// ResNet-18's blocks for small images, with a width.
    SmallResNet18(SmallResNet18),
}

/// A name that is not a network's.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no network `{name}`; there are {}, and small_resnet18_wWIDTH_sSTRIDE_cCHANNELS of any width from 8 to 256, stem stride 1 or 2 \
     and 1 or 3 channels", Architecture::LISTED.map(|architecture| architecture.to_string()).join(", ")
)]
pub struct UnknownArchitecture {
    /// Name asked for.
    pub name: String,
}

impl Architecture {
    /// Architectures shown in lists: timm's, and the small one at three widths.
    pub const LISTED: [Self; 7] = [
        Self::ResNet18,
        Self::EfficientNetB3,
        Self::ConvNextTiny,
        Self::MobileNetV3Large,
        small(32),
        small(48),
        small(64),
    ];

    /// Returns the number of channels of an input, 1 or 3.
    pub fn channels(self) -> i64 {
        match self {
            Self::SmallResNet18(network) => network.channels(),
            _ => 3,
        }
    }

    /// Returns whether images are computed with NHWC strides: the same numbers, but faster on a CPU where oneDNN's
    /// convolutions dominate (`cargo bench -p fermata-learn --bench networks` measures by how much).
    pub(crate) fn is_channels_last(self) -> bool {
        match self {
            Self::EfficientNetB3 | Self::MobileNetV3Large | Self::SmallResNet18(_) => true,
            Self::ResNet18 | Self::ConvNextTiny => false,
        }
    }

    /// Returns the size of the embedding that the head takes.
    pub fn features(self) -> i64 {
        match self {
            Self::ResNet18 => resnet18::FEATURES,
            Self::EfficientNetB3 => efficientnet::FEATURES,
            Self::ConvNextTiny => convnext::FEATURES,
            Self::MobileNetV3Large => mobilenetv3::FEATURES,
            Self::SmallResNet18(network) => network.features(),
        }
    }

    /// Returns the name of the head's tensors, without `.weight` and `.bias`.
    pub fn head_name(self) -> &'static str {
        match self {
            Self::ResNet18 => resnet18::HEAD,
            Self::EfficientNetB3 => efficientnet::HEAD,
            Self::ConvNextTiny => convnext::HEAD,
            Self::MobileNetV3Large => mobilenetv3::HEAD,
            Self::SmallResNet18(_) => small_resnet18::HEAD,
        }
    }

    /// Returns the layers from the image to the embedding.
    pub(super) fn body(self) -> Vec<Layer> {
        match self {
            Self::ResNet18 => resnet18::body(),
            Self::EfficientNetB3 => efficientnet::body(),
            Self::ConvNextTiny => convnext::body(),
            Self::MobileNetV3Large => mobilenetv3::body(),
            Self::SmallResNet18(network) => network.body(),
        }
    }
}

/// Returns the small network of a valid width, with a stem stride of 2 and one channel.
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
