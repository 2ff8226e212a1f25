//! `--machine` and `--nats`: the part of a graph that this machine runs, and its connection to a NATS server.

use std::path::Path;

use fermata_engine::{Graph, Registry, Report, RunHandle, Services};

use crate::cli::NatsArguments;
use crate::interrupts::Interrupts;
#[cfg(feature = "remote")]
use {
    crate::cli::FAILED,
    crate::print::complain,
    fermata_engine::report::{ClockReport, EarlierReport, SiteReport},
    fermata_engine::{ClockMode, Codecs, Life, Need},
    fermata_files::SyncGroup,
    fermata_remote::site::{PartSpec, SitePart},
    fermata_remote::{
        Arriving, Credentials, NatsConnection, opened_streams, take_over, watch_streams,
    },
    std::collections::BTreeMap,
    std::sync::Arc,
    std::time::{Duration, Instant},
};

#[cfg(all(feature = "remote", feature = "live"))]
mod clocks;

#[cfg(feature = "remote")]
pub(crate) use crate::lives::Lives;
#[cfg(feature = "remote")]
use crate::lives_file::PartNote;

/// Returns the program's version as all machines of a site must have it, with the commit it was built from where that
/// is known.
#[cfg(feature = "remote")]
fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    match option_env!("FERMATA_GIT_COMMIT") {
        Some(commit) => format!("{version} (commit {commit})"),
        None => version.to_owned(),
    }
}

/// A run's connection, and its part of a site, if any.
pub(crate) struct Remote {
    #[cfg(feature = "remote")]
    connection: Option<Arc<NatsConnection>>,
    #[cfg(feature = "remote")]
    part: Option<Arc<SitePart>>,
    #[cfg(feature = "remote")]
    earlier: Earlier,
    /// Whether packets come from other machines and their latencies mean something.
    #[cfg(feature = "remote")]
    tells_clocks: bool,
}

/// What earlier lives of a part had received, by edge and stream; and what of that its actors need to know.
#[cfg(feature = "remote")]
#[derive(Clone, Default)]
struct Earlier {
    edges: BTreeMap<String, BTreeMap<String, EarlierReport>>,
    settled: BTreeMap<String, u64>,
}

/// Returns the part of a graph that a machine runs.
#[cfg(feature = "remote")]
pub(crate) fn part(graph: &Graph, machine: &str, registry: &Registry) -> anyhow::Result<Graph> {
    if graph.machines.is_empty() {
        anyhow::bail!(
            "--machine {machine}: the graph has no `machines`, so it runs as a whole; leave out --machine, or list `machines` in the graph and say with `on:` where each node runs"
        );
    }
    Ok(graph.part(machine, fermata_remote::EDGE_ACTORS, registry)?)
}

/// Refuses `--machine`, which needs the feature `remote`.
#[cfg(not(feature = "remote"))]
pub(crate) fn part(_: &Graph, _: &str, _: &Registry) -> anyhow::Result<Graph> {
    anyhow::bail!("--machine: {WITHOUT}")
}

#[cfg(not(feature = "remote"))]
pub(crate) const WITHOUT: &str = "this program was built without the feature `remote`, so its edges reach no other machine: build it with `--features remote`";

/// Refuses a graph for several machines if it is not said which one this is, or how it reaches the others.
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

/// Connects to a server for a site. Credentials come from the environment, or from files that it names.
///
/// # Errors
/// The address contains a password; otherwise see [`fermata_remote::RemoteError`].
#[cfg(feature = "remote")]
pub fn open(address: &str, site: &str, codecs: Codecs) -> anyhow::Result<Arc<NatsConnection>> {
    open_part(address, site, None, codecs)
}

