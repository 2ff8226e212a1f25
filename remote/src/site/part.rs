//! A part of a run of a site: what it is told of the run, what it tells, and how it leaves. How it joins the run is in
//! `joining`.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use prost::Message;
use tokio::sync::watch;

use super::clock::{SiteClocks, compare};
use super::joining::{PartSpec, begin, take_place};
use super::record::{DrainMessage, PartMessage, Records, RunMessage};
use super::refusal::SiteError;
use crate::connection::NatsConnection;
use crate::last::{Last, Unread};
use crate::lock::lock;
use crate::time::unix_ms;

/// Pauses between comparisons of clocks; the shorter one while the other machines' clocks are not known.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
const COMPARE_AGAIN: Duration = Duration::from_secs(2);
/// Pause between checks whether the server knows this part, while it does not.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Time limit for a part's final record.
const LAST_WORD: Duration = Duration::from_secs(5);

/// A part that has joined a run.
pub struct SitePart {
    pub(crate) connection: Arc<NatsConnection>,
    records: Records,
    spec: PartSpec,
    run: RunMessage,
    own: PartMessage,
    clocks: Mutex<SiteClocks>,
    news: watch::Sender<News>,
}

/// What a part has been told of its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct News {
    /// All sources are to end.
    is_draining: bool,
    /// Another program runs this machine's part.
    is_replaced: bool,
}

impl SitePart {
    /// Joins the run of the connection's site, and begins one if there is none. A part that may not begin one waits
    /// until another has, and calls `waits` once.
    ///
    /// # Errors
    /// See [`SiteError`].
    pub fn join(
        connection: &Arc<NatsConnection>,
        spec: PartSpec,
        waits: impl Fn(&str),
    ) -> Result<Arc<Self>, SiteError> {
        let joining = Self::joined(connection, spec, &waits);
        let (part, hello) = connection.runtime.block_on(joining)?;
        let part = Arc::new(part);
        let comparing = Arc::clone(&part);
        connection.runtime.spawn(async move {
            tokio::select! {
                () = comparing.compare_clocks() => {}
                () = comparing.connection.closed() => {}
            }
        });
        let listening = Arc::clone(&part);
        connection.runtime.spawn(async move {
            tokio::select! {
                () = listening.listen(hello) => {}
                () = listening.connection.closed() => {}
            }
        });
        Ok(part)
    }

    /// Returns the name of the site.
    pub fn site(&self) -> &str {
        &self.connection.site
    }

    /// Returns the unique identifier of this run.
    pub fn run(&self) -> &str {
        &self.run.id
    }

    /// Returns what is known so far of the clocks of the site's machines.
    pub fn clocks(&self) -> SiteClocks {
        *lock(&self.clocks)
    }

    /// Returns how many packets came from other machines before they were captured there, by the two clocks.
    pub fn packets_from_future(&self) -> u64 {
        self.connection.losses.packets_from_future()
    }

    /// Returns how often the part of this machine has been started in this run: 1 and above.
    pub fn incarnation(&self) -> u64 {
        self.own.incarnation
    }

    /// Asks all parts to let their sources end. If the server is away, the others are told when it is back; this part
    /// is told at once.
    pub fn drain(self: &Arc<Self>) {
        let telling = Arc::clone(self);
        self.connection
            .runtime
            .spawn(async move { telling.tell_drain().await });
        self.news.send_modify(|news| news.is_draining = true);
    }

    /// Calls `drain` once all sources are to end, and `replaced` if another program takes this part's place.
    pub fn watch(
        self: &Arc<Self>,
        drain: impl FnOnce() + Send + 'static,
        replaced: impl FnOnce() + Send + 'static,
    ) {
        let mut news = self.news.subscribe();
        let mut drain = Some(drain);
        let closed = Arc::clone(&self.connection);
        self.connection.runtime.spawn(async move {
            let watching = async {
                loop {
                    let now = *news.borrow_and_update();
                    if now.is_replaced {
                        replaced();
                        return;
                    }
                    if let Some(drain) = drain.take_if(|_| now.is_draining) {
                        drain();
                    }
                    if news.changed().await.is_err() {
                        return;
                    }
                }
            };
            tokio::select! {
                () = watching => {}
                () = closed.closed() => {}
            }
        });
    }

    /// Returns whether another program has taken this part's place while this one was away.
    pub fn is_replaced(&self) -> bool {
        self.news.borrow().is_replaced
    }

    /// Records at the server that the part has run to its end. A part that fails to record that may come back.
    pub fn ended(&self) {
        if self.is_replaced() {
            return;
        }
        let own = PartMessage {
            ended_unix_ms: unix_ms(),
            ..self.own.clone()
        };
        let subject = self.records.part_subject(&self.spec.machine);
        let saying = async {
            let written = self.records.write(subject, &own, None);
            tokio::time::timeout(LAST_WORD, written).await
        };
        match self.connection.runtime.block_on(saying) {
            Ok(Ok(_)) => {}
            Ok(Err(reason)) => {
                tracing::warn!(
                    "the end of this part could not be recorded at the server: {reason}"
                );
            }
            Err(_) => tracing::warn!(
                "the end of this part could not be recorded at the server: no answer"
            ),
        }
    }

    /// Returns whether the parts of these machines have run to their end, as far as the server knows.
    pub(crate) async fn have_ended(&self, machines: &BTreeSet<String>) -> bool {
        for machine in machines {
            let subject = self.records.part_subject(machine);
            let part = self.records.read::<PartMessage>(&subject).await;
            let has_ended = matches!(
                part,
                Ok(Some(Last { value, .. })) if value.run == self.run.id && value.ended_unix_ms > 0
            );
            if !has_ended {
                return false;
            }
        }
        true
    }

