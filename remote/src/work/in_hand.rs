//! The units that a worker has in hand, and what it says of itself. Owns no network.

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

/// Results that may be on their way to the server before no more units are taken.
const MOST_UNSENT: usize = 4;

/// What came of working at a unit.
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
    /// The newest delivery of the unit: acknowledged and renewed.
    delivery: watch::Sender<Arc<Message>>,
    since: Instant,
    /// Once it has been begun: where its end is told.
    end: Option<oneshot::Sender<WorkEnd>>,
    has_begun: bool,
    /// Whether it is known what came of it.
    is_noted: bool,
}

/// See the file.
#[derive(Default)]
pub(super) struct InHand {
    ready: VecDeque<(u64, u32)>,
    active: HashMap<u64, Active>,
    /// Whether a unit more is wanted.
    pub(super) is_wanted: bool,
    pub(super) report: WorkerReport,
    hindrance: Hindrance,
    /// Whether nothing more is to be begun.
    is_closing: bool,
    /// Whether the last word has been said.
    pub(super) is_gone: bool,
}

impl InHand {
    pub(super) fn new(report: WorkerReport) -> Self {
        Self {
            report,
            ..Self::default()
        }
    }

    /// A unit that is ready to be computed; if there is none, one is wanted where there is room for it.
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

    /// A unit was delivered. Nothing comes back where it is in hand already: its lease was lost, and has come to where
    /// the unit is still worked at.
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

    /// A unit may be computed. Nothing comes back where it is not to be.
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

    /// Working at a unit has ended.
    pub(super) fn end(&mut self, unit: u64, end: WorkEnd) {
        let active = self.active.get_mut(&unit);
        if let Some(sender) = active.and_then(|active| active.end.take()) {
            // Nobody waits where the job is over.
            let _ = sender.send(end);
        }
    }

    /// No more units are wanted, and those that nobody has taken go back.
    pub(super) fn want_no_more(&mut self) {
        self.is_wanted = false;
        self.is_closing = true;
        for (unit, _) in std::mem::take(&mut self.ready) {
            self.end(unit, WorkEnd::GivenBack);
        }
    }

    /// This worker takes no more part, for this reason.
    pub(super) fn withdraw(&mut self, reason: &str) {
        self.report.refuses = Some(cut(reason));
        self.want_no_more();
    }

    /// It is known what came of a unit.
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
                    "the result came too late: another worker's counts, and this one was discarded"
                );
            }
            Ended::AlreadyDone | Ended::Left | Ended::Returned | Ended::Failed | Ended::Unfit => {}
        }
    }

    /// A unit is not in hand any more.
    pub(super) fn let_go(&mut self, unit: u64) {
        let active = self.active.remove(&unit);
        if active.is_some_and(|active| active.has_begun && !active.is_noted) {
            self.report.late += 1;
            tracing::warn!(
                unit,
                "the job is over: what was computed of the unit is discarded"
            );
        }
    }

    /// The server did not do something, for this reason.
    pub(super) fn hindered(&mut self, reason: &str) {
        self.hindrance.hindered(reason);
        self.report.obstacle = self.hindrance.reason();
    }

    /// Something went on.
    pub(super) fn goes_on(&mut self) {
        self.hindrance.goes_on();
        self.report.obstacle = None;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.active.is_empty()
    }

    /// What is to be said of this worker now.
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