/// Connects the part of a machine, if there is one, to a NATS server.
///
/// # Errors
/// See [`open`].
#[cfg(feature = "remote")]
pub(crate) fn open_part(
    address: &str,
    site: &str,
    machine: Option<&str>,
    codecs: Codecs,
) -> anyhow::Result<Arc<NatsConnection>> {
    if address.contains('@') {
        anyhow::bail!(
            "an address with a password in it would be seen by everybody on this machine: give it in NATS_USER and NATS_PASSWORD, or in a file that NATS_CREDS names"
        );
    }
    let credentials = Credentials::from_env(|name| std::env::var(name).ok())?;
    Ok(NatsConnection::connect_part(
        address,
        &credentials,
        site,
        machine,
        codecs,
    )?)
}

#[cfg(feature = "remote")]
impl Remote {
    /// Connects if `--nats` was given, and joins the run of the site that the graph is a part of.
    pub(crate) fn connect(
        arguments: &NatsArguments,
        graph: &Graph,
        registry: &Registry,
    ) -> anyhow::Result<Self> {
        let Some(address) = &arguments.nats else {
            return Ok(Self {
                connection: None,
                part: None,
                earlier: Earlier::default(),
                tells_clocks: false,
            });
        };
        let mut needs = graph.nodes.iter().flat_map(|node| &node.ports.needs);
        if graph.machine().is_none() && !needs.any(Need::is_of::<NatsConnection>) {
            anyhow::bail!(
                "--nats: nothing in this graph uses a NATS server, since it has no `machines`, `send_packets` or `receive_packets`; leave out --nats (of jobs, only `fermata softlabels --nats` hands out units)"
            );
        }
        let site = arguments.site.as_ref().unwrap_or(&graph.name);
        let codecs = registry.codecs().clone();
        let connection = open_part(address, site, graph.machine(), codecs)?;
        let spec = graph.machine().map(|machine| PartSpec {
            machine: machine.to_owned(),
            machines: graph.machines.clone(),
            graph: graph.name.clone(),
            digest: fermata_files::sha256(graph.common_yaml().as_bytes()),
            version: version(),
            may_begin: graph.has_inlets(),
        });
        let part = spec.map(|spec| SitePart::join(&connection, spec, complain));
        let part = part.transpose()?;
        let earlier = match &part {
            Some(part) => Earlier::of(&connection, graph, part.incarnation() > 1)?,
            None => Earlier::default(),
        };
        Ok(Self {
            part,
            earlier,
            tells_clocks: graph.has_inlets() && graph.run.clock != ClockMode::Asap,
            connection: Some(connection),
        })
    }

    /// Returns whether a folder belongs to an earlier life of this part, whose files are continued.
    pub(crate) fn goes_on_in(&self, folder: &Path) -> bool {
        let part = self.part.as_ref();
        part.is_some_and(|part| part.incarnation() > 1 && Lives::are_in(folder, part.run()))
    }

    /// Lends the connection to the actors of a run, and the part to the code that steers it.
    pub(crate) fn lend(&self, services: Services, folder: &Path) -> Services {
        let services = match &self.connection {
            // What an edge acknowledges must survive a power cut.
            Some(connection) => services
                .with(Arc::clone(connection))
                .with(Arc::new(SyncGroup::default())),
            None => services,
        };
        let Some(part) = &self.part else {
            return services;
        };
        let life = Life {
            number: part.incarnation(),
            settled: self.earlier.settled.clone(),
            since: Lives::since(folder, part.run()),
        };
        let services = services.with(Arc::new(life)).with(Arc::clone(part));
        #[cfg(feature = "live")]
        let services = if self.tells_clocks {
            clocks::lend(services, part)
        } else {
            services
        };
        services.with(Arc::new(self.earlier.clone()))
    }

