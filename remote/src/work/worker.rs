//! The network side of a worker: takes units on request, renews their leases while they are worked on, and delivers
//! their results. The caller computes.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::{Notify, watch};

use super::assets::{Assets, find, reports_of};
use super::attempt::{Ask, Attempt, Told};
use super::error::WorkError;
use super::finding::wait_for_job;
use super::given::{Taken, WorkerSpec};
use super::in_hand::{InHand, WorkEnd};
use super::job_name::JobName;
use super::performing::Performing;
use super::records::{JobRecord, WorkerReport, cut, to_bytes};
use super::results::sha256;
use crate::connection::NatsConnection;
use crate::lock::lock;

/// How long one request for a unit waits at the server.
const PULL: Duration = Duration::from_secs(2);
/// Pause after a request that the server did not answer.
const PAUSE: Duration = Duration::from_millis(200);
/// Polling interval for whether the job still exists.
const LOOK: Duration = Duration::from_millis(500);
/// Longest interval between a worker's reports.
const REPORT: Duration = Duration::from_secs(1);
/// Time limit for a worker's last reports.
const FAREWELL: Duration = Duration::from_secs(1);

/// A worker of a job.
pub struct Worker {
    connection: Arc<NatsConnection>,
    job: JobName,
    record: JobRecord,
    assets: Assets,
    spec: WorkerSpec,
    state: Mutex<InHand>,
    changed: Condvar,
    wanted: Notify,
    report_now: Notify,
    over: watch::Sender<bool>,
}

