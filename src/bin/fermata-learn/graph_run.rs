//! Runs a graph that a command has written.

use std::path::Path;
use std::sync::Arc;

use fermata::cli::ServeArguments;
use fermata::run::{Job, JobRows, Says, Taking, Watching, run_job};
use fermata_engine::{Graph, LoadOptions, Services};
use fermata_jobs::manifests::Manifests;

use crate::program::PROGRAM;

/// Where it stands in its run's folder.
pub(crate) const FILE: &str = "graph.yaml";

/// A graph that a command has written, to be run.
pub(crate) struct GraphRun<'a> {
    text: &'a str,
    taking: Taking,
    quiet: bool,
    rows: Option<JobRows>,
    services: Services,
    says: Option<Says>,
    serve: ServeArguments,
    set: Vec<String>,
}

impl<'a> GraphRun<'a> {
    pub(crate) fn new(text: &'a str, taking: Taking, quiet: bool) -> Self {
        Self {
            text,
            taking,
            quiet,
            rows: None,
            services: (PROGRAM.services)(),
            says: None,
            serve: ServeArguments::default(),
            set: Vec::new(),
        }
    }

    /// With other values (`PATH=VALUE`) than the text has.
    pub(crate) fn setting(mut self, set: Vec<String>) -> Self {
        self.set = set;
        self
    }

    /// It goes through so many rows.
    pub(crate) fn of(mut self, rows: Option<JobRows>) -> Self {
        self.rows = rows;
        self
    }

    /// Its actors find these manifests, of which whoever runs it has read some.
    pub(crate) fn reading(mut self, manifests: Arc<Manifests>) -> Self {
        self.services = self.services.with(manifests);
        self
    }

    /// It is served.
    pub(crate) fn served(mut self, serve: ServeArguments) -> Self {
        self.serve = serve;
        self
    }

    /// Its actors need these too, and it has a line to say.
    #[cfg_attr(not(feature = "remote"), allow(dead_code))]
    pub(crate) fn lending(mut self, lend: impl FnOnce(Services) -> Services, says: Says) -> Self {
        self.services = lend(self.services);
        self.says = Some(says);
        self
    }

    /// Its run's folder.
    pub(crate) fn folder(&self) -> &Path {
        let (Taking::Afresh(folder) | Taking::Again(folder)) = &self.taking;
        folder
    }

    /// How many rows it goes through in all; 0 if nobody has said.
    #[cfg_attr(not(feature = "remote"), allow(dead_code))]
    pub(crate) fn all_rows(&self) -> usize {
        self.rows.map_or(0, |rows| rows.all)
    }

    #[cfg_attr(not(feature = "remote"), allow(dead_code))]
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    pub(crate) fn run(self) -> anyhow::Result<u8> {
        let registry = (PROGRAM.registry)();
        let mut options = LoadOptions::new(self.folder());
        options.overrides.set = self.set;
        let graph = Graph::parse(FILE, self.text, &registry, &options)
            .map_err(|problems| anyhow::anyhow!("{problems}"))?;
        let job = Job {
            graph,
            taking: self.taking,
            quiet: self.quiet,
            rows: self.rows,
            services: self.services,
            says: self.says,
            watching: Watching::default(),
            serve: self.serve,
            summary: true,
        };
        run_job(job, registry)
    }
}