    /// Closes the connection, once what the run has settled is acknowledged, and records that this part has ended.
    /// Returns the exit code of the process, given that of the run. Not for a run of which nothing was started: its
    /// part is started again.
    pub(crate) fn close(self, code: u8) -> u8 {
        let mut code = code;
        if let Some(part) = &self.part {
            if part.is_replaced() {
                complain(
                    "failed: another program runs this machine's part now, or another run of the site has been begun",
                );
                code = FAILED;
            } else {
                part.ended();
            }
        }
        if let Some(connection) = self.connection {
            connection.close(Duration::from_secs(10));
        }
        code
    }
}

/// Connects a run to its site: passes drain requests from this part to the site, and drains, added streams and a
/// replacement of this part from the site to the run.
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
    let has_inlets = graph.has_inlets();
    let patience = graph.run.drain + LATE;
    let drain = move || {
        if !has_inlets {
            return draining.drain();
        }
        tracing::info!(
            "the site is draining: its sources end, and what they have sent still arrives"
        );
        end_sources(&draining);
        // Streams of other machines end when those machines end them, which a dead one never does.
        let late = std::thread::Builder::new().name("drain".to_owned());
        let late = late.spawn(move || {
            let began = Instant::now();
            while began.elapsed() < patience {
                std::thread::sleep(DRAIN_AGAIN.min(patience));
                // Somebody may have added one.
                end_sources(&draining);
            }
            draining.drain();
        });
        if let Err(error) = late {
            tracing::warn!("this part cannot end by itself if other machines do not end: {error}");
        }
    };
    let opening = handle.clone();
    let edges = graph.inlets().into_iter();
    let edges = edges.map(|(edge, streams)| Arriving {
        edge,
        streams: streams.into_iter().collect(),
    });
    let found = move |edge: &str, stream: &str| {
        let added = opening.add_arriving_stream(stream, edge);
        added.map_err(|error| error.to_string())?;
        tracing::info!("another machine has added stream {stream}");
        Ok(())
    };
    let (completing, senders) = (handle.clone(), graph.senders().unwrap_or_default());
    let complete = move || completing.streams_complete();
    watch_streams(&part, edges.collect(), senders, found, complete);
    let replaced = move || {
        tracing::error!(
            "another program runs this machine's part now, or another run of the site has been begun, while this one was away: it stops"
        );
        stopping.stop();
    };
    part.watch(drain, replaced);
}

/// Ends the streams whose sources are on this machine.
#[cfg(feature = "remote")]
fn end_sources(handle: &RunHandle) {
    let streams = handle.snapshot().streams;
    for stream in streams.iter().filter(|stream| stream.edge.is_none()) {
        handle.remove_stream(&stream.name);
    }
}

#[cfg(feature = "remote")]
impl Earlier {
    /// Replaces an earlier life of a part at the server, if there was one, and asks how far it had come.
    fn of(connection: &Arc<NatsConnection>, graph: &Graph, is_again: bool) -> anyhow::Result<Self> {
        let mut earlier = Self::default();
        for (edge, mut streams) in graph.inlets() {
            if is_again {
                let opened = opened_streams(connection, &edge).map_err(|reason| {
                    anyhow::anyhow!(
                        "cannot read from the NATS server which streams came over edge {edge}: {reason}"
                    )
                })?;
                let added = opened
                    .into_iter()
                    .filter(|stream| !streams.contains(stream));
                streams.extend(added.collect::<Vec<_>>());
            }
            for stream in streams {
                earlier.settled.insert(stream.clone(), 0);
                if !is_again {
                    continue;
                }
                let found = take_over(connection, &edge, &stream).map_err(|reason| {
                    anyhow::anyhow!(
                        "cannot read from the NATS server how far stream {stream} had come over edge {edge}: {reason}"
                    )
                })?;
                let Some(found) = found else {
                    continue;
                };
                earlier.settled.insert(stream.clone(), found.below);
                let of_edge = earlier.edges.entry(edge.clone()).or_default();
                let report = EarlierReport {
                    settled: found.came,
                    missed: found.missed,
                };
                of_edge.insert(stream, report);
            }
        }
        Ok(earlier)
    }
}

