//! Taint tracking of secrets: a parameter or an environment variable that is used in the secret part of an address, in
//! a header or in a setting with a secret name is secret wherever else it appears.

use std::collections::{BTreeMap, BTreeSet};

use super::interpolate::names_in;
use super::redact::{is_secret_name, redact};
use super::secret_trees::Place;
use super::secrets::Secrets;
use super::tree::{Entry, Tree, Value};

/// Parameters and environment variables, and which parameters are secret.
pub(crate) struct Taint<'a> {
    secrets: &'a Secrets,
    params: &'a BTreeMap<String, String>,
    env: &'a BTreeMap<String, String>,
    /// Parameters with secret values.
    secret: BTreeSet<String>,
}

impl<'a> Taint<'a> {
    pub(crate) fn new(
        secrets: &'a Secrets,
        params: &'a BTreeMap<String, String>,
        env: &'a BTreeMap<String, String>,
    ) -> Self {
        let secret = params.keys().filter(|name| is_secret_name(name));
        Self {
            secret: secret.cloned().collect(),
            secrets,
            params,
            env,
        }
    }

    /// Follows values from `before` to `after`, in which references are replaced, and learns values that are secret by
    /// their place.
    pub(crate) fn follow(&mut self, before: &Tree, after: &Tree) {
        self.follow_under(before, after, Place::Anywhere);
        self.secrets.learn(after);
    }

    fn follow_under(&mut self, before: &Tree, after: &Tree, place: Place) {
        match (&before.value, &after.value) {
            (Value::Scalar { text, .. }, Value::Scalar { text: after, .. }) => {
                self.follow_text(text, after, place);
            }
            (Value::List(before), Value::List(after)) => {
                for (before, after) in before.iter().zip(after) {
                    self.follow_under(before, after, place);
                }
            }
            (Value::Map(before), Value::Map(after)) => {
                for (before, after) in before.iter().zip(after) {
                    self.follow_under(&before.value, &after.value, place.below(&before.key));
                }
            }
            _ => {}
        }
    }

    fn follow_text(&mut self, before: &str, after: &str, place: Place) {
        let shown = redact(after);
        for name in names_in(before) {
            let variable = name.strip_prefix("env.");
            let value = match variable {
                Some(variable) => self.env.get(variable),
                None => self.params.get(name),
            };
            let Some(value) = value.filter(|value| !value.is_empty()) else {
                continue;
            };
            let count = |text: &str| text.matches(value.as_str()).count();
            if place == Place::Anywhere && count(&shown) == count(after) {
                continue;
            }
            // A whole address has its own secret parts.
            if !value.contains("://") {
                self.secrets.add(value);
                if variable.is_none() {
                    self.secret.insert(name.to_owned());
                }
            }
        }
    }

    /// Marks values that are used in secret parameters as secret.
    pub(crate) fn follow_params(&self, tree: &Tree) {
        for entry in tree.section("params") {
            if let Some(value) = self.params.get(&entry.key) {
                self.secrets.add_uri(value);
            }
            if !self.secret.contains(&entry.key) {
                continue;
            }
            if let Some(value) = self.params.get(&entry.key) {
                self.secrets.add(value);
            }
            for name in names_in(entry.value.as_text().unwrap_or_default()) {
                let variable = name.strip_prefix("env.");
                if let Some(value) = variable.and_then(|variable| self.env.get(variable)) {
                    self.secrets.add(value);
                }
            }
        }
    }

    /// Hides the values of secret parameters in a tree that will be written out; references to the environment are
    /// kept.
    pub(crate) fn hide_params(&self, entries: &mut [Entry]) {
        let section = entries.iter_mut().find(|entry| entry.key == "params");
        if let Some(Value::Map(declared)) = section.map(|section| &mut section.value.value) {
            for entry in declared {
                if self.secret.contains(&entry.key) {
                    entry.value = self.secrets.hidden_value(&entry.value);
                }
            }
        }
    }
}
