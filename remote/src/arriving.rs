//! Streams that come over an edge: those that its sending ends have opened so far. A graph names some of them; others
//! are added while it runs, on the machine where they are captured, and the receiving machine finds them here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

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

/// Pause before a stream that could not be added is tried again; doubled each time, up to the longest.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

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

/// Calls `found` with the edge and the stream, for each stream that is opened over an edge and not known yet, until the
/// connection is closed; the call may block. If it fails to add the stream, the first reason is logged, and it is called
/// again later, ever more seldom: until the stream is added, its sending end waits. Calls `complete` when no more can
/// come: the parts of `senders` have ended, and all that they opened is known. Without `senders` it is never called,
/// since nobody can say whose streams are the last.
pub fn watch_streams(
    part: &Arc<SitePart>,
    edges: Vec<Arriving>,
    senders: BTreeSet<String>,
    found: impl Fn(&str, &str) -> Result<(), String> + Send + Sync + 'static,
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

/// The streams of an edge.
struct Coming {
    edge: String,
    added: BTreeSet<String>,
    failed: BTreeMap<String, Failed>,
    /// Whether there were more of them than an edge may bring.
    has_too_many: bool,
}

/// A stream that could not be added.
struct Failed {
    pause: Duration,
    again_at: Instant,
}

/// What is to be done about a stream.
#[derive(Debug, PartialEq, Eq)]
enum Due {
    Add,
    Nothing,
    /// To be told that it is ignored, and others with it.
    TellTooMany,
}

impl Coming {
    fn new(arriving: Arriving) -> Self {
        Self {
            edge: arriving.edge,
            added: arriving.streams,
            failed: BTreeMap::new(),
            has_too_many: false,
        }
    }

    /// Returns what is to be done about an open stream. In the last look, what has failed is tried without a pause.
    fn due(&mut self, stream: &str, now: Instant, is_last: bool) -> Due {
        if self.added.contains(stream) {
            return Due::Nothing;
        }
        match self.failed.get(stream) {
            Some(failed) if is_last || now >= failed.again_at => Due::Add,
            Some(_) => Due::Nothing,
            None if self.added.len() + self.failed.len() < MOST_STREAMS => Due::Add,
            None if std::mem::replace(&mut self.has_too_many, true) => Due::Nothing,
            None => Due::TellTooMany,
        }
    }

    fn was_added(&mut self, stream: String) {
        self.failed.remove(&stream);
        self.added.insert(stream);
    }

    /// Notes that a stream could not be added. Returns whether that is to be told: the first time.
    fn has_failed(&mut self, stream: String, now: Instant) -> bool {
        let before = self.failed.get(&stream).map(|failed| failed.pause);
        let pause = before.map_or(PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        let again_at = now + pause;
        self.failed.insert(stream, Failed { pause, again_at });
        before.is_none()
    }
}

async fn watch(
    part: &SitePart,
    edges: Vec<Arriving>,
    senders: &BTreeSet<String>,
    found: Arc<impl Fn(&str, &str) -> Result<(), String> + Send + Sync + 'static>,
) {
    let connection = &*part.connection;
    let mut edges: Vec<Coming> = edges.into_iter().map(Coming::new).collect();
    loop {
        // Asked before listing: parts that have ended open nothing afterwards.
        let mut is_last = !senders.is_empty() && part.have_ended(senders).await;
        for coming in &mut edges {
            let edge = &coming.edge;
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
                match coming.due(&stream, Instant::now(), is_last) {
                    Due::Add => add(coming, stream, Arc::clone(&found)).await,
                    Due::Nothing => {}
                    Due::TellTooMany => tracing::warn!(
                        "edge {} has more than {MOST_STREAMS} streams: stream {stream} is ignored, and so are further ones",
                        coming.edge
                    ),
                }
            }
        }
        if is_last {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Has a stream added.
async fn add(
    coming: &mut Coming,
    stream: String,
    found: Arc<impl Fn(&str, &str) -> Result<(), String> + Send + Sync + 'static>,
) {
    let (edge, name) = (coming.edge.clone(), stream.clone());
    let added = tokio::task::spawn_blocking(move || found(&edge, &name)).await;
    // A panic of the callback has already been reported.
    let added = added.unwrap_or_else(|_| Err("adding it panicked".to_owned()));
    let Err(reason) = added else {
        return coming.was_added(stream);
    };
    if coming.has_failed(stream.clone(), Instant::now()) {
        tracing::warn!(
            "stream {stream} of another machine cannot be added, so its packets wait at edge {}: {reason}; this is tried again, ever more seldom",
            coming.edge
        );
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

#[cfg(test)]
mod tests {
    use super::*;

    fn coming(streams: &[&str]) -> Coming {
        let streams = streams.iter().map(|&name| name.to_owned());
        Coming::new(Arriving {
            edge: "numbers".to_owned(),
            streams: streams.collect(),
        })
    }

    #[test]
    fn too_many_streams_are_told_once() {
        let (mut coming, now) = (coming(&["door"]), Instant::now());
        for number in 1..MOST_STREAMS {
            let stream = format!("s{number}");
            assert_eq!(coming.due(&stream, now, false), Due::Add);
            // One that fails takes its place too.
            if number % 2 == 0 {
                coming.was_added(stream);
            } else {
                coming.has_failed(stream, now);
            }
        }
        assert_eq!(coming.due("more", now, false), Due::TellTooMany);
        for look in 0..3 {
            for stream in ["more", "yet more", "door", "s2"] {
                assert_eq!(coming.due(stream, now, look == 2), Due::Nothing);
            }
        }
        assert_eq!(coming.due("s1", now + PAUSE, false), Due::Add);
    }

    #[test]
    fn a_stream_that_could_not_be_added_is_tried_ever_more_seldom_and_told_once() {
        let (mut coming, mut now) = (coming(&[]), Instant::now());
        let mut pauses = Vec::new();
        for attempt in 0..12 {
            assert_eq!(coming.due("door", now, false), Due::Add);
            assert_eq!(coming.has_failed("door".to_owned(), now), attempt == 0);
            assert_eq!(coming.due("door", now, true), Due::Add, "the last look");
            let failed = &coming.failed["door"];
            pauses.push(failed.pause.as_secs());
            let just_before = failed.again_at - Duration::from_millis(1);
            let again_at = failed.again_at;
            assert_eq!(coming.due("door", just_before, false), Due::Nothing);
            now = again_at;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        coming.was_added("door".to_owned());
        assert_eq!(coming.due("door", now + LONGEST_PAUSE, true), Due::Nothing);
    }
}
