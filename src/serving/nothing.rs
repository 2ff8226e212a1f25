//! A program without vision serves nothing.

use fermata_engine::{Graph, RunOptions, RunningGraph};

use crate::cli::ServeArguments;
use crate::interrupts::Interrupts;

/// What was not asked for.
pub(crate) struct Serving;

/// A run that is not served.
pub(crate) struct Served;

impl Serving {
    /// Refuses what this program cannot do.
    pub(crate) fn prepare(arguments: &ServeArguments, _: &Graph) -> anyhow::Result<Self> {
        match arguments.serve {
            Some(_) => anyhow::bail!(
                "this program was built without the feature `live`, so it serves no page"
            ),
            None => Ok(Self),
        }
    }

    /// Lends the run nothing.
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
    /// Nobody asks.
    pub(crate) fn ready(&self) {}
}
