//! Runs a source: reading, pacing by time stamps, and the single slot of a live source that is held up.

use crate::clock::ClockMode;
use crate::end::End;
use crate::error::ActorError;
use crate::registry::AnySource;
use crate::source::{Captured, Next, Pacing};

/// State that survives a restart of the source, since the stream's numbering never starts again.
#[derive(Default)]
pub(crate) struct SourceMemory {
    pub(crate) next_sequence: u64,
    pub(crate) segment: u32,
    /// Whether the next packet begins a new segment because the source was rebuilt.
    pub(crate) was_restarted: bool,
}

pub(crate) struct SourceRunner {
    pub(crate) source: Box<dyn AnySource>,
    /// What sets the pace, as the source reported after the last read; `None` until it has been asked.
    pacing: Option<Pacing>,
    /// Clock time and pts of the segment's first packet.
    origin: Option<(u64, i64)>,
    /// A packet that was read but is not due yet or, from a live source, was read while the graph has no room; with its
    /// due time.
    pub(crate) in_hand: Option<(Captured, u64)>,
    /// The largest mark that was read. It is applied once no packet is in hand, since that packet precedes it.
    pub(crate) mark: u64,
    pub(crate) ask_again_ns: u64,
    /// Set when nothing more will be read; the stream ends once the packet in hand has been sent.
    pub(crate) ending: Option<Ending>,
}

/// The reason why a source reads no more.
pub(crate) struct Ending {
    pub(crate) end: End,
    /// What failed, if anything did.
    pub(crate) failure: Option<String>,
}

impl Ending {
    /// Returns an end without a failure.
    pub(crate) fn as_told(end: End) -> Self {
        Self { end, failure: None }
    }
}

impl SourceRunner {
    pub(crate) fn new(source: Box<dyn AnySource>) -> Self {
        Self {
            source,
            pacing: None,
            origin: None,
            in_hand: None,
            mark: 0,
            ask_again_ns: 0,
            ending: None,
        }
    }

    /// Returns whether the source is live. Asks the source the first time, which may panic.
    pub(crate) fn is_live(&mut self) -> bool {
        self.pacing() == Pacing::Live
    }

    fn pacing(&mut self) -> Pacing {
        let source = &self.source;
        *self.pacing.get_or_insert_with(|| source.pacing())
    }

    /// Returns whether the source is live, or `None` before the source has been asked.
    pub(crate) fn known_pacing(&self) -> Option<bool> {
        self.pacing.map(|pacing| pacing == Pacing::Live)
    }

    /// Reads from the source and updates the pacing. Both may panic.
    pub(crate) fn next(&mut self) -> Result<Next, ActorError> {
        let next = self.source.next();
        self.pacing = Some(self.source.pacing());
        next
    }

    /// Returns whether the packet in hand may be overwritten by the next one.
    pub(crate) fn may_overwrite(&self) -> bool {
        let in_hand = self.in_hand.as_ref();
        self.pacing == Some(Pacing::Live) && in_hand.is_none_or(|(captured, _)| !captured.kept)
    }

    /// Returns whether a live source continues to read while it is held up.
    pub(crate) fn reads_on(&self) -> bool {
        self.may_overwrite() && self.ending.is_none()
    }

    /// Returns the clock time at which a packet is due, from its distance to the segment's first packet and the clock's
    /// speed.
    pub(crate) fn due_ns(&mut self, captured: &Captured, mode: ClockMode, now_ns: u64) -> u64 {
        let speed = match mode {
            ClockMode::Asap => return now_ns,
            ClockMode::Live => 1.0,
            ClockMode::Replay(speed) => speed,
        };
        if self.pacing() != Pacing::ByPts {
            return now_ns;
        }
        if captured.new_segment {
            self.origin = None;
        }
        let (start_ns, first_pts) = *self.origin.get_or_insert((now_ns, captured.pts_ns));
        let distance = captured.pts_ns.saturating_sub(first_pts).max(0);
        start_ns.saturating_add((distance as f64 / speed) as u64)
    }
}
