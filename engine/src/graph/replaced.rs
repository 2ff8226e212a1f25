//! Detects files that a run must not overwrite: those that it reads, and those that its program keeps beside its
//! outputs. Accesses the disk, so that other spellings and links are recognised.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::instance_name::InstanceName;
use crate::registry::{ActorType, Registry};

use super::problem::{Problem, Problems};
use super::settings::{Settings, SettingsError};
use super::spec::{Graph, NodeSpec, StreamSpec};

/// A node instance with its settings.
struct Instance<'a> {
    node: &'a NodeSpec,
    name: String,
    settings: Settings,
    actor: &'a ActorType,
}

/// Files that must be preserved, each with a description.
type Taken = BTreeMap<Identity, String>;

impl Graph {
    /// Forbids nodes to write this file; `what` completes messages after "which …".
    pub fn keep(&mut self, path: PathBuf, what: &str) {
        self.kept.push((path, what.to_owned()));
    }

    pub(super) fn read_from(mut self, files: Vec<PathBuf>) -> Self {
        for file in files {
            self.keep(file, "the graph is in");
        }
        self
    }

    /// Checks that neither the nodes nor the program, which writes `beside`, overwrite files that the graph reads or
    /// was read from, each other's files, files [that are kept](Self::keep), or something that is not a regular file (a
    /// device).
    ///
    /// # Errors
    /// Each path that would be overwritten.
    pub fn check_replaced(
        &self,
        registry: &Registry,
        beside: Option<&Path>,
    ) -> Result<(), Problems> {
        let mut problems = Problems::default();
        let instances = self.instances(registry, &mut problems);
        let mut taken = self.taken(registry, &instances, &mut problems);
        if let Some(path) = beside {
            if let Some(message) = lost(path, &taken) {
                problems.push(Problem::nowhere(message));
            }
            taken.insert(identity(path), "the program writes itself".to_owned());
        }
        for instance in &instances {
            for path in instance.writes(&mut problems) {
                if let Some(message) = lost(&path, &taken) {
                    let problem = instance.node.problem(&instance.settings, message);
                    problems.push(problem);
                }
            }
        }
        problems
            .or_ok(())
            .map_err(|problems| problems.hiding(&self.secrets))
    }

    /// Makes the same check for a stream that is added beside others, in both directions: what it writes and what it
    /// reads.
    pub(super) fn check_replaced_by_added(
        &self,
        registry: &Registry,
        stream: &StreamSpec,
        others: &[StreamSpec],
        problems: &mut Problems,
    ) {
        let of_each = self.nodes.iter().filter(|node| node.each_stream);
        let of_each = of_each.map(|node| (node, Some(stream.clone())));
        let added = read_settings(of_each, registry, problems);
        let before = || {
            let of = |node: &NodeSpec| {
                if node.each_stream {
                    others.iter().cloned().map(Some).collect()
                } else {
                    vec![None]
                }
            };
            let nodes = self.nodes.iter();
            let nodes = nodes.flat_map(|node| of(node).into_iter().map(move |of| (node, of)));
            // Settings that can no longer be read belong to instances that do not run.
            read_settings(nodes, registry, &mut Problems::default())
        };
        // Usually no file exists that could be overwritten, and the other instances need not be queried.
        let mut at_risk = Vec::new();
        for instance in &added {
            let writes = instance.writes(problems).into_iter();
            let present = writes.filter(|path| written(path).iter().any(|path| path.exists()));
            at_risk.extend(present.map(|path| (instance, path)));
        }
        if !at_risk.is_empty() {
            let mut taken = self.taken(registry, &before(), &mut Problems::default());
            for instance in &added {
                instance.read(&mut taken, problems);
            }
            for (instance, path) in at_risk {
                if let Some(message) = lost(&path, &taken) {
                    problems.push(instance.node.problem(&instance.settings, message));
                }
            }
        }
        let mut reads = Taken::new();
        for instance in &added {
            instance.read(&mut reads, problems);
        }
        if reads.is_empty() {
            return;
        }
        for instance in before() {
            for path in instance.writes(&mut Problems::default()) {
                if let Some(what) = taken_by(&path, &reads) {
                    let (writer, path) = (&instance.name, path.display());
                    let message = format!("`{writer}` writes {path}, which {what}");
                    problems.push(instance.node.problem(&instance.settings, message));
                }
            }
        }
    }

    /// Returns all files that the graph reads, as far as its actors know them before they run.
    pub fn reads(&self, registry: &Registry) -> Vec<PathBuf> {
        let instances = self.instances(registry, &mut Problems::default());
        let reads = |instance: &Instance| instance.actor.reads(&instance.settings);
        let of_instances = instances.iter().filter_map(|found| reads(found).ok());
        let of_provider = self.read_by_provider(registry).into_iter();
        of_instances.flatten().chain(of_provider).collect()
    }

