//! A worker at the network: takes units when it is asked for them, renews their leases while they are worked at, and brings their
//! results. What is computed is the caller's.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Notify, oneshot, watch};

use super::assets::{Assets, find, reports_of};
use super::attempt::{Ask, Attempt, Ended, Told};
use super::error::WorkError;
use super::finding::wait_for_job;
use super::given::{Taken, WorkerSpec};
use super::job_name::JobName;
use super::performing::{Performing, sha256};
use super::records::{JobRecord, WorkerReport, cut, to_bytes};
use crate::connection::{NatsConnection, lock};

/// Results that may be on their way to the server before no more units are taken.
const MOST_UNSENT: usize = 4;
/// How long one request for a unit waits at the server.
const PULL: Duration = Duration::from_secs(2);
/// Pauses after what the server did not answer.
const PAUSE: Duration = Duration::from_millis(200);
/// How often is looked whether the job is still there.
const LOOK: Duration = Duration::from_secs(1);
/// How often a worker says how it is, at most.
const REPORT: Duration = Duration::from_secs(1);

/// What came of working at a unit.
enum WorkEnd {
    Computed {
        bytes: Bytes,
        sha256: String,
        rows: u64,
    },
    Failed(String),
    GivenBack,
}

struct Active {
    /// The newest delivery of the unit: acknowledged and renewed.
    delivery: watch::Sender<Arc<Message>>,
    since: Instant,
    /// Once it has been begun: where its end is told.
    end: Option<oneshot::Sender<WorkEnd>>,
    has_begun: bool,
}

#[derive(Default)]
struct State {
    ready: VecDeque<(u64, u32)>,
    active: HashMap<u64, Active>,
    is_wanted: bool,
    report: WorkerReport,
}

/// A worker of a job.
pub struct Worker {
    connection: Arc<NatsConnection>,
    job: JobName,
    record: JobRecord,
    assets: Assets,
    spec: WorkerSpec,
    state: Mutex<State>,
    changed: Condvar,
    wanted: Notify,
    report_now: Notify,
    over: watch::Sender<bool>,
}

impl Worker {
    /// Finds the job of a name, or waits for one as long as `goes_on` says so. Nothing is taken yet.
    ///
    /// # Errors
    /// What stands at the server cannot be read, or nobody wants to wait any more.
    pub fn find(
        connection: &Arc<NatsConnection>,
        job: &JobName,
        spec: WorkerSpec,
        goes_on: impl Fn() -> bool,
    ) -> Result<Arc<Self>, WorkError> {
        let found = connection.block_on(wait_for_job(connection, job, goes_on));
        let (record, assets) = found?;
        let report = WorkerReport {
            worker: spec.worker.clone(),
            host: spec.host.clone(),
            ..WorkerReport::default()
        };
        Ok(Arc::new(Self {
            connection: Arc::clone(connection),
            job: job.clone(),
            record,
            assets,
            spec,
            state: Mutex::new(State {
                report,
                ..State::default()
            }),
            changed: Condvar::new(),
            wanted: Notify::new(),
            report_now: Notify::new(),
            over: watch::Sender::new(false),
        }))
    }

    /// The job.
    pub fn record(&self) -> &JobRecord {
        &self.record
    }

    /// Says at the server why this worker does not take part.
    pub fn refuse(&self, reason: &str) {
        lock(&self.state).report.refuses = Some(cut(reason));
        self.connection.block_on(self.tell());
    }

    /// Begins to work. `differs` says what of this machine is not as the coordinator's, where that is allowed.
    pub fn begin(self: &Arc<Self>, differs: Option<String>) {
        lock(&self.state).report.differs = differs.map(|text| cut(&text));
        let runtime = &self.connection.runtime;
        runtime.spawn(Arc::clone(self).fetch());
        runtime.spawn(Arc::clone(self).look());
        runtime.spawn(Arc::clone(self).say());
    }

    /// A unit, if there is one. It is then worked at until one of the three below is called.
    pub fn take(&self) -> Taken {
        let mut state = lock(&self.state);
        if self.is_over() {
            return Taken::NoMore;
        }
        if let Some((unit, attempt)) = state.ready.pop_front() {
            return Taken::Unit { unit, attempt };
        }
        let on_their_way = state.active.values();
        let unsent = on_their_way
            .clone()
            .filter(|active| active.has_begun && active.end.is_none());
        let is_starting = on_their_way.clone().any(|active| !active.has_begun);
        if !is_starting && unsent.count() < MOST_UNSENT {
            state.is_wanted = true;
            self.wanted.notify_one();
        }
        Taken::NotYet
    }

    /// A unit has been computed: its result, and how many rows it has.
    pub fn computed(&self, unit: u64, bytes: Vec<u8>, rows: u64) {
        let sha256 = sha256(&bytes);
        let bytes = bytes.into();
        self.end_work(
            unit,
            WorkEnd::Computed {
                bytes,
                sha256,
                rows,
            },
        );
    }

