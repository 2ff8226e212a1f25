//! Carries out at the server what an attempt asks for, and reads what both coordinator and worker need from there.

use async_nats::jetstream::kv::{self, CreateErrorKind, Operation, UpdateErrorKind};
use bytes::Bytes;

use super::assets::{Assets, outcome_key, tries_key};
use super::attempt::{Ask, Told};
use super::records::{Outcome, Record, ResultRecord, Tries, read, to_bytes};
use crate::error::chain;

/// What a key holds.
pub(crate) enum Held<R> {
    /// A record, and its revision.
    Record(R, u64),
    /// Nothing.
    Nothing,
    /// Something unreadable: why, and its revision.
    Other(String, u64),
}

/// Reads a key.
///
/// # Errors
/// The server does not answer.
pub(crate) async fn held<R: Record>(state: &kv::Store, key: String) -> Result<Held<R>, String> {
    let entry = state.entry(key).await.map_err(|error| chain(&error))?;
    let Some(entry) = entry.filter(|entry| entry.operation == Operation::Put) else {
        return Ok(Held::Nothing);
    };
    Ok(match read(&entry.value) {
        Ok(record) => Held::Record(record, entry.revision),
        Err(error) => Held::Other(error.to_string(), entry.revision),
    })
}

/// A worker's attempt at a unit.
pub(crate) struct Performing<'a> {
    pub(crate) assets: &'a Assets,
    pub(crate) unit: u64,
    pub(crate) worker: &'a str,
    /// The result and its hash, once it is computed.
    pub(crate) result: Option<&'a (Bytes, String)>,
}

impl Performing<'_> {
    /// Asks the server.
    ///
    /// # Errors
    /// It refuses or does not answer; whether it was done is unknown.
    pub(crate) async fn ask(&self, ask: &Ask) -> Result<Told, String> {
        let asked = self.asked(ask).await;
        asked.map_err(|reason| format!("unit {}: {}: {reason}", self.unit, failure(ask)))
    }

    async fn asked(&self, ask: &Ask) -> Result<Told, String> {
        let state = &self.assets.state;
        match ask {
            Ask::ReadOutcome => match held(state, outcome_key(self.unit)).await? {
                Held::Record(outcome, _) => Ok(Told::Outcome(Some(outcome))),
                Held::Nothing => Ok(Told::Outcome(None)),
                // The coordinator removes it.
                Held::Other(reason, _) => Err(reason),
            },
            Ask::ReadTries => match held(state, tries_key(self.unit)).await? {
                Held::Record(tries, revision) => Ok(Told::Tries(Some((tries, revision)))),
                Held::Nothing => Ok(Told::Tries(None)),
                Held::Other(reason, _) => Err(reason),
            },
            Ask::WriteTries { tries, revision } => self.write(tries, *revision).await,
            Ask::Store { attempt } => {
                let (bytes, _) = self.result.ok_or("there is no result")?;
                let results = &self.assets.results;
                results.store(self.unit, *attempt, bytes).await?;
                Ok(Told::Done)
            }
            Ask::Commit { attempt } => self.commit(*attempt).await,
            Ask::Drop { attempt } => {
                self.assets.results.remove(self.unit, *attempt).await?;
                Ok(Told::Done)
            }
            // The delivery and the graph do these.
            Ask::Work { .. } | Ask::Acknowledge | Ask::Return { .. } | Ask::Nothing(_) => {
                Ok(Told::Unknown)
            }
        }
    }

    async fn write(&self, tries: &Tries, revision: Option<u64>) -> Result<Told, String> {
        let (key, bytes) = (tries_key(self.unit), Bytes::from(to_bytes(tries)));
        match revision {
            None => created(self.assets.state.create(key, bytes).await),
            Some(revision) => match self.assets.state.update(key, bytes, revision).await {
                Ok(_) => Ok(Told::Done),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {
                    Ok(Told::Refused)
                }
                Err(error) => Err(chain(&error)),
            },
        }
    }

    async fn commit(&self, attempt: u32) -> Result<Told, String> {
        let (bytes, sha256) = self.result.ok_or("there is no result")?;
        let outcome = Outcome::Result(ResultRecord {
            attempt,
            sha256: sha256.clone(),
            size: bytes.len() as u64,
            worker: self.worker.to_owned(),
        });
        let record = Bytes::from(to_bytes(&outcome));
        let state = &self.assets.state;
        created(state.create(outcome_key(self.unit), record).await)
    }
}

/// Returns the answer that a creation amounts to. One that timed out may have been done: the client then reports that
/// the key exists.
fn created(created: Result<u64, kv::CreateError>) -> Result<Told, String> {
    match created {
        Ok(_) => Ok(Told::Done),
        Err(error) if error.kind() == CreateErrorKind::AlreadyExists => Ok(Told::Refused),
        Err(error) => Err(chain(&error)),
    }
}

/// Describes the failure of a request.
fn failure(ask: &Ask) -> &'static str {
    match ask {
        Ask::ReadOutcome => "its outcome cannot be read",
        Ask::ReadTries => "its attempts cannot be read",
        Ask::WriteTries { .. } => "its attempt cannot be recorded",
        Ask::Store { .. } => "its result cannot be stored",
        Ask::Commit { .. } => "its result cannot be committed",
        Ask::Drop { .. } => "its late result cannot be removed",
        Ask::Work { .. } | Ask::Acknowledge | Ask::Return { .. } | Ask::Nothing(_) => {
            "it cannot continue"
        }
    }
}
