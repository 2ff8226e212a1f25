//! Changes to a graph from the command line: `--param`, `--stream`, `--set`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::place::{Source, Span};
use super::problem::{Problem, Problems};
use super::streams;
use super::tree::{Entry, Quoting, Tree, Value, extent, fits};

/// Changes to a graph file, as typed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `NAME=VALUE`: sets a declared parameter to a literal value.
    pub params: Vec<String>,
    /// `NAME=URI`: adds a stream, or rebinds a declared one.
    pub streams: Vec<String>,
    /// `PATH=VALUE`, such as `nodes.emotion.batch.max=8`: sets one value of the file; the value is YAML.
    pub set: Vec<String>,
}

/// An argument split at its first `=`, with the places of both halves.
struct Assignment {
    name: String,
    name_span: Span,
    value: String,
    value_span: Span,
}

fn split(option: &str, argument: &str) -> Result<Assignment, Problem> {
    let source = Source::argument(format!("--{option} {argument}"));
    let start = option.len() + 3;
    let span = |start, end| Span {
        source: Arc::clone(&source),
        start,
        end,
    };
    let whole = start + argument.len();
    match argument.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok(Assignment {
            name: name.to_owned(),
            name_span: span(start, start + name.len()),
            value: value.to_owned(),
            value_span: span(start + name.len() + 1, whole),
        }),
        _ => Err(Problem::at(
            &span(start, whole),
            format!("`--{option}` takes NAME=VALUE"),
        )),
    }
}

impl Assignment {
    /// Returns the place of the name when it is unknown. The value is left out of the excerpt, since it may be a
    /// secret.
    fn unknown(&self) -> Span {
        let text = &self.name_span.source.text[..self.value_span.start];
        Span {
            source: Source::argument(format!("{text}…")),
            ..self.name_span
        }
    }
}

impl Overrides {
    /// Applies `--param` and `--stream`, then `--set`, to the tree of a graph file.
    pub(crate) fn apply(&self, tree: &mut Tree) -> Result<(), Problems> {
        let mut problems = Problems::default();
        let mut given = Given::default();
        given.add("param", &self.params, &mut problems);
        for argument in &self.params {
            problems.note(split("param", argument).and_then(|assignment| param(tree, assignment)));
        }
        given.add("stream", &self.streams, &mut problems);
        for argument in &self.streams {
            problems
                .note(split("stream", argument).and_then(|assignment| stream(tree, assignment)));
        }
        given.add("set", &self.set, &mut problems);
        for argument in &self.set {
            problems.note(split("set", argument).and_then(|assignment| set(tree, &assignment)));
        }
        problems.or_ok(())
    }
}

/// The arguments given so far, as typed, by the path that they set.
#[derive(Default)]
struct Given(BTreeMap<String, String>);

impl Given {
    /// Reports arguments that set the same value, even in two spellings: the earlier one would be lost.
    fn add(&mut self, option: &str, arguments: &[String], problems: &mut Problems) {
        for argument in arguments {
            let Ok(Assignment {
                name, name_span, ..
            }) = split(option, argument)
            else {
                continue;
            };
            let typed = format!("--{option} {name}");
            let (path, leaf) = match option {
                "param" => (format!("params.{name}"), format!("params.{name}")),
                // The stream's other values in the file are kept.
                "stream" => (format!("streams.{name}"), format!("streams.{name}.uri")),
                _ => (name.clone(), name.clone()),
            };
            if let Some(earlier) = self.undone_by(&path) {
                let message = if *earlier == typed {
                    format!("`{name}` is given twice with --{option}")
                } else {
                    format!("`{typed}` would undo `{earlier}`")
                };
                problems.push(Problem::at(&name_span, message).help("leave one out"));
            }
            self.0.insert(leaf, typed);
        }
    }

    /// Returns the earlier argument that set the value at a path, or a part of it.
    fn undone_by(&self, path: &str) -> Option<&String> {
        let below = format!("{path}.");
        let mut parts = self.0.range(below.clone()..);
        let part = parts.next().filter(|(part, _)| part.starts_with(&below));
        self.0.get(path).or(part.map(|(_, typed)| typed))
    }
}

