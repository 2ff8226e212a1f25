//! The receiving end of an edge at the network: does what [`Receiver`] says.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer, pull};
use fermata_engine::Settled;
use futures_util::StreamExt;
use prost::Message;
use tokio::sync::Notify;

use crate::connection::{NatsConnection, chain, lock};
use crate::edge::arrival::{Arrival, Command, ReceiverSpec, Taken, most_unacknowledged};
use crate::edge::receiver::Receiver;
use crate::edge::wire::{PacketMessage, ProgressMessage, SettledMessage};
use crate::last::{last_progress, last_settled};
use crate::names::{EdgeNames, token};
use crate::store::{NotMade, StoreSpec, make};

/// How often is looked how far the sinks have come, when nothing else happens.
const LOOK: Duration = Duration::from_millis(10);
/// A store gives a packet again by itself only after so long: what was lost on the way comes with a new pass.
const ACK_WAIT: Duration = Duration::from_secs(3600);
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Pauses between attempts to begin a pass.
const PASS_PAUSE: Duration = Duration::from_millis(200);

/// The receiving end of one stream.
pub(crate) struct ReceivingEnd {
    state: Mutex<State>,
    /// There is something to fetch.
    changed: Condvar,
    /// There is something to do.
    work: Notify,
    names: EdgeNames,
    token: String,
    store: StoreSpec,
    settled: Settled,
}

type Machine = Receiver<PacketMessage, Subject>;

#[derive(Default)]
struct State {
    machine: Option<Machine>,
    /// Deliveries that were no packets.
    malformed: u64,
    /// Below this sequence everything has been settled.
    settled: u64,
    has_handed_on_end: bool,
    /// How many missed packets have been told.
    told_missed: u64,
    obstacle: Option<String>,
    failure: Option<String>,
}

/// What a look at the receiving end finds.
pub(crate) enum Fetched {
    /// To be handed on.
    Taken(Taken<PacketMessage>),
    /// Nothing for now, and what stands in the way, if something does.
    Nothing(Option<String>),
    /// It can never receive.
    Failed(String),
}

