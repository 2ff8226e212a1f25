//! Turns files and overrides into one tree: reading, including, and evaluating parameters.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::interpolate::{self, Scope};
use super::load_options::LoadOptions;
use super::names::valid_name_at;
use super::place::Source;
use super::problem::{Problem, Problems};
use super::secrets::Secrets;
use super::streams;
use super::taint::Taint;
use super::text_file::read_text;
use super::tree::{Entry, Quoting, Scalar, Tree, Value, resolve};

const KEYS: [&str; 8] = [
    "fermata", "name", "include", "params", "machines", "streams", "nodes", "run",
];

/// A graph file after includes, overrides and all replacements that do not depend on streams.
pub(crate) struct Merged {
    pub(crate) tree: Tree,
    /// The tree as it may be written out: with `${env.NAME}` unexpanded, and without secrets.
    pub(crate) written: Tree,
    /// The tree before any reference was replaced.
    pub(crate) given: Tree,
    pub(crate) name: String,
}

/// The parameters of a graph.
#[derive(Default)]
struct Params {
    values: BTreeMap<String, String>,
    /// Values as they are written out; see [`Scope::written`].
    written: BTreeMap<String, String>,
    /// Parameters without a value.
    missing: BTreeSet<String>,
}

/// Maximum depth of includes.
const MOST_DEEP: usize = 16;
/// Maximum number of files in a graph, each counted as often as it is read.
const MOST_FILES: usize = 256;

/// Files that are being included.
#[derive(Default)]
pub(crate) struct Included {
    /// Paths of the open files, each included by the one before.
    open: Vec<PathBuf>,
    /// Paths of all files read, each as often as it was read.
    pub(crate) read: Vec<PathBuf>,
}

/// Reads a file and its includes; returns the paths of all files read.
pub(crate) fn read(path: &Path) -> Result<(Tree, Vec<PathBuf>), Problems> {
    let text = read_text(path).map_err(|error| {
        Problem::nowhere(format!(
            "cannot read the graph file {}: {error}",
            path.display()
        ))
    })?;
    let mut so_far = Included::default();
    so_far.read.push(path.to_owned());
    let tree = with_includes(&path.display().to_string(), text, path, &mut so_far)?;
    Ok((tree, so_far.read))
}

/// Parses a text; its includes are resolved relative to `path`.
pub(crate) fn with_includes(
    name: &str,
    text: String,
    path: &Path,
    so_far: &mut Included,
) -> Result<Tree, Problems> {
    let tree = Tree::parse(&Source::new(name, text))?;
    check_top(&tree)?;
    let includes: Vec<Tree> = match tree.get("include").map(|entry| &entry.value) {
        None => return Ok(tree),
        Some(list) => match &list.value {
            Value::List(items) => items.clone(),
            _ => vec![list.clone()],
        },
    };
    let here = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    so_far.open.push(here);
    let mut merged: Option<Tree> = None;
    let mut problems = Problems::default();
    for include in &includes {
        match included(include, path, so_far) {
            Ok(tree) => match &mut merged {
                Some(merged) => merged.overlay(tree),
                None => merged = Some(tree),
            },
            Err(found) => {
                problems.extend(found);
                // Each further include may bring as many files again.
                if so_far.read.len() > MOST_FILES {
                    break;
                }
            }
        }
    }
    so_far.open.pop();
    let Some(mut merged) = problems.or_ok(merged)? else {
        return Ok(tree);
    };
    merged.overlay(tree);
    if let Value::Map(entries) = &mut merged.value {
        entries.retain(|entry| entry.key != "include");
    }
    Ok(merged)
}

