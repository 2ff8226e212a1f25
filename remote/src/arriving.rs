//! Streams that come over an edge: those that its sending ends have opened so far. A graph names some of them; others
//! are added while it runs, on the machine where they are captured, and the receiving machine finds them here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
use async_nats::jetstream::{self, ErrorCode};
use futures_util::TryStreamExt;

use crate::connection::NatsConnection;
use crate::error::chain;
use crate::names::{EdgeNames, name_of};
use crate::site::SitePart;

/// Polling interval.
const LOOK: Duration = Duration::from_millis(500);

/// Most streams that one edge may bring: anyone who may write at the server could name any number of them.
const MOST_STREAMS: usize = 1024;

/// An edge that comes from another machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arriving {
    /// Its name.
    pub edge: String,
    /// The streams known to come over it.
    pub streams: BTreeSet<String>,
}

/// Returns the streams that sending ends have opened over an edge in the run of the connection's site; none if the edge
/// does not exist yet.
///
/// # Errors
/// The server cannot be asked.
pub fn opened_streams(connection: &NatsConnection, edge: &str) -> Result<Vec<String>, String> {
    let names = EdgeNames::new(&connection.site, edge);
    connection.block_on(opened(&connection.jetstream, &names))
}

/// Calls `found` with the edge and the stream, once for each stream that is opened over an edge and not known yet,
/// until the connection is closed; the call may block. Calls `complete` when no more can come: the parts of `senders`
/// have ended, and all that they opened is known. Without `senders` it is never called, since nobody can say whose
/// streams are the last.
pub fn watch_streams(
    part: &Arc<SitePart>,
    edges: Vec<Arriving>,
    senders: BTreeSet<String>,
    found: impl Fn(&str, &str) + Send + Sync + 'static,
    complete: impl FnOnce() + Send + 'static,
) {
    let watching = Arc::clone(part);
    let found = Arc::new(found);
    part.connection.runtime.spawn(async move {
        tokio::select! {
            () = watch(&watching, edges, &senders, found) => complete(),
            () = watching.connection.closed() => {}
        }
    });
}

async fn watch(
    part: &SitePart,
    mut edges: Vec<Arriving>,
    senders: &BTreeSet<String>,
    found: Arc<impl Fn(&str, &str) + Send + Sync + 'static>,
) {
    let connection = &*part.connection;
    loop {
        // Asked before listing: parts that have ended open nothing afterwards.
        let mut is_last = !senders.is_empty() && part.have_ended(senders).await;
        for Arriving { edge, streams } in &mut edges {
            let names = EdgeNames::new(&connection.site, edge);
            let opened = match opened(&connection.jetstream, &names).await {
                Ok(opened) => opened,
                Err(reason) => {
                    tracing::debug!("cannot list the streams of edge {edge} now: {reason}");
                    is_last = false;
                    continue;
                }
            };
            for stream in opened {
                if streams.contains(&stream) {
                    continue;
                }
                if streams.len() >= MOST_STREAMS {
                    tracing::warn!(
                        "edge {edge} has more than {MOST_STREAMS} streams: stream {stream} is ignored"
                    );
                    break;
                }
                streams.insert(stream.clone());
                let (edge, found) = (edge.clone(), Arc::clone(&found));
                let told = tokio::task::spawn_blocking(move || found(&edge, &stream));
                // A panic of the callback has already been reported.
                let _ = told.await;
            }
        }
        if is_last {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn opened(jetstream: &jetstream::Context, names: &EdgeNames) -> Result<Vec<String>, String> {
    let progress = match jetstream.get_stream(&names.progress).await {
        Ok(progress) => progress,
        Err(error) => {
            return match error.kind() {
                GetStreamErrorKind::JetStream(found)
                    if found.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    Ok(Vec::new())
                }
                _ => Err(chain(&error)),
            };
        }
    };
    let subjects = progress.info_with_subjects(names.progress_of("*")).await;
    let mut subjects = subjects.map_err(|error| chain(&error))?;
    let mut streams = Vec::new();
    while let Some((subject, _)) = subjects.try_next().await.map_err(|error| chain(&error))? {
        let token = subject.rsplit('.').next().unwrap_or_default();
        match name_of(token) {
            Some(name) => streams.push(name),
            None => tracing::debug!("{subject} does not name a stream"),
        }
    }
    streams.sort();
    Ok(streams)
}
