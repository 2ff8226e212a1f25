//! Frames that are held back until later ones show faces that they do not know about yet. Owns their order and delay;
//! `hiding` decides what is hidden.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::{Envelope, Ticket};

use crate::overlay::hiding::{FoundFace, Hidden};
use crate::payload::Faces;

/// Maximum number of held frames of a stream, however fast they arrive.
pub(super) const MOST_HELD: usize = 48;

/// A frame that is held back.
pub(super) struct HeldFrame {
    pub(super) ticket: Ticket,
    pub(super) envelope: Envelope,
    pub(super) faces: Arc<Faces>,
    /// Regions to hide, as far as they are known.
    pub(super) hidden: Hidden,
    /// Faces of this frame.
    pub(super) found: Vec<FoundFace>,
}

/// Held frames of a stream, oldest first.
#[derive(Default)]
pub(super) struct HeldBack {
    frames: VecDeque<HeldFrame>,
    /// Number of frames that were released early for lack of room.
    pub(super) hurried: u64,
}

impl HeldBack {
    /// Adds the next frame of the stream, and hides its faces in the held frames within the delay before it.
    pub(super) fn push(&mut self, frame: HeldFrame, delay: Duration) {
        for before in &mut self.frames {
            if !is_over(&before.envelope, &frame.envelope, delay) {
                before.hidden.add_later(&before.found, &frame.found);
            }
        }
        self.frames.push_back(frame);
    }

    /// Returns the oldest frame if its delay is over or too many frames are held.
    pub(super) fn pop_due(&mut self, delay: Duration) -> Option<HeldFrame> {
        let (oldest, newest) = (self.frames.front()?, self.frames.back()?);
        if !is_over(&oldest.envelope, &newest.envelope, delay) {
            if self.frames.len() <= MOST_HELD {
                return None;
            }
            self.hurried += 1;
        }
        self.frames.pop_front()
    }

    /// Returns the oldest frame.
    pub(super) fn pop(&mut self) -> Option<HeldFrame> {
        self.frames.pop_front()
    }
}

/// Returns whether two frames are so far apart in time, or in different segments, that the later one no longer affects
/// the earlier.
fn is_over(earlier: &Envelope, later: &Envelope, delay: Duration) -> bool {
    let passed_ns = later.pts_ns.saturating_sub(earlier.pts_ns);
    let is_late = u128::try_from(passed_ns).is_ok_and(|passed_ns| passed_ns > delay.as_nanos());
    earlier.segment != later.segment || is_late
}
