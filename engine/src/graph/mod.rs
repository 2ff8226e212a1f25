//! Graph files: reading, checking and resolving them. Running them is elsewhere.
//!
//! A file goes through these rooms: `tree` (YAML with places), `file` (includes, overrides, parameters), `streams` and
//! `node` (one block), `build` (ports and connections), `check` (the graph as a whole; `types`, `writes` and `sizes` are its
//! larger questions), and comes out as a [`Graph`]. `added` asks the same of a stream that comes while the graph runs.

mod added;
mod build;
mod check;
mod file;
mod instance;
mod interpolate;
mod load_options;
mod names;
mod node;
mod overrides;
mod place;
mod problem;
mod redact;
mod render;
mod schema;
pub(crate) mod settings;
mod sizes;
pub(crate) mod spec;
mod streams;
mod tree;
mod types;
mod wired;
mod writes;

use std::path::Path;

use crate::registry::Registry;
use crate::services::Services;

pub use load_options::LoadOptions;
pub use overrides::Overrides;
pub use problem::{Problem, Problems};
pub use redact::redact;
pub use schema::schema;
pub use settings::{Settings, SettingsError};
pub use spec::{
    BatchSpec, DEFAULT_CAPACITY, Graph, InputSpec, NodeSpec, OnError, OutputRef, ProviderSpec,
    QueueSpec, Require, RestartSpec, RunSpec, StreamSpec, WhenFull,
};

impl Graph {
    /// Reads and checks a graph file. Nothing is created or opened besides the file and what it includes.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path, registry: &Registry, options: &LoadOptions) -> Result<Self, Problems> {
        let tree = file::read(path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let merged = file::merge(tree, &names::fitting_name(&stem), options)?;
        build::build(merged, registry, options)
    }

    /// Reads and checks a graph from a text; `name` stands for the file in messages. Includes are looked for in the
    /// current folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(
        name: &str,
        text: &str,
        registry: &Registry,
        options: &LoadOptions,
    ) -> Result<Self, Problems> {
        let tree = file::with_includes(name, text.to_owned(), Path::new(name), &mut Vec::new())?;
        let merged = file::merge(tree, "graph", options)?;
        build::build(merged, registry, options)
    }

    /// Asks every actor whether what its settings name is there (a model file, a device). Nothing is created.
    ///
    /// # Errors
    /// Everything that is missing.
    pub fn check(&self, registry: &Registry) -> Result<(), Problems> {
        let mut problems = Problems::default();
        if let Some(spec) = &self.provider
            && let Some(provider) = registry.provider(&spec.name)
            && let Err(error) = provider.check(&spec.settings)
        {
            let message = redact(&error.to_string());
            problems.push(spec.problem(message));
        }
        for node in &self.nodes {
            let streams: Vec<Option<&StreamSpec>> = match node.each_stream {
                true => self.streams.iter().map(Some).collect(),
                false => vec![None],
            };
            for stream in streams {
                let settings = match node.settings(stream) {
                    Ok(settings) => settings,
                    Err(found) => {
                        problems.extend(found);
                        continue;
                    }
                };
                let actor = registry.get(&node.actor);
                if let Some(Err(error)) = actor.map(|actor| actor.check(&settings)) {
                    let message = redact(&error.to_string());
                    let place = stream.and_then(|stream| self.place_of(stream, &message));
                    let mut problem = node.problem(&settings, message);
                    if let Some(place) = place {
                        problem = problem.placed(place);
                    }
                    if !problems
                        .iter()
                        .any(|known| known.to_string() == problem.to_string())
                    {
                        problems.push(problem);
                    }
                }
            }
        }
        problems.or_ok(())
    }

    /// Where a stream was given that a message quotes: in the file, or on the command line.
    fn place_of(&self, stream: &StreamSpec, message: &str) -> Option<&place::Span> {
        let streams = self.resolved.section("streams");
        let entry = streams.iter().find(|entry| entry.key == stream.name)?;
        let uri = entry
            .value
            .get("uri")
            .map_or(&entry.value, |uri| &uri.value);
        message.contains(&stream.uri).then_some(&uri.span)
    }

    /// Whether the program has all services that the actors of the graph cannot do without.
    ///
    /// # Errors
    /// Everything that is missing.
    pub fn check_services(&self, services: &Services) -> Result<(), Problems> {
        let mut problems = Problems::default();
        for node in &self.nodes {
            for need in node.ports.needs.iter().filter(|need| !services.has(need)) {
                problems.push(Problem::nowhere(format!(
                    "`{}` (node `{}`) needs `{}`, which this program does not give it",
                    node.actor, node.name, need.name
                )));
            }
        }
        problems.or_ok(())
    }

    /// Whether the graph has a source that is waiting for somebody to give it streams.
    pub fn takes_streams(&self) -> bool {
        if self.provider.is_some() {
            return false;
        }
        let mut sources = self.nodes.iter().filter(|node| node.inputs.is_empty());
        sources.any(|node| node.each_stream)
    }
}
