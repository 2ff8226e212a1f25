//! Files that node instances write: two instances that write the same path would destroy each other's file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::instance_name::InstanceName;

use super::place::Span;
use super::problem::{Problem, Problems};
use super::spec::StreamSpec;
use super::tree::Tree;

/// A node instance that writes.
#[derive(Clone, Copy)]
pub(crate) struct Writer<'a> {
    /// Name of the node.
    pub(crate) node: &'a str,
    /// The stream of an `each: stream` node.
    pub(crate) stream: Option<&'a str>,
    /// Settings as written; their span is that of the node's name.
    pub(crate) settings: &'a Tree,
}

impl Writer<'_> {
    fn name(&self) -> String {
        let Self { node, stream, .. } = *self;
        InstanceName { node, stream }.to_string()
    }

    /// Returns where the file gives a path: the setting with the same ending, or the node.
    fn place_of(&self, path: &Path) -> Span {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut settings = self.settings.as_map().unwrap_or_default().iter();
        let entry = settings.find(|entry| {
            let text = entry.value.as_text();
            text.is_some_and(|text| text.ends_with(&*name) || text.contains("${stream."))
        });
        entry.map_or_else(
            || self.settings.span.clone(),
            |entry| entry.value.span.clone(),
        )
    }
}

/// The paths that are written, and those that streams read.
#[derive(Default)]
pub(crate) struct Writers<'a> {
    writers: BTreeMap<PathBuf, Writer<'a>>,
    /// By the file's name while it is incomplete.
    parts: BTreeMap<PathBuf, Writer<'a>>,
    read: BTreeSet<PathBuf>,
}

impl<'a> Writers<'a> {
    /// Reserves the path that a stream reads.
    pub(crate) fn keep(&mut self, stream: &StreamSpec) {
        self.read.insert(plain(Path::new(&stream.uri)));
    }

    /// Records the paths that an instance writes, and reports conflicts.
    pub(crate) fn add(&mut self, writer: Writer<'a>, paths: &[PathBuf], problems: &mut Problems) {
        for path in paths {
            let key = plain(path);
            let span = writer.place_of(path);
            if self.read.contains(&key) {
                let message = format!(
                    "`{}` would write over {}, which a stream reads",
                    writer.name(),
                    path.display()
                );
                problems.push(Problem::at(&span, message));
            }
            let part = part_of(&key);
            let other = self.writers.get(&key);
            let other = other.or_else(|| self.parts.get(&key));
            let Some(other) = other.or_else(|| self.writers.get(&part)) else {
                self.writers.insert(key, writer);
                self.parts.insert(part, writer);
                continue;
            };
            let message = format!(
                "`{}` and `{}` both write {}",
                other.name(),
                writer.name(),
                path.display()
            );
            let problem = Problem::at(&span, message).also(&other.place_of(path), "the other one");
            problems.push(if other.node == writer.node {
                problem.help("put `${stream.name}` into the path")
            } else {
                problem
            });
        }
    }
}

/// Returns the name of a file while it is incomplete.
fn part_of(path: &Path) -> PathBuf {
    let mut part = path.file_name().unwrap_or_default().to_owned();
    part.push(".part");
    path.with_file_name(part)
}

/// Returns an absolute path without `.` and `..`, as far as possible without accessing the disk.
fn plain(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut plain = PathBuf::new();
    for component in absolute.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            component => plain.push(component),
        }
    }
    plain
}
