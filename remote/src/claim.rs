//! Who receives a stream of an edge: one receiving end, which alone may say at the server what has been settled.
//!
//! An end that begins writes what was settled once more in its own name, and demands of each such message that nobody
//! else has written since its last. So what an earlier end still says (a process that was killed leaves messages in its
//! host's network, which arrive when a link is there again) is refused; and an end whose place another one has taken
//! finds out.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

use async_nats::jetstream;
use prost::Message;

use crate::edge::wire::SettledMessage;
use crate::last::{Unread, last_settled, write};
use crate::names::EdgeNames;

/// What the end is told whose place another one has taken.
pub(crate) const REPLACED: &str = "another node or program receives this stream of the edge now: an edge has one receiving end; give the other one another `edge`, or stop it";

/// Between two attempts to write where somebody has written meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// The right to receive a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Claim {
    /// What tells its holder from all others.
    receiver: u64,
    /// The number of its last message in the store.
    sequence: u64,
    /// What earlier ends had settled.
    pub(crate) settled: Option<SettledMessage>,
}

/// Why something is not remembered.
#[derive(Debug)]
pub(crate) enum Unremembered {
    /// Another end has taken the place of this one.
    Replaced,
    /// The server may store no more.
    NoRoom(String),
    /// The server does not do it now.
    Other(String),
    /// What was settled is not on this machine's disk, and will not be.
    NotOnDisk(String),
}

impl Claim {
    /// Takes the place of whoever received before.
    ///
    /// # Errors
    /// See [`Unread`].
    pub(crate) async fn take(
        jetstream: &jetstream::Context,
        names: &EdgeNames,
        token: &str,
    ) -> Result<Self, Unread> {
        // Random, as what every map of the standard library begins with.
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
                    // Incarnations are times: nobody has settled anything of the first one.
                    settled: (before.incarnation > 0).then_some(before),
                });
            }
            // Somebody has written meanwhile.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether nobody has taken the place of this end. A server that has been emptied says nothing of anybody, nor does a
    /// message that cannot be read.
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

    /// Lets the server remember what has been settled, and waits until it does. Gives the claim as it is then.
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
            // An attempt of which nobody knew what had become of it; a server that has been emptied; or a message that
            // is none, in whose place this one comes.
            self.sequence = last.sequence;
            tokio::time::sleep(PAUSE).await;
        }
    }
}