impl Worker {
    /// Finds the job of a name. Waits until there is one, and calls `waits` with the reason whenever that changes.
    /// Takes no unit yet.
    ///
    /// # Errors
    /// The record at the server cannot be read, or this user may not look for it.
    pub fn find(
        connection: &Arc<NatsConnection>,
        job: &JobName,
        spec: WorkerSpec,
        waits: impl Fn(&str),
    ) -> Result<Arc<Self>, WorkError> {
        let found = connection.block_on(wait_for_job(connection, job, waits));
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
            state: Mutex::new(InHand::new(report)),
            changed: Condvar::new(),
            wanted: Notify::new(),
            report_now: Notify::new(),
            over: watch::Sender::new(false),
        }))
    }

    /// Returns the job.
    pub fn record(&self) -> &JobRecord {
        &self.record
    }

    /// Reports at the server why this worker does not take part.
    pub fn refuse(&self, reason: &str) {
        lock(&self.state).report.refuses = Some(cut(reason));
        self.connection.block_on(self.tell());
    }

    /// Begins to work. `differs` says how this machine differs from the coordinator's, where that is allowed.
    pub fn begin(self: &Arc<Self>, differs: Option<String>) {
        lock(&self.state).report.differs = differs.map(|text| cut(&text));
        let runtime = &self.connection.runtime;
        runtime.spawn(Arc::clone(self).fetch());
        runtime.spawn(Arc::clone(self).look());
        runtime.spawn(Arc::clone(self).say());
    }

    /// Returns a unit, if there is one. It is then worked on until [`computed`](Self::computed),
    /// [`failed`](Self::failed) or [`give_back`](Self::give_back) is called.
    pub fn take(&self) -> Taken {
        if self.is_over() {
            return Taken::NoMore;
        }
        let mut state = lock(&self.state);
        let taken = state.take();
        if state.is_wanted {
            self.wanted.notify_one();
        }
        taken
    }

    /// Delivers the result of a unit, and how many rows it has.
    pub fn computed(&self, unit: u64, bytes: Vec<u8>, rows: u64) {
        let end = WorkEnd::Computed {
            sha256: sha256(&bytes),
            bytes: bytes.into(),
            rows,
        };
        lock(&self.state).end(unit, end);
    }

    /// Reports that a unit could not be computed.
    pub fn failed(&self, unit: u64, reason: &str) {
        lock(&self.state).end(unit, WorkEnd::Failed(reason.to_owned()));
    }

    /// Gives back a unit that was not computed, for reasons unrelated to it.
    pub fn give_back(&self, unit: u64) {
        lock(&self.state).end(unit, WorkEnd::GivenBack);
    }

    /// Returns this worker's report; `refuses` is set if it no longer takes part, since it failed over a unit or its
    /// result was not used.
    pub fn report(&self) -> WorkerReport {
        lock(&self.state).report.clone()
    }

    /// Ends a worker that has begun, once nothing is computed any more: gives back units without an outcome, waits at
    /// most `most` until results are at the server, and reports that it leaves.
    pub fn close(&self, most: Duration) {
        lock(&self.state).close();
        self.wait(most, InHand::is_empty);
        let _ = self.over.send(true);
        self.wait(2 * FAREWELL, |state| state.is_gone);
    }

    /// Waits until a condition holds, at most `most`.
    fn wait(&self, most: Duration, is_so: impl Fn(&InHand) -> bool) {
        let until = Instant::now() + most;
        let mut state = lock(&self.state);
        while !is_so(&state) && Instant::now() < until {
            let waited = self.changed.wait_timeout(state, Duration::from_millis(50));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn is_over(&self) -> bool {
        *self.over.borrow()
    }

    /// Waits until the job is over for this worker.
    async fn ended(&self) {
        let mut over = self.over.subscribe();
        let _ = over.wait_for(|is_over| *is_over).await;
    }

    /// Fetches units when they are wanted.
    async fn fetch(self: Arc<Self>) {
        let fetching = async {
            loop {
                if !lock(&self.state).is_wanted {
                    self.wanted.notified().await;
                    continue;
                }
                match self.pull().await {
                    Ok(Some(message)) => self.given(message),
                    Ok(None) => {
                        let mut state = lock(&self.state);
                        if state.is_empty() {
                            state.goes_on();
                        }
                    }
                    Err(reason) => {
                        let reason = format!("cannot request a unit: {reason}");
                        lock(&self.state).hindered(&reason);
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
        // A request that was lost with a broken connection is made again.
        let pulled = tokio::time::timeout(PULL + REPORT, pull).await;
        pulled.unwrap_or(Ok(None))
    }

    /// Takes in a unit that was given to this worker.
    fn given(self: &Arc<Self>, message: Message) {
        let unit = self.assets.unit_of(&message.subject);
        let Some(unit) = unit.filter(|unit| *unit < self.record.units) else {
            tracing::warn!("`{}` is not a unit of the job", message.subject);
            self.connection.runtime.spawn(async move {
                let _ = message.ack_with(AckKind::Term).await;
            });
            return;
        };
        let delivered = lock(&self.state).delivered(unit, Arc::new(message));
        let Some(newest) = delivered else {
            return;
        };
        let this = Arc::clone(self);
        self.connection.runtime.spawn(async move {
            tokio::select! {
                () = this.attempt(unit, newest) => {}
                () = this.ended() => {}
            }
            lock(&this.state).let_go(unit);
            this.changed.notify_all();
        });
    }

    /// Runs an attempt at a unit, from its delivery to its end.
    async fn attempt(&self, unit: u64, newest: watch::Receiver<Arc<Message>>) {
        let mut attempt = Attempt::new(&self.spec.worker, self.record.tries);
        let mut result: Option<(Bytes, String)> = None;
        let mut rows = 0;
        let mut is_noted = false;
        let lease = Duration::from_millis(self.record.lease_ms);
        let mut renewal = tokio::time::interval(lease / 3);
        renewal.reset();
        loop {
            if let Some(ended) = attempt.ended()
                && !std::mem::replace(&mut is_noted, true)
            {
                let mut state = lock(&self.state);
                state.note(unit, ended, rows);
                if let Some(reason) = attempt.unfit() {
                    state.withdraw(&format!("unit {unit}: {reason}"));
                }
                drop(state);
                self.report_now.notify_one();
            }
            let ask = attempt.next();
            if let Ask::Nothing(_) = ask {
                lock(&self.state).goes_on();
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
                Performed::Told(self.heeded(performing.ask(ask).await))
            }
        }
    }

    /// Records whether the unit makes progress. Reading alone is none.
    fn heeded(&self, asked: Result<Told, String>) -> Told {
        let mut state = lock(&self.state);
        match asked {
            Ok(told) => {
                if !matches!(told, Told::Outcome(_) | Told::Tries(_)) {
                    state.goes_on();
                }
                told
            }
            Err(reason) => {
                state.hindered(&reason);
                Told::Unknown
            }
        }
    }

    /// Hands the unit to the caller, and waits for its end.
    async fn work(&self, unit: u64, attempt: u32) -> WorkEnd {
        let begun = lock(&self.state).begin(unit, attempt);
        match begun {
            Some(end) => end.await.unwrap_or(WorkEnd::GivenBack),
            None => WorkEnd::GivenBack,
        }
    }

    /// Polls whether the job still exists.
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

    /// Reports on this worker until it ends, and then that it leaves.
    async fn say(self: Arc<Self>) {
        let lease = Duration::from_millis(self.record.lease_ms);
        let mut due = tokio::time::interval(REPORT.min(lease / 4));
        let saying = async {
            loop {
                tokio::select! {
                    _ = due.tick() => {}
                    () = self.report_now.notified() => {}
                }
                self.tell().await;
            }
        };
        tokio::select! {
            () = saying => {}
            () = self.ended() => {}
        }
        // Attempts under way end now, too, and their outcome is to be reported.
        let until = Instant::now() + FAREWELL;
        while !lock(&self.state).is_empty() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        lock(&self.state).report.ends = true;
        self.tell().await;
        lock(&self.state).is_gone = true;
        self.changed.notify_all();
    }

    async fn tell(&self) {
        let report = lock(&self.state).report_now();
        let client = &self.connection.client;
        let subject = reports_of(&self.record.id);
        let told = client.publish(subject, to_bytes(&report).into()).await;
        if told.is_ok() {
            // The report must leave before the worker does, but a server that is away is not waited for.
            let _ = tokio::time::timeout(PAUSE, client.flush()).await;
        }
    }
}

enum Performed {
    Told(Told),
    Worked(WorkEnd),
}
