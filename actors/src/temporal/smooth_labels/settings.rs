//! The settings of `smooth_labels` as written in a graph file, and their translation into stages.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use fermata_engine::units::HumanDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Visitor};
use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use super::choice::{ChoiceSpec, HysteresisSpec, MOST_VOTES, VoteSpec};
use super::filter::FilterSpec;

/// Smooths the classifier's probabilities in time and chooses a label, independently for each track of each stream. The
/// stages, each of which is optional, run in this order: `ema` or `one_euro` on the probabilities, `vote` on the labels
/// that are then most probable, `hysteresis` on the winner of the vote. Time is that of the time stamps.
///
/// An *observation* is a face with probabilities. A face of a known track without them (a predicted box that was not
/// cropped, for example) repeats the result of its track's latest observation and changes nothing; a face of a track
/// without any observation passes unlabelled. A face without a track is not smoothed: its label is the most probable
/// one. A new segment (a reconnect) forgets all tracks of its stream. May be shared by streams or run with `each:
/// stream`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SmoothLabelsSettings {
    /// Exponential moving average with this time constant τ: an observation Δt after the previous one weighs 1 −
    /// exp(−Δt/τ). Default, and with 0: off.
    #[serde(default)]
    pub ema: Option<HumanDuration>,
    /// One-Euro filter instead of `ema`: smooth while probabilities are steady, fast when they change. Default: off.
    #[serde(default)]
    pub one_euro: Option<OneEuroSettings>,
    /// Majority vote of the labels in a window: a number of observations (`7`) or a time (`500ms`). A tie changes
    /// nothing. Default, and with 0: off.
    #[serde(default)]
    pub vote: Option<VoteWindow>,
    /// Requires another label to lead clearly and for some time before it replaces the current one. Default: off.
    #[serde(default)]
    pub hysteresis: Option<HysteresisSettings>,
    /// A track that has been in no frame for longer than this is forgotten; if it returns, its smoothing starts anew.
    /// At least `max_lost` of `track_faces`. Default: 1s.
    #[serde(default = "default_forget")]
    pub forget: HumanDuration,
}

/// One-Euro filter (Casiez 2012), applied to each probability; the results are normalised to sum 1.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneEuroSettings {
    /// Cutoff frequency at rest, in hertz: lower is smoother. Default: 1.
    #[serde(default = "one")]
    pub min_cutoff: f64,
    /// Increase of the cutoff in hertz for each 1/s by which a probability changes: higher reacts faster. Default: 0.
    #[serde(default)]
    pub beta: f64,
    /// Cutoff frequency for the rate of change, in hertz. Default: 1.
    #[serde(default = "one")]
    pub d_cutoff: f64,
}

/// Conditions for a label to change.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HysteresisSettings {
    /// Minimum lead of the smoothed probability of the vote's winner over that of the current label, 0..1. Default:
    /// 0.1.
    #[serde(default = "default_margin")]
    pub margin: f64,
    /// Number of consecutive observations for which the winner must lead. Default: 3.
    #[serde(default = "default_hold")]
    pub hold: u32,
}

/// Which observations vote: `7` or `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VoteWindow {
    /// This many of the latest ones.
    Observations(u64),
    /// Those that are not older than this.
    Within(HumanDuration),
}

fn default_forget() -> HumanDuration {
    HumanDuration(Duration::from_secs(1))
}

fn one() -> f64 {
    1.0
}

fn default_margin() -> f64 {
    0.1
}

fn default_hold() -> u32 {
    3
}

const WINDOW: &str = "a number of observations such as `7`, or a duration such as `500ms`";

impl<'de> Deserialize<'de> for VoteWindow {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Window;
        impl Visitor<'_> for Window {
            type Value = VoteWindow;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(WINDOW)
            }
            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<VoteWindow, E> {
                Ok(VoteWindow::Observations(number))
            }
            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<VoteWindow, E> {
                let number = u64::try_from(number);
                number
                    .map(VoteWindow::Observations)
                    .map_err(|_| E::custom(format!("expected {WINDOW}")))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<VoteWindow, E> {
                if let Ok(number) = text.parse() {
                    return Ok(VoteWindow::Observations(number));
                }
                let duration = text.parse().map(VoteWindow::Within);
                duration.map_err(|_| E::custom(format!("`{text}` is not {WINDOW}")))
            }
        }
        deserializer.deserialize_any(Window)
    }
}

impl Serialize for VoteWindow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Observations(number) => serializer.serialize_u64(*number),
            Self::Within(duration) => duration.serialize(serializer),
        }
    }
}

impl JsonSchema for VoteWindow {
    fn schema_name() -> Cow<'static, str> {
        "VoteWindow".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "integer"], "minimum": 0, "description": WINDOW})
    }
}

/// Stages that the settings enable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stages {
    pub(super) filter: FilterSpec,
    pub(super) choice: ChoiceSpec,
}

impl SmoothLabelsSettings {
    /// Converts the settings into stages, or returns what is wrong with them.
    pub(super) fn stages(&self) -> Result<Stages, String> {
        Ok(Stages {
            filter: self.filter()?,
            choice: ChoiceSpec {
                vote: self.vote()?,
                hysteresis: self.hysteresis()?,
            },
        })
    }

    fn filter(&self) -> Result<FilterSpec, String> {
        let tau = self.ema.map_or(Duration::ZERO, |ema| ema.0);
        let Some(euro) = self.one_euro else {
            return Ok(match tau {
                Duration::ZERO => FilterSpec::Off,
                tau => FilterSpec::Ema { tau },
            });
        };
        if !tau.is_zero() {
            return Err("ema and one_euro are both set; leave one of them out".into());
        }
        for (name, value) in [("min_cutoff", euro.min_cutoff), ("d_cutoff", euro.d_cutoff)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(format!(
                    "one_euro.{name} is {value}, but must be a positive frequency in hertz"
                ));
            }
        }
        if !(euro.beta.is_finite() && euro.beta >= 0.0) {
            return Err(format!(
                "one_euro.beta is {}, but must be 0 or more",
                euro.beta
            ));
        }
        Ok(FilterSpec::OneEuro {
            min_cutoff: euro.min_cutoff,
            beta: euro.beta,
            d_cutoff: euro.d_cutoff,
        })
    }

    fn vote(&self) -> Result<Option<VoteSpec>, String> {
        match self.vote {
            None
            | Some(
                VoteWindow::Observations(0) | VoteWindow::Within(HumanDuration(Duration::ZERO)),
            ) => Ok(None),
            Some(VoteWindow::Within(duration)) => Ok(Some(VoteSpec::Within(duration.0))),
            Some(VoteWindow::Observations(number)) => usize::try_from(number)
                .ok()
                .filter(|&number| number <= MOST_VOTES)
                .map(|number| Some(VoteSpec::Observations(number)))
                .ok_or_else(|| format!("vote is {number}, but must be at most {MOST_VOTES}")),
        }
    }

    fn hysteresis(&self) -> Result<Option<HysteresisSpec>, String> {
        let Some(HysteresisSettings { margin, hold }) = self.hysteresis else {
            return Ok(None);
        };
        if !(0.0..=1.0).contains(&margin) {
            return Err(format!(
                "hysteresis.margin is {margin}, but must be between 0 and 1"
            ));
        }
        if hold == 0 {
            return Err("hysteresis.hold is 0, but must be at least 1".into());
        }
        Ok(Some(HysteresisSpec { margin, hold }))
    }
}
