//! Which files a run would write over that it must not: what it reads, and what its program keeps beside its outputs. Looks at the
//! disk, so that another spelling or a link is no way around it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::registry::{ActorType, Registry};

use super::problem::{Problem, Problems};
use super::settings::{Settings, SettingsError};
use super::spec::{Graph, NodeSpec};

/// A node instance with its settings.
struct Instance<'a> {
    node: &'a NodeSpec,
    name: String,
    settings: Settings,
    actor: &'a ActorType,
}

impl Graph {
    /// Whether neither a node nor the program, which writes `beside`, writes over what the graph reads, over each other's files, over
    /// `kept`, files of the program with what they are, or in the place of what is no file (a device).
    ///
    /// # Errors
    /// Each path that would be lost.
    pub fn check_replaced(
        &self,
        registry: &Registry,
        kept: &[(PathBuf, String)],
        beside: Option<&Path>,
    ) -> Result<(), Problems> {
        let mut problems = Problems::default();
        let instances = self.instances(registry, &mut problems);
        let mut taken: BTreeMap<Identity, String> = BTreeMap::new();
        for (path, what) in kept {
            taken.insert(identity(path), what.clone());
        }
        for instance in &instances {
            match instance.actor.reads(&instance.settings) {
                Ok(paths) => taken.extend(paths.iter().map(|path| {
                    let what = format!("`{}` reads", instance.name);
                    (identity(path), what)
                })),
                Err(error) => problems.push(SettingsError::into_problem(error)),
            }
        }
        if let Some(path) = beside {
            if let Some(message) = lost(path, &taken) {
                problems.push(Problem::nowhere(message));
            }
            taken.insert(identity(path), "the program writes itself".to_owned());
        }
        for instance in &instances {
            let ports = match instance.actor.ports(&instance.settings) {
                Ok(ports) => ports,
                Err(error) => {
                    problems.push(SettingsError::into_problem(error));
                    continue;
                }
            };
            for path in &ports.writes {
                if let Some(message) = lost(path, &taken) {
                    let problem = instance.node.problem(&instance.settings, message);
                    problems.push(problem);
                }
            }
        }
        problems
            .or_ok(())
            .map_err(|problems| problems.hiding(&self.secrets))
    }

    /// All files that the graph reads, as far as its actors know them before they run.
    pub fn reads(&self, registry: &Registry) -> Vec<PathBuf> {
        let instances = self.instances(registry, &mut Problems::default());
        let reads = |instance: &Instance| instance.actor.reads(&instance.settings);
        instances
            .iter()
            .filter_map(|instance| reads(instance).ok())
            .flatten()
            .collect()
    }

    fn instances<'a>(
        &'a self,
        registry: &'a Registry,
        problems: &mut Problems,
    ) -> Vec<Instance<'a>> {
        let mut instances = Vec::new();
        for node in &self.nodes {
            let Some(actor) = registry.get(&node.actor) else {
                continue;
            };
            for stream in self.instances_of(node) {
                match node.settings(stream) {
                    Ok(settings) => instances.push(Instance {
                        node,
                        name: match stream {
                            Some(stream) => format!("{}@{}", node.name, stream.name),
                            None => node.name.clone(),
                        },
                        settings,
                        actor,
                    }),
                    Err(found) => problems.extend(found),
                }
            }
        }
        instances
    }
}

/// What would be lost, or surprise somebody, if a sink wrote to this path.
fn lost(path: &Path, taken: &BTreeMap<Identity, String>) -> Option<String> {
    if path == Path::new("-") {
        let message = "`-` would be a file of that name: the standard output is the summary's; write `./-` if that is meant";
        return Some(message.to_owned());
    }
    let mut part = path.file_name().unwrap_or_default().to_owned();
    part.push(".part");
    for written in [path, &path.with_file_name(part)] {
        if let Some(what) = taken.get(&identity(written)) {
            let path = path.display();
            return Some(format!("it would write over {path}, which {what}"));
        }
    }
    let found = path.metadata().ok()?;
    (!found.is_file() && !found.is_dir()).then(|| {
        let path = path.display();
        format!("`{path}` is a device or a pipe, which a file would replace")
    })
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
