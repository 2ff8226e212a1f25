//! The network side of an edge's receiving end: carries out the commands of [`Receiver`].

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use fermata_engine::graph::WhenFull;
use fermata_engine::{Settled, Setup};
use fermata_files::SyncGroup;
use futures_util::StreamExt;
use tokio::sync::Notify;

use crate::claim::{Claim, REPLACED, Unremembered};
use crate::connection::NatsConnection;
use crate::edge::arrival::{Command, ReceiverSpec, Taken};
use crate::edge::receiver::Receiver;
use crate::edge::wire::{PacketMessage, ProgressMessage};
use crate::error::chain;
use crate::incoming::{Machine, State};
use crate::last::{Unread, last_progress};
use crate::lock::lock;
use crate::losses::StreamLosses;
use crate::memory::Memory;
use crate::names::{EdgeNames, token};
use crate::pass::{Pass, next_of};
use crate::standstill::{STANDSTILL, Standstill};
use crate::store::{NotMade, StoreSpec, make};

/// Polling interval for how far the sinks have come, when nothing else happens.
const LOOK: Duration = Duration::from_millis(10);
/// Pause between attempts to make the store or to begin a pass.
const PASS_PAUSE: Duration = Duration::from_millis(200);

/// The receiving end of one stream.
pub(crate) struct ReceivingEnd {
    state: Mutex<State>,
    /// Signals that there is something to fetch.
    changed: Condvar,
    /// Signals that there is something to do.
    work: Arc<Notify>,
    names: EdgeNames,
    token: String,
    store: StoreSpec,
    settled: Settled,
    /// Files of this machine whose contents are settled only once they are on the disk.
    files: Option<Arc<SyncGroup>>,
    /// How often the server had no room to record progress.
    full: AtomicU64,
    /// Standstill of attempts to begin, or to begin a pass.
    standstill: Mutex<Standstill>,
}

/// A request to the server to record progress.
type Remembering = Pin<Box<dyn Future<Output = Result<Claim, Unremembered>> + Send>>;

/// Result of [`ReceivingEnd::fetch`].
pub(crate) enum Fetched {
    /// Something to hand on.
    Taken(Taken<PacketMessage>),
    /// Nothing for now, with the obstacle, if there is one.
    Nothing(Option<String>),
    /// The end can never receive.
    Failed(String),
}

impl ReceivingEnd {
    /// Creates an end that waits for its connection.
    pub(crate) fn new(
        names: EdgeNames,
        stream: &str,
        store: StoreSpec,
        setup: &Setup,
        losses: Arc<StreamLosses>,
    ) -> Self {
        let settled = setup.settled();
        let work = Arc::new(Notify::new());
        let settling = Arc::clone(&work);
        settled.on_growth(move || settling.notify_one());
        Self {
            state: Mutex::new(State::new(losses)),
            changed: Condvar::new(),
            work,
            names,
            token: token(stream),
            store,
            settled,
            // An edge that may drop packets promises no durability.
            files: setup.service().filter(|_| store.full == WhenFull::Block),
            full: AtomicU64::new(0),
            standstill: Mutex::default(),
        }
    }

    /// Returns the stream's name at the server.
    pub(crate) fn stream(&self) -> &str {
        &self.token
    }

