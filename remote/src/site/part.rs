//! A part of a run of a site: how it joins the run, what it hears of it, how it leaves.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use bytes::Bytes;
use futures_util::StreamExt;
use prost::Message;
use tokio::sync::watch;

use super::clock::{SiteClocks, compare};
use super::record::{DrainMessage, PartMessage, Records, RunMessage};
use super::refusal::SiteError;
use crate::connection::NatsConnection;
use crate::last::{Last, Unread};
use crate::lock::lock;
use crate::time::{unix_ms, utc};

/// How long a part may take to say that it is there.
const HELLO: Duration = Duration::from_secs(2);
/// Between two looks whether the run has been begun, and two attempts to ask the server.
const PAUSE: Duration = Duration::from_millis(200);
/// Between two comparisons of clocks, and as long as the other machines' are not known.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
const COMPARE_AGAIN: Duration = Duration::from_secs(2);
/// How long the last word of a part may take.
const LAST_WORD: Duration = Duration::from_secs(5);

/// What a part is.
#[derive(Clone, Debug)]
pub struct PartSpec {
    /// The machine.
    pub machine: String,
    /// All machines of the graph.
    pub machines: Vec<String>,
    /// The graph's name.
    pub graph: String,
    /// Hash of what all parts have in common of the graph.
    pub digest: String,
    /// The program's version.
    pub version: String,
    /// It receives from other machines, so it makes JetStream streams, and may begin the run. Others wait until one
    /// has.
    pub may_begin: bool,
}

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

/// What a part hears of its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct News {
    /// All sources are to end.
    is_draining: bool,
    /// Another program runs this machine's part.
    is_replaced: bool,
}

impl SitePart {
    /// Joins the run of the connection's site, and begins one if there is none. A part that may not do that waits until
    /// another has, and says so once.
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

    /// Name of the site.
    pub fn site(&self) -> &str {
        &self.connection.site
    }

    /// What tells this run from all others.
    pub fn run(&self) -> &str {
        &self.run.id
    }

    /// What is known of the clocks of the site's machines by now.
    pub fn clocks(&self) -> SiteClocks {
        *lock(&self.clocks)
    }

    /// Packets that came from other machines before they were captured there, by the two clocks.
    pub fn packets_from_future(&self) -> u64 {
        self.connection.losses.packets_from_future()
    }

    /// How often the part of this machine has been started in this run: 1 and above.
    pub fn incarnation(&self) -> u64 {
        self.own.incarnation
    }

    /// Asks all parts to let their sources end. What cannot be told now is told when the server is there again; this
    /// part hears it at once.
    pub fn drain(self: &Arc<Self>) {
        let telling = Arc::clone(self);
        self.connection
            .runtime
            .spawn(async move { telling.tell_drain().await });
        self.news.send_modify(|news| news.is_draining = true);
    }

    /// Calls back once all sources are to end, and if another program takes this part's place.
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

    /// Whether another program has taken this part's place, because this one was away.
    pub fn is_replaced(&self) -> bool {
        self.news.borrow().is_replaced
    }

