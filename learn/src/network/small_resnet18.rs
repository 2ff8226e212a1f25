//! A residual network for small images (48 to 64 px), trained from scratch: ResNet-18's blocks (He et al. 2015,
//! <https://arxiv.org/abs/1512.03385>) behind a 3 × 3 stem without max-pool, as on CIFAR, with a width and a stem stride of its own and one
//! or three channels. It is no network of timm's; its tensors are named as those of timm's `resnet18`.

use std::fmt;

use super::layer::{Activation, Layer, conv_norm};
use super::resnet18::{EPSILON, conv, stages};

/// Name of the head.
pub(super) const HEAD: &str = "fc";
/// What all names begin with.
const PREFIX: &str = "small_resnet18_";
/// Channels of the first stage.
const WIDTHS: std::ops::RangeInclusive<i64> = 8..=256;

/// Which of them; `small_resnet18_w32_s2_c1` is 32 wide with a stem stride of 2 and one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SmallResNet18 {
    /// Channels of the first stage, 8 to 256; the others have 2, 4 and 8 times as many. ResNet-18's are 64.
    width: i64,
    /// 1 or 2: stride of the stem; the last map of a 48 px image is 6 or 3 pixels wide.
    stem_stride: i64,
    /// 1 or 3: channels of the input.
    channels: i64,
}

impl SmallResNet18 {
    /// A network of this width (8 to 256), stem stride (1 or 2) and number of channels (1 or 3), if there is one.
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

    /// The network of this name. Each has one name: numbers without leading zeros, all three of them.
    pub(super) fn named(name: &str) -> Option<Self> {
        let mut numbers = name.strip_prefix(PREFIX)?.split('_').zip(["w", "s", "c"]);
        let mut next = || {
            let (part, letter) = numbers.next()?;
            part.strip_prefix(letter)?.parse().ok()
        };
        let network = Self::new(next()?, next()?, next()?)?;
        (network.to_string() == name).then_some(network)
    }

    /// Channels of an input.
    pub fn channels(self) -> i64 {
        self.channels
    }

    /// Values before the head.
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