impl ReceivingEnd {
    /// An end that waits for its connection.
    pub(crate) fn new(names: EdgeNames, stream: &str, store: StoreSpec, settled: Settled) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            work: Notify::new(),
            names,
            token: token(stream),
            store,
            settled,
        }
    }

    /// Takes what is next, or waits for it for a while; also how many packets have been missed since the last time.
    pub(crate) fn fetch(&self, most: Duration) -> (Fetched, u64) {
        let mut state = lock(&self.state);
        if state.is_waiting() {
            let is_waiting = |state: &mut State| state.is_waiting();
            let waited = self.changed.wait_timeout_while(state, most, is_waiting);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        self.settle(&mut state);
        let all_missed = state.machine.as_ref().map_or(0, Machine::missed);
        let missed = all_missed - std::mem::replace(&mut state.told_missed, all_missed);
        let fetched = match (state.failure.clone(), state.take()) {
            (Some(failure), _) => Fetched::Failed(failure),
            (None, Some(taken)) => Fetched::Taken(taken),
            (None, None) => Fetched::Nothing(state.obstacle.clone()),
        };
        (fetched, missed)
    }

    /// Tells the store what the sinks have settled. A stream that was ended here, and not by its sender, is settled as far as it
    /// was before: what was given up then is to come again.
    fn settle(&self, state: &mut State) {
        let position = self.settled.position();
        if position < u64::MAX || state.has_handed_on_end {
            state.settled = position;
        }
        let settled = state.settled;
        if let Some(machine) = &mut state.machine {
            machine.settled(settled);
            if machine.has_commands() {
                self.work.notify_one();
            }
        }
    }

    /// Works until the stream has ended everywhere and all of it is acknowledged, or the connection is closed.
    pub(crate) async fn run(self: Arc<Self>, connection: Arc<NatsConnection>) {
        tokio::select! {
            () = self.work(&connection) => {}
            () = connection.closed() => self.acknowledge_last(&connection).await,
        }
    }

    async fn acknowledge_last(&self, connection: &NatsConnection) {
        loop {
            let command = {
                let mut state = lock(&self.state);
                self.settle(&mut state);
                let machine = state.machine.as_mut();
                machine.and_then(Machine::last_command)
            };
            match command {
                Some(Command::Remember(settled)) => self.remember(connection, settled).await,
                Some(Command::Acknowledge(delivery)) => acknowledge(connection, delivery).await,
                Some(Command::Pass | Command::Look) | None => return,
            }
        }
    }

    /// Goes out before the acknowledgements, on the same connection.
    async fn remember(&self, connection: &NatsConnection, settled: SettledMessage) {
        let subject = self.names.settled_of(&self.token);
        let bytes = settled.encode_to_vec();
        // One that is lost, is so with the acknowledgements that it speaks of.
        let _ = connection.client.publish(subject, bytes.into()).await;
    }

    async fn work(&self, connection: &NatsConnection) {
        let (is_first, settled) = self.make_store(connection).await;
        {
            let spec = ReceiverSpec {
                full: self.store.full,
                capacity: self.store.limit,
                is_first,
                settled,
            };
            lock(&self.state).machine = Some(Receiver::new(spec));
        }
        let mut link = connection.link.clone();
        let mut known = *link.borrow_and_update();
        let mut pass: Option<Pass> = None;
        let progress = connection
            .client
            .subscribe(self.names.progress_of(&self.token));
        let Ok(mut progress) = progress.await else {
            return self.fail("the connection has ended".to_owned());
        };
        while let Some(wake) = self.step(connection, &mut pass).await {
            tokio::select! {
                Some(message) = next_of(&mut pass) => self.arrived(message),
                Some(message) = progress.next() => self.progressed(&message.payload),
                changed = link.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = *link.borrow_and_update();
                    if now.times != known.times || !now.is_up {
                        self.pass_broke("the connection is broken".to_owned());
                    }
                    known = now;
                }
                () = self.work.notified() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Makes the store if it is not there. Says whether it was not, so that nobody has received from it, and what an earlier
    /// receiving end had settled.
    async fn make_store(&self, connection: &NatsConnection) -> (bool, Option<SettledMessage>) {
        loop {
            match make(connection, self.store, &self.names).await {
                Ok(()) => {
                    let last = last_settled(&connection.jetstream, &self.names, &self.token);
                    match last.await {
                        Ok(settled) => {
                            return (connection.is_made_here(&self.names.packets), settled);
                        }
                        Err(reason) => self.hindered(reason),
                    }
                }
                Err(NotMade::Other(reason)) => self.hindered(reason),
                Err(NotMade::Differs(failure)) => {
                    self.fail(failure);
                    std::future::pending::<()>().await;
                }
            }
            tokio::time::sleep(PASS_PAUSE).await;
        }
    }

    fn hindered(&self, reason: String) {
        lock(&self.state).obstacle = Some(reason);
        self.changed.notify_all();
    }

    fn fail(&self, failure: String) {
        lock(&self.state).failure = Some(failure);
        self.changed.notify_all();
    }

    fn pass_broke(&self, reason: String) {
        let mut state = lock(&self.state);
        state.obstacle = Some(reason);
        if let Some(machine) = &mut state.machine {
            machine.pass_broke();
        }
    }

    /// Does what is to be done. Says when to look again; none if there is nothing more to do ever.
    async fn step(
        &self,
        connection: &NatsConnection,
        pass: &mut Option<Pass>,
    ) -> Option<tokio::time::Instant> {
        loop {
            let command = {
                let mut state = lock(&self.state);
                self.settle(&mut state);
                let look = tokio::time::Instant::now() + LOOK;
                let machine = state.machine.as_mut()?;
                match machine.next_command(connection.now_ms()) {
                    Some(command) => command,
                    None if machine.is_over() => return None,
                    None => {
                        let wake = machine.wake_at().map(|at_ms| connection.instant(at_ms));
                        return Some(wake.map_or(look, |wake| wake.min(look)));
                    }
                }
            };
            match command {
                Command::Pass => *pass = Some(self.begin_pass(connection).await),
                Command::Look => {
                    let looked = match pass {
                        Some(pass) => pass.consumer.info().await.ok(),
                        None => None,
                    };
                    let looked =
                        looked.map(|info| (info.delivered.consumer_sequence, info.num_pending));
                    self.looked(looked, connection.now_ms());
                }
                Command::Remember(settled) => self.remember(connection, settled).await,
                Command::Acknowledge(delivery) => acknowledge(connection, delivery).await,
            }
        }
    }

    fn looked(&self, looked: Option<(u64, u64)>, now_ms: u64) {
        if let Some(machine) = &mut lock(&self.state).machine {
            match looked {
                Some((deliveries, to_come)) => machine.looked(deliveries, to_come, now_ms),
                None => machine.look_failed(),
            }
        }
        self.changed.notify_all();
    }

    /// Begins a pass, however long that takes.
    async fn begin_pass(&self, connection: &NatsConnection) -> Pass {
        loop {
            match self.try_pass(connection).await {
                Ok((pass, told)) => {
                    let mut state = lock(&self.state);
                    state.obstacle = None;
                    if let Some(machine) = &mut state.machine {
                        machine.pass_began(connection.now_ms());
                        if let Some(told) = told {
                            machine.progressed(told);
                        }
                    }
                    return pass;
                }
                Err(reason) => self.hindered(reason),
            }
            tokio::time::sleep(PASS_PAUSE).await;
        }
    }

    async fn try_pass(
        &self,
        connection: &NatsConnection,
    ) -> Result<(Pass, Option<ProgressMessage>), String> {
        // A server that was started anew has forgotten what lay in memory.
        let made = make(connection, self.store, &self.names).await;
        made.map_err(|error| match error {
            NotMade::Differs(reason) | NotMade::Other(reason) => reason,
        })?;
        let stream = connection.jetstream.get_stream_no_info(&self.names.packets);
        let stream = stream.await.map_err(|error| chain(&error))?;
        // The consumer of the last pass, if there is one.
        let _ = stream.delete_consumer(&self.token).await;
        let most = most_unacknowledged(self.store.full, self.store.limit);
        let consumer = stream
            .create_consumer(pull::Config {
                durable_name: Some(self.token.clone()),
                filter_subject: self.names.packets_of(&self.token),
                ack_policy: AckPolicy::Explicit,
                ack_wait: ACK_WAIT,
                max_ack_pending: i64::try_from(most).unwrap_or(i64::MAX),
                ..pull::Config::default()
            })
            .await
            .map_err(|error| chain(&error))?;
        let messages = consumer.stream().max_messages_per_batch(most.min(500));
        let messages = messages.heartbeat(HEARTBEAT).messages().await;
        let messages = messages.map_err(|error| chain(&error))?;
        let told = last_progress(&connection.jetstream, &self.names, &self.token).await?;
        Ok((Pass { consumer, messages }, told))
    }

    fn arrived(&self, message: Result<jetstream::Message, pull::MessagesError>) {
        let message = match message {
            Ok(message) => message,
            Err(error) => return self.pass_broke(chain(&error)),
        };
        let mut state = lock(&self.state);
        let Ok(info) = message.info() else {
            state.malformed += 1;
            return;
        };
        let (position, stored) = (info.consumer_sequence, info.stream_sequence);
        let async_nats::Message {
            subject,
            reply: Some(delivery),
            payload,
            ..
        } = message.message
        else {
            return;
        };
        let packet = PacketMessage::read(payload);
        if let Err(error) = &packet {
            state.malformed += 1;
            tracing::warn!("{subject}: a message that is no packet: {error}");
        }
        let Some(machine) = &mut state.machine else {
            return;
        };
        match packet {
            Ok(packet) => {
                let arrival = Arrival {
                    incarnation: packet.incarnation,
                    number: packet.number,
                    sequence: packet.sequence,
                    segment: packet.segment,
                    stored,
                    content: packet,
                };
                machine.arrived(position, arrival, delivery);
            }
            Err(_) => machine.arrived_malformed(position, delivery),
        }
        self.changed.notify_all();
    }

    fn progressed(&self, payload: &[u8]) {
        let mut state = lock(&self.state);
        match ProgressMessage::read(payload) {
            Ok(told) => {
                if let Some(machine) = &mut state.machine {
                    machine.progressed(told);
                }
            }
            Err(error) => {
                state.malformed += 1;
                tracing::warn!("a message that is no progress of an edge: {error}");
            }
        }
        self.changed.notify_all();
    }
}

impl State {
    fn is_waiting(&self) -> bool {
        let has_taken = self.machine.as_ref().is_some_and(Machine::has_taken);
        !has_taken && self.failure.is_none()
    }

    fn take(&mut self) -> Option<Taken<PacketMessage>> {
        let taken = self.machine.as_mut()?.next_taken()?;
        self.has_handed_on_end |= matches!(taken, Taken::End(_));
        Some(taken)
    }
}

/// A pass over what the store holds.
struct Pass {
    consumer: PullConsumer,
    messages: pull::Stream,
}

async fn next_of(
    pass: &mut Option<Pass>,
) -> Option<Result<jetstream::Message, pull::MessagesError>> {
    match pass {
        Some(pass) => pass.messages.next().await,
        None => None,
    }
}

async fn acknowledge(connection: &NatsConnection, delivery: Subject) {
    // One that is lost is made up for in the next pass.
    let _ = connection.client.publish(delivery, "+ACK".into()).await;
}
