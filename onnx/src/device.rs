//! Where a model runs, and the part of ONNX Runtime that drives it.

use std::fmt;
use std::str::FromStr;

use ort::ep::{self, ExecutionProvider};
use ort::session::builder::SessionBuilder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::runtime::runtime_build;

/// Where a model runs: `cpu`, `cuda` (the first GPU) or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// The NVIDIA GPU with this number.
    Cuda(u32),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text {
            "cpu" => return Ok(Self::Cpu),
            "cuda" => Some(0),
            _ => text.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
        };
        number
            .map(Self::Cuda)
            .ok_or_else(|| format!("unknown device `{text}`: write `cpu`, `cuda` or `cuda:N`"))
    }
}

impl TryFrom<String> for Device {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

impl Device {
    /// Lets a session run here and nowhere else, or says why it cannot.
    pub(crate) fn applied_to(self, builder: SessionBuilder) -> Result<SessionBuilder, String> {
        let Self::Cuda(number) = self else {
            return Ok(builder);
        };
        let number = i32::try_from(number).map_err(|error| error.to_string())?;
        let provider = ep::CUDA::default().with_device_id(number).build();
        builder
            .with_execution_providers([provider.error_on_failure()])
            .map_err(|error| error.to_string().trim_end_matches('.').to_owned())
    }
}

/// Whether models can run on a GPU: for `fermata doctor`. Loads ONNX Runtime.
///
/// # Errors
/// Why they cannot, and what to do.
pub fn cuda() -> Result<String, String> {
    runtime_build()?;
    match ep::CUDA::is_available() {
        Ok(true) => Ok("ONNX Runtime has the CUDA provider".to_owned()),
        Ok(false) => Err("this ONNX Runtime has no CUDA provider; `make setup-cuda`".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_written() {
        assert_eq!("cpu".parse(), Ok(Device::Cpu));
        assert_eq!("cuda".parse(), Ok(Device::Cuda(0)));
        assert_eq!("cuda:2".parse(), Ok(Device::Cuda(2)));
        assert_eq!(Device::Cuda(2).to_string(), "cuda:2");
        let error = "gpu".parse::<Device>().unwrap_err();
        assert!(error.contains("`gpu`") && error.contains("cuda:N"));
        assert!("cuda:".parse::<Device>().is_err());
    }
}
