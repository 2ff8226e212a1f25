//! Options for resolving a graph file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::overrides::Overrides;

/// Options for resolving a graph file.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Overrides from the command line.
    pub overrides: Overrides,
    /// Folder for outputs: `${run.dir}`.
    pub run_dir: PathBuf,
    /// Environment variables: `${env.…}`.
    pub env: BTreeMap<String, String>,
}

impl LoadOptions {
    /// Creates options without overrides, with the environment of the process.
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        // Variables that are not valid UTF-8 cannot be used in a graph.
        let env = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            overrides: Overrides::default(),
            run_dir: run_dir.into(),
            env,
        }
    }
}