    /// Says that the part has run to its end. One that does not get to say so may come back.
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
            Ok(Err(reason)) => tracing::warn!("the site could not be told of the end: {reason}"),
            Err(_) => tracing::warn!("the site could not be told of the end: no answer"),
        }
    }

    /// Whether the parts of these machines have run to their end, as far as the server says.
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

    /// Compares this machine's clock with the server's, again and again, and tells and hears of that.
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

    /// Answers whoever asks whether this part is there, and hears what is told of the run.
    async fn listen(&self, mut hello: async_nats::Subscriber) {
        let client = &self.connection.client;
        let Ok(mut drain) = client.subscribe(self.records.drain_subject()).await else {
            return;
        };
        let mut link = self.connection.link.clone();
        self.look().await;
        loop {
            tokio::select! {
                Some(message) = hello.next() => {
                    if let Some(reply) = message.reply {
                        let _ = client.publish(reply, Bytes::from_static(b"here")).await;
                    }
                }
                Some(message) = drain.next() => {
                    // What was published may come before the store has it, so it is not looked for there.
                    if let Ok(drain) = DrainMessage::decode(message.payload) {
                        self.told(&drain);
                    }
                }
                changed = link.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if link.borrow_and_update().is_up {
                        self.look().await;
                    }
                }
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

    /// Asks what has been told of the run, and who this machine's part is.
    async fn look(&self) {
        let subject = self.records.drain_subject();
        let drain = self.records.read::<DrainMessage>(&subject).await;
        match drain {
            Ok(Some(drain)) if drain.value.run == self.run.id => self.told(&drain.value),
            // What this part has been asked, the others have not: it was lost with the connection.
            Ok(_) if self.news.borrow().is_draining => self.tell_drain().await,
            _ => {}
        }
        let subject = self.records.part_subject(&self.spec.machine);
        let own = self.records.read::<PartMessage>(&subject).await;
        // A server that has been emptied says nothing of anybody.
        let Ok(Some(Last { value: own, .. })) = own else {
            return;
        };
        if (&own.run, own.incarnation) != (&self.own.run, self.own.incarnation) {
            self.news
                .send_if_modified(|news| !std::mem::replace(&mut news.is_replaced, true));
        }
    }
}

/// The run of the site: one that is there, or a new one.
async fn begin(
    connection: &NatsConnection,
    records: &Records,
    spec: &PartSpec,
    waits: &dyn Fn(&str),
) -> Result<RunMessage, SiteError> {
    let site = &connection.site;
    let failed = |what, reason| SiteError::server(site, what, reason);
    let mut is_told = false;
    loop {
        if let Some(run) = read_run(connection, records).await? {
            return same(connection, spec, run);
        }
        if spec.may_begin {
            let stores = records.stores().await;
            let stores = stores.map_err(|reason| failed("list its streams", reason))?;
            let left = stores.iter().map(|info| info.config.name.as_str());
            let left: Vec<&str> = left.filter(|name| !records.is_own(name)).collect();
            if !left.is_empty() {
                // What somebody has begun meanwhile may have edges already.
                if let Some(run) = read_run(connection, records).await? {
                    return same(connection, spec, run);
                }
                return Err(SiteError::Leftovers {
                    at: connection.at(),
                    site: site.clone(),
                    stores: left.join(", "),
                });
            }
            let made = records.make().await;
            made.map_err(|reason| failed("keep a run", reason))?;
            let run = RunMessage {
                id: fresh_id(connection),
                graph: spec.graph.clone(),
                digest: spec.digest.clone(),
                version: spec.version.clone(),
                begun_unix_ms: unix_ms(),
                machines: spec.machines.clone(),
            };
            let written = records.write(records.run_subject(), &run, Some(0)).await;
            if written.map_err(|reason| failed("keep a run", reason))? {
                return Ok(run);
            }
            // Somebody was first.
            continue;
        }
        if !is_told {
            is_told = true;
            waits(&format!(
                "site `{site}` has not been begun: waiting for the part of a machine that receives from others, which begins it ({})",
                connection.address
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The run that is there, if any.
async fn read_run(
    connection: &NatsConnection,
    records: &Records,
) -> Result<Option<RunMessage>, SiteError> {
    match records.read::<RunMessage>(&records.run_subject()).await {
        Ok(found) => Ok(found.map(|run| run.value)),
        Err(Unread::NoStore) => Ok(None),
        Err(Unread::Other(reason)) => {
            Err(SiteError::server(&connection.site, "say what runs", reason))
        }
    }
}

/// An inbox of the client is different for every process and call.
fn fresh_id(connection: &NatsConnection) -> String {
    let inbox = connection.client.new_inbox();
    inbox.rsplit('.').next().unwrap_or(&inbox).to_owned()
}

fn same(
    connection: &NatsConnection,
    spec: &PartSpec,
    run: RunMessage,
) -> Result<RunMessage, SiteError> {
    let site = connection.site.clone();
    if run.version != spec.version {
        return Err(SiteError::OtherVersion {
            at: connection.at(),
            site,
            there: run.version,
            here: spec.version.clone(),
        });
    }
    if run.digest != spec.digest {
        return Err(SiteError::OtherGraph {
            at: connection.at(),
            site,
            graph: run.graph,
            since: utc(run.begun_unix_ms),
        });
    }
    Ok(run)
}

/// Takes this machine's place in the run, if nobody has it.
async fn take_place(
    connection: &NatsConnection,
    records: &Records,
    spec: &PartSpec,
    run: &RunMessage,
) -> Result<(PartMessage, async_nats::Subscriber), SiteError> {
    let site = &connection.site;
    let failed = |what, reason| SiteError::server(site, what, reason);
    let subject = records.part_subject(&spec.machine);
    let hello = records.hello_subject(&spec.machine);
    loop {
        let known = match records.read::<PartMessage>(&subject).await {
            Ok(known) => known,
            Err(Unread::NoStore) => None,
            Err(Unread::Other(reason)) => return Err(failed("say which parts run", reason)),
        };
        if let Some(known) = &known {
            if known.value.ended_unix_ms != 0 || known.value.run != run.id {
                return Err(SiteError::Ended {
                    at: connection.at(),
                    site: site.clone(),
                    machine: spec.machine.clone(),
                    since: utc(run.begun_unix_ms),
                });
            }
            if is_there(connection, &hello).await {
                return Err(SiteError::Taken {
                    site: site.clone(),
                    machine: spec.machine.clone(),
                    since: utc(known.value.started_unix_ms),
                });
            }
        }
        // Whoever comes from now on finds this part there, or finds that somebody has written.
        let listening = connection.client.subscribe(hello.clone()).await;
        let listening = listening.map_err(|error| failed("let it listen", error.to_string()))?;
        let since = known.as_ref().map_or(0, |known| known.sequence);
        let own = PartMessage {
            run: run.id.clone(),
            incarnation: known.map_or(0, |known| known.value.incarnation) + 1,
            started_unix_ms: unix_ms(),
            ..PartMessage::default()
        };
        let written = records.write(subject.clone(), &own, Some(since)).await;
        if written.map_err(|reason| failed("remember this part", reason))? {
            return Ok((own, listening));
        }
    }
}

/// Whether the part of a machine answers.
pub(super) async fn is_there(connection: &NatsConnection, hello: &str) -> bool {
    let asked = connection.client.request(hello.to_owned(), Bytes::new());
    match tokio::time::timeout(HELLO, asked).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => error.kind() == RequestErrorKind::TimedOut,
        // Somebody listens, and is too busy to answer.
        Err(_) => true,
    }
}