    /// Takes what is next, or waits for it at most `most`. Also returns how many packets have been missed since the
    /// last call.
    pub(crate) fn fetch(&self, most: Duration) -> (Fetched, u64) {
        let mut state = lock(&self.state);
        if state.is_waiting() {
            let is_waiting = |state: &mut State| state.is_waiting();
            let waited = self.changed.wait_timeout_while(state, most, is_waiting);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let all_missed = state.machine.as_ref().map_or(0, Machine::missed);
        let missed = all_missed - std::mem::replace(&mut state.told_missed, all_missed);
        let fetched = match (state.failure.clone(), state.take()) {
            (Some(failure), _) => Fetched::Failed(failure),
            (None, Some(taken)) => Fetched::Taken(taken),
            (None, None) => Fetched::Nothing(state.obstacle.clone()),
        };
        if state.machine.as_ref().is_some_and(Machine::has_commands) {
            self.work.notify_one();
        }
        (fetched, missed)
    }

    /// Runs until the stream has ended everywhere and all of it is acknowledged, or the connection is closed.
    pub(crate) async fn run(self: Arc<Self>, connection: Arc<NatsConnection>) {
        tokio::select! {
            () = self.work(&connection) => {}
            () = connection.closed() => self.acknowledge_last(&connection).await,
        }
    }

    async fn acknowledge_last(&self, connection: &NatsConnection) {
        let remembering = {
            let mut state = lock(&self.state);
            state.settle(self.settled.position());
            let State {
                machine: Some(machine),
                memory: Some(memory),
                ..
            } = &mut *state
            else {
                return;
            };
            memory.failed();
            let mut now = Vec::new();
            while let Some(command) = machine.last_command() {
                match command {
                    Command::Remember(settled) => memory.remember(settled),
                    Command::Acknowledge(delivery) => now.extend(memory.acknowledge(delivery)),
                    Command::Pass | Command::Look => {}
                }
            }
            // Whether or not it is due.
            let remembering = self.begin_remembering(connection, memory, u64::MAX);
            (now, remembering)
        };
        let (now, remembering) = remembering;
        acknowledge(connection, now).await;
        if let Some(remembering) = remembering {
            self.remembered(connection, remembering.await).await;
        }
    }

    /// Starts recording progress at the server, if some is pending and due and no request is under way.
    fn begin_remembering(
        &self,
        connection: &NatsConnection,
        memory: &mut Memory,
        now_ms: u64,
    ) -> Option<Remembering> {
        let settled = memory.begin(now_ms)?;
        let (jetstream, names) = (connection.jetstream.clone(), self.names.clone());
        let (claim, token) = (memory.claim(), self.token.clone());
        let files = self.files.clone();
        Some(Box::pin(async move {
            if let Some(files) = files.filter(|files| !files.is_empty()) {
                let synced = tokio::task::spawn_blocking(move || files.sync()).await;
                let synced = synced.map_err(|error| Unremembered::Other(error.to_string()))?;
                synced.map_err(Unremembered::NotOnDisk)?;
            }
            claim.remember(jetstream, names, token, settled).await
        }))
    }

    async fn remembered(
        &self,
        connection: &NatsConnection,
        remembered: Result<Claim, Unremembered>,
    ) {
        let deliveries = {
            let mut state = lock(&self.state);
            let Some(memory) = &mut state.memory else {
                return;
            };
            match remembered {
                Ok(claim) => {
                    let deliveries = memory.remembered(claim);
                    state.obstacle = None;
                    deliveries
                }
                Err(Unremembered::Replaced) => {
                    drop(state);
                    return self.replaced();
                }
                Err(Unremembered::NotOnDisk(reason)) => {
                    drop(state);
                    return self.fail(reason);
                }
                Err(Unremembered::NoRoom(reason)) => {
                    self.tell_full(&reason);
                    memory.has_no_room().into_iter().collect()
                }
                Err(Unremembered::Other(reason)) => {
                    memory.failed();
                    state.obstacle = Some(reason);
                    Vec::new()
                }
            }
        };
        acknowledge(connection, deliveries).await;
    }

    /// Logs that the server has no room, the 1st, 2nd, 4th, 8th … time.
    fn tell_full(&self, reason: &str) {
        let times = self.full.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            let (packets, stream) = (&self.names.packets, &self.token);
            tracing::warn!(
                times,
                "edge from {packets}, stream {stream}: the server has no room to record how far this machine has come ({reason}): give the server or the account more storage, or the edge less capacity"
            );
        }
    }

