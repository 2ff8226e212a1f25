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

/// Arbitrary bytes.
pub struct Blob {
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Payload for Blob {
    fn bytes(&self) -> usize {
        self.bytes.len()
    }
}

/// Returns the machine's memory in bytes, or `i64::MAX` if it is unknown.
fn memory() -> u64 {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = told.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: Option<u64> =
        total.and_then(|total| total.trim().trim_end_matches("kB").trim().parse().ok());
    kib.map_or(i64::MAX as u64, |kib| kib << 10)
}

/// Produces packets at a given rate, or as fast as they are taken; all of them share one payload.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestSourceSettings {
    /// Number of packets. Default: no end.
    #[serde(default)]
    pub count: Option<u64>,
    /// Packets per second. Default: as fast as they are taken.
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
        let bytes = settings.bytes;
        if bytes.0 > memory() {
            return Err(format!(
                "bytes is {bytes}, but this machine has only {} of memory",
                HumanBytes(memory() >> 20 << 20)
            )
            .into());
        }
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
        let mut bytes = Vec::new();
        bytes
            .try_reserve_exact(size)
            .map_err(|_| format!("there is not enough memory for bytes: {}", settings.bytes))?;
        bytes.resize(size, 0);
        Ok(Self {
            settings,
            payload: Arc::new(Blob { bytes }),
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
