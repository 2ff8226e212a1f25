//! Positions of a stream's packets at its receiving end: their sequences and segments there, which continue if the
//! sending end restarts.

use super::arrival::Arrival;
use super::wire::SettledMessage;

/// Largest sequence of a packet: the engine reserves the two above it.
const MOST_SEQUENCE: u64 = u64::MAX - 2;

/// Position of the stream at this end.
pub(super) struct Place {
    /// One past the last sequence that was handed on, and its segment.
    behind: u64,
    segment: u32,
    /// Offsets added to the sequences and segments of this incarnation; none before its first packet.
    shift: Option<(u64, u32)>,
}

/// Position of a packet.
pub(super) enum Placed {
    /// It has come before: an earlier life of the sending end sent it, and was killed before it had acknowledged it
    /// upstream. Holds what to remember once everything up to it is settled. Until then it must stay in the store,
    /// since it shows a restarted end that nothing is missing before the next packet.
    Before(SettledMessage),
    /// No sending end assigns such a sequence; whatever it is, it must not end the stream.
    Nowhere,
    /// Next at this end. What to remember of it does not say yet which packet it is.
    Here(SettledMessage),
}

impl Place {
    /// Returns the position behind what an earlier receiving end had settled.
    pub(super) fn behind(settled: Option<SettledMessage>) -> Self {
        Self {
            behind: settled.map_or(0, |settled| settled.behind),
            segment: settled.map_or(0, |settled| settled.segment),
            shift: settled.map(|settled| (settled.shift, settled.segments)),
        }
    }

    /// Begins another life of the sending end.
    pub(super) fn begin(&mut self) {
        self.shift = None;
    }

    /// Places the next packet.
    pub(super) fn of<T>(&mut self, arrival: &Arrival<T>) -> Placed {
        let (shift, segments) = *self.shift.get_or_insert_with(|| match self.behind {
            _ if arrival.goes_on => (0, 0),
            0 => (0, 0),
            // The stream restarted there, and continues here.
            behind => (
                behind.saturating_sub(arrival.sequence),
                (self.segment + 1).saturating_sub(arrival.segment),
            ),
        });
        let sequence = arrival.sequence.saturating_add(shift);
        if arrival.goes_on && sequence < self.behind {
            return Placed::Before(self.remembered(shift, segments));
        }
        if sequence < self.behind || sequence > MOST_SEQUENCE {
            return Placed::Nowhere;
        }
        self.behind = sequence + 1;
        self.segment = arrival.segment.saturating_add(segments).max(self.segment);
        Placed::Here(self.remembered(shift, segments))
    }

    fn remembered(&self, shift: u64, segments: u32) -> SettledMessage {
        SettledMessage {
            behind: self.behind,
            segment: self.segment,
            shift,
            segments,
            ..SettledMessage::default()
        }
    }

    /// Applies a mark of the sending end, below which no packet will come. Returns it as a sequence of this end, if it
    /// is news.
    pub(super) fn mark(&mut self, mark: u64) -> Option<u64> {
        let mark = match self.shift {
            Some((shift, _)) => mark.saturating_add(shift),
            None => mark,
        };
        if mark <= self.behind {
            return None;
        }
        self.behind = mark;
        self.shift.get_or_insert((0, 0));
        Some(mark)
    }
}