    /// A unit could not be computed.
    pub fn failed(&self, unit: u64, reason: &str) {
        self.end_work(unit, WorkEnd::Failed(reason.to_owned()));
    }

    /// A unit was not computed, for reasons that have nothing to do with it.
    pub fn give_back(&self, unit: u64) {
        self.end_work(unit, WorkEnd::GivenBack);
    }

    fn end_work(&self, unit: u64, end: WorkEnd) {
        let mut state = lock(&self.state);
        let active = state.active.get_mut(&unit);
        if let Some(sender) = active.and_then(|active| active.end.take()) {
            // Nobody waits where the job is over.
            let _ = sender.send(end);
        }
    }

    /// How this worker is doing.
    pub fn report(&self) -> WorkerReport {
        lock(&self.state).report.clone()
    }

    /// Ends: gives back what was not begun, waits until results are with the server, at most so long, and says that it goes.
    pub fn close(&self, most: Duration) {
        let began = Instant::now();
        let mut state = lock(&self.state);
        state.is_wanted = false;
        let left: Vec<(u64, u32)> = state.ready.drain(..).collect();
        for (unit, _) in left {
            let active = state.active.get_mut(&unit);
            if let Some(sender) = active.and_then(|active| active.end.take()) {
                let _ = sender.send(WorkEnd::GivenBack);
            }
        }
        while !state.active.is_empty() && !self.is_over() && began.elapsed() < most {
            let waited = self.changed.wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        state.report.ends = true;
        drop(state);
        let _ = self.over.send(true);
        self.connection.block_on(self.tell());
    }

    fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits until the job is over for this worker.
    async fn ended(&self) {
        let mut over = self.over.subscribe();
        let _ = over.wait_for(|is_over| *is_over).await;
    }

    /// Brings units when they are wanted.
    async fn fetch(self: Arc<Self>) {
        let fetching = async {
            loop {
                if !lock(&self.state).is_wanted {
                    self.wanted.notified().await;
                    continue;
                }
                match self.pull().await {
                    Ok(Some(message)) => self.given(message),
                    Ok(None) => {}
                    Err(reason) => {
                        tracing::debug!("no unit: {reason}");
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = fetching => {}
            () = self.ended() => {}
        }
    }

    async fn pull(&self) -> Result<Option<Message>, String> {
        let batch = self.assets.consumer.batch().max_messages(1).expires(PULL);
        let pull = async {
            let mut messages = batch.messages().await.map_err(|error| error.to_string())?;
            messages
                .next()
                .await
                .transpose()
                .map_err(|error| error.to_string())
        };
        // A request that a broken connection swallowed is made again.
        let pulled = tokio::time::timeout(PULL + REPORT, pull).await;
        pulled.unwrap_or(Ok(None))
    }

    /// A unit was given to this worker.
    fn given(self: &Arc<Self>, message: Message) {
        let unit = self.assets.unit_of(&message.subject);
        let Some(unit) = unit.filter(|unit| *unit < self.record.units) else {
            tracing::warn!("`{}` is no unit of the job", message.subject);
            self.connection.runtime.spawn(async move {
                let _ = message.ack_with(AckKind::Term).await;
            });
            return;
        };
        let message = Arc::new(message);
        let mut state = lock(&self.state);
        if let Some(active) = state.active.get(&unit) {
            // The lease was lost, and has come back to whoever still works at the unit.
            active.delivery.send_replace(message);
            return;
        }
        state.is_wanted = false;
        let (delivery, newest) = watch::channel(message);
        state.active.insert(
            unit,
            Active {
                delivery,
                since: Instant::now(),
                end: None,
                has_begun: false,
            },
        );
        drop(state);
        let this = Arc::clone(self);
        self.connection.runtime.spawn(async move {
            tokio::select! {
                () = this.attempt(unit, newest) => {}
                () = this.ended() => {}
            }
            lock(&this.state).active.remove(&unit);
            this.changed.notify_all();
        });
    }

    /// An attempt at a unit, from its delivery to its end.
    async fn attempt(&self, unit: u64, newest: watch::Receiver<Arc<Message>>) {
        let mut attempt = Attempt::new(&self.spec.worker, self.record.tries);
        let mut result: Option<(Bytes, String)> = None;
        let mut rows = 0;
        let lease = Duration::from_millis(self.record.lease_ms);
        let mut renewal = tokio::time::interval(lease / 3);
        renewal.reset();
        loop {
            let ask = attempt.next();
            if let Ask::Nothing(ended) = ask {
                self.note(unit, ended, rows);
                return;
            }
            let told = {
                let asking = self.perform(unit, &ask, result.as_ref(), &newest);
                tokio::pin!(asking);
                loop {
                    tokio::select! {
                        told = &mut asking => break told,
                        _ = renewal.tick() => self.renew(unit, &newest).await,
                    }
                }
            };
            let told = match told {
                Performed::Told(told) => told,
                Performed::Worked(WorkEnd::Computed {
                    bytes,
                    sha256,
                    rows: of_unit,
                }) => {
                    rows = of_unit;
                    result = Some((bytes, sha256.clone()));
                    Told::Computed { sha256 }
                }
                Performed::Worked(WorkEnd::Failed(reason)) => Told::Failed(reason),
                Performed::Worked(WorkEnd::GivenBack) => Told::GivenBack,
            };
            if told == Told::Unknown {
                tokio::time::sleep(PAUSE).await;
            }
            attempt.told(told);
        }
    }

    async fn renew(&self, unit: u64, newest: &watch::Receiver<Arc<Message>>) {
        let message = Arc::clone(&newest.borrow());
        if let Err(error) = message.ack_with(AckKind::Progress).await {
            tracing::debug!("unit {unit}: the lease is not renewed: {error}");
        }
    }

    async fn perform(
        &self,
        unit: u64,
        ask: &Ask,
        result: Option<&(Bytes, String)>,
        newest: &watch::Receiver<Arc<Message>>,
    ) -> Performed {
        let acknowledge = |kind| {
            let message = Arc::clone(&newest.borrow());
            async move {
                match message.ack_with(kind).await {
                    Ok(()) => Performed::Told(Told::Done),
                    Err(_) => Performed::Told(Told::Unknown),
                }
            }
        };
        let lease = Duration::from_millis(self.record.lease_ms);
        match ask {
            Ask::Work { attempt } => Performed::Worked(self.work(unit, *attempt).await),
            Ask::Acknowledge => acknowledge(AckKind::Ack).await,
            Ask::Return { later } => {
                let after = later.then_some(lease / 2);
                acknowledge(AckKind::Nak(after)).await
            }
            ask => {
                let performing = Performing {
                    assets: &self.assets,
                    unit,
                    worker: &self.spec.worker,
                    result,
                };
                Performed::Told(performing.ask(ask).await)
            }
        }
    }

    /// Hands the unit to whoever takes it, and waits for its end.
    async fn work(&self, unit: u64, attempt: u32) -> WorkEnd {
        let (sender, end) = oneshot::channel();
        {
            let mut state = lock(&self.state);
            let Some(active) = state.active.get_mut(&unit) else {
                return WorkEnd::GivenBack;
            };
            active.has_begun = true;
            active.end = Some(sender);
            state.ready.push_back((unit, attempt));
        }
        end.await.unwrap_or(WorkEnd::GivenBack)
    }

    fn note(&self, unit: u64, ended: Ended, rows: u64) {
        let mut state = lock(&self.state);
        match ended {
            Ended::Committed => {
                state.report.units += 1;
                state.report.rows += rows;
            }
            Ended::Late => {
                state.report.late += 1;
                tracing::warn!(
                    unit,
                    "the result came too late: another worker's counts, and this one was discarded"
                );
            }
            Ended::AlreadyDone | Ended::Left | Ended::Returned | Ended::Failed => {}
        }
        self.report_now.notify_one();
    }

    /// Looks whether the job is still there.
    async fn look(self: Arc<Self>) {
        let looking = async {
            loop {
                tokio::time::sleep(LOOK).await;
                match find(&self.connection.jetstream, &self.job).await {
                    Ok(Some(record)) if record.id == self.record.id => {}
                    Ok(_) | Err(WorkError::Unreadable { .. }) => return,
                    // A server that is away says nothing about the job.
                    Err(_) => {}
                }
            }
        };
        tokio::select! {
            () = looking => {
                let _ = self.over.send(true);
                self.changed.notify_all();
            }
            () = self.ended() => {}
        }
    }

    /// Says how this worker is, until it ends.
    async fn say(self: Arc<Self>) {
        let lease = Duration::from_millis(self.record.lease_ms);
        let mut due = tokio::time::interval(REPORT.min(lease / 4));
        loop {
            tokio::select! {
                _ = due.tick() => {}
                () = self.report_now.notified() => {}
                () = self.ended() => return,
            }
            self.tell().await;
        }
    }

    async fn tell(&self) {
        let report = {
            let mut state = lock(&self.state);
            let working = state.active.iter();
            let working = working.map(|(unit, active)| {
                let ms = active.since.elapsed().as_millis();
                (*unit, u64::try_from(ms).unwrap_or(u64::MAX))
            });
            state.report.working = working.collect();
            state.report.clone()
        };
        let client = &self.connection.client;
        let subject = reports_of(&self.record.id);
        let told = client.publish(subject, to_bytes(&report).into()).await;
        if told.is_ok() {
            // Only what is on its way can be heard; a server that is away hears nothing.
            let _ = tokio::time::timeout(PAUSE, client.flush()).await;
        }
    }
}

enum Performed {
    Told(Told),
    Worked(WorkEnd),
}
