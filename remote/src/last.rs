//! The last message of a subject in a store, from which a late joiner starts: how it is read, and how it is written on
//! the condition that nobody has written since.

use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;

use crate::edge::wire::{ProgressMessage, SettledMessage, WireError};
use crate::error::{chain, code_of, is_server_full};
use crate::names::EdgeNames;

/// JetStream's error code for a write whose condition that nobody has written since is not met, besides the code that
/// the client knows.
const WRONG_LAST_SEQUENCE: u64 = 10164;

/// The last message that a store holds of a subject. Its number is known even if it cannot be read, so that the next
/// message can be written after whatever somebody else has written there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Last<T> {
    /// Its content; none if there is no message, or if it cannot be read.
    pub(crate) value: Option<T>,
    /// Its sequence number in the store, by which a later message is recognised; 0 if there is no message.
    pub(crate) sequence: u64,
    /// When the server stored it, by the server's clock, in nanoseconds since 1970.
    pub(crate) stored_unix_ns: i64,
}

impl<T> Last<T> {
    /// The value for a subject without messages.
    pub(crate) const NONE: Self = Self {
        value: None,
        sequence: 0,
        stored_unix_ns: 0,
    };

    /// Returns whether there is a message that cannot be read.
    pub(crate) fn is_unreadable(&self) -> bool {
        self.value.is_none() && self.sequence > 0
    }
}

/// Why a message could not be read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// There is no such store.
    NoStore,
    /// Any other failure.
    Other(String),
}

impl Unread {
    pub(crate) fn reason(self) -> String {
        match self {
            Self::NoStore => "the store does not exist".to_owned(),
            Self::Other(reason) => reason,
        }
    }
}

/// Returns the last message of a subject. If it cannot be read, that is logged, and the result has its number alone.
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
        tracing::warn!("message {sequence} of {subject} is unreadable, and is ignored: {error}");
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
    /// Whether the server or the account may store no more.
    pub(crate) is_full: bool,
}

impl From<Unwritten> for String {
    fn from(unwritten: Unwritten) -> Self {
        unwritten.reason
    }
}

/// Writes a message and returns its sequence number in the store; none if somebody has written on the subject since the
/// given number (0: ever).
///
/// # Errors
/// The server did not store it, or it is unknown whether it did.
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

/// Returns the last progress of a stream's sending end.
///
/// # Errors
/// The edge does not exist yet, or the server cannot be asked.
pub(crate) async fn last_progress(
    jetstream: &jetstream::Context,
    names: &EdgeNames,
    token: &str,
) -> Result<Last<ProgressMessage>, String> {
    let read = |bytes: Bytes| ProgressMessage::read(&bytes);
    let found = last(jetstream, &names.progress, &names.progress_of(token), read).await;
    found.map_err(Unread::reason)
}

/// Returns what a stream's receiving end last had settled.
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
