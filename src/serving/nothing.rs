//! Serving in a program without vision, which has no page.

use fermata_engine::{Graph, RunOptions, RunningGraph};

use crate::cli::ServeArguments;
use crate::interrupts::Interrupts;

/// No page.
pub(crate) struct Serving;

/// A run that is not served.
pub(crate) struct Served;

impl Serving {
    /// Fails if a page was requested.
    pub(crate) fn prepare(arguments: &ServeArguments, _: &Graph) -> anyhow::Result<Self> {
        match arguments.serve {
            Some(_) => anyhow::bail!(
                "this program was built without the feature `live`, so it serves no page"
            ),
            None => Ok(Self),
        }
    }

    /// Lends nothing to the run.
    pub(crate) fn lend(&mut self, options: RunOptions) -> RunOptions {
        options
    }

    /// Serves nothing.
    pub(crate) fn start(
        self,
        _: &RunningGraph,
        _: &Graph,
        _: &Interrupts,
    ) -> anyhow::Result<Served> {
        Ok(Served)
    }
}

impl Served {
    /// Does nothing.
    pub(crate) fn ready(&self) {}
}
