//! Devices that models run on, and their ONNX Runtime execution providers.

use std::fmt;
use std::str::FromStr;

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProvider};
use ort::session::builder::SessionBuilder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::precision::{Precision, processor_has_bf16};
use crate::runtime::runtime_build;

/// Device that a model runs on: `cpu`, `openvino` (the processor too), `cuda` (the first GPU) or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub enum Device {
    /// The processor, with ONNX Runtime's own kernels.
    #[default]
    Cpu,
    /// The processor, with OpenVINO's kernels, which support bf16.
    OpenVino,
    /// The NVIDIA GPU with this number.
    Cuda(u32),
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = match text {
            "cpu" => return Ok(Self::Cpu),
            "openvino" => return Ok(Self::OpenVino),
            "cuda" => Some(0),
            _ => text.strip_prefix("cuda:").and_then(|n| n.parse().ok()),
        };
        number.map(Self::Cuda).ok_or_else(|| {
            format!("unknown device `{text}`: write `cpu`, `openvino`, `cuda` or `cuda:N`")
        })
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
            Self::OpenVino => f.write_str("openvino"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl From<Device> for String {
    fn from(device: Device) -> Self {
        device.to_string()
    }
}

/// Why a device does not support a number format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PrecisionError {
    /// Only OpenVINO supports a format other than the model's.
    #[error("`precision: bf16` needs `device: openvino`; on {0} models compute in f32")]
    Device(Device),
    /// The processor has no instructions for it, so it would be slower than f32.
    #[error(
        "this processor does not support bf16 (it has no avx512_bf16); leave `precision` at f32"
    )]
    Processor,
}

impl Device {
    /// Checks whether the device supports this number format on this machine. Loads nothing.
    ///
    /// # Errors
    /// Returns why it does not, and what to do.
    pub fn computes_in(self, precision: Precision) -> Result<(), PrecisionError> {
        match (precision, self) {
            (Precision::F32, _) => Ok(()),
            (Precision::Bf16, Self::OpenVino) if processor_has_bf16() => Ok(()),
            (Precision::Bf16, Self::OpenVino) => Err(PrecisionError::Processor),
            (Precision::Bf16, _) => Err(PrecisionError::Device(self)),
        }
    }

    /// Restricts a session to this device, or returns why that is not possible.
    pub(crate) fn applied_to(
        self,
        builder: SessionBuilder,
        precision: Precision,
        threads: usize,
    ) -> Result<SessionBuilder, String> {
        let provider = match self {
            Self::Cpu => return Ok(builder),
            Self::OpenVino => {
                // Checked first: ONNX Runtime's own message is of no help here.
                provided::<ep::OpenVINO>("OpenVINO")?;
                ep::OpenVINO::default()
                    .with_device_type("CPU")
                    .with_arbitrary_config("load_config", openvino_config(precision, threads))
                    .build()
            }
            Self::Cuda(number) => {
                let number = i32::try_from(number).map_err(|error| error.to_string())?;
                ep::CUDA::default().with_device_id(number).build()
            }
        };
        builder
            .with_execution_providers([provider.error_on_failure()])
            .map_err(|error| error.to_string().trim_end_matches('.').to_owned())
    }

    /// Returns ONNX Runtime's name of the execution provider.
    pub(crate) fn provider(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::OpenVino => "OpenVINO",
            Self::Cuda(_) => "CUDA",
        }
    }

    /// Returns the target of `make` that installs the device's dependencies.
    pub(crate) fn set_up_by(self) -> &'static str {
        match self {
            Self::Cpu => "setup",
            Self::OpenVino => "setup-openvino",
            Self::Cuda(_) => "setup-cuda",
        }
    }
}

/// Returns OpenVINO's own settings, by device, as JSON. By default it would use bf16 if the processor supports it.
/// Pinned threads would be tied to the same cores in each of several sessions.
fn openvino_config(precision: Precision, threads: usize) -> String {
    format!(
        r#"{{"CPU": {{"INFERENCE_PRECISION_HINT": "{precision}", "INFERENCE_NUM_THREADS": "{threads}", "NUM_STREAMS": "1", "ENABLE_CPU_PINNING": "NO"}}}}"#
    )
}

/// Checks whether models can run on a GPU, for `fermata doctor`. Loads ONNX Runtime.
///
/// # Errors
/// Returns why they cannot, and what to do.
pub fn cuda() -> Result<String, String> {
    has_provider::<ep::CUDA>("CUDA", Device::Cuda(0))
}

/// Checks whether models can run on OpenVINO, for `fermata doctor`. Loads ONNX Runtime.
///
/// # Errors
/// Returns why they cannot, and what to do.
pub fn openvino() -> Result<String, String> {
    has_provider::<ep::OpenVINO>("OpenVINO", Device::OpenVino)
}

fn has_provider<P: ExecutionProvider>(name: &str, device: Device) -> Result<String, String> {
    let with_advice = |missing| format!("{missing}; `make {}`", device.set_up_by());
    runtime_build()?;
    provided::<P>(name).map_err(with_advice)?;
    Ok(format!("ONNX Runtime has the {name} provider"))
}

/// Checks whether the loaded library was built with this execution provider.
fn provided<P: ExecutionProvider>(name: &str) -> Result<(), String> {
    match P::is_available() {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("this ONNX Runtime has no {name} provider")),
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
        assert_eq!("openvino".parse(), Ok(Device::OpenVino));
        assert_eq!(Device::OpenVino.to_string(), "openvino");
        assert_eq!("cuda:2".parse(), Ok(Device::Cuda(2)));
        assert_eq!(Device::Cuda(2).to_string(), "cuda:2");
        let error = "gpu".parse::<Device>().unwrap_err();
        assert!(error.contains("`gpu`") && error.contains("cuda:N"));
        assert!("cuda:".parse::<Device>().is_err());
    }
    #[test]
    fn bf16_is_refused_where_nothing_would_compute_in_it() {
        for device in [Device::Cpu, Device::Cuda(0), Device::OpenVino] {
            assert_eq!(device.computes_in(Precision::F32), Ok(()));
        }
        for device in [Device::Cpu, Device::Cuda(0)] {
            let refused = device.computes_in(Precision::Bf16).unwrap_err().to_string();
            assert!(refused.contains("device: openvino"), "{refused}");
        }
        let expected = if processor_has_bf16() {
            Ok(())
        } else {
            Err(PrecisionError::Processor)
        };
        assert_eq!(Device::OpenVino.computes_in(Precision::Bf16), expected);
    }
}
