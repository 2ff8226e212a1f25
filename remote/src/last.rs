//! The last message of a subject in a store: what somebody who comes later begins with. Owns how it is read, and how it
//! is written under the condition that nobody has written since.

use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;

use crate::edge::wire::{ProgressMessage, SettledMessage, WireError};
use crate::error::{chain, code_of, is_server_full};
use crate::names::EdgeNames;

/// JetStream's error for a message of which was demanded that nobody has written since, besides the one that the client
/// knows.
const WRONG_LAST_SEQUENCE: u64 = 10164;

/// The last message that a store holds of a subject. Who writes the next one names its number, whether or not it can be
/// read: what somebody else has written there stands in nobody's way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Last<T> {
    /// What it says; none if there is no message, or one that cannot be read.
    pub(crate) value: Option<T>,
    /// Its number in the store, by which a later one is told; 0 if there is none.
    pub(crate) sequence: u64,
    /// When the server stored it, by its clock, nanoseconds since 1970.
    pub(crate) stored_unix_ns: i64,
}

impl<T> Last<T> {
    /// That of a subject on which nobody has written.
    pub(crate) const NONE: Self = Self {
        value: None,
        sequence: 0,
        stored_unix_ns: 0,
    };

    /// Returns whether there is a message, and not of this kind.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.value.is_none() && self.sequence > 0
    }
}

/// Why something cannot be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// There is no such store.
    NoStore,
    /// The server does not say.
    Other(String),
}

impl Unread {
    pub(crate) fn reason(self) -> String {
        match self {
            Self::NoStore => "the store is not there".to_owned(),
            Self::Other(reason) => reason,
        }
    }
}

/// Reads the last message of a subject.
///
/// # Errors
/// See [`Unread`].
pub(crate) async fn last<T, E: std::fmt::Display>(
    jetstream: &jetstream::Context,
    store: &str,
    subject: &str,
    read: impl FnOnce(Bytes) -> Result<T, E>,
) -> Result<Last<T>, Unread> {
    let stream = jetstream.get_stream_no_info(store).await;
    let stream = stream.map_err(|error| Unread::Other(chain(&error)))?;
    let message = match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => message,
        Err(error) => {
            return match error.kind() {
                LastRawMessageErrorKind::NoMessageFound => Ok(Last::NONE),
                LastRawMessageErrorKind::JetStream(found)
                    if found.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Err(Unread::NoStore)
                }
                _ => Err(Unread::Other(chain(&error))),
            };
        }
    };
    let sequence = message.sequence;
    let stored_unix_ns = i64::try_from(message.time.unix_timestamp_nanos()).unwrap_or_default();
    let read = read(message.payload);
    let read = read.inspect_err(|error| {
        tracing::warn!("message {sequence} of {subject} is malformed, and is not read: {error}");
    });
    Ok(Last {
        value: read.ok(),
        sequence,
        stored_unix_ns,
    })
}

/// Why a message was not written.
#[derive(Debug)]
pub(crate) struct Unwritten {
    pub(crate) reason: String,
    /// The server may store no more.
    pub(crate) is_full: bool,
}

impl From<Unwritten> for String {
    fn from(unwritten: Unwritten) -> Self {
        unwritten.reason
    }
}

/// Writes a message. Gives its number in the store; none if somebody has written on the subject since the number that
/// is given (0: ever).
///
/// # Errors
/// The server does not store it, or nobody knows whether it does.
pub(crate) async fn write(
    jetstream: &jetstream::Context,
    subject: String,
    bytes: Bytes,
    since: Option<u64>,
) -> Result<Option<u64>, Unwritten> {
    let mut publish = PublishMessage::build().payload(bytes);
    if let Some(since) = since {
        publish = publish.expected_last_subject_sequence(since);
    }
    let sent = jetstream.send_publish(subject, publish).await;
    let unsent = |error: &dyn std::error::Error| Unwritten {
        reason: chain(error),
        is_full: false,
    };
    let error = match sent.map_err(|error| unsent(&error))?.await {
        Ok(stored) => return Ok(Some(stored.sequence)),
        Err(error) => error,
    };
    let is_late = error.kind() == PublishErrorKind::WrongLastSequence
        || code_of(&error) == Some(WRONG_LAST_SEQUENCE);
    if is_late {
        Ok(None)
    } else {
        Err(Unwritten {
            reason: chain(&error),
            is_full: is_server_full(&error),
        })
    }
}

/// Reads the last progress of a stream's sending end.
///
/// # Errors
/// The edge is not there yet, or the server cannot be asked.
pub(crate) async fn last_progress(
    jetstream: &jetstream::Context,
    names: &EdgeNames,
    token: &str,
) -> Result<Last<ProgressMessage>, String> {
    let read = |bytes: Bytes| ProgressMessage::read(&bytes);
    let found = last(jetstream, &names.progress, &names.progress_of(token), read).await;
    found.map_err(Unread::reason)
}

/// What a stream's receiving end last had settled.
///
/// # Errors
/// See [`Unread`].
pub(crate) async fn last_settled(
    jetstream: &jetstream::Context,
    names: &EdgeNames,
    token: &str,
) -> Result<Last<SettledMessage>, Unread> {
    let read = |bytes: Bytes| -> Result<SettledMessage, WireError> { SettledMessage::read(&bytes) };
    last(jetstream, &names.progress, &names.settled_of(token), read).await
}
