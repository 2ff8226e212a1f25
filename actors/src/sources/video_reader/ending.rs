//! How an input ends: whether that is its end, what lacks, and what is said of it.

use std::time::Duration;

use ffmpeg_next::Error;

use super::VideoReader;
use crate::libav::errors::{INPUT_OUTPUT, NOT_PERMITTED};
use crate::libav::{self, Nature};
use crate::sources::video_error::VideoError;
use crate::sources::whole_file::{Ending, ending_of};

/// A recording over RTSP may end this much before the length that was stated for it.
const SLACK_NS: i64 = 1_000_000_000;

impl VideoReader {
    /// Why no packet comes any more; `None` if that is simply the end.
    pub(super) fn reason_to_end(&self, error: Error) -> Option<VideoError> {
        let file = self.decoding.file.as_ref();
        let is_end = match error {
            // GXF's reader says so where a file ends.
            NOT_PERMITTED => libav::is_read_to_its_end(&self.input),
            INPUT_OUTPUT => {
                file.is_none()
                    && self.nature != Nature::Segmented
                    && libav::is_of_unknown_length(&self.input)
            }
            _ => false,
        };
        let error = if is_end { Error::Eof } else { error };
        let Some(path) = file.filter(|_| !self.watch.interrupts()) else {
            return self.reason_of_network(error);
        };
        let reason = match error {
            Error::Eof if self.last_is_cut => "the last packet is incomplete".to_owned(),
            Error::Eof => match ending_of(path) {
                Ok(Ending::Whole) => {
                    let length = path.metadata().map_or(0, |found| found.len());
                    let given_up = self.container.given_up(length)?;
                    format!("nothing can be read of its last {given_up} bytes")
                }
                Ok(Ending::Cut(missing)) => format!("{missing} bytes are missing"),
                Ok(ending) => {
                    let (node, path) = (&self.setup.node, path.display());
                    tracing::warn!(%node, %path, "{ending}");
                    return None;
                }
                Err(error) => error.to_string(),
            },
            error => error.to_string(),
        };
        Some(VideoError::Broken { frames: 0, reason })
    }

    /// The same of what comes over the network. Recordings over RTSP do not say that they are over, or say so where they break.
    fn reason_of_network(&self, error: Error) -> Option<VideoError> {
        let is_eof = error == Error::Eof;
        let reason = (!is_eof).then(|| self.watch.explain("reading", error));
        let Some(lacking) = self.lacking().filter(|_| !self.watch.is_cancelled()) else {
            return reason;
        };
        match (lacking.is_zero(), reason) {
            (true, _) => None,
            (false, None) => Some(VideoError::Broken {
                frames: 0,
                reason: format!("the other side ended it {lacking:.1?} before its end"),
            }),
            (false, reason) => reason,
        }
    }

    /// What a recording over RTSP lacks of the length that was stated, which need not be exact.
    fn lacking(&self) -> Option<Duration> {
        let length_ns = self.input.duration().saturating_mul(1_000);
        if self.nature != Nature::Recording || !self.is_rtsp() || length_ns <= 0 {
            return None;
        }
        let (first_ns, last_ns) = (self.first_stamp_ns?, self.last_stamp_ns?);
        let lacking_ns = length_ns.saturating_sub(last_ns.saturating_sub(first_ns));
        let slack_ns = (length_ns / 10).max(SLACK_NS);
        let is_little = lacking_ns <= slack_ns;
        let lacking_ns = if is_little { 0 } else { lacking_ns };
        Some(Duration::from_nanos(lacking_ns.unsigned_abs()))
    }

    /// What is left to say when no picture comes any more.
    pub(super) fn ended(&mut self) -> Result<(), VideoError> {
        let is_recording = self.nature == Nature::Recording;
        if is_recording && matches!(self.ending, Some(None)) {
            self.count_what_never_came();
        }
        let unseen = self.beginning.without_picture().saturating_sub(self.missed);
        self.count_missed(unseen);
        let (damaged, missing) = (self.damaged, self.missing);
        if damaged > 0 || missing > 0 {
            let node = &self.setup.node;
            tracing::warn!(%node, damaged, missing, "the video is damaged: frames were patched by the decoder, or are missing");
            (self.damaged, self.missing) = (0, 0);
        }
        let tells_little = is_recording && !libav::has_time_stamps(&self.input);
        if tells_little && self.damage.has_been_met() && self.decoding.notices.first("tells little")
        {
            let (node, frames, missed) = (&self.setup.node, self.frames, self.missed);
            tracing::warn!(%node, frames, missed, "the video is damaged and has no time stamps: more frames may be missing than are counted");
        }
        match self.ending.as_mut().and_then(Option::take) {
            Some(VideoError::Broken { reason, .. }) => Err(VideoError::Broken {
                frames: self.frames,
                reason,
            }),
            Some(error) => Err(error),
            None if is_recording && self.frames == 0 && self.missed > 0 => {
                Err(VideoError::NothingDecoded {
                    missed: self.missed,
                })
            }
            None => Ok(()),
        }
    }
}
