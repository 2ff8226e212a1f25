//! The network side of a job's coordinator: hands out units, fetches their results, and receives its workers' reports.
//! The caller decides what is made of the results.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::{Client, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::{Notify, watch};

use super::assets::{
    Assets, announce, check, find_known, make, missing, outcome_key, remove, reports_of, tries_key,
};
use super::decision::{Decision, Seen, decide};
use super::error::{NoResult, WorkError};
use super::handed_out::{Left, Returned, Units};
use super::job_name::JobName;
use super::performing::{Held, held};
use super::presence::{answer, hear_questions, is_handed_out};
use super::records::{
    JobRecord, Outcome, Record, ResultRecord, Tries, WorkerReport, read, to_bytes,
};
use super::results::NotFetched;
use super::workers::{JobNow, News};
use crate::connection::NatsConnection;
use crate::error::{chain, is_store_full};
use crate::lock::lock;

/// Polling interval for what is handed out, when no message comes.
const LOOK: Duration = Duration::from_millis(500);
/// Polling interval for units in the queue: whether too many attempts at them have failed.
const LOOK_AT_ALL: Duration = Duration::from_secs(2);
/// Least time between two polls, however many messages come.
const BREATH: Duration = Duration::from_millis(10);
/// Time limit for workers to report that they leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// Phase of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Life {
    Open,
    /// Nothing is handed out any more, and workers report that they leave.
    Closing,
    Closed,
}

/// The coordinator of a job.
pub struct Coordinator {
    connection: Arc<NatsConnection>,
    job: JobName,
    record: JobRecord,
    assets: Assets,
    most_bytes: u64,
    started: Instant,
    state: Mutex<Units>,
    changed: Condvar,
    nudge: Notify,
    life: watch::Sender<Life>,
}

impl Coordinator {
    /// Returns the job that has a name at the server, if there is one.
    ///
    /// # Errors
    /// It cannot be read, or the server does not answer.
    pub fn known(
        connection: &NatsConnection,
        job: &JobName,
    ) -> Result<Option<JobRecord>, WorkError> {
        connection.block_on(find_known(&connection.jetstream, job))
    }

    /// Begins a job, or resumes the one with the same id. A result of more than `most_bytes` is rejected.
    ///
    /// # Errors
    /// The record is not one that workers can read, another job has the name, another coordinator hands it out, or the
    /// server cannot do it.
    pub fn begin(
        connection: &Arc<NatsConnection>,
        job: &JobName,
        record: JobRecord,
        most_bytes: u64,
    ) -> Result<Arc<Self>, WorkError> {
        let jetstream = &connection.jetstream;
        let client = &connection.client;
        let (assets, questions, reports) = connection.block_on(async {
            // Somebody may hand it out from a copy of its folder.
            if let Some(known) = check(jetstream, job, &record).await?
                && is_handed_out(client, &known.id).await
            {
                return Err(WorkError::HandedOut {
                    job: job.to_string(),
                    by: known.by,
                });
            }
            // The name comes last: workers look for it, and then find everything else there.
            let assets = make(jetstream, &record).await?;
            let questions = hear_questions(client, &record.id).await?;
            let reports = hear_reports(client, &record.id).await?;
            announce(jetstream, job, &record).await?;
            Ok::<_, WorkError>((assets, questions, reports))
        })?;
        let coordinator = Arc::new(Self {
            connection: Arc::clone(connection),
            job: job.clone(),
            record,
            assets,
            most_bytes,
            started: Instant::now(),
            state: Mutex::default(),
            changed: Condvar::new(),
            nudge: Notify::new(),
            life: watch::Sender::new(Life::Open),
        });
        let answering = Arc::clone(&coordinator);
        connection.runtime.spawn(async move {
            tokio::select! {
                () = answer(&answering.connection.client, questions) => {}
                () = answering.until(Life::Closing) => {}
            }
        });
        connection
            .runtime
            .spawn(Arc::clone(&coordinator).hear(reports));
        connection.runtime.spawn(Arc::clone(&coordinator).look());
        Ok(coordinator)
    }

    /// Hands out a unit.
    pub fn hand_out(&self, unit: u64) {
        lock(&self.state).hand_out(unit);
        self.nudge.notify_one();
    }

