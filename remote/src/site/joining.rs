//! How a part joins a run of its site: which run that is, and that nobody else has the machine's place in it.

use std::time::{Duration, Instant};

use async_nats::client::RequestErrorKind;
use bytes::Bytes;

use super::record::{PartMessage, Records, RunMessage};
use super::refusal::SiteError;
use crate::connection::NatsConnection;
use crate::last::{Last, Unread};
use crate::time::{unix_ms, utc};

/// Time limit for a part to answer that it is there.
const HELLO: Duration = Duration::from_secs(2);
/// Pause between checks whether the run has been begun, and before another attempt after somebody else has written.
const PAUSE: Duration = Duration::from_millis(200);

/// Description of a part.
#[derive(Clone, Debug)]
pub struct PartSpec {
    /// The machine.
    pub machine: String,
    /// All machines of the graph.
    pub machines: Vec<String>,
    /// The graph's name.
    pub graph: String,
    /// Hash of what all parts of the graph have in common.
    pub digest: String,
    /// The program's version.
    pub version: String,
    /// Whether it receives from other machines, so that it makes JetStream streams and may begin the run. Others wait
    /// until one has.
    pub may_begin: bool,
}

/// Returns the run of the site: an existing one, or a new one.
pub(super) async fn begin(
    connection: &NatsConnection,
    records: &Records,
    spec: &PartSpec,
    waits: &dyn Fn(&str),
) -> Result<RunMessage, SiteError> {
    let site = &connection.site;
    let mut is_told = false;
    loop {
        let since = Instant::now();
        let failed = |what, reason| SiteError::server(connection, since, what, reason);
        if let Some(run) = read_run(connection, records).await? {
            return same(connection, spec, run);
        }
        if spec.may_begin {
            let stores = records.stores().await;
            let stores = stores.map_err(|reason| failed("list its streams", reason))?;
            let left = stores.iter().map(|info| info.config.name.as_str());
            let left: Vec<&str> = left.filter(|name| !records.is_own(name)).collect();
            if !left.is_empty() {
                // A run that somebody has begun meanwhile may have edges already.
                if let Some(run) = read_run(connection, records).await? {
                    return same(connection, spec, run);
                }
                return Err(SiteError::Leftovers {
                    at: connection.at(),
                    site: site.clone(),
                    stores: left.join(", "),
                });
            }
            let made = records.make().await;
            made.map_err(|reason| failed("store the run", reason))?;
            let run = RunMessage {
                id: fresh_id(connection),
                graph: spec.graph.clone(),
                digest: spec.digest.clone(),
                version: spec.version.clone(),
                begun_unix_ms: unix_ms(),
                machines: spec.machines.clone(),
            };
            let written = records.write(records.run_subject(), &run, Some(0)).await;
            let written = written.map_err(|reason| failed("store the run", reason))?;
            if written.is_some() {
                return Ok(run);
            }
            // Somebody else was first.
        } else if !is_told {
            is_told = true;
            waits(&format!(
                "site `{site}` has not been begun: waiting for a part that receives from other machines to begin it ({})",
                connection.address
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns the existing run, if any.
///
/// # Errors
/// The record of the run cannot be read, or the server cannot be asked.
pub(super) async fn read_run(
    connection: &NatsConnection,
    records: &Records,
) -> Result<Option<RunMessage>, SiteError> {
    let since = Instant::now();
    match records.read::<RunMessage>(&records.run_subject()).await {
        Ok(found) if found.is_unreadable() => Err(SiteError::Unreadable {
            site: connection.site.clone(),
            at: connection.at(),
        }),
        Ok(found) => Ok(found.value),
        Err(Unread::NoStore) => Ok(None),
        Err(Unread::Other(reason)) => Err(SiteError::server(
            connection,
            since,
            "report what runs",
            reason,
        )),
    }
}

/// Returns a unique identifier: an inbox of the client is different for every process and call.
fn fresh_id(connection: &NatsConnection) -> String {
    let inbox = connection.client.new_inbox();
    inbox.rsplit('.').next().unwrap_or(&inbox).to_owned()
}

fn same(
    connection: &NatsConnection,
    spec: &PartSpec,
    run: RunMessage,
) -> Result<RunMessage, SiteError> {
    let site = connection.site.clone();
    if run.version != spec.version {
        return Err(SiteError::OtherVersion {
            at: connection.at(),
            site,
            there: run.version,
            here: spec.version.clone(),
        });
    }
    if run.digest != spec.digest {
        return Err(SiteError::OtherGraph {
            at: connection.at(),
            site,
            graph: run.graph,
            since: utc(run.begun_unix_ms),
        });
    }
    Ok(run)
}

/// Takes this machine's place in the run, if nobody has it.
pub(super) async fn take_place(
    connection: &NatsConnection,
    records: &Records,
    spec: &PartSpec,
    run: &RunMessage,
) -> Result<(PartMessage, async_nats::Subscriber), SiteError> {
    let site = &connection.site;
    let subject = records.part_subject(&spec.machine);
    let hello = records.hello_subject(&spec.machine);
    loop {
        let since = Instant::now();
        let failed = |what, reason| SiteError::server(connection, since, what, reason);
        let known = match records.read::<PartMessage>(&subject).await {
            Ok(known) => known,
            Err(Unread::NoStore) => Last::NONE,
            Err(Unread::Other(reason)) => return Err(failed("report which parts run", reason)),
        };
        // An unreadable record counts as one earlier life.
        let earlier = known
            .value
            .as_ref()
            .map_or(u64::from(known.is_unreadable()), |known| known.incarnation);
        if let Some(known) = &known.value
            && (known.ended_unix_ms != 0 || known.run != run.id)
        {
            return Err(SiteError::Ended {
                at: connection.at(),
                site: site.clone(),
                machine: spec.machine.clone(),
                since: utc(run.begun_unix_ms),
            });
        }
        // Asked even if no part is recorded: the server may have just forgotten it.
        if is_there(connection, &hello).await? {
            let since = known
                .value
                .map_or_else(unix_ms, |known| known.started_unix_ms);
            return Err(SiteError::Taken {
                site: site.clone(),
                machine: spec.machine.clone(),
                since: utc(since),
            });
        }
        // A program that joins from now on finds this part there, or finds that somebody has written.
        let listening = connection.client.subscribe(hello.clone()).await;
        let listening =
            listening.map_err(|error| failed("let this part subscribe", error.to_string()))?;
        let own = PartMessage {
            run: run.id.clone(),
            incarnation: earlier + 1,
            started_unix_ms: unix_ms(),
            ..PartMessage::default()
        };
        let written = records
            .write(subject.clone(), &own, Some(known.sequence))
            .await;
        let written = written.map_err(|reason| failed("store this part", reason))?;
        if written.is_some() {
            return Ok((own, listening));
        }
        // Somebody else has written meanwhile: try again.
        drop(listening);
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns whether the part of a machine answers.
///
/// # Errors
/// Asking is forbidden: the server never answers such a request, and neither does a part that is too busy.
pub(super) async fn is_there(connection: &NatsConnection, hello: &str) -> Result<bool, SiteError> {
    let since = Instant::now();
    let asked = connection.client.request(hello.to_owned(), Bytes::new());
    match tokio::time::timeout(HELLO, asked).await {
        Ok(Ok(_)) => return Ok(true),
        Ok(Err(error)) if error.kind() != RequestErrorKind::TimedOut => return Ok(false),
        Ok(Err(_)) | Err(_) => {}
    }
    match connection.forbidden(since) {
        Some(reason) => Err(SiteError::server(
            connection,
            since,
            "let this program ask a part",
            reason,
        )),
        // Somebody listens, but is too busy to answer.
        None => Ok(true),
    }
}
