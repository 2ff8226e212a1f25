//! A residual network for small images (48 to 64 px), trained from scratch: ResNet-18's blocks (He et al. 2015,
//! <https://arxiv.org/abs/1512.03385>) behind a 3 × 3 stem without max-pool, as on CIFAR, with configurable width and
//! stem stride and one or three channels. It is not a timm network; its tensors are named like those of timm's
//! `resnet18`.

use std::fmt;

use super::layer::{Activation, Layer, conv_norm};
use super::resnet18::{EPSILON, conv, stages};

/// Name of the head.
pub(super) const HEAD: &str = "fc";
/// Prefix of all names.
const PREFIX: &str = "small_resnet18_";
/// Allowed channels of the first stage.
const WIDTHS: std::ops::RangeInclusive<i64> = 8..=256;

/// Parameters of the network; `small_resnet18_w32_s2_c1` has width 32, a stem stride of 2 and one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SmallResNet18 {
    /// Channels of the first stage, 8 to 256; the others have 2, 4 and 8 times as many. ResNet-18 has 64.
    width: i64,
    /// Stride of the stem, 1 or 2; the last map of a 48 px image is then 6 or 3 pixels wide.
    stem_stride: i64,
    /// Channels of the input, 1 or 3.
    channels: i64,
}

impl SmallResNet18 {
    /// Returns a network of this width (8 to 256), stem stride (1 or 2) and number of channels (1 or 3), if these are
    /// valid.
    pub const fn new(width: i64, stem_stride: i64, channels: i64) -> Option<Self> {
        let is_one = *WIDTHS.start() <= width
            && width <= *WIDTHS.end()
            && (stem_stride == 1 || stem_stride == 2)
            && (channels == 1 || channels == 3);
        if !is_one {
            return None;
        }
        Some(Self {
            width,
            stem_stride,
            channels,
        })
    }

    /// Returns the network with this name. The name is unique: numbers without leading zeros, all three present.
    pub(super) fn named(name: &str) -> Option<Self> {
        let mut numbers = name.strip_prefix(PREFIX)?.split('_').zip(["w", "s", "c"]);
        let mut next = || {
            let (part, letter) = numbers.next()?;
            part.strip_prefix(letter)?.parse().ok()
        };
        let network = Self::new(next()?, next()?, next()?)?;
        (network.to_string() == name).then_some(network)
    }

    /// Returns the number of channels of an input.
    pub fn channels(self) -> i64 {
        self.channels
    }

    /// Returns the size of the embedding.
    pub(super) fn features(self) -> i64 {
        8 * self.width
    }

    pub(super) fn body(self) -> Vec<Layer> {
        let stem = conv("conv1", self.channels, self.width, 3, self.stem_stride);
        let mut layers = conv_norm(stem, "bn1", EPSILON, Some(Activation::Relu));
        layers.extend(stages(self.width));
        layers
    }
}

impl fmt::Display for SmallResNet18 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            width,
            stem_stride,
            channels,
        } = self;
        write!(f, "{PREFIX}w{width}_s{stem_stride}_c{channels}")
    }
}
