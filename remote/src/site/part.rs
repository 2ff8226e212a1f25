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
/// Time limit for a part's final record, and pause between attempts to write it.
const LAST_WORD: Duration = Duration::from_secs(5);
const LAST_WORD_PAUSE: Duration = Duration::from_millis(50);

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

    /// Asks all parts to let their sources end. If the server is away, the others are told when it is back, unless
    /// another program has taken this part's place by then; this part is told at once.
    pub fn drain(self: &Arc<Self>) {
        self.news.send_modify(|news| news.is_draining = true);
        let telling = Arc::clone(self);
        self.connection.runtime.spawn(async move {
            tokio::select! {
                () = telling.look_until_known() => {}
                () = telling.connection.closed() => {}
            }
        });
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

    /// Records at the server that the part has run to its end. A part that fails to record that may come back; one that
    /// has been replaced records nothing.
    pub fn ended(&self) {
        let saying = async {
            let mut hindrance = "the server does not know this part".to_owned();
            let saying = self.say_ended(&mut hindrance);
            let said = tokio::time::timeout(LAST_WORD, saying).await;
            said.map_err(|_| hindrance)
        };
        if let Err(reason) = self.connection.runtime.block_on(saying) {
            tracing::warn!("the end of this part could not be recorded at the server: {reason}");
        }
    }

    /// Writes the final record, on the condition that this part's own record is still the last one. That holds even if
    /// the message arrives late: the connection sends what it still holds at the time limit when the server is back.
    async fn say_ended(&self, hindrance: &mut String) {
        let own = PartMessage {
            ended_unix_ms: unix_ms(),
            ..self.own.clone()
        };
        let subject = self.records.part_subject(&self.spec.machine);
        while !self.is_replaced() {
            let said = match self.own_record().await {
                Ok(None) => Ok(None),
                Ok(since) => self.records.write(subject.clone(), &own, since).await,
                Err(reason) => Err(reason),
            };
            match said {
                Ok(Some(_)) => return,
                // The comparison of clocks has written meanwhile, or another part must restore the run first.
                Ok(None) => {}
                Err(reason) => *hindrance = reason,
            }
            tokio::time::sleep(LAST_WORD_PAUSE).await;
        }
    }

    /// Returns whether the parts of these machines have run to their end, as far as the server knows.
    pub(crate) async fn have_ended(&self, machines: &BTreeSet<String>) -> bool {
        for machine in machines {
            let subject = self.records.part_subject(machine);
            let part = self.records.read::<PartMessage>(&subject).await;
            let has_ended = matches!(
                part,
                Ok(Last { value: Some(part), .. }) if part.run == self.run.id && part.ended_unix_ms > 0
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
    /// parts. Checks the record of the run as often.
    async fn compare_clocks(&self) {
        loop {
            let machine = &self.spec.machine;
            let comparing = compare(&self.records, &self.run, machine, &self.own, &self.clocks);
            if let Err(reason) = comparing.await {
                tracing::debug!("this machine's clock cannot be compared now: {reason}");
            }
            if self.spec.may_begin
                && let Err(reason) = self.mend_run().await
            {
                tracing::debug!("the record of the run cannot be checked now: {reason}");
            }
            let pause = match self.clocks().latency_error_ms {
                Some(_) => COMPARE_EVERY,
                None => COMPARE_AGAIN,
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Writes the record of the run again if it cannot be read, since nobody could join the run.
    async fn mend_run(&self) -> Result<(), String> {
        let subject = self.records.run_subject();
        let known = self.records.read::<RunMessage>(&subject).await;
        let known = known.map_err(Unread::reason)?;
        if known.is_unreadable() && !self.is_replaced() {
            let since = Some(known.sequence);
            self.records.write(subject, &self.run, since).await?;
        }
        Ok(())
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

    async fn look_until_known(&self) {
        while !self.look().await {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Checks that this is still the part of its machine, and reads what has been told of the run. Returns false if the
    /// server must be asked again.
    async fn look(&self) -> bool {
        match self.own_record().await {
            Ok(Some(_)) => {}
            Ok(None) => return self.is_replaced(),
            Err(reason) => {
                tracing::debug!(
                    "the server cannot be asked which program runs this machine's part: {reason}"
                );
                return false;
            }
        }
        let records = &self.records;
        let subject = records.drain_subject();
        let drain = match records.read::<DrainMessage>(&subject).await {
            Ok(drain) => drain.value.filter(|drain| drain.run == self.run.id),
            Err(_) => return false,
        };
        if let Some(drain) = drain {
            self.told(&drain);
        } else if self.news.borrow().is_draining {
            // This part was asked to drain and the others were not: the request was lost with the connection. This part
            // has not been replaced: that was just checked.
            let drain = DrainMessage {
                run: self.run.id.clone(),
            };
            if let Err(reason) = records.write(subject, &drain, None).await {
                tracing::warn!("the other machines could not be asked to end: {reason}");
                return false;
            }
        }
        true
    }

    /// Returns the number of this part's own record in the store, and writes the record again if it is missing or
    /// cannot be read. None if another program has taken this part's place, which is announced; if another part must
    /// come first; or if somebody has written meanwhile.
    async fn own_record(&self) -> Result<Option<u64>, String> {
        let subject = self.records.part_subject(&self.spec.machine);
        let known = match self.records.read::<PartMessage>(&subject).await {
            Ok(known) => known,
            Err(Unread::NoStore) => Last::NONE,
            Err(Unread::Other(reason)) => return Err(reason),
        };
        let is_unreadable = known.is_unreadable();
        match known.value {
            Some(own) if (&own.run, own.incarnation) == (&self.own.run, self.own.incarnation) => {
                Ok(Some(known.sequence))
            }
            Some(_) => {
                self.replaced();
                Ok(None)
            }
            None if is_unreadable => {
                let since = Some(known.sequence);
                self.records.write(subject, &self.own, since).await
            }
            // The server's storage has been emptied.
            None => self.restore().await,
        }
    }

    /// Writes the run and this part once more to a server that has forgotten everything. Returns the number of this
    /// part's record; none if another part, which may make stores, must come first.
    async fn restore(&self) -> Result<Option<u64>, String> {
        let records = &self.records;
        if self.spec.may_begin {
            records.make().await?;
            let subject = records.run_subject();
            records.write(subject, &self.run, Some(0)).await?;
        }
        let run = match records.read::<RunMessage>(&records.run_subject()).await {
            Ok(run) => run.value,
            Err(Unread::NoStore) => None,
            Err(Unread::Other(reason)) => return Err(reason),
        };
        match run {
            Some(run) if run.id == self.run.id => {}
            Some(_) => {
                self.replaced();
                return Ok(None);
            }
            None => return Ok(None),
        }
        let subject = records.part_subject(&self.spec.machine);
        let written = records.write(subject, &self.own, Some(0)).await?;
        if written.is_some() {
            tracing::warn!(
                "the server had forgotten the run, and the packets that waited for other machines: its storage was replaced, or somebody has ended the run there; this part has been recorded again"
            );
        }
        Ok(written)
    }

    fn replaced(&self) {
        let is_new = |news: &mut News| !std::mem::replace(&mut news.is_replaced, true);
        self.news.send_if_modified(is_new);
    }
}
