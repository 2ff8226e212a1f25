//! The claim to receive a stream of an edge, held by one receiving end, which alone may record at the server what has
//! been settled.
//!
//! A new end writes what was settled once more in its own name, and writes each such message on the condition that
//! nobody else has written since its own last one. This rejects late messages of an earlier end (a killed process
//! leaves messages in its host's network, which arrive when a link is back), and an end that has been replaced finds
//! out.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use async_nats::jetstream;
use prost::Message;

use crate::edge::wire::SettledMessage;
use crate::last::{Unread, last_settled, write};
use crate::names::EdgeNames;

/// Failure of an end that another one has replaced.
pub(crate) const REPLACED: &str = "another node or program receives this stream of the edge now: an edge has one receiving end; give the other one another `edge`, or stop it";

/// Pause before another attempt to write after somebody else has written.
const PAUSE: Duration = Duration::from_millis(20);

/// The right to receive a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Claim {
    /// Random number that identifies the holder.
    receiver: u64,
    /// Sequence number of its last message in the store.
    sequence: u64,
    /// What earlier ends had settled.
    pub(crate) settled: Option<SettledMessage>,
}

/// Why progress was not recorded.
#[derive(Debug)]
pub(crate) enum Unremembered {
    /// Another end has replaced this one.
    Replaced,
    /// The server or the account may store no more.
    NoRoom(String),
    /// The server cannot do it now.
    Other(String),
    /// What was settled could not be synced to this machine's disk, and will not be.
    NotOnDisk(String),
}

impl Claim {
    /// Claims a stream, replacing whoever received it before.
    ///
    /// # Errors
    /// See [`Unread`].
    pub(crate) async fn take(
        jetstream: &jetstream::Context,
        names: &EdgeNames,
        token: &str,
    ) -> Result<Self, Unread> {
        // Random, as the keys of the standard library's hash maps are.
        let receiver = RandomState::new().build_hasher().finish().max(1);
        loop {
            let last = last_settled(jetstream, names, token).await?;
            let before = last.value.unwrap_or_default();
            let message = SettledMessage { receiver, ..before };
            let bytes = message.encode_to_vec().into();
            let since = Some(last.sequence);
            let written = write(jetstream, names.settled_of(token), bytes, since).await;
            if let Some(sequence) = written.map_err(|error| Unread::Other(error.reason))? {
                return Ok(Self {
                    receiver,
                    sequence,
                    // Incarnations are times: 0 means that nothing has been settled.
                    settled: (before.incarnation > 0).then_some(before),
                });
            }
            // Somebody else has written meanwhile: try again.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Returns whether nobody has replaced this end; also true if the server's storage has been emptied, or if the last
    /// message cannot be read.
    ///
    /// # Errors
    /// See [`Unread`].
    pub(crate) async fn is_held(
        &self,
        jetstream: &jetstream::Context,
        names: &EdgeNames,
        token: &str,
    ) -> Result<bool, Unread> {
        let last = last_settled(jetstream, names, token).await?;
        let settled = last.value;
        Ok(settled.is_none_or(|settled| settled.receiver == self.receiver))
    }

    /// Records at the server what has been settled, and waits until it is stored. Returns the updated claim.
    ///
    /// # Errors
    /// See [`Unremembered`].
    pub(crate) async fn remember(
        mut self,
        jetstream: jetstream::Context,
        names: EdgeNames,
        token: String,
        settled: SettledMessage,
    ) -> Result<Self, Unremembered> {
        let receiver = self.receiver;
        let message = SettledMessage {
            receiver,
            ..settled
        };
        let bytes = bytes::Bytes::from(message.encode_to_vec());
        loop {
            let since = Some(self.sequence);
            let written = write(&jetstream, names.settled_of(&token), bytes.clone(), since).await;
            let written = written.map_err(|error| {
                if error.is_full {
                    Unremembered::NoRoom(error.reason)
                } else {
                    Unremembered::Other(error.reason)
                }
            });
            if let Some(sequence) = written? {
                self.sequence = sequence;
                return Ok(self);
            }
            let last = last_settled(&jetstream, &names, &token).await;
            let last = last.map_err(|error| Unremembered::Other(error.reason()))?;
            if last
                .value
                .is_some_and(|settled| settled.receiver != receiver)
            {
                return Err(Unremembered::Replaced);
            }
            // Our own earlier attempt, whose outcome was unknown; a server whose storage has been emptied; or an
            // unreadable message, which the next attempt overwrites.
            self.sequence = last.sequence;
            tokio::time::sleep(PAUSE).await;
        }
    }
}
