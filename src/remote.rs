//! `--machine` and `--nats`: the part of a graph that this machine runs, and its connection to a NATS server.

use fermata_engine::report::SiteReport;
use fermata_engine::{Graph, Registry, RunHandle, Services};

use crate::cli::NatsArguments;
use crate::interrupts::Interrupts;
#[cfg(feature = "remote")]
use {
    crate::cli::{FAILED, REFUSED},
    crate::print::complain,
    fermata_engine::Codecs,
    fermata_engine::report::ClockReport,
    fermata_remote::site::{PartSpec, SitePart},
    fermata_remote::{Credentials, NatsConnection},
    std::sync::Arc,
    std::time::Duration,
};

/// The connection of a run, and the part of a site that it is, if any.
pub(crate) struct Remote {
    #[cfg(feature = "remote")]
    connection: Option<Arc<NatsConnection>>,
    #[cfg(feature = "remote")]
    part: Option<Arc<SitePart>>,
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
pub(crate) const WITHOUT: &str = "this program was built without the feature `remote`, so its edges reach no other machine: build it with `--features remote`";

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

/// Connects to a server under a name. Credentials come from the environment, or from files that it names.
///
/// # Errors
/// The address holds a password, or see [`fermata_remote::RemoteError`].
#[cfg(feature = "remote")]
pub fn open(address: &str, site: &str, codecs: Codecs) -> anyhow::Result<Arc<NatsConnection>> {
    if address.contains('@') {
        anyhow::bail!(
            "an address with a password in it would be seen by everybody on this machine: give it in NATS_USER and NATS_PASSWORD, or in a file that NATS_CREDS names"
        );
    }
    let credentials = Credentials::from_env(|name| std::env::var(name).ok());
    Ok(NatsConnection::connect(
        address,
        &credentials,
        site,
        codecs,
    )?)
}

#[cfg(feature = "remote")]
impl Remote {
    /// Connects, if that was asked for, and joins the run of the site that the graph is a part of.
    pub(crate) fn connect(
        arguments: &NatsArguments,
        graph: &Graph,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let Some(address) = &arguments.nats else {
            return Ok(Self {
                connection: None,
                part: None,
            });
        };
        let site = arguments.site.as_ref().unwrap_or(&graph.name);
        let connection = open(address, site, registry.codecs().clone())?;
        let spec = graph.machine().map(|machine| PartSpec {
            machine: machine.to_owned(),
            machines: graph.machines.clone(),
            graph: graph.name.clone(),
            digest: fermata_files::sha256(graph.common_yaml().as_bytes()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            may_begin: graph.has_inlets(),
        });
        let part = spec.map(|spec| SitePart::join(&connection, spec));
        Ok(Self {
            part: part.transpose()?,
            connection: Some(connection),
        })
    }

    /// Lends the connection to the actors of a run, and the part to whoever steers it.
    pub(crate) fn lend(&self, services: Services) -> Services {
        let services = match &self.connection {
            Some(connection) => services.with(Arc::clone(connection)),
            None => services,
        };
        match &self.part {
            Some(part) => services.with(Arc::clone(part)),
            None => services,
        }
    }

    /// Ends the connection, once what the run has settled is acknowledged. Says how the process ends, where the run ended so.
    pub(crate) fn close(self, code: u8) -> u8 {
        let mut code = code;
        if let Some(part) = &self.part {
            if part.is_replaced() {
                complain("failed: another program runs this machine's part now");
                code = FAILED;
            } else if code != REFUSED {
                part.ended();
            }
        }
        if let Some(connection) = self.connection {
            connection.close(Duration::from_secs(10));
        }
        code
    }
}

/// Lets a part hear what its site is told, and tell its site what it is told.
#[cfg(feature = "remote")]
pub(crate) fn steer(
    services: &Services,
    graph: &Graph,
    handle: &RunHandle,
    interrupts: &Interrupts,
) {
    let Some(part) = services.get::<SitePart>() else {
        return;
    };
    let telling = Arc::clone(&part);
    interrupts.drain_by(move || telling.drain());
    let (draining, stopping) = (handle.clone(), handle.clone());
    let (own, has_inlets) = (graph.own_streams(), graph.has_inlets());
    let patience = graph.run.drain + LATE;
    let drain = move || {
        if !has_inlets {
            return draining.drain();
        }
        tracing::info!("the site ends: its sources end, and what they gave arrives");
        for stream in own {
            draining.remove_stream(&stream);
        }
        // Streams of other machines end when those say so; of one that is dead nobody will.
        let late = std::thread::Builder::new().name("drain".to_owned());
        let late = late.spawn(move || {
            std::thread::sleep(patience);
            draining.drain();
        });
        if let Err(error) = late {
            tracing::warn!("nothing will end this part if other machines do not: {error}");
        }
    };
    let replaced = move || {
        tracing::error!(
            "another program runs this machine's part now, since this one was away: it stops"
        );
        stopping.stop();
    };
    part.watch(drain, replaced);
}

/// Which run of its site a part belongs to.
#[cfg(feature = "remote")]
pub(crate) fn site_of(services: &Services) -> Option<SiteReport> {
    let part = services.get::<SitePart>()?;
    let clock = part.clock().map(|clock| ClockReport {
        ahead_ms: clock.ahead_ms,
        error_ms: clock.error_ms,
    });
    Some(SiteReport {
        site: part.site().to_owned(),
        run: part.run().to_owned(),
        incarnation: part.incarnation(),
        clock,
    })
}

/// How much later than the sources of a drained site its other parts end by themselves.
#[cfg(feature = "remote")]
const LATE: Duration = Duration::from_secs(10);

#[cfg(not(feature = "remote"))]
pub(crate) fn site_of(_: &Services) -> Option<SiteReport> {
    None
}

#[cfg(not(feature = "remote"))]
pub(crate) fn steer(_: &Services, _: &Graph, _: &RunHandle, _: &Interrupts) {}

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
    pub(crate) fn close(self, code: u8) -> u8 {
        code
    }
}
