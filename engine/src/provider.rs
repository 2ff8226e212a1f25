//! Where the streams of a job come from: a provider says which stream is next, and is told how each of them ended.
//!
//! Owns the contract between the engine and a provider. Opening streams and folding their books is elsewhere.

use std::any::Any;
use std::path::PathBuf;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;

use crate::end::End;
use crate::error::ActorError;
use crate::graph::spec::StreamSpec;
use crate::services::Services;

/// Gives a graph its streams, one after the other: `streams: {use: NAME, open: 2, …}` in a graph file.
///
/// A stream is a unit of work: it has a source instance, books and an end of its own. The provider is called from one
/// thread at a time and never while it is in a call.
pub trait StreamProvider: Sized + Send + 'static {
    /// The name after `use:` in the `streams:` of a graph file.
    const NAME: &'static str;
    /// What `streams:` may hold besides the engine's own keys (`use`, `open`). Derive `Deserialize` with
    /// `deny_unknown_fields` and `JsonSchema`.
    type Settings: DeserializeOwned + JsonSchema + 'static;

    /// Looks for what would make [`StreamProvider::create`] fail, without side effects; called before anything starts.
    fn check(_settings: &Self::Settings) -> Result<(), ActorError> {
        Ok(())
    }

    /// Files that it reads, as far as its settings say so: no sink may write there.
    fn reads(_settings: &Self::Settings) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Builds the provider, when the graph starts.
    fn create(settings: Self::Settings, setup: &ProviderSetup) -> Result<Self, ActorError>;

    /// The stream that comes next; none when there are no more for now. Called while fewer streams than `open` are
    /// there, and after none again once a stream has ended: may give one that failed once more, under another name. An
    /// error drains the run, which then fails.
    fn next(&mut self) -> Result<Option<StreamSpec>, ActorError>;

    /// Whether there may be streams later although [`StreamProvider::next`] has just given none, and although none is
    /// there: it is then asked again from time to time, until the run is ended. For units that somebody else hands out.
    fn may_have_more(&self) -> bool {
        false
    }

    /// A stream has ended: every sink's `stream_ended` has returned. An error drains the run, which then fails.
    fn ended(&mut self, stream: &str, end: End) -> Result<(), ActorError>;
}

/// What a provider is told when it is created.
#[derive(Clone)]
#[non_exhaustive]
pub struct ProviderSetup {
    /// Name of the graph.
    pub graph: String,
    /// Where the run's outputs go.
    pub run_dir: PathBuf,
    /// How many streams may be there at once.
    pub open: usize,
    pub(crate) services: Services,
}

impl ProviderSetup {
    /// A service of the program, if it has given one.
    pub fn service<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        self.services.get()
    }
}
