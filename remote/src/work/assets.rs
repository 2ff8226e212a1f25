//! A job's assets at the server, which are made, found and removed here and nowhere else.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use async_nats::jetstream::context::{
    ConsumerInfoErrorKind, DeleteStreamErrorKind, GetStreamErrorKind,
};
use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{
    self, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, Stream,
};
use async_nats::jetstream::{self, ErrorCode, kv};
use futures_util::TryStreamExt;

use super::error::WorkError;
use super::job_name::JobName;
use super::records::{JobRecord, read, to_bytes};
use super::results::Results;
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
    pub(crate) results: Results,
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

/// Returns the names of a job's streams.
fn streams_of(id: &str) -> [String; 3] {
    [
        units_name(id),
        format!("KV_{}", state_name(id)),
        results_name(id),
    ]
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

impl Assets {
    /// Returns the subject of a unit; for `*`, of all units.
    pub(crate) fn subject(&self, unit: &str) -> String {
        format!("fermata-job.{}.unit.{unit}", self.id)
    }

    /// Returns the unit of a subject.
    pub(crate) fn unit_of(&self, subject: &str) -> Option<u64> {
        subject.strip_prefix(&self.subject(""))?.parse().ok()
    }

    /// Returns the units in the queue.
    pub(crate) async fn queued(&self) -> Result<BTreeSet<u64>, String> {
        let subjects = self.units.info_with_subjects(self.subject("*")).await;
        let mut subjects = subjects.map_err(|error| chain(&error))?;
        let mut units = BTreeSet::new();
        while let Some((subject, _)) = subjects.try_next().await.map_err(|error| chain(&error))? {
            units.extend(self.unit_of(&subject));
        }
        Ok(units)
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
    consumer.map_err(|error| failed(&error))?;
    let state = kv::Config {
        bucket: state_name(&id),
        history: 1,
        ..kv::Config::default()
    };
    let state = jetstream.create_key_value(state).await;
    state.map_err(|error| failed(&error))?;
    let results = Results::config(&results_name(&id), &id);
    let results = jetstream.get_or_create_stream(results).await;
    results.map_err(|error| failed(&error))?;
    open(jetstream, record).await
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
    let results = jetstream.get_stream(results_name(&id)).await;
    let results = results.map_err(|error| failed(&error))?;
    let results = Results::new(jetstream, results, &id);
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

fn key_of(job: &JobName) -> String {
    format!("$KV.{JOBS}.{job}")
}

/// Returns the entry under the name of a job, if there is one.
///
/// # Errors
/// The server does not answer.
pub(crate) async fn entry(
    jetstream: &jetstream::Context,
    job: &JobName,
) -> Result<Option<StreamMessage>, WorkError> {
    let failed = server("looking for the job");
    let jobs = jetstream.get_stream_no_info(format!("KV_{JOBS}")).await;
    let jobs = jobs.map_err(|error| failed(&error))?;
    let found = jobs.get_last_raw_message_by_subject(&key_of(job)).await;
    match found {
        Ok(message) if message.headers.get("KV-Operation").is_some() => Ok(None),
        Ok(message) => Ok(Some(message)),
        Err(error) => match error.kind() {
            LastRawMessageErrorKind::NoMessageFound => Ok(None),
            LastRawMessageErrorKind::JetStream(found)
                if found.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(None)
            }
            _ => Err(failed(&error)),
        },
    }
}

/// Returns the job of a name, if there is one; also none if this server never had a job.
pub(crate) async fn find(
    jetstream: &jetstream::Context,
    job: &JobName,
) -> Result<Option<JobRecord>, WorkError> {
    let found = find_revision(jetstream, job).await?;
    Ok(found.map(|(record, _)| record))
}

/// Returns also the revision of the record.
async fn find_revision(
    jetstream: &jetstream::Context,
    job: &JobName,
) -> Result<Option<(JobRecord, u64)>, WorkError> {
    let Some(entry) = entry(jetstream, job).await? else {
        return Ok(None);
    };
    let record = read(&entry.payload).map_err(|error| WorkError::Unreadable {
        job: job.to_string(),
        reason: error.to_string(),
    })?;
    Ok(Some((record, entry.sequence)))
}

/// Returns which part of a job is no longer at the server, if one is missing.
///
/// # Errors
/// The server does not answer.
pub(crate) async fn missing(
    jetstream: &jetstream::Context,
    job: &JobName,
    assets: &Assets,
) -> Result<Option<String>, WorkError> {
    let failed = server("looking for the job's streams");
    match find(jetstream, job).await {
        Ok(Some(record)) if record.id == assets.id => {}
        Ok(Some(record)) => {
            let by = record.by;
            return Ok(Some(format!(
                "its name belongs to another job, begun by {by}"
            )));
        }
        Ok(None) => return Ok(Some("its name is missing".to_owned())),
        Err(WorkError::Unreadable { reason, .. }) => {
            return Ok(Some(format!("its record cannot be read: {reason}")));
        }
        Err(error) => return Err(error),
    }
    for stream in streams_of(&assets.id) {
        if let Err(error) = jetstream.get_stream(&stream).await {
            return match error.kind() {
                GetStreamErrorKind::JetStream(found)
                    if found.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(Some(format!("its stream `{stream}` is missing")))
                }
                _ => Err(failed(&error)),
            };
        }
    }
    match assets.units.consumer_info(CONSUMER).await {
        Err(error) if error.kind() == ConsumerInfoErrorKind::NotFound => {
            Ok(Some("its queue is missing".to_owned()))
        }
        Err(error) => Err(failed(&error)),
        Ok(_) => Ok(None),
    }
}

/// Checks that a job can be announced: that others can read its record, and that no other job has its name. Returns the
/// record of the same job, if it is announced already.
///
/// # Errors
/// One of these is not so, or the server does not answer.
pub(crate) async fn check(
    jetstream: &jetstream::Context,
    job: &JobName,
    record: &JobRecord,
) -> Result<Option<JobRecord>, WorkError> {
    if let Err(error) = read::<JobRecord>(&to_bytes(record)) {
        return Err(WorkError::Unfit {
            reason: error.to_string(),
        });
    }
    match find_known(jetstream, job).await? {
        Some(known) if known.id != record.id => Err(WorkError::Taken {
            job: job.to_string(),
            by: known.by,
        }),
        known => Ok(known),
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

/// Adds a job to the list, unless another one has its name. See [`check`] for what is checked before.
pub(crate) async fn announce(
    jetstream: &jetstream::Context,
    job: &JobName,
    record: &JobRecord,
) -> Result<(), WorkError> {
    let jobs = jobs(jetstream).await?;
    let created = jobs.create(job.as_str(), to_bytes(record).into()).await;
    let Err(error) = created else {
        return Ok(());
    };
    let failed = server("announcing the job");
    match find_revision(jetstream, job).await? {
        Some((known, _)) if known == *record => Ok(()),
        // It is resumed, and handed out by somebody else than before.
        Some((known, revision)) if known.id == record.id => {
            let bytes = to_bytes(record).into();
            let written = jobs.update(job.as_str(), bytes, revision).await;
            written.map(drop).map_err(|error| failed(&error))
        }
        Some((known, _)) => Err(WorkError::Taken {
            job: job.to_string(),
            by: known.by,
        }),
        None => Err(failed(&error)),
    }
}

/// Removes the job of this id. Another job that has taken its name stays.
///
/// # Errors
/// The server cannot do it.
pub(crate) async fn remove(
    jetstream: &jetstream::Context,
    job: &JobName,
    id: &str,
) -> Result<(), WorkError> {
    // The name first: workers look for it, and a failure in between leaves only streams that nobody uses.
    if let Some(entry) = entry(jetstream, job).await?
        && read::<JobRecord>(&entry.payload).is_ok_and(|known| known.id == id)
    {
        forget(jetstream, job, &entry).await?;
    }
    for stream in streams_of(id) {
        if let Err(error) = jetstream.delete_stream(&stream).await {
            let is_gone = matches!(
                error.kind(),
                DeleteStreamErrorKind::JetStream(found)
                    if found.error_code() == ErrorCode::STREAM_NOT_FOUND
            );
            if !is_gone {
                tracing::warn!(
                    "{stream} could not be removed from the NATS server: {}",
                    chain(&error)
                );
            }
        }
    }
    Ok(())
}

/// Removes the entry of a job from the list, unless it has been replaced since. Writes no note of the removal, since a
/// full server has no room for one.
pub(crate) async fn forget(
    jetstream: &jetstream::Context,
    job: &JobName,
    entry: &StreamMessage,
) -> Result<(), WorkError> {
    let failed = server("removing the job");
    let jobs = jetstream.get_stream_no_info(format!("KV_{JOBS}")).await;
    let jobs = jobs.map_err(|error| failed(&error))?;
    let purged = jobs.purge().filter(key_of(job));
    let purged = purged.sequence(entry.sequence + 1).await;
    purged.map(drop).map_err(|error| failed(&error))
}
