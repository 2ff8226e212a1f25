//! Graph files: reading, checking and resolving them. Running them is elsewhere.
//!
//! A file passes through these modules: `tree` (YAML with places), `file` (includes, overrides, parameters), `streams`
//! and `node` (one block), `build` (ports and connections), `check` (the graph as a whole, with `types`, `writes` and
//! `sizes` for its larger checks; `machines` and `crossings` determine where a site runs it, and `part` is what one of
//! its machines runs). The result is a [`Graph`]. `secrets` are the values that must not be shown; `redact` recognises
//! them by their form. `added` makes the same checks for a stream that is added while the graph runs.

mod added;
mod build;
mod check;
mod crossings;
mod file;
mod instance;
mod instances;
mod interpolate;
mod load_options;
mod machines;
mod names;
mod node;
mod overrides;
mod part;
mod place;
mod problem;
mod redact;
mod render;
mod replaced;
mod scalar;
mod schema;
mod secret_trees;
pub(crate) mod secrets;
pub(crate) mod settings;
mod shown;
mod sizes;
pub(crate) mod spec;
mod streams;
mod taint;
mod text_file;
mod tree;
mod types;
mod wired;
mod writes;

use std::collections::HashSet;
use std::path::Path;

use crate::registry::Registry;
use crate::services::Services;

pub use load_options::LoadOptions;
pub use overrides::Overrides;
pub use part::EdgeActors;
pub use problem::{Problem, Problems, most_alike};
pub use redact::{redact, redact_path};
pub use schema::schema;
pub use secrets::Secrets;
pub use settings::{Settings, SettingsError};
pub use shown::{printable, printable_in_line};
pub use spec::{
    BatchSpec, DEFAULT_CAPACITY, Graph, InputSpec, NodeSpec, OnError, OutputRef, Placement,
    ProviderSpec, QueueSpec, Require, RestartSpec, RunSpec, StreamSpec, WhenFull,
};

/// Redacts what looks like a secret from problems, where no secret values are known yet.
fn hiding<T>(result: Result<T, Problems>) -> Result<T, Problems> {
    result.map_err(|problems| problems.hiding(&Secrets::default()))
}

impl Graph {
    /// Reads and checks a graph file. Nothing is created, and only the file and its includes are opened.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path, registry: &Registry, options: &LoadOptions) -> Result<Self, Problems> {
        let (tree, read) = hiding(file::read(path))?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        Self::merged(tree, &names::fitting_name(&stem), registry, options)
            .map(|graph| graph.read_from(read))
    }

    /// Reads and checks a graph from text; `name` stands for the file in messages. Includes are resolved in the current
    /// folder.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(
        name: &str,
        text: &str,
        registry: &Registry,
        options: &LoadOptions,
    ) -> Result<Self, Problems> {
        let path = Path::new(name);
        let mut so_far = file::Included::default();
        let tree = file::with_includes(name, text.to_owned(), path, &mut so_far);
        Self::merged(hiding(tree)?, "graph", registry, options)
            .map(|graph| graph.read_from(so_far.read))
    }

    fn merged(
        tree: tree::Tree,
        default_name: &str,
        registry: &Registry,
        options: &LoadOptions,
    ) -> Result<Self, Problems> {
        let secrets = Secrets::default();
        let merged = file::merge(tree, default_name, options, &secrets);
        let built = merged.and_then(|merged| build::build(merged, registry, options, &secrets));
        built.map_err(|problems| problems.hiding(&secrets))
    }

    /// Returns the values of the graph and its streams that must not be shown; anything that displays data of a run
    /// must hide them.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Runs the check of every actor: whether what its settings name exists (a model file, a device). Nothing is
    /// created.
    ///
    /// # Errors
    /// Everything that is missing.
    pub fn check(&self, registry: &Registry) -> Result<(), Problems> {
        let mut problems = Problems::default();
        if let Some(spec) = &self.provider
            && let Some(provider) = registry.provider(&spec.name)
            && let Err(error) = provider.check(&spec.settings)
        {
            problems.push(spec.problem(error.to_string()));
        }
        let mut told = HashSet::new();
        for node in &self.nodes {
            for stream in self.instances_of(node) {
                if let Err(found) = node.check(registry, stream.as_ref(), &self.secrets) {
                    let new = found.iter().filter(|found| told.insert(found.identity()));
                    new.for_each(|problem| problems.push(problem.clone()));
                }
            }
        }
        problems
            .or_ok(())
            .map_err(|problems| problems.hiding(&self.secrets))
    }

    /// Runs the try-out of every actor, which takes longer than [`Graph::check`]: models are loaded, each once for all
    /// instances with the same settings.
    ///
    /// # Errors
    /// Everything that does not work.
    pub fn try_out(&self, registry: &Registry) -> Result<(), Problems> {
        let mut problems = Problems::default();
        for node in &self.nodes {
            let Some(actor) = registry.get(&node.actor) else {
                continue;
            };
            let mut tried = HashSet::new();
            for stream in self.instances_of(node) {
                let Ok(settings) = node.settings(stream.as_ref()) else {
                    continue;
                };
                let written = settings
                    .parse::<serde_json::Value>()
                    .map(|value| value.to_string());
                if !tried.insert(written.unwrap_or_default()) {
                    continue;
                }
                if let Err(error) = actor.try_out(&settings) {
                    self.secrets.learn(&settings.0);
                    problems.push(node.problem(&settings, error.to_string()));
                }
            }
        }
        problems
            .or_ok(())
            .map_err(|problems| problems.hiding(&self.secrets))
    }

    /// Checks that the program has all services that the graph's actors require.
    ///
    /// # Errors
    /// Everything that is missing.
    pub fn check_services(&self, services: &Services) -> Result<(), Problems> {
        let mut problems = Problems::default();
        for node in &self.nodes {
            for need in node.ports.needs.iter().filter(|need| !services.has(need)) {
                problems.push(Problem::nowhere(format!(
                    "`{}` (node `{}`) needs `{}`, which this program does not provide",
                    node.actor, node.name, need.name
                )));
            }
        }
        problems.or_ok(())
    }

    /// Returns whether the graph has a source that waits for streams to be added.
    pub fn takes_streams(&self) -> bool {
        if self.provider.is_some() {
            return false;
        }
        let mut sources = self.nodes.iter().filter(|node| node.inputs.is_empty());
        sources.any(|node| node.each_stream && !node.is_inlet)
    }
}
