//! `streams:` of a graph file: a list of streams, or the provider that supplies them while the graph runs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::registry::Registry;

use super::interpolate;
use super::node::{part, within};
use super::place::Span;
use super::problem::{Problem, Problems};
use super::redact::redact;
use super::settings::{Settings, SettingsError};
use super::spec::{MOST_OPEN, ProviderSpec, StreamSpec, StreamValues};
use super::tree::{Entry, Tree, Value};

/// Keys of `streams:` that belong to the engine if a provider is used.
const ENGINE_KEYS: [&str; 2] = ["use", "open"];

/// Keys of a stream written as a map that need not be used by any node.
const STREAM_KEYS: [&str; 2] = ["uri", "name"];

/// The content of `streams:`.
#[derive(Default)]
pub(crate) struct Streams {
    pub(crate) listed: Vec<StreamSpec>,
    pub(crate) values: StreamValues,
    /// Provider, and the place of its name.
    pub(crate) provider: Option<(ProviderSpec, Span)>,
}

/// Returns the entry that names the provider of the streams, if there is one.
pub(crate) fn provider_of(tree: &Tree) -> Option<&Entry> {
    let mut entries = tree.section("streams").iter();
    entries.find(|entry| entry.key == "use")
}

/// Reads `streams:`.
pub(crate) fn read(tree: &Tree, registry: &Registry, problems: &mut Problems) -> Streams {
    let (Some(name), Some(section)) = (provider_of(tree), tree.get("streams")) else {
        let (listed, values) = listed(tree, problems);
        check_values_are_used(tree, problems);
        return Streams {
            listed,
            values,
            provider: None,
        };
    };
    let span = name.value.span.clone();
    let provider = provider(name, &section.value, registry, problems);
    Streams {
        listed: Vec::new(),
        values: StreamValues::default(),
        provider: provider.map(|provider| (provider, span)),
    }
}

fn listed(tree: &Tree, problems: &mut Problems) -> (Vec<StreamSpec>, StreamValues) {
    let (mut streams, mut values) = (Vec::new(), StreamValues::default());
    for entry in tree.section("streams") {
        // The last round of interpolation removes the escapes; the `uri` of a stream cannot refer to a stream.
        match interpolate::stream_values(&entry.value, None, &StreamValues::default()) {
            Ok(value) if value.as_map().is_some() => {
                let Some((uri, own)) = problems.note(with_values(entry, &value)) else {
                    continue;
                };
                values.own.insert(entry.key.clone(), own);
                streams.push(listed_stream(entry, uri, &mut values));
            }
            Ok(value) => match value.as_text().filter(|text| !text.is_empty()) {
                Some(uri) if !value.is_null() => {
                    streams.push(listed_stream(entry, uri.to_owned(), &mut values));
                }
                _ => problems.push(Problem::at(
                    &entry.key_span,
                    format!("the stream `{}` has no address", entry.key),
                )),
            },
            Err(found) => problems.extend(found),
        }
    }
    (streams, values)
}

/// Creates a stream and records where its `uri` was given.
fn listed_stream(entry: &Entry, uri: String, values: &mut StreamValues) -> StreamSpec {
    if redact(&uri) == uri {
        let given = entry.value.get("uri").map(|uri| &uri.value);
        let place = given.unwrap_or(&entry.value).span.clone();
        values.uri_places.insert(entry.key.clone(), place);
    }
    StreamSpec {
        name: entry.key.clone(),
        uri,
    }
}

/// Reads a stream that is written as a map: its `uri`, and the values that nodes refer to as `${stream.KEY}`.
fn with_values(entry: &Entry, block: &Tree) -> Result<(String, BTreeMap<String, String>), Problem> {
    let mut own = BTreeMap::new();
    for part in block.as_map().unwrap_or_default() {
        if part.value.is_null() {
            // A null value counts as absent, so the default applies.
            continue;
        }
        let Some(text) = part.value.as_text() else {
            let message = format!(
                "`{}` of a stream must be a single value, but this is {}",
                part.key,
                part.value.kind()
            );
            return Err(Problem::at(&part.key_span, message));
        };
        if part.key == "name" {
            let message = "a stream has its name already: the key before it";
            return Err(Problem::at(&part.key_span, message));
        }
        own.insert(part.key.clone(), text.to_owned());
    }
    match own.remove("uri").filter(|uri| !uri.is_empty()) {
        Some(uri) => Ok((uri, own)),
        None => Err(Problem::at(
            &entry.key_span,
            format!("the stream `{}` has no address", entry.key),
        )
        .help("give it a `uri`")),
    }
}

/// Refuses values of streams that no node uses: with a mistyped key, the default would silently apply.
fn check_values_are_used(tree: &Tree, problems: &mut Problems) {
    let mut names = BTreeSet::new();
    for node in tree.section("nodes") {
        interpolate::names_below(&node.value, &mut names);
    }
    let own = names.iter().filter_map(|name| name.strip_prefix("stream."));
    let used: Vec<&str> = own.filter(|key| !STREAM_KEYS.contains(key)).collect();
    for stream in tree.section("streams") {
        for part in stream.value.as_map().unwrap_or_default() {
            let key = part.key.as_str();
            if STREAM_KEYS.contains(&key) || used.contains(&key) {
                continue;
            }
            let message = format!("no node uses the `{key}` of stream `{}`", stream.key);
            let problem = Problem::at(&part.key_span, message);
            problems.push(if used.is_empty() {
                problem.help(format!("nodes refer to it as `${{stream.{key}}}`"))
            } else {
                problem.did_you_mean(key, used.iter().copied())
            });
        }
    }
}

fn provider(
    name: &Entry,
    block: &Tree,
    registry: &Registry,
    problems: &mut Problems,
) -> Option<ProviderSpec> {
    let text = name.value.as_text().unwrap_or_default();
    let Some(provider) = registry.provider(text) else {
        let known = registry.providers().map(|provider| provider.name);
        let message = format!("there is no provider of streams `{text}`");
        let problem = Problem::at(&name.value.span, message).did_you_mean(text, known);
        problems.push(problem.of_unknown_name());
        return None;
    };
    let open = part::<usize>(block, "open").and_then(|open| {
        let open = open.unwrap_or(1);
        within(block, "open", open, MOST_OPEN).map(|()| open)
    });
    let open = problems.note(open)?;
    let own = block.as_map().unwrap_or_default().iter();
    let own = own.filter(|entry| !ENGINE_KEYS.contains(&entry.key.as_str()));
    let own = Tree {
        value: Value::Map(own.cloned().collect()),
        // Missing settings are reported at the name.
        span: name.value.span.clone(),
    };
    let settings = match interpolate::stream_values(&own, None, &StreamValues::default()) {
        Ok(settings) => Settings(Arc::new(settings)),
        Err(found) => {
            problems.extend(found);
            return None;
        }
    };
    let read = provider.read(&settings);
    problems.note(read.map_err(SettingsError::into_problem))?;
    Some(ProviderSpec {
        name: text.to_owned(),
        open,
        settings,
    })
}