    /// Returns the result of a unit that was handed out, waiting for it at most `most`; none if there is none yet. Call
    /// [`taken`](Self::taken) or [`reject`](Self::reject) for it afterwards.
    ///
    /// # Errors
    /// The unit was given up, or the job is no longer intact at the server.
    pub fn result(&self, unit: u64, most: Duration) -> Result<Option<Returned>, NoResult> {
        let until = Instant::now() + most;
        let mut state = lock(&self.state);
        loop {
            if let Some(returned) = state.result(unit)? {
                return Ok(Some(returned));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Records that a result has been used, and how many rows it has: the server need not keep it.
    pub fn taken(&self, unit: u64, rows: u64) {
        lock(&self.state).taken(unit, rows);
        self.nudge.notify_one();
    }

    /// Rejects a result that is not what it should be: the unit is handed out again.
    pub fn reject(&self, unit: u64, reason: &str) {
        lock(&self.state).reject(unit, reason);
        self.nudge.notify_one();
    }

    /// Stops waiting for a unit.
    pub fn withdraw(&self, unit: u64) {
        lock(&self.state).forget(unit);
    }

    /// Returns the state of the job.
    pub fn now(&self) -> JobNow {
        lock(&self.state).now(self.now_ms())
    }

    /// Ends the job: removes it from the server, so that its workers end. Waits a little for their last reports.
    ///
    /// # Errors
    /// The server cannot do it: the job stays there, and its workers wait.
    pub fn close(&self) -> Result<(), WorkError> {
        let _ = self.life.send(Life::Closing);
        let jetstream = &self.connection.jetstream;
        let removed = remove(jetstream, &self.job, &self.record.id);
        let removed = self.connection.block_on(removed);
        let until = Instant::now() + FAREWELL;
        let lease_s = Duration::from_millis(self.record.lease_ms).as_secs_f64();
        let mut state = lock(&self.state);
        while removed.is_ok() && Instant::now() < until {
            if state.now(self.now_ms()).active(lease_s).next().is_none() {
                break;
            }
            let waited = self.changed.wait_timeout(state, LOOK);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let _ = self.life.send(Life::Closed);
        removed
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits until the job has reached a phase.
    async fn until(&self, wanted: Life) {
        let mut life = self.life.subscribe();
        let _ = life.wait_for(|life| *life >= wanted).await;
    }

    /// Receives the workers' reports.
    async fn hear(self: Arc<Self>, mut reports: Subscriber) {
        let hearing = async {
            loop {
                while let Some(message) = reports.next().await {
                    self.heard(&message.payload);
                }
                tokio::time::sleep(LOOK).await;
                match hear_reports(&self.connection.client, &self.record.id).await {
                    Ok(again) => reports = again,
                    Err(error) => tracing::debug!("{error}"),
                }
            }
        };
        tokio::select! {
            () = hearing => {}
            () = self.until(Life::Closed) => {}
        }
    }

    fn heard(&self, payload: &[u8]) {
        let mut state = lock(&self.state);
        let report: WorkerReport = match read(payload) {
            Ok(report) => report,
            Err(error) => {
                state.malformed += 1;
                tracing::warn!("a worker's report cannot be read: {error}");
                return;
            }
        };
        let (worker, host) = (report.worker.clone(), report.host.clone());
        let (refuses, differs) = (report.refuses.clone(), report.differs.clone());
        match state.heard(report, self.now_ms(), self.record.lease_ms) {
            News::Joined => tracing::info!(%worker, %host, ?differs, "a worker takes part"),
            News::Refuses => {
                let reason = refuses.unwrap_or_default();
                tracing::warn!(%worker, %host, "a worker does not take part: {reason}");
            }
            News::Ended => tracing::info!(%worker, %host, "a worker has ended"),
            News::StandsStill(reason) => {
                tracing::warn!(%worker, %host, "a worker makes no progress: {reason}");
            }
            News::GoesOn => tracing::warn!(%worker, %host, "a worker makes progress again"),
            News::TooMany | News::Nothing => {}
        }
        drop(state);
        self.changed.notify_all();
        self.nudge.notify_one();
    }

    /// Polls what is handed out, until the job closes.
    async fn look(self: Arc<Self>) {
        let looking = async {
            let mut link = self.connection.link.clone();
            let meant_ms = (LOOK + BREATH).as_millis() as u64;
            let mut last_ms = self.now_ms();
            let mut all_at_ms = 0;
            loop {
                // If this process was stopped, it polls much later than it meant to.
                let now_ms = self.now_ms();
                if now_ms.saturating_sub(last_ms) > meant_ms + self.record.lease_ms / 2 {
                    lock(&self.state).heard.was_deaf(now_ms);
                }
                last_ms = now_ms;
                let all = now_ms >= all_at_ms;
                if let Err(reason) = self.look_once(all).await {
                    self.hindered(&reason);
                    tokio::time::sleep(LOOK).await;
                } else {
                    lock(&self.state).hindrance.goes_on();
                    if all {
                        all_at_ms = now_ms + LOOK_AT_ALL.as_millis() as u64;
                    }
                }
                tokio::select! {
                    () = self.nudge.notified() => {}
                    () = tokio::time::sleep(LOOK) => {}
                    _ = link.changed() => {
                        let now_ms = self.now_ms();
                        lock(&self.state).heard.was_deaf(now_ms);
                    }
                }
                tokio::time::sleep(BREATH).await;
            }
        };
        tokio::select! {
            () = looking => {}
            () = self.gone() => {}
            () = self.until(Life::Closing) => {}
        }
    }

    fn hindered(&self, reason: &str) {
        let mut state = lock(&self.state);
        state.hindrance.hindered(reason);
        state.heard.was_deaf(self.now_ms());
    }

    /// Waits until the job is no longer intact at the server, and wakes those who wait for results.
    async fn gone(&self) {
        let jetstream = &self.connection.jetstream;
        let missing = loop {
            tokio::time::sleep(LOOK).await;
            // An unreachable server proves nothing about the job.
            if let Ok(Some(missing)) = missing(jetstream, &self.job, &self.assets).await {
                break missing;
            }
        };
        let job = self.job.to_string();
        lock(&self.state).is_gone(NoResult::JobGone { job, missing });
        self.changed.notify_all();
    }

    /// Polls the units that are out and not in the queue, or `all` that are out.
    async fn look_once(&self, all: bool) -> Result<(), String> {
        let (out, leaving) = {
            let state = lock(&self.state);
            (state.out(), state.leaving())
        };
        let left = leaving.into_iter();
        let left = join_all(left.map(|(unit, left)| self.left(unit, left)));
        left.await.into_iter().collect::<Result<(), String>>()?;
        if out.is_empty() {
            return Ok(());
        }
        // The queue first: a unit that has left it has an outcome by then.
        let queued = self.assets.queued().await?;
        let out = out.into_iter();
        // Most units that are out wait for a worker or are being computed: what became of those is looked at less often.
        let looked_at = out.filter(|unit| all || !queued.contains(unit));
        let looked = looked_at.map(|unit| self.look_at(unit, &queued));
        join_all(looked).await.into_iter().collect()
    }

    async fn read<R: Record>(&self, key: String) -> Result<Option<R>, String> {
        let state = &self.assets.state;
        match held(state, key.clone()).await? {
            Held::Record(record, _) => Ok(Some(record)),
            Held::Nothing => Ok(None),
            Held::Other(reason, revision) => {
                tracing::warn!("`{key}` holds an unreadable record, which is removed: {reason}");
                lock(&self.state).malformed += 1;
                let purged = state.purge_expect_revision(key, Some(revision)).await;
                purged.map_err(|error| chain(&error))?;
                Ok(None)
            }
        }
    }

    async fn look_at(&self, unit: u64, queued: &BTreeSet<u64>) -> Result<(), String> {
        let outcome: Option<Outcome> = self.read(outcome_key(unit)).await?;
        let tries = match outcome {
            Some(_) => None,
            None => self.read::<Tries>(tries_key(unit)).await?,
        };
        let seen = Seen {
            outcome,
            is_queued: queued.contains(&unit),
            tries: tries.unwrap_or_default(),
        };
        let decision = {
            let (state, now_ms) = (lock(&self.state), self.now_ms());
            let is_silent =
                |worker: &str| state.heard.is_silent(worker, now_ms, self.record.lease_ms);
            decide(&seen, self.record.tries, is_silent)
        };
        match decision {
            Decision::Wait => Ok(()),
            Decision::Publish => self.publish(unit).await,
            Decision::Fetch(record) => self.fetch(unit, record).await,
            Decision::GiveUp { reason } => {
                let bytes = to_bytes(&Outcome::GivenUp { reason });
                let created = self.assets.state.create(outcome_key(unit), bytes.into());
                // The next poll finds out who was first.
                created.await.map(drop).map_err(|error| chain(&error))
            }
            Decision::Failed { reason } => {
                lock(&self.state).failed(unit, reason);
                self.changed.notify_all();
                let subject = self.assets.subject(&unit.to_string());
                let purged = self.assets.units.purge().filter(subject).await;
                purged.map(drop).map_err(|error| chain(&error))
            }
        }
    }

    async fn publish(&self, unit: u64) -> Result<(), String> {
        let subject = self.assets.subject(&unit.to_string());
        let sent = self
            .connection
            .jetstream
            .publish(subject, Bytes::new())
            .await;
        let stored = match sent {
            Ok(stored) => stored.await.map(drop),
            Err(error) => Err(error),
        };
        match stored {
            Ok(()) => {
                if lock(&self.state).published(unit) {
                    tracing::warn!(
                        unit,
                        "nobody had the unit, and it had no result: it is handed out again"
                    );
                }
                Ok(())
            }
            // It is there already.
            Err(error) if is_store_full(&error) => Ok(()),
            Err(error) => Err(chain(&error)),
        }
    }

    async fn fetch(&self, unit: u64, record: ResultRecord) -> Result<(), String> {
        let results = &self.assets.results;
        match results.fetch(unit, &record, self.most_bytes).await {
            Ok(bytes) => {
                lock(&self.state).here(unit, record, bytes);
                self.changed.notify_all();
                Ok(())
            }
            Err(NotFetched::NotNow(reason)) => Err(reason),
            Err(NotFetched::Damaged(reason)) => {
                self.hand_out_again(unit, record, &reason, true).await
            }
            Err(NotFetched::Lost) => {
                let reason = "the server has lost it";
                self.hand_out_again(unit, record, reason, false).await
            }
        }
    }

    /// Removes a result from the server and, if it was rejected, the record that it counts.
    async fn left(&self, unit: u64, left: Left) -> Result<(), String> {
        let Left { record, rejected } = left;
        if let Some(reason) = rejected {
            return self.hand_out_again(unit, record, &reason, true).await;
        }
        self.assets.results.remove(unit, record.attempt).await?;
        lock(&self.state).forget(unit);
        Ok(())
    }

    /// Removes a result that is not used, and the record that it counts. If its worker is to blame, the attempt counts
    /// among those that a unit may have.
    async fn hand_out_again(
        &self,
        unit: u64,
        record: ResultRecord,
        reason: &str,
        is_blamed: bool,
    ) -> Result<(), String> {
        let told = format!("its result is not used: {reason}");
        tracing::warn!(unit, worker = %record.worker, "{told}");
        let (key, state) = (tries_key(unit), &self.assets.state);
        if let Held::Record(mut tries, revision) = held::<Tries>(state, key.clone()).await? {
            if is_blamed {
                tries.fail(record.attempt, &told);
            } else {
                tries.give_back(record.attempt);
            }
            let written = state.update(key, to_bytes(&tries).into(), revision).await;
            // If somebody else has written, the next poll tries it again.
            written.map_err(|error| chain(&error))?;
        }
        let key = outcome_key(unit);
        if let Held::Record(Outcome::Result(known), revision) = held(state, key.clone()).await?
            && known == record
        {
            let purged = state.purge_expect_revision(key, Some(revision)).await;
            purged.map_err(|error| chain(&error))?;
        }
        self.assets.results.remove(unit, record.attempt).await?;
        lock(&self.state).out_again(unit);
        self.nudge.notify_one();
        Ok(())
    }
}

async fn hear_reports(client: &Client, id: &str) -> Result<Subscriber, WorkError> {
    let heard = client.subscribe(reports_of(id)).await;
    heard.map_err(|error| WorkError::Server {
        doing: "subscribing to the workers' reports",
        reason: error.to_string(),
    })
}
