//! Elapsed time within a stream, from its time stamps and segments.

use std::time::Duration;

use fermata_engine::Envelope;

/// Segment and time stamp of the latest frame of a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StreamTime {
    latest: Option<(u32, i64)>,
}

impl StreamTime {
    /// Advances to a frame and returns the time since the previous one, or `None` where a segment begins. A time stamp
    /// that does not increase counts as zero elapsed time.
    pub(crate) fn pass(&mut self, envelope: &Envelope) -> Option<Duration> {
        let (segment, pts_ns) = (envelope.segment, envelope.pts_ns);
        let (same, before) = self.latest.replace((segment, pts_ns))?;
        let ns = i128::from(pts_ns) - i128::from(before);
        let passed = Duration::from_nanos(u64::try_from(ns.max(0)).unwrap_or(u64::MAX));
        (same == segment).then_some(passed)
    }
}
