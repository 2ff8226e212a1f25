//! What a graph file is resolved with, besides itself.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::overrides::Overrides;

/// What a graph file is resolved with.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// What the command line changes.
    pub overrides: Overrides,
    /// `${run.dir}`: where outputs go.
    pub run_dir: PathBuf,
    /// `${env.…}`.
    pub env: BTreeMap<String, String>,
}

impl LoadOptions {
    /// No overrides, and the environment of the process.
    pub fn new(run_dir: impl Into<PathBuf>) -> Self {
        // Variables that are not text cannot be written into a graph.
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