    async fn joined(
        connection: &Arc<NatsConnection>,
        spec: PartSpec,
        waits: &dyn Fn(&str),
    ) -> Result<(Self, async_nats::Subscriber), SiteError> {
        let records = Records::new(connection);
        let run = begin(connection, &records, &spec, waits).await?;
        let (own, hello) = take_place(connection, &records, &spec, &run).await?;
        let part = Self {
            connection: Arc::clone(connection),
            records,
            spec,
            run,
            own,
            clocks: Mutex::default(),
            news: watch::Sender::new(News::default()),
        };
        Ok((part, hello))
    }

    /// Compares this machine's clock with the server's, again and again, and exchanges the results with the other
    /// parts.
    async fn compare_clocks(&self) {
        loop {
            let machine = &self.spec.machine;
            let comparing = compare(&self.records, &self.run, machine, &self.own, &self.clocks);
            if let Err(reason) = comparing.await {
                tracing::debug!("this machine's clock cannot be compared now: {reason}");
            }
            let pause = match self.clocks().latency_error_ms {
                Some(_) => COMPARE_EVERY,
                None => COMPARE_AGAIN,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Answers whoever asks whether this part is there, and receives what is told of the run.
    async fn listen(&self, mut hello: async_nats::Subscriber) {
        let client = &self.connection.client;
        let Ok(mut drain) = client.subscribe(self.records.drain_subject()).await else {
            return;
        };
        let mut link = self.connection.link.clone();
        let mut is_known = self.look().await;
        loop {
            tokio::select! {
                Some(message) = hello.next() => {
                    if let Some(reply) = message.reply {
                        let _ = client.publish(reply, Bytes::from_static(b"here")).await;
                    }
                }
                Some(message) = drain.next() => {
                    // A published message may come before the store has it, so the store is not read.
                    if let Ok(drain) = DrainMessage::decode(message.payload) {
                        self.told(&drain);
                    }
                }
                changed = link.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if link.borrow_and_update().is_up {
                        is_known = self.look().await;
                        if !is_known {
                            tracing::warn!(
                                "the server no longer knows this part, or does not answer: it is asked again until it does"
                            );
                        }
                    }
                }
                () = tokio::time::sleep(LOOK_AGAIN), if !is_known => is_known = self.look().await,
                else => return,
            }
        }
    }

    fn told(&self, drain: &DrainMessage) {
        if drain.run == self.run.id {
            let is_new = |news: &mut News| !std::mem::replace(&mut news.is_draining, true);
            self.news.send_if_modified(is_new);
        }
    }

    async fn tell_drain(&self) {
        let drain = DrainMessage {
            run: self.run.id.clone(),
        };
        let subject = self.records.drain_subject();
        if let Err(reason) = self.records.write(subject, &drain, None).await {
            tracing::warn!("the other machines could not be asked to end: {reason}");
        }
    }

    /// Checks that this is still the part of its machine, and reads what has been told of the run. Returns false if the
    /// server must be asked again.
    async fn look(&self) -> bool {
        let records = &self.records;
        let subject = records.part_subject(&self.spec.machine);
        let is_known = match records.read::<PartMessage>(&subject).await {
            Ok(Some(Last { value: own, .. })) => {
                if (&own.run, own.incarnation) != (&self.own.run, self.own.incarnation) {
                    self.replaced();
                }
                true
            }
            // The server's storage has been emptied.
            Ok(None) | Err(Unread::NoStore) => match self.restore().await {
                Ok(is_known) => is_known,
                Err(reason) => {
                    tracing::debug!("this part cannot be recorded at the server again: {reason}");
                    false
                }
            },
            Err(Unread::Other(_)) => false,
        };
        let subject = records.drain_subject();
        match records.read::<DrainMessage>(&subject).await {
            Ok(Some(drain)) if drain.value.run == self.run.id => self.told(&drain.value),
            // This part was asked to drain and the others were not: the request was lost with the connection.
            Ok(_) if self.news.borrow().is_draining => self.tell_drain().await,
            _ => {}
        }
        is_known
    }

    /// Writes the run and this part once more to a server that has forgotten everything. Returns false if another part,
    /// which may make stores, must come first.
    async fn restore(&self) -> Result<bool, String> {
        let records = &self.records;
        if self.spec.may_begin {
            records.make().await?;
            let subject = records.run_subject();
            records.write(subject, &self.run, Some(0)).await?;
        }
        match records.read::<RunMessage>(&records.run_subject()).await {
            Ok(Some(run)) if run.value.id == self.run.id => {}
            Ok(Some(_)) => {
                self.replaced();
                return Ok(true);
            }
            Ok(None) | Err(Unread::NoStore) => return Ok(false),
            Err(Unread::Other(reason)) => return Err(reason),
        }
        let subject = records.part_subject(&self.spec.machine);
        let is_known = records.write(subject, &self.own, Some(0)).await?;
        if is_known {
            tracing::warn!(
                "the server had forgotten the run, and the packets that waited for other machines: its storage was replaced, or somebody has ended the run there; this part has been recorded again"
            );
        }
        Ok(is_known)
    }

    fn replaced(&self) {
        let is_new = |news: &mut News| !std::mem::replace(&mut news.is_replaced, true);
        self.news.send_if_modified(is_new);
    }
}
