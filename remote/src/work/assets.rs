//! A job's assets at the server, which are made, found and removed here and nowhere else.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::kv;
use async_nats::jetstream::object_store::{self, ObjectStore};
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, Stream};
use async_nats::jetstream::{self};

use super::error::WorkError;
use super::job_name::JobName;
use super::records::{JobRecord, MOST_JOB_BYTES, read, to_bytes};
use crate::connection::NatsConnection;
use crate::error::chain;

/// The bucket that has a key for each job.
const JOBS: &str = "fermata-jobs";
const CONSUMER: &str = "workers";
/// Most units that may be leased at once.
const MOST_LEASED: i64 = 100_000;

/// A job's assets at the server, opened, and its subjects.
#[derive(Clone)]
pub(crate) struct Assets {
    id: String,
    pub(crate) units: Stream,
    pub(crate) consumer: PullConsumer,
    pub(crate) state: kv::Store,
    pub(crate) results: ObjectStore,
}

fn units_name(id: &str) -> String {
    format!("fermata-{id}-units")
}

fn state_name(id: &str) -> String {
    format!("fermata-{id}-state")
}

fn results_name(id: &str) -> String {
    format!("fermata-{id}-results")
}

/// Returns the subject on which workers report.
pub(crate) fn reports_of(id: &str) -> String {
    format!("fermata-job.{id}.worker")
}

/// Returns the key of a unit's outcome.
pub(crate) fn outcome_key(unit: u64) -> String {
    format!("unit.{unit}")
}

/// Returns the key of who has begun a unit.
pub(crate) fn tries_key(unit: u64) -> String {
    format!("tries.{unit}")
}

/// Returns the name of a result.
pub(crate) fn object_name(unit: u64, attempt: u32) -> String {
    format!("{unit}.{attempt}")
}

impl Assets {
    /// Returns the subject of a unit; for `*`, of all units.
    pub(crate) fn subject(&self, unit: &str) -> String {
        format!("fermata-job.{}.unit.{unit}", self.id)
    }

    /// Returns the unit of a subject.
    pub(crate) fn unit_of(&self, subject: &str) -> Option<u64> {
        subject.strip_prefix(&self.subject(""))?.parse().ok()
    }
}

fn server(doing: &'static str) -> impl Fn(&dyn std::error::Error) -> WorkError {
    move |error| WorkError::Server {
        doing,
        reason: chain(error),
    }
}

/// Makes what a job needs, where it does not exist.
pub(crate) async fn make(
    jetstream: &jetstream::Context,
    record: &JobRecord,
) -> Result<Assets, WorkError> {
    let failed = server("making the job's streams");
    let id = record.id.clone();
    // One message per unit: publishing a unit that is there is refused, so that it may be done at any time.
    let units = stream::Config {
        name: units_name(&id),
        subjects: vec![format!("fermata-job.{id}.unit.*")],
        retention: RetentionPolicy::WorkQueue,
        max_messages_per_subject: 1,
        discard: DiscardPolicy::New,
        discard_new_per_subject: true,
        ..stream::Config::default()
    };
    let units = jetstream.get_or_create_stream(units).await;
    let units = units.map_err(|error| failed(&error))?;
    let consumer = pull::Config {
        durable_name: Some(CONSUMER.to_owned()),
        ack_policy: AckPolicy::Explicit,
        ack_wait: Duration::from_millis(record.lease_ms),
        max_ack_pending: MOST_LEASED,
        ..pull::Config::default()
    };
    let consumer = units.get_or_create_consumer(CONSUMER, consumer).await;
    let consumer = consumer.map_err(|error| failed(&error))?;
    let state = kv::Config {
        bucket: state_name(&id),
        history: 1,
        ..kv::Config::default()
    };
    let state = jetstream.create_key_value(state).await;
    let state = state.map_err(|error| failed(&error))?;
    let results = object_store::Config {
        bucket: results_name(&id),
        ..object_store::Config::default()
    };
    let results = jetstream.create_object_store(results).await;
    let results = results.map_err(|error| failed(&error))?;
    Ok(Assets {
        id,
        units,
        consumer,
        state,
        results,
    })
}

/// Opens the assets of a job.
pub(crate) async fn open(
    jetstream: &jetstream::Context,
    record: &JobRecord,
) -> Result<Assets, WorkError> {
    let failed = server("opening the job's streams");
    let id = record.id.clone();
    let units = jetstream.get_stream(units_name(&id)).await;
    let units = units.map_err(|error| failed(&error))?;
    let consumer = units.get_consumer(CONSUMER).await;
    let consumer = consumer.map_err(|error| WorkError::Server {
        doing: "opening the job's queue",
        reason: error.to_string(),
    })?;
    let state = jetstream.get_key_value(state_name(&id)).await;
    let state = state.map_err(|error| failed(&error))?;
    let results = jetstream.get_object_store(results_name(&id)).await;
    let results = results.map_err(|error| failed(&error))?;
    Ok(Assets {
        id,
        units,
        consumer,
        state,
        results,
    })
}

