//! The last that the ends of an edge told the store: what somebody who comes later begins with.

use async_nats::jetstream;
use async_nats::jetstream::stream::LastRawMessageErrorKind;
use bytes::Bytes;

use crate::connection::chain;
use crate::edge::wire::{ProgressMessage, SettledMessage, WireError};
use crate::names::EdgeNames;

/// The last progress of a stream's sending end.
///
/// # Errors
/// The edge is not there yet, or the server cannot be asked.
pub(crate) async fn last_progress(
    jetstream: &jetstream::Context,
    names: &EdgeNames,
    token: &str,
) -> Result<Option<ProgressMessage>, String> {
    let subject = names.progress_of(token);
    let last = last_message(jetstream, &names.progress, &subject).await?;
    Ok(read(&subject, last, ProgressMessage::read))
}

/// What a stream's receiving end last had settled.
///
/// # Errors
/// The edge is not there yet, or the server cannot be asked.
pub(crate) async fn last_settled(
    jetstream: &jetstream::Context,
    names: &EdgeNames,
    token: &str,
) -> Result<Option<SettledMessage>, String> {
    let subject = names.settled_of(token);
    let last = last_message(jetstream, &names.progress, &subject).await?;
    Ok(read(&subject, last, SettledMessage::read))
}

async fn last_message(
    jetstream: &jetstream::Context,
    stream: &str,
    subject: &str,
) -> Result<Option<Bytes>, String> {
    let stream = jetstream.get_stream_no_info(stream).await;
    let stream = stream.map_err(|error| chain(&error))?;
    match stream.get_last_raw_message_by_subject(subject).await {
        Ok(message) => Ok(Some(message.payload)),
        Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(None),
        Err(error) => Err(chain(&error)),
    }
}

/// What cannot be read is as good as not there: whoever wrote it is no end of an edge.
fn read<T>(
    subject: &str,
    last: Option<Bytes>,
    read: impl Fn(&[u8]) -> Result<T, WireError>,
) -> Option<T> {
    match read(&last?) {
        Ok(message) => Some(message),
        Err(error) => {
            tracing::warn!("{subject} holds something else: {error}");
            None
        }
    }
}