    fn read_by_provider(&self, registry: &Registry) -> Vec<PathBuf> {
        let Some(spec) = &self.provider else {
            return Vec::new();
        };
        let provider = registry.provider(&spec.name);
        let reads = provider.and_then(|provider| provider.reads(&spec.settings).ok());
        reads.unwrap_or_default()
    }

    fn taken(
        &self,
        registry: &Registry,
        instances: &[Instance<'_>],
        problems: &mut Problems,
    ) -> Taken {
        let kept = self.kept.iter();
        let mut taken: Taken = kept
            .map(|(path, what)| (identity(path), what.clone()))
            .collect();
        if let Some(spec) = &self.provider {
            let what = format!("`{}` reads", spec.name);
            let read = self.read_by_provider(registry).into_iter();
            taken.extend(read.map(|path| (identity(&path), what.clone())));
        }
        for instance in instances {
            instance.read(&mut taken, problems);
        }
        taken
    }

    fn instances<'a>(
        &'a self,
        registry: &'a Registry,
        problems: &mut Problems,
    ) -> Vec<Instance<'a>> {
        let nodes = self.nodes.iter();
        let nodes = nodes.flat_map(|node| {
            let streams = self.instances_of(node).into_iter();
            streams.map(move |stream| (node, stream))
        });
        read_settings(nodes, registry, problems)
    }
}

fn read_settings<'a>(
    nodes: impl Iterator<Item = (&'a NodeSpec, Option<StreamSpec>)>,
    registry: &'a Registry,
    problems: &mut Problems,
) -> Vec<Instance<'a>> {
    let mut instances = Vec::new();
    for (node, stream) in nodes {
        let Some(actor) = registry.get(&node.actor) else {
            continue;
        };
        match node.settings(stream.as_ref()) {
            Ok(settings) => instances.push(Instance {
                node,
                name: InstanceName {
                    node: &node.name,
                    stream: stream.as_ref().map(|stream| &*stream.name),
                }
                .to_string(),
                settings,
                actor,
            }),
            Err(found) => problems.extend(found),
        }
    }
    instances
}

impl Instance<'_> {
    /// Records the files that it reads.
    fn read(&self, taken: &mut Taken, problems: &mut Problems) {
        match self.actor.reads(&self.settings) {
            Ok(paths) => taken.extend(paths.iter().map(|path| {
                let what = format!("`{}` reads", self.name);
                (identity(path), what)
            })),
            Err(error) => problems.push(SettingsError::into_problem(error)),
        }
    }

    fn writes(&self, problems: &mut Problems) -> Vec<PathBuf> {
        match self.actor.ports(&self.settings) {
            Ok(ports) => ports.writes,
            Err(error) => {
                problems.push(SettingsError::into_problem(error));
                Vec::new()
            }
        }
    }
}

/// Returns the reason why a sink must not write to this path, if there is one.
fn lost(path: &Path, taken: &Taken) -> Option<String> {
    if path == Path::new("-") {
        let message = "`-` would be a file of that name, since the summary goes to the standard output; write `./-` for such a file";
        return Some(message.to_owned());
    }
    if let Some(what) = taken_by(path, taken) {
        let path = path.display();
        return Some(format!("it would write over {path}, which {what}"));
    }
    let found = path.metadata().ok()?;
    (!found.is_file() && !found.is_dir()).then(|| {
        let path = path.display();
        format!("`{path}` is a device or a pipe, which a file would replace")
    })
}

fn taken_by<'a>(path: &Path, taken: &'a Taken) -> Option<&'a String> {
    let written = written(path);
    written.iter().find_map(|path| taken.get(&identity(path)))
}

/// Returns the files that a sink with this path writes: the final file and its incomplete form.
fn written(path: &Path) -> [PathBuf; 2] {
    let mut part = path.file_name().unwrap_or_default().to_owned();
    part.push(".part");
    [path.to_owned(), path.with_file_name(part)]
}

/// Identity of a file's entry in its folder, independent of spelling, links and mounts of the folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Entry {
        device: u64,
        folder: u64,
        name: OsString,
    },
    /// The path, if the folder does not exist.
    Path(PathBuf),
}

fn identity(path: &Path) -> Identity {
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path = path.canonicalize().unwrap_or_else(|_| absolute());
    let folder = path.parent().and_then(|folder| folder.metadata().ok());
    match (folder, path.file_name()) {
        (Some(folder), Some(name)) => Identity::Entry {
            device: folder.dev(),
            folder: folder.ino(),
            name: name.to_owned(),
        },
        _ => Identity::Path(path),
    }
}
