//! The units that a worker has in hand, and its report, without a network.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use async_nats::jetstream::Message;
use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use super::attempt::Ended;
use super::given::Taken;
use super::hindrance::Hindrance;
use super::records::{WorkerReport, cut};

/// Most results that may be on their way to the server before no more units are taken.
const MOST_UNSENT: usize = 4;

/// Outcome of working on a unit.
pub(super) enum WorkEnd {
    Computed {
        bytes: Bytes,
        sha256: String,
        rows: u64,
    },
    Failed(String),
    GivenBack,
}

struct Active {
    /// The newest delivery of the unit, which is acknowledged and renewed.
    delivery: watch::Sender<Arc<Message>>,
    since: Instant,
    /// Present while it is computed: where its outcome is sent.
    end: Option<oneshot::Sender<WorkEnd>>,
    has_begun: bool,
    /// Whether its outcome is known.
    is_noted: bool,
}

/// See the module documentation.
#[derive(Default)]
pub(super) struct InHand {
    ready: VecDeque<(u64, u32)>,
    active: HashMap<u64, Active>,
    /// Whether another unit is wanted.
    pub(super) is_wanted: bool,
    pub(super) report: WorkerReport,
    hindrance: Hindrance,
    /// Whether nothing more is to be begun.
    is_closing: bool,
    /// Whether the last report has been sent.
    pub(super) is_gone: bool,
}

impl InHand {
    pub(super) fn new(report: WorkerReport) -> Self {
        Self {
            report,
            ..Self::default()
        }
    }

    /// Returns a unit that is ready to be computed; if there is none, wants one where there is room for it.
    pub(super) fn take(&mut self) -> Taken {
        if let Some((unit, attempt)) = self.ready.pop_front() {
            return Taken::Unit { unit, attempt };
        }
        if self.report.refuses.is_some() {
            return Taken::NoMore;
        }
        let active = self.active.values();
        let unsent = active
            .clone()
            .filter(|active| active.has_begun && active.end.is_none());
        let is_starting = active.clone().any(|active| !active.has_begun);
        self.is_wanted |= !self.is_closing && !is_starting && unsent.count() < MOST_UNSENT;
        Taken::NotYet
    }

    /// Takes in a delivered unit. Returns none if it is already in hand: its lease was lost, and has come back to where
    /// the unit is still worked on.
    pub(super) fn delivered(
        &mut self,
        unit: u64,
        message: Arc<Message>,
    ) -> Option<watch::Receiver<Arc<Message>>> {
        if let Some(active) = self.active.get(&unit) {
            active.delivery.send_replace(message);
            return None;
        }
        self.is_wanted = false;
        let (delivery, newest) = watch::channel(message);
        let active = Active {
            delivery,
            since: Instant::now(),
            end: None,
            has_begun: false,
            is_noted: false,
        };
        self.active.insert(unit, active);
        Some(newest)
    }

    /// Makes a unit ready to be computed. Returns none if it is not to be.
    pub(super) fn begin(&mut self, unit: u64, attempt: u32) -> Option<oneshot::Receiver<WorkEnd>> {
        if self.is_closing {
            return None;
        }
        let active = self.active.get_mut(&unit)?;
        let (sender, end) = oneshot::channel();
        active.has_begun = true;
        active.end = Some(sender);
        self.ready.push_back((unit, attempt));
        Some(end)
    }

    /// Records that working on a unit has ended.
    pub(super) fn end(&mut self, unit: u64, end: WorkEnd) {
        let active = self.active.get_mut(&unit);
        if let Some(sender) = active.and_then(|active| active.end.take()) {
            // Nobody waits if the job is over.
            let _ = sender.send(end);
        }
    }

    /// Stops wanting units, and gives back those that nobody has taken.
    pub(super) fn want_no_more(&mut self) {
        self.is_wanted = false;
        self.is_closing = true;
        for (unit, _) in std::mem::take(&mut self.ready) {
            self.end(unit, WorkEnd::GivenBack);
        }
    }

    /// Wants no more units, and gives back those that are still being worked on.
    pub(super) fn close(&mut self) {
        self.want_no_more();
        for (unit, active) in &mut self.active {
            if let Some(sender) = active.end.take() {
                tracing::warn!(unit, "the unit is given back, since it was never finished");
                let _ = sender.send(WorkEnd::GivenBack);
            }
        }
    }

    /// Takes this worker out of the job, for this reason.
    pub(super) fn withdraw(&mut self, reason: &str) {
        self.report.refuses = Some(cut(reason));
        self.want_no_more();
    }

    /// Records the outcome of a unit.
    pub(super) fn note(&mut self, unit: u64, ended: Ended, rows: u64) {
        if let Some(active) = self.active.get_mut(&unit) {
            active.is_noted = true;
        }
        match ended {
            Ended::Committed => {
                self.report.units += 1;
                self.report.rows += rows;
            }
            Ended::Late => {
                self.report.late += 1;
                tracing::warn!(
                    unit,
                    "the result came too late: another worker's result counts, and this one was discarded"
                );
            }
            Ended::AlreadyDone | Ended::Left | Ended::Returned | Ended::Failed | Ended::Unfit => {}
        }
    }

    /// Removes a unit from those in hand.
    pub(super) fn let_go(&mut self, unit: u64) {
        let active = self.active.remove(&unit);
        if active.is_some_and(|active| active.has_begun && !active.is_noted) {
            self.report.late += 1;
            tracing::warn!(
                unit,
                "the job or this worker ended before the unit's result was confirmed: the result is discarded"
            );
        }
    }

    /// Records that the server did not do something, for this reason.
    pub(super) fn hindered(&mut self, reason: &str) {
        self.hindrance.hindered(reason);
        self.report.obstacle = self.hindrance.reason();
    }

    /// Records progress.
    pub(super) fn goes_on(&mut self) {
        self.hindrance.goes_on();
        self.report.obstacle = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// Returns the current report.
    pub(super) fn report_now(&mut self) -> WorkerReport {
        let working = self.active.iter();
        let working = working.map(|(unit, active)| {
            let ms = active.since.elapsed().as_millis();
            (*unit, u64::try_from(ms).unwrap_or(u64::MAX))
        });
        self.report.working = working.collect();
        self.report.clone()
    }
}
