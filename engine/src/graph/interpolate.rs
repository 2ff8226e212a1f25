//! Interpolation of `${…}` in graph files: parameters, the environment, the run and the stream.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::names::first_name;
use super::place::Span;
use super::problem::{Problem, Problems};
use super::spec::{StreamSpec, StreamValues};
use super::tree::{Entry, Quoting, Tree, Value};

/// Values that `${…}` may refer to.
#[derive(Clone, Copy)]
pub(crate) struct Scope<'a> {
    /// Parameters by name.
    pub(crate) params: &'a BTreeMap<String, String>,
    /// Parameters that are declared without a value and were not given one.
    pub(crate) missing: &'a BTreeSet<String>,
    pub(crate) env: &'a BTreeMap<String, String>,
    pub(crate) run_dir: &'a Path,
    pub(crate) run_name: &'a str,
    /// Templates of parameters, by name, for writing out the graph; in them, references to the environment stay
    /// `${env.NAME}`.
    pub(crate) written: Option<&'a BTreeMap<String, String>>,
}

/// Replaces everything except `${stream.…}`, which depends on the node's instance. Escapes (`$${`) are kept.
pub(crate) fn graph_values(tree: &Tree, scope: &Scope<'_>) -> Result<Tree, Problems> {
    replace(tree, false, &|name| scope.lookup(name))
}

/// Replaces only environment variables, which is all that values of parameters may refer to.
pub(crate) fn environment_values(
    tree: &Tree,
    env: &BTreeMap<String, String>,
) -> Result<Tree, Problems> {
    replace(tree, true, &|name| match name.strip_prefix("env.") {
        Some(variable) => Ok(Found::from(env.get(variable))),
        None => Err(Unusable::new(
            "a parameter's value may refer to the environment only (`${env.NAME}`)",
        )),
    })
}

/// Returns a parameter's value as it is written out: references to the environment and escapes are kept.
pub(crate) fn written_value(tree: &Tree, env: &BTreeMap<String, String>) -> Result<Tree, Problems> {
    replace(tree, false, &|name| {
        let variable = name.strip_prefix("env.").unwrap_or_default();
        Ok(if env.contains_key(variable) {
            Found::Kept
        } else {
            Found::Absent
        })
    })
}

/// Returns the names of the references in a text.
pub(crate) fn names_in(text: &str) -> Vec<&str> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let inside = &rest[at + 2..];
        if !rest[..at].ends_with('$')
            && let Some(end) = inside.find('}')
        {
            let reference = &inside[..end];
            names.push(
                reference
                    .split_once(":-")
                    .map_or(reference, |(name, _)| name),
            );
        }
        rest = inside;
    }
    names
}

/// Collects the names of the references below a tree.
pub(crate) fn names_below<'a>(tree: &'a Tree, names: &mut BTreeSet<&'a str>) {
    match &tree.value {
        Value::Scalar { text, .. } => names.extend(names_in(text)),
        Value::List(items) => items.iter().for_each(|item| names_below(item, names)),
        Value::Map(entries) => {
            for entry in entries {
                names_below(&entry.value, names);
            }
        }
    }
}

/// Replaces `${stream.…}` and unescapes `$${`. A value that is just `${stream.uri}` gets the place where the stream was
/// given, so that problems with it are shown there.
///
/// A stream that returned (`door.2`) has the values of the first one (`door`).
pub(crate) fn stream_values(
    tree: &Tree,
    stream: Option<&StreamSpec>,
    values: &StreamValues,
) -> Result<Tree, Problems> {
    replace(tree, true, &|name| match (name, stream) {
        ("stream.name", Some(stream)) => Ok(Found::Value(stream.name.clone())),
        ("stream.uri", Some(stream)) => Ok(match values.uri_places.get(&stream.name) {
            Some(place) => Found::Placed(stream.uri.clone(), place.clone()),
            None => Found::Value(stream.uri.clone()),
        }),
        (_, None) => Err(Unusable::new(
            "`${stream.…}` is used in a node that all streams share; it needs `each: stream`",
        )),
        (name, Some(stream)) => {
            let first = first_name(&stream.name);
            let key = name.strip_prefix("stream.").unwrap_or(name);
            Ok(Found::from(
                values.own.get(first).and_then(|own| own.get(key)),
            ))
        }
    })
}

