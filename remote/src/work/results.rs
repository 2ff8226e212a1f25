//! Results at the server: stored, fetched and removed in pieces under a subject of their own. The committed record says
//! what a result must be.
//!
//! They do not use NATS's object store: if it runs out of room, it leaves the stored pieces behind, where nobody finds
//! them, and it records each removal, for which a full server has no room.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{self, RawMessageErrorKind, Stream};
use bytes::{Bytes, BytesMut};

use super::records::ResultRecord;
use crate::error::chain;

/// Time limit for transferring the bytes of a result, one way.
const TRANSFER: Duration = Duration::from_secs(60);
/// Bytes in a piece: less than any server's `max_payload`.
const PIECE: usize = 128 << 10;

/// The results of a job.
#[derive(Clone)]
pub(crate) struct Results {
    jetstream: jetstream::Context,
    stream: Stream,
    prefix: String,
}

/// Why a result cannot be used.
pub(crate) enum NotFetched {
    /// It is certainly not what its record says.
    Damaged(String),
    /// The server does not have it any more.
    Lost,
    /// The server cannot deliver it now.
    NotNow(String),
}

impl Results {
    /// Returns the configuration of the stream for a job's results.
    pub(crate) fn config(name: &str, id: &str) -> stream::Config {
        stream::Config {
            name: name.to_owned(),
            subjects: vec![format!("{}>", prefix(id))],
            ..stream::Config::default()
        }
    }

    /// Creates the results of a job that are in this stream.
    pub(crate) fn new(jetstream: &jetstream::Context, stream: Stream, id: &str) -> Self {
        Self {
            jetstream: jetstream.clone(),
            stream,
            prefix: prefix(id),
        }
    }

    fn subject(&self, unit: u64, attempt: u32) -> String {
        format!("{}{unit}.{attempt}", self.prefix)
    }

    /// Stores a result, replacing an existing one. If it cannot be stored completely, its pieces are removed again.
    ///
    /// # Errors
    /// The server cannot do it, or not in time.
    pub(crate) async fn store(&self, unit: u64, attempt: u32, bytes: &Bytes) -> Result<(), String> {
        self.remove(unit, attempt).await?;
        let storing = tokio::time::timeout(TRANSFER, self.store_pieces(unit, attempt, bytes));
        let stored = storing.await;
        let stored = stored.unwrap_or_else(|_| Err("storing the result took too long".to_owned()));
        if stored.is_err()
            && let Err(reason) = self.remove(unit, attempt).await
        {
            tracing::debug!("unit {unit}: pieces of its result cannot be removed yet: {reason}");
        }
        stored
    }

    async fn store_pieces(&self, unit: u64, attempt: u32, bytes: &Bytes) -> Result<(), String> {
        let subject = self.subject(unit, attempt);
        let mut last = 0;
        // A piece must follow the previous one, so that a delayed piece cannot come in between.
        for start in (0..bytes.len()).step_by(PIECE) {
            let piece = bytes.slice(start..bytes.len().min(start + PIECE));
            let piece = PublishMessage::build().payload(piece);
            let piece = piece.expected_last_subject_sequence(last);
            let sent = self.jetstream.send_publish(subject.clone(), piece).await;
            let stored = sent.map_err(|error| chain(&error))?.await;
            last = stored.map_err(|error| chain(&error))?.sequence;
        }
        Ok(())
    }

    /// Fetches a result: no more bytes than its record says, and with the hash of its record.
    ///
    /// # Errors
    /// See [`NotFetched`].
    pub(crate) async fn fetch(
        &self,
        unit: u64,
        record: &ResultRecord,
        most_bytes: u64,
    ) -> Result<Bytes, NotFetched> {
        let damaged = |reason: &str| Err(NotFetched::Damaged(reason.to_owned()));
        if record.size > most_bytes {
            return damaged("it is larger than a unit's result can be");
        }
        let bringing = self.pieces(unit, record);
        let Ok(brought) = tokio::time::timeout(TRANSFER, bringing).await else {
            return Err(NotFetched::NotNow("fetching it took too long".to_owned()));
        };
        let bytes = brought.map_err(NotFetched::NotNow)?;
        if bytes.is_empty() && record.size > 0 {
            return Err(NotFetched::Lost);
        }
        if bytes.len() as u64 != record.size {
            return damaged("its size is not that of what was committed");
        }
        if sha256(&bytes) != record.sha256 {
            return damaged("its bytes are not those that were committed");
        }
        Ok(bytes)
    }

    /// Fetches pieces until there are no more, or too many.
    async fn pieces(&self, unit: u64, record: &ResultRecord) -> Result<Bytes, String> {
        let subject = self.subject(unit, record.attempt);
        let mut bytes = BytesMut::new();
        let mut next = 1;
        while bytes.len() as u64 <= record.size {
            let piece = self.stream.raw_message_builder().sequence(next);
            match piece.next_by_subject(&subject).send().await {
                Ok(piece) => {
                    bytes.extend_from_slice(&piece.payload);
                    next = piece.sequence + 1;
                }
                Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => break,
                Err(error) => return Err(chain(&error)),
            }
        }
        Ok(bytes.freeze())
    }

    /// Removes a result, if it exists.
    ///
    /// # Errors
    /// The server cannot do it.
    pub(crate) async fn remove(&self, unit: u64, attempt: u32) -> Result<(), String> {
        let purged = self
            .stream
            .purge()
            .filter(self.subject(unit, attempt))
            .await;
        purged.map(drop).map_err(|error| chain(&error))
    }
}

fn prefix(id: &str) -> String {
    format!("fermata-job.{id}.result.")
}

/// Returns the SHA-256 as hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    fermata_files::sha256(bytes)
}