fn included(include: &Tree, path: &Path, so_far: &mut Included) -> Result<Tree, Problems> {
    let Some(file) = include.as_text().filter(|text| !text.is_empty()) else {
        let message = format!(
            "expected the name of a file, but this is {}",
            include.kind()
        );
        return Err(Problem::at(&include.span, message).into());
    };
    let beside = path.parent().unwrap_or(Path::new(".")).join(file);
    so_far.read.push(beside.clone());
    let too_much = |message| Err(Problem::at(&include.span, message).into());
    if so_far.open.len() > MOST_DEEP {
        return too_much(format!(
            "files include each other more than {MOST_DEEP} deep"
        ));
    }
    if so_far.read.len() > MOST_FILES {
        return too_much(format!("more than {MOST_FILES} files are included"));
    }
    let text = read_text(&beside).map_err(|error| {
        Problem::at(
            &include.span,
            format!("cannot read {}: {error}", beside.display()),
        )
    })?;
    let canonical = beside.canonicalize().unwrap_or_else(|_| beside.clone());
    if so_far.open.contains(&canonical) {
        return Err(Problem::at(&include.span, format!("`{file}` includes itself")).into());
    }
    with_includes(&beside.display().to_string(), text, &beside, so_far)
}

/// Checks the top level of a single file.
fn check_top(tree: &Tree) -> Result<(), Problems> {
    let Some(entries) = tree.as_map() else {
        let message = format!("a graph file must be a map, but this is {}", tree.kind());
        return Err(Problem::at(&tree.span, message).into());
    };
    let mut problems = Problems::default();
    for entry in entries
        .iter()
        .filter(|entry| !KEYS.contains(&entry.key.as_str()))
    {
        problems.push(
            Problem::at(&entry.key_span, format!("unknown key `{}`", entry.key))
                .did_you_mean(&entry.key, KEYS),
        );
    }
    match tree.get("fermata") {
        None => problems.push(
            Problem::at(&start(tree), "the version of the file format is missing")
                .help("begin the file with `fermata: 1`"),
        ),
        Some(entry) if entry.value.as_text() != Some("1") => problems.push(Problem::at(
            &entry.value.span,
            "this program reads version 1 of the file format",
        )),
        Some(_) => {}
    }
    for section in ["params", "machines", "streams", "nodes", "run"] {
        if let Some(entry) = tree.get(section)
            && entry.value.as_map().is_none()
            && !entry.value.is_null()
        {
            let message = format!(
                "`{section}` must be a map, but this is {}",
                entry.value.kind()
            );
            problems.push(Problem::at(&entry.value.span, message));
        }
    }
    problems.or_ok(())
}

fn start(tree: &Tree) -> super::place::Span {
    let mut span = tree.span.clone();
    span.end = span.start;
    span
}

/// Applies the overrides and replaces every `${…}` that does not refer to a stream. Values that turn out to be secret
/// are added to `secrets`.
pub(crate) fn merge(
    mut tree: Tree,
    default_name: &str,
    options: &LoadOptions,
    secrets: &Secrets,
) -> Result<Merged, Problems> {
    // Arguments in the wrong place must not be shown either.
    let typed = &options.overrides;
    for argument in typed.params.iter().chain(&typed.streams).chain(&typed.set) {
        secrets.add_argument(argument);
    }
    secrets.learn(&tree);
    options.overrides.apply(&mut tree)?;
    // `--set` can create new keys at the top level.
    check_top(&tree)?;
    let name = graph_name(&tree, default_name)?;
    let mut problems = Problems::default();
    check_names(&tree, &mut problems);
    let params = params(&tree, options, &mut problems);
    let scope = Scope {
        params: &params.values,
        missing: &params.missing,
        env: &options.env,
        run_dir: &options.run_dir,
        run_name: &name,
        written: None,
    };
    let given = tree.clone();
    let mut taint = Taint::new(secrets, &params.values, &options.env);
    let mut written = replace_references(&mut tree, &scope, &params, &mut taint, &mut problems);
    taint.follow_params(&tree);
    if let Value::Map(entries) = &mut written.value {
        show_params(entries, &params.written);
        taint.hide_params(entries);
    }
    let written = secrets.hidden_tree(&written);
    problems.or_ok(Merged {
        tree,
        written,
        given,
        name,
    })
}

