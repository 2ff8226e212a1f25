//! The software and hardware of a run, for `environment.json`.

use serde::{Deserialize, Serialize};
use tch::Device;

/// Versions and machine of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Version of this program.
    pub fermata: String,
    /// Commit from which it was built, or `unknown`.
    pub git_commit: String,
    /// Version of libtorch, or `unknown`.
    pub libtorch: String,
    /// Operating system and processor architecture.
    pub platform: String,
    /// Processor model, or `unknown`.
    pub processor: String,
    /// `cpu` or `cuda:N`.
    pub device: String,
}

impl Environment {
    /// Returns the environment of this process.
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
