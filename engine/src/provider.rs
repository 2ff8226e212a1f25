//! Providers of a job's streams: a provider decides which stream comes next and is notified how each of them ended.
//!
//! This module owns the contract between the engine and a provider. Opening streams and folding their books is
//! elsewhere.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::end::End;
use crate::error::ActorError;
use crate::graph::spec::StreamSpec;
use crate::services::Services;

/// Provides a graph's streams one after the other: `streams: {use: NAME, open: 2, …}` in a graph file.
///
/// A stream is a unit of work: it has its own source instance, books and end. The provider is called from one thread at
/// a time, and calls never overlap.
pub trait StreamProvider: Sized + Send + 'static {
    /// The name after `use:` in the `streams:` of a graph file.
    const NAME: &'static str;
    /// Settings in `streams:` besides the engine's own keys (`use`, `open`). Derive `Deserialize` with
    /// `deny_unknown_fields` and `JsonSchema`.
    type Settings: DeserializeOwned + JsonSchema + 'static;

    /// Checks for anything that would make [`StreamProvider::create`] fail, without side effects. Called before
    /// anything starts.
    fn check(_settings: &Self::Settings) -> Result<(), ActorError> {
        Ok(())
    }

    /// Returns the files that it reads, as far as its settings name them; no sink may write there.
    fn reads(_settings: &Self::Settings) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Builds the provider when the graph starts.
    fn create(settings: Self::Settings, setup: &ProviderSetup) -> Result<Self, ActorError>;

    /// Returns the next stream, or none if there are no more for now. Called while fewer than `open` streams are open,
    /// and after a none again once a stream has ended: a failed stream may be given once more, under another name. An
    /// error drains the run, which then fails.
    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError>;

    /// Returns whether there may be more streams although [`StreamProvider::next`] has just returned none and none is
    /// open. It is then called again from time to time until the run is ended. For units that are handed out from
    /// elsewhere.
    fn may_have_more(&self) -> bool {
        false
    }

    /// Called when a stream has ended: every sink's `stream_ended` has returned. An error drains the run, which then
    /// fails.
    fn ended(&mut self, stream: &str, end: End) -> Result<(), ActorError>;
}

/// What a provider receives when it is created.
#[derive(Clone)]
#[non_exhaustive]
pub struct ProviderSetup {
    /// Name of the graph.
    pub graph: String,
    /// Folder for the run's outputs.
    pub run_dir: PathBuf,
    /// Maximum number of streams open at once.
    pub open: usize,
    pub(crate) services: Services,
}

impl ProviderSetup {
    /// Returns a service of the program, if it has it.
    pub fn service<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.services.get()
    }
}
