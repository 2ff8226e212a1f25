//! Frames that are held back until later ones have told where faces turn up that they do not know yet. Owns their order
//! and for how long; what is hidden is `hiding`'s.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::{Envelope, Ticket};

use crate::overlay::hiding::{FoundFace, Hidden};
use crate::payload::Faces;

/// Frames of a stream that are held back at most, however fast they come.
pub(super) const MOST_HELD: usize = 48;

/// A frame that waits.
pub(super) struct HeldFrame {
    pub(super) ticket: Ticket,
    pub(super) envelope: Envelope,
    pub(super) faces: Arc<Faces>,
    /// What is to be hidden, as far as it is known.
    pub(super) hidden: Hidden,
    /// Its own faces.
    pub(super) found: Vec<FoundFace>,
}

/// The frames of a stream that wait, oldest first.
#[derive(Default)]
pub(super) struct HeldBack {
    frames: VecDeque<HeldFrame>,
    /// Frames that had to go before their time, for want of room.
    pub(super) hurried: u64,
}

impl HeldBack {
    /// Adds the next frame of the stream, and hides its faces in the frames of the time before it.
    pub(super) fn push(&mut self, frame: HeldFrame, delay: Duration) {
        for before in &mut self.frames {
            if !is_over(&before.envelope, &frame.envelope, delay) {
                before.hidden.add_later(&before.found, &frame.found);
            }
        }
        self.frames.push_back(frame);
    }

    /// The oldest frame, if its time is over or there are too many.
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

    /// The oldest frame.
    pub(super) fn pop(&mut self) -> Option<HeldFrame> {
        self.frames.pop_front()
    }
}

/// Whether so much time lies between two frames, or a new segment, that the later one says nothing of the earlier.
fn is_over(earlier: &Envelope, later: &Envelope, delay: Duration) -> bool {
    let passed_ns = later.pts_ns.saturating_sub(earlier.pts_ns);
    let is_late = u128::try_from(passed_ns).is_ok_and(|passed_ns| passed_ns > delay.as_nanos());
    earlier.segment != later.segment || is_late
}
