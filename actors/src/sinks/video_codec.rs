//! Video codecs and presets, as named in graph files.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Values of `codec` of `write_video`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VideoCodec {
    /// H.264, by libx264.
    #[default]
    H264,
}

/// libx264's presets, from fast and large to slow and small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are libx264's own")]
pub enum Preset {
    Ultrafast,
    Superfast,
    #[default]
    Veryfast,
    Faster,
    Fast,
    Medium,
    Slow,
    Slower,
    Veryslow,
}

impl Preset {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ultrafast => "ultrafast",
            Self::Superfast => "superfast",
            Self::Veryfast => "veryfast",
            Self::Faster => "faster",
            Self::Fast => "fast",
            Self::Medium => "medium",
            Self::Slow => "slow",
            Self::Slower => "slower",
            Self::Veryslow => "veryslow",
        }
    }

    /// Returns the number of frames that libx264 looks ahead.
    pub(crate) fn lookahead(self) -> u8 {
        match self {
            Self::Ultrafast | Self::Superfast => 0,
            Self::Veryfast => 10,
            Self::Faster => 20,
            Self::Fast => 30,
            Self::Medium => 40,
            Self::Slow => 50,
            Self::Slower | Self::Veryslow => 60,
        }
    }
}
