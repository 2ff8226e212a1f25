//! The part of a node's block that belongs to its actor.

use serde::de::DeserializeOwned;

/// An actor's settings as written in the graph file, interpolated, with their places.
#[derive(Clone, Debug)]
pub struct Settings(pub(crate) serde_json::Value);

/// Settings that do not fit the actor.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct SettingsError(String);

impl Settings {
    /// Reads the settings as the actor's own type.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, SettingsError> {
        T::deserialize(&self.0).map_err(|error| SettingsError(error.to_string()))
    }
}
