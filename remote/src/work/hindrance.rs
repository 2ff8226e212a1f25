//! Why a job does not go on at the server, once that has lasted. Owns no network.

use super::records::cut;
use crate::standstill::{STANDSTILL, Standstill};

/// See the file.
#[derive(Default)]
pub(super) struct Hindrance {
    standstill: Standstill,
    told: Option<String>,
}

impl Hindrance {
    /// The server did not do something, for this reason. The log says so once, when that has lasted.
    pub(super) fn hindered(&mut self, reason: &str) {
        tracing::debug!("{reason}");
        if self.standstill.is_to_be_told() {
            tracing::warn!(
                "the job has not gone on here for {} s, and is tried again: {reason}",
                STANDSTILL.as_secs()
            );
        } else if self.told.is_none() {
            return;
        }
        self.told = Some(cut(reason));
    }

    /// The job goes on.
    pub(super) fn goes_on(&mut self) {
        self.told = None;
        if self.standstill.is_over() {
            tracing::warn!("the job goes on here");
        }
    }

    /// Returns why the job does not go on, once the log has said so.
    pub(super) fn reason(&self) -> Option<String> {
        self.told.clone()
    }
}
