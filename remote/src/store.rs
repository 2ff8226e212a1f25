//! The server side of an edge: two JetStream streams, one for packets and one for what its ends tell.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::stream::{self, DiscardPolicy, RetentionPolicy, StorageType};
use fermata_engine::graph::WhenFull;

use crate::connection::NatsConnection;
use crate::error::chain;
use crate::names::EdgeNames;

/// Room of a lossless edge, in packets per stream, besides those that wait and those on their way: while the server
/// records how far the sinks have come, this many are settled but cannot be acknowledged yet.
const UNREMEMBERED: usize = 64;

/// Configuration of an edge's store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreSpec {
    /// Policy of a full store.
    pub(crate) full: WhenFull,
    /// Most packets of one stream that it holds.
    pub(crate) limit: usize,
}

impl StoreSpec {
    /// Returns the store of an edge with these settings.
    pub(crate) fn new(full: WhenFull, capacity: usize, window: usize) -> Self {
        let unremembered = match full {
            WhenFull::Block => UNREMEMBERED,
            WhenFull::DropOldest | WhenFull::DropNewest => 0,
        };
        Self {
            full,
            limit: capacity + window + unremembered,
        }
    }

    fn storage(self) -> StorageType {
        match self.full {
            WhenFull::Block => StorageType::File,
            WhenFull::DropOldest | WhenFull::DropNewest => StorageType::Memory,
        }
    }

    /// Returns the stream that holds packets until they are acknowledged. Lossless edges use files; each subject has
    /// its own limit.
    fn packets(self, names: &EdgeNames) -> stream::Config {
        let per_subject = i64::try_from(self.limit).unwrap_or(i64::MAX);
        stream::Config {
            name: names.packets.clone(),
            subjects: vec![names.packets_of("*")],
            retention: RetentionPolicy::WorkQueue,
            storage: self.storage(),
            max_messages_per_subject: per_subject,
            discard: match self.full {
                WhenFull::DropOldest => DiscardPolicy::Old,
                WhenFull::Block | WhenFull::DropNewest => DiscardPolicy::New,
            },
            discard_new_per_subject: self.full != WhenFull::DropOldest,
            ..stream::Config::default()
        }
    }

    /// Returns the stream that holds the last message of each end, without an age limit; in a file, so that a restarted
    /// server still knows how far they had come.
    fn progress(self, names: &EdgeNames) -> stream::Config {
        stream::Config {
            name: names.progress.clone(),
            subjects: vec![names.progress_of("*"), names.settled_of("*")],
            storage: StorageType::File,
            max_messages_per_subject: 1,
            discard: DiscardPolicy::Old,
            ..stream::Config::default()
        }
    }
}

/// Why a store was not made.
pub(crate) enum NotMade {
    /// The edge exists with other settings.
    Differs(String),
    /// The server cannot do it now.
    Other(String),
}

/// Makes the two JetStream streams of an edge, where they do not exist.
pub(crate) async fn make(
    connection: &NatsConnection,
    spec: StoreSpec,
    names: &EdgeNames,
) -> Result<(), NotMade> {
    // A sending end opens once it can write its progress: by then there is room for its packets.
    make_one(connection, spec.packets(names)).await?;
    make_one(connection, spec.progress(names)).await
}

async fn make_one(connection: &NatsConnection, config: stream::Config) -> Result<(), NotMade> {
    let jetstream = &connection.jetstream;
    let other = |error: &dyn std::error::Error| NotMade::Other(chain(error));
    let known = match jetstream.get_stream(&config.name).await {
        Ok(stream) => stream.cached_info().config.clone(),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(found)
                if found.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                let made = jetstream.create_stream(config).await;
                return made.map(drop).map_err(|error| other(&error));
            }
            _ => return Err(other(&error)),
        },
    };
    let is_same = known.storage == config.storage
        && known.discard == config.discard
        && known.max_messages_per_subject == config.max_messages_per_subject;
    if !is_same {
        return Err(NotMade::Differs(format!(
            "the store `{}` already exists with other settings, for an edge that holds {} packets of each stream: end the run that made it, or give this edge another name",
            config.name, known.max_messages_per_subject
        )));
    }
    Ok(())
}
