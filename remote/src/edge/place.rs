//! Where the packets of a stream stand at its receiving end: their sequences and segments there, which go on where the
//! sending end began anew.

use super::arrival::Arrival;
use super::wire::SettledMessage;

/// The engine keeps the two largest sequences for itself.
const MOST_SEQUENCE: u64 = u64::MAX - 2;

/// How far the stream has come here.
pub(super) struct Place {
    /// Behind the last sequence that was handed on, and its segment.
    behind: u64,
    segment: u32,
    /// What is added to the sequences and segments of this incarnation; not known before its first packet.
    shift: Option<(u64, u32)>,
}

/// Where a packet stands.
pub(super) enum Placed {
    /// It has come before: an earlier life of the sending end sent it, and was killed before it had acknowledged that
    /// to where it came from. What is remembered once everything up to it is settled: until then it must stay in the
    /// store, since an end that is begun anew tells by it that nothing is missing before the next.
    Before(SettledMessage),
    /// No sending end gives such a number; whatever it is, it must not end the stream.
    Nowhere,
    /// Here. What is remembered of it does not say yet which packet it is.
    Here(SettledMessage),
}

impl Place {
    /// Behind what an earlier receiving end had settled.
    pub(super) fn behind(settled: Option<SettledMessage>) -> Self {
        Self {
            behind: settled.map_or(0, |settled| settled.behind),
            segment: settled.map_or(0, |settled| settled.segment),
            shift: settled.map(|settled| (settled.shift, settled.segments)),
        }
    }

    /// Another life of the sending end.
    pub(super) fn begin(&mut self) {
        self.shift = None;
    }

    /// The next packet.
    pub(super) fn of<T>(&mut self, arrival: &Arrival<T>) -> Placed {
        let (shift, segments) = *self.shift.get_or_insert_with(|| match self.behind {
            _ if arrival.goes_on => (0, 0),
            0 => (0, 0),
            // The stream was begun anew there: it goes on here.
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

    /// No packet with a sequence below this will come there. Gives what that is here, if it is news.
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
