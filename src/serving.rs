//! `--serve`: the live page of a run, its metrics and its control.

use fermata_engine::RunningGraph;

use crate::cli::ServeArguments;

/// What was asked for, before the run is started.
pub(crate) struct Serving {
    #[cfg(feature = "live")]
    listening: Option<fermata_serve::Listening>,
}

/// A run that is being served, or not.
pub(crate) struct Served {
    #[cfg(feature = "live")]
    server: Option<fermata_serve::Server>,
}

#[cfg(feature = "live")]
impl Serving {
    /// Takes the address, so that one that is taken already is told before anything starts.
    pub(crate) fn prepare(arguments: &ServeArguments) -> anyhow::Result<Self> {
        let listening = match arguments.serve {
            Some(address) if !address.ip().is_loopback() => {
                anyhow::bail!("the page is for this machine alone as yet: --serve 127.0.0.1:8080")
            }
            Some(address) => Some(fermata_serve::Listening::on(
                &fermata_serve::ServeOptions { address },
            )?),
            None => None,
        };
        Ok(Self { listening })
    }

    /// Serves the run and says where.
    pub(crate) fn start(self, running: &RunningGraph) -> anyhow::Result<Served> {
        let Some(listening) = self.listening else {
            return Ok(Served { server: None });
        };
        eprintln!("live page: http://{}/", listening.address());
        let run = fermata_serve::WatchedRun::new(running.handle());
        Ok(Served {
            server: Some(listening.start(run)?),
        })
    }
}

#[cfg(feature = "live")]
impl Served {
    /// Says that every node of the run has been created.
    pub(crate) fn ready(&self) {
        if let Some(server) = &self.server {
            server.ready();
        }
    }
}

#[cfg(not(feature = "live"))]
impl Serving {
    /// Refuses what this program cannot do.
    pub(crate) fn prepare(arguments: &ServeArguments) -> anyhow::Result<Self> {
        if arguments.serve.is_some() {
            anyhow::bail!(
                "this program was built without the feature `live`, so it serves no page"
            );
        }
        Ok(Self {})
    }

    /// Serves nothing.
    pub(crate) fn start(self, _: &RunningGraph) -> anyhow::Result<Served> {
        Ok(Served {})
    }
}

#[cfg(not(feature = "live"))]
impl Served {
    /// Nobody asks.
    pub(crate) fn ready(&self) {}
}
