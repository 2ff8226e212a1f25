//! A source of packets that all share one payload.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::ActorError;
use crate::packet::Payload;
use crate::ports::Ports;
use crate::setup::Setup;
use crate::source::{Captured, Next, Source};
use crate::units::HumanBytes;

/// Bytes without a meaning.
pub struct Blob {
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Payload for Blob {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Produces packets at a rate, or as fast as they are taken; all of them share one payload.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestSourceSettings {
    /// Number of packets; without it the source never ends.
    #[serde(default)]
    pub count: Option<u64>,
    /// Packets per second; without it as fast as they are taken.
    #[serde(default)]
    pub rate: Option<f64>,
    /// Size of the shared payload. Default: 0.
    #[serde(default)]
    pub bytes: HumanBytes,
}

/// See `TestSourceSettings`.
pub struct TestSource {
    settings: TestSourceSettings,
    payload: Arc<Blob>,
    produced: u64,
}

impl Source for TestSource {
    const NAME: &'static str = "test_source";
    type Settings = TestSourceSettings;

    fn ports(_: &TestSourceSettings) -> Ports {
        Ports::new().output::<Blob>("out")
    }

    fn check(settings: &TestSourceSettings) -> Result<(), ActorError> {
        match settings.rate {
            Some(rate) if !(rate.is_finite() && rate > 0.0) => Err(format!(
                "rate is {rate}, but must be a positive number of packets per second"
            )
            .into()),
            _ => Ok(()),
        }
    }

    fn create(settings: TestSourceSettings, _: &Setup) -> Result<Self, ActorError> {
        Self::check(&settings)?;
        let size = usize::try_from(settings.bytes.0)?;
        Ok(Self {
            settings,
            payload: Arc::new(Blob {
                bytes: vec![0; size],
            }),
            produced: 0,
        })
    }

    fn next(&mut self) -> Result<Next, ActorError> {
        if self
            .settings
            .count
            .is_some_and(|count| self.produced >= count)
        {
            return Ok(Next::End);
        }
        let number = self.produced;
        self.produced += 1;
        let pts_ns = match self.settings.rate {
            Some(rate) => (number as f64 / rate * 1e9) as i64,
            None => number as i64,
        };
        Ok(Next::Packet(Captured::new(self.payload.clone(), pts_ns)))
    }
}
