//! `--nats`: the connection of a run to a NATS server, for graphs whose edges reach other machines.

use fermata_engine::{Registry, Services};

use crate::cli::NatsArguments;

/// Connects under a name. Credentials come from the environment, or from files that it names.
///
/// # Errors
/// The address holds a password, or see [`fermata_remote::RemoteError`].
#[cfg(feature = "remote")]
pub fn connection(
    address: &str,
    name: &str,
    registry: &Registry,
) -> anyhow::Result<std::sync::Arc<fermata_remote::NatsConnection>> {
    use fermata_remote::{Credentials, NatsConnection};
    if address.contains('@') {
        anyhow::bail!(
            "an address with a password in it would be seen by everybody on this machine: give it in NATS_USER and NATS_PASSWORD, or in a file that NATS_CREDS names"
        );
    }
    let credentials = Credentials::from_env(|name| std::env::var(name).ok());
    let codecs = registry.codecs().clone();
    Ok(NatsConnection::connect(
        address,
        &credentials,
        name,
        codecs,
    )?)
}

/// The connection of a run, or none.
pub(crate) struct Remote {
    #[cfg(feature = "remote")]
    connection: Option<std::sync::Arc<fermata_remote::NatsConnection>>,
}

#[cfg(feature = "remote")]
impl Remote {
    /// Connects, if that was asked for. Credentials come from the environment, or from files that it names.
    pub(crate) fn connect(arguments: &NatsArguments, registry: &Registry) -> anyhow::Result<Self> {
        let Some(address) = &arguments.nats else {
            return Ok(Self { connection: None });
        };
        let connection = connection(address, &arguments.site, registry)?;
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
    pub(crate) fn connect(arguments: &NatsArguments, _: &Registry) -> anyhow::Result<Self> {
        if arguments.nats.is_some() {
            anyhow::bail!(
                "this program was built without the feature `remote`, so its edges reach no other machine: build it with `--features remote`"
            );
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
