//! What a run ran on and with, for `environment.json`.

use serde::{Deserialize, Serialize};
use tch::Device;

/// Versions and machine of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// This program's version.
    pub fermata: String,
    /// Commit that was checked out when it was built, or `unknown`.
    pub git_commit: String,
    /// libtorch's version, or `unknown`.
    pub libtorch: String,
    /// Name of the operating system and the processor's architecture.
    pub platform: String,
    /// The processor's name, or `unknown`.
    pub processor: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
}

impl Environment {
    /// Of this process.
    pub fn of(device: Device) -> Self {
        let known = |value: Option<&str>| value.unwrap_or("unknown").to_owned();
        let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = processors
            .lines()
            .find_map(|line| line.strip_prefix("model name"));
        Self {
            fermata: env!("CARGO_PKG_VERSION").to_owned(),
            git_commit: known(option_env!("FERMATA_GIT_COMMIT")),
            libtorch: known(option_env!("FERMATA_LIBTORCH")),
            platform: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
            processor: known(processor.map(|rest| rest.trim_start_matches([' ', '\t', ':']))),
            device: match device {
                Device::Cuda(number) => format!("cuda:{number}"),
                other => format!("{other:?}").to_lowercase(),
            },
        }
    }
}
