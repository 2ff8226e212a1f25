//! Devices that libtorch computes on. Owns their names and the loading of the GPU library: a program is linked only to
//! libtorch's CPU library, so that it runs everywhere, and `libtorch_cuda.so` is loaded when a GPU is asked for.

#![allow(unsafe_code)]

use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device};

/// Library of libtorch that drives GPUs.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// Why a device cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// A name that is not a device.
    #[error("`{0}` is not a device; expected cpu or cuda:N")]
    Name(String),
    /// A missing or unusable CUDA library of libtorch.
    #[error(
        "there is no device cuda:{number}: {CUDA_LIBRARY} cannot be loaded ({reason}); it comes with torch's CUDA build, and is searched for beside libtorch_cpu.so and in LD_LIBRARY_PATH"
    )]
    Library {
        /// Number of the GPU asked for.
        number: usize,
        /// Reason given by the system.
        reason: String,
    },
    /// A GPU number that does not exist.
    #[error("there is no device cuda:{number}: libtorch sees {there} CUDA devices")]
    Number {
        /// Number of the GPU asked for.
        number: usize,
        /// Number of GPUs that exist.
        there: usize,
    },
}

/// Returns the device with this name: `cpu` or `cuda:N`.
///
/// # Errors
/// The device is not available; another one is never used silently.
pub fn device(name: &str) -> Result<Device, DeviceError> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let number = name
        .strip_prefix("cuda:")
        .and_then(|number| number.parse::<usize>().ok());
    let number = number.ok_or_else(|| DeviceError::Name(name.to_owned()))?;
    load_cuda().map_err(|reason| DeviceError::Library { number, reason })?;
    let there = usize::try_from(Cuda::device_count()).unwrap_or(0);
    if number >= there {
        return Err(DeviceError::Number { number, there });
    }
    Ok(Device::Cuda(number))
}

/// Loads libtorch's CUDA library into the process for good; it registers itself.
fn load_cuda() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    let load = || {
        // SAFETY: torch's own library, whose initialisers register kernels with the libtorch_cpu.so that is already
        // loaded.
        let library = unsafe { Library::open(Some(CUDA_LIBRARY), RTLD_NOW | RTLD_GLOBAL) };
        // Never unloaded: libtorch keeps pointers into it.
        library
            .map(std::mem::forget)
            .map_err(|error| error.to_string())
    };
    LOADED.get_or_init(load).clone()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_what_is_not_there_is_an_error() {
        assert_eq!(device("cpu"), Ok(Device::Cpu));
        for name in ["gpu", "cuda", "cuda:", "cuda:-1", "CPU", ""] {
            assert_eq!(device(name), Err(DeviceError::Name(name.to_owned())));
        }
        // The machine may have GPUs, but not this many.
        let error = device("cuda:9999").unwrap_err();
        assert!(matches!(
            error,
            DeviceError::Library { .. } | DeviceError::Number { .. }
        ));
        assert!(
            error
                .to_string()
                .starts_with("there is no device cuda:9999: "),
            "{error}"
        );
    }
}
