//! What the server remembers of a run of a site: the run, its parts, whether it is to end. A JetStream stream of its
//! own holds the last of each; a writer may require that nobody has written since.

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{self, DiscardPolicy, StorageType};
use async_nats::jetstream::{self, ErrorCode};
use futures_util::TryStreamExt;
use prost::Message;

use crate::connection::NatsConnection;
use crate::error::chain;
use crate::last::{Last, Unread, last, write};
use crate::names::token;

/// A run of a site.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct RunMessage {
    /// Unique identifier.
    #[prost(string, tag = "1")]
    pub(super) id: String,
    /// Name of the graph.
    #[prost(string, tag = "2")]
    pub(super) graph: String,
    /// Hash of what all parts of the graph have in common.
    #[prost(string, tag = "3")]
    pub(super) digest: String,
    /// Version of the program.
    #[prost(string, tag = "4")]
    pub(super) version: String,
    /// When it was begun, in milliseconds since 1970.
    #[prost(int64, tag = "5")]
    pub(super) begun_unix_ms: i64,
    /// The machines that it is for.
    #[prost(string, repeated, tag = "6")]
    pub(super) machines: Vec<String>,
}

/// The part of a run that a machine runs.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct PartMessage {
    /// Identifier of the run.
    #[prost(string, tag = "1")]
    pub(super) run: String,
    /// How often it has been started: 1 and above.
    #[prost(uint64, tag = "2")]
    pub(super) incarnation: u64,
    /// When it was started, in milliseconds since 1970.
    #[prost(int64, tag = "3")]
    pub(super) started_unix_ms: i64,
    /// When it ended, in milliseconds since 1970; 0 if it has not.
    #[prost(int64, tag = "4")]
    pub(super) ended_unix_ms: i64,
    /// How much its clock was ahead of the server's at the last comparison, in nanoseconds.
    #[prost(sint64, tag = "5")]
    pub(super) clock_ahead_ns: i64,
    /// How wrong that may be, in nanoseconds; 0 while the clock has not been compared.
    #[prost(uint64, tag = "6")]
    pub(super) clock_error_ns: u64,
}

/// Request that all sources of a run end.
#[derive(Clone, PartialEq, Eq, Message)]
pub(super) struct DrainMessage {
    /// Identifier of the run.
    #[prost(string, tag = "1")]
    pub(super) run: String,
}

/// The store of a site.
pub(super) struct Records {
    pub(super) jetstream: jetstream::Context,
    site: String,
}

impl Records {
    pub(super) fn new(connection: &NatsConnection) -> Self {
        Self {
            jetstream: connection.jetstream.clone(),
            site: token(&connection.site),
        }
    }

    fn store(&self) -> String {
        format!("fermata+{}+site", self.site)
    }

    pub(super) fn run_subject(&self) -> String {
        format!("fermata.{}.site.run", self.site)
    }

    pub(super) fn part_subject(&self, machine: &str) -> String {
        format!("fermata.{}.site.part.{}", self.site, token(machine))
    }

    pub(super) fn drain_subject(&self) -> String {
        format!("fermata.{}.site.drain", self.site)
    }

    /// Returns the subject on which a part answers that it is there; no store holds it.
    pub(super) fn hello_subject(&self, machine: &str) -> String {
        format!("fermata.{}.hello.{}", self.site, token(machine))
    }

    /// Makes the store, if it does not exist.
    pub(super) async fn make(&self) -> Result<(), String> {
        let config = stream::Config {
            name: self.store(),
            subjects: vec![
                self.run_subject(),
                format!("fermata.{}.site.part.*", self.site),
                self.drain_subject(),
            ],
            storage: StorageType::File,
            max_messages_per_subject: 1,
            discard: DiscardPolicy::Old,
            ..stream::Config::default()
        };
        match self.jetstream.get_stream(&config.name).await {
            Ok(_) => Ok(()),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(found)
                    if found.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    let made = self.jetstream.create_stream(config).await;
                    made.map(drop).map_err(|error| chain(&error))
                }
                _ => Err(chain(&error)),
            },
        }
    }

    /// Returns the last message on a subject.
    pub(super) async fn read<T: Message + Default>(
        &self,
        subject: &str,
    ) -> Result<Last<T>, Unread> {
        last(&self.jetstream, &self.store(), subject, |bytes| {
            T::decode(bytes)
        })
        .await
    }

    /// Writes a message. Returns its number in the store; none if somebody has written since the given number (0:
    /// ever).
    pub(super) async fn write(
        &self,
        subject: String,
        message: &impl Message,
        since: Option<u64>,
    ) -> Result<Option<u64>, String> {
        let bytes = message.encode_to_vec().into();
        Ok(write(&self.jetstream, subject, bytes, since).await?)
    }

    /// Returns the JetStream streams of the site, its own store last.
    pub(super) async fn stores(&self) -> Result<Vec<stream::Info>, String> {
        let prefix = format!("fermata+{}+", self.site);
        let mut streams = self.jetstream.streams();
        let mut stores = Vec::new();
        while let Some(info) = streams.try_next().await.map_err(|error| chain(&error))? {
            if info.config.name.starts_with(&prefix) {
                stores.push(info);
            }
        }
        let own = self.store();
        stores.sort_by_key(|info| (info.config.name == own, info.config.name.clone()));
        Ok(stores)
    }

    /// Returns whether a JetStream stream is this store.
    pub(super) fn is_own(&self, store: &str) -> bool {
        store == self.store()
    }
}
