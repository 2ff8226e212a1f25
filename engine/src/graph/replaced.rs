//! Which files a run would write over that it must not: what it reads, and what its program keeps beside its outputs.
//! Looks at the disk, so that another spelling or a link is no way around it.

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

/// Files that must stay, and what each is.
type Taken = BTreeMap<Identity, String>;

impl Graph {
    /// No node may write this file; `what` goes on where a message says "which …".
    pub fn keep(&mut self, path: PathBuf, what: &str) {
        self.kept.push((path, what.to_owned()));
    }

    pub(super) fn read_from(mut self, files: Vec<PathBuf>) -> Self {
        for file in files {
            self.keep(file, "the graph is in");
        }
        self
    }

    /// Whether neither a node nor the program, which writes `beside`, writes over what the graph reads or was read
    /// from, over each other's files, over files [that are kept](Self::keep), or in the place of what is no file (a
    /// device).
    ///
    /// # Errors
    /// Each path that would be lost.
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

    /// The same for a stream that is added beside others: what is written for it, and what it reads.
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
            // What cannot be read any more does not run.
            read_settings(nodes, registry, &mut Problems::default())
        };
        // Mostly nothing is there that could be lost, and then nobody else has to be asked.
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

    /// All files that the graph reads, as far as its actors know them before they run.
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
    /// Notes what it reads.
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

/// What would be lost, or surprise somebody, if a sink wrote to this path.
fn lost(path: &Path, taken: &Taken) -> Option<String> {
    if path == Path::new("-") {
        let message = "`-` would be a file of that name: the standard output is the summary's; write `./-` if that is meant";
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

/// What a sink with this path writes: the file, and before that what is not complete.
fn written(path: &Path) -> [PathBuf; 2] {
    let mut part = path.file_name().unwrap_or_default().to_owned();
    part.push(".part");
    [path.to_owned(), path.with_file_name(part)]
}

/// The one entry of a file in its folder, whatever leads to it: another spelling, a link, another mount of the folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Entry {
        device: u64,
        folder: u64,
        name: OsString,
    },
    /// Where there is no folder.
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