enum Found {
    Value(String),
    /// A value that was written elsewhere.
    Placed(String, Span),
    /// A value that still contains escapes, and references that stay.
    Template(String),
    Absent,
    /// To be replaced in a later round.
    Later,
    /// Not to be replaced.
    Kept,
}

impl From<Option<&String>> for Found {
    fn from(value: Option<&String>) -> Self {
        value.map_or(Self::Absent, |value| Self::Value(value.clone()))
    }
}

struct Unusable {
    message: String,
    help: Option<String>,
}

impl Unusable {
    fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }
}

impl Scope<'_> {
    fn lookup(&self, name: &str) -> Result<Found, Unusable> {
        if name.starts_with("stream.") {
            return Ok(Found::Later);
        }
        if let Some(variable) = name.strip_prefix("env.") {
            return Ok(match self.env.get(variable) {
                Some(_) if self.written.is_some() => Found::Kept,
                value => Found::from(value),
            });
        }
        match name {
            "run.dir" => return Ok(Found::Value(self.run_dir.display().to_string())),
            "run.name" => return Ok(Found::Value(self.run_name.to_owned())),
            _ => {}
        }
        if self.missing.contains(name) {
            return Ok(Found::Absent);
        }
        if let Some(template) = self.written.and_then(|written| written.get(name)) {
            return Ok(Found::Template(template.clone()));
        }
        if let Some(value) = self.params.get(name) {
            return Ok(Found::Value(value.clone()));
        }
        let known = self.params.keys().chain(self.missing).map(String::as_str);
        let known: Vec<&str> = known
            .chain(["run.dir", "run.name", "stream.name", "stream.uri"])
            .collect();
        let alike = super::problem::most_alike(name, known.iter().copied());
        Err(Unusable {
            message: format!("`${{{name}}}` refers to nothing"),
            help: Some(alike.map_or_else(
                || {
                    format!(
                        "declare it under `params:`; known: {}",
                        super::problem::listed(&known)
                    )
                },
                |alike| format!("did you mean `${{{alike}}}`?"),
            )),
        })
    }
}

type Lookup<'a> = dyn Fn(&str) -> Result<Found, Unusable> + 'a;

/// Replaces references in a tree. `last`: no later round follows, so escapes are removed.
fn replace(tree: &Tree, last: bool, lookup: &Lookup<'_>) -> Result<Tree, Problems> {
    let mut problems = Problems::default();
    let replaced = walk(tree, last, lookup, &mut problems);
    problems.or_ok(replaced)
}

fn walk(tree: &Tree, last: bool, lookup: &Lookup<'_>, problems: &mut Problems) -> Tree {
    let value = match &tree.value {
        Value::Scalar { text, quoting } => {
            return match scalar(text, *quoting, &tree.span, last, lookup) {
                Ok(scalar) => scalar,
                Err(problem) => {
                    problems.push(problem);
                    tree.clone()
                }
            };
        }
        Value::List(items) => {
            let items = items.iter();
            Value::List(
                items
                    .map(|item| walk(item, last, lookup, problems))
                    .collect(),
            )
        }
        Value::Map(entries) => {
            let entries = entries.iter().map(|entry| Entry {
                key: entry.key.clone(),
                key_span: entry.key_span.clone(),
                value: walk(&entry.value, last, lookup, problems),
            });
            Value::Map(entries.collect())
        }
    };
    Tree {
        value,
        span: tree.span.clone(),
    }
}

