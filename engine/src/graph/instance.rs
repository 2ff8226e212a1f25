//! Settings of node instances, and problems with them at the place where they are written.

use std::sync::Arc;

use super::interpolate;
use super::problem::{Problem, Problems};
use super::secrets::Secrets;
use super::settings::Settings;
use super::spec::{NodeSpec, ProviderSpec, StreamSpec};
use super::tree::{Tree, Value};
use crate::registry::Registry;

impl NodeSpec {
    /// Returns the actor's settings for an instance.
    ///
    /// # Errors
    /// The node is not `each: stream` but its settings contain `${stream.…}`, or a referenced value of the stream is
    /// missing.
    pub fn settings(&self, stream: Option<&StreamSpec>) -> Result<Settings, Problems> {
        let tree = interpolate::stream_values(&self.settings, stream, &self.stream_values)?;
        Ok(Settings(Arc::new(tree)))
    }

    /// Runs the actor's check: whether what the settings of an instance name exists. Nothing is created.
    pub(crate) fn check(
        &self,
        registry: &Registry,
        stream: Option<&StreamSpec>,
        secrets: &Secrets,
    ) -> Result<(), Problems> {
        let settings = self.settings(stream)?;
        secrets.learn(&settings.0);
        match registry
            .get(&self.actor)
            .map(|actor| actor.check(&settings))
        {
            Some(Err(error)) => Err(self.problem(&settings, error.to_string()).into()),
            Some(Ok(())) | None => Ok(()),
        }
    }

    /// Creates a problem with the settings, underlined where the message quotes one of them.
    pub(crate) fn problem(&self, settings: &Settings, message: String) -> Problem {
        let place = quoted_in(&settings.0, &message);
        Problem::at(
            &place.unwrap_or(&settings.0).span,
            format!("node `{}`: {message}", self.name),
        )
    }
}

/// Length, in bytes, of texts that count as quoted only in backticks: `a` and `5` occur in most messages.
const SHORT: usize = 2;

/// Returns the longest scalar that a message quotes.
pub(crate) fn quoted_in<'a>(tree: &'a Tree, message: &str) -> Option<&'a Tree> {
    let candidates: Vec<&Tree> = match &tree.value {
        Value::Scalar { text, .. } => return quotes(message, text).then_some(tree),
        Value::List(items) => items.iter().collect(),
        Value::Map(entries) => entries.iter().map(|entry| &entry.value).collect(),
    };
    candidates
        .into_iter()
        .filter_map(|tree| quoted_in(tree, message))
        .max_by_key(|tree| tree.as_text().map_or(0, str::len))
}

/// Returns whether a text occurs in a message, not as part of a longer word.
fn quotes(message: &str, text: &str) -> bool {
    if text.len() <= SHORT {
        return !text.is_empty() && message.contains(&format!("`{text}`"));
    }
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    message.match_indices(text).any(|(at, _)| {
        let (before, after) = (&message[..at], &message[at + text.len()..]);
        !before.ends_with(is_word) && !after.starts_with(is_word)
    })
}

impl ProviderSpec {
    /// Creates a problem with the settings, underlined where the message quotes one of them.
    pub(crate) fn problem(&self, message: String) -> Problem {
        let place = quoted_in(&self.settings.0, &message);
        Problem::at(
            &place.unwrap_or(&self.settings.0).span,
            format!("streams from `{}`: {message}", self.name),
        )
    }
}

#[cfg(test)]
mod tests {
    use crate::actor::Actor;
    use crate::error::ActorError;
    use crate::graph::{Graph, LoadOptions};
    use crate::input::Input;
    use crate::outputs::Outputs;
    use crate::ports::Ports;
    use crate::registry::Registry;
    use crate::setup::Setup;

    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct RefusesSettings {
        address: String,
        model: String,
        says: String,
    }

    /// Refuses its settings with the given message, in which `_` stands for a space so that no setting equals the
    /// message.
    struct Refuses;

    impl Actor for Refuses {
        const NAME: &'static str = "refuses";
        type Settings = RefusesSettings;

        fn ports(_: &RefusesSettings) -> Ports {
            Ports::new().any_input("in")
        }

        fn check(settings: &RefusesSettings) -> Result<(), ActorError> {
            let says = settings.says.replace('_', " ");
            let says = says.replace("ADDRESS", &settings.address);
            Err(says.replace("MODEL", &settings.model).into())
        }

        fn create(_: RefusesSettings, _: &Setup) -> Result<Self, ActorError> {
            Ok(Self)
        }

        fn process(&mut self, _: Input, _: &mut Outputs) -> Result<(), ActorError> {
            Ok(())
        }
    }

    /// Returns where a problem that an actor has with its settings is shown.
    fn shown(uri: &str, says: &str) -> String {
        let mut registry = Registry::builtin();
        registry.register::<Refuses>();
        let text = format!(
            "\
fermata: 1
nodes:
  s: {{use: test_source, each: stream}}
  e:
    use: refuses
    each: stream
    in: s
    says: \"{says}\"
    address: \"${{stream.uri}}\"
    model: cards
"
        );
        let mut options = LoadOptions::new("out");
        options.overrides.streams = vec![format!("cam={uri}")];
        let graph = Graph::parse("t.yaml", &text, &registry, &options).expect("a graph");
        let problems = graph.check(&registry).expect_err("it refuses");
        assert_eq!(problems.len(), 1, "{problems}");
        let shown = problems.to_string();
        shown[..shown.find(": ").expect("a place")].to_owned()
    }

    #[test]
    fn a_problem_with_an_address_is_shown_where_the_stream_was_given() {
        assert_eq!(
            shown("/dev/video9", "ADDRESS_is_not_there"),
            "command line:1:14"
        );
        assert_eq!(shown("a", "`ADDRESS`_is_not_there"), "command line:1:14");
    }

    #[test]
    fn a_problem_with_something_else_is_shown_there_whatever_the_address_is() {
        for uri in ["a", "card", "model"] {
            let place = shown(uri, "a_model_card_cannot_be_read:_MODEL/model.yaml");
            assert!(place.starts_with("t.yaml:10:"), "{uri}: {place}");
        }
        assert!(shown("a", "a_camera_is_not_there").starts_with("t.yaml:"));
    }
}
