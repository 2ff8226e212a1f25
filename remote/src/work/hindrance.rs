//! Why a job makes no progress at the server, once that has lasted. Independent of network.

use super::records::cut;
use crate::standstill::{STANDSTILL, Standstill};

/// See the module documentation.
#[derive(Default)]
pub(super) struct Hindrance {
    standstill: Standstill,
    told: Option<String>,
}

impl Hindrance {
    /// Records that the server did not do something, for this reason. Logs it once, when that has lasted.
    pub(super) fn hindered(&mut self, reason: &str) {
        tracing::debug!("{reason}");
        if self.standstill.is_to_be_told() {
            tracing::warn!(
                "this process has made no progress with the job for {} s, and keeps trying: {reason}",
                STANDSTILL.as_secs()
            );
        } else if self.told.is_none() {
            return;
        }
        self.told = Some(cut(reason));
    }

    /// Records progress.
    pub(super) fn goes_on(&mut self) {
        self.told = None;
        if self.standstill.is_over() {
            tracing::warn!("this process makes progress with the job again");
        }
    }

    /// Returns why the job makes no progress, once that has been logged.
    pub(super) fn reason(&self) -> Option<String> {
        self.told.clone()
    }
}
