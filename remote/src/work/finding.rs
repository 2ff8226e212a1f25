//! How a worker finds its job.

use std::time::{Duration, Instant};

use super::assets::{Assets, find, open};
use super::error::WorkError;
use super::job_name::JobName;
use super::records::JobRecord;
use crate::connection::NatsConnection;

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until there is a job of a name, and returns it. Calls `waits` with the reason whenever that changes.
///
/// # Errors
/// It cannot be read, or this user may not look for it.
pub(crate) async fn wait_for_job(
    connection: &NatsConnection,
    job: &JobName,
    waits: impl Fn(&str),
) -> Result<(JobRecord, Assets), WorkError> {
    let mut told = String::new();
    loop {
        let since = Instant::now();
        let obstacle = match find(&connection.jetstream, job).await {
            Ok(Some(record)) => match open(&connection.jetstream, &record).await {
                Ok(assets) => return Ok((record, assets)),
                Err(error) => error.to_string(),
            },
            Ok(None) => "there is none yet".to_owned(),
            Err(error @ WorkError::Unreadable { .. }) => return Err(error),
            Err(error) => error.to_string(),
        };
        if let Some(reason) = connection.forbidden(since) {
            return Err(WorkError::Forbidden { reason });
        }
        if obstacle != told {
            waits(&obstacle);
            told = obstacle;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
