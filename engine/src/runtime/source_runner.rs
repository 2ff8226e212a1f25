//! A source and what it has in hand: reading, pacing by time stamps, the one slot of a live source that is held up.

use crate::clock::ClockMode;
use crate::end::End;
use crate::error::ActorError;
use crate::registry::AnySource;
use crate::source::{Captured, Next, Pacing};

/// What must survive a restart of the source: the stream's numbering never starts again.
#[derive(Default)]
pub(crate) struct SourceMemory {
    pub(crate) next_sequence: u64,
    pub(crate) segment: u32,
    /// The next packet begins a new segment, because the source was built anew.
    pub(crate) was_restarted: bool,
}

pub(crate) struct SourceRunner {
    pub(crate) source: Box<dyn AnySource>,
    /// Whether the world outside sets the pace, as far as the source knew when it last read; none before it has been asked.
    is_live: Option<bool>,
    /// Clock time and pts of the segment's first packet.
    origin: Option<(u64, i64)>,
    /// Read, but not due yet; or, of a live source, read while the graph has no room.
    pub(crate) in_hand: Option<(Captured, u64)>,
    /// A mark that was read while a packet was in hand, which comes before it; 0 if there is none.
    pub(crate) mark: u64,
    pub(crate) ask_again_ns: u64,
    /// Nothing more will be read, and why; the stream ends once what is in hand has gone.
    pub(crate) ending: Option<Ending>,
}

/// Why a source reads no more.
pub(crate) struct Ending {
    pub(crate) end: End,
    /// What broke, if something did.
    pub(crate) failure: Option<String>,
}

impl SourceRunner {
    pub(crate) fn new(source: Box<dyn AnySource>) -> Self {
        Self {
            source,
            is_live: None,
            origin: None,
            in_hand: None,
            mark: 0,
            ask_again_ns: 0,
            ending: None,
        }
    }

    /// Whether the world outside sets the pace. Asks the source the first time, which may panic.
    pub(crate) fn is_live(&mut self) -> bool {
        let source = &self.source;
        *self
            .is_live
            .get_or_insert_with(|| source.pacing() == Pacing::Live)
    }

    /// Whether the world outside sets the pace, once the source has been asked.
    pub(crate) fn known_pacing(&self) -> Option<bool> {
        self.is_live
    }

    /// Reads, and asks who sets the pace now. Both may panic.
    pub(crate) fn next(&mut self) -> Result<Next, ActorError> {
        let next = self.source.next();
        self.is_live = Some(self.source.pacing() == Pacing::Live);
        next
    }

    /// Whether what is in hand may be overwritten by what is read next.
    pub(crate) fn may_overwrite(&self) -> bool {
        let in_hand = self.in_hand.as_ref();
        self.is_live == Some(true) && in_hand.is_none_or(|(captured, _)| !captured.kept)
    }

    /// Whether a live source reads on while it is held up.
    pub(crate) fn reads_on(&self) -> bool {
        self.may_overwrite() && self.ending.is_none()
    }

    /// Clock time at which a packet is due: its distance from the segment's first packet, at the clock's speed.
    pub(crate) fn due_ns(&mut self, captured: &Captured, mode: ClockMode, now_ns: u64) -> u64 {
        let speed = match mode {
            ClockMode::Asap => return now_ns,
            ClockMode::Live => 1.0,
            ClockMode::Replay(speed) => speed,
        };
        if self.is_live() {
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