fn scalar(
    text: &str,
    quoting: Quoting,
    span: &Span,
    last: bool,
    lookup: &Lookup<'_>,
) -> Result<Tree, Problem> {
    let mut out = String::new();
    let mut rest = text;
    let mut replaced = false;
    let mut elsewhere = None;
    while let Some(at) = rest.find("${") {
        if rest[..at].ends_with('$') {
            literal(&mut out, &rest[..at - 1], last);
            out.push_str(if last { "${" } else { "$${" });
            rest = &rest[at + 2..];
            continue;
        }
        literal(&mut out, &rest[..at], last);
        let inside = &rest[at + 2..];
        let Some(end) = inside.find('}') else {
            return Err(
                Problem::at(span, "`${` without its `}`").help("write `$${` for a literal `${`")
            );
        };
        let reference = &inside[..end];
        match value_of(reference, span, lookup)? {
            Meant::Value(value, place) => {
                replaced = true;
                elsewhere = place;
                literal(&mut out, &value, last);
            }
            Meant::Template(template)
                if !(out.ends_with('$') && template.starts_with(['$', '{'])) =>
            {
                replaced = true;
                out.push_str(&template);
            }
            Meant::Reference if out.ends_with('$') => {
                let message =
                    format!("a value that ends in `$` stands right before `${{{reference}}}`");
                return Err(Problem::at(span, message)
                    .help("put something between them: together they would read as `$${`"));
            }
            Meant::Reference | Meant::Kept if !out.ends_with('$') => {
                out.push_str("${");
                out.push_str(reference);
                out.push('}');
            }
            // It cannot be written so that it could be read again.
            _ => out.push_str("***"),
        }
        rest = &inside[end + 1..];
    }
    literal(&mut out, rest, last);
    let is_whole = replaced && whole_reference(text);
    let quoting = match quoting {
        _ if is_whole => Quoting::Plain,
        // Text that was assembled from parts stays text, whatever it looks like.
        Quoting::Plain if replaced => Quoting::Quoted,
        quoting => quoting,
    };
    let span = elsewhere
        .filter(|_| is_whole)
        .unwrap_or_else(|| span.clone());
    Ok(Tree::scalar(out, quoting, span))
}

/// Appends literal text. A later round must not find a reference in it, nor across its boundary with the preceding
/// text.
fn literal(out: &mut String, text: &str, last: bool) {
    if last {
        out.push_str(text);
        return;
    }
    if out.ends_with('$') && text.starts_with('{') {
        out.push('$');
    }
    out.push_str(&text.replace("${", "$${"));
}

/// The replacement of a reference.
enum Meant {
    /// A value, with the place where it was written if that is elsewhere.
    Value(String, Option<Span>),
    Template(String),
    /// The reference itself, for a later round.
    Reference,
    /// The reference itself.
    Kept,
}

fn value_of(reference: &str, span: &Span, lookup: &Lookup<'_>) -> Result<Meant, Problem> {
    let (name, default) = match reference.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (reference, None),
    };
    match lookup(name) {
        Ok(Found::Value(value)) => Ok(Meant::Value(value, None)),
        Ok(Found::Placed(value, place)) => Ok(Meant::Value(value, Some(place))),
        Ok(Found::Template(template)) => Ok(Meant::Template(template)),
        Ok(Found::Later) => Ok(Meant::Reference),
        Ok(Found::Kept) => Ok(Meant::Kept),
        Ok(Found::Absent) => default
            .map(|default| Meant::Value(default.to_owned(), None))
            .ok_or_else(|| absent(name, span)),
        Err(Unusable { message, help }) => {
            let problem = Problem::at(span, message);
            Err(match help {
                Some(help) => problem.help(help),
                None => problem,
            })
        }
    }
}

/// Returns whether a text is a single reference, so that it takes the type of the value it refers to.
fn whole_reference(text: &str) -> bool {
    text.starts_with("${") && text.find('}') == Some(text.len() - 1)
}

fn absent(name: &str, span: &Span) -> Problem {
    match name.strip_prefix("env.") {
        Some(variable) => Problem::at(
            span,
            format!("the environment variable `{variable}` is not set"),
        )
        .help(format!("set it, or give a default: `${{{name}:-…}}`")),
        None if name.starts_with("stream.") => Problem::at(
            span,
            format!("a stream has no `{name}` of its own"),
        )
        .help(format!(
            "every stream has `${{stream.name}}` and `${{stream.uri}}`; others are given as in `streams: {{door: {{uri: door.mp4, {}: …}}}}`, or have a default: `${{{name}:-…}}`",
            name.trim_start_matches("stream.")
        )),
        None => Problem::at(span, format!("the parameter `{name}` has no value"))
            .help(format!("give it with `--param {name}=…`")),
    }
}
