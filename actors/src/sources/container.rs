//! What a recording's container says of how much is in it, and what was read of it: where it is damaged, the two differ. Reads nothing itself.

use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Packet, Stream};

use crate::libav;
use crate::sources::ticks::nanoseconds;

/// Bytes between two packets of a container that lays them one behind another: their own headers, and padding.
const MOST_BETWEEN: i64 = 64;

/// A recording may end this much before the length that is stated for it.
const SLACK_NS: i64 = 1_000_000_000;

/// How a container counts time and bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Traits {
    /// Packets lie one behind another.
    is_dense: bool,
    /// It says how many frames there are.
    counts_frames: bool,
    /// It says how long it is, and is read to where its packets can be followed.
    states_length: bool,
    /// It may end anywhere.
    may_end_anywhere: bool,
}

impl Traits {
    fn of(format: &str) -> Self {
        let is = |name: &str| format.split(',').any(|other| other == name);
        Self {
            is_dense: is("flv") || is("avi"),
            counts_frames: is("avi") || is("mp4"),
            states_length: is("flv") || is("matroska"),
            may_end_anywhere: is("mpegts"),
        }
    }
}

/// See the file's head.
#[derive(Debug, Default)]
pub(crate) struct Container {
    traits: Traits,
    frames: u64,
    length_ns: Option<i64>,
    /// Where the last packet ends in the file.
    end: Option<i64>,
    /// Of all streams' packets.
    first_ns: Option<i64>,
    latest_ns: Option<i64>,
    /// Frames that are not to be shown are among them.
    has_hidden: bool,
}

impl Container {
    /// What is said of an input, and of its stream that is shown.
    pub(crate) fn of(input: &Input, stream: &Stream<'_>) -> Self {
        let length_ns = input.duration().saturating_mul(1_000);
        let is_stated = libav::states_its_length(input) && length_ns > 0;
        Self {
            traits: Traits::of(input.format().name()),
            frames: u64::try_from(stream.frames()).unwrap_or(0),
            length_ns: is_stated.then_some(length_ns),
            ..Self::default()
        }
    }

    /// Takes in a packet of any stream as it was read. Says whether something lies before it that belongs to none.
    pub(crate) fn read(&mut self, packet: &Packet, stream: &Stream<'_>) -> bool {
        self.has_hidden |= libav::is_hidden(packet);
        if let Some(stamp) = packet.pts().or(packet.dts()) {
            let at_ns = |ticks: i64| nanoseconds(ticks, stream.time_base());
            let until_ns = at_ns(stamp.saturating_add(packet.duration().max(0)));
            self.first_ns = self.first_ns.or(Some(at_ns(stamp)));
            self.latest_ns = self.latest_ns.max(Some(until_ns));
        }
        let Ok(start) = i64::try_from(packet.position()) else {
            return false;
        };
        if start < 0 {
            return false;
        }
        let end = start.saturating_add(i64::try_from(packet.size()).unwrap_or(0));
        let before = self.end.replace(end);
        let is_behind_a_hole = before.is_some_and(|before| start - before > MOST_BETWEEN);
        self.traits.is_dense && is_behind_a_hole
    }

    /// Whether a file of this kind that was cut ends as a whole one does.
    pub(crate) fn may_end_anywhere(&self) -> bool {
        self.traits.may_end_anywhere
    }

    /// How many frames it says that it has.
    pub(crate) fn stated_frames(&self) -> Option<u64> {
        let is_known = self.traits.counts_frames && !self.has_hidden && self.frames > 0;
        is_known.then_some(self.frames)
    }

    /// How much of the length that it states was not read, if that is more than such lengths may be off. Asked once, at the end.
    pub(crate) fn lacking_ns(&mut self) -> Option<i64> {
        let length_ns = self.length_ns.take();
        let length_ns = length_ns.filter(|_| self.traits.states_length)?;
        let (first_ns, latest_ns) = (self.first_ns?, self.latest_ns?);
        // Some count from their beginning, some from 0.
        let read_ns = latest_ns.max(latest_ns.saturating_sub(first_ns));
        let lacking_ns = length_ns.saturating_sub(read_ns);
        (lacking_ns > (length_ns / 10).max(SLACK_NS)).then_some(lacking_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_depends_on_the_container() {
        let traits = Traits::of("mov,mp4,m4a,3gp,3g2,mj2");
        assert!(traits.counts_frames && !traits.is_dense && !traits.states_length);
        assert!(Traits::of("matroska,webm").states_length);
        assert!(Traits::of("mpegts").may_end_anywhere);
    }

    #[test]
    fn a_length_that_is_stated_may_be_a_little_off() {
        const SECOND: i64 = 1_000_000_000;
        let lacking = |length: i64, first: i64, latest: i64| {
            let mut container = Container {
                traits: Traits::of("flv"),
                length_ns: Some(length * SECOND),
                first_ns: Some(first * SECOND),
                latest_ns: Some(latest * SECOND),
                ..Container::default()
            };
            container.lacking_ns().map(|ns| ns / SECOND)
        };
        assert_eq!(lacking(60, 0, 30), Some(30));
        assert_eq!(lacking(60, 0, 55), None);
        assert_eq!(lacking(4, 0, 3), None);
        assert_eq!(lacking(1060, 1000, 1060), None, "counted from 0");
        assert_eq!(
            lacking(60, 1000, 1060),
            None,
            "counted from its first stamp"
        );
        assert_eq!(lacking(60, -30, 30), None, "begins before 0");
    }
}
