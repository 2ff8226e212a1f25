//! Operator commands for a site: reading its state, draining it, making the server forget it.

use std::sync::Arc;
use std::time::Instant;

use async_nats::jetstream::stream;

use super::joining::{is_there, read_run};
use super::record::{DrainMessage, PartMessage, Records, RunMessage};
use super::refusal::SiteError;
use crate::connection::NatsConnection;
use crate::error::chain;
use crate::last::{Last, Unread};
use crate::time::{unix_ms, utc};

/// State of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteState {
    /// Name of the graph.
    pub graph: String,
    /// Unique identifier of the run.
    pub run: String,
    /// Version of the program that began it.
    pub version: String,
    /// When it was begun, UTC.
    pub since: String,
    /// Whether its sources have been asked to end.
    pub is_draining: bool,
    /// Its parts by machine, in the graph's order.
    pub parts: Vec<(String, PartState)>,
    /// What the server holds for edges.
    pub edges: Vec<EdgeState>,
}

/// State of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartState {
    /// It has not been started.
    Missing,
    /// It answers.
    Runs {
        /// Since when, UTC.
        since: String,
        /// How often it has been started.
        incarnation: u64,
    },
    /// It was started and has not ended, but does not answer: it is dead or cut off.
    Silent {
        /// When it was started, UTC.
        since: String,
        /// How often it has been started.
        incarnation: u64,
    },
    /// It has run to its end.
    Ended {
        /// When, UTC.
        at: String,
    },
}

/// What the server holds of an edge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeState {
    /// Name of the JetStream stream.
    pub store: String,
    /// Packets that wait in it.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Returns the state of the connection's site.
///
/// # Errors
/// There is no run, or the server cannot be asked.
pub fn state(connection: &Arc<NatsConnection>) -> Result<SiteState, SiteError> {
    connection.runtime.block_on(async {
        let records = Records::new(connection);
        let run = run(connection, &records).await?;
        let stores = stores(connection, &records).await?;
        let parts = parts(connection, &records, &run).await?;
        let subject = records.drain_subject();
        let drain = records.read::<DrainMessage>(&subject).await;
        let drain = drain.ok().and_then(|drain| drain.value);
        let edges = stores
            .into_iter()
            .filter(|info| info.config.name.ends_with("+packets"))
            .map(|info| EdgeState {
                store: info.config.name,
                packets: info.state.messages,
                bytes: info.state.bytes,
            });
        Ok(SiteState {
            is_draining: drain.is_some_and(|drain| drain.run == run.id),
            graph: run.graph,
            run: run.id,
            version: run.version,
            since: utc(run.begun_unix_ms),
            parts,
            edges: edges.collect(),
        })
    })
}

/// Asks all parts of the connection's site to let their sources end.
///
/// # Errors
/// There is no run, or the server does not take the request.
pub fn drain(connection: &Arc<NatsConnection>) -> Result<(), SiteError> {
    connection.runtime.block_on(async {
        let records = Records::new(connection);
        let run = run(connection, &records).await?;
        let drain = DrainMessage { run: run.id };
        let since = Instant::now();
        let written = records.write(records.drain_subject(), &drain, None).await;
        let failed = |reason| SiteError::server(connection, since, "store the request", reason);
        written.map(drop).map_err(failed)
    })
}

/// Makes the server forget the connection's site: its run, and all that its edges still hold. Returns the names of the
/// JetStream streams that were removed.
///
/// # Errors
/// Parts of it still run, or the server cannot do it.
pub fn end(connection: &Arc<NatsConnection>) -> Result<Vec<String>, SiteError> {
    connection.runtime.block_on(async {
        let records = Records::new(connection);
        match run(connection, &records).await {
            Ok(run) => {
                let parts = parts(connection, &records, &run).await?;
                let running = parts
                    .iter()
                    .filter(|(_, part)| matches!(part, PartState::Runs { .. }));
                let running: Vec<&str> = running.map(|(machine, _)| machine.as_str()).collect();
                if !running.is_empty() {
                    return Err(SiteError::Running {
                        at: connection.at(),
                        site: connection.site.clone(),
                        machines: running.join(", "),
                    });
                }
            }
            Err(SiteError::NoRun { .. } | SiteError::Unreadable { .. }) => {}
            Err(other) => return Err(other),
        }
        let mut gone = Vec::new();
        for info in stores(connection, &records).await? {
            let name = info.config.name;
            let since = Instant::now();
            let deleted = records.jetstream.delete_stream(&name).await;
            deleted.map_err(|error| {
                SiteError::server(connection, since, "delete a stream", chain(&error))
            })?;
            gone.push(name);
        }
        Ok(gone)
    })
}

async fn run(connection: &NatsConnection, records: &Records) -> Result<RunMessage, SiteError> {
    let run = read_run(connection, records).await?;
    run.ok_or_else(|| SiteError::NoRun {
        site: connection.site.clone(),
    })
}

async fn stores(
    connection: &NatsConnection,
    records: &Records,
) -> Result<Vec<stream::Info>, SiteError> {
    let since = Instant::now();
    let stores = records.stores().await;
    stores.map_err(|reason| SiteError::server(connection, since, "list its streams", reason))
}

async fn parts(
    connection: &NatsConnection,
    records: &Records,
    run: &RunMessage,
) -> Result<Vec<(String, PartState)>, SiteError> {
    let mut parts = Vec::new();
    for machine in &run.machines {
        let since = Instant::now();
        let known = records
            .read::<PartMessage>(&records.part_subject(machine))
            .await;
        let known = match known {
            Ok(known) => known,
            Err(Unread::NoStore) => Last::NONE,
            Err(Unread::Other(reason)) => {
                return Err(SiteError::server(
                    connection,
                    since,
                    "report which parts run",
                    reason,
                ));
            }
        };
        // An unreadable record does not say whether the part has ended: it may still run.
        let unread = known.is_unreadable().then(|| PartMessage {
            incarnation: 1,
            started_unix_ms: unix_ms(),
            ..PartMessage::default()
        });
        let known = known.value.filter(|known| known.run == run.id);
        let state = match known.or(unread) {
            None => PartState::Missing,
            Some(part) if part.ended_unix_ms != 0 => PartState::Ended {
                at: utc(part.ended_unix_ms),
            },
            Some(part) => {
                let (since, incarnation) = (utc(part.started_unix_ms), part.incarnation);
                if is_there(connection, &records.hello_subject(machine)).await? {
                    PartState::Runs { since, incarnation }
                } else {
                    PartState::Silent { since, incarnation }
                }
            }
        };
        parts.push((machine.clone(), state));
    }
    Ok(parts)
}