fn param(tree: &mut Tree, assignment: Assignment) -> Result<(), Problem> {
    let declared: Vec<String> = tree
        .get("params")
        .and_then(|params| params.value.as_map())
        .map(|params| params.iter().map(|entry| entry.key.clone()).collect())
        .unwrap_or_default();
    if !declared.contains(&assignment.name) {
        let message = format!("the graph has no parameter `{}`", assignment.name);
        return Err(Problem::at(&assignment.unknown(), message)
            .did_you_mean(&assignment.name, declared.iter().map(String::as_str)));
    }
    // Dollars are doubled because the file's own values may refer to the environment and typed ones may not.
    let value = Tree::scalar(
        assignment.value.replace("${", "$${"),
        Quoting::Plain,
        assignment.value_span,
    );
    put(
        tree,
        &["params", &assignment.name],
        &assignment.name_span,
        value,
    )
}

fn stream(tree: &mut Tree, assignment: Assignment) -> Result<(), Problem> {
    if assignment.value.is_empty() {
        return Err(Problem::at(
            &assignment.name_span,
            format!("the stream `{}` has no address", assignment.name),
        ));
    }
    if let Some(provider) = streams::provider_of(tree) {
        let name = provider.value.as_text().unwrap_or_default();
        return Err(Problem::at(
            &assignment.name_span,
            format!("the graph's streams come from `{name}`, so none can be given here"),
        )
        .help("change the provider's settings with `--set streams.NAME=VALUE`"));
    }
    let value = Tree::scalar(
        assignment.value.replace("${", "$${"),
        Quoting::Plain,
        assignment.value_span,
    );
    // The stream's other values in the file are kept.
    let written = tree.section("streams").iter();
    let is_map = written
        .filter(|entry| entry.key == assignment.name)
        .any(|entry| entry.value.as_map().is_some());
    let path: &[&str] = if is_map {
        &["streams", &assignment.name, "uri"]
    } else {
        &["streams", &assignment.name]
    };
    put(tree, path, &assignment.name_span, value)
}

fn set(tree: &mut Tree, assignment: &Assignment) -> Result<(), Problem> {
    let path: Vec<&str> = assignment.name.split('.').collect();
    if path.iter().any(|part| part.is_empty()) {
        return Err(Problem::at(
            &assignment.name_span,
            "a path consists of names separated by single dots, such as `nodes.detect.every`",
        ));
    }
    if let ["nodes", node, ..] = path.as_slice() {
        let nodes = tree.get("nodes").and_then(|nodes| nodes.value.as_map());
        let nodes = nodes.unwrap_or_default();
        if !nodes.iter().any(|entry| entry.key == *node) {
            let message = format!("the graph has no node `{node}`");
            return Err(Problem::at(&assignment.unknown(), message)
                .did_you_mean(node, nodes.iter().map(|entry| entry.key.as_str())));
        }
    }
    let mut value = Tree::parse(&Source::new("command line", assignment.value.as_str()))?;
    if assignment.value.trim().is_empty() {
        value = Tree::scalar("", Quoting::Plain, assignment.value_span.clone());
    }
    let (_, height) = extent(&value);
    fits(path.len() + height, &assignment.name_span)?;
    place_all(&mut value, &assignment.value_span);
    put(tree, &path, &assignment.name_span, value)
}

/// Sets the span of every part of a value to the argument it came from.
fn place_all(tree: &mut Tree, span: &Span) {
    tree.span = span.clone();
    match &mut tree.value {
        Value::Scalar { .. } => {}
        Value::List(items) => items.iter_mut().for_each(|item| place_all(item, span)),
        Value::Map(entries) => {
            for entry in entries {
                entry.key_span = span.clone();
                place_all(&mut entry.value, span);
            }
        }
    }
}

/// Sets the value at a path, creating maps on the way.
fn put(tree: &mut Tree, path: &[&str], key_span: &Span, value: Tree) -> Result<(), Problem> {
    let Some((first, rest)) = path.split_first() else {
        *tree = value;
        return Ok(());
    };
    if tree.is_null() {
        *tree = Tree::empty_map(key_span.clone());
    }
    let kind = tree.kind();
    let Value::Map(entries) = &mut tree.value else {
        return Err(Problem::at(
            key_span,
            format!("`{first}` cannot be set inside {kind}"),
        ));
    };
    let index = match entries.iter().position(|entry| entry.key == *first) {
        Some(index) => index,
        None => {
            entries.push(Entry {
                key: (*first).to_owned(),
                key_span: key_span.clone(),
                value: Tree::empty_map(key_span.clone()),
            });
            entries.len() - 1
        }
    };
    put(&mut entries[index].value, rest, key_span, value)
}