async fn jobs(jetstream: &jetstream::Context) -> Result<kv::Store, WorkError> {
    let config = kv::Config {
        bucket: JOBS.to_owned(),
        history: 1,
        ..kv::Config::default()
    };
    let made = jetstream.create_key_value(config).await;
    made.map_err(|error| server("making the list of jobs")(&error))
}

/// Returns the job of a name, if there is one; also none if this server never had a job.
pub(crate) async fn find(
    jetstream: &jetstream::Context,
    job: &JobName,
) -> Result<Option<JobRecord>, WorkError> {
    let failed = server("looking for the job");
    let jobs = match jetstream.get_stream_no_info(format!("KV_{JOBS}")).await {
        Ok(stream) => stream,
        Err(error) => return Err(failed(&error)),
    };
    let subject = format!("$KV.{JOBS}.{job}");
    let message = match jobs.get_last_raw_message_by_subject(&subject).await {
        Ok(message) => message,
        Err(error) => {
            use jetstream::stream::LastRawMessageErrorKind as Kind;
            return match error.kind() {
                Kind::NoMessageFound => Ok(None),
                Kind::JetStream(found)
                    if found.error_code() == jetstream::ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(None)
                }
                _ => Err(failed(&error)),
            };
        }
    };
    if message.headers.get("KV-Operation").is_some() {
        // It was removed.
        return Ok(None);
    }
    match read(&message.payload) {
        Ok(record) => Ok(Some(record)),
        Err(error) => Err(WorkError::Unreadable {
            job: job.to_string(),
            reason: error.to_string(),
        }),
    }
}

/// Returns the job of a name, as [`find`] does, after making the list of jobs where it does not exist.
pub(crate) async fn find_known(
    jetstream: &jetstream::Context,
    job: &JobName,
) -> Result<Option<JobRecord>, WorkError> {
    jobs(jetstream).await?;
    find(jetstream, job).await
}

/// Adds a job to the list, unless another one has its name.
pub(crate) async fn announce(
    jetstream: &jetstream::Context,
    job: &JobName,
    record: &JobRecord,
) -> Result<(), WorkError> {
    let bytes = to_bytes(record);
    if bytes.len() > MOST_JOB_BYTES {
        return Err(WorkError::TooLarge {
            reason: format!(
                "it takes {} bytes, and may take at most {MOST_JOB_BYTES}",
                bytes.len()
            ),
        });
    }
    let jobs = jobs(jetstream).await?;
    let created = jobs.create(job.as_str(), bytes.into()).await;
    let Err(error) = created else {
        return Ok(());
    };
    match find(jetstream, job).await? {
        Some(known) if known.id == record.id => Ok(()),
        Some(known) => Err(WorkError::Taken {
            job: job.to_string(),
            by: known.by,
        }),
        None => Err(server("announcing the job")(&error)),
    }
}

/// Removes a job and all that it has at the server, so that its workers end.
///
/// # Errors
/// There is no such job, or the server cannot do it.
pub fn end_job(connection: &NatsConnection, job: &JobName) -> Result<(), WorkError> {
    connection.block_on(async {
        let jetstream = &connection.jetstream;
        match find(jetstream, job).await {
            Ok(None) => Err(WorkError::NoJob {
                job: job.to_string(),
            }),
            Ok(Some(record)) => remove(jetstream, job, &record.id).await,
            // An unreadable job can be removed: only its streams stay, whose names nobody knows.
            Err(WorkError::Unreadable { .. }) => forget(jetstream, job).await,
            Err(error) => Err(error),
        }
    })
}

/// Removes the job of this id.
pub(crate) async fn remove(
    jetstream: &jetstream::Context,
    job: &JobName,
    id: &str,
) -> Result<(), WorkError> {
    // The name first: workers look for it, and a failure in between leaves only streams that nobody uses.
    forget(jetstream, job).await?;
    for stream in [
        units_name(id),
        format!("KV_{}", state_name(id)),
        format!("OBJ_{}", results_name(id)),
    ] {
        if let Err(error) = jetstream.delete_stream(&stream).await {
            tracing::warn!(
                "{stream} could not be removed from the NATS server: {}",
                chain(&error)
            );
        }
    }
    Ok(())
}

async fn forget(jetstream: &jetstream::Context, job: &JobName) -> Result<(), WorkError> {
    let purged = jobs(jetstream).await?.purge(job.as_str()).await;
    purged.map_err(|error| server("removing the job")(&error))
}
