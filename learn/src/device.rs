//! Where libtorch computes. Owns the names of devices and the loading of what drives a GPU: a program is linked to
//! libtorch's CPU half alone, so that it runs everywhere, and `libtorch_cuda.so` is loaded when a GPU is asked for.

#![allow(unsafe_code)]

use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
use tch::{Cuda, Device};

/// What drives a GPU.
const CUDA_LIBRARY: &str = "libtorch_cuda.so";

/// Why there is no such device.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// No name of a device.
    #[error("`{0}` is not a device; there are cpu and cuda:N")]
    Name(String),
    /// libtorch's CUDA half is not there.
    #[error(
        "there is no device cuda:{number}: {CUDA_LIBRARY} cannot be loaded ({reason}); it comes with torch's CUDA build, and is looked for beside libtorch_cpu.so and in LD_LIBRARY_PATH"
    )]
    Library {
        /// The GPU that was asked for.
        number: usize,
        /// The system's.
        reason: String,
    },
    /// Fewer GPUs than that.
    #[error("there is no device cuda:{number}: libtorch sees {there} CUDA devices")]
    Number {
        /// The GPU that was asked for.
        number: usize,
        /// How many there are.
        there: usize,
    },
}

/// The device of a name: `cpu` or `cuda:N`.
///
/// # Errors
/// It is not there; never a silent run elsewhere.
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

/// Loads libtorch's CUDA half into the process, for good: it registers itself.
fn load_cuda() -> Result<(), String> {
    static LOADED: OnceLock<Result<(), String>> = OnceLock::new();
    let load = || {
        // SAFETY: torch's own library, whose initialisers register kernels with the libtorch_cpu.so that is loaded
        // already.
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
        // There may be GPUs, but not so many.
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
