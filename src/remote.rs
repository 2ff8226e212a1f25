//! `--machine` and `--nats`: the part of a graph that this machine runs, and its connection to a NATS server.

use fermata_engine::{Graph, Registry, Services};

use crate::cli::NatsArguments;

/// The connection of a run, or none.
pub(crate) struct Remote {
    #[cfg(feature = "remote")]
    connection: Option<std::sync::Arc<fermata_remote::NatsConnection>>,
}

/// The part of a graph that a machine runs.
#[cfg(feature = "remote")]
pub(crate) fn part(graph: &Graph, machine: &str, registry: &Registry) -> anyhow::Result<Graph> {
    if graph.machines.is_empty() {
        anyhow::bail!(
            "--machine {machine}: the graph has no `machines`, so it is run whole; leave --machine out, or say in the graph which machines there are, and `on:` which each node runs"
        );
    }
    Ok(graph.part(machine, fermata_remote::EDGE_ACTORS, registry)?)
}

/// Refuses what this program cannot do.
#[cfg(not(feature = "remote"))]
pub(crate) fn part(_: &Graph, _: &str, _: &Registry) -> anyhow::Result<Graph> {
    anyhow::bail!("--machine: {WITHOUT}")
}

#[cfg(not(feature = "remote"))]
const WITHOUT: &str = "this program was built without the feature `remote`, so its edges reach no other machine: build it with `--features remote`";

/// Refuses a graph for several machines where nobody says which one this is, or how it reaches the others.
pub(crate) fn refuse_alone(graph: &Graph, arguments: &NatsArguments) -> anyhow::Result<()> {
    let machines = graph.machines.join(", ");
    match graph.machine() {
        None if !graph.machines.is_empty() => anyhow::bail!(
            "the graph is for several machines ({machines}): say which one this is with --machine"
        ),
        Some(machine) if arguments.nats.is_none() => anyhow::bail!(
            "machine `{machine}` is one of several ({machines}): name the NATS server between them with --nats"
        ),
        _ => Ok(()),
    }
}

#[cfg(feature = "remote")]
impl Remote {
    /// Connects, if that was asked for. Credentials come from the environment, or from files that it names.
    pub(crate) fn connect(
        arguments: &NatsArguments,
        graph: &Graph,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        use fermata_remote::{Credentials, NatsConnection};
        let Some(address) = &arguments.nats else {
            return Ok(Self { connection: None });
        };
        if address.contains('@') {
            anyhow::bail!(
                "an address with a password in it would be seen by everybody on this machine: give it in NATS_USER and NATS_PASSWORD, or in a file that NATS_CREDS names"
            );
        }
        let credentials = Credentials::from_env(|name| std::env::var(name).ok());
        let codecs = registry.codecs().clone();
        let site = arguments.site.as_ref().unwrap_or(&graph.name);
        let connection = NatsConnection::connect(address, &credentials, site, codecs)?;
        Ok(Self {
            connection: Some(connection),
        })
    }

    /// Lends the connection to the actors of a run.
    pub(crate) fn lend(&self, services: Services) -> Services {
        match &self.connection {
            Some(connection) => services.with(std::sync::Arc::clone(connection)),
            None => services,
        }
    }

    /// Ends the connection, once what the run has settled is acknowledged.
    pub(crate) fn close(self) {
        if let Some(connection) = self.connection {
            connection.close(std::time::Duration::from_secs(10));
        }
    }
}

#[cfg(not(feature = "remote"))]
impl Remote {
    /// Refuses what this program cannot do.
    pub(crate) fn connect(
        arguments: &NatsArguments,
        _: &Graph,
        _: &Registry,
    ) -> anyhow::Result<Self> {
        if arguments.nats.is_some() {
            anyhow::bail!("--nats: {WITHOUT}");
        }
        Ok(Self {})
    }

    /// Lends nothing.
    pub(crate) fn lend(&self, services: Services) -> Services {
        services
    }

    /// There is nothing to end.
    pub(crate) fn close(self) {}
}
