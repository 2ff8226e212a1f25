//! The network side of an edge's sending end: carries out what [`Sender`] decides.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use async_nats::jetstream::context::PublishErrorKind;
use bytes::Bytes;
use fermata_engine::{End, Settled, Ticket};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use prost::Message;
use tokio::sync::Notify;

use crate::connection::{Link, NatsConnection};
use crate::edge::sender::{Attempt, Given, Sender, SenderSpec};
use crate::edge::wire::{PacketMessage, ProgressMessage};
use crate::error::{chain, is_server_full, is_store_full};
use crate::last::{last_progress, write};
use crate::lock::lock;
use crate::names::{EdgeNames, token};
use crate::standstill::{STANDSTILL, Standstill};
use crate::time::unix_ms;

/// Polling interval for how far the stream has come, when nothing else happens.
const LOOK: Duration = Duration::from_millis(20);
/// Pause between attempts to open the edge.
const OPEN_PAUSE: Duration = Duration::from_millis(200);
/// JetStream's message for a subject that has as many messages as it may.
const SUBJECT_FULL: &str = "maximum messages per subject";

/// A packet to publish; the edge assigns its number.
pub(crate) struct Outgoing {
    pub(crate) message: PacketMessage,
    /// Present if the packet must arrive.
    pub(crate) ticket: Option<Ticket>,
}

/// The sending end of one stream.
pub(crate) struct SendingEnd {
    sender: Mutex<Sender<Outgoing>>,
    /// Signals a change that somebody waits for.
    changed: Condvar,
    /// Signals that there is something to do.
    work: Notify,
    names: EdgeNames,
    token: String,
    settled: Settled,
    /// Number in the store of what this end told last. A later life of this end writes after it, and this one never
    /// overwrites what the later one has told.
    told: AtomicU64,
    /// What stands in the way, if nothing progresses.
    obstacle: Mutex<Option<String>>,
    /// Standstill of what waits to be stored.
    standstill: Mutex<Standstill>,
}

/// Outcome of a publication.
enum Published {
    Stored(Attempt),
    Refused(Attempt, String),
    Failed(Attempt, String),
    TooLarge(Attempt, String),
    /// Stored under this number.
    Told(ProgressMessage, u64),
    /// Somebody else has written meanwhile, under this number.
    Behind(ProgressMessage, u64),
    NotTold(ProgressMessage, String),
}

type Publishing = Pin<Box<dyn Future<Output = Published> + Send>>;

impl SendingEnd {
    /// Creates an end that waits for its connection.
    pub(crate) fn new(names: EdgeNames, stream: &str, spec: SenderSpec, settled: Settled) -> Self {
        Self {
            sender: Mutex::new(Sender::new(spec)),
            changed: Condvar::new(),
            work: Notify::new(),
            names,
            token: token(stream),
            settled,
            told: AtomicU64::new(0),
            obstacle: Mutex::default(),
            standstill: Mutex::default(),
        }
    }

    /// Adds a packet to be sent.
    pub(crate) fn add(&self, outgoing: Outgoing, bytes: u64, captured_ms: u64) {
        let sequence = outgoing.message.sequence;
        lock(&self.sender).add(outgoing, sequence, bytes, captured_ms);
        self.work.notify_one();
    }

    /// Returns what became of packets that were not stored for certain.
    pub(crate) fn given(&self) -> Given {
        lock(&self.sender).given()
    }

