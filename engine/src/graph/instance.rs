//! The settings that an instance of a node gets, and problems with them where they are written.

use std::sync::Arc;

use super::interpolate;
use super::problem::{Problem, Problems};
use super::settings::Settings;
use super::spec::{NodeSpec, ProviderSpec, StreamSpec};
use super::tree::{Tree, Value};

impl NodeSpec {
    /// The actor's settings for an instance.
    ///
    /// # Errors
    /// `${stream.…}` in a node that is not `each: stream`.
    pub fn settings(&self, stream: Option<&StreamSpec>) -> Result<Settings, Problems> {
        let tree = interpolate::stream_values(&self.settings, stream, &self.stream_values)?;
        Ok(Settings(Arc::new(tree)))
    }

    /// A problem with the settings, underlined where the message quotes one of them.
    pub(crate) fn problem(&self, settings: &Settings, message: String) -> Problem {
        let place = quoted_in(&settings.0, &message);
        Problem::at(
            &place.unwrap_or(&settings.0).span,
            format!("node `{}`: {message}", self.name),
        )
    }
}

/// The longest scalar that a message quotes.
pub(crate) fn quoted_in<'a>(tree: &'a Tree, message: &str) -> Option<&'a Tree> {
    let candidates: Vec<&Tree> = match &tree.value {
        Value::Scalar { text, .. } => {
            return (text.len() > 2 && message.contains(text.as_str())).then_some(tree);
        }
        Value::List(items) => items.iter().collect(),
        Value::Map(entries) => entries.iter().map(|entry| &entry.value).collect(),
    };
    candidates
        .into_iter()
        .filter_map(|tree| quoted_in(tree, message))
        .max_by_key(|tree| tree.as_text().map_or(0, str::len))
}

impl ProviderSpec {
    /// A problem with the settings, underlined where the message quotes one of them.
    pub(crate) fn problem(&self, message: String) -> Problem {
        let place = quoted_in(&self.settings.0, &message);
        Problem::at(
            &place.unwrap_or(&self.settings.0).span,
            format!("streams from `{}`: {message}", self.name),
        )
    }
}
