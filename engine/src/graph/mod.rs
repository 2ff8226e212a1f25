//! Graph files: reading, checking and resolving them.

mod settings;

use crate::actor::Ports;
use crate::clock::ClockMode;
pub use settings::{Settings, SettingsError};
use std::path::PathBuf;
use std::time::Duration;

/// s
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// s
    Skip,
    /// s
    Restart,
    /// s
    Stop,
}
/// s
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// s
    Block,
    /// s
    DropOldest,
    /// s
    DropNewest,
}
/// s
#[derive(Clone, Debug)]
pub enum Require {
    /// s
    All,
    /// s
    Ports(Vec<String>),
}
/// s
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct QueueSpec {
    pub capacity: usize,
    pub bytes: Option<u64>,
    pub full: WhenFull,
    pub max_age: Option<Duration>,
}
/// s
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct BatchSpec {
    pub max: usize,
    pub wait: Duration,
}
/// s
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct StreamSpec {
    pub name: String,
    pub uri: String,
}
/// s
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct OutputRef {
    pub node: usize,
    pub output: usize,
}
/// s
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct InputSpec {
    pub port: usize,
    pub from: Vec<OutputRef>,
}
/// s
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct RestartSpec {
    pub most: u32,
    pub within: Duration,
}
/// s
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct RunSpec {
    pub clock: ClockMode,
    pub drain: Duration,
    pub restart: RestartSpec,
    pub call_deadline: Duration,
}
/// s
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct NodeSpec {
    pub name: String,
    pub actor: String,
    pub each_stream: bool,
    pub inputs: Vec<InputSpec>,
    pub ports: Ports,
    pub queue: QueueSpec,
    pub lane: Option<String>,
    pub replicas: usize,
    pub batch: Option<BatchSpec>,
    pub on_error: OnError,
    pub require: Require,
    pub raw: serde_json::Value,
}
/// s
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Graph {
    pub name: String,
    pub streams: Vec<StreamSpec>,
    pub nodes: Vec<NodeSpec>,
    pub run: RunSpec,
    pub run_dir: PathBuf,
}
/// s
#[derive(Clone, Debug, thiserror::Error)]
#[error("x")]
pub struct Problems;
impl NodeSpec {
    /// s
    pub fn settings(&self, _stream: Option<&StreamSpec>) -> Result<Settings, Problems> {
        Ok(Settings(self.raw.clone()))
    }
}