    /// Ends the stream, and waits until the other end can know it; at most `most`, where a limit is given.
    ///
    /// # Errors
    /// What stood in the way.
    pub(crate) fn end(
        &self,
        end: End,
        most: Option<Duration>,
        closing: impl Fn() -> bool,
    ) -> Result<(), String> {
        let began = Instant::now();
        let mut sender = lock(&self.sender);
        sender.ended(end);
        self.work.notify_one();
        while !sender.is_over() {
            if closing() || most.is_some_and(|most| began.elapsed() >= most) {
                let obstacle = lock(&self.obstacle).clone();
                return Err(obstacle.unwrap_or_else(|| "the server has not answered".to_owned()));
            }
            let waited = self.changed.wait_timeout(sender, LOOK);
            sender = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Runs until the stream has ended, or the connection is closed.
    pub(crate) async fn run(self: Arc<Self>, connection: Arc<NatsConnection>) {
        tokio::select! {
            () = self.work(&connection) => {}
            () = connection.closed() => {}
        }
    }

    async fn work(&self, connection: &NatsConnection) {
        self.open(connection).await;
        let mut link = connection.link.clone();
        let mut known = *link.borrow_and_update();
        let mut publishing: FuturesUnordered<Publishing> = FuturesUnordered::new();
        while !self.is_over() {
            self.publish(connection, &mut publishing).await;
            self.tell_standstill();
            let wake = self.wake_at(connection);
            tokio::select! {
                Some(published) = publishing.next(), if !publishing.is_empty() => {
                    self.published(published, connection.now_ms());
                }
                changed = link.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.relink(&mut known, *link.borrow_and_update(), &mut publishing);
                }
                () = self.work.notified() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Logs once that packets have waited too long without progress.
    fn tell_standstill(&self) {
        if !lock(&self.sender).has_packets() {
            lock(&self.standstill).is_over();
            return;
        }
        if lock(&self.standstill).is_to_be_told() {
            let (packets, stream) = (&self.names.packets, &self.token);
            let reason = lock(&self.obstacle).clone();
            let reason = reason.unwrap_or_else(|| "the server has not answered".to_owned());
            tracing::warn!(
                "edge to {packets}, stream {stream}: no progress for {} s: {reason}",
                STANDSTILL.as_secs()
            );
        }
    }

    fn goes_on(&self) {
        if lock(&self.standstill).is_over() {
            let (packets, stream) = (&self.names.packets, &self.token);
            tracing::warn!("edge to {packets}, stream {stream}: packets are sent again");
        }
    }

    fn is_over(&self) -> bool {
        lock(&self.sender).is_over()
    }

    fn wake_at(&self, connection: &NatsConnection) -> tokio::time::Instant {
        let look = tokio::time::Instant::now() + LOOK;
        let wake = lock(&self.sender).wake_at();
        wake.map_or(look, |at_ms| connection.instant(at_ms).min(look))
    }

    /// Follows a change of the connection: if it broke, the fate of whatever was under way is unknown.
    fn relink(&self, known: &mut Link, now: Link, publishing: &mut FuturesUnordered<Publishing>) {
        let has_broken = now.times != known.times || !now.is_up;
        *known = now;
        let mut sender = lock(&self.sender);
        if has_broken {
            publishing.clear();
            sender.disconnected();
            *lock(&self.obstacle) = Some("the connection is broken".to_owned());
        }
        if now.is_up {
            sender.reconnected();
        }
    }

    /// Publishes what may be published, in order.
    async fn publish(
        &self,
        connection: &NatsConnection,
        publishing: &mut FuturesUnordered<Publishing>,
    ) {
        let position = self.settled.position();
        loop {
            let (next, progress) = {
                let mut sender = lock(&self.sender);
                if position < u64::MAX {
                    sender.marked(position);
                }
                let now_ms = connection.now_ms();
                let incarnation = sender.incarnation().unwrap_or_default();
                let next = sender.next_publication(now_ms);
                let next = next.map(|(attempt, outgoing)| {
                    let message = PacketMessage {
                        incarnation,
                        number: attempt.number,
                        ..outgoing.message.clone()
                    };
                    (attempt, Bytes::from(message.encode_to_vec()))
                });
                (next, sender.next_progress(now_ms))
            };
            if next.is_none() && progress.is_none() {
                return;
            }
            if let Some((attempt, bytes)) = next {
                let subject = self.names.packets_of(&self.token);
                let sent = connection.jetstream.publish(subject, bytes).await;
                publishing.push(Box::pin(async move {
                    match sent {
                        Ok(stored) => judged(attempt, stored.await.map(drop)),
                        Err(error) => judged(attempt, Err(error)),
                    }
                }));
            }
            if let Some(progress) = progress {
                publishing.push(Box::pin(tell(
                    connection.jetstream.clone(),
                    self.names.clone(),
                    self.token.clone(),
                    progress,
                    self.told.load(Ordering::Relaxed),
                )));
            }
        }
    }

    fn published(&self, published: Published, now_ms: u64) {
        let mut settled = VecDeque::new();
        {
            let mut sender = lock(&self.sender);
            let mut obstacle = lock(&self.obstacle);
            match published {
                Published::Stored(attempt) => {
                    self.goes_on();
                    *obstacle = None;
                    let stored = sender.acknowledged(attempt);
                    if let Some(outgoing) = &stored {
                        self.trace_stored(&sender, attempt, outgoing);
                    }
                    settled.extend(stored.map(|outgoing| (outgoing, None)));
                }
                Published::Refused(attempt, reason) => {
                    *obstacle = Some(reason);
                    sender.refused(attempt, now_ms);
                }
                Published::Failed(attempt, reason) => {
                    *obstacle = Some(reason);
                    sender.failed(attempt, now_ms);
                }
                Published::TooLarge(attempt, reason) => {
                    let given_up = sender.give_up(attempt);
                    settled.extend(given_up.map(|outgoing| (outgoing, Some(reason))));
                }
                Published::Told(progress, sequence) => {
                    self.told.store(sequence, Ordering::Relaxed);
                    sender.told(progress, now_ms);
                }
                Published::Behind(progress, sequence) => {
                    self.told.store(sequence, Ordering::Relaxed);
                    sender.not_told(progress, now_ms);
                }
                Published::NotTold(progress, reason) => {
                    *obstacle = Some(reason);
                    sender.not_told(progress, now_ms);
                }
            }
        }
        self.changed.notify_all();
        // Tickets are settled without holding a lock, since that wakes a lane.
        for (outgoing, failure) in settled {
            match (outgoing.ticket, failure) {
                (Some(ticket), None) => ticket.done(),
                (Some(ticket), Some(failure)) => ticket.fail(failure),
                (None, _) => {}
            }
        }
    }

    fn trace_stored(&self, sender: &Sender<Outgoing>, attempt: Attempt, outgoing: &Outgoing) {
        tracing::trace!(
            stream = self.token,
            incarnation = sender.incarnation(),
            number = attempt.number,
            sequence = outgoing.message.sequence,
            "stored"
        );
    }

    /// Announces a new life of this end to the server, which must know it before the life's first packet; retries for
    /// as long as it takes.
    async fn open(&self, connection: &NatsConnection) {
        loop {
            match self.try_open(connection).await {
                Ok(incarnation) => {
                    lock(&self.sender).opened(incarnation, connection.now_ms());
                    *lock(&self.obstacle) = None;
                    return;
                }
                Err(reason) => {
                    let mut obstacle = lock(&self.obstacle);
                    if obstacle.as_ref() != Some(&reason) {
                        tracing::info!("edge to {}: waiting: {reason}", self.names.packets);
                        *obstacle = Some(reason);
                    }
                }
            }
            tokio::time::sleep(OPEN_PAUSE).await;
        }
    }

    async fn try_open(&self, connection: &NatsConnection) -> Result<u64, String> {
        let last = last_progress(&connection.jetstream, &self.names, &self.token).await?;
        let progress = ProgressMessage {
            incarnation: next_incarnation(last.value),
            ..ProgressMessage::default()
        };
        let subject = self.names.progress_of(&self.token);
        let bytes = progress.encode_to_vec().into();
        let written = write(&connection.jetstream, subject, bytes, Some(last.sequence)).await?;
        let sequence = written.ok_or("somebody else has begun to send this stream meanwhile")?;
        self.told.store(sequence, Ordering::Relaxed);
        if last.value.is_some_and(|told| told.how > 0) {
            tracing::error!(
                stream = self.token,
                "the stream had ended before this part was started again, and the part that receives it over {} has closed it: nothing of it is taken there until that part, too, is started again",
                self.names.packets
            );
        }
        Ok(progress.incarnation)
    }
}

/// Writes progress for the other end, on the condition that nothing was written after the message with number `before`,
/// the last that this end told.
async fn tell(
    jetstream: jetstream::Context,
    names: EdgeNames,
    token: String,
    progress: ProgressMessage,
    before: u64,
) -> Published {
    let bytes = progress.encode_to_vec().into();
    match write(&jetstream, names.progress_of(&token), bytes, Some(before)).await {
        Ok(Some(sequence)) => return Published::Told(progress, sequence),
        Ok(None) => {}
        Err(error) => return Published::NotTold(progress, error.reason),
    }
    let last = match last_progress(&jetstream, &names, &token).await {
        Ok(last) => last,
        Err(reason) => return Published::NotTold(progress, reason),
    };
    let is_later = |last: ProgressMessage| last.incarnation > progress.incarnation;
    if last.value.is_some_and(is_later) {
        // The other end heeds the later incarnation alone, whatever this one tells.
        return Published::Told(progress, before);
    }
    // Our own earlier attempt, whose outcome was unknown; a server whose storage has been emptied; or an unreadable
    // message.
    Published::Behind(progress, last.sequence)
}

/// Returns an incarnation greater than all before, even where a server has forgotten them.
fn next_incarnation(last: Option<ProgressMessage>) -> u64 {
    let now_ms = u64::try_from(unix_ms()).unwrap_or(1);
    last.map_or(now_ms, |last| {
        now_ms.max(last.incarnation.saturating_add(1))
    })
}

fn judged(attempt: Attempt, stored: Result<(), jetstream::context::PublishError>) -> Published {
    let Err(error) = stored else {
        return Published::Stored(attempt);
    };
    let reason = chain(&error);
    if error.kind() == PublishErrorKind::MaxPayloadExceeded {
        return Published::TooLarge(attempt, reason);
    }
    if !is_store_full(&error) && !is_server_full(&error) {
        return Published::Failed(attempt, reason);
    }
    let reason = if reason.contains(SUBJECT_FULL) {
        "the other machine does not keep up, or cannot take the stream and says in its log why"
            .to_owned()
    } else {
        reason
    };
    Published::Refused(attempt, reason)
}