/// Records in a part's folder that a life of it begins.
#[cfg(feature = "remote")]
pub(crate) fn begin_life(
    services: &Services,
    graph: &Graph,
    folder: &Path,
) -> anyhow::Result<Option<Lives>> {
    let Some(part) = services.get::<SitePart>() else {
        return Ok(None);
    };
    let own = graph.own_streams();
    let note = PartNote {
        machine: graph.machine().unwrap_or_default().to_owned(),
        site: part.site().to_owned(),
        edges: graph.site_edges(),
        has_sinks: graph.has_own_sinks(),
    };
    Lives::begin(folder, part.run(), part.incarnation(), note, own).map(Some)
}

/// Adds the site to a part's report: its run, its clocks, losses at its edges, and what earlier lives of the part had
/// received.
#[cfg(feature = "remote")]
pub(crate) fn of_site(report: Report, services: &Services, lives: &Option<Lives>) -> Report {
    let Some(part) = services.get::<SitePart>() else {
        return report;
    };
    let clocks = part.clocks();
    let clock = clocks.own.map(|clock| ClockReport {
        ahead_ms: clock.ahead_ms,
        error_ms: clock.error_ms,
    });
    let site = SiteReport {
        site: part.site().to_owned(),
        run: part.run().to_owned(),
        incarnation: part.incarnation(),
        clock,
        latency_error_ms: clocks.latency_error_ms,
        killed: lives.as_ref().map(Lives::killed).unwrap_or_default(),
    };
    let earlier = services.get::<Earlier>();
    let mut report = Report {
        site: Some(site),
        ..report
    };
    if let Some(connection) = services.get::<NatsConnection>() {
        for edge in &mut report.site_edges {
            if edge.receives {
                edge.malformed = connection.malformed(&edge.edge)
            } else {
                edge.unsent = connection.unsent(&edge.edge)
            }
        }
    }
    for edge in report.site_edges.iter_mut().filter(|edge| edge.receives) {
        let of_edge = earlier
            .as_ref()
            .and_then(|earlier| earlier.edges.get(&edge.edge));
        edge.earlier = of_edge.cloned().unwrap_or_default();
    }
    report
}

/// Time after `run.drain` until a part with inlets in a drained site ends by itself.
#[cfg(feature = "remote")]
const LATE: Duration = Duration::from_secs(10);

/// Interval at which a part that drains ends streams that were added meanwhile.
#[cfg(feature = "remote")]
const DRAIN_AGAIN: Duration = Duration::from_millis(500);

/// Lives of a part, of which there are none without the feature `remote`.
#[cfg(not(feature = "remote"))]
pub(crate) enum Lives {}

#[cfg(not(feature = "remote"))]
impl Lives {
    /// Does nothing: there is nothing to record.
    pub(crate) fn note(&mut self, _: &fermata_engine::statistics::Snapshot) {}
}

#[cfg(not(feature = "remote"))]
pub(crate) fn begin_life(_: &Services, _: &Graph, _: &Path) -> anyhow::Result<Option<Lives>> {
    Ok(None)
}

#[cfg(not(feature = "remote"))]
pub(crate) fn of_site(report: Report, _: &Services, _: &Option<Lives>) -> Report {
    report
}

#[cfg(not(feature = "remote"))]
pub(crate) fn steer(_: &Services, _: &Graph, _: &RunHandle, _: &Interrupts) {}

#[cfg(not(feature = "remote"))]
impl Remote {
    /// Refuses `--nats`, which needs the feature `remote`.
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

    /// Returns false: there are no lives.
    pub(crate) fn goes_on_in(&self, _: &Path) -> bool {
        false
    }

    /// Lends nothing.
    pub(crate) fn lend(&self, services: Services, _: &Path) -> Services {
        services
    }

    /// Returns the code: there is nothing to close.
    pub(crate) fn close(self, code: u8) -> u8 {
        code
    }
}