    async fn work(&self, connection: &NatsConnection) {
        let claim = self.make_store(connection).await;
        {
            let spec = ReceiverSpec {
                full: self.store.full,
                capacity: self.store.limit,
                settled: claim.settled,
            };
            let mut state = lock(&self.state);
            state.machine = Some(Receiver::new(spec));
            state.memory = Some(Memory::new(claim));
        }
        let mut link = connection.link.clone();
        let mut known = *link.borrow_and_update();
        let mut pass: Option<Pass> = None;
        let mut remembering: Option<Remembering> = None;
        let progress = connection
            .client
            .subscribe(self.names.progress_of(&self.token));
        let Ok(mut progress) = progress.await else {
            return self.fail("the connection is closed".to_owned());
        };
        while let Some(wake) = self.step(connection, &mut pass, &mut remembering).await {
            tokio::select! {
                Some(message) = next_of(&mut pass) => self.arrived(message),
                Some(message) = progress.next() => self.progressed(&message.payload),
                Some(remembered) = end_of(&mut remembering) => {
                    remembering = None;
                    self.remembered(connection, remembered).await;
                }
                changed = link.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now = *link.borrow_and_update();
                    if now.times != known.times || !now.is_up {
                        self.pass_broke("the connection is broken".to_owned());
                        remembering = None;
                        lock(&self.state).memory.iter_mut().for_each(Memory::failed);
                    }
                    known = now;
                }
                () = self.work.notified() => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    /// Creates the store if it does not exist, and replaces whoever received before.
    async fn make_store(&self, connection: &NatsConnection) -> Claim {
        loop {
            match make(connection, self.store, &self.names).await {
                Ok(()) => {
                    let subject = self.names.settled_of(&self.token);
                    if let Some(claim) = connection.kept_claim(&subject) {
                        return claim;
                    }
                    let claim = Claim::take(&connection.jetstream, &self.names, &self.token);
                    match claim.await {
                        Ok(claim) => return claim,
                        Err(error) => self.hindered(error.reason()),
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
        if lock(&self.standstill).is_to_be_told() {
            let (packets, stream) = (&self.names.packets, &self.token);
            tracing::warn!(
                "edge from {packets}, stream {stream}: nothing could be received for {} s: {reason}",
                STANDSTILL.as_secs()
            );
        }
        lock(&self.state).obstacle = Some(reason);
        self.changed.notify_all();
    }

    fn replaced(&self) {
        self.fail(REPLACED.to_owned());
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

    /// Carries out pending commands. Returns when to be called again; none if there will never be more to do.
    async fn step(
        &self,
        connection: &NatsConnection,
        pass: &mut Option<Pass>,
        remembering: &mut Option<Remembering>,
    ) -> Option<tokio::time::Instant> {
        loop {
            let command = {
                let mut state = lock(&self.state);
                if state.failure.is_some() {
                    return None;
                }
                state.settle(self.settled.position());
                let look = tokio::time::Instant::now() + LOOK;
                let State {
                    machine: Some(machine),
                    memory: Some(memory),
                    ..
                } = &mut *state
                else {
                    return None;
                };
                let now_ms = connection.now_ms();
                match machine.next_command(now_ms) {
                    Some(command) => command,
                    None => {
                        if remembering.is_none() {
                            *remembering = self.begin_remembering(connection, memory, now_ms);
                        }
                        if machine.is_over() && memory.is_idle() {
                            return None;
                        }
                        let wakes = machine.wake_at().into_iter().chain(memory.wake_at());
                        let wake = wakes.min().map(|at_ms| connection.instant(at_ms));
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
                Command::Remember(settled) => {
                    if let Some(memory) = &mut lock(&self.state).memory {
                        memory.remember(settled);
                    }
                }
                Command::Acknowledge(delivery) => {
                    let now = {
                        let mut state = lock(&self.state);
                        let memory = state.memory.as_mut();
                        memory.and_then(|memory| memory.acknowledge(delivery))
                    };
                    acknowledge(connection, now).await;
                }
            }
        }
    }

    fn looked(&self, looked: Option<(u64, u64)>, now_ms: u64) {
        if let Some(machine) = &mut lock(&self.state).machine {
            match looked {
                Some((deliveries, to_come)) => machine.looked(deliveries, to_come, now_ms),
                None => machine.look_failed(now_ms),
            }
        }
        self.changed.notify_all();
    }

    /// Begins a pass, retrying for as long as it takes.
    async fn begin_pass(&self, connection: &NatsConnection) -> Pass {
        loop {
            match self.try_pass(connection).await {
                Ok((pass, told)) => {
                    lock(&self.standstill).is_over();
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
        // A restarted server has lost what it kept in memory.
        let made = make(connection, self.store, &self.names).await;
        made.map_err(|error| match error {
            NotMade::Differs(reason) | NotMade::Other(reason) => reason,
        })?;
        let claim = lock(&self.state).memory.as_ref().map(Memory::claim);
        if let Some(claim) = claim {
            let held = claim.is_held(&connection.jetstream, &self.names, &self.token);
            if !held.await.map_err(Unread::reason)? {
                self.replaced();
                std::future::pending::<()>().await;
            }
        }
        let pass = Pass::begin(&connection.jetstream, &self.names, &self.token, self.store);
        let pass = pass.await?;
        let told = last_progress(&connection.jetstream, &self.names, &self.token).await?;
        Ok((pass, told.value))
    }

    fn arrived(&self, message: Result<jetstream::Message, pull::MessagesError>) {
        match message {
            Ok(message) => lock(&self.state).arrived(message),
            Err(error) => self.pass_broke(chain(&error)),
        }
        self.changed.notify_all();
    }

    fn progressed(&self, payload: &[u8]) {
        lock(&self.state).progressed(payload);
        self.changed.notify_all();
    }
}

async fn end_of(remembering: &mut Option<Remembering>) -> Option<Result<Claim, Unremembered>> {
    match remembering {
        Some(remembering) => Some(remembering.await),
        None => None,
    }
}

async fn acknowledge(
    connection: &NatsConnection,
    deliveries: impl IntoIterator<Item = Subject> + Send,
) {
    for delivery in deliveries {
        // A lost acknowledgement is made up for in the next pass.
        let _ = connection.client.publish(delivery, "+ACK".into()).await;
    }
}