/// Checks the names of entries in sections.
fn check_names(tree: &Tree, problems: &mut Problems) {
    for (section, what) in [
        ("params", "a parameter"),
        ("machines", "a machine"),
        ("streams", "a stream"),
        ("nodes", "a node"),
    ] {
        // With a provider, the section holds the provider's settings.
        if section == "streams" && streams::provider_of(tree).is_some() {
            continue;
        }
        for entry in tree.section(section) {
            problems.note(valid_name_at(what, &entry.key, &entry.key_span));
        }
    }
}

/// Replaces references in streams, nodes and run settings, and returns the tree as it may be written out.
fn replace_references(
    tree: &mut Tree,
    scope: &Scope<'_>,
    params: &Params,
    taint: &mut Taint<'_>,
    problems: &mut Problems,
) -> Tree {
    let for_writing = Scope {
        written: Some(&params.written),
        ..*scope
    };
    let mut written = tree.clone();
    if let (Value::Map(entries), Value::Map(written)) = (&mut tree.value, &mut written.value) {
        for (entry, written) in entries.iter_mut().zip(written) {
            if !["streams", "nodes", "run"].contains(&entry.key.as_str()) {
                continue;
            }
            match interpolate::graph_values(&entry.value, scope) {
                Ok(value) => {
                    taint.follow(&entry.value, &value);
                    // If the references cannot be kept, the value is written out.
                    let kept = interpolate::graph_values(&entry.value, &for_writing);
                    written.value = kept.unwrap_or_else(|_| value.clone());
                    entry.value = value;
                }
                Err(found) => problems.extend(found),
            }
        }
    }
    written
}

fn graph_name(tree: &Tree, default_name: &str) -> Result<String, Problem> {
    match tree.get("name") {
        None => Ok(default_name.to_owned()),
        Some(entry) => {
            let name = entry.value.as_text().unwrap_or_default();
            valid_name_at("a graph", name, &entry.value.span)?;
            Ok(name.to_owned())
        }
    }
}

/// Reads the values of the parameters.
fn params(tree: &Tree, options: &LoadOptions, problems: &mut Problems) -> Params {
    let mut params = Params::default();
    for entry in tree.section("params") {
        if entry.value.is_null() {
            params.missing.insert(entry.key.clone());
            continue;
        }
        if entry.value.as_text().is_none() {
            let message = format!(
                "a parameter must be a single value, but `{}` is {}",
                entry.key,
                entry.value.kind()
            );
            problems.push(Problem::at(&entry.value.span, message));
            continue;
        }
        let text = |tree: Tree| tree.as_text().unwrap_or_default().to_owned();
        match interpolate::environment_values(&entry.value, &options.env) {
            Ok(value) => {
                let value = text(value);
                let written = interpolate::written_value(&entry.value, &options.env);
                let written = written.map_or_else(|_| value.replace("${", "$${"), text);
                params.written.insert(entry.key.clone(), written);
                params.values.insert(entry.key.clone(), value);
            }
            Err(found) => problems.extend(found),
        }
    }
    params
}

/// Sets the parameters of the resolved graph to the values that were used.
fn show_params(entries: &mut [Entry], written: &BTreeMap<String, String>) {
    let section = entries.iter_mut().find(|entry| entry.key == "params");
    if let Some(Value::Map(declared)) = section.map(|section| &mut section.value.value) {
        for entry in declared {
            if let Some(value) = written.get(&entry.key) {
                let span = entry.value.span.clone();
                let quoting = match resolve(value) {
                    // Unquoted, it would be a parameter without a value.
                    Scalar::Null => Quoting::Quoted,
                    _ => Quoting::Plain,
                };
                entry.value = Tree::scalar(value.as_str(), quoting, span);
            }
        }
    }
}
