//! Finds out whether a job is still handed out, by asking its coordinator, and ends a job that is not.

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;

use super::assets::{entry, forget, remove};
use super::error::WorkError;
use super::job_name::JobName;
use super::records::{JobRecord, read};
use crate::connection::NatsConnection;

fn asked_at(id: &str) -> String {
    format!("fermata-job.{id}.coordinator")
}

/// Subscribes to questions whether the job is handed out.
///
/// # Errors
/// The connection is closed.
pub(super) async fn hear_questions(client: &Client, id: &str) -> Result<Subscriber, WorkError> {
    let heard = client.subscribe(asked_at(id)).await;
    heard.map_err(|error| WorkError::Server {
        doing: "subscribing to questions about the job",
        reason: error.to_string(),
    })
}

/// Answers the questions.
pub(super) async fn answer(client: &Client, mut questions: Subscriber) {
    while let Some(question) = questions.next().await {
        if let Some(reply) = question.reply
            && let Err(error) = client.publish(reply, Bytes::new()).await
        {
            tracing::debug!("cannot answer a question about the job: {error}");
        }
    }
}

/// Returns whether a job's coordinator answers.
pub(super) async fn is_handed_out(client: &Client, id: &str) -> bool {
    client.request(asked_at(id), Bytes::new()).await.is_ok()
}

/// Removes a job that nobody hands out any more, and all that it has at the server, so that its workers end.
///
/// # Errors
/// There is no such job, its coordinator answers, or the server cannot do it.
pub fn end_job(connection: &NatsConnection, job: &JobName) -> Result<(), WorkError> {
    connection.block_on(async {
        let (client, jetstream) = (&connection.client, &connection.jetstream);
        let name = job.to_string();
        let Some(entry) = entry(jetstream, job).await? else {
            return Err(WorkError::NoJob { job: name });
        };
        match read::<JobRecord>(&entry.payload) {
            Ok(record) if is_handed_out(client, &record.id).await => Err(WorkError::HandedOut {
                job: name,
                by: record.by,
            }),
            Ok(record) => remove(jetstream, job, &record.id).await,
            // An unreadable job can be removed: only its streams stay, whose names nobody knows.
            Err(_) => forget(jetstream, job, &entry).await,
        }
    })
}
